//! The world of one seed: what is sent, what fails, and when the engine crashes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use super::directory::Directory;
use super::forger::Forger;
use super::ledger;
use super::outside::{Customers, Sink};
use super::plan::{Plan, Treatment, treatments};
use super::scripts::Pattern;
use super::strangers;
use super::timeline::Timeline;
use super::unwritable::{Planted, Unwritable};
use crate::Clock;
use crate::changes::receipt::Receipt;
use crate::engine::{Action, Engine, EngineEnd, OfferError, Parts, Resolution, Settings, Spans};
use crate::lock;
use crate::model::Retention;
use crate::model::{DeadLetterSubject, Event, Message, PluginName, SinkName, Timestamp};
use crate::seams::store::faulty::{FaultRates, FaultyStore};
use crate::seams::store::memory::{MemoryStore, Tables};
use crate::seams::transport::faulty::FaultyTransport;
use crate::seams::transport::memory::MemoryTransport;
use crate::seams::transport::{self, Transport};

/// A world in which work remains after so much simulated time is stuck.
const HOST_RUN_MAX: Duration = Duration::from_secs(600);
/// The time to drain for a host that is stopped.
const DRAIN_MAX: Duration = Duration::from_millis(200);
pub(crate) const START: u64 = 1_800_000_000_000;

