//! One run: the plugins in the real engine, on one thread and in virtual time, in a world
//! whose every choice follows from the seed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sagabox_engine::Clock;
use sagabox_engine::engine::{Action, Engine, Parts, Resolution, Settings};
use sagabox_engine::model::Retention;
use sagabox_engine::model::{DeadLetter, DeadLetterSubject, Message, Role, SinkName, Timestamp};
use sagabox_engine::seams::handler::Handler;
use sagabox_engine::seams::store::faulty::FaultyStore;
use sagabox_engine::seams::store::memory::{MemoryStore, Tables};
use sagabox_engine::seams::transport::Sink;
use sagabox_engine::sim::{Timeline, failing_on_panic};
use tokio::sync::Notify;

use super::choices::{Choice, Choices, Odds};
use super::file::Simulation;
use super::history::History;
use super::schedule::{Schedule, Taken};
use super::seams::{Disturbed, Known, Outside, StoreFaults};
use crate::io::locks::lock;
use crate::plugins::wasm::{Instances, LoadedPlugin};

/// A run with more is one that does not come to an end.
const DECISIONS_MAX: usize = 20_000;
/// More often than the world ever fails anything; then it is the plugin's own failure.
const ATTEMPTS_MAX: u32 = 10;
/// A longer pause in which nothing is to do is skipped.
const SKIPPED: u64 = 1_000;
/// Between two looks at the engine at most: what it does by the clock it does within so long.
const LOOK_MAX: Duration = Duration::from_millis(200);
/// Without anything that changes for so long, it stands still.
const STILL: Duration = Duration::from_mins(5);

/// What came of a run.
pub struct Run {
    pub history: History,
    /// In the order in which they were made.
    pub choices: Vec<Choice>,
    pub rest: Rest,
    pub ended_at: Timestamp,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing was left to do.
    Quiet,
    /// Its time was over, and something would still have come.
    Over(String),
    /// Something that no plugin may bring about: a mistake of the host.
    Broken(String),
}

/// What the stages and the outside share.
pub(crate) struct World {
    pub simulation: Simulation,
    pub choices: Choices,
    pub schedule: Schedule,
    pub timeline: Timeline,
    /// A template that cannot be filled.
    mistake: Mutex<Option<String>>,
    /// Commands that the outside knows: refused, and why, or taken.
    taken: Mutex<BTreeMap<String, Option<String>>>,
    /// What failed for the first time already.
    failed: Mutex<BTreeSet<String>>,
    pub commits: AtomicU64,
    pub reads: AtomicU64,
    pub crashes: AtomicU64,
    pub slow: bool,
    /// The host dies so much later.
    pub crash: Notify,
}

impl World {
    #[must_use]
    pub(crate) fn now(&self) -> Timestamp {
        self.timeline.latest()
    }

    /// The outside takes a command: one that it knows already leads to nothing more.
    pub(crate) fn took(&self, message: &Message, now: Timestamp) -> Taken {
        let mut known = lock(&self.taken);
        let id = &message.event.id;
        let refused = match known.get(id) {
            Some(refused) => refused.clone(),
            None => match self.schedule.take(&self.simulation, &self.choices, message, now) {
                Ok(Taken::Refused(reason)) => Some(reason),
                Ok(Taken::Done) => None,
                Err(why) => {
                    lock(&self.mistake).get_or_insert(why);
                    None
                }
            },
        };
        known.insert(id.clone(), refused.clone());
        refused.map_or(Taken::Done, Taken::Refused)
    }

    /// Whether it is the first time.
    pub(crate) fn fails_first(&self, what: &str) -> bool {
        lock(&self.failed).insert(what.to_owned())
    }

    fn mistake(&self) -> Option<String> {
        lock(&self.mistake).clone()
    }
}

/// Runs one seed; with `only`, whatever is not named there is as in the plainest run.
///
/// # Errors
/// Says what is wrong with the simulation itself.
pub(crate) fn run(
    simulation: &Simulation,
    plugins: &[LoadedPlugin],
    seed: u64,
    only: Option<BTreeSet<String>>,
) -> Result<Run, String> {
    let choices = Choices::new(seed, only);
    let schedule = Schedule::of(simulation, &choices)?;
    let timeline = Timeline::new(simulation.given.now);
    let describe = || "the store takes its time".to_owned();
    let half = Odds::of_millionths(Odds::ALWAYS.millionths() / 2);
    let slow = choices.happens("slow store", half, simulation.given.now, describe);
    let world = Arc::new(World {
        simulation: simulation.clone(),
        choices,
        schedule,
        timeline,
        mistake: Mutex::default(),
        taken: Mutex::default(),
        failed: Mutex::default(),
        commits: AtomicU64::new(0),
        reads: AtomicU64::new(0),
        crashes: AtomicU64::new(0),
        slow,
        crash: Notify::new(),
    });
    let store = MemoryStore::new();
    let lived = failing_on_panic(|| run_until_done(&world, plugins, &store));
    if let Some(mistake) = world.mistake() {
        return Err(mistake);
    }
    let history = store.look(History::of);
    Ok(Run {
        history,
        choices: world.choices.made(),
        rest: lived.unwrap_or_else(Rest::Broken),
        ended_at: world.now(),
    })
}

