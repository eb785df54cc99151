//! Tests of plugins that are replaced, removed and added again, and of canaries.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use tokio::sync::Notify;

use super::plan::event;
use super::scripts::{AUDITOR, ORDERS, Pattern, RECEIPTS, script};
use super::world::START;
use crate::engine::{
    Action, Canary, Engine, Missed, Parts, Resolution, ServeError, Settings, Share,
};
use crate::model::{
    AnswerValue, Event, Failure, Key, Manifest, PluginName, Role, Source, State, Timestamp,
};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::Store;
use crate::seams::store::faulty::{FaultRates, FaultyStore};
use crate::seams::store::memory::{MemoryStore, Tables};

/// A lookup that answers once a test allows it.
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

/// A handler that is never called.
struct Other(Manifest);
impl Handler for Other {
    fn manifest(&self) -> &Manifest {
        &self.0
    }
    fn handle(&self, _: &Call) -> Result<Reply, Failure> {
        Err(Failure::Permanent("never called".to_owned()))
    }
    fn migrate(&self, _: &State, _: u32) -> Result<Bytes, String> {
        Err("never called".to_owned())
    }
}

/// The same plugin, but that it takes one type from one source alone.
struct Narrowed(Arc<dyn Handler>, Manifest);
impl Narrowed {
    fn new(handler: Arc<dyn Handler>, event_type: &str, source: &str) -> Arc<Self> {
        let mut manifest = handler.manifest().clone();
        let own = manifest.subscriptions.iter_mut().find(|s| s.event_type == event_type);
        own.expect("a subscription").source = Source::Exactly(source.to_owned());
        Arc::new(Self(handler, manifest))
    }
}
impl Handler for Narrowed {
    fn manifest(&self) -> &Manifest {
        &self.1
    }
    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        self.0.handle(call)
    }
    fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String> {
        self.0.migrate(state, to)
    }
}

struct Bench {
    engine: Engine,
    store: MemoryStore,
    lookup: Arc<Slow>,
}

fn version(plugin: &str, version: u32) -> Arc<dyn Handler> {
    poisoned(plugin, version, &[])
}

/// A version that fails permanently at the events with these ids.
fn poisoned(plugin: &str, version: u32, events: &[&str]) -> Arc<dyn Handler> {
    let pattern = Pattern {
        poisoned: events.iter().map(|id| (*id).to_owned()).collect(),
        version,
        ..Pattern::default()
    };
    script(&pattern, plugin)
}

impl Bench {
    async fn new(plugins: &[&str]) -> Self {
        let store = MemoryStore::new();
        Self::with(plugins, store.clone(), Arc::new(store)).await
    }

    /// Starts with one plugin, which fails permanently at these events.
    async fn with_poison(plugin: &str, events: &[&str]) -> Self {
        let bench = Self::new(&[]).await;
        let handler = poisoned(plugin, 0, events);
        bench.engine.serve(handler, Missed::Handle).await.unwrap();
        bench
    }

    /// A bench whose commits are slow.
    async fn slow(plugins: &[&str], seed: u64) -> Self {
        let store = MemoryStore::new();
        let rates = FaultRates {
            refused: 0,
            unknown_written: 0,
            unknown_lost: 0,
            read_failed: 0,
            delay_max: Duration::from_millis(20),
        };
        let slow = FaultyStore::new(store.clone(), rates, seed);
        Self::with(plugins, store, Arc::new(slow)).await
    }

    async fn with(plugins: &[&str], store: MemoryStore, used: Arc<dyn Store>) -> Self {
        let lookup = Arc::new(Slow::default());
        let parts = Parts {
            store: used,
            handlers: plugins.iter().map(|plugin| version(plugin, 0)).collect(),
            canaries: Vec::new(),
            lookup: Arc::clone(&lookup) as Arc<dyn Lookup>,
            sinks: HashMap::new(),
            routes: BTreeMap::new(),
            clock: Arc::new(|| Timestamp(START)),
            settings: Settings { shards: 0, ..Settings::default() },
        };
        Self { engine: Engine::start(parts).await.unwrap(), store, lookup }
    }

    async fn send(&self, events: Vec<Event>) {
        self.engine.offer(events).await.unwrap();
    }

