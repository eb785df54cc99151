//! A world with an operator who works in batches, while the host crashes and its commits fail:
//! batches redrive, skip and discard dead letters of events and of messages, and cancel and end
//! instances. They are paused and resumed, and from time to time the operator resolves a dead
//! dead letter by hand. Some events fail again however often they are redriven.
//!
//! At the end the operator's notes are compared with the store: each item was acted on once, and
//! nothing else was.

mod books;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::ledger;
use super::plan::event;
use super::timeline::Timeline;
use super::world::START;
use crate::engine::{Action, BatchEnd, Engine, Parts, Resolution, Settings};
use crate::model::{
    Absent, AnswerValue, BatchAction, BatchId, BatchItem, Correlation, DeadLetter, DeadLetterId,
    DeadLetterStatus, Decision, Effect, Event, Failure, InstanceStatus, ItemOutcome, Manifest,
    Message, MessageKind, OptionalPart, Outgoing, PluginName, Retention, Role, SinkName, Source,
    StartedBatch, State, Subscription, Timestamp, reserved,
};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::faulty::{FaultRates, FaultyStore};
use crate::seams::store::memory::{MemoryStore, Tables};
use crate::seams::transport::{DeliveryError, Sink, Transport};
use books::{Notes, check};

const JOBS: &str = "jobs";
/// A world in which a batch is not over after so much simulated time is stuck.
const HOST_RUN_MAX: Duration = Duration::from_secs(300);
const BATCHES: u64 = 4;

/// Whether the cause of most failures is repaired.
#[derive(Clone, Default)]
struct Repaired(Arc<AtomicBool>);

impl Repaired {
    fn now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Handles events; `poison` fails until the repair, `never` always.
struct Jobs {
    manifest: Manifest,
    repaired: Repaired,
}

impl Jobs {
    fn new(repaired: Repaired) -> Self {
        let on = |event_type: &str, key, effect, absent| Subscription {
            event_type: event_type.to_owned(),
            source: Source::Any,
            key,
            effect,
            absent,
        };
        let by_key = || Correlation::Pointer("/key".to_owned());
        let manifest = Manifest {
            name: JOBS.into(),
            role: Role::ProcessManager,
            version: "1".into(),
            description: String::new(),
            subscriptions: vec![
                on("touch", by_key(), Effect::StartOrHandle, Absent::Ignore),
                on("must", by_key(), Effect::Handle, Absent::Fail),
                on(
                    reserved::INSTANCE_CANCELLED,
                    Correlation::Instance,
                    Effect::Handle,
                    Absent::Ignore,
                ),
            ],
            commands: BTreeSet::from(["mail".to_owned()]),
            events: BTreeSet::new(),
            lookups: BTreeSet::new(),
            streams: false,
            state_version: 1,
            optional: OptionalPart::default(),
        };
        Self { manifest, repaired }
    }
}

fn fails(data: &Value, repaired: &Repaired) -> bool {
    data["never"] == true || data["poison"] == true && !repaired.now()
}

impl Handler for Jobs {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        let data: Value = serde_json::from_slice(&call.event.data).unwrap_or_default();
        if data["mail"] != true && fails(&data, &self.repaired) {
            return Err(Failure::Permanent("planted".to_owned()));
        }
        let mut decision = Decision { state: Some("{}".into()), ..Decision::default() };
        decision.complete = call.event.event_type == reserved::INSTANCE_CANCELLED;
        if data["mail"] == true {
            decision.messages.push(Outgoing {
                kind: MessageKind::Event,
                event_type: "mail".to_owned(),
                subject: None,
                datacontenttype: "application/json".to_owned(),
                extensions: Vec::new(),
                data: call.event.data.clone(),
            });
        }
        Ok(Reply::Decided(decision))
    }

    fn migrate(&self, state: &State, _: u32) -> Result<bytes::Bytes, String> {
        Ok(state.data.clone())
    }
}

/// Refuses permanently the messages that fail.
struct Mailbox(Repaired);

#[async_trait]
impl Transport for Mailbox {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        tokio::time::sleep(Duration::from_micros(300)).await;
        let result = |message: &Arc<Message>| {
            let data: Value = serde_json::from_slice(&message.event.data).unwrap_or_default();
            match fails(&data, &self.0) {
                true => Err(DeliveryError::Permanent("planted".to_owned())),
                false => Ok(()),
            }
        };
        messages.iter().map(result).collect()
    }

    fn batch_max(&self) -> usize {
        1
    }
}

struct Nothing;

