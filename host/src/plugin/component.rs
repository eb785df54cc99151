//! A component in one of its roles, as the engine's `Handler`.
//!
//! Instances are used again: a fresh one costs ten times a call. One whose call
//! failed is thrown away, so that whatever it left behind reaches no other key
//! (guarantee 6).

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use sagabox_engine::handler::{Call, Handler, Reply};
use sagabox_engine::model::{
    Decision, Failure, Manifest, MessageKind, Question, State, TimerChange,
};
use wasmtime::Store;

use super::sandbox::{Limits, Sandbox, Usage, failure};
use super::v0_1::{Program, Running};

/// What belongs to one instance.
pub struct CallState {
    usage: Usage,
    plugin: String,
    log_lines: u32,
    log_lines_max: u32,
}

impl CallState {
    pub(super) fn write_log(&mut self, level: tracing::Level, message: &str) {
        self.log_lines += 1;
        if self.log_lines > self.log_lines_max {
            return;
        }
        let plugin = self.plugin.as_str();
        match level {
            tracing::Level::ERROR => tracing::error!(target: "plugin", plugin, "{message}"),
            tracing::Level::WARN => tracing::warn!(target: "plugin", plugin, "{message}"),
            tracing::Level::INFO => tracing::info!(target: "plugin", plugin, "{message}"),
            tracing::Level::DEBUG => tracing::debug!(target: "plugin", plugin, "{message}"),
            tracing::Level::TRACE => tracing::trace!(target: "plugin", plugin, "{message}"),
        }
    }
}

struct Warm {
    store: Store<CallState>,
    running: Running,
    calls: u32,
}

pub struct ComponentHandler {
    sandbox: Sandbox,
    program: Program,
    manifest: Manifest,
    /// The plugin's section of the configuration, as JSON.
    configuration: String,
    /// Instances that are free. As many as ever ran at once, that is as there are shards.
    warm: Mutex<Vec<Warm>>,
}

impl ComponentHandler {
    /// Describes the plugin and checks its manifest.
    ///
    /// # Errors
    /// Says what is wrong with the plugin.
    pub fn new(
        sandbox: &Sandbox,
        program: Program,
        configuration_of: impl FnOnce(&str) -> String,
    ) -> Result<Self, String> {
        let mut first = start(sandbox, &program, "")?;
        let manifest = describe(sandbox, &mut first)?;
        let again = describe(sandbox, &mut start(sandbox, &program, "")?)?;
        if manifest != again {
            return Err("its manifest changes from call to call".to_owned());
        }
        super::manifest::check(&manifest).map_err(|reason| format!("its manifest: {reason}"))?;
        let configuration = configuration_of(manifest.name.as_str());
        Ok(Self {
            sandbox: sandbox.clone(),
            program,
            manifest,
            configuration,
            warm: Mutex::new(Vec::new()),
        })
    }

    /// Makes a call on an instance that is free, or on a fresh one.
    fn call<T>(
        &self,
        call: impl FnOnce(&Running, &mut Store<CallState>) -> wasmtime::Result<T>,
    ) -> Result<T, Failure> {
        let free = self.free().pop();
        let mut warm = match free {
            Some(warm) => warm,
            None => start(&self.sandbox, &self.program, self.manifest.name.as_str())
                .map_err(Failure::Permanent)?,
        };
        warm.store.set_epoch_deadline(self.sandbox.deadline());
        warm.store.data_mut().log_lines = 0;
        match call(&warm.running, &mut warm.store) {
            Ok(result) => {
                warm.calls += 1;
                if warm.calls < self.sandbox.limits.calls_per_instance {
                    self.free().push(warm);
                }
                Ok(result)
            }
            Err(error) => Err(failure(&error, &warm.store.data().usage)),
        }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Warm>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start(sandbox: &Sandbox, program: &Program, plugin: &str) -> Result<Warm, String> {
    let state = CallState {
        usage: Usage::new(sandbox.limits.clone()),
        plugin: plugin.to_owned(),
        log_lines: 0,
        log_lines_max: sandbox.limits.log_lines_max,
    };
    let mut store = Store::new(&sandbox.engine, state);
    store.limiter(|state| &mut state.usage);
    store.set_epoch_deadline(sandbox.deadline());
    let running = program.start(&mut store);
    let running = running.map_err(|error| failure(&error, &store.data().usage).to_string())?;
    Ok(Warm { store, running, calls: 0 })
}

fn describe(sandbox: &Sandbox, warm: &mut Warm) -> Result<Manifest, String> {
    warm.store.set_epoch_deadline(sandbox.deadline());
    let described = warm.running.describe(&mut warm.store);
    described.map_err(|error| failure(&error, &warm.store.data().usage).to_string())
}

impl Handler for ComponentHandler {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        let reply =
            self.call(|running, store| running.handle(store, call, &self.configuration))??;
        check(&reply, &self.manifest, &self.sandbox.limits).map_err(Failure::Permanent)?;
        Ok(reply)
    }

    fn migrate(&self, state: &State) -> Result<Bytes, String> {
        let migrated = self.call(|running, store| running.migrate(store, state));
        migrated.map_err(|failure| failure.to_string())?.map(Bytes::from)
    }
}

/// Whether a reply keeps to the manifest and the limits (guarantee 10).
fn check(reply: &Reply, manifest: &Manifest, limits: &Limits) -> Result<(), String> {
    match reply {
        Reply::Need(questions) => questions.iter().try_for_each(|q| check_question(q, manifest)),
        Reply::Decided(decision) => {
            check_size(decision, limits)?;
            decision.messages.iter().try_for_each(|message| {
                let (what, declared) = match message.kind {
                    MessageKind::Command => ("command", &manifest.commands),
                    MessageKind::Event => ("event", &manifest.events),
                };
                match declared.contains(&message.event_type) {
                    true => Ok(()),
                    false => Err(format!(
                        "the decision sends the {what} `{}`, which the manifest does not declare",
                        message.event_type
                    )),
                }
            })
        }
    }
}

fn check_question(question: &Question, manifest: &Manifest) -> Result<(), String> {
    match question {
        Question::Lookup { name, .. } if !manifest.lookups.contains(name) => Err(format!(
            "the handler asks the lookup `{name}`, which the manifest does not declare"
        )),
        Question::Stream(_) if !manifest.streams => {
            Err("the handler asks for a stream, which the manifest does not declare".to_owned())
        }
        Question::Lookup { .. } | Question::Stream(_) => Ok(()),
    }
}

fn check_size(decision: &Decision, limits: &Limits) -> Result<(), String> {
    let items = decision.messages.len() + decision.timers.len() + decision.keys.len();
    if items > limits.decision_items_max {
        return Err(format!(
            "the decision has {items} messages, timers and keys; at most {} are accepted",
            limits.decision_items_max
        ));
    }
    let messages: usize = decision.messages.iter().map(|message| message.data.len()).sum();
    let timers: usize = decision
        .timers
        .iter()
        .map(|change| match change {
            TimerChange::Set { data, .. } => data.len(),
            TimerChange::Cancel(_) => 0,
        })
        .sum();
    let bytes = messages + timers + decision.state.as_ref().map_or(0, Bytes::len);
    if bytes > limits.decision_bytes_max {
        return Err(format!(
            "the decision has {bytes} bytes; at most {} are accepted",
            limits.decision_bytes_max
        ));
    }
    Ok(())
}
