//! Tests of keys whose next attempt is far away: everything else continues, also after crashes.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use super::plan::event;
use super::scripts::{manifest, subscription};
use super::small::{COMMAND, dead_letters, keys, until};
use super::world::START;
use crate::engine::{Action, Engine, Parts, Resolution, Settings};
use crate::lock;
use crate::model::{
    Absent, AnswerValue, DeadLetterStatus, Decision, Effect, Event, Failure, Key, Manifest,
    Message, MessageKind, Outgoing, PluginName, Question, Role, SinkName, State, Timestamp, Wait,
};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::memory::MemoryStore;
use crate::seams::transport::{DeliveryError, Order, Sink, Transport};

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
const CURSOR_BYTES_MAX: usize = 1_000;
const PLUGIN: &str = "steps";

/// A plugin that asks a lookup for each event, then notes the event in its state and sends a
/// command.
struct Steps(Manifest);

impl Steps {
    fn handler() -> Arc<dyn Handler> {
        let take = subscription("step", "/order", Effect::StartOrHandle, Absent::Ignore);
        Arc::new(Self(manifest(PLUGIN, Role::ProcessManager, vec![take], 0)))
    }
}

impl Handler for Steps {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        if call.answers.is_empty() {
            // Each key has its own lookup, so that one key's failures do not concern another
            // key.
            let (name, key) = (call.key.to_string(), name(&call.event).to_owned());
            return Ok(Reply::Need(vec![Question::Lookup { name, key }]));
        }
        let before = call.state.as_ref().map(|state| String::from_utf8_lossy(&state.data));
        let state = format!("{} {}", before.unwrap_or_default(), name(&call.event));
        let message = Outgoing {
            kind: MessageKind::Command,
            event_type: COMMAND.to_owned(),
            subject: None,
            datacontenttype: "application/json".to_owned(),
            extensions: Vec::new(),
            data: "{}".into(),
        };
        let (state, messages) = (Some(Bytes::from(state)), vec![message]);
        Ok(Reply::Decided(Decision { state, messages, ..Decision::default() }))
    }

    fn migrate(&self, state: &State, _: u32) -> Result<Bytes, String> {
        Ok(state.data.clone())
    }
}

/// The event's key and number.
fn name(event: &Event) -> &str {
    event.id.strip_prefix("step-").unwrap_or(&event.id)
}

/// A lookup and sink that fails for the names in `pauses`, so often and with such a pause, and
/// otherwise works.
#[derive(Default)]
struct Outside {
    pauses: Mutex<BTreeMap<String, Pause>>,
    /// How long an answer takes, by name; others take a millisecond.
    slow: Mutex<BTreeMap<String, Duration>>,
    asked: Mutex<Vec<(String, Instant)>>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    times: u32,
    wait: Duration,
}

impl Outside {
    fn pause(&self, names: impl IntoIterator<Item = String>, times: u32, wait: Duration) {
        let pause = Pause { times, wait };
        lock(&self.pauses).extend(names.into_iter().map(|name| (name, pause)));
    }

    /// The times at which it was asked for this name.
    fn asked(&self, name: &str) -> Vec<Instant> {
        let asked = lock(&self.asked);
        asked.iter().filter(|(asked, _)| asked == name).map(|(_, at)| *at).collect()
    }

    async fn take(&self, name: &str) -> Option<Pause> {
        let slow = lock(&self.slow).get(name).copied();
        tokio::time::sleep(slow.unwrap_or(Duration::from_millis(1))).await;
        lock(&self.asked).push((name.to_owned(), Instant::now()));
        let mut pauses = lock(&self.pauses);
        let pause = pauses.get_mut(name).filter(|pause| pause.times > 0)?;
        pause.times -= 1;
        Some(*pause)
    }
}

#[async_trait]
impl Lookup for Outside {
    async fn ask(&self, _: &PluginName, _: &str, key: &str) -> Result<AnswerValue, Unanswered> {
        let failed = |pause: Pause| {
            let (reason, retry_after) = ("busy".to_owned(), Some(pause.wait));
            Err(Unanswered::Transient { reason, retry_after })
        };
        self.take(key).await.map_or(Ok(AnswerValue::Missing), failed)
    }
}

#[async_trait]
impl Transport for Outside {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        let [message] = messages else { panic!("one at a time: {messages:?}") };
        let pause = self.take(message.key.as_str()).await;
        let failed = |pause: Pause| {
            let (reason, retry_after) = ("busy".to_owned(), Some(pause.wait));
            Err(DeliveryError::Transient { reason, retry_after })
        };
        vec![pause.map_or(Ok(()), failed)]
    }

    fn batch_max(&self) -> usize {
        1
    }

    fn in_flight(&self) -> usize {
        32
    }
}

