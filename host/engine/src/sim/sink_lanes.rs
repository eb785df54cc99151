//! Tests of sinks with large messages, for each order: their messages in memory are bounded in
//! bytes, and each message arrives, in order, whatever fails.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use super::plan::event;
use super::seeds::run_all;
use super::small::{COMMAND, Missing, start_with, until};
use super::timeline::Timeline;
use super::world::START;
use crate::Clock;
use crate::engine::{Action, Engine, Parts, Resolution, Settings};
use crate::lock;
use crate::model::{
    Absent, Correlation, Decision, Effect, Event, Failure, Manifest, Message, MessageKind,
    OptionalPart, Outgoing, Role, SinkName, Source, State, Subscription, Timestamp,
};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::store::faulty::{CommitFault, FaultRates, Faults, FaultyStore};
use crate::seams::store::memory::MemoryStore;
use crate::seams::transport::faulty::{DeliveryFault, DeliveryFaults, FaultyTransport};
use crate::seams::transport::memory::MemoryTransport;
use crate::seams::transport::{DeliveryError, Order, Sink, Transport};

const MIB: usize = 1 << 20;
const MINUTE: Duration = Duration::from_secs(60);
/// A world in which work remains after so much simulated time is stuck.
const HOST_RUN_MAX: Duration = Duration::from_secs(60 * 60);

/// A plugin that sends a command of as many bytes as its event says.
struct Sender {
    manifest: Manifest,
    calls: AtomicUsize,
    /// The data of all commands are slices of this text, so that many of them take no memory.
    text: Bytes,
}

impl Sender {
    fn new() -> Arc<Self> {
        let subscription = Subscription {
            event_type: "note".to_owned(),
            source: Source::Any,
            key: Correlation::Pointer("/order".to_owned()),
            effect: Effect::Handle,
            absent: Absent::Ignore,
        };
        let manifest = Manifest {
            name: "sender".into(),
            role: Role::Saga,
            version: "1".into(),
            description: String::new(),
            subscriptions: vec![subscription],
            commands: [COMMAND.to_owned()].into(),
            events: BTreeSet::new(),
            lookups: BTreeSet::new(),
            streams: false,
            state_version: 1,
            optional: OptionalPart::default(),
        };
        let calls = AtomicUsize::new(0);
        Arc::new(Self { manifest, calls, text: Bytes::from(vec![b'x'; 4 * MIB]) })
    }
}

impl Handler for Sender {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let data: serde_json::Value =
            serde_json::from_slice(&call.event.data).expect("our own event");
        let bytes = usize::try_from(data["bytes"].as_u64().expect("our own event"));
        let message = Outgoing {
            kind: MessageKind::Command,
            event_type: COMMAND.to_owned(),
            subject: None,
            datacontenttype: "text/plain".to_owned(),
            extensions: Vec::new(),
            data: self.text.slice(..bytes.expect("it fits")),
        };
        Ok(Reply::Decided(Decision { messages: vec![message], ..Decision::default() }))
    }

    fn migrate(&self, _: &State, _: u32) -> Result<Bytes, String> {
        Err("it has no state".to_owned())
    }
}

fn note(number: usize, key: &str, bytes: usize) -> Event {
    event("note", &number.to_string(), &json!({"order": key, "bytes": bytes}))
}

/// A sink that can be unreachable, and that fails for one key. It notes the messages that it
/// takes.
struct Gate {
    is_away: AtomicBool,
    /// The key for which it fails and asks for a long pause; none if there is none.
    slow: Mutex<Option<&'static str>>,
    taken: Mutex<Vec<(String, u64)>>,
}

impl Gate {
    fn new(is_away: bool, slow: Option<&'static str>) -> Arc<Self> {
        let (is_away, slow) = (AtomicBool::new(is_away), Mutex::new(slow));
        Arc::new(Self { is_away, slow, taken: Mutex::default() })
    }

    fn taken(&self) -> BTreeMap<String, Vec<u64>> {
        let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (key, sequence) in &*lock(&self.taken) {
            by_key.entry(key.clone()).or_default().push(*sequence);
        }
        by_key
    }
}