pub(crate) struct World {
    random: StdRng,
    seed: u64,
    plan: Plan,
    store: MemoryStore,
    receiver: MemoryTransport,
    sink: Arc<dyn Transport>,
    timeline: Timeline,
    cured: Arc<AtomicBool>,
    directory: Directory,
    forger: Option<Forger>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut plan = Plan::new(&mut random);
        if seed % 7 == 2 {
            let events = plan.events.iter().map(|event| event.id.clone());
            plan.unwritable = Unwritable::draw(
                &mut StdRng::seed_from_u64(!seed),
                plan.orders.keys().cloned(),
                events,
            );
        }
        if seed.is_multiple_of(5) {
            let healthy = plan.orders.keys().find(|order| !plan.poisoned.contains(*order));
            plan.refused = healthy.into_iter().cloned().collect();
        }
        if seed % 5 == 2 {
            strangers::add(&mut plan, seed);
        }
        if seed % 7 == 3 {
            plan.treatments = treatments(&plan, seed);
        }
        // In a world in which identities are forgotten, dates say which may be, so its clock is
        // never set.
        plan.sets_clock = seed % 7 == 3 && !seed.is_multiple_of(8);
        let cured = Arc::new(AtomicBool::new(false));
        let receiver = MemoryTransport::new(3, 2);
        let sink = Sink::new(random.random(), &plan, Arc::clone(&cured));
        let sink = FaultyTransport::new(receiver.clone(), sink);
        let directory = Directory::new(Pattern {
            seed,
            transient_percent: seed % 4 * 5,
            poisoned: plan.poisoned.clone(),
            cured: Arc::clone(&cured),
            version: 0,
            is_ignorant: true,
        });
        Self {
            directory,
            // Only in some worlds, so that older seeds that found a mistake still give the same
            // run.
            forger: (seed % 6 == 3).then(|| Forger::new(seed)),
            seed,
            plan,
            cured,
            store: MemoryStore::new(),
            receiver,
            sink: Arc::new(sink),
            timeline: Timeline::new(Timestamp(START)),
            random,
        }
    }

    /// Performs runs of the engine until all work is done.
    pub(crate) fn run(mut self) -> Result<Tables, String> {
        let mut unacknowledged = self.plan.events.clone();
        let crashes = self.random.random_range(0..4);
        for host_run in 0.. {
            let crash_after = (host_run < crashes)
                .then(|| Duration::from_micros(self.random.random_range(0..60_000)));
            // In the last runs the store does not refuse commits: otherwise no run would be the
            // last one.
            let rates = FaultRates {
                refused: if host_run <= crashes { self.random.random_range(0..60) } else { 0 },
                unknown_written: self.random.random_range(0..30),
                unknown_lost: self.random.random_range(0..30),
                read_failed: self.random.random_range(0..30),
                delay_max: Duration::from_micros(self.random.random_range(0..4_000)),
            };
            let seed = self.random.random();
            // In some worlds another host takes over the store from time to time.
            let fenced = if host_run <= crashes && self.seed % 7 == 4 { 20 } else { 0 };
            let cured = Arc::clone(&self.cured);
            let unwritable = self.plan.unwritable.clone();
            let is_broken = Arc::new(AtomicBool::new(false));
            let planted =
                Planted::new(rates, seed, unwritable, cured, fenced, Arc::clone(&is_broken));
            // In some worlds the host is stopped instead of killed, and its store fails from
            // then on.
            let (crash_after, stop) = match crash_after {
                Some(after) if self.seed % 7 == 5 => (None, Some(Stop { after, is_broken })),
                crash_after => (crash_after, None),
            };
            let done = self.live(seed, planted, crash_after, stop, &mut unacknowledged)?;
            if done {
                break;
            }
        }
        let tables = self.store.snapshot();
        ledger::instances_are_counted(&tables)?;
        let tables = tables.with_removed();
        ledger::check(&self.plan, &self.directory.history(), &tables, &self.receiver.arrived())?;
        self.forger.iter().try_for_each(|forger| forger.check(&tables))?;
        Ok(tables)
    }

    /// Performs one run of the engine. Returns true if all work was done.
    fn live(
        &mut self,
        seed: u64,
        planted: Planted,
        crash_after: Option<Duration>,
        stop: Option<Stop>,
        unacknowledged: &mut Vec<Event>,
    ) -> Result<bool, String> {
        let host_run = HostRun {
            parts: self.parts(seed, planted),
            timeline: &self.timeline,
            random: StdRng::seed_from_u64(seed),
            unacknowledged,
            operator: Operator {
                plan: &self.plan,
                cured: &self.cured,
                prudent: false,
                store: &self.store,
                forger: self.forger.as_ref(),
            },
            delivered: &|| self.receiver.arrived(),
            // Only for every other seed, so that older seeds that found a mistake still give the
            // same run.
            directory: (self.seed % 2 == 1)
                .then(|| (&self.directory, StdRng::seed_from_u64(!seed))),
            stop,
        };
        let (timeline, sets_clock) = (&self.timeline, self.plan.sets_clock);
        let result = host_run.run(async move {
            let crash = async {
                match crash_after {
                    Some(after) => tokio::time::sleep(after).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = crash => {}
                () = set_clock(timeline, seed), if sets_clock => {}
            }
        });
        // Time passes while the host is down.
        self.timeline.pass(Duration::from_millis(self.random.random_range(0..200)));
        result
    }

    fn parts(&self, seed: u64, planted: Planted) -> Parts {
        let sink = transport::Sink::new(Arc::clone(&self.sink));
        let route = |name: &str| (name.to_owned(), SinkName::from("sink"));
        Parts {
            store: Arc::new(FaultyStore::failing(self.store.clone(), planted)),
            handlers: self.directory.handlers(),
            canaries: self.directory.canaries(),
            lookup: Arc::new(Customers::new(seed)),
            sinks: HashMap::from([(SinkName::from("sink"), sink)]),
            routes: BTreeMap::from([route("close"), route("notify"), route("record")]),
            clock: Arc::new(|| Timestamp(0)),
            settings: Settings {
                shards: 0,
                attempts_max: 1_000,
                retry_delay_min: Duration::from_millis(1),
                retry_delay_max: Duration::from_millis(50),
                lookup_timeout: Duration::from_millis(100),
                retention: retention(self.seed),
                // Short enough that some offers are refused as `OfferError::Busy`.
                backlog_max: 4 + self.seed % 60,
                waiting_max: 10_000,
                // Keys leave memory for every retry, or for none.
                wait_in_memory_max: Duration::from_millis([1_000, 2][(self.seed % 2) as usize]),
                date_check_max: Duration::from_millis(500),
                hops_max: 100,
                // All instances in memory, some, or none.
                instance_bytes_max: [64 << 20, 3_000, 0][(self.seed % 3) as usize],
                held_bytes_max: usize::MAX,
                // All timers in memory, some, or one.
                timers_in_memory_max: [65_536, 3, 1][(self.seed / 9 % 3) as usize],
                entries_read_max: [512, 3, 1][(self.seed / 3 % 3) as usize],
                // Spans are reported, and dropped.
                spans: Spans::channel(1).0,
            },
        }
    }
}

