//! A world with an operator who does everything that operators can do: redrives dead letters, edits
//! events for redrives, skips, discards, and ends instances, while the host crashes and its commits
//! fail. Keys are used again after their instances were removed, and history expires soon.
//!
//! `plugins.rs` has the plugins, `operator.rs` the operator's actions and notes, and `books.rs`
//! compares the notes with what is stored.

mod books;
mod operator;
mod plugins;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use self::operator::Operator;
use self::plugins::{Mailbox, event, handlers};
use super::timeline::Timeline;
use super::world::START;
use crate::engine::{Engine, Parts, Settings, Spans};
use crate::model::Retention;
use crate::model::{AnswerValue, Event, PluginName, SinkName, Timestamp};
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::faulty::{FaultRates, FaultyStore};
use crate::seams::store::memory::{MemoryStore, Tables};
use crate::seams::transport::{Sink, Transport};

/// A world in which work remains after so much simulated time is stuck.
const HOST_RUN_MAX: Duration = Duration::from_secs(120);
/// Keys whose instances run for ever once they have begun. Every event for them must be decided.
pub(super) const LASTING: [&str; 2] = ["l0", "l1"];
/// Keys whose instances complete, or are ended.
pub(super) const PASSING: [&str; 2] = ["p0", "p1"];
/// Keys for which the operator starts and completes one instance after another.
pub(super) const AGAIN: [&str; 2] = ["g0", "g1"];
const ITEMS: [&str; 3] = ["i0", "i1", "i2"];

/// Runs one seed. Returns what is stored at its end, with what was removed.
///
/// # Errors
/// Says what contradicts the answers that the operator got.
pub(crate) fn run(seed: u64) -> Result<Tables, String> {
    super::failing_on_panic(|| World::new(seed).run())
}

struct World {
    random: StdRng,
    seed: u64,
    events: Vec<Event>,
    store: MemoryStore,
    sink: Arc<Mailbox>,
    timeline: Timeline,
    operator: Operator,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let events = plan(&mut random);
        let store = MemoryStore::new();
        Self {
            sink: Arc::new(Mailbox::new(StdRng::seed_from_u64(!seed))),
            operator: Operator::new(StdRng::seed_from_u64(seed ^ 1), store.clone()),
            timeline: Timeline::new(Timestamp(START)),
            store,
            events,
            random,
            seed,
        }
    }

    fn run(mut self) -> Result<Tables, String> {
        let mut unacknowledged = self.events.clone();
        let crashes = self.random.random_range(0..5);
        for host_run in 0.. {
            let crash_after = (host_run < crashes)
                .then(|| Duration::from_micros(self.random.random_range(0..80_000)));
            let rates = FaultRates {
                refused: if host_run <= crashes { self.random.random_range(0..60) } else { 0 },
                unknown_written: self.random.random_range(0..30),
                unknown_lost: self.random.random_range(0..30),
                read_failed: self.random.random_range(0..30),
                delay_max: Duration::from_micros(self.random.random_range(0..4_000)),
            };
            let parts = self.parts(rates);
            let (timeline, operator) = (&self.timeline, &mut self.operator);
            let store = &self.store;
            let crash = async {
                match crash_after {
                    Some(after) => tokio::time::sleep(after).await,
                    None => std::future::pending().await,
                }
            };
            let sender = StdRng::seed_from_u64(self.random.random());
            let done = timeline.live(crash, async |clock| {
                let parts = Parts { clock, ..parts };
                let host_run = live(parts, sender, &mut unacknowledged, operator);
                let ended = tokio::time::timeout(HOST_RUN_MAX, host_run).await;
                ended.map_err(|_| super::ledger::stuck(&store.snapshot()))?
            })?;
            self.timeline.pass(Duration::from_millis(self.random.random_range(0..50)));
            if done.is_some() {
                break;
            }
        }
        let tables = self.store.snapshot();
        books::check(&self.events, &self.operator.notes(), &tables, &self.sink.delivered())?;
        Ok(tables)
    }

    fn parts(&self, rates: FaultRates) -> Parts {
        let seed = self.seed;
        let sink = Sink::new(Arc::clone(&self.sink) as Arc<dyn Transport>);
        let route = |name: &str| (name.to_owned(), SinkName::from("sink"));
        let short = Duration::from_millis(seed / 2 % 40);
        Parts {
            store: Arc::new(FaultyStore::new(self.store.clone(), rates, seed)),
            handlers: handlers(seed % 4 * 5),
            canaries: Vec::new(),
            lookup: Arc::new(Nothing),
            sinks: HashMap::from([(SinkName::from("sink"), sink)]),
            routes: BTreeMap::from([route("mail"), route("reported")]),
            clock: Arc::new(|| Timestamp(0)),
            settings: Settings {
                shards: 0,
                attempts_max: 1_000,
                retry_delay_min: Duration::from_millis(1),
                retry_delay_max: Duration::from_millis(20),
                lookup_timeout: Duration::from_millis(100),
                retention: Retention {
                    duplicates: None,
                    history: seed.is_multiple_of(3).then_some(3 * short),
                    finished: Some(short),
                    interval: Duration::from_millis(5),
                },
                backlog_max: 1_000,
                instance_bytes_max: [64 << 20, 3_000, 0][(seed % 3) as usize],
                held_bytes_max: usize::MAX,
                entries_read_max: [512, 3, 1][(seed / 3 % 3) as usize],
                waiting_max: 1 + seed % 5,
                wait_in_memory_max: Duration::from_millis([1_000, 3][(seed / 2 % 2) as usize]),
                date_check_max: Duration::from_millis(500),
                timers_in_memory_max: [65_536, 3, 1][(seed / 9 % 3) as usize],
                hops_max: 100,
                spans: Spans::default(),
            },
        }
    }
}