#[async_trait]
impl Transport for Gate {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let [message] = messages else { panic!("one at a time: {messages:?}") };
        let (reason, key) = ("planted".to_owned(), message.key.as_str());
        let slow = *lock(&self.slow);
        vec![if self.is_away.load(Ordering::Relaxed) {
            Err(DeliveryError::Unavailable { reason, retry_after: None })
        } else if slow == Some(key) {
            Err(DeliveryError::Transient { reason, retry_after: Some(10 * MINUTE) })
        } else {
            let entry = (key.to_owned(), message.sequence.0);
            lock(&self.taken).push(entry);
            Ok(())
        }]
    }

    fn batch_max(&self) -> usize {
        1
    }

    fn in_flight(&self) -> usize {
        8
    }
}

async fn bytes(engine: &Engine) -> usize {
    engine.status().await.outbox_bytes.values().sum()
}

/// Waits until `is_so`. Returns the most bytes of messages that were in memory meanwhile.
async fn most_until(engine: &Engine, is_so: impl Fn() -> bool) -> usize {
    let mut most = 0;
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            most = most.max(bytes(engine).await);
        }
    };
    tokio::time::timeout(30 * MINUTE, waiting).await.expect("all arrive");
    most
}

fn ascending(sequences: &[u64]) -> bool {
    sequences.is_sorted_by(|a, b| a < b)
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_down_has_a_bounded_part_of_its_messages_in_memory() {
    for (order, keys) in [(Order::Key, 7), (Order::Key, 1), (Order::None, 7), (Order::Whole, 7)] {
        let (store, gate) = (MemoryStore::new(), Gate::new(true, None));
        let sink = Sink { transport: Arc::clone(&gate) as Arc<dyn Transport>, order };
        let engine = start_with(&store, Sender::new(), Some(sink), Settings::default()).await;
        let mut most = 0;
        for number in 0..300 {
            let key = format!("k{}", number % keys);
            engine.offer(vec![note(number, &key, MIB)]).await.unwrap();
            most = most.max(bytes(&engine).await);
        }
        tokio::time::sleep(MINUTE).await;
        most = most.max(bytes(&engine).await);
        assert!(most >= 16 * MIB, "{order:?}: nothing is delivered, and {most} bytes are here");
        gate.is_away.store(false, Ordering::Relaxed);
        let arrived = || gate.taken().values().map(Vec::len).sum::<usize>() == 300;
        most = most.max(most_until(&engine, arrived).await);
        // The limits of the window, of one read, and of the tail.
        assert!(most <= (32 + 4 + 8 + 2) * MIB, "{order:?}, {keys} keys: {most} bytes");
        assert!(order == Order::None || gate.taken().values().all(|key| ascending(key)));
        tokio::time::sleep(MINUTE).await;
        assert_eq!(bytes(&engine).await, 0, "{order:?}: all is delivered");
        engine.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_key_with_large_messages_leaves_room_for_the_others() {
    let (store, gate) = (MemoryStore::new(), Gate::new(false, Some("slow")));
    let sink = Sink::new(Arc::clone(&gate) as Arc<dyn Transport>);
    let engine = start_with(&store, Sender::new(), Some(sink), Settings::default()).await;
    for number in 0..400 {
        let key = if number < 200 { "slow" } else { "other" };
        engine.offer(vec![note(number, key, MIB)]).await.unwrap();
    }
    let others = || gate.taken().get("other").is_some_and(|taken| taken.len() == 200);
    tokio::time::timeout(MINUTE, most_until(&engine, others)).await.expect("they go on");
    *gate.slow.lock().unwrap() = None;
    let all = || gate.taken().get("slow").is_some_and(|taken| taken.len() == 200);
    let most = most_until(&engine, all).await;
    assert!(most <= (32 + 4 + 8 + 2) * MIB, "{most} bytes");
    assert!(gate.taken().values().all(|key| ascending(key)));
    engine.drain().await;
}

/// A store whose commits are slow while the switch is on.
struct Slow(Arc<AtomicBool>);

impl Faults for Slow {
    fn delay(&self) -> Duration {
        if self.0.load(Ordering::Relaxed) { MINUTE } else { Duration::ZERO }
    }

    fn commit(&self) -> Option<CommitFault> {
        None
    }

    fn read(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn decisions_that_wait_for_a_commit_are_bounded_in_bytes() {
    let (store, sender, is_slow) = (MemoryStore::new(), Sender::new(), Arc::default());
    let parts = Parts {
        store: Arc::new(FaultyStore::failing(store.clone(), Slow(Arc::clone(&is_slow)))),
        handlers: vec![Arc::clone(&sender) as Arc<dyn Handler>],
        canaries: Vec::new(),
        lookup: Arc::new(Missing),
        sinks: HashMap::new(),
        routes: BTreeMap::new(),
        clock: Arc::new(|| Timestamp(START)),
        // Without shards, calls are made in place. The size of a decision is known only after
        // its call.
        settings: Settings { shards: 0, entries_read_max: 32, ..Settings::default() },
    };
    let engine = Engine::start(parts).await.unwrap();
    let notes = |from, bytes| (from..from + 1_000).map(move |n| note(n, &format!("k{n}"), bytes));
    engine.offer(notes(0, 10).collect()).await.unwrap();
    let decided = |count| {
        let store = store.clone();
        move || store.look(|tables| tables.decisions.len()) == count
    };
    until("the small ones", MINUTE, decided(1_000)).await;
    is_slow.store(true, Ordering::Relaxed);
    engine.offer(notes(1_000, MIB).collect()).await.unwrap();
    tokio::time::sleep(MINUTE / 2).await;
    // The decisions of one commit, and those that wait for the next one.
    let made = sender.calls.load(Ordering::Relaxed) - 1_000;
    assert!((1..=200).contains(&made), "{made} decisions of 1 MiB wait for the store");
    is_slow.store(false, Ordering::Relaxed);
    until("the large ones", 10 * MINUTE, decided(2_000)).await;
    assert_eq!(sender.calls.load(Ordering::Relaxed), 2_000, "each was made once");
    engine.drain().await;
}

/// Faults of deliveries that follow a seed. Some messages are refused until an operator repairs the
/// sink.
struct Seeded {
    random: Mutex<StdRng>,
    refused: BTreeSet<u64>,
    is_mended: Arc<AtomicBool>,
}

impl DeliveryFaults for Seeded {
    fn delay(&self) -> Duration {
        let mut random = lock(&self.random);
        Duration::from_micros(random.random_range(0..5_000))
    }

    fn fault(&self, message: &Message) -> Option<DeliveryFault> {
        if self.refused.contains(&message.sequence.0) && !self.is_mended.load(Ordering::Relaxed) {
            return Some(DeliveryFault::Refused("planted".to_owned()));
        }
        let mut random = lock(&self.random);
        match random.random_range(0..100) {
            0..4 => Some(DeliveryFault::Lost),
            4..8 => Some(DeliveryFault::Misreported),
            8..12 => Some(DeliveryFault::Unavailable),
            _ => None,
        }
    }
}

struct World {
    seed: u64,
    random: StdRng,
    store: MemoryStore,
    sink: MemoryTransport,
    is_mended: Arc<AtomicBool>,
    timeline: Timeline,
    notes: Vec<Event>,
    /// The number of notes that are in the log.
    sent: usize,
}

fn run(seed: u64) -> Result<(), String> {
    super::failing_on_panic(|| World::new(seed).run())
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let count = random.random_range(5..90);
        let large = random.random_range(0..4);
        let notes = (0..count).map(|number| {
            let key = format!("k{}", random.random_range(0..4));
            let is_large = random.random_range(0..4) < large;
            note(number, &key, if is_large { random.random_range(1..4 * MIB) } else { 10 })
        });
        let notes = notes.collect();
        let (batch_max, in_flight) = (random.random_range(1..6), random.random_range(1..5));
        Self {
            seed,
            sink: MemoryTransport::new(batch_max, in_flight),
            random,
            store: MemoryStore::new(),
            is_mended: Arc::default(),
            timeline: Timeline::new(Timestamp(START)),
            notes,
            sent: 0,
        }
    }

    fn run(mut self) -> Result<(), String> {
        let crashes = self.random.random_range(0..4);
        let order = [Order::Key, Order::Whole, Order::None][(self.seed % 3) as usize];
        for host_run in 0.. {
            let crash = (host_run < crashes).then(|| self.random.random_range(0..2_000));
            self.is_mended.store(crash.is_none(), Ordering::Relaxed);
            if self.live(order, crash)? {
                break;
            }
        }
        let mut lanes: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut known = BTreeSet::new();
        for message in self.sink.arrived() {
            let lane = if order == Order::Whole { "" } else { message.key.as_str() };
            if known.insert(message.sequence.0) {
                lanes.entry(lane.to_owned()).or_default().push(message.sequence.0);
            }
        }
        match lanes.iter().find(|(_, lane)| order != Order::None && !ascending(lane)) {
            Some((lane, came)) => Err(format!("{order:?}: `{lane}` came as {came:?}")),
            None => Ok(()),
        }
    }

    /// Performs one run of the host. Returns true if all messages have arrived.
    fn live(&mut self, order: Order, crash: Option<u64>) -> Result<bool, String> {
        let seed = self.random.random_range(0..u64::MAX / 2);
        let parts = self.parts(order);
        let (store, notes, sent) = (self.store.clone(), &self.notes, &mut self.sent);
        let crash = async {
            match crash {
                Some(after) => tokio::time::sleep(Duration::from_millis(after)).await,
                None => std::future::pending().await,
            }
        };
        let ended = self.timeline.live(crash, async |clock| {
            let host_run = async {
                let mut attempts = seed..;
                let engine = loop {
                    let seed = attempts.next().unwrap_or_default();
                    match Engine::start(parts(&clock, seed)).await {
                        Ok(engine) => break engine,
                        Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                };
                let sending = async {
                    while let Some(next) = notes.get(*sent) {
                        match engine.offer(vec![next.clone()]).await {
                            Ok(_) => *sent += 1,
                            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                        }
                    }
                };
                let looking = look_until_done(&engine, &store, notes.len());
                let ((), most) = tokio::join!(sending, looking);
                engine.drain().await;
                most
            };
            let ended = tokio::time::timeout(HOST_RUN_MAX, host_run).await;
            let most = ended.map_err(|_| {
                let tables = store.snapshot();
                format!("{order:?}, stuck: {:?}, parked {:?}", tables.sinks, tables.parked_messages)
            })?;
            // Parked messages are read back in addition to the window, and dead letters wait for
            // their commit.
            match most <= 80 * MIB {
                true => Ok(()),
                false => Err(format!("{order:?}: {most} bytes in memory")),
            }
        })?;
        Ok(ended.is_some())
    }

    fn parts(&self, order: Order) -> impl Fn(&Clock, u64) -> Parts + use<> {
        let (store, memory, own) = (self.store.clone(), self.sink.clone(), self.seed);
        let is_mended = Arc::clone(&self.is_mended);
        move |clock, seed| {
            let refused = (1..100).filter(|place| own % 4 > 0 && (place * 7 + own) % 17 == 0);
            let faults = Seeded {
                random: Mutex::new(StdRng::seed_from_u64(seed)),
                refused: refused.collect(),
                is_mended: Arc::clone(&is_mended),
            };
            let transport = match own % 2 {
                0 => FaultyTransport::new(memory.clone(), faults),
                _ => FaultyTransport::sequential(memory.clone(), faults),
            };
            let rates = FaultRates {
                refused: 10,
                unknown_written: 5,
                unknown_lost: 5,
                read_failed: 20,
                delay_max: Duration::from_millis(3),
            };
            let (name, transport) = (SinkName::from("sink"), Arc::new(transport));
            Parts {
                store: Arc::new(FaultyStore::new(store.clone(), rates, seed)),
                handlers: vec![Sender::new()],
                canaries: Vec::new(),
                lookup: Arc::new(Missing),
                sinks: HashMap::from([(name.clone(), Sink { transport, order })]),
                routes: BTreeMap::from([(COMMAND.to_owned(), name)]),
                clock: Arc::clone(clock),
                settings: Settings { shards: 0, ..Settings::default() },
            }
        }
    }
}

/// Redrives dead letters until `count` messages are settled and no dead letter or parked message
/// is left. Returns the most bytes of messages that were in memory meanwhile.
async fn look_until_done(engine: &Engine, store: &MemoryStore, count: usize) -> usize {
    let mut most = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        most = most.max(bytes(engine).await);
        let dead: Vec<_> = store.look(|tables| {
            let open = tables.dead_letters.values().filter(|l| l.status.is_unresolved());
            open.map(|dead_letter| dead_letter.id).collect()
        });
        let settled = store.look(|tables| {
            let progress = tables.sinks.values().next().map(|sink| sink.cursor.settled);
            tables.parked_messages.is_empty() && progress == Some(count as u64)
        });
        if dead.is_empty() && settled {
            return most;
        }
        for dead_letter in dead {
            let (by, reason) = ("ada".to_owned(), String::new());
            let action = Action::Redrive { edited: None };
            // A dead letter that is not the first of its lane is refused, and is redriven in a
            // later round.
            let _ =
                engine.resolve(dead_letter, Resolution { action, by, reason, batch: None }).await;
        }
    }
}

/// The environment can set more.
const SEEDS: u64 = 600;

#[test]
fn each_message_arrives_in_its_order_and_memory_is_bounded() {
    run_all::<(), ()>(SEEDS, "sink_lanes", run);
}