/// Sets the wall clock, and sets it right again, a few times; then never returns.
async fn set_clock(timeline: &Timeline, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..random.random_range(0..6) {
        tokio::time::sleep(Duration::from_micros(random.random_range(0..30_000))).await;
        let by = random.random_range(-2_000..2_000);
        timeline.set(by);
        tokio::time::sleep(Duration::from_micros(random.random_range(0..60_000))).await;
        timeline.set(-by);
    }
    std::future::pending::<()>().await;
}

/// How long duplicates are recognised in worlds where that is bounded. Far longer than the store
/// ever refuses commits.
const RECOGNISED: Duration = Duration::from_secs(2);

/// In some worlds history expires soon; in some of these, identities do, too.
fn retention(seed: u64) -> Retention {
    let short = seed.is_multiple_of(4).then(|| Duration::from_millis(seed % 40));
    let forgets = seed.is_multiple_of(8);
    Retention {
        duplicates: forgets.then_some(RECOGNISED),
        history: short,
        finished: short,
        interval: Duration::from_millis(if forgets { 50 } else { 5 }),
    }
}

/// The ids of events that were accepted at least `age` ago. No sender of this world repeats
/// them.
fn accepted_before(store: &MemoryStore, age: Duration, now: Timestamp) -> BTreeSet<String> {
    let tables = store.snapshot();
    let entries = tables.log.values().chain(tables.removed.log.values());
    let old = entries.filter(|entry| u128::from(now.0 - entry.received_at.0) >= age.as_millis());
    old.map(|entry| entry.event.id.clone()).collect()
}

/// Repeats events that are younger than the time for which duplicates are recognised. Each must be
/// recognised.
async fn repeat_what_is_young(
    engine: &Engine,
    operator: &Operator<'_>,
    clock: &Clock,
    random: &mut StdRng,
) -> Result<(), String> {
    tokio::time::sleep(Duration::from_millis(random.random_range(0..3_000))).await;
    let old = accepted_before(operator.store, RECOGNISED / 2, clock());
    let young = operator.plan.events.iter().filter(|event| !old.contains(&event.id));
    for event in young {
        // An error means that a commit failed. A repeated duplicate writes nothing.
        if let Ok(receipts) = engine.offer(vec![event.clone()]).await
            && receipts != [Receipt::Duplicate]
        {
            return Err(format!("guarantee 2: {} was forgotten in its time", event.id));
        }
    }
    Ok(())
}

/// One run of an engine, from its start to its end or crash.
pub(crate) struct HostRun<'w> {
    /// The engine's parts. `run` replaces their clock by the world's.
    pub parts: Parts,
    pub timeline: &'w Timeline,
    pub random: StdRng,
    pub unacknowledged: &'w mut Vec<Event>,
    pub operator: Operator<'w>,
    /// What the sink has received so far.
    pub delivered: &'w dyn Fn() -> Vec<Arc<Message>>,
    /// The plugins that change while the engine runs; none if they stay.
    pub directory: Option<(&'w Directory, StdRng)>,
    pub stop: Option<Stop>,
}

/// An operator stops the host after a while, and from then on its store fails.
pub(crate) struct Stop {
    after: Duration,
    is_broken: Arc<AtomicBool>,
}

