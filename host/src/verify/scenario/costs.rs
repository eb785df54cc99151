//! What a component costs: its size, the time to load it, the memory of an instance, and the time
//! of a call. The calls are those of scenarios.
//!
//! The figures are those of this machine and of this build; they are for comparing plugins and
//! versions with each other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use sagabox_engine::model::{Failure, Manifest, State};
use sagabox_engine::seams::handler::{Call, Handler, Reply};
use serde::Serialize;

use super::file::Scenario;
use super::play::play;
use crate::io::locks::lock;
use crate::plugins::wasm::{self, Instances, LoadedPlugin, Sandbox, Settings};

/// Calls of one kind that are measured; scenarios are played until there are as many.
const CALLS: usize = 500;
/// The calls stop here, for plugins whose fresh instances take milliseconds.
const TIME_MAX: Duration = Duration::from_secs(2);
/// Scenarios are played so often before calls on used instances count: the first calls of an
/// instance grow its memory and fill its own caches.
const WARM_UPS: usize = 3;
/// Loads from the cache that are measured.
const LOADS: usize = 5;

/// What a plugin costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Costs {
    pub plugin: String,
    pub component_bytes: u64,
    /// With compiling, in a child process, and with asking the plugin for its manifest.
    pub load_us: u64,
    /// The same from compiled code, the median.
    pub load_cached_us: u64,
    /// Of an instance, to start and to describe itself; a load does it twice.
    pub describe_us: u64,
    /// Linear memory of an instance after the calls.
    pub instance_bytes: u64,
    /// A call on an instance that was used before, and on a fresh one, which it includes. The
    /// medians; none if no scenario makes a call.
    pub call_used_us: Option<f64>,
    pub call_fresh_us: Option<f64>,
}

/// Measures every plugin of a component.
///
/// # Errors
/// If the component cannot be loaded, or a scenario cannot be played.
pub fn costs(
    component: &Path,
    scenarios: &[Scenario],
    settings: &Settings,
) -> anyhow::Result<Vec<Costs>> {
    let own = tempfile::tempdir().context("create a temporary directory")?;
    let cache = wasm::CacheSettings {
        folder: Some(own.path().join("compiled")),
        ..wasm::CacheSettings::of_user()
    };
    let settings = Settings { cache, ..settings.clone() };
    let component_bytes = component.metadata()?.len();
    let (_, cold) = load(component, &settings)?;
    let mut cached = Vec::new();
    for _ in 0..LOADS {
        cached.push(load(component, &settings)?.1);
    }
    let load_cached_us = micros(median(&mut cached).unwrap_or_default());
    let (plugins, _) = load(component, &settings)?;
    let is_only = plugins.len() == 1;
    let measure = |plugin: &LoadedPlugin| {
        let name = plugin.handler.manifest().name.to_string();
        let introduction = plugin.introduction();
        let is_own = |scenario: &&Scenario| {
            // The plugin is loaded without a section of the configuration.
            scenario.given.configuration.is_empty()
                && scenario.plugin.as_deref().map_or(is_only, |other| other == name)
        };
        let scenarios: Vec<&Scenario> = scenarios.iter().filter(is_own).collect();
        for _ in 0..WARM_UPS {
            once(&scenarios, &*plugin.handler)?;
        }
        let call_used_us = calls(&scenarios, Arc::clone(&plugin.handler))?;
        let call_fresh_us = calls(&scenarios, plugin.restarted(Instances::Fresh))?;
        Ok(Costs {
            component_bytes,
            load_us: micros(cold),
            load_cached_us,
            describe_us: micros(introduction.start + introduction.describe),
            instance_bytes: plugin.instance_bytes() as u64,
            call_used_us,
            call_fresh_us,
            plugin: name,
        })
    };
    plugins.iter().map(measure).collect()
}

/// In a sandbox of its own, which takes no part of the time.
fn load(component: &Path, settings: &Settings) -> anyhow::Result<(Vec<LoadedPlugin>, Duration)> {
    let sandbox = Sandbox::new(settings.clone())?;
    let start = Instant::now();
    let loading = wasm::load_path(component, &sandbox, &HashMap::new())?;
    let took = start.elapsed();
    if let Some(refused) = loading.refused.first() {
        anyhow::bail!("{}: a host refuses it: {}", refused.path.display(), refused.reason);
    }
    Ok((loading.loaded, took))
}

fn once(scenarios: &[&Scenario], handler: &dyn Handler) -> anyhow::Result<()> {
    for scenario in scenarios {
        play(scenario, handler).map_err(|why| anyhow::anyhow!("{}: {why}", scenario.scenario))?;
    }
    Ok(())
}

/// The median time of a call.
fn calls(scenarios: &[&Scenario], inner: Arc<dyn Handler>) -> anyhow::Result<Option<f64>> {
    let timed = Timed { inner, calls: Mutex::default() };
    let start = Instant::now();
    loop {
        let before = lock(&timed.calls).len();
        once(scenarios, &timed)?;
        let count = lock(&timed.calls).len();
        if count == before || count >= CALLS || start.elapsed() >= TIME_MAX {
            break;
        }
    }
    let median = median(&mut lock(&timed.calls));
    Ok(median.map(|took| took.as_secs_f64() * 1e6))
}

fn median(times: &mut [Duration]) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// Notes how long each call takes.
struct Timed {
    inner: Arc<dyn Handler>,
    calls: Mutex<Vec<Duration>>,
}

impl Handler for Timed {
    fn manifest(&self) -> &Manifest {
        self.inner.manifest()
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        let start = Instant::now();
        let reply = self.inner.handle(call);
        let took = start.elapsed();
        lock(&self.calls).push(took);
        reply
    }

    fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String> {
        self.inner.migrate(state, to)
    }
}
