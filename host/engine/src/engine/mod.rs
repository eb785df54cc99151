//! The engine: [`Parts`] that it is made of, [`Settings`] that bound it, and the handle [`Engine`]
//! that the host holds. `stages.rs` starts, connects and supervises the stages.
//!
//! The handle outlives the stages. A call that arrives while the engine recovers fails with
//! `Unavailable`, and the caller can repeat it.

mod delivering;
mod ending;
mod operators;
mod plugins;
mod queues;
mod stages;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::Readiness;
use crate::changes::asking::Lookups;
use crate::changes::backlog::Backlog;
use crate::changes::comparison::Comparison;
use crate::changes::desired_state::DesiredState;
use crate::changes::outbox::Outboxes;
use crate::changes::requests::Dispatchers;
use crate::changes::resolve::ResolveRequest;
use crate::changes::sinks::SinkStates;
use crate::changes::tail::Tail;
use crate::changes::{Offer, Work};
use crate::model::{
    Event, Hops, LogEntry, PluginName, Position, QueueError, QueueStatus, Retention, SinkName,
};
use crate::pure::retry::RetryPolicy;
use crate::seams::handler::Handler;
use crate::seams::lookup::Lookup;
use crate::seams::store::{ReadError, Store};
use crate::seams::transport::Sink;
use crate::stages::shard::Shards;
use crate::stages::sinks::queue::QueueRequest;

pub use self::ending::EngineEnd;
pub use self::operators::InstanceError;
use self::queues::Queues;
use self::stages::{Stages, supervise};
pub use crate::changes::asking::LookupDown;
pub use crate::changes::canary::{Canary, Share};
pub use crate::changes::desired_state::{Missed, ServeError};
pub use crate::changes::receipt::{OfferError, Receipt};
pub use crate::changes::resolve::{Action, Resolution, ResolveError};
pub use crate::changes::sinks::SinkDown;
pub use crate::stages::shard::CallTotals;

/// Events that may wait for their commit: about two commits' worth.
const WAITING_EVENTS_MAX: usize = 32_768;
/// An event that takes more than this counts as several, so that memory is bounded too.
const WAITING_EVENT_BYTES: usize = 4_096;
/// How long a sender waits for room before it is told to come back.
const ADMISSION_WAIT: Duration = Duration::from_millis(500);
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the engine is made of.
pub struct Parts {
    pub store: Arc<dyn Store>,
    /// The plugins that are served from the start.
    pub handlers: Vec<Arc<dyn Handler>>,
    /// And the candidates that serve a share of their keys from the start.
    pub canaries: Vec<Canary>,
    pub lookup: Arc<dyn Lookup>,
    /// The sinks that routes name.
    pub sinks: HashMap<SinkName, Sink>,
    /// Message type to sink. A command or enriched event without a route goes to the queue of its type.
    pub routes: BTreeMap<String, SinkName>,
    /// The wall clock. Nothing in the engine reads another.
    pub clock: Clock,
    pub settings: Settings,
}

/// Every limit of the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads that call handlers; 0 calls them on the engine's own task, as the simulator wants it.
    pub shards: usize,
    /// Attempts before an event or message becomes a dead letter.
    pub attempts_max: u32,
    pub retry_delay_min: Duration,
    pub retry_delay_max: Duration,
    pub lookup_timeout: Duration,
    /// What the instances of one plugin may take of memory. Those used last stay; the
    /// others are in the store, and are read again when something comes for them.
    pub instance_bytes_max: usize,
    /// Timers that are kept in memory, the next ones; the others are in the store.
    pub timers_in_memory_max: usize,
    /// Events that a plugin takes from the log at once.
    pub entries_read_max: usize,
    pub retention: Retention,
    /// Events that the slowest plugin may be behind before offers are refused.
    pub backlog_max: u64,
    /// Events, or messages, that may wait behind the dead letters of one key. What comes
    /// then becomes a dead letter itself: else a key that nobody repairs fills the disk.
    pub waiting_max: u64,
    /// A key whose next attempt is further away leaves memory and waits in the store.
    pub wait_in_memory_max: Duration,
    /// How far from an event of a sender a decision may still make something. See [`Hops`].
    pub hops_max: u32,
}

