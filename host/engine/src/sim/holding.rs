//! Compares holds with a model that decides one event after another.
//!
//! The plugin holds events for a short or a long time. It is slow, is loaded late, is down for
//! longer than it holds, and crashes. Instances are also imported from another host. In every world,
//! each instance must have decided the events that the model gives to it, in the model's order. The
//! model reads nothing but the log.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::ledger;
use super::plan::event;
use super::scripts::{manifest, strings, subscription};
use super::timeline::Timeline;
use super::world::START;
use crate::Clock;
use crate::engine::{Engine, ImportError, Parts, Settings};
use crate::lock;
use crate::model::{
    Absent, AnswerValue, Decision, Effect, Event, Failure, Import, ImportedInstance, ImportedState,
    Key, KeyChange, LogEntry, Manifest, Octets, PluginName, Position, Question, Role, State,
    Timestamp, reserved,
};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::faulty::{FaultRates, FaultyStore};
use crate::seams::store::memory::{MemoryStore, Tables};

const PLUGIN: &str = "keeper";
const SHORT: Duration = Duration::from_millis(60);
const LONG: Duration = Duration::from_millis(700);
/// Stands for the import of an instance among the events to send.
const IMPORT: &str = "import";
/// What an instance has decided on another host.
const IMPORTED: &str = "imported";
/// The longest time that the plugin is down or decides, or that it is loaded too late.
const LAG_MAX: u64 = 400;
/// A world in which work remains after so much simulated time is stuck.
const HOST_RUN_MAX: Duration = Duration::from_secs(60);

/// The events that each instance has decided, in order.
type Decided = BTreeMap<String, Vec<String>>;

/// Runs one seed.
///
/// # Errors
/// Names the expected and the found decisions if they differ.
pub(crate) fn run(seed: u64) -> Result<(), String> {
    super::failing_on_panic(|| World::new(seed).run())
}