impl Stop {
    async fn time(stop: Option<&Self>) {
        match stop {
            Some(stop) => tokio::time::sleep(stop.after).await,
            None => std::future::pending().await,
        }
    }

    async fn end(&self, engine: &Engine) -> Result<(), String> {
        self.is_broken.store(true, Ordering::Relaxed);
        let begin = tokio::time::Instant::now();
        engine.drain_within(DRAIN_MAX).await;
        match begin.elapsed() <= DRAIN_MAX {
            true => Ok(()),
            false => Err(format!("draining took {:?} of {DRAIN_MAX:?}", begin.elapsed())),
        }
    }
}

impl HostRun<'_> {
    /// Performs the run. Returns true if all work was done before `crash` resolved.
    pub(crate) fn run(self, crash: impl Future<Output = ()>) -> Result<bool, String> {
        let Self { parts, timeline, random, unacknowledged, operator, delivered, directory, stop } =
            self;
        let store = operator.store;
        let done = timeline.live(crash, async |clock| {
            let parts = Parts { clock, ..parts };
            let host_run =
                drive(parts, random, unacknowledged, &operator, delivered, directory, stop);
            let ended = tokio::time::timeout(HOST_RUN_MAX, host_run).await;
            ended.map_err(|_| ledger::stuck(&store.snapshot()))?
        });
        done.map(|done| done == Some(true))
    }
}