#[async_trait]
impl Lookup for Nothing {
    async fn ask(&self, _: &PluginName, _: &str, _: &str) -> Result<AnswerValue, Unanswered> {
        Ok(AnswerValue::Missing)
    }
}

struct World {
    random: StdRng,
    seed: u64,
    store: MemoryStore,
    repaired: Repaired,
    timeline: Timeline,
    notes: Notes,
    unsent: Vec<Event>,
}

/// Runs one seed. Returns how many items had each outcome.
///
/// # Errors
/// Names the dead letter or instance that was acted on twice, or although it was no item.
fn run(seed: u64) -> Result<BTreeMap<ItemOutcome, usize>, String> {
    super::failing_on_panic(|| World::new(seed).run())
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        Self {
            seed,
            store: MemoryStore::new(),
            repaired: Repaired::default(),
            timeline: Timeline::new(Timestamp(START)),
            notes: Notes::default(),
            unsent: plan(&mut random),
            random,
        }
    }

    fn run(mut self) -> Result<BTreeMap<ItemOutcome, usize>, String> {
        let crashes = self.random.random_range(0..6);
        for host_run in 0.. {
            let crash_after = (host_run < crashes)
                .then(|| Duration::from_micros(self.random.random_range(0..400_000)));
            let mut rate = |most| match host_run <= crashes {
                true => self.random.random_range(0..most),
                false => 0,
            };
            let rates = FaultRates {
                refused: rate(60),
                unknown_written: rate(40),
                unknown_lost: rate(40),
                read_failed: rate(40),
                delay_max: Duration::from_micros(self.random.random_range(0..2_000)),
            };
            let crash = async {
                match crash_after {
                    Some(after) => tokio::time::sleep(after).await,
                    None => std::future::pending().await,
                }
            };
            let store = Arc::new(FaultyStore::new(self.store.clone(), rates, self.seed ^ host_run));
            let timeline = self.timeline.clone();
            let done = timeline.live(crash, async |clock| {
                let work = self.live(store, clock);
                let ended = tokio::time::timeout(HOST_RUN_MAX, work).await;
                ended.map_err(|_| self.stuck())?
            })?;
            timeline.pass(Duration::from_millis(self.random.random_range(0..50)));
            if done.is_some() {
                break;
            }
        }
        let tables = self.store.snapshot();
        check(&self.notes, &tables)?;
        Ok(self.counts())
    }

    fn counts(&self) -> BTreeMap<ItemOutcome, usize> {
        let mut counts = BTreeMap::new();
        self.store.look(|tables| {
            tables
                .batch_items
                .values()
                .for_each(|row| *counts.entry(row.outcome).or_default() += 1);
        });
        counts
    }

    /// The state of a batch that does not end, for an error.
    fn stuck(&self) -> String {
        self.store.look(|tables| {
            let rows = tables.batch_items.iter().filter(|(_, row)| !row.outcome.is_final());
            let left = rows.map(|(id, row)| {
                let dead_letter = tables.dead_letters.get(&DeadLetterId(id.item));
                let dead_letter = dead_letter.map(|dead_letter| {
                    (dead_letter.status, dead_letter.place(), dead_letter.batch)
                });
                format!("{id:?} {:?} {:?} {dead_letter:?}", row.outcome, row.item)
            });
            let left: Vec<String> = left.collect();
            format!("a batch is not over: {left:#?} {}", ledger::stuck(tables))
        })
    }

    async fn live(
        &mut self,
        store: Arc<FaultyStore<MemoryStore>>,
        clock: crate::Clock,
    ) -> Result<(), String> {
        let engine = loop {
            if let Ok(engine) = Engine::start(self.parts(&store, &clock)).await {
                break engine;
            }
        };
        while !self.unsent.is_empty() {
            let count = self.random.random_range(1..=self.unsent.len().min(6));
            if engine.offer(self.unsent[..count].to_vec()).await.is_ok() {
                self.unsent.drain(..count);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            if self.random.random_ratio(1, 8) {
                break;
            }
        }
        self.repaired.0.store(true, Ordering::Relaxed);
        // Batches of an earlier run come first, as when a host starts again.
        loop {
            let open = self.notes.started.keys().find(|id| !self.notes.over.contains(id)).copied();
            match open {
                Some(id) => self.work_on(id, &engine, &store).await?,
                None if self.notes.started.len() as u64 == BATCHES && self.unsent.is_empty() => {
                    break;
                }
                None => self.start(&engine).await,
            }
        }
        // The rows behind the last dead letters follow in portions.
        let seen = |tables: &Tables| {
            is_settled(tables).then_some((tables.decisions.len(), tables.messages.len()))
        };
        loop {
            let before = self.store.look(seen);
            tokio::time::sleep(Duration::from_secs(1)).await;
            if before.is_some() && before == self.store.look(seen) {
                break;
            }
        }
        engine.drain().await;
        Ok(())
    }

    fn parts(&self, store: &Arc<FaultyStore<MemoryStore>>, clock: &crate::Clock) -> Parts {
        let sink = Sink::new(Arc::new(Mailbox(self.repaired.clone())) as Arc<dyn Transport>);
        Parts {
            store: Arc::clone(store) as Arc<_>,
            handlers: vec![Arc::new(Jobs::new(self.repaired.clone()))],
            canaries: Vec::new(),
            lookup: Arc::new(Nothing),
            sinks: HashMap::from([(SinkName::from("sink"), sink)]),
            routes: BTreeMap::from([("mail".to_owned(), SinkName::from("sink"))]),
            clock: Arc::clone(clock),
            settings: Settings {
                shards: 0,
                retry_delay_min: Duration::from_millis(1),
                retry_delay_max: Duration::from_millis(20),
                retention: Retention {
                    duplicates: None,
                    history: None,
                    finished: None,
                    interval: Duration::from_secs(1),
                },
                waiting_max: 1 + self.seed % 4,
                wait_in_memory_max: Duration::from_millis([1_000, 3][(self.seed % 2) as usize]),
                instance_bytes_max: [64 << 20, 0][(self.seed / 2 % 2) as usize],
                ..Settings::default()
            },
        }
    }

    /// Sends the remaining events, then fixes the items of the next batch.
    async fn start(&mut self, engine: &Engine) {
        if !self.unsent.is_empty() && engine.offer(self.unsent.clone()).await.is_ok() {
            self.unsent.clear();
        }
        tokio::time::sleep(Duration::from_millis(self.random.random_range(0..40))).await;
        if self.notes.started.len() as u64 == BATCHES {
            return;
        }
        let id = BatchId(self.notes.started.len() as u64 + 1);
        let action = BatchAction::ALL[self.random.random_range(0..BatchAction::ALL.len())];
        let among = self.random.random_range(1..5);
        let items = self.store.look(|tables| match action.is_of_instances() {
            true => instances(tables, among),
            false => open_dead_letters(tables, among),
        });
        self.store.add_items(id, &items);
        self.notes.started.insert(id, action);
    }

    /// Runs a batch until it is over; stops it from time to time.
    async fn work_on(
        &mut self,
        id: BatchId,
        engine: &Engine,
        store: &Arc<FaultyStore<MemoryStore>>,
    ) -> Result<(), String> {
        let batch = StartedBatch {
            id,
            action: self.notes.started[&id],
            by: "operator".to_owned(),
            reason: "repaired".to_owned(),
            rate_per_second: NonZeroU32::new(self.random.random_range(20..2_000)).expect("not 0"),
            ignore_failures: self.notes.ignores.contains(&id),
        };
        let stop = CancellationToken::new();
        let patience = Duration::from_millis(self.random.random_range(1..400));
        let items = Arc::clone(store) as Arc<dyn crate::seams::batches::BatchItems>;
        let running = engine.run_batch(items, batch, &stop);
        tokio::pin!(running);
        let mut is_stopped = false;
        let end = loop {
            tokio::select! {
                biased;
                end = &mut running => break end,
                () = tokio::time::sleep(patience), if !is_stopped => {
                    if self.random.random_ratio(1, 3) {
                        is_stopped = true;
                        stop.cancel();
                    } else {
                        resolve_one(&mut self.random, &mut self.notes, &self.store, engine).await;
                    }
                }
            }
        };
        match end {
            BatchEnd::Done => {
                let rest = self.store.look(|tables| unfinished(tables, id));
                if rest != 0 {
                    return Err(format!("batch {} is over, and {rest} items are not", id.0));
                }
                self.notes.over.insert(id);
            }
            BatchEnd::Stopped(_) => _ = self.notes.ignores.insert(id),
            BatchEnd::Interrupted => {
                let pending = || self.store.look(|tables| with(tables, id, ItemOutcome::Pending));
                let before = pending();
                tokio::time::sleep(Duration::from_millis(300)).await;
                if pending() != before {
                    return Err(format!("batch {} is paused, and goes on", id.0));
                }
            }
        }
        Ok(())
    }
}

