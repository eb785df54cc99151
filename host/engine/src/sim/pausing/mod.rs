//! A world with an operator who holds work back: pauses plugins, keys, sinks, message types and the
//! door, sets limits, makes attempts before their time, and resumes everything, while commits and
//! deliveries fail, the host crashes, and the wall clock is set.
//!
//! At the end, each order has decided all of its events in the order of the log, each command has
//! arrived, in the order of its key, and nothing began that was held back (`ledger.rs`).

mod ledger;
mod plugin;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use self::ledger::Ledger;
use self::plugin::{Mailbox, Orders, PACK, PAY, PLUGIN, SHIP, first_arrivals, name};
use super::plan::event;
use super::scripts::AUDITOR;
use super::seeds::run_all;
use super::small::{COMMAND, Missing, dead_letters, note, start, until};
use super::timeline::Timeline;
use super::world::START;
use crate::Clock;
use crate::engine::{Engine, OfferError, Parts, Settings};
use crate::model::{
    Event, Key, LeaseRequest, Limit, Pause, PauseEnd, PluginName, Rate, Selection, SinkName,
    Target, Timestamp, reserved,
};
use crate::seams::store::faulty::{FaultRates, FaultyStore};
use crate::seams::store::memory::{MemoryStore, Tables};
use crate::seams::transport::memory::MemoryTransport;
use crate::seams::transport::{Order, Sink, Transport};

/// A world in which work remains after so much simulated time is stuck.
const HOST_RUN_MAX: Duration = Duration::from_secs(3_600);
const ORDERS: usize = 5;

fn run(seed: u64) -> Result<usize, String> {
    super::failing_on_panic(|| World::new(seed).run())
}

