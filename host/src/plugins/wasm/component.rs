//! A component in one of its roles, as the engine's `Handler`.
//!
//! Instances are used again, because a fresh one costs ten times as much as a call. An instance
//! whose call failed is thrown away, so that nothing it left behind reaches another key (guarantee
//! 6).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sagabox_engine::model::{Failure, Manifest, State};
use sagabox_engine::seams::handler::{Call, Handler, Reply};
use wasmtime::Store;

use crate::decisions::kinds::WROTE;
use crate::io::json_schema::JsonSchema;

use super::bindings::{PluginInstance, Program};
use super::call_state::CallState;
use super::directory::Unfit;
use super::limits::Limits;
use super::log::{About, CallLog};
use super::sandbox::{Sandbox, Usage, backtrace, deadline, failure};
use super::used::Used;
use super::wasi::{self, Wasi};

struct Warm {
    store: Store<CallState>,
    running: PluginInstance,
    calls: u32,
}

/// The instances on which calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instances {
    /// Instances that were used before, as often as the limits allow.
    Used,
    /// A fresh instance for each call.
    Fresh,
}

/// How long an instance took to start, and then to describe itself. Each is a call with the limits
/// of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Introduction {
    pub start: Duration,
    pub describe: Duration,
}

pub(crate) struct ComponentHandler {
    sandbox: Sandbox,
    program: Program,
    limits: Limits,
    manifest: Manifest,
    introduction: Introduction,
    /// The plugin's section of the configuration, as JSON.
    configuration: String,
    used: Arc<Used>,
    /// Free instances. Their number is the highest that was in use at once.
    warm: Mutex<Vec<Warm>>,
}

impl ComponentHandler {
    /// Describes the plugin and checks its manifest.
    ///
    /// # Errors
    /// Says what is wrong with the plugin.
    pub(crate) fn new(
        sandbox: &Sandbox,
        program: Program,
        file: &str,
        configuration_of: impl FnOnce(&str) -> String,
    ) -> Result<Self, Unfit> {
        // The limits depend on the plugin's name, which is known only after `describe`. The plugin
        // must keep to its own limits as well.
        let (manifest, _) = describe(sandbox, &program, sandbox.widest_limits(), file)?;
        super::manifest::check(&manifest).map_err(unfit)?;
        let limits = sandbox.limits_of(manifest.name.as_str());
        let (again, introduction) = describe(sandbox, &program, limits.clone(), file)?;
        if manifest != again {
            return Err("its manifest changes from call to call".to_owned().into());
        }
        let configuration = configuration_of(manifest.name.as_str());
        check_configuration(&manifest, &configuration)?;
        Ok(Self {
            sandbox: sandbox.clone(),
            program,
            used: sandbox.used.of(manifest.name.as_str()),
            limits,
            manifest,
            introduction,
            configuration,
            warm: Mutex::new(Vec::new()),
        })
    }

    /// The same plugin in the state of a host that has just started: without any instance.
    #[must_use]
    pub(crate) fn restarted(&self, instances: Instances) -> Self {
        let mut limits = self.limits.clone();
        if instances == Instances::Fresh {
            limits.calls_per_instance = 1;
        }
        Self {
            sandbox: self.sandbox.clone(),
            program: self.program.clone(),
            limits,
            manifest: self.manifest.clone(),
            introduction: self.introduction,
            configuration: self.configuration.clone(),
            used: Arc::clone(&self.used),
            warm: Mutex::new(Vec::new()),
        }
    }

    /// Makes a call on an instance that is free, or on a fresh one. Time and seed are all that
    /// the call knows of the world; `about` is for the log. The text is what the call logged.
    fn call<T>(
        &self,
        (now, seed): (u64, u128),
        about: Option<About>,
        call: impl FnOnce(&PluginInstance, &mut Store<CallState>) -> wasmtime::Result<T>,
    ) -> (Result<T, Failure>, String) {
        let free = self.free().pop();
        let mut warm = match free {
            Some(warm) => warm,
            None => {
                let plugin = self.manifest.name.as_str();
                match start(&self.sandbox, &self.program, self.limits.clone(), plugin) {
                    Ok(warm) => warm,
                    Err((failure, log)) => return (Err(failure), log),
                }
            }
        };
        warm.store.set_epoch_deadline(deadline(&self.limits));
        let state = warm.store.data_mut();
        state.usage.begin_call();
        state.log.begin_call(about);
        state.wasi.begin_call(now, seed);
        let begun = Instant::now();
        let called = call(&warm.running, &mut warm.store);
        let state = warm.store.data_mut();
        self.used.call(begun.elapsed(), state.usage.memory_bytes, state.usage.table_elements);
        match called {
            Ok(result) => {
                state.end_call();
                let log = state.log.take();
                warm.calls += 1;
                if warm.calls < self.limits.calls_per_instance {
                    self.free().push(warm);
                }
                (Ok(result), log)
            }
            Err(error) => {
                let (failure, log) = stopped(&error, &self.sandbox, state);
                (Err(failure), log)
            }
        }
    }

    pub(crate) fn introduction(&self) -> Introduction {
        self.introduction
    }

