//! Plugins that are replaced, taken out and put back at any moment of a world's life.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::scripts::{AUDITOR, NOTIFIER, ORDERS, Pattern, RECEIPTS, handlers};
use crate::engine::{Engine, Missed};
use crate::handler::Handler;

const PLUGINS: [&str; 4] = [ORDERS, RECEIPTS, NOTIFIER, AUDITOR];

/// The directory of plugins: which version of each lies there. Survives crashes.
#[derive(Clone)]
pub struct Directory {
    pattern: Pattern,
    versions: Arc<Mutex<BTreeMap<&'static str, u32>>>,
}

impl Directory {
    pub fn new(pattern: Pattern) -> Self {
        let versions = PLUGINS.into_iter().map(|plugin| (plugin, 0)).collect();
        Self { pattern, versions: Arc::new(Mutex::new(versions)) }
    }

    pub fn handlers(&self) -> Vec<Arc<dyn Handler>> {
        PLUGINS.into_iter().map(|plugin| self.handler(plugin)).collect()
    }

    fn handler(&self, plugin: &str) -> Arc<dyn Handler> {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let pattern = Pattern { version: versions[plugin], ..self.pattern.clone() };
        let mut all = handlers(&pattern).into_iter();
        let script = all.find(|script| script.manifest().name.as_str() == plugin);
        Arc::new(script.expect("each plugin has its script"))
    }

    fn next_version(&self, plugin: &'static str) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        *versions.entry(plugin).or_default() += 1;
    }

    /// Changes plugins for a while, then never returns: whoever works beside it ends first.
    pub async fn change(&self, engine: &Engine, random: &mut StdRng) {
        for _ in 0..random.random_range(1..10) {
            pause(random, 12_000).await;
            let plugin = PLUGINS[random.random_range(0..PLUGINS.len())];
            if random.random_ratio(1, 4) {
                // Refused only when the engine stops.
                let _ = engine.withdraw(&plugin.into()).await;
                pause(random, 20_000).await;
            }
            if random.random_ratio(4, 5) {
                self.next_version(plugin);
            }
            let _ = engine.serve(self.handler(plugin), Missed::Handle).await;
        }
        std::future::pending().await
    }
}