struct World {
    random: StdRng,
    store: MemoryStore,
    timeline: Timeline,
    unacknowledged: Vec<Event>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let unacknowledged = events(&mut random);
        let timeline = Timeline::new(Timestamp(START));
        Self { random, store: MemoryStore::new(), timeline, unacknowledged }
    }

    fn run(mut self) -> Result<(), String> {
        let crashes = self.random.random_range(0..4);
        // In some worlds the plugin is loaded when the log already has events.
        let loaded_in = self.random.random_range(0..3);
        for host_run in 0.. {
            let crash = (host_run < crashes)
                .then(|| Duration::from_millis(self.random.random_range(0..2 * LAG_MAX)));
            let is_loaded = host_run >= loaded_in;
            if self.live(is_loaded, crash)? && is_loaded {
                return Ok(());
            }
            let down = Duration::from_millis(self.random.random_range(0..LAG_MAX));
            self.timeline.pass(down);
        }
        Ok(())
    }

    /// Performs one run of the host. Returns true if all events were sent and, with a loaded
    /// plugin, decided.
    fn live(&mut self, is_loaded: bool, crash: Option<Duration>) -> Result<bool, String> {
        let seed = self.random.random_range(0..u64::MAX / 2);
        let mut random = StdRng::seed_from_u64(seed);
        let (store, unacknowledged) = (self.store.clone(), &mut self.unacknowledged);
        let crash = async {
            match crash {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        let ended = self.timeline.live(crash, async |clock| {
            let host_run = async {
                let mut attempts = seed..;
                let engine = loop {
                    let seed = attempts.next().unwrap_or_default();
                    match Engine::start(parts(&store, seed, is_loaded, &clock)).await {
                        Ok(engine) => break engine,
                        Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                };
                send(&engine, &mut random, unacknowledged).await;
                if is_loaded {
                    decided_as_in_the_model(&store).await;
                }
                engine.drain().await;
                let tables = store.snapshot();
                match is_loaded {
                    true => compare(&tables)
                        .and_then(|()| ledger::sums_add_up(&tables))
                        .and_then(|()| ledger::instances_are_counted(&tables)),
                    false => Ok(()),
                }
            };
            let ended = tokio::time::timeout(HOST_RUN_MAX, host_run).await;
            ended.map_err(|_| {
                let tables = store.snapshot();
                let why = compare(&tables).err().unwrap_or_default();
                let rows = |entry: &LogEntry| {
                    let data = String::from_utf8_lossy(&entry.event.data).into_owned();
                    format!("{} at {}: {data}", entry.position, entry.received_at.0 - START)
                };
                let log: Vec<String> = tables.log.values().map(rows).collect();
                let held = tables.held.values().map(|held| (held.entry.position, &held.reached));
                let held: Vec<_> = held.collect();
                format!("{why}\n{log:#?}\nheld {held:?}, {:?}", tables.plugins)
            })?
        })?;
        Ok(ended.is_some())
    }
}

fn parts(store: &MemoryStore, seed: u64, is_loaded: bool, clock: &Clock) -> Parts {
    let rates = FaultRates {
        refused: 10,
        unknown_written: 10,
        unknown_lost: 10,
        read_failed: 10,
        delay_max: Duration::from_millis(3),
    };
    let keeper: Arc<dyn Handler> = Arc::new(Keeper(manifest_of_keeper()));
    Parts {
        store: Arc::new(FaultyStore::new(store.clone(), rates, seed)),
        handlers: is_loaded.then_some(keeper).into_iter().collect(),
        canaries: Vec::new(),
        lookup: Arc::new(Slow(Mutex::new(StdRng::seed_from_u64(seed)))),
        sinks: HashMap::new(),
        routes: BTreeMap::new(),
        clock: Arc::clone(clock),
        settings: Settings {
            shards: 0,
            instance_bytes_max: [64 << 20, 3_000, 0][(seed % 3) as usize],
            entries_read_max: [512, 3, 1][(seed / 3 % 3) as usize],
            ..Settings::default()
        },
    }
}

fn events(random: &mut StdRng) -> Vec<Event> {
    let own = |n: u32| format!("i{n}");
    let item = |n: u32| format!("k{n}");
    (0..random.random_range(3..30))
        .map(|n| {
            let instance = own(random.random_range(0..4));
            let some = |random: &mut StdRng, max: u32| {
                let keys = (0..random.random_range(1..=max)).map(|_| {
                    // Now and then an instance claims another instance's own key.
                    match random.random_ratio(1, 5) {
                        true => own(random.random_range(0..4)),
                        false => item(random.random_range(0..6)),
                    }
                });
                keys.collect::<BTreeSet<_>>()
            };
            let (of, slow) = (n.to_string(), random.random_ratio(1, 3));
            let event_type = match random.random_range(0..9) {
                8 => IMPORT,
                other => ["start", "claim", "short", "long"][other % 4],
            };
            let data = match event_type {
                "start" | "claim" | IMPORT => {
                    json!({"key": instance, "claims": some(random, 3), "slow": slow})
                }
                _ => json!({"keys": some(random, 2), "slow": slow}),
            };
            event(event_type, &of, &data)
        })
        .collect()
}

async fn send(engine: &Engine, random: &mut StdRng, unacknowledged: &mut Vec<Event>) {
    while let Some(next) = unacknowledged.first().cloned() {
        let is_accepted = match next.event_type == IMPORT {
            true => is_imported(engine, &next).await,
            false => engine.offer(vec![next]).await.is_ok(),
        };
        match is_accepted {
            true => drop(unacknowledged.remove(0)),
            false => tokio::time::sleep(Duration::from_millis(5)).await,
        }
        let pause = if random.random_ratio(1, 4) { LAG_MAX } else { 30 };
        tokio::time::sleep(Duration::from_millis(random.random_range(0..pause))).await;
    }
}

/// Whether an import is in the log, or certainly never will be.
async fn is_imported(engine: &Engine, event: &Event) -> bool {
    let data: Value = serde_json::from_slice(&event.data).unwrap_or_default();
    let key = Key::from(data["key"].as_str().unwrap_or_default());
    let (version, state) = (manifest_of_keeper().state_version, json!([IMPORTED]).to_string());
    let import = Import {
        by: "operator".to_owned(),
        reason: event.id.clone(),
        instance: ImportedInstance {
            // Each import is another one, also of the same key.
            started_at: Timestamp(event.id.parse().unwrap_or_default()),
            decisions: 1,
            state: Some(ImportedState { version, data: Octets(state.into()) }),
            keys: strings(&data["claims"]).into_iter().map(Key::from).collect(),
            timers: Vec::new(),
        },
    };
    match engine.import(&PLUGIN.into(), &key, &import, None).await {
        Ok(_)
        | Err(
            ImportError::Exists { .. } | ImportError::Repeated { .. } | ImportError::NotLoaded(_),
        ) => true,
        Err(_) => false,
    }
}

/// Waits until the decisions are those of the model, and then a while longer, in which no
/// further decision may come.
async fn decided_as_in_the_model(store: &MemoryStore) {
    while compare(&store.snapshot()).is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(2 * LONG).await;
}

fn compare(tables: &Tables) -> Result<(), String> {
    let (expected, found) = (model(tables.log.values()), decided(tables));
    match expected == found {
        true => Ok(()),
        false => Err(format!("guarantee 4: expected {expected:?}, found {found:?}")),
    }
}

fn decided(tables: &Tables) -> Decided {
    let instances = tables.instances.values().map(|instance| {
        let state = instance.state.as_ref().map(|state| state.data.clone()).unwrap_or_default();
        (instance.key.to_string(), serde_json::from_slice(&state).unwrap_or_default())
    });
    instances.collect()
}

// ---- the model ------------------------------------------------------------------

#[derive(Default)]
struct Model {
    decided: Decided,
    claims: BTreeMap<String, BTreeSet<String>>,
    held: BTreeMap<Position, HeldEvent>,
}

struct HeldEvent {
    id: String,
    keys: BTreeSet<String>,
    until: Timestamp,
    reached: BTreeSet<String>,
}

fn model<'l>(log: impl Iterator<Item = &'l LogEntry>) -> Decided {
    let mut model = Model::default();
    for entry in log {
        model.held.retain(|_, held| held.until > entry.received_at);
        model.decide(entry);
    }
    model.decided
}

impl Model {
    fn decide(&mut self, entry: &LogEntry) {
        let event = &entry.event;
        let data: Value = serde_json::from_slice(&event.data).unwrap_or_default();
        let own = data["key"].as_str().unwrap_or_default().to_owned();
        let hold = match event.event_type.as_str() {
            "start" => {
                if !self.decided.contains_key(&own) {
                    let claims = strings(&data["claims"]).into_iter().chain([own.clone()]);
                    self.decide_at(&own, &event.id, claims.collect());
                }
                return;
            }
            reserved::INSTANCE_IMPORTED => {
                let own = event.extension(reserved::EXTENSION_INSTANCE).unwrap_or_default();
                let import = Import::of(event).map(|import| import.instance.keys);
                let claims = import.unwrap_or_default().into_iter().map(|key| key.to_string());
                if !self.decided.contains_key(own) {
                    self.decide_at(own, IMPORTED, claims.chain([own.to_owned()]).collect());
                }
                return;
            }
            "claim" => {
                for instance in self.reached(&BTreeSet::from([own])) {
                    let claims = strings(&data["claims"]).into_iter().collect();
                    self.decide_at(&instance, &event.id, claims);
                }
                return;
            }
            "short" => SHORT,
            _ => LONG,
        };
        let keys: BTreeSet<String> = strings(&data["keys"]).into_iter().collect();
        let reached = self.reached(&keys);
        for instance in &reached {
            self.decide_at(instance, &event.id, BTreeSet::new());
        }
        let until = entry.received_at.after(hold);
        self.held.insert(entry.position, HeldEvent { id: event.id.clone(), keys, until, reached });
    }

    fn reached(&self, keys: &BTreeSet<String>) -> BTreeSet<String> {
        let reached = |instance: &&String| {
            keys.iter().any(|key| key == *instance || self.claims[*instance].contains(key))
        };
        self.decided.keys().filter(reached).cloned().collect()
    }

    /// The events that are held for the claimed keys come directly after this one.
    fn decide_at(&mut self, instance: &str, id: &str, claimed: BTreeSet<String>) {
        self.decided.entry(instance.to_owned()).or_default().push(id.to_owned());
        self.claims.entry(instance.to_owned()).or_default().extend(claimed.iter().cloned());
        for held in self.held.values_mut() {
            if !held.keys.is_disjoint(&claimed) && held.reached.insert(instance.to_owned()) {
                self.decided.entry(instance.to_owned()).or_default().push(held.id.clone());
            }
        }
    }
}

// ---- the plugin -----------------------------------------------------------------

/// A plugin that notes in its state what it decides, and claims the keys that the event names.
struct Keeper(Manifest);

fn manifest_of_keeper() -> Manifest {
    let held =
        |event_type, hold| subscription(event_type, "/keys", Effect::Handle, Absent::Hold(hold));
    let subscriptions = vec![
        subscription("start", "/key", Effect::Start, Absent::Ignore),
        subscription("claim", "/key", Effect::Handle, Absent::Ignore),
        held("short", SHORT),
        held("long", LONG),
    ];
    manifest(PLUGIN, Role::ProcessManager, subscriptions, 0)
}

impl Handler for Keeper {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        let data: Value = serde_json::from_slice(&call.event.data).unwrap_or_default();
        if data["slow"] == true && call.answers.is_empty() {
            let (name, key) = ("time".to_owned(), call.key.to_string());
            return Ok(Reply::Need(vec![Question::Lookup { name, key }]));
        }
        let state = call.state.as_ref().map(|state| serde_json::from_slice(&state.data));
        let mut decided: Vec<String> = state.transpose().ok().flatten().unwrap_or_default();
        decided.push(call.event.id.clone());
        let claims = strings(&data["claims"]).into_iter();
        let keys = claims.map(|claim| KeyChange::Claim(Key::from(claim))).collect();
        let state = serde_json::to_vec(&decided).ok().map(Bytes::from);
        Ok(Reply::Decided(Decision { state, keys, ..Decision::default() }))
    }

    fn migrate(&self, _: &State, _: u32) -> Result<Bytes, String> {
        Err("never called".to_owned())
    }
}