/// The operator resolves a dead letter by hand, whatever a batch does.
async fn resolve_one(random: &mut StdRng, notes: &mut Notes, store: &MemoryStore, engine: &Engine) {
    let open: Vec<DeadLetterId> = store.look(|tables| {
        let open = |dead_letter: &&Arc<DeadLetter>| dead_letter.status == DeadLetterStatus::Open;
        tables.dead_letters.values().filter(open).map(|dead_letter| dead_letter.id).collect()
    });
    if open.is_empty() {
        return;
    }
    let id = open[random.random_range(0..open.len())];
    *notes.by_hand.entry(id).or_default() += 1;
    let action = match random.random_range(0..3) {
        0 => Action::Skip,
        _ => Action::Redrive { edited: None },
    };
    let (by, reason) = ("hand".to_owned(), "one alone".to_owned());
    let _ = engine.resolve(id, Resolution { action, by, reason, batch: None }).await;
}

fn plan(random: &mut StdRng) -> Vec<Event> {
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let count = random.random_range(5..90);
    let event = |n: usize| {
        let key = keys[random.random_range(0..keys.len())];
        let data = json!({
            "key": key,
            "poison": random.random_ratio(1, 2),
            "never": random.random_ratio(1, 12),
            "mail": random.random_ratio(1, 3),
        });
        let event_type = if random.random_ratio(1, 6) { "must" } else { "touch" };
        event(event_type, &format!("e{n}"), &data)
    };
    (0..count).map(event).collect()
}