struct World {
    store: MemoryStore,
    lookup: Arc<Outside>,
    sink: Arc<Outside>,
    begin: Instant,
    /// The milliseconds by which the wall clock is ahead of the simulated time.
    ahead: Arc<AtomicU64>,
    settings: Settings,
    order: Order,
}

impl World {
    fn new(entries_read_max: usize) -> Self {
        Self {
            store: MemoryStore::new(),
            lookup: Arc::default(),
            sink: Arc::default(),
            begin: Instant::now(),
            ahead: Arc::new(AtomicU64::new(u64::try_from((100 * HOUR).as_millis()).unwrap())),
            settings: Settings { shards: 0, entries_read_max, ..Settings::default() },
            order: Order::Key,
        }
    }

    async fn start(&self) -> Engine {
        let (begin, ahead) = (self.begin, Arc::clone(&self.ahead));
        let name = SinkName::from("sink");
        let transport = Arc::clone(&self.sink) as Arc<dyn Transport>;
        let sink = Sink { transport, order: self.order };
        let parts = Parts {
            store: Arc::new(self.store.clone()),
            handlers: vec![Steps::handler()],
            canaries: Vec::new(),
            lookup: Arc::clone(&self.lookup) as Arc<dyn Lookup>,
            sinks: HashMap::from([(name.clone(), sink)]),
            routes: BTreeMap::from([(COMMAND.to_owned(), name)]),
            clock: Arc::new(move || {
                let ahead = Duration::from_millis(ahead.load(Ordering::Relaxed));
                Timestamp(START).after(begin.elapsed() + ahead)
            }),
            settings: self.settings.clone(),
        };
        Engine::start(parts).await.expect("the store in memory can be read")
    }

