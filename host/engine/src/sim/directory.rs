//! A directory of plugins, which are replaced, removed and added again at any moment of a world.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::scripts::{AUDITOR, NOTIFIER, ORDERS, Pattern, RECEIPTS, script, state_version};
use crate::engine::{Canary, Engine, Missed, Share};
use crate::lock;
use crate::model::{Failure, Manifest, State};
use crate::seams::handler::{Call, Handler, Reply};

const PLUGINS: [&str; 4] = [ORDERS, RECEIPTS, NOTIFIER, AUDITOR];

/// A directory of plugins that records the versions in it. It survives crashes.
#[derive(Clone)]
pub(crate) struct Directory {
    pattern: Pattern,
    history: Arc<Mutex<History>>,
}

/// The versions of each plugin that were in the directory, one after another.
#[derive(Clone, Default)]
pub(crate) struct History(BTreeMap<&'static str, Vec<Lying>>);

/// The versions of a plugin in the directory.
#[derive(Clone, Copy, Default)]
struct Lying {
    /// The newest version; each new version has the next number.
    latest: u32,
    serving: u32,
    /// A candidate's version, and its share in percent.
    canary: Option<(u32, f64)>,
}

impl Directory {
    pub(crate) fn new(pattern: Pattern) -> Self {
        Self { pattern, history: Arc::default() }
    }

    pub(crate) fn history(&self) -> History {
        self.lock().clone()
    }

    pub(crate) fn handlers(&self) -> Vec<Arc<dyn Handler>> {
        PLUGINS.into_iter().map(|plugin| self.handler(plugin, self.get(plugin).serving)).collect()
    }

    pub(crate) fn canaries(&self) -> Vec<Canary> {
        PLUGINS.into_iter().filter_map(|plugin| self.canary(plugin)).collect()
    }

    fn canary(&self, plugin: &'static str) -> Option<Canary> {
        let (version, percent) = self.get(plugin).canary?;
        let share = Share::percent(percent).expect("a percentage");
        Some(Canary { handler: self.handler(plugin, version), share })
    }

    fn handler(&self, plugin: &'static str, version: u32) -> Arc<dyn Handler> {
        let own = self.script(plugin, version);
        Arc::new(Beside { own, plugin, directory: self.clone() })
    }

    fn script(&self, plugin: &str, version: u32) -> Arc<dyn Handler> {
        let pattern = Pattern { version, ..self.pattern.clone() };
        script(&pattern, plugin)
    }

    fn get(&self, plugin: &str) -> Lying {
        self.lock().of(plugin).last().copied().unwrap_or_default()
    }

    fn set(&self, plugin: &'static str, lying: Lying) {
        self.lock().0.entry(plugin).or_default().push(lying);
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }

    /// Changes plugins for a while, and never returns: the caller drops it when its work is
    /// done. Errors are ignored, because only an engine that stops refuses a change.
    pub(crate) async fn change(&self, engine: &Engine, random: &mut StdRng) {
        for _ in 0..random.random_range(1..10) {
            pause(random, 12_000).await;
            let plugin = PLUGINS[random.random_range(0..PLUGINS.len())];
            let mut lying = self.get(plugin);
            if random.random_ratio(1, 3) {
                self.change_canary(plugin, engine, random).await;
                continue;
            }
            if random.random_ratio(1, 4) {
                let _ = engine.withdraw(&plugin.into()).await;
                pause(random, 20_000).await;
            }
            if random.random_ratio(4, 5) {
                lying.latest += 1;
                lying.serving = lying.latest;
            }
            // `serve` ends the plugin's canary.
            self.set(plugin, Lying { canary: None, ..lying });
            let _ = engine.serve(self.handler(plugin, lying.serving), Missed::Handle).await;
        }
        std::future::pending::<()>().await;
    }

    /// Starts a canary, changes its share, withdraws it, or makes it the version that serves.
    async fn change_canary(&self, plugin: &'static str, engine: &Engine, random: &mut StdRng) {
        let mut lying = self.get(plugin);
        let percent = f64::from(random.random_range(1..=100_u32));
        match (lying.canary, random.random_range(0..3)) {
            (None, _) => {
                lying.latest += 1;
                lying.canary = Some((lying.latest, percent));
            }
            (Some((version, _)), 0) => lying.canary = Some((version, percent)),
            (Some(_), 1) => lying.canary = None,
            (Some((version, _)), _) => {
                lying = Lying { serving: version, canary: None, ..lying };
                self.set(plugin, lying);
                let _ = engine.serve(self.handler(plugin, version), Missed::Handle).await;
                return;
            }
        }
        self.set(plugin, lying);
        let _ = match self.canary(plugin) {
            Some(canary) => engine.serve_canary(canary).await,
            None => engine.withdraw_canary(&plugin.into()).await,
        };
    }
}

/// A version that knows no later one, as a host serves it: canaries convert the states that they
/// have left.
struct Beside {
    own: Arc<dyn Handler>,
    plugin: &'static str,
    directory: Directory,
}

impl Handler for Beside {
    fn manifest(&self) -> &Manifest {
        self.own.manifest()
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        self.own.handle(call)
    }

    fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String> {
        let history = self.directory.history().of(self.plugin);
        let canaries = history.into_iter().rev().filter_map(|lying| lying.canary);
        let wrote = |version: &u32| {
            let is_own = state.version == self.manifest().state_version;
            state_version(*version) == state.version && !is_own
        };
        let mut canaries = canaries.map(|(version, _)| version).filter(wrote);
        let convert = |version| self.directory.script(self.plugin, version).migrate(state, to).ok();
        canaries.find_map(convert).map_or_else(|| self.own.migrate(state, to), Ok)
    }
}

impl History {
    fn of(&self, plugin: &str) -> Vec<Lying> {
        let first = Lying::default();
        std::iter::once(first).chain(self.0.get(plugin).into_iter().flatten().copied()).collect()
    }

    /// Checks that the decisions for a key were made by the versions that served it, in the
    /// order in which these were in the directory.
    ///
    /// # Errors
    /// Names the first version that did not serve the key.
    pub(crate) fn allows(&self, plugin: &str, key: &str, versions: &[u32]) -> Result<(), String> {
        let serves = |lying: &Lying| match lying.canary {
            Some((version, percent))
                if Share::percent(percent).is_some_and(|s| s.has(&plugin.into(), &key.into())) =>
            {
                version
            }
            _ => lying.serving,
        };
        let wanted: Vec<u32> = self.of(plugin).iter().map(serves).collect();
        let mut rest = wanted.as_slice();
        for version in versions {
            let next = rest.iter().position(|wanted| wanted == version).ok_or_else(|| {
                format!("{plugin}: `{key}` was decided by {versions:?}, and meant for {wanted:?}")
            })?;
            rest = &rest[next..];
        }
        Ok(())
    }
}

async fn pause(random: &mut StdRng, micros_max: u64) {
    tokio::time::sleep(Duration::from_micros(random.random_range(0..micros_max))).await;
}