struct Nothing;

#[async_trait::async_trait]
impl Lookup for Nothing {
    async fn ask(&self, _: &PluginName, _: &str, _: &str) -> Result<AnswerValue, Unanswered> {
        Ok(AnswerValue::Missing)
    }
}

/// Sends the events that were not acknowledged, and lets the operator work until no work is
/// left.
async fn live(
    parts: Parts,
    random: StdRng,
    unacknowledged: &mut Vec<Event>,
    operator: &mut Operator,
) -> Result<(), String> {
    let engine = start(parts).await;
    let is_sent = Cell::new(false);
    let sending = async {
        send(&engine, random, unacknowledged).await;
        is_sent.set(true);
    };
    let ((), worked) = tokio::join!(sending, operator.work(&engine, || is_sent.get()));
    engine.drain().await;
    worked
}

/// Starts the engine; repeats that until the store can be read.
async fn start(parts: Parts) -> Engine {
    loop {
        let again = Parts {
            store: Arc::clone(&parts.store),
            handlers: parts.handlers.clone(),
            canaries: Vec::new(),
            lookup: Arc::clone(&parts.lookup),
            sinks: parts.sinks.clone(),
            routes: parts.routes.clone(),
            clock: Arc::clone(&parts.clock),
            settings: parts.settings.clone(),
        };
        if let Ok(engine) = Engine::start(again).await {
            return engine;
        }
    }
}

async fn send(engine: &Engine, mut random: StdRng, unacknowledged: &mut Vec<Event>) {
    while !unacknowledged.is_empty() {
        let count = random.random_range(1..=unacknowledged.len().min(4));
        match engine.offer(unacknowledged[..count].to_vec()).await {
            Ok(_) => drop(unacknowledged.drain(..count)),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
        tokio::time::sleep(Duration::from_micros(random.random_range(0..6_000))).await;
    }
}

/// Events for few keys, so that much waits behind what fails.
fn plan(random: &mut StdRng) -> Vec<Event> {
    let mut events = Vec::new();
    for n in 0..random.random_range(5..50) {
        let id = format!("e{n}");
        let lasting = random.random_ratio(3, 4);
        let keys = if lasting { LASTING } else { PASSING };
        let key = keys[random.random_range(0..2)];
        let poison = random.random_ratio(1, 5);
        let mut data = json!({"key": key, "poison": poison});
        let event_type = match random.random_range(0..10) {
            0 => "must",
            1 => "step",
            2 => {
                let item = ITEMS[random.random_range(0..ITEMS.len())];
                data = json!({"item": item, "poison": poison});
                "item"
            }
            _ => "touch",
        };
        if event_type != "item" {
            match random.random_range(0..6) {
                0 => data["claims"] = json!([ITEMS[random.random_range(0..ITEMS.len())]]),
                1 => data["timer"] = json!(true),
                2 => {
                    data["mail"] = json!(random.random_ratio(1, 2));
                    data["unhandled"] = json!(random.random_ratio(1, 3));
                }
                3 | 4 if !lasting => data["complete"] = json!(true),
                _ => {}
            }
        }
        events.push(event(event_type, &id, &data));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::super::seeds::run_all;

    /// Enough seeds to catch every mistake that was planted so far. The environment can set
    /// more.
    const SEEDS: u64 = 2_000;

    #[test]
    fn what_operators_were_answered_holds_for_every_seed() {
        run_all::<(), ()>(SEEDS, "operated", |seed| super::run(seed).map(drop));
    }
}