    /// Waits in simulated time until the tables have this property, and returns them.
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
    assert_eq!(handled(&bench.store.snapshot(), AUDITOR), before, "no version serves it");
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
    // To a newer state version, and to an older one: `migrate` converts in both directions.
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
async fn an_event_from_another_source_is_ignored_and_counted() {
    let bench = Bench::new(&[]).await;
    let narrowed = Narrowed::new(version(AUDITOR, 0), "note", "/other");
    bench.engine.serve(narrowed, Missed::Handle).await.unwrap();
    bench.send(vec![note(1), Event { source: "/other".to_owned(), ..note(2) }]).await;
    let tables = bench.until("one is handled", |tables| handled(tables, AUDITOR) == 1).await;
    let counters = tables.plugins[&PluginName::from(AUDITOR)].counters;
    assert_eq!((counters.received, counters.ignored(), counters.ignored_source), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_waited_for_a_version_that_takes_its_source_is_not_for_the_next() {
    let bench = Bench::with_poison(ORDERS, &["place-o2"]).await;
    let place = |of: &str| event("place", of, &json!({"order": of, "items": ["i1"]}));
    let pay = |of: &str| event("pay", of, &json!({"order": of}));
    // One is held, and one waits behind a dead letter.
    bench.send(vec![pay("o1"), place("o2"), pay("o2")]).await;
    bench.until("they wait", |t| t.held.len() == 2 && t.dead_letters.len() == 1).await;
    let narrowed = Narrowed::new(version(ORDERS, 3), "pay", "/other");
    bench.engine.serve(narrowed, Missed::Handle).await.unwrap();
    bench.send(vec![place("o1")]).await;
    let tables = bench.until("it is placed", |tables| handled(tables, ORDERS) == 1).await;
    let dead_letter = tables.dead_letters.values().next().unwrap().id;
    let redrive = Resolution {
        action: Action::Redrive { edited: None },
        by: "operator".to_owned(),
        reason: String::new(),
        batch: None,
    };
    bench.engine.resolve(dead_letter, redrive).await.unwrap();
    let tables = bench.until("it is redriven", |tables| handled(tables, ORDERS) == 2).await;
    let state = |of: &str| {
        let instance = &tables.instances[&(PluginName::from(ORDERS), Key::from(of))];
        String::from_utf8_lossy(&instance.state.clone().unwrap().data).into_owned()
    };
    assert!(state("o1").contains("\"paid\":0"), "{}", state("o1"));
    assert!(state("o2").contains("\"paid\":0"), "{}", state("o2"));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_keeps_its_role() {
    let bench = Bench::new(&[AUDITOR]).await;
    let mut manifest = version(AUDITOR, 1).manifest().clone();
    manifest.role = Role::ProcessManager;
    let refused = bench.engine.serve(Arc::new(Other(manifest)), Missed::Handle).await;
    assert!(matches!(refused, Err(ServeError::Role { .. })), "{refused:?}");
    bench.send(vec![note(1)]).await;
    bench.until("the old one serves on", |tables| handled(tables, AUDITOR) == 1).await;
}
fn share(percent: f64) -> Share {
    Share::percent(percent).unwrap()
}

fn canary(handler: Arc<dyn Handler>, percent: f64) -> Canary {
    Canary { handler, share: share(percent) }
}

/// An event for each of many keys.
fn round(n: u32) -> Vec<Event> {
    let of_key =
        |key: u32| event("note", &format!("{n}-{key}"), &json!({"order": format!("o{key}")}));
    (0..100).map(of_key).collect()
}

/// The versions that decided each key, in their order.
fn by_key(tables: &Tables) -> BTreeMap<String, Vec<String>> {
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for decision in tables.decisions.values() {
        let versions = by_key.entry(decision.key.as_str().to_owned()).or_default();
        versions.push(decision.plugin_version.to_string());
    }
    by_key
}

#[tokio::test(start_paused = true)]
async fn a_canary_decides_its_share_of_the_keys_and_no_other() {
    let bench = Bench::new(&[AUDITOR]).await;
    let next = version(AUDITOR, 1);
    bench.engine.serve_canary(canary(Arc::clone(&next), 30.0)).await.unwrap();
    bench.send(round(1)).await;
    bench.until("the first round", |tables| handled(tables, AUDITOR) == 100).await;
    // A greater share keeps the keys of the smaller one.
    bench.engine.serve_canary(canary(next, 60.0)).await.unwrap();
    bench.send(round(2)).await;
    bench.until("the second round", |tables| handled(tables, AUDITOR) == 200).await;
    bench.engine.withdraw_canary(&AUDITOR.into()).await.unwrap();
    bench.send(round(3)).await;
    let tables = bench.until("the third", |tables| handled(tables, AUDITOR) == 300).await;
    let mut counts = [0, 0];
    for (key, versions) in by_key(&tables) {
        let has = |percent| share(percent).has(&AUDITOR.into(), &key.as_str().into());
        let of = |is_canary| if is_canary { "1.0.1" } else { "1.0.0" };
        assert_eq!(versions, [of(has(30.0)), of(has(60.0)), "1.0.0"], "{key}");
        counts[0] += u32::from(has(30.0));
        counts[1] += u32::from(has(60.0));
    }
    assert!((20..40).contains(&counts[0]) && (50..70).contains(&counts[1]), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_canary_fails_at_is_a_dead_letter_of_its_version() {
    let bench = Bench::new(&[AUDITOR]).await;
    let bad = poisoned(AUDITOR, 1, &["note-1"]);
    bench.engine.serve_canary(canary(bad, 100.0)).await.unwrap();
    bench.send(vec![note(1)]).await;
    let dead = |tables: &Tables| tables.dead_letters.len() == 1;
    let tables = bench.until("it is dead", dead).await;
    let dead_letter = tables.dead_letters.values().next().unwrap().clone();
    assert_eq!(&*dead_letter.plugin_version, "1.0.1");
    // The version that serves can handle the event.
    bench.engine.withdraw_canary(&AUDITOR.into()).await.unwrap();
    let (by, reason) = ("test".to_owned(), "withdrawn".to_owned());
    let resolution =
        Resolution { action: Action::Redrive { edited: None }, by, reason, batch: None };
    bench.engine.resolve(dead_letter.id, resolution).await.unwrap();
    let tables = bench.until("it is handled", |tables| handled(tables, AUDITOR) == 1).await;
    assert_eq!(versions(&tables, AUDITOR), ["1.0.0"]);
}

#[tokio::test(start_paused = true)]
async fn when_a_canary_is_withdrawn_its_dead_letters_are_stored() {
    // At each moment between the event and its dead letter.
    for millis in 0..60 {
        let bench = Bench::slow(&[AUDITOR], millis).await;
        let bad = poisoned(AUDITOR, 1, &["note-1"]);
        bench.engine.serve_canary(canary(bad, 100.0)).await.unwrap();
        let sending = bench.engine.clone();
        let sent = tokio::spawn(async move { sending.offer(vec![note(1)]).await });
        tokio::time::sleep(Duration::from_millis(millis)).await;
        bench.engine.withdraw_canary(&AUDITOR.into()).await.unwrap();
        let dead_letters = bench.store.snapshot().dead_letters.len();
        sent.await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let tables = bench.store.snapshot();
        assert_eq!(tables.dead_letters.len(), dead_letters, "after {millis} ms");
        assert_eq!(handled(&tables, AUDITOR), 1 - dead_letters as u64, "after {millis} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_of_a_canary_is_not_answered_to_the_version_beside_it() {
    let bench = Bench::new(&[RECEIPTS]).await;
    bench.engine.serve_canary(canary(version(RECEIPTS, 1), 100.0)).await.unwrap();
    bench.send(vec![event("pay", "o1", &json!({"order": "o1"}))]).await;
    let asked = || bench.lookup.asked.load(Ordering::Relaxed);
    bench.until("the canary asks", |_| asked() == 1).await;
    bench.engine.withdraw_canary(&RECEIPTS.into()).await.unwrap();
    bench.lookup.answers.notify_one();
    let tables = bench.until("it is handled", |tables| handled(tables, RECEIPTS) == 1).await;
    assert_eq!(asked(), 2, "the other asked for itself");
    assert_eq!(versions(&tables, RECEIPTS), ["1.0.0"]);
}

#[tokio::test(start_paused = true)]
async fn a_state_goes_over_to_the_canary_and_back() {
    let bench = Bench::new(&[ORDERS]).await;
    let data = json!({"order": "o1", "items": ["i1"], "package": "p1"});
    let state = |tables: &Tables| {
        let instance = &tables.instances[&(PluginName::from(ORDERS), Key::from("o1"))];
        instance.state.clone().unwrap().version
    };
    for (n, (event_type, of_state)) in
        [("place", 1), ("pay", 2), ("pack", 1)].into_iter().enumerate()
    {
        match event_type {
            "pay" => {
                let next = canary(version(ORDERS, 1), 100.0);
                bench.engine.serve_canary(next).await.unwrap();
            }
            "pack" => bench.engine.withdraw_canary(&ORDERS.into()).await.unwrap(),
            _ => {}
        }
        bench.send(vec![event(event_type, "o1", &data)]).await;
        let tables = bench.until("it goes on", |t| handled(t, ORDERS) == n as u64 + 1).await;
        assert_eq!(state(&tables), of_state, "{event_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_stands_beside_a_version_that_takes_the_same_events() {
    let bench = Bench::new(&[AUDITOR]).await;
    let refused = bench.engine.serve_canary(canary(version(ORDERS, 1), 1.0)).await;
    assert_eq!(refused, Err(ServeError::NotServed(ORDERS.into())));
    let mut manifest = version(AUDITOR, 1).manifest().clone();
    manifest.subscriptions[0].event_type = "memo".to_owned();
    let refused = bench.engine.serve_canary(canary(Arc::new(Other(manifest)), 1.0)).await;
    assert_eq!(refused, Err(ServeError::Subscriptions(AUDITOR.into())));
    // Serving another version ends the canary.
    bench.engine.serve_canary(canary(version(AUDITOR, 1), 100.0)).await.unwrap();
    bench.engine.serve(version(AUDITOR, 2), Missed::Handle).await.unwrap();
    bench.send(vec![note(1)]).await;
    let tables = bench.until("it is handled", |tables| handled(tables, AUDITOR) == 1).await;
    assert_eq!(versions(&tables, AUDITOR), ["1.0.2"]);
}