struct World {
    seed: u64,
    random: StdRng,
    store: MemoryStore,
    ledger: Arc<Ledger>,
    timeline: Timeline,
    events: Vec<Event>,
    sent: usize,
    order: Order,
    sets_clock: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut events = Vec::new();
        for number in 0..random.random_range(10..60) {
            let order = format!("o{}", random.random_range(0..ORDERS));
            let event_type = if random.random_range(0..4) == 0 { "place" } else { "step" };
            events.push(event(event_type, &number.to_string(), &json!({"order": order})));
        }
        Self {
            seed,
            store: MemoryStore::new(),
            ledger: Arc::default(),
            timeline: Timeline::new(Timestamp(START)),
            events,
            sent: 0,
            order: [Order::Key, Order::None, Order::Whole, Order::Key][(seed % 4) as usize],
            sets_clock: random.random_range(0..3) == 0,
            random,
        }
    }

    fn run(mut self) -> Result<usize, String> {
        let crashes = self.random.random_range(0..4);
        for host_run in 0.. {
            let crash = (host_run < crashes).then(|| self.random.random_range(0..12_000));
            let ended = self.live(crash)?;
            self.ledger.a_run_ended();
            if ended {
                break;
            }
        }
        if let Some(mistake) = self.ledger.mistakes().first() {
            return Err(mistake.clone());
        }
        check_decided(&self.store.snapshot())?;
        self.check_arrived()?;
        Ok(self.ledger.decisions())
    }

    /// Performs one run of the host. Returns true if it came to its end.
    fn live(&mut self, crash: Option<u64>) -> Result<bool, String> {
        let seed = self.random.random_range(0..u64::MAX / 2);
        let is_last = crash.is_none();
        let (timeline, store) = (self.timeline.clone(), self.store.clone());
        let ledger = Arc::clone(&self.ledger);
        let parts = self.parts();
        let (events, sent) = (&self.events, &mut self.sent);
        let mut operator = Operator {
            random: StdRng::seed_from_u64(seed),
            ledger: Arc::clone(&ledger),
            timeline: self.timeline.clone(),
            sets_clock: self.sets_clock,
        };
        let crash = async {
            match crash {
                Some(after) => tokio::time::sleep(Duration::from_millis(after)).await,
                None => std::future::pending().await,
            }
        };
        let ended = timeline.live(crash, async |clock| {
            let host_run = async {
                let mut attempts = seed..;
                let engine = loop {
                    let seed = attempts.next().unwrap_or_default();
                    match Engine::start(parts(&clock, seed)).await {
                        Ok(engine) => break engine,
                        Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                };
                let worker = tokio::spawn(work(engine.clone(), Arc::clone(&ledger)));
                let actions = async {
                    // In a run that crashes, the operator continues until then.
                    for _ in 0..if is_last { 60 } else { usize::MAX } {
                        operator.act(&engine, &clock).await;
                    }
                    operator.let_go(&engine).await;
                };
                tokio::join!(send(&engine, events, sent, &ledger), actions);
                until_done(&store).await;
                worker.abort();
                let _ = worker.await;
                engine.drain().await;
            };
            let ended = tokio::time::timeout(HOST_RUN_MAX, host_run).await;
            ended.map_err(|_| {
                let tables = store.snapshot();
                format!(
                    "stuck: plugins {:?}, sinks {:?}, parked {:?} {:?}, waits {:?} {:?}, {:?}",
                    tables.plugins,
                    tables.sinks,
                    tables.parked.keys(),
                    tables.parked_messages,
                    tables.waits,
                    tables.message_waits,
                    tables.controls
                )
            })
        })?;
        Ok(ended.is_some())
    }

    fn parts(&self) -> impl Fn(&Clock, u64) -> Parts + use<> {
        let (store, ledger, order, own) =
            (self.store.clone(), Arc::clone(&self.ledger), self.order, self.seed);
        move |clock, seed| {
            let mut random = StdRng::seed_from_u64(own);
            let mailbox = Mailbox {
                ledger: Arc::clone(&ledger),
                random: Mutex::new(StdRng::seed_from_u64(seed)),
                batch_max: random.random_range(1..5),
                in_flight: random.random_range(1..6),
                failing: random.random_range(0..12),
            };
            let rates = FaultRates {
                refused: 10,
                unknown_written: 5,
                unknown_lost: 5,
                read_failed: 10,
                delay_max: Duration::from_millis(3),
            };
            let sink = SinkName::from("sink");
            let transport = Arc::new(mailbox) as Arc<dyn Transport>;
            Parts {
                store: Arc::new(FaultyStore::new(store.clone(), rates, seed)),
                handlers: vec![Orders::handler(&ledger, seed, random.random_range(0..15))],
                canaries: Vec::new(),
                lookup: Arc::new(Missing),
                sinks: HashMap::from([(sink.clone(), Sink { transport, order })]),
                routes: [PAY, SHIP].map(|name| (name.to_owned(), sink.clone())).into(),
                clock: Arc::clone(clock),
                settings: Settings {
                    shards: 0,
                    attempts_max: 1_000,
                    // Many pauses are longer than a second, and rows of the store.
                    retry_delay_min: Duration::from_millis(700),
                    retry_delay_max: Duration::from_secs(4),
                    entries_read_max: random.random_range(1..9),
                    ..Settings::default()
                },
            }
        }
    }

    fn check_arrived(&self) -> Result<(), String> {
        let tables = self.store.snapshot();
        if !tables.dead_letters.is_empty() {
            return Err(format!("dead letters: {:?}", tables.dead_letters));
        }
        let arrived = self.ledger.arrived();
        for sink in ["sink", "queue:Pack"].map(SinkName::from) {
            let of = |message: &&Arc<crate::model::Message>| message.sink == sink;
            let came: Vec<_> = arrived.iter().filter(of).cloned().collect();
            let keys = first_arrivals(&came);
            let sent = tables.messages.values().filter(of).count();
            let count = keys.values().map(Vec::len).sum::<usize>();
            if count != sent {
                return Err(format!("{count} of {sent} messages of {sink} arrived"));
            }
            let in_order = keys.values().all(|key| key.is_sorted());
            if !in_order && (self.order != Order::None || sink.as_str() != "sink") {
                return Err(format!("{sink}: not in order: {keys:?}"));
            }
        }
        Ok(())
    }
}

/// Each order has decided its events in the order of the log, from the one that started it on.
fn check_decided(tables: &Tables) -> Result<(), String> {
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in tables.log.values() {
        let event = &entry.event;
        let order = match event.extension(reserved::EXTENSION_INSTANCE) {
            Some(instance) => instance.to_owned(),
            None => {
                let data: serde_json::Value = serde_json::from_slice(&event.data).expect("ours");
                data["order"].as_str().expect("ours").to_owned()
            }
        };
        let started = expected.get_mut(&order);
        match (&*event.event_type, started) {
            ("place", None) => _ = expected.insert(order, vec![name(event).to_owned()]),
            ("place", Some(_)) | (_, None) => {}
            (_, Some(decided)) => decided.push(name(event).to_owned()),
        }
    }
    let decided: BTreeMap<String, Vec<String>> = tables
        .instances
        .iter()
        .map(|((_, key), instance)| {
            let state = instance.state.as_ref().map(|state| state.data.clone());
            let text = String::from_utf8(state.unwrap_or_default().to_vec()).expect("ours");
            (key.to_string(), text.split_whitespace().map(str::to_owned).collect())
        })
        .collect();
    match decided == expected {
        true => Ok(()),
        false => Err(format!("decided {decided:?}, by the log it is {expected:?}")),
    }
}