/// Runs the host until one run has done everything.
fn run_until_done(
    world: &Arc<World>,
    plugins: &[LoadedPlugin],
    store: &MemoryStore,
) -> Result<Rest, String> {
    for host_run in 1_u64.. {
        let describe = || "instances of the plugin are used for several calls".to_owned();
        let half = Odds::of_millionths(Odds::ALWAYS.millionths() / 2);
        let used = world.choices.happens("used instances", half, world.now(), describe);
        let instances = if used { Instances::Used } else { Instances::Fresh };
        // A host that was just started has no instance that was used before.
        let handlers: Vec<Arc<dyn Handler>> =
            plugins.iter().map(|plugin| plugin.restarted(instances)).collect();
        let handlers = Disturbed::all(handlers, world);
        let outside = Arc::new(Outside::new(world));
        let crash = async {
            world.crash.notified().await;
            let wait = world.choices.between(&format!("life {host_run} ends"), &(0..=12));
            tokio::time::sleep(Duration::from_millis(wait)).await;
        };
        let lived = world.timeline.live(crash, async |clock| {
            let parts = |clock: &Clock| parts(world, &handlers, &outside, store, clock);
            drive(world, store, &clock, parts).await
        })?;
        if let Some(rest) = lived {
            return Ok(rest);
        }
        let down = world.choices.between(&format!("down {host_run}"), &(0..=2_000));
        world.timeline.pass(Duration::from_millis(down));
    }
    Err("no run of the host is the last one".to_owned())
}

fn parts(
    world: &Arc<World>,
    handlers: &[Arc<dyn Handler>],
    outside: &Arc<Outside>,
    store: &MemoryStore,
    clock: &Clock,
) -> Parts {
    let sink = SinkName::from("outside");
    let manifests = handlers.iter().map(|handler| handler.manifest());
    let sent = manifests.flat_map(|manifest| {
        // What an enricher publishes is for the outside.
        let leaves = manifest.role == Role::Enricher;
        let events = manifest.events.iter().filter(move |_| leaves);
        manifest.commands.iter().chain(events).cloned()
    });
    let routes: BTreeMap<String, SinkName> = sent.map(|name| (name, sink.clone())).collect();
    let outside = Arc::clone(outside);
    Parts {
        store: Arc::new(FaultyStore::failing(store.clone(), StoreFaults(Arc::clone(world)))),
        handlers: handlers.to_vec(),
        canaries: Vec::new(),
        lookup: Arc::new(Known(Arc::clone(world))),
        sinks: HashMap::from([(sink, Sink::new(outside))]),
        routes,
        clock: Arc::clone(clock),
        settings: Settings {
            // On this thread, so that a seed repeats everything.
            shards: 0,
            attempts_max: ATTEMPTS_MAX,
            retry_delay_min: Duration::from_millis(5),
            retry_delay_max: Duration::from_secs(2),
            lookup_timeout: Duration::from_secs(10),
            retention: Retention {
                duplicates: None,
                history: None,
                finished: None,
                interval: Duration::from_hours(24 * 365),
            },
            ..Settings::default()
        },
    }
}

