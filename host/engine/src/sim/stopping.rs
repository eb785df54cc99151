//! Tests that an engine ends when it is asked to, whatever fails meanwhile, and that it does not
//! recover while the epoch before still writes.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;

use super::plan::event;
use super::scripts::{Pattern, served};
use super::world::START;
use crate::engine::{Engine, EngineEnd, OfferError, Parts, Settings};
use crate::model::{AnswerValue, Failure, Manifest, PluginName, State, Timestamp};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::faulty::{CommitFault, Faults, FaultyStore};
use crate::seams::store::memory::MemoryStore;
use crate::seams::store::{Batch, CommitError, Store};
use crate::{lock, wait};

/// A lookup that finds nothing, or panics.
struct Answers {
    panics: bool,
}

#[async_trait]
impl Lookup for Answers {
    async fn ask(&self, _: &PluginName, _: &str, _: &str) -> Result<AnswerValue, Unanswered> {
        assert!(!self.panics, "planted");
        Ok(AnswerValue::Missing)
    }
}

async fn start(
    store: Arc<dyn Store>,
    handlers: Vec<Arc<dyn Handler>>,
    shards: usize,
    panics: bool,
) -> Engine {
    let parts = Parts {
        store,
        handlers,
        canaries: Vec::new(),
        lookup: Arc::new(Answers { panics }),
        sinks: HashMap::new(),
        routes: BTreeMap::new(),
        clock: Arc::new(|| Timestamp(START)),
        settings: Settings { shards, ..Settings::default() },
    };
    Engine::start(parts).await.unwrap()
}

/// Lets reads or commits fail, or another host take over, while the switch is on.
#[derive(Default)]
struct Switch {
    reads: AtomicBool,
    commits: AtomicBool,
    takes_over: AtomicBool,
}

impl Faults for Arc<Switch> {
    fn delay(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn commit(&self) -> Option<CommitFault> {
        if self.takes_over.load(Ordering::Relaxed) {
            return Some(CommitFault::Fenced);
        }
        self.commits.load(Ordering::Relaxed).then_some(CommitFault::Refused)
    }

    fn read(&self) -> bool {
        self.reads.load(Ordering::Relaxed)
    }
}

fn note(name: &str) -> crate::model::Event {
    event("note", name, &json!({"order": "o1"}))
}

#[tokio::test(start_paused = true)]
async fn an_engine_stops_while_no_read_succeeds() {
    let switch = Arc::new(Switch::default());
    let store = FaultyStore::failing(MemoryStore::new(), Arc::clone(&switch));
    let engine = start(Arc::new(store), served(&Pattern::default()), 0, false).await;
    switch.reads.store(true, Ordering::Relaxed);
    engine.offer(vec![note("a")]).await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(60), engine.drain()).await;
    assert_eq!(end, Ok(EngineEnd::Drained), "what is under way needs no read");
}

#[tokio::test(start_paused = true)]
async fn an_engine_stops_in_time_while_no_commit_succeeds() {
    let switch = Arc::new(Switch::default());
    let memory = MemoryStore::new();
    let store = FaultyStore::failing(memory.clone(), Arc::clone(&switch));
    let engine = start(Arc::new(store), served(&Pattern::default()), 0, false).await;
    engine.offer(vec![note("a")]).await.unwrap();
    switch.commits.store(true, Ordering::Relaxed);
    let limit = Duration::from_secs(20);
    let begin = tokio::time::Instant::now();
    let end = tokio::time::timeout(2 * limit, engine.drain_within(limit)).await;
    assert_eq!(end, Ok(EngineEnd::CutOff));
    assert_eq!(begin.elapsed(), limit, "it had its time, and no more");

    // The next engine continues from what is in the store.
    let engine = start(Arc::new(memory.clone()), served(&Pattern::default()), 0, false).await;
    while memory.look(|tables| tables.messages.is_empty()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(engine.drain().await, EngineEnd::Drained);
}

#[tokio::test(start_paused = true)]
async fn an_engine_whose_store_is_taken_over_ends_by_itself() {
    for is_draining in [false, true] {
        let switch = Arc::new(Switch::default());
        let store = FaultyStore::failing(MemoryStore::new(), Arc::clone(&switch));
        let engine = start(Arc::new(store), served(&Pattern::default()), 0, false).await;
        engine.offer(vec![note("a")]).await.unwrap();
        switch.takes_over.store(true, Ordering::Relaxed);
        let drain = async {
            if is_draining {
                engine.drain().await;
            }
        };
        let (answer, ()) = tokio::join!(engine.offer(vec![note("b")]), drain);
        assert!(answer.is_err());
        let end = tokio::time::timeout(Duration::from_secs(60), engine.ended()).await;
        assert_eq!(end, Ok(EngineEnd::Fenced("planted: fenced".to_owned())));
        assert_eq!(engine.offer(vec![note("c")]).await, Err(OfferError::Stopping));
    }
}

/// Blocks its callers until it is opened.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn open(&self) {
        *lock(&self.is_open) = true;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut is_open = lock(&self.is_open);
        while !*is_open {
            is_open = wait(&self.changed, is_open);
        }
    }
}