async fn send(engine: &Engine, events: &[Event], sent: &mut usize, ledger: &Ledger) {
    while let Some(next) = events.get(*sent) {
        let is_paused = ledger.is_door_paused();
        match engine.offer(vec![next.clone()]).await {
            Ok(_) => {
                if is_paused {
                    ledger.accepted_in_vain();
                }
                *sent += 1;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

/// A worker that leases, works and acknowledges, or crashes during its work.
async fn work(engine: Engine, ledger: Arc<Ledger>) {
    for round in 0_u64.. {
        let request = LeaseRequest {
            max: 1 + (round % 4) as usize,
            wait: Duration::from_millis(200),
            duration: Duration::from_millis(400),
            worker: Some("packer".into()),
        };
        let Ok(lease) = engine.lease(PACK, request).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // An acknowledgement may be durable also if its answer is lost.
        lease.messages.iter().for_each(|leased| {
            ledger.delivers(&leased.message);
            ledger.arrives(&leased.message);
        });
        if !lease.messages.is_empty() {
            let dies = round % 7 == 6;
            tokio::time::sleep(Duration::from_millis(if dies { 500 } else { 30 })).await;
            lease.messages.iter().for_each(|leased| ledger.delivery_ended(&leased.message));
            if !dies {
                let _ = engine.acknowledge(PACK, lease.id, Selection::All).await;
            }
        }
    }
}

/// Waits until all events are decided and all messages delivered.
async fn until_done(store: &MemoryStore) {
    let is_done = |tables: &Tables| {
        let head = tables.log.keys().next_back().map_or(0, |position| position.0);
        let plugins = tables.plugins.values().all(|plugin| plugin.cursor.settled >= head);
        let last = |sink: &SinkName| {
            let of = tables.messages.keys().filter(|(of, _)| of == sink);
            of.map(|(_, sequence)| sequence.0).max().unwrap_or(0)
        };
        let sinks = ["sink", "queue:Pack"].map(SinkName::from).iter().all(|sink| {
            let settled = tables.sinks.get(sink).map_or(0, |sink| sink.cursor.settled);
            settled >= last(sink)
        });
        plugins
            && sinks
            && tables.parked.is_empty()
            && tables.parked_messages.is_empty()
            && tables.timers.is_empty()
            && tables.timers_fired.is_empty()
    };
    while !store.look(is_done) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

struct Operator {
    random: StdRng,
    ledger: Arc<Ledger>,
    timeline: Timeline,
    sets_clock: bool,
}

impl Operator {
    fn target(&mut self) -> Target {
        let plugin = PluginName::from(PLUGIN);
        let types = [PAY, SHIP, PACK];
        match self.random.random_range(0..12) {
            0 => Target::Ingest,
            1 | 2 => Target::Plugin { plugin },
            3..6 => Target::Key { plugin, key: self.key() },
            6 => Target::Sink { sink: "sink".into() },
            7 => Target::Sink { sink: "queue:Pack".into() },
            _ => Target::Type { message_type: types[self.random.random_range(0..3)].to_owned() },
        }
    }

    fn key(&mut self) -> Key {
        format!("o{}", self.random.random_range(0..ORDERS)).as_str().into()
    }

    async fn act(&mut self, engine: &Engine, clock: &Clock) {
        tokio::time::sleep(Duration::from_millis(self.random.random_range(1..300))).await;
        match self.random.random_range(0..10) {
            0..4 => self.pause(engine, clock).await,
            4..6 => {
                let paused = engine.paused();
                if !paused.is_empty() {
                    let one = self.random.random_range(0..paused.len());
                    self.resume(engine, paused[one].target.clone()).await;
                }
            }
            6 | 7 => self.limit(engine, clock).await,
            8 => self.retry(engine).await,
            _ => {
                // No effect of the list may change anything.
                let _ = engine.pauses().await;
                if self.sets_clock {
                    self.timeline.set(self.random.random_range(-60_000..60_000));
                }
            }
        }
    }

    async fn pause(&mut self, engine: &Engine, clock: &Clock) {
        let target = self.target();
        let since = clock();
        let length = Duration::from_millis(self.random.random_range(1..4_000));
        let end = match self.random.random_range(0..4) {
            0 => Some(PauseEnd::After(since.after(length))),
            1 => Some(PauseEnd::At(since.after(length))),
            _ => None,
        };
        let (by, reason) = ("ada".to_owned(), "planted".to_owned());
        let pause = Pause { target: target.clone(), by, reason, since, end };
        // The pause may exist already, and be replaced by one that ends.
        self.ledger.may_be_resumed(&target);
        if engine.pause(pause).await.is_ok() && end.is_none() {
            what_began_is_noted().await;
            self.ledger.is_paused(target);
        }
    }

    async fn resume(&mut self, engine: &Engine, target: Target) {
        self.ledger.may_be_resumed(&target);
        let _ = engine.resume(target).await;
    }

    async fn limit(&mut self, engine: &Engine, clock: &Clock) {
        let target = self.target();
        if !target.can_be_limited() {
            return;
        }
        let is_of_type = matches!(target, Target::Type { .. });
        let random = &mut self.random;
        let rate = Rate(random.random_range(1_000..60_000));
        let limit = Limit {
            target: target.clone(),
            per_second: random.random_bool(0.5).then_some(rate),
            in_flight: random.random_bool(0.5).then(|| random.random_range(1..4)),
            concurrency: (is_of_type && random.random_bool(0.5)).then(|| random.random_range(1..3)),
            by: "ada".to_owned(),
            reason: "planted".to_owned(),
            since: clock(),
        };
        self.ledger.may_be_unlimited(&target);
        let is_set = !limit.is_empty();
        if engine.limit(limit.clone()).await.is_ok() && is_set {
            what_began_is_noted().await;
            self.ledger.is_limited(limit);
        }
    }

    async fn retry(&mut self, engine: &Engine) {
        let (plugin, key) = (PluginName::from(PLUGIN), self.key());
        match self.random.random_range(0..3) {
            0 => drop(engine.retry_key(&plugin, &key).await),
            1 => drop(engine.retry_sink(&"sink".into(), None).await),
            _ => drop(engine.retry_sink(&"queue:Pack".into(), Some((plugin, key))).await),
        }
    }

    /// Resumes all targets, and removes all limits.
    async fn let_go(&mut self, engine: &Engine) {
        loop {
            let (paused, limits) = (engine.paused(), engine.limits());
            if paused.is_empty() && limits.is_empty() {
                return;
            }
            for pause in paused {
                self.resume(engine, pause.target).await;
            }
            for limit in limits {
                self.ledger.may_be_unlimited(&limit.target);
                let (per_second, in_flight, concurrency) = (None, None, None);
                let _ = engine.limit(Limit { per_second, in_flight, concurrency, ..limit }).await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A worker may have got a lease that it has not read.
async fn what_began_is_noted() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// The environment can set more.
const SEEDS: u64 = 800;

#[test]
fn nothing_begins_that_is_held_back_and_nothing_is_lost() {
    let decisions: Vec<_> = run_all(SEEDS, "pausing", run);
    assert!(decisions.iter().any(|count| *count > 0), "no seed decided anything");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_is_bounded_at_the_door_and_makes_no_dead_letter() {
    let plugin = PluginName::from(AUDITOR);
    for target in [
        Target::Sink { sink: "sink".into() },
        Target::Type { message_type: COMMAND.to_owned() },
        Target::Key { plugin: plugin.clone(), key: "k".into() },
        Target::Plugin { plugin: plugin.clone() },
    ] {
        let (store, sink) = (MemoryStore::new(), MemoryTransport::new(4, 4));
        // Fewer may wait for a key for other reasons.
        let settings = Settings { backlog_max: 30, waiting_max: 5, ..Settings::default() };
        let engine = start(&store, Some(Sink::new(Arc::new(sink.clone()))), settings).await;
        let (by, reason) = ("ada".to_owned(), "planted".to_owned());
        let pause =
            Pause { target: target.clone(), by, reason, since: Timestamp(START), end: None };
        engine.pause(pause).await.expect("the store in memory takes it");
        let mut accepted = 0;
        let refused = loop {
            match engine.offer(vec![note("k", accepted)]).await {
                Ok(_) => accepted += 1,
                Err(refused) => break refused,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(matches!(refused, OfferError::Busy { .. }), "{target}: {refused:?}");
        assert!((30..50).contains(&accepted), "{target}: {accepted}");
        let waiting = engine.pauses().await[0].waiting;
        assert_eq!(waiting, Some(accepted as u64), "{target}");
        assert_eq!(sink.arrived().len(), 0, "{target}");
        engine.resume(target.clone()).await.expect("it is paused");
        until("all", Duration::from_secs(60), || sink.arrived().len() == accepted).await;
        assert_eq!(dead_letters(&store), [], "{target}");
        engine.offer(vec![note("k", accepted)]).await.expect("there is room");
        engine.drain().await;
    }
}
