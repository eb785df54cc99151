//! A failure at every step: one small scenario runs again and again. In each run, one call
//! through a seam fails, in one of the ways in which it can fail.
//!
//! The world of a seed fails at random calls; this one fails at each call once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;
use tokio::sync::Notify;

use super::directory::History;
use super::ledger;
use super::outside::is_refused;
use super::plan::{Plan, Treatment, event};
use super::scripts::{Pattern, Script, handlers};
use super::timeline::Timeline;
use super::unwritable::Unwritable;
use super::world::{HostRun, Operator, START};
use crate::engine::{Parts, Settings, Spans};
use crate::lock;
use crate::model::Retention;
use crate::model::{
    AnswerValue, DeadLetter, DeadLetterId, Event, Failure, Held, Key, LogEntry, Manifest, Message,
    PluginName, Position, Sequence, SinkName, State, TimerPlace, Timestamp,
};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::memory::MemoryStore;
use crate::seams::store::{
    Batch, CommitError, Committed, DecidedEvent, FinishedInstance, Page, ReadError, Recovered,
    RecoveredPlugin, Store, StoredInstance, StoredInstances, StreamPage, TimerRow,
};
use crate::seams::transport::{DeliveryError, Sink, Transport};

/// How long a call through a seam takes. Meanwhile other work gathers.
const CALL_TIME: Duration = Duration::from_millis(1);
/// The first two runs end in the middle of the work, also without a failure, so that the next run
/// has a log and an outbox to read. All work of the first run fits into these milliseconds; it ends
/// after several of them, so that each step fails together with early and late crashes.
const FIRST_RUN_MS_MAX: u64 = 12;
const FIRST_RUN_STEP: usize = 4;
const SECOND_RUN: Duration = Duration::from_millis(9);
/// Longer than the timers: they fire before the events that would cancel them are handled.
const DOWN_TIME: Duration = Duration::from_millis(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seam {
    Commit,
    Read(&'static str),
    Deliver,
    Ask,
    Handle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It does not happen, and the caller gets an error that says so.
    Refused,
    /// It does not happen, and the caller gets the error of an unknown outcome.
    Lost,
    /// It happens, and the caller gets the error of an unknown outcome.
    Written,
    /// The host crashes before it happens.
    CrashBefore,
    /// It happens, and the host crashes before the caller gets the answer.
    CrashAfter,
}

impl Seam {
    fn faults(self) -> &'static [Fault] {
        use Fault::{CrashAfter, CrashBefore, Lost, Refused, Written};
        match self {
            Self::Commit => &[Refused, Lost, Written, CrashBefore, CrashAfter],
            Self::Deliver => &[Refused, Written, CrashBefore, CrashAfter],
            // A call that changes nothing has no unknown outcome.
            Self::Read(_) | Self::Ask => &[Refused, CrashBefore],
            Self::Handle => &[Refused, CrashAfter],
        }
    }
}

/// Counts the calls of a run, and decides which one fails.
struct Steps {
    calls: Mutex<Vec<Seam>>,
    step: usize,
    /// The way in which the step fails, as an index into [`Seam::faults`].
    way: usize,
    crash: Notify,
}

impl Steps {
    fn next(&self, seam: Seam) -> Option<Fault> {
        let mut calls = lock(&self.calls);
        calls.push(seam);
        let faults = seam.faults();
        (calls.len() - 1 == self.step).then(|| faults[self.way % faults.len()])
    }

    /// Never returns: the runtime is dropped while the caller waits here.
    async fn crash<T>(&self) -> T {
        self.crash.notify_one();
        std::future::pending().await
    }

    async fn read(&self, which: &'static str) -> Result<(), ReadError> {
        match self.next(Seam::Read(which)) {
            None => Ok(()),
            Some(Fault::CrashBefore) => self.crash().await,
            Some(_) => Err(ReadError("planted: the read failed".to_owned())),
        }
    }
}

/// The type, ordering key and id of every message that was sent.
type Sent = BTreeSet<(String, Key, String)>;

/// Runs the scenario with each step failing in each way, until a run has no such step. Returns
/// the number of failures, by seam. Whatever fails, the same messages must be sent, with the
/// same ids.
///
/// # Errors
/// Names the step and the guarantee that was broken.
pub(crate) fn run() -> Result<BTreeMap<String, usize>, String> {
    let mut points = BTreeMap::new();
    let mut expected: Option<Sent> = None;
    for first_run in (0..=FIRST_RUN_MS_MAX).step_by(FIRST_RUN_STEP) {
        let (mut step, mut way) = (0, 0);
        loop {
            let (calls, sent) = run_once(Duration::from_millis(first_run), step, way)?;
            let expected = expected.get_or_insert_with(|| sent.clone());
            if sent != *expected {
                let difference: Vec<_> = sent.symmetric_difference(expected).collect();
                return Err(format!(
                    "guarantee 5: another run sent other messages (step {step}, way {way}, \
                     after a run of {first_run} ms): {difference:?}"
                ));
            }
            let Some(seam) = calls.get(step) else { break };
            *points.entry(format!("{seam:?}")).or_default() += 1;
            way += 1;
            if way >= seam.faults().len() {
                (step, way) = (step + 1, 0);
            }
        }
    }
    Ok(points)
}

/// One run, in which one step fails in one way. Returns its calls, and the messages that it
/// sent.
fn run_once(first_run: Duration, step: usize, way: usize) -> Result<(Vec<Seam>, Sent), String> {
    let steps = Arc::new(Steps { calls: Mutex::default(), step, way, crash: Notify::new() });
    let sent = live(&steps, first_run).map_err(|reason| {
        let seam = lock(&steps.calls).get(step).copied();
        let fault = seam.map(|seam| seam.faults()[way % seam.faults().len()]);
        format!("{fault:?} at step {step}, {seam:?}, after a run of {first_run:?}: {reason}")
    })?;
    Ok((lock(&steps.calls).clone(), sent))
}

/// Performs runs of the host until all work is done, then checks with the ledger.
fn live(steps: &Arc<Steps>, first_run: Duration) -> Result<Sent, String> {
    let plan = plan();
    let store = MemoryStore::new();
    let sink = Arc::new(Mutex::new(Vec::new()));
    let timeline = Timeline::new(Timestamp(START));
    let mut unacknowledged = plan.events.clone();
    let cured = Arc::new(AtomicBool::new(false));
    for host_run in 0.. {
        let parts = parts(&plan, &cured, &store, &sink, steps);
        let this_run = HostRun {
            parts,
            timeline: &timeline,
            random: StdRng::seed_from_u64(host_run as u64),
            unacknowledged: &mut unacknowledged,
            operator: Operator {
                plan: &plan,
                cured: &cured,
                prudent: true,
                store: &store,
                forger: None,
            },
            delivered: &|| lock(&sink).clone(),
            directory: None,
            stop: None,
        };
        let done = this_run.run(async {
            let over = async {
                match [first_run, SECOND_RUN].get(host_run) {
                    Some(length) => tokio::time::sleep(*length).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = steps.crash.notified() => {}
                () = over => {}
            }
        })?;
        if done {
            break;
        }
        timeline.pass(DOWN_TIME);
    }
    let tables = store.snapshot();
    ledger::check(&plan, &History::default(), &tables, &lock(&sink))?;
    let recorded = tables.messages.values().filter(|message| message.event.event_type == "record");
    let mut recorded: Vec<&str> = recorded.map(|message| message.key.as_str()).collect();
    recorded.sort_unstable();
    if recorded != RECORDED {
        return Err(format!("notes of {recorded:?} were recorded, not of {RECORDED:?}"));
    }
    let sent = tables.messages.values().map(|message| {
        (message.event.event_type.clone(), message.key.clone(), message.event.id.clone())
    });
    Ok(sent.collect())
}

/// Two orders whose items share a package, events that come before those that they depend on, a
/// duplicate, a poisoned key, a command that cannot be delivered, and dead letters that are
/// discarded with what waits behind them, skipped, and moved to another key.
fn plan() -> Plan {
    let order = |name: &str, items: &[&str]| {
        (name.to_owned(), items.iter().map(|item| (*item).to_owned()).collect())
    };
    let orders = BTreeMap::from([order("o1", &["i1", "i2"]), order("o2", &["i3"])]);
    let pay = |name: &str| event("pay", name, &json!({"order": name}));
    let place = |name: &str| event("place", name, &json!({"order": name, "items": orders[name]}));
    let pack =
        |name: &str, items: &[&str]| event("pack", name, &json!({"package": name, "items": items}));
    let deliver = |name: &str| event("deliver", name, &json!({"package": name}));
    let note = |name: &str, order: &str| event("note", name, &json!({"order": order}));
    let events = vec![
        note("before", "o1"),
        note("dropped", "o1"),
        note("dropped-too", "o1"),
        note("skipped", "o2"),
        note("behind", "o2"),
        note("moved", "o3"),
        note("stays", "o3"),
        deliver("p1"),
        place("o1"),
        pack("p1", &["i1", "i3"]),
        pay("o2"),
        place("o2"),
        place("o1"),
        pay("o1"),
        pack("p2", &["i2"]),
        deliver("p2"),
    ];
    let treatments = BTreeMap::from([
        ("note-dropped".to_owned(), Treatment::Discard),
        ("note-skipped".to_owned(), Treatment::Skip),
        ("note-moved".to_owned(), Treatment::Move("o4".to_owned())),
    ]);
    let mut poisoned: BTreeSet<String> = treatments.keys().cloned().collect();
    poisoned.insert("o2".to_owned());
    let refused = BTreeSet::from(["o1".to_owned()]);
    Plan {
        events,
        orders,
        poisoned,
        refused,
        unwritable: Unwritable::default(),
        skips: false,
        treatments,
        sets_clock: false,
    }
}

/// The orders whose notes were recorded: each note once, except those that the operator
/// discarded or moved.
const RECORDED: [&str; 4] = ["o1", "o2", "o3", "o4"];

fn parts(
    plan: &Plan,
    cured: &Arc<AtomicBool>,
    store: &MemoryStore,
    sink: &Arc<Mutex<Vec<Arc<Message>>>>,
    steps: &Arc<Steps>,
) -> Parts {
    let pattern = Pattern {
        seed: 1,
        poisoned: plan.poisoned.clone(),
        cured: Arc::clone(cured),
        ..Pattern::default()
    };
    let stepped = |script| {
        Arc::new(SteppedHandler { inner: script, steps: Arc::clone(steps) }) as Arc<dyn Handler>
    };
    let transport = SteppedSink {
        refused: plan.refused.clone(),
        cured: Arc::clone(cured),
        delivered: Arc::clone(sink),
        steps: Arc::clone(steps),
    };
    let route = |name: &str| (name.to_owned(), SinkName::from("sink"));
    Parts {
        store: Arc::new(SteppedStore { inner: store.clone(), steps: Arc::clone(steps) }),
        handlers: handlers(&pattern).into_iter().map(stepped).collect(),
        canaries: Vec::new(),
        lookup: Arc::new(SteppedLookup { steps: Arc::clone(steps) }),
        sinks: HashMap::from([(SinkName::from("sink"), Sink::new(Arc::new(transport)))]),
        routes: BTreeMap::from([route("close"), route("notify"), route("record")]),
        clock: Arc::new(|| Timestamp(0)),
        settings: Settings {
            shards: 0,
            attempts_max: 10,
            retry_delay_min: Duration::from_millis(1),
            retry_delay_max: Duration::from_millis(10),
            // No instance stays in memory, so each is read again.
            instance_bytes_max: 0,
            held_bytes_max: usize::MAX,
            timers_in_memory_max: 1,
            entries_read_max: 3,
            retention: Retention::default(),
            backlog_max: 1_000,
            waiting_max: 10_000,
            wait_in_memory_max: Duration::from_millis(2),
            date_check_max: Duration::from_millis(500),
            hops_max: 100,
            lookup_timeout: Duration::from_millis(100),
            spans: Spans::default(),
        },
    }
}

struct SteppedHandler {
    inner: Script,
    steps: Arc<Steps>,
}

impl Handler for SteppedHandler {
    fn manifest(&self) -> &Manifest {
        self.inner.manifest()
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        match self.steps.next(Seam::Handle) {
            Some(Fault::Refused) => return Err(Failure::Transient("planted".to_owned())),
            // A call is synchronous, so the crash happens at the next await.
            Some(_) => self.steps.crash.notify_one(),
            None => {}
        }
        self.inner.handle(call)
    }

    fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String> {
        self.inner.migrate(state, to)
    }
}

struct SteppedLookup {
    steps: Arc<Steps>,
}

#[async_trait]
impl Lookup for SteppedLookup {
    async fn ask(&self, _: &PluginName, _: &str, _: &str) -> Result<AnswerValue, Unanswered> {
        let fault = self.steps.next(Seam::Ask);
        tokio::time::sleep(CALL_TIME).await;
        match fault {
            None => Ok(AnswerValue::Missing),
            Some(Fault::CrashBefore) => self.steps.crash().await,
            Some(_) => Err(Failure::Transient("planted".to_owned()).into()),
        }
    }
}

struct SteppedSink {
    refused: BTreeSet<String>,
    cured: Arc<AtomicBool>,
    delivered: Arc<Mutex<Vec<Arc<Message>>>>,
    steps: Arc<Steps>,
}

#[async_trait]
impl Transport for SteppedSink {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        let fault = self.steps.next(Seam::Deliver);
        tokio::time::sleep(3 * CALL_TIME).await;
        if fault == Some(Fault::CrashBefore) {
            return self.steps.crash().await;
        }
        let cured = self.cured.load(Ordering::Relaxed);
        let is_refused = |message: &Arc<Message>| !cured && is_refused(&self.refused, message);
        if fault != Some(Fault::Refused) {
            let taken = messages.iter().filter(|message| !is_refused(message));
            lock(&self.delivered).extend(taken.cloned());
        }
        if fault == Some(Fault::CrashAfter) {
            return self.steps.crash().await;
        }
        let failed = DeliveryError::Transient { reason: "planted".to_owned(), retry_after: None };
        let result = |message: &Arc<Message>| match (fault, is_refused(message)) {
            (Some(_), _) => Err(failed.clone()),
            (None, true) => Err(DeliveryError::Permanent("planted".to_owned())),
            (None, false) => Ok(()),
        };
        messages.iter().map(result).collect()
    }

    fn batch_max(&self) -> usize {
        1
    }
}

struct SteppedStore {
    inner: MemoryStore,
    steps: Arc<Steps>,
}

#[async_trait]
impl Store for SteppedStore {
    async fn recover(&self) -> Result<Recovered, ReadError> {
        self.steps.read("recover").await?;
        self.inner.recover().await
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, CommitError> {
        let fault = self.steps.next(Seam::Commit);
        tokio::time::sleep(CALL_TIME).await;
        let unknown = || Err(CommitError::Unknown("planted".to_owned()));
        match fault {
            None => self.inner.commit(batch).await,
            Some(Fault::Refused) => Err(CommitError::NotCommitted("planted".to_owned())),
            Some(Fault::Lost) => unknown(),
            Some(Fault::Written) => {
                self.inner.commit(batch).await?;
                unknown()
            }
            Some(Fault::CrashBefore) => self.steps.crash().await,
            Some(Fault::CrashAfter) => {
                self.inner.commit(batch).await?;
                self.steps.crash().await
            }
        }
    }

    async fn read_log(&self, after: Position, page: Page) -> Result<Vec<LogEntry>, ReadError> {
        self.steps.read("read_log").await?;
        self.inner.read_log(after, page).await
    }

    async fn read_stream(
        &self,
        subject: &str,
        after: Position,
        before: Position,
        page: Page,
    ) -> Result<StreamPage, ReadError> {
        self.steps.read("read_stream").await?;
        self.inner.read_stream(subject, after, before, page).await
    }

    async fn load(
        &self,
        plugin: &PluginName,
        keys: &[Key],
    ) -> Result<Vec<StoredInstance>, ReadError> {
        self.steps.read("load").await?;
        self.inner.load(plugin, keys).await
    }

    async fn load_all(
        &self,
        plugin: &PluginName,
        limit: usize,
    ) -> Result<Option<StoredInstances>, ReadError> {
        self.steps.read("load_all").await?;
        self.inner.load_all(plugin, limit).await
    }

    async fn read_keys(
        &self,
        plugin: &PluginName,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, ReadError> {
        self.steps.read("read_keys").await?;
        self.inner.read_keys(plugin, after, limit).await
    }

    async fn read_decided(
        &self,
        plugin: &PluginName,
        key: &Key,
        from: Position,
        limit: usize,
    ) -> Result<Vec<DecidedEvent>, ReadError> {
        self.steps.read("read_decided").await?;
        self.inner.read_decided(plugin, key, from, limit).await
    }

    async fn read_outbox(
        &self,
        sink: &SinkName,
        after: Sequence,
        page: Page,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        self.steps.read("read_outbox").await?;
        self.inner.read_outbox(sink, after, page).await
    }

    async fn read_timers(
        &self,
        after: Option<&TimerPlace>,
        page: Page,
    ) -> Result<Vec<TimerRow>, ReadError> {
        self.steps.read("read_timers").await?;
        self.inner.read_timers(after, page).await
    }

    async fn read_parked(
        &self,
        plugin: &PluginName,
        key: &Key,
        after: Position,
        page: Page,
    ) -> Result<Vec<LogEntry>, ReadError> {
        self.steps.read("read_parked").await?;
        self.inner.read_parked(plugin, key, after, page).await
    }

    async fn read_messages(
        &self,
        sink: &SinkName,
        sequences: &[Sequence],
        bytes: usize,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        self.steps.read("read_messages").await?;
        self.inner.read_messages(sink, sequences, bytes).await
    }

    async fn read_expired_holds(
        &self,
        plugin: &PluginName,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Held>, ReadError> {
        self.steps.read("read_expired_holds").await?;
        self.inner.read_expired_holds(plugin, until, limit).await
    }

    async fn read_finished_instances(
        &self,
        plugin: &PluginName,
        place: Position,
        until: Timestamp,
        after: Option<&(Timestamp, Key)>,
        limit: usize,
    ) -> Result<Vec<FinishedInstance>, ReadError> {
        self.steps.read("read_finished_instances").await?;
        self.inner.read_finished_instances(plugin, place, until, after, limit).await
    }

    async fn read_plugin(&self, plugin: &PluginName) -> Result<Option<RecoveredPlugin>, ReadError> {
        self.steps.read("read_plugin").await?;
        self.inner.read_plugin(plugin).await
    }

    async fn read_accepted(
        &self,
        events: &[Arc<Event>],
    ) -> Result<Vec<Option<Arc<Event>>>, ReadError> {
        self.steps.read("read_accepted").await?;
        self.inner.read_accepted(events).await
    }

    async fn read_dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, ReadError> {
        self.steps.read("read_dead_letter").await?;
        self.inner.read_dead_letter(id).await
    }
}