impl Settings {
    pub(crate) fn retry(&self) -> RetryPolicy {
        RetryPolicy {
            attempts_max: self.attempts_max,
            delay_min: self.retry_delay_min,
            delay_max: self.retry_delay_max,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: 2,
            attempts_max: 10,
            // Ten attempts span one and a half to three minutes.
            retry_delay_min: Duration::from_millis(500),
            retry_delay_max: Duration::from_secs(60),
            lookup_timeout: Duration::from_secs(10),
            instance_bytes_max: 64 << 20,
            // About 20 MB.
            timers_in_memory_max: 65_536,
            entries_read_max: 512,
            retention: Retention::default(),
            backlog_max: 10_000_000,
            waiting_max: 10_000,
            wait_in_memory_max: Duration::from_secs(1),
            hops_max: 100,
        }
    }
}

/// The running engine. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    parts: Parts,
    desired_state: Arc<DesiredState>,
    shards: Shards,
    readiness: Arc<Readiness>,
    /// Bounds the events that wait for their commit.
    admission: Arc<Semaphore>,
    /// The stages of this epoch; none between two lives and after the end.
    epoch: Mutex<Option<Epoch>>,
    backlog: Arc<Backlog>,
    sinks: Arc<SinkStates>,
    lookups: Arc<Lookups>,
    stop: CancellationToken,
    /// The time for an orderly end is over.
    cut_off: CancellationToken,
    ended: watch::Sender<Option<EngineEnd>>,
    comparison: Comparison,
}

/// How to reach the stages from the first recovery to the next.
#[derive(Clone)]
struct Epoch {
    work: mpsc::UnboundedSender<Work>,
    log: Arc<Tail<LogEntry>>,
    queues: Arc<Queues>,
    outboxes: Arc<Outboxes>,
    /// Who resolves the dead letters of a plugin's keys, and of a sink's.
    plugins: Dispatchers,
    sinks: Arc<Mutex<BTreeMap<SinkName, mpsc::UnboundedSender<ResolveRequest>>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// False while the engine recovers from a failed commit, and why.
    pub readiness: Result<(), String>,
    /// The last position in the log.
    pub head: Position,
    pub queues: Vec<QueueStatus>,
    /// Sinks that do not answer.
    pub sinks_down: Vec<SinkDown>,
    /// Lookups that do not answer.
    pub lookups_down: Vec<LookupDown>,
    /// Bytes of each sink's messages in memory, delivered ones not counted. Bounded: the others
    /// are in the store alone.
    pub outbox_bytes: BTreeMap<SinkName, usize>,
    /// By plugin.
    pub calls: Vec<(PluginName, CallTotals)>,
}

impl Engine {
    /// Recovers from the store and starts all stages.
    ///
    /// # Errors
    /// If the store cannot be read.
    ///
    /// # Panics
    /// If a canary does not fit the plugin that it is of.
    pub async fn start(parts: Parts) -> Result<Self, ReadError> {
        let desired_state = DesiredState::new(&parts.handlers);
        for canary in parts.canaries.iter().cloned() {
            desired_state.put_canary(canary).expect("a canary fits what it is started with");
        }
        let (lookup, settings) = (Arc::clone(&parts.lookup), &parts.settings);
        let lookups = Lookups::new(lookup, settings.lookup_timeout, settings.retry());
        let shared = Arc::new(Shared {
            shards: Shards::new(parts.settings.shards),
            backlog: Arc::new(Backlog::new(parts.settings.backlog_max)),
            desired_state: Arc::new(desired_state),
            parts,
            readiness: Arc::new(Readiness::new()),
            admission: Arc::new(Semaphore::new(WAITING_EVENTS_MAX)),
            epoch: Mutex::new(None),
            sinks: Arc::new(SinkStates::default()),
            lookups: Arc::new(lookups),
            comparison: Comparison::default(),
            stop: CancellationToken::new(),
            cut_off: CancellationToken::new(),
            ended: watch::Sender::new(None),
        });
        let recovered = shared.parts.store.recover().await?;
        let stages = Stages::start(&shared, recovered).await?;
        tokio::spawn(supervise(Arc::clone(&shared), stages));
        Ok(Self { shared })
    }

    /// Appends events to the log. Returns when they are durable: one receipt for each, in order.
    ///
    /// # Errors
    /// See [`OfferError`].
    pub async fn offer(&self, events: Vec<Event>) -> Result<Vec<Receipt>, OfferError> {
        self.append(events, Hops::OUTSIDE).await
    }