    /// The events that a key has decided, by its state.
    fn decided(&self, key: &str) -> Vec<String> {
        let row = (PluginName::from(PLUGIN), Key::from(key));
        let state = self.store.look(|tables| tables.instances.get(&row)?.state.clone());
        let text = state.map(|state| String::from_utf8_lossy(&state.data).into_owned());
        text.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    fn decisions(&self) -> usize {
        self.store.look(|tables| tables.decisions.len())
    }

    fn delivered(&self) -> u64 {
        let sink = SinkName::from("sink");
        self.store.look(|tables| tables.sinks.get(&sink).map_or(0, |s| s.counters.handled))
    }

    fn wait(&self, key: &str) -> Option<Wait> {
        let row = (PluginName::from(PLUGIN), Key::from(key));
        self.store.look(|tables| tables.waits.get(&row).cloned())
    }

    fn waits(&self) -> usize {
        self.store.look(|tables| tables.waits.len() + tables.message_waits.len())
    }

    /// The number of the attempt that decided an event.
    fn attempt(&self, id: &str) -> u32 {
        self.store.look(|tables| {
            let of_event =
                |position| tables.log.get(position).is_some_and(|e| name(&e.event) == id);
            let decision = tables.decisions.values().find(|d| of_event(&d.position));
            decision.map_or(0, |decision| decision.attempt)
        })
    }

    #[track_caller]
    fn assert_small_cursors(&self) {
        self.store.look(|tables| {
            let plugins = tables.plugins.values().map(|progress| &progress.cursor);
            let sinks = tables.sinks.values().map(|progress| &progress.cursor);
            for cursor in plugins.chain(sinks) {
                let bytes = serde_json::to_string(cursor).unwrap().len();
                assert!(bytes <= CURSOR_BYTES_MAX, "a cursor of {bytes} bytes");
            }
        });
    }
}

/// Sends an event of this key and number.
async fn step(engine: &Engine, key: &str, number: usize) {
    let step = event("step", &format!("{key}-{number}"), &json!({"order": key}));
    engine.offer(vec![step]).await.expect("the store in memory takes it");
}

async fn steps(engine: &Engine, keys: &[String], number: usize) {
    let step = |key: &String| event("step", &format!("{key}-{number}"), &json!({"order": key}));
    for keys in keys.chunks(1_000) {
        engine.offer(keys.iter().map(step).collect()).await.expect("it takes it");
    }
}

impl World {
    /// Simulates a crash: the store returns to what is committed now.
    async fn crash(&self, engine: Engine) {
        let tables = self.store.snapshot();
        engine.drain().await;
        self.store.put_back(tables);
    }
}

#[tokio::test(start_paused = true)]
async fn one_key_in_a_long_retry_holds_back_nothing() {
    for chunk in [1, 3, 512] {
        let world = World::new(chunk);
        world.lookup.pause(["k7-0".to_owned()], 1, HOUR);
        let engine = world.start().await;
        let begin = Instant::now();
        let keys = keys(40);
        for number in 0..50 {
            steps(&engine, &keys, number).await;
        }
        until("all others", MINUTE, || world.decisions() == 39 * 50).await;
        until("a small cursor", MINUTE, || {
            let cursor = |tables: &crate::seams::store::memory::Tables| {
                tables.plugins.values().next().map_or(0, |progress| progress.cursor.settled)
            };
            world.store.look(cursor) >= 40 * 50
        })
        .await;
        world.assert_small_cursors();
        let wait = world.wait("k7").expect("it waits");
        assert_eq!((wait.attempt, wait.until.since(wait.since)), (2, HOUR));
        assert!(wait.reason.contains("busy"), "{wait:?}");
        until("the others", 2 * HOUR, || world.decisions() == 40 * 50).await;
        let asked = world.lookup.asked("k7-0");
        assert!(asked[1] - begin >= HOUR, "{:?}", asked[1] - begin);
        assert_eq!((asked.len(), world.attempt("k7-0"), world.attempt("k7-1")), (2, 2, 1));
        let expected: Vec<String> = (0..50).map(|number| format!("k7-{number}")).collect();
        assert_eq!(world.decided("k7"), expected);
        assert_eq!((world.waits(), dead_letters(&world.store)), (0, Vec::new()));
        engine.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn any_number_of_keys_may_wait_and_the_log_is_read_on() {
    let world = World::new(512);
    let slow = keys(9_000);
    world.lookup.pause(slow.iter().map(|key| format!("{key}-0")), 1, HOUR);
    let engine = world.start().await;
    step(&engine, "first", 0).await;
    steps(&engine, &slow, 0).await;
    steps(&engine, &slow, 1).await;
    step(&engine, "last", 0).await;
    until("the last", MINUTE, || world.decided("last").len() == 1).await;
    until("all rows", MINUTE, || world.waits() == 9_000).await;
    tokio::time::sleep(MINUTE).await;
    world.assert_small_cursors();
    engine.drain().await;
    let engine = world.start().await;
    step(&engine, "later", 0).await;
    until("a later one", MINUTE, || world.decided("later").len() == 1).await;
    world.assert_small_cursors();
    until("all", 2 * HOUR, || world.decisions() == 2 * 9_000 + 3).await;
    assert_eq!(world.waits(), 0);
    assert_eq!(world.decided("k8999"), ["k8999-0", "k8999-1"]);
    assert_eq!(world.attempt("k8999-0"), 2);
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_keeps_attempt_and_date_whatever_the_wall_clock_says() {
    let hours = |hours: u64| hours * 3_600_000;
    for set_to in [hours(100), hours(90), hours(100) + 1_800_000, hours(200)] {
        let world = World::new(3);
        world.lookup.pause(["k-1".to_owned()], 3, HOUR);
        let engine = world.start().await;
        for number in 0..4 {
            step(&engine, "k", number).await;
        }
        until("the wait", MINUTE, || world.waits() == 1).await;
        tokio::time::sleep(HOUR / 4).await;
        world.crash(engine).await;
        world.ahead.store(set_to, Ordering::Relaxed);
        let engine = world.start().await;
        step(&engine, "other", 0).await;
        until("the second attempt", 2 * HOUR, || world.lookup.asked("k-1").len() == 2).await;
        let asked = world.lookup.asked("k-1");
        let pause = asked[1] - asked[0];
        if set_to == hours(100) {
            assert!(pause >= HOUR, "{pause:?}");
        }
        assert!(pause <= HOUR * 5 / 4 + MINUTE, "no longer than it was said to be: {pause:?}");
        until("the third", 3 * HOUR, || world.lookup.asked("k-1").len() == 3).await;
        until("it waits", MINUTE, || world.wait("k").is_some_and(|wait| wait.attempt == 4)).await;
        engine.drain().await;
        let engine = world.start().await;
        until("all", 3 * HOUR, || world.decided("k").len() == 4).await;
        assert_eq!(world.decided("k"), ["k-0", "k-1", "k-2", "k-3"]);
        assert_eq!((world.attempt("k-1"), world.attempt("k-2")), (4, 1));
        until("no wait", MINUTE, || world.waits() == 0).await;
        engine.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_becomes_a_dead_letter_and_its_wait_ends() {
    let world = World::new(512);
    world.lookup.pause(["k-0".to_owned()], 100, HOUR);
    let mut engine = world.start().await;
    step(&engine, "k", 0).await;
    step(&engine, "k", 1).await;
    for _ in 0..12 {
        tokio::time::sleep(HOUR + MINUTE).await;
        world.crash(engine).await;
        engine = world.start().await;
    }
    until("the dead letter", MINUTE, || dead_letters(&world.store).len() == 1).await;
    assert_eq!(dead_letters(&world.store)[0].attempts, 10);
    assert_eq!((world.waits(), world.lookup.asked("k-0").len()), (0, 10));

    // The redriven dead letter waits for its next attempt. The later event of the key parks
    // behind it.
    lock(&world.lookup.pauses).clear();
    world.lookup.pause(["k-0".to_owned()], 1, HOUR);
    let redrive = Resolution {
        action: Action::Redrive { edited: None },
        by: "ada".to_owned(),
        reason: "again".to_owned(),
        batch: None,
    };
    engine.resolve(dead_letters(&world.store)[0].id, redrive).await.unwrap();
    until("it waits again", MINUTE, || world.waits() == 1).await;
    assert_eq!(dead_letters(&world.store)[0].status, DeadLetterStatus::Redriving);
    step(&engine, "k", 2).await;
    tokio::time::sleep(HOUR / 2).await;
    world.crash(engine).await;
    let engine = world.start().await;
    tokio::time::sleep(HOUR / 4).await;
    assert_eq!(world.lookup.asked("k-0").len(), 11);
    until("all", 2 * HOUR, || world.decided("k").len() == 3).await;
    assert_eq!(world.decided("k"), ["k-0", "k-1", "k-2"]);
    until("resolved", MINUTE, || {
        dead_letters(&world.store)[0].status == DeadLetterStatus::Redriven
    })
    .await;
    until("no wait", MINUTE, || world.waits() == 0).await;
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_waits_can_be_ended_at_once() {
    for is_dead_letter in [false, true] {
        let world = World::new(512);
        let engine = world.start().await;
        step(&engine, "k", 0).await;
        until("it runs", MINUTE, || world.decided("k").len() == 1).await;
        if is_dead_letter {
            world.lookup.pause(["k-1".to_owned()], 10, Duration::ZERO);
            step(&engine, "k", 1).await;
            until("the dead letter", 10 * MINUTE, || dead_letters(&world.store).len() == 1).await;
            world.lookup.pause(["k-1".to_owned()], 1, HOUR);
            let (by, reason) = ("ada".to_owned(), "again".to_owned());
            let redrive =
                Resolution { action: Action::Redrive { edited: None }, by, reason, batch: None };
            engine.resolve(dead_letters(&world.store)[0].id, redrive).await.unwrap();
        } else {
            world.lookup.pause(["k-1".to_owned()], 1, HOUR);
            step(&engine, "k", 1).await;
        }
        step(&engine, "k", 2).await;
        until("it waits", MINUTE, || world.waits() == 1).await;
        engine.end(&PLUGIN.into(), &"k".into(), "ada", "over").await.unwrap();
        let row = (PluginName::from(PLUGIN), Key::from("k"));
        until("its end", MINUTE, || {
            let is_running = |status: crate::model::InstanceStatus| status.is_running();
            world.store.look(|tables| !is_running(tables.instances[&row].status))
        })
        .await;
        until("nothing waits", MINUTE, || {
            world.waits() == 0 && world.store.look(|tables| tables.parked.is_empty())
        })
        .await;
        assert!(dead_letters(&world.store).iter().all(|l| l.status == DeadLetterStatus::Discarded));
        engine.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_long_retries_in_the_store_too() {
    let world = World::new(512);
    let slow = keys(17_000);
    world.sink.pause(slow.iter().cloned(), 1, HOUR);
    let engine = world.start().await;
    step(&engine, "first", 0).await;
    until("the first", MINUTE, || world.delivered() == 1).await;
    let begin = Instant::now();
    // Messages that are delivered come between them. So the sink works, and the failures count
    // for the messages.
    for (number, keys) in slow.chunks(2).enumerate() {
        steps(&engine, keys, 0).await;
        step(&engine, &format!("other-{number}"), 0).await;
    }
    steps(&engine, &slow[..10], 1).await;
    step(&engine, "last", 0).await;
    let others = 1 + 17_000 / 2 + 1;
    until("all others", 10 * MINUTE, || world.delivered() == others).await;
    until("all rows", MINUTE, || world.waits() == 17_000).await;
    world.assert_small_cursors();
    world.crash(engine).await;
    let engine = world.start().await;
    until("all", 2 * HOUR, || world.delivered() == others + 17_010).await;
    let asked = world.sink.asked("k3");
    assert_eq!(asked.len(), 3);
    assert!(asked[1] - begin >= HOUR);
    assert_eq!((world.waits(), dead_letters(&world.store)), (0, Vec::new()));
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_keeps_its_attempts_through_crashes() {
    let world = World::new(512);
    world.sink.pause(["k".to_owned()], 100, HOUR);
    let mut engine = world.start().await;
    step(&engine, "k", 0).await;
    for number in 0..12 {
        step(&engine, "other", number).await;
        tokio::time::sleep(HOUR + MINUTE).await;
        world.crash(engine).await;
        engine = world.start().await;
    }
    until("the dead letter", MINUTE, || dead_letters(&world.store).len() == 1).await;
    assert_eq!(dead_letters(&world.store)[0].attempts, 10);
    assert_eq!((world.waits(), world.sink.asked("k").len()), (0, 10));
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_is_slow_for_many_keys_holds_back_no_other() {
    for chunk in [3, 512] {
        let world = World::new(chunk);
        let slow = keys(3_000);
        let answer = |key: &String| (format!("{key}-0"), Duration::from_secs(9));
        lock(&world.lookup.slow).extend(slow.iter().map(answer));
        world.lookup.pause(["k5-0".to_owned()], 1, HOUR);
        let engine = world.start().await;
        steps(&engine, &slow, 0).await;
        steps(&engine, &slow[..100], 1).await;
        step(&engine, "last", 0).await;
        until("the last", Duration::from_secs(5), || world.decided("last").len() == 1).await;
        until("all rows", Duration::from_secs(5), || world.waits() == 3_000).await;
        world.assert_small_cursors();
        until("all", MINUTE, || world.decisions() == 2_999 + 99 + 1).await;
        assert_eq!(world.lookup.asked("k7-0").len(), 1, "its answer was waited for");
        assert_eq!(world.decided("k7"), ["k7-0", "k7-1"]);
        assert_eq!((world.attempt("k7-0"), world.waits()), (1, 1));
        // The slow question failed, and its key waits for a long time.
        assert_eq!(world.wait("k5").map(|wait| wait.attempt), Some(2));
        until("that one", 2 * HOUR, || world.decided("k5").len() == 2).await;
        assert_eq!((world.attempt("k5-0"), world.waits()), (2, 0));
        engine.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_was_asked_before_a_crash_is_asked_again_at_once() {
    let world = World::new(512);
    lock(&world.lookup.slow).insert("k-0".to_owned(), Duration::from_secs(9));
    let engine = world.start().await;
    step(&engine, "k", 0).await;
    step(&engine, "k", 1).await;
    until("it waits", MINUTE, || world.waits() == 1).await;
    world.crash(engine).await;
    lock(&world.lookup.slow).clear();
    let engine = world.start().await;
    until("all", Duration::from_secs(2), || world.decided("k").len() == 2).await;
    assert_eq!((world.decided("k")[0].as_str(), world.attempt("k-0")), ("k-0", 1));
    until("no wait", MINUTE, || world.waits() == 0).await;
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn messages_wait_in_the_order_of_their_sink() {
    for (order, before) in [(Order::Key, 20), (Order::None, 21), (Order::Whole, 1)] {
        let mut world = World::new(512);
        world.order = order;
        let engine = world.start().await;
        step(&engine, "first", 0).await;
        until("the first", MINUTE, || world.delivered() == 1).await;
        // Without an order, two of the key's three messages fail, and each waits separately.
        world.sink.pause(["k".to_owned()], if order == Order::None { 2 } else { 1 }, HOUR);
        for number in 0..3 {
            step(&engine, "k", number).await;
        }
        until("it waits", MINUTE, || world.waits() > 0).await;
        steps(&engine, &keys(19), 0).await;
        until("what may leave", MINUTE, || world.delivered() == before).await;
        tokio::time::sleep(HOUR / 2).await;
        assert_eq!(world.waits(), if order == Order::None { 2 } else { 1 }, "{order:?}");
        world.assert_small_cursors();
        world.crash(engine).await;
        let engine = world.start().await;
        tokio::time::sleep(HOUR / 4).await;
        assert_eq!(world.delivered(), before, "{order:?}");
        until("all", 2 * HOUR, || world.delivered() == 1 + 3 + 19).await;
        until("no wait", MINUTE, || world.waits() == 0).await;
        assert_eq!(dead_letters(&world.store), []);
        engine.drain().await;
    }
}