/// A handler that does not return while the gate is closed.
struct Spinning {
    manifest: Manifest,
    gate: Arc<Gate>,
    begun: Arc<AtomicBool>,
}

impl Handler for Spinning {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&self, _: &Call) -> Result<Reply, Failure> {
        self.begun.store(true, Ordering::Relaxed);
        self.gate.pass();
        Err(Failure::Permanent("it took too long".to_owned()))
    }

    fn migrate(&self, _: &State, _: u32) -> Result<Bytes, String> {
        Err("there is one version".to_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_stops_in_time_while_a_handler_spins() {
    let (gate, begun) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
    let auditor = super::scripts::script(&Pattern::default(), super::scripts::AUDITOR);
    let manifest = auditor.manifest().clone();
    let handler = Spinning { manifest, gate: Arc::clone(&gate), begun: Arc::clone(&begun) };
    let engine = start(Arc::new(MemoryStore::new()), vec![Arc::new(handler)], 1, false).await;
    engine.offer(vec![note("a")]).await.unwrap();
    while !begun.load(Ordering::Relaxed) {
        tokio::task::yield_now().await;
    }
    assert_eq!(engine.drain_within(Duration::from_millis(20)).await, EngineEnd::CutOff);
    gate.open();
}

/// A disk whose commits block the caller's thread for a while. It notes whether the store has to
/// recover while a commit is in progress.
#[derive(Default)]
struct SlowDisk {
    /// Whether commits are slow.
    is_slow: AtomicBool,
    state: Mutex<DiskState>,
    changed: Condvar,
}

#[derive(Default)]
struct DiskState {
    commits: usize,
    is_committing: bool,
    recovered_meanwhile: bool,
}

impl SlowDisk {
    fn lock(&self) -> std::sync::MutexGuard<'_, DiskState> {
        lock(&self.state)
    }
}

impl Faults for Arc<SlowDisk> {
    fn delay(&self) -> Duration {
        Duration::ZERO
    }

    fn commit(&self) -> Option<CommitFault> {
        None
    }

    fn batch(&self, batch: &Batch) -> Option<CommitError> {
        if self.is_slow.load(Ordering::Relaxed) && !batch.appends.is_empty() {
            let mut state = self.lock();
            state.is_committing = true;
            // Long enough for an engine that does not wait for this commit to recover meanwhile.
            let limit = Duration::from_millis(500);
            let waited = self.changed.wait_timeout_while(state, limit, |s| !s.recovered_meanwhile);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.is_committing = false;
            state.commits += 1;
        }
        None
    }

    fn read(&self) -> bool {
        false
    }

    fn recover(&self) {
        let mut state = self.lock();
        state.recovered_meanwhile |= state.is_committing;
        drop(state);
        self.changed.notify_all();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_recovered_while_the_run_before_still_commits() {
    let disk = Arc::new(SlowDisk::default());
    let store = Arc::new(FaultyStore::failing(MemoryStore::new(), Arc::clone(&disk)));
    // The lookup panics when the dispatcher of the receipts asks it, so all stages restart again
    // and again.
    let engine = start(store, served(&Pattern::default()), 1, true).await;
    engine.offer(vec![event("pay", "o1", &json!({"order": "o1"}))]).await.unwrap();
    disk.is_slow.store(true, Ordering::Relaxed);
    for n in 0.. {
        // This is refused while the engine recovers.
        let _ = engine.offer(vec![note(&n.to_string())]).await;
        if disk.lock().commits >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!disk.lock().recovered_meanwhile, "two write at a time");
    engine.drain_within(Duration::ZERO).await;
}