async fn pause(random: &mut StdRng, micros_max: u64) {
    tokio::time::sleep(Duration::from_micros(random.random_range(0..micros_max))).await;
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use async_trait::async_trait;
    use serde_json::json;
    use tokio::sync::Notify;

    use super::super::world::{START, event};
    use super::*;
    use crate::engine::{Parts, ServeError, Settings};
    use crate::lookup::{Lookup, Unanswered};
    use crate::model::{AnswerValue, Event, Failure, Key, PluginName, Role, Timestamp};
    use crate::store::memory::{MemoryStore, Tables};

    /// Answers when it is told to.
    #[derive(Default)]
    struct Slow {
        asked: AtomicU32,
        answers: Notify,
    }

    #[async_trait]
    impl Lookup for Slow {
        async fn ask(&self, _: &PluginName, _: &str, _: &str) -> Result<AnswerValue, Unanswered> {
            if self.asked.fetch_add(1, Ordering::Relaxed) == 0 {
                self.answers.notified().await;
            }
            Ok(AnswerValue::Missing)
        }
    }

    struct Bench {
        engine: Engine,
        store: MemoryStore,
        lookup: Arc<Slow>,
    }

    fn version(plugin: &str, version: u32) -> Arc<dyn Handler> {
        let pattern = Pattern {
            seed: 0,
            transient_percent: 0,
            poisoned: BTreeSet::new(),
            cured: Arc::new(AtomicBool::new(false)),
            version,
        };
        let mut all = handlers(&pattern).into_iter();
        Arc::new(all.find(|script| script.manifest().name.as_str() == plugin).unwrap())
    }

    impl Bench {
        async fn new(plugins: &[&str]) -> Self {
            let (store, lookup) = (MemoryStore::new(), Arc::new(Slow::default()));
            let parts = Parts {
                store: Arc::new(store.clone()),
                handlers: plugins.iter().map(|plugin| version(plugin, 0)).collect(),
                lookup: Arc::clone(&lookup) as Arc<dyn Lookup>,
                transports: HashMap::new(),
                routes: BTreeMap::new(),
                clock: Arc::new(|| Timestamp(START)),
                settings: Settings { shards: 0, ..Settings::default() },
            };
            Self { engine: Engine::start(parts).await.unwrap(), store, lookup }
        }

        async fn send(&self, events: Vec<Event>) {
            self.engine.offer(events).await.unwrap();
        }

        /// Waits until the store looks so; time is simulated.
        async fn until(&self, what: &str, looks: impl Fn(&Tables) -> bool) -> Tables {
            let looked = async {
                loop {
                    let tables = self.store.snapshot();
                    if looks(&tables) {
                        return tables;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), looked).await.expect(what)
        }
    }

    fn note(n: u32) -> Event {
        event("note", &n.to_string(), &json!({"order": "o1"}))
    }

    fn handled(tables: &Tables, plugin: &str) -> u64 {
        let progress = tables.plugins.get(&PluginName::from(plugin));
        progress.map_or(0, |progress| progress.counters.handled)
    }

    fn versions(tables: &Tables, plugin: &str) -> Vec<String> {
        let of_plugin = tables.decisions.values().filter(|d| d.plugin.as_str() == plugin);
        of_plugin.map(|decision| decision.plugin_version.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_event_is_decided_by_the_version_that_serves_now() {
        let bench = Bench::new(&[AUDITOR]).await;
        bench.send(vec![note(1)]).await;
        bench.until("one is handled", |tables| handled(tables, AUDITOR) == 1).await;
        bench.engine.serve(version(AUDITOR, 1), Missed::Handle).await.unwrap();
        bench.send(vec![note(2)]).await;
        let tables = bench.until("both are handled", |tables| handled(tables, AUDITOR) == 2).await;
        assert_eq!(versions(&tables, AUDITOR), ["1.0.0", "1.0.1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_plugin_that_is_taken_out_goes_on_where_it_was_when_it_is_back() {
        let bench = Bench::new(&[AUDITOR]).await;
        bench.send(vec![note(1)]).await;
        bench.engine.withdraw(&AUDITOR.into()).await.unwrap();
        let before = handled(&bench.store.snapshot(), AUDITOR);
        bench.send(vec![note(2), note(3)]).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(handled(&bench.store.snapshot(), AUDITOR), before, "nobody serves it");
        bench.engine.serve(version(AUDITOR, 1), Missed::Handle).await.unwrap();
        bench.until("all are handled", |tables| handled(tables, AUDITOR) == 3).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_plugin_missed_is_ignored_and_counted_if_that_is_wanted() {
        let bench = Bench::new(&[AUDITOR]).await;
        bench.send(vec![note(1)]).await;
        bench.until("one is handled", |tables| handled(tables, AUDITOR) == 1).await;
        bench.engine.withdraw(&AUDITOR.into()).await.unwrap();
        bench.send(vec![note(2), note(3)]).await;
        bench.engine.serve(version(AUDITOR, 0), Missed::Ignore).await.unwrap();
        bench.send(vec![note(4)]).await;
        let tables = bench.until("two are handled", |tables| handled(tables, AUDITOR) == 2).await;
        let counters = tables.plugins[&PluginName::from(AUDITOR)].counters;
        assert_eq!((counters.received, counters.ignored_missed), (4, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_plugin_that_was_never_here_begins_with_the_log() {
        let bench = Bench::new(&[]).await;
        bench.send(vec![note(1), note(2)]).await;
        bench.engine.serve(version(AUDITOR, 0), Missed::Ignore).await.unwrap();
        bench.until("both are handled", |tables| handled(tables, AUDITOR) == 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_of_the_version_before_is_not_answered_to_the_next() {
        let bench = Bench::new(&[RECEIPTS]).await;
        bench.send(vec![event("pay", "o1", &json!({"order": "o1"}))]).await;
        let asked = || bench.lookup.asked.load(Ordering::Relaxed);
        bench.until("the first asks", |_| asked() == 1).await;
        bench.engine.serve(version(RECEIPTS, 1), Missed::Handle).await.unwrap();
        bench.lookup.answers.notify_one();
        let tables = bench.until("it is handled", |tables| handled(tables, RECEIPTS) == 1).await;
        assert_eq!(asked(), 2, "the second asked for itself");
        assert_eq!(versions(&tables, RECEIPTS), ["1.0.1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_is_migrated_when_its_instance_is_next_touched() {
        let bench = Bench::new(&[ORDERS]).await;
        let place = event("place", "o1", &json!({"order": "o1", "items": ["i1"]}));
        let state = |tables: &Tables| {
            let instance = &tables.instances[&(PluginName::from(ORDERS), Key::from("o1"))];
            (instance.version, instance.state.clone().unwrap().version)
        };
        bench.send(vec![place]).await;
        bench.until("it is placed", |tables| handled(tables, ORDERS) == 1).await;
        // Up by one, and down again: both are what `migrate` is for.
        for (n, (event_type, of_state)) in [("pay", 2), ("pack", 1)].into_iter().enumerate() {
            let next = if of_state == 2 { 1 } else { 3 };
            bench.engine.serve(version(ORDERS, next), Missed::Handle).await.unwrap();
            let before = state(&bench.store.snapshot());
            assert_eq!(before.1, 3 - of_state, "nothing touched it yet");
            let data = json!({"order": "o1", "items": ["i1"], "package": "p1"});
            bench.send(vec![event(event_type, "o1", &data)]).await;
            let count = n as u64 + 2;
            let tables = bench.until("it goes on", |t| handled(t, ORDERS) == count).await;
            assert_eq!(state(&tables), (count, of_state));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_plugin_keeps_its_role() {
        struct Other(crate::model::Manifest);
        impl Handler for Other {
            fn manifest(&self) -> &crate::model::Manifest {
                &self.0
            }
            fn handle(&self, _: &crate::handler::Call) -> Result<crate::handler::Reply, Failure> {
                Err(Failure::Permanent("never called".to_owned()))
            }
            fn migrate(&self, _: &crate::model::State) -> Result<bytes::Bytes, String> {
                Err("never called".to_owned())
            }
        }
        let bench = Bench::new(&[AUDITOR]).await;
        let mut manifest = version(AUDITOR, 1).manifest().clone();
        manifest.role = Role::ProcessManager;
        let refused = bench.engine.serve(Arc::new(Other(manifest)), Missed::Handle).await;
        assert!(matches!(refused, Err(ServeError::Role { .. })), "{refused:?}");
        bench.send(vec![note(1)]).await;
        bench.until("the old one serves on", |tables| handled(tables, AUDITOR) == 1).await;
    }
}