    /// The linear memory of the largest free instance.
    pub(crate) fn instance_bytes(&self) -> usize {
        let bytes = |warm: &Warm| warm.store.data().usage.memory_bytes();
        self.free().iter().map(bytes).max().unwrap_or_default()
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Warm>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unfit(reason: String) -> Unfit {
    format!("its manifest: {reason}").into()
}

/// Checks the plugin's section of the configuration with the schema that the plugin declares.
fn check_configuration(manifest: &Manifest, configuration: &str) -> Result<(), String> {
    let Some(schema) = &manifest.optional.configuration_schema else { return Ok(()) };
    let section = serde_json::from_str(configuration).map_err(|error| error.to_string())?;
    JsonSchema::new(schema)?.check(&section).map_err(|reason| {
        let members = schema.get("properties").and_then(|members| members.as_object());
        let known: Vec<&str> = members.into_iter().flatten().map(|(name, _)| &**name).collect();
        let known = match known.is_empty() {
            true => "no members".to_owned(),
            false => known.join(", "),
        };
        format!(
            "the section [plugin.{}] of the configuration does not fit it: {reason}; it reads {known}",
            manifest.name
        )
    })
}

fn store(sandbox: &Sandbox, limits: Limits, log: CallLog) -> Store<CallState> {
    let (time, copied_bytes) = (deadline(&limits), limits.copied_bytes());
    let state = CallState { log, usage: Usage::new(limits), wasi: Wasi::new() };
    let mut store = Store::new(&sandbox.engine, state);
    store.limiter(|state| &mut state.usage);
    store.set_hostcall_fuel(copied_bytes);
    store.set_epoch_deadline(time);
    store
}

fn start(
    sandbox: &Sandbox,
    program: &Program,
    limits: Limits,
    plugin: &str,
) -> Result<Warm, (Failure, String)> {
    let log = CallLog::new(plugin, limits.log_lines, limits.log_bytes);
    let log = log.that_is_kept_in(sandbox.lines.clone());
    let mut store = store(sandbox, limits, log);
    let running = program.start(&mut store);
    let running = running.map_err(|error| stopped(&error, sandbox, store.data_mut()))?;
    store.data_mut().end_call();
    Ok(Warm { store, running, calls: 0 })
}

/// A plugin that fails here cannot name itself, and has not run before. So the error contains what
/// it wrote, and where it was.
fn describe(
    sandbox: &Sandbox,
    program: &Program,
    limits: Limits,
    file: &str,
) -> Result<(Manifest, Introduction), Unfit> {
    let time = deadline(&limits);
    let log = CallLog::new(file, limits.log_lines, limits.log_bytes).that_keeps_all();
    let mut store = store(sandbox, limits, log);
    let mut took = Introduction::default();
    let begun = Instant::now();
    let described = program.start(&mut store).and_then(|running| {
        took.start = begun.elapsed();
        store.set_epoch_deadline(time);
        let described = running.describe(&mut store);
        took.describe = begun.elapsed().saturating_sub(took.start);
        described
    });
    store.data_mut().end_call();
    let described = described.map_err(|error| {
        let state = store.data();
        let reason = failure(&error, sandbox, &state.usage).to_string();
        let wrote = state.log.said().map(|line| format!("it wrote: {line}"));
        let places = backtrace(&error).into_iter().map(|place| format!("at {place}"));
        Unfit::Stopped { reason, details: wrote.chain(places).collect() }
    });
    Ok((described?.map_err(unfit)?, took))
}

/// Why a call was stopped, and what it logged. What a plugin writes last before it traps says why
/// it does. Where it was goes to the log: the reason of a dead letter must not differ from call to
/// call of one mistake.
fn stopped(error: &wasmtime::Error, sandbox: &Sandbox, state: &mut CallState) -> (Failure, String) {
    state.wasi.flush(&mut state.log);
    let words = state.log.last_words();
    let failure = match failure(error, sandbox, &state.usage) {
        Failure::Permanent(reason) if !words.is_empty() => {
            Failure::Permanent(format!("{reason}{WROTE}{words}"))
        }
        failure => failure,
    };
    if let Some(place) = own_place(&backtrace(error)) {
        state.log.write(tracing::Level::WARN, &place);
    }
    state.end_call();
    (failure, state.log.take())
}

/// Where an author's own code was. The functions of an interpreter say nothing about it, nor do
/// those without a name.
fn own_place(places: &[String]) -> Option<String> {
    const INTERPRETERS: [&str; 2] = ["JS_CallInternal", "_PyEval_EvalFrameDefault"];
    let is_known = |place: &String| !place.starts_with("<wasm function");
    let is_own = !places.iter().any(|place| INTERPRETERS.contains(&place.as_str()));
    let mut known: Vec<&str> =
        places.iter().filter(|place| is_known(place)).map(|p| &**p).collect();
    // Functions that call themselves are many.
    known.dedup();
    (is_own && !known.is_empty()).then(|| format!("it was in {}", known.join(", called by ")))
}

impl Handler for ComponentHandler {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        self.handle_with_log(call).0
    }

    fn handle_with_log(&self, call: &Call) -> (Result<Reply, Failure>, String) {
        let about = About { key: call.key.clone(), event: Arc::clone(&call.event) };
        let (called, log) = self.call((call.now.0, call.seed), Some(about), |running, store| {
            running.handle(store, call, &self.configuration)
        });
        let checked = called.flatten().and_then(|reply| {
            super::reply::check(&reply, call.now, &self.manifest, &self.limits)
                .map_err(Failure::Permanent)?;
            self.used.reply(&reply);
            Ok(reply)
        });
        (checked.map_err(super::reply::shortened), log)
    }

    fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String> {
        // A migration does not belong to an event's call: it sees the time at which every instance
        // starts.
        let (migrated, _) = self.call((wasi::STARTING_NOW, 0), None, |running, store| {
            running.migrate(store, state, to)
        });
        let state = migrated.map_err(|failure| failure.to_string())??;
        let limit = self.limits.state_bytes;
        if state.len() > limit {
            return Err(format!(
                "the migrated state has {} bytes; at most {limit} are accepted (limit state_bytes)",
                state.len()
            ));
        }
        Ok(Bytes::from(state))
    }
}
