//! Tests that set the wall clock, far and in both directions, while a host runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::plan::event;
use super::scripts::{AUDITOR, Pattern, script};
use super::timeline::Timeline;
use super::world::START;
use crate::Clock;
use crate::changes::receipt::Receipt;
use crate::engine::{Engine, Parts, Settings};
use crate::model::LeaseRequest;
use crate::model::Retention;
use crate::model::{AnswerValue, Event, Failure, Manifest, PluginName, State, Timestamp};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::memory::MemoryStore;

const HOUR: i64 = 60 * 60 * 1_000;
const DAY: i64 = 24 * HOUR;

/// A lookup for plugins that never ask.
struct Nothing;

#[async_trait]
impl Lookup for Nothing {
    async fn ask(&self, _: &PluginName, _: &str, _: &str) -> Result<AnswerValue, Unanswered> {
        Ok(AnswerValue::Missing)
    }
}

/// Fails this many times with a transient failure, then decides.
struct Failing {
    inner: Arc<dyn Handler>,
    failures: u32,
    calls: AtomicU32,
}

impl Failing {
    fn new(failures: u32) -> Arc<Self> {
        let inner = script(&Pattern::default(), AUDITOR);
        Arc::new(Self { inner, failures, calls: AtomicU32::new(0) })
    }
}

impl Handler for Failing {
    fn manifest(&self) -> &Manifest {
        self.inner.manifest()
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        match self.calls.fetch_add(1, Ordering::Relaxed) < self.failures {
            true => Err(Failure::Transient("planted: in passing".to_owned())),
            false => self.inner.handle(call),
        }
    }

    fn migrate(&self, state: &State, to: u32) -> Result<bytes::Bytes, String> {
        self.inner.migrate(state, to)
    }
}

async fn start(
    store: &MemoryStore,
    plugin: Arc<dyn Handler>,
    clock: &Clock,
    retention: Retention,
) -> Engine {
    let parts = Parts {
        store: Arc::new(store.clone()),
        handlers: vec![plugin],
        canaries: Vec::new(),
        lookup: Arc::new(Nothing),
        sinks: HashMap::new(),
        routes: BTreeMap::new(),
        clock: Arc::clone(clock),
        settings: Settings { shards: 0, retention, ..Settings::default() },
    };
    Engine::start(parts).await.unwrap()
}

fn note(n: u32) -> Event {
    event("note", &n.to_string(), &json!({"order": format!("o{n}")}))
}

fn live<T>(timeline: &Timeline, host_run: impl AsyncFnOnce(Clock) -> T) -> T {
    let host_run = timeline.live(std::future::pending(), async |clock| Ok(host_run(clock).await));
    host_run.unwrap().expect("it ends by itself")
}

/// Waits until the plugin has decided this many events; panics after this much simulated time.
async fn decided(store: &MemoryStore, count: usize, within: Duration) {
    let decided = async {
        while store.look(|tables| tables.decisions.len()) < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(within, decided).await.expect("it is decided in time");
}

#[test]
fn a_wall_clock_that_is_set_delays_no_retry() {
    for by in [-HOUR, -40 * DAY, HOUR, 40 * DAY] {
        let (store, timeline) = (MemoryStore::new(), Timeline::new(Timestamp(START)));
        live(&timeline, async |clock| {
            let plugin = Failing::new(4);
            let engine = start(&store, plugin.clone(), &clock, Retention::default()).await;
            engine.offer(vec![note(1)]).await.unwrap();
            while plugin.calls.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            timeline.set(by);
            decided(&store, 1, Duration::from_secs(10)).await;
            engine.drain().await;
        });
    }
}

#[test]
fn a_wall_clock_that_is_set_delays_no_lease() {
    for by in [-HOUR, 40 * DAY] {
        let (store, timeline) = (MemoryStore::new(), Timeline::new(Timestamp(START)));
        live(&timeline, async |clock| {
            let engine = start(&store, Failing::new(0), &clock, Retention::default()).await;
            engine.offer(vec![note(1)]).await.unwrap();
            decided(&store, 1, Duration::from_secs(1)).await;
            let request = |wait| LeaseRequest {
                max: 1,
                duration: Duration::from_secs(2),
                wait: Duration::from_secs(wait),
                worker: None,
            };
            let first = engine.lease("record", request(1)).await.unwrap();
            assert_eq!(first.messages.len(), 1);
            timeline.set(by);
            let again = engine.lease("record", request(1)).await.unwrap();
            assert!(again.messages.is_empty(), "the lease has not expired yet");
            let again = engine.lease("record", request(10)).await.unwrap();
            assert_eq!(again.messages.len(), 1, "it has expired after two seconds");
            engine.drain().await;
        });
    }
}

#[test]
fn a_wall_clock_that_is_wrong_for_a_while_deletes_nothing() {
    let hours = |hours| Some(Duration::from_hours(hours));
    let retention = Retention {
        duplicates: hours(7),
        history: hours(30),
        finished: hours(30),
        ..Retention::default()
    };
    let two_minutes = Duration::from_secs(120);
    for (by, restarts) in
        [(40 * DAY, false), (40 * DAY, true), (-40 * DAY, false), (-40 * DAY, true)]
    {
        let (store, timeline) = (MemoryStore::new(), Timeline::new(Timestamp(START)));
        let plugin = || Failing::new(0) as Arc<dyn Handler>;
        live(&timeline, async |clock| {
            let engine = start(&store, plugin(), &clock, retention.clone()).await;
            engine.offer(vec![note(1)]).await.unwrap();
            tokio::time::sleep(two_minutes).await;
            timeline.set(by);
            if !restarts {
                tokio::time::sleep(two_minutes).await;
            }
            engine.offer(vec![note(2)]).await.unwrap();
            engine.drain().await;
        });
        live(&timeline, async |clock| {
            let engine = start(&store, plugin(), &clock, retention.clone()).await;
            engine.offer(vec![note(3)]).await.unwrap();
            tokio::time::sleep(two_minutes).await;
            timeline.set(-by);
            tokio::time::sleep(two_minutes).await;
            for n in 1..=3 {
                let receipts = engine.offer(vec![note(n)]).await.unwrap();
                assert_eq!(receipts, [Receipt::Duplicate], "{n} is forgotten");
            }
            engine.drain().await;
        });
        live(&timeline, async |clock| {
            let engine = start(&store, plugin(), &clock, retention.clone()).await;
            tokio::time::sleep(Duration::from_hours(2)).await;
            let rows = store.look(|tables| (tables.log.len(), tables.decisions.len()));
            assert_eq!(rows, (3, 3), "after {by}");
            // In the end it is removed.
            tokio::time::sleep(Duration::from_hours(75)).await;
            assert_eq!(store.look(|tables| tables.log.len()), 0, "after {by}");
            engine.drain().await;
        });
    }
}