/// Sends what comes, skips the time in which nothing happens, and ends when nothing
/// will happen any more.
async fn drive(
    world: &World,
    store: &MemoryStore,
    clock: &Clock,
    parts: impl Fn(&Clock) -> Parts,
) -> Result<Rest, String> {
    let engine = loop {
        if let Ok(engine) = Engine::start(parts(clock)).await {
            break engine;
        }
    };
    let horizon = world.simulation.ends_at();
    let (mut pause, mut still) = (Duration::from_millis(1), Duration::ZERO);
    let mut before = (0, 0);
    let rest = loop {
        if world.mistake().is_some() {
            return Ok(Rest::Quiet);
        }
        let now = clock();
        let due = world.schedule.due(now);
        if !due.is_empty() {
            let (places, events): (Vec<_>, Vec<_>) = due.into_iter().unzip();
            match engine.offer(events).await {
                Ok(_) => places.into_iter().for_each(|place| world.schedule.acknowledge(place)),
                // Not known to be accepted, so it is sent again.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
            pause = Duration::from_millis(1);
            continue;
        }
        let found = store.look(|tables| Found::of(tables, now));
        if found.failed && !world.simulation.may_fail {
            break Rest::Quiet;
        }
        if found.decisions > DECISIONS_MAX {
            break Rest::Over(format!("there are more than {DECISIONS_MAX} decisions"));
        }
        resolve(&engine, store).await;
        let next = [world.schedule.next(), found.next].into_iter().flatten().min();
        if found.busy {
            if before != (found.decisions, found.settled) {
                before = (found.decisions, found.settled);
                still = Duration::ZERO;
            }
            if still > STILL {
                return Err(format!("the host stands still: {}", found.shown));
            }
            let until = next.map_or(LOOK_MAX, |next| millis(next.0.saturating_sub(now.0).max(1)));
            let wait = pause.min(until);
            still += wait;
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LOOK_MAX);
            continue;
        }
        (pause, still) = (Duration::from_millis(1), Duration::ZERO);
        match next {
            None => break Rest::Quiet,
            Some(next) if next > horizon => {
                break Rest::Over(format!("after {:?}, {}", world.simulation.lasts, found.shown));
            }
            Some(next) if next.0 - now.0 > SKIPPED => world.timeline.pass(millis(next.0 - now.0)),
            Some(next) => tokio::time::sleep(millis((next.0 - now.0).max(1))).await,
        }
    };
    engine.drain().await;
    Ok(rest)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What is stored, as far as it says whether something is left to do.
struct Found {
    /// A plugin, a sink or an operator has work left.
    busy: bool,
    /// When a timer fires next, or an event is no longer held.
    next: Option<Timestamp>,
    decisions: usize,
    settled: u64,
    /// A plugin could not handle an event.
    failed: bool,
    shown: String,
}

impl Found {
    fn of(tables: &Tables, now: Timestamp) -> Self {
        let head = tables.log.keys().next_back().map_or(0, |position| position.0);
        let plugins = tables.plugins.values();
        let behind = plugins.filter(|plugin| plugin.cursor.settled < head).count();
        let unread = tables.plugins.is_empty() && head > 0;
        let undelivered = tables.messages.keys().filter(|(sink, sequence)| {
            tables.sinks.get(sink).is_none_or(|sink| sink.cursor.settled < sequence.0)
        });
        let undelivered = undelivered.count();
        // A held event that an instance has claimed is work, though the cursor has passed it.
        let unclaimed = tables.held.values().all(|held| {
            let own = tables.instances.get(&(held.plugin.clone(), held.key.clone()));
            let claims = tables.claims.iter();
            let claims = claims.filter(|(p, key, _)| *p == held.plugin && *key == held.key);
            let claimers = own.map(|own| &own.key).into_iter().chain(claims.map(|(.., of)| of));
            claimers.into_iter().all(|instance| held.reached.contains(instance))
        });
        let timers = tables.timers.values().map(|row| row.timer.due);
        let next = timers.chain(tables.held.values().map(|held| held.until)).min();
        let unresolved = |dead_letter: &&Arc<DeadLetter>| {
            dead_letter.status.is_unresolved() && dead_letter.subject != DeadLetterSubject::Event
        };
        let refused = tables.dead_letters.values().filter(unresolved).count();
        let failed = tables.dead_letters.values();
        let failed = failed.filter(|dead_letter| dead_letter.subject == DeadLetterSubject::Event);
        let failed = failed.filter(|dead_letter| dead_letter.status.is_unresolved()).count();
        let parked = tables.parked.len() + tables.parked_messages.len();
        let busy = behind > 0
            || unread
            || undelivered > 0
            || !unclaimed
            || refused + failed + parked > 0
            || next.is_some_and(|next| next <= now);
        let settled = tables.plugins.values().map(|plugin| plugin.cursor.settled).sum::<u64>()
            + tables.sinks.values().map(|sink| sink.cursor.settled).sum::<u64>();
        Self {
            busy,
            next,
            decisions: tables.decisions.len(),
            settled,
            failed: failed > 0,
            shown: format!(
                "there are {} timers, {} held events, {} parked events, {} parked messages, \
                 {refused} dead letters of messages, {failed} of events, {undelivered} undelivered \
                 messages and {behind} plugins that have not read to {head}",
                tables.timers.len(),
                tables.held.len(),
                tables.parked.len(),
                tables.parked_messages.len(),
            ),
        }
    }
}

/// An operator who skips everything that failed; an event notifies the plugin of a failed command.
async fn resolve(engine: &Engine, store: &MemoryStore) {
    let open: Vec<_> = store.look(|tables| {
        let dead_letters = tables.dead_letters.values();
        dead_letters
            .filter(|dead_letter| dead_letter.status.is_unresolved())
            .map(|dead_letter| dead_letter.id)
            .collect()
    });
    for id in open {
        let (by, reason) = ("simulation".to_owned(), "goes on without it".to_owned());
        // Refused while the engine recovers: it is looked at again.
        let _ =
            engine.resolve(id, Resolution { action: Action::Skip, by, reason, batch: None }).await;
    }
}

/// How many there were so far, this one included.
pub(crate) fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}