/// One of `among` open dead letters.
fn open_dead_letters(tables: &Tables, among: u64) -> Vec<BatchItem> {
    let open = |dead_letter: &&Arc<DeadLetter>| {
        dead_letter.status == DeadLetterStatus::Open && dead_letter.id.0.is_multiple_of(among)
    };
    tables
        .dead_letters
        .values()
        .filter(open)
        .map(|dead_letter| crate::seams::batches::contract::item_of(dead_letter))
        .collect()
}

/// One of `among` running instances.
fn instances(tables: &Tables, among: u64) -> Vec<BatchItem> {
    let runs = tables.instances.values().filter(|i| i.status == InstanceStatus::Running);
    let item = |(item, instance): (u64, &Arc<crate::model::Instance>)| BatchItem {
        item,
        plugin: JOBS.into(),
        sink: None,
        key: Some(instance.key.clone()),
        started: Some(instance.started),
    };
    (1..).zip(runs).map(item).filter(|item| item.item.is_multiple_of(among)).collect()
}

/// Whether the plugin and the sink have nothing left to do by themselves.
fn is_settled(tables: &Tables) -> bool {
    let head = tables.log.keys().next_back().map_or(0, |position| position.0);
    let decided =
        head == 0 || tables.plugins.values().any(|progress| progress.cursor.settled >= head);
    let sent = tables.messages.keys().all(|(sink, sequence)| {
        tables.sinks.get(sink).is_some_and(|sink| sink.cursor.settled >= sequence.0)
    });
    let redriving = tables.dead_letters.values().any(|l| l.status == DeadLetterStatus::Redriving);
    decided && sent && !redriving && tables.waits.is_empty() && tables.message_waits.is_empty()
}

fn with(tables: &Tables, batch: BatchId, outcome: ItemOutcome) -> usize {
    let rows = tables.batch_items.iter().filter(|(id, _)| id.batch == batch);
    rows.filter(|(_, row)| row.outcome == outcome).count()
}

fn unfinished(tables: &Tables, batch: BatchId) -> usize {
    with(tables, batch, ItemOutcome::Pending) + with(tables, batch, ItemOutcome::InProgress)
}

#[cfg(test)]
mod tests {
    use super::super::seeds::run_all;
    use super::*;

    const SEEDS: u64 = 1_000;

    #[test]
    fn each_item_of_a_batch_is_acted_on_once_for_every_seed() {
        let counts: Vec<BTreeMap<ItemOutcome, usize>> = run_all(SEEDS, "batched", run);
        let seeds = counts.len();
        let mut all: BTreeMap<ItemOutcome, usize> = BTreeMap::new();
        for (outcome, count) in counts.into_iter().flatten() {
            *all.entry(outcome).or_default() += count;
        }
        println!("{all:?}");
        if seeds >= 100 {
            let rest = [ItemOutcome::Done, ItemOutcome::Failed, ItemOutcome::Changed];
            assert!(rest.iter().all(|outcome| all.contains_key(outcome)), "{all:?}");
        }
    }
}