/// Sends the events that were not acknowledged, then waits until no work is left. Returns false if
/// the engine ended before, because another host took over the store or because it was stopped.
async fn drive(
    parts: Parts,
    random: StdRng,
    unacknowledged: &mut Vec<Event>,
    operator: &Operator<'_>,
    delivered: &dyn Fn() -> Vec<Arc<Message>>,
    directory: Option<(&Directory, StdRng)>,
    stop: Option<Stop>,
) -> Result<bool, String> {
    let store = operator.store;
    let forgets = parts.settings.retention.duplicates.map(|_| Arc::clone(&parts.clock));
    let parts = Arc::new(Mutex::new(Some(parts)));
    let engine = loop {
        let taken = lock(&parts).take();
        let Some(taken) = taken else { return Err("the engine did not start".to_owned()) };
        let (lookup, sinks, routes) =
            (Arc::clone(&taken.lookup), taken.sinks.clone(), taken.routes.clone());
        let again = Parts {
            store: Arc::clone(&taken.store),
            handlers: taken.handlers.clone(),
            canaries: taken.canaries.clone(),
            lookup,
            sinks,
            routes,
            clock: Arc::clone(&taken.clock),
            settings: taken.settings.clone(),
        };
        match Engine::start(taken).await {
            Ok(engine) => break engine,
            Err(_) => *lock(&parts) = Some(again),
        }
    };
    let changes = async {
        match directory {
            Some((directory, mut random)) => directory.change(&engine, &mut random).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        worked = work(&engine, random, unacknowledged, operator, delivered, forgets.as_ref()) => worked?,
        () = changes => {}
        () = Stop::time(stop.as_ref()) => {}
        end = engine.ended() => return match end {
            EngineEnd::Fenced(_) => Ok(false),
            end => Err(format!("the engine ended by itself: {end:?}")),
        },
    }
    if let Some(stop) = stop {
        return stop.end(&engine).await.map(|()| false);
    }
    if matches!(engine.drain().await, EngineEnd::Fenced(_)) {
        return Ok(false);
    }
    match ledger::is_quiet(&store.snapshot(), &delivered()) {
        true => Ok(true),
        false => Err(format!("draining left work: {}", ledger::stuck(&store.snapshot()))),
    }
}

/// Sends the events that were not acknowledged, and waits until all work is done. With a clock,
/// identities are forgotten by its time, and events that are too old are not repeated.
async fn work(
    engine: &Engine,
    mut random: StdRng,
    unacknowledged: &mut Vec<Event>,
    operator: &Operator<'_>,
    delivered: &dyn Fn() -> Vec<Arc<Message>>,
    forgets: Option<&Clock>,
) -> Result<(), String> {
    let store = operator.store;
    loop {
        if let Some(clock) = forgets {
            let old = accepted_before(store, RECOGNISED / 2, clock());
            unacknowledged.retain(|event| !old.contains(&event.id));
        }
        if unacknowledged.is_empty() {
            break;
        }
        let count = random.random_range(1..=unacknowledged.len().min(8));
        let batch: Vec<Event> = unacknowledged[..count].to_vec();
        match engine.offer(batch).await {
            Ok(receipts) if receipts.len() == count => {
                unacknowledged.drain(..count);
            }
            Ok(receipts) => return Err(format!("{count} events, {} receipts", receipts.len())),
            Err(OfferError::Rejected(_)) => {
                // The store cannot write one of these events until it is repaired, so the others
                // are sent first.
                if random.random_ratio(1, 8) {
                    operator.cured.store(true, Ordering::Relaxed);
                }
                unacknowledged.rotate_left(1);
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
        if let Some(forger) = operator.forger {
            forger.act(engine, store).await?;
        }
        if random.random_ratio(1, 3) {
            tokio::time::sleep(Duration::from_micros(random.random_range(0..3_000))).await;
        }
    }
    while !ledger::is_quiet(&store.snapshot(), &delivered()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        operator.look(engine, &mut random).await;
        if let Some(forger) = operator.forger {
            forger.act(engine, store).await?;
        }
    }
    if let Some(clock) = forgets {
        repeat_what_is_young(engine, operator, clock, &mut random).await?;
    }
    Ok(())
}

/// Finds dead letters, repairs what fails, and resolves the dead letters; sometimes before it
/// repairs.
pub(crate) struct Operator<'a> {
    pub plan: &'a Plan,
    pub cured: &'a AtomicBool,
    /// Whether it repairs what fails before it resolves the first dead letter.
    pub prudent: bool,
    pub store: &'a MemoryStore,
    /// Sends events of its own between the others.
    pub forger: Option<&'a Forger>,
}

impl Operator<'_> {
    async fn look(&self, engine: &Engine, random: &mut StdRng) {
        if self.prudent || random.random_ratio(1, 4) {
            self.cured.store(true, Ordering::Relaxed);
        }
        let dead_letters = self.store.snapshot().dead_letters;
        for dead_letter in
            dead_letters.into_values().filter(|dead_letter| dead_letter.status.is_unresolved())
        {
            let skips = self.plan.skips && dead_letter.plugin.as_str() == super::scripts::NOTIFIER;
            let action = match self.plan.treatments.get(&dead_letter.event.id) {
                Some(_) if !self.is_read(&dead_letter.plugin) => continue,
                Some(Treatment::Discard) => Action::Discard,
                Some(Treatment::Skip) => Action::Skip,
                Some(Treatment::Move(order)) => {
                    let data = Bytes::from(json!({"order": order}).to_string());
                    let edited = Event { data, ..Event::clone(&dead_letter.event) };
                    Action::Redrive { edited: Some(Box::new(edited)) }
                }
                None if skips && dead_letter.subject == DeadLetterSubject::Event => Action::Skip,
                None => Action::Redrive { edited: None },
            };
            let (by, reason) = ("operator".to_owned(), "mended".to_owned());
            // If this is refused or the engine recovers, the next look retries it.
            let _ = engine
                .resolve(dead_letter.id, Resolution { action, by, reason, batch: None })
                .await;
        }
    }

    /// Whether a plugin has settled everything in the log.
    fn is_read(&self, plugin: &PluginName) -> bool {
        self.store.look(|tables| {
            let head = tables.log.keys().next_back().map_or(0, |position| position.0);
            tables.plugins.get(plugin).is_some_and(|progress| progress.cursor.settled >= head)
        })
    }
}