/// A lookup that answers after a random time.
struct Slow(Mutex<StdRng>);

#[async_trait]
impl Lookup for Slow {
    async fn ask(&self, _: &PluginName, _: &str, _: &str) -> Result<AnswerValue, Unanswered> {
        let wait = lock(&self.0).random_range(0..LAG_MAX);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        Ok(AnswerValue::Missing)
    }
}

#[cfg(test)]
mod tests {
    use super::super::seeds::run_all;
    use super::*;
    use crate::sim::small;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_bounded_in_bytes_and_what_has_no_room_is_a_dead_letter() {
        const EVENTS: usize = 20;
        const SOON: Duration = Duration::from_secs(30);
        let (memory, keeper) = (MemoryStore::new(), Arc::new(Keeper(manifest_of_keeper())));
        let settings = Settings { held_bytes_max: 10_000, ..Settings::default() };
        let engine = small::start_with(&memory, keeper, None, settings).await;
        let long = |n: usize| event("long", &n.to_string(), &json!({"keys": [format!("k{n}")]}));
        engine.offer((0..EVENTS).map(long).collect()).await.unwrap();
        let received = |count: u64| {
            let all = |tables: &Tables| -> u64 {
                tables.plugins.values().map(|p| p.counters.received).sum()
            };
            memory.look(all) == count
        };
        small::until("all of them", SOON, || received(EVENTS as u64)).await;
        let (held, dead) = (memory.look(|tables| tables.held.len()), small::dead_letters(&memory));
        assert!(held > 0 && !dead.is_empty(), "{held} and {}", dead.len());
        assert_eq!(held + dead.len(), EVENTS);
        assert!(held * 512 <= 10_000, "{held}");
        let reason = &dead[0].reason;
        assert!(reason.ends_with("have reached 10000 bytes") && dead[0].key.is_none(), "{reason}");
        ledger::sums_add_up(&memory.snapshot()).unwrap();
        ledger::instances_are_counted(&memory.snapshot()).unwrap();
        // Holds that have ended leave room.
        small::until("the holds end", SOON, || memory.look(|tables| tables.held.is_empty())).await;
        engine.offer(vec![long(EVENTS)]).await.unwrap();
        small::until("it is held", SOON, || memory.look(|tables| tables.held.len() == 1)).await;
        engine.drain().await;
    }