    async fn append(&self, events: Vec<Event>, hops: Hops) -> Result<Vec<Receipt>, OfferError> {
        if self.shared.stop.is_cancelled() {
            return Err(OfferError::Stopping);
        }
        if let Err(reason) = self.shared.readiness.get() {
            return Err(OfferError::Unavailable(reason));
        }
        if events.is_empty() {
            return Ok(Vec::new());
        }
        if self.shared.backlog.is_too_long() {
            return Err(OfferError::Busy { retry_after: BUSY_RETRY_AFTER });
        }
        let weight = events.iter().map(|event| 1 + event.bytes() / WAITING_EVENT_BYTES);
        let weight = weight.sum::<usize>().min(WAITING_EVENTS_MAX);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let admission = Arc::clone(&self.shared.admission).acquire_many_owned(weight);
        let permit = match tokio::time::timeout(ADMISSION_WAIT, admission).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(OfferError::Stopping),
            Err(_) => return Err(OfferError::Busy { retry_after: BUSY_RETRY_AFTER }),
        };
        let recovering = || OfferError::Unavailable("the host is recovering".to_owned());
        let epoch = self.shared.epoch().ok_or_else(recovering)?;
        let (reply, receipts) = oneshot::channel();
        let events = events.into_iter().map(Arc::new).collect();
        let offer = Offer { events, hops, reply, permit };
        epoch.work.send(Work::Offer(offer)).map_err(|_| recovering())?;
        let log = Arc::clone(&epoch.log);
        // The stages end when nobody holds their channels.
        drop(epoch);
        let (mut receipts, events) = receipts.await.unwrap_or_else(|_| Err(recovering()))?;
        if hops == Hops::OUTSIDE && receipts.contains(&Receipt::Duplicate) {
            let store = &*self.shared.parts.store;
            self.shared.comparison.mark(&mut receipts, &events, &log, store).await;
        }
        Ok(receipts)
    }

    /// Has a plugin served by this handler: a plugin that is not served yet, or another
    /// version of one that is. Returns when the next event of each key goes to it; what
    /// the version before has begun, it ends. A plugin that is new begins with the log's
    /// first event, one that was here before goes on where it was. A canary beside the
    /// version before is at its end.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn serve(&self, handler: Arc<dyn Handler>, missed: Missed) -> Result<(), ServeError> {
        let change = self.shared.desired_state.put(handler, missed)?;
        self.made(change).await
    }

    /// Takes a plugin out. Returns when what it has begun is decided and durable. Its
    /// instances stay, and events wait for it.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn withdraw(&self, plugin: &PluginName) -> Result<(), ServeError> {
        let change = self.shared.desired_state.remove(plugin);
        self.made(change).await
    }

    /// Has a candidate serve a share of a plugin's keys, in the place of the canary before
    /// it. While the share is the same, a key is decided by one of the two versions alone.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn serve_canary(&self, canary: Canary) -> Result<(), ServeError> {
        let change = self.shared.desired_state.put_canary(canary)?;
        self.made(change).await
    }

    /// Has the plugin's canary serve no more: the next event of each of its keys goes to
    /// the version beside it. When this returns, all that the canary has decided is
    /// durable, and so are the dead letters of what it failed at.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn withdraw_canary(&self, plugin: &PluginName) -> Result<(), ServeError> {
        let change = self.shared.desired_state.remove_canary(plugin);
        self.made(change).await
    }

    async fn made(&self, change: u64) -> Result<(), ServeError> {
        tokio::select! {
            biased;
            () = self.shared.desired_state.made(change) => Ok(()),
            () = self.shared.stop.cancelled() => Err(ServeError::Stopping),
        }
    }

    pub async fn status(&self) -> Status {
        let epoch = self.shared.epoch();
        let mut queues = Vec::new();
        if let Some(epoch) = &epoch {
            for requests in epoch.queues.all() {
                let (reply, status) = oneshot::channel();
                let _ = requests.send(QueueRequest::Status(reply));
                queues.extend(status.await);
            }
        }
        Status {
            readiness: self.shared.readiness.get(),
            head: Position(epoch.as_ref().map_or(0, |epoch| epoch.log.head())),
            outbox_bytes: epoch.map_or_else(BTreeMap::new, |epoch| epoch.outboxes.bytes()),
            queues,
            sinks_down: self.shared.sinks.down(),
            lookups_down: self.shared.lookups.down(&self.shared.parts.clock),
            calls: self.shared.shards.totals(),
        }
    }

    fn interrupted(&self) -> QueueError {
        match self.shared.stop.is_cancelled() {
            true => QueueError::Stopping,
            false => QueueError::Unavailable("the host is recovering".to_owned()),
        }
    }
}

impl Shared {
    fn epoch(&self) -> Option<Epoch> {
        lock(&self.epoch).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What the locks guard is replaced whole: a panic elsewhere leaves it usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