    /// It cannot be a dead letter: redriven, it would reach the instance that has decided it again.
    #[tokio::test(start_paused = true)]
    async fn what_an_instance_has_decided_and_has_no_room_to_be_held_is_counted() {
        const SOON: Duration = Duration::from_secs(30);
        let (memory, keeper) = (MemoryStore::new(), Arc::new(Keeper(manifest_of_keeper())));
        let settings = Settings { held_bytes_max: 10_000, ..Settings::default() };
        let engine = small::start_with(&memory, keeper, None, settings).await;
        let long = |n: usize| event("long", &n.to_string(), &json!({"keys": [format!("k{n}")]}));
        engine.offer(vec![event("start", "s", &json!({"key": "own"}))]).await.unwrap();
        engine.offer((0..20).map(long).collect()).await.unwrap();
        small::until("no more room", SOON, || !small::dead_letters(&memory).is_empty()).await;
        let both = event("long", "both", &json!({"keys": ["own", "other"]}));
        engine.offer(vec![both]).await.unwrap();
        let not_held = || engine.measured().not_held.into_values().sum::<u64>();
        small::until("it is counted", SOON, || not_held() == 1).await;
        let is_decided =
            |tables: &Tables| decided(tables).get("own").is_some_and(|events| events.len() == 2);
        small::until("it is decided", SOON, || memory.look(is_decided)).await;
        ledger::sums_add_up(&memory.snapshot()).unwrap();
        engine.drain().await;
    }

    /// The environment can set more.
    const SEEDS: u64 = 1_500;

    #[test]
    fn holds_end_in_the_order_of_the_log() {
        run_all::<(), ()>(SEEDS, "holding", super::run);
    }
}
