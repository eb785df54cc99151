//! The engine: [`Parts`] that it is made of, [`Settings`] that bound it, and the handle [`Engine`]
//! that the host holds. `connections.rs` connects the stages, and `stages.rs` starts and supervises them.
//!
//! The handle outlives the stages. A call that arrives while the engine recovers fails with
//! `Unavailable`, and the caller can repeat it.

mod batches;
mod connections;
mod controls;
mod delivering;
mod ending;
mod importing;
mod operators;
mod paused;
mod plugins;
mod queues;
mod stages;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::Readiness;
use crate::changes::asking::Lookups;
use crate::changes::backlog::Backlog;
use crate::changes::comparison::Comparison;
use crate::changes::controls::Controls;
use crate::changes::desired_state::DesiredState;
use crate::changes::measures::Measures;
use crate::changes::outbox::Outboxes;
use crate::changes::requests::{Dispatchers, Sinks};
use crate::changes::sinks::SinkStates;
use crate::changes::tail::Tail;
use crate::changes::{Offer, Work};
use crate::lock;
use crate::model::{
    BatchItemId, Event, Hops, LogEntry, PluginName, Position, QueueError, QueueStatus, Retention,
    SinkName,
};
use crate::pure::histogram::Distribution;
use crate::pure::retry::RetryPolicy;
use crate::seams::handler::Handler;
use crate::seams::lookup::Lookup;
use crate::seams::store::{ReadError, Store};
use crate::seams::transport::Sink;
use crate::stages::shard::Shards;
use crate::stages::sinks::queue::QueueRequest;

pub use self::batches::BatchEnd;
pub use self::controls::ControlError;
pub use self::ending::EngineEnd;
pub use self::importing::ImportError;
pub use self::operators::InstanceError;
pub use self::paused::PauseStatus;
use self::queues::Queues;
use self::stages::{Stages, supervise};
pub use crate::changes::asking::LookupDown;
pub use crate::changes::canary::{Canary, Share};
pub use crate::changes::desired_state::{Missed, ServeError};
pub use crate::changes::measures::{DeadLetters, Measured, MeasuredSink};
pub use crate::changes::receipt::{OfferError, Receipt};
pub use crate::changes::resolve::ResolveError;
pub use crate::changes::sinks::SinkDown;
pub use crate::changes::spans::{Span, SpanKind, Spans};
pub use crate::model::{Action, Resolution};

/// Events that may wait for their commit: about as many as two commits write.
const WAITING_EVENTS_MAX: usize = 32_768;
/// An event that takes more than this counts as several, so that memory is bounded too.
const WAITING_EVENT_BYTES: usize = 4_096;
/// How long a sender waits for room before it gets [`OfferError::Busy`].
const ADMISSION_WAIT: Duration = Duration::from_millis(500);
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the engine is made of.
pub struct Parts {
    /// The durable store. The engine is its only writer.
    pub store: Arc<dyn Store>,
    /// The plugins that are served from the start.
    pub handlers: Vec<Arc<dyn Handler>>,
    /// The candidates that serve a share of a plugin's keys from the start.
    pub canaries: Vec<Canary>,
    /// Answers the questions of handlers.
    pub lookup: Arc<dyn Lookup>,
    /// The sinks that routes name.
    pub sinks: HashMap<SinkName, Sink>,
    /// Message type to sink. A command or an enricher's event without a route goes to the queue
    /// of its type.
    pub routes: BTreeMap<String, SinkName>,
    /// The wall clock. Nothing in the engine reads another.
    pub clock: Clock,
    /// The limits.
    pub settings: Settings,
}

/// Every limit of the engine, and where it reports spans.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads that call handlers. With 0, the engine calls them on its own task, as the
    /// simulator needs it.
    pub shards: usize,
    /// Attempts before an event or message becomes a dead letter, the first included.
    pub attempts_max: u32,
    /// The delay after the first failed attempt, before jitter. It doubles with each attempt.
    pub retry_delay_min: Duration,
    /// The longest delay between two attempts, before jitter.
    pub retry_delay_max: Duration,
    /// How long the engine waits for the answer to a question.
    pub lookup_timeout: Duration,
    /// The bytes of memory that the instances of one plugin may take. Those used last stay in
    /// memory; the others are read from the store when an event comes for them.
    pub instance_bytes_max: usize,
    /// The bytes of memory that the held events of one plugin may take. Further ones become dead
    /// letters.
    pub held_bytes_max: usize,
    /// The number of timers in memory: those that are due next. The others are in the store.
    pub timers_in_memory_max: usize,
    /// The most events that a dispatcher reads from the log at once.
    pub entries_read_max: usize,
    /// How long completed data is kept.
    pub retention: Retention,
    /// How many events the slowest plugin may be behind before offers are refused.
    pub backlog_max: u64,
    /// Events, or messages, that may wait behind the dead letters of one key. Further ones
    /// become dead letters themselves: otherwise a key that no operator repairs fills the disk.
    pub waiting_max: u64,
    /// A key whose next attempt is further away than this leaves memory and waits in the store.
    pub wait_in_memory_max: Duration,
    /// How long a stage that waits for a date sleeps at most, because the wall clock may be set
    /// meanwhile. A clock that is never set, as in a backtest, needs no such look.
    pub date_check_max: Duration,
    /// The highest [`Hops`] of what a decision may make. A decision that would exceed it becomes
    /// a dead letter.
    pub hops_max: u32,
    /// Where the stages report spans of sampled events.
    pub spans: Spans,
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
            held_bytes_max: 256 << 20,
            // About 20 MB.
            timers_in_memory_max: 65_536,
            entries_read_max: 512,
            retention: Retention::default(),
            backlog_max: 10_000_000,
            waiting_max: 10_000,
            wait_in_memory_max: Duration::from_secs(1),
            date_check_max: Duration::from_millis(500),
            hops_max: 100,
            spans: Spans::default(),
        }
    }
}

/// The handle on a running engine. It is cheap to clone, and all clones are one engine.
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
    /// The stages of this epoch; none between two epochs and after the end.
    epoch: Mutex<Option<Epoch>>,
    backlog: Arc<Backlog>,
    sinks: Arc<SinkStates>,
    lookups: Arc<Lookups>,
    stop: CancellationToken,
    /// Cancelled when the time for an orderly end is over.
    cut_off: CancellationToken,
    ended: watch::Sender<Option<EngineEnd>>,
    controls: Arc<Controls>,
    /// Held while the controls change: they change one after another.
    changing_controls: tokio::sync::Mutex<()>,
    comparison: Comparison,
    measures: Arc<Measures>,
}

/// The channels to the stages of one epoch.
#[derive(Clone)]
struct Epoch {
    work: mpsc::UnboundedSender<Work>,
    log: Arc<Tail<LogEntry>>,
    queues: Arc<Queues>,
    outboxes: Arc<Outboxes>,
    /// The stages that resolve dead letters: the dispatcher of each plugin, and the relay or
    /// queue of each sink.
    plugins: Dispatchers,
    sinks: Sinks,
}

/// The current state of the engine, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// An error with the reason while the engine does not accept events, because a commit failed
    /// or it recovers.
    pub readiness: Result<(), String>,
    /// The last position in the log.
    pub head: Position,
    /// The queues that have had messages, in the order of their names.
    pub queues: Vec<QueueStatus>,
    /// The sinks that are down.
    pub sinks_down: Vec<SinkDown>,
    /// The lookups that are down.
    pub lookups_down: Vec<LookupDown>,
    /// The bytes of each sink's messages in memory that are not delivered. They are bounded: the
    /// other messages are only in the store.
    pub outbox_bytes: BTreeMap<SinkName, usize>,
    /// How long the calls took that have ended since the host started, by plugin.
    pub calls: Vec<(PluginName, Distribution)>,
}

impl Engine {
    /// Recovers from the store and starts all stages.
    ///
    /// # Errors
    /// If the store cannot be read.
    ///
    /// # Panics
    /// If a canary does not fit the plugin that serves.
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
            measures: Arc::new(Measures::default()),
            controls: Arc::default(),
            changing_controls: tokio::sync::Mutex::new(()),
            stop: CancellationToken::new(),
            cut_off: CancellationToken::new(),
            ended: watch::Sender::new(None),
        });
        let recovered = shared.parts.store.recover().await?;
        let stages = Stages::start(&shared, recovered).await?;
        tokio::spawn(supervise(Arc::clone(&shared), stages));
        Ok(Self { shared })
    }

    /// Appends events to the log. Returns when they are durable, with one receipt for each
    /// event, in order. The events must be valid ([`Event::validate`]).
    ///
    /// # Errors
    /// See [`OfferError`].
    pub async fn offer(&self, events: Vec<Event>) -> Result<Vec<Receipt>, OfferError> {
        if let Some(pause) = self.shared.controls.door() {
            return Err(self.door_is_paused(&pause));
        }
        self.append(events, Hops::OUTSIDE, None).await
    }

    async fn append(
        &self,
        events: Vec<Event>,
        hops: Hops,
        item: Option<BatchItemId>,
    ) -> Result<Vec<Receipt>, OfferError> {
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
        let offer = Offer { events, hops, item, reply, permit };
        epoch.work.send(Work::Offer(offer)).map_err(|_| recovering())?;
        let log = Arc::clone(&epoch.log);
        // A channel that is held here would keep the stages from ending.
        drop(epoch);
        let (mut receipts, events) = receipts.await.unwrap_or_else(|_| Err(recovering()))?;
        if hops == Hops::OUTSIDE && receipts.contains(&Receipt::Duplicate) {
            let store = &*self.shared.parts.store;
            self.shared.comparison.mark(&mut receipts, &events, &log, store).await;
        }
        Ok(receipts)
    }

    /// Lets this handler serve its plugin: a plugin that is not served yet, or another version
    /// of one that is. Returns when the next event of each key goes to the handler. Calls that
    /// the version before has begun end with that version. A plugin that is new starts with the
    /// log's first event. A plugin that was served before continues where it was; `missed` says
    /// what becomes of the events that came since. A canary of the plugin ends.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn serve(&self, handler: Arc<dyn Handler>, missed: Missed) -> Result<(), ServeError> {
        let change = self.shared.desired_state.put(handler, missed)?;
        self.made(change).await
    }

    /// Stops serving a plugin. Returns when the decisions of all calls that it has begun are
    /// durable. Its instances stay in the store, and its later events wait for it.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn withdraw(&self, plugin: &PluginName) -> Result<(), ServeError> {
        let change = self.shared.desired_state.remove(plugin);
        self.made(change).await
    }

    /// Lets a candidate serve a share of a plugin's keys. It replaces the canary before it.
    /// While the share is the same, a key is decided by only one of the two versions.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn serve_canary(&self, canary: Canary) -> Result<(), ServeError> {
        let change = self.shared.desired_state.put_canary(canary)?;
        self.made(change).await
    }

    /// Ends the plugin's canary: the next event of each of its keys goes to the version that
    /// serves. When this returns, all decisions of the canary are durable, and so are the dead
    /// letters of what it failed at.
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

    /// The current state of the engine. It asks every queue, and never reads the store.
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
            calls: self.shared.shards.times(),
        }
    }

    /// How many events of the log each plugin that serves has before it.
    #[must_use]
    pub fn lags(&self) -> Vec<(PluginName, u64)> {
        self.shared.backlog.lags()
    }

    /// Appends an alert of the host to the log, and gives it to the sink that a route names for its
    /// type, which begins with [`crate::model::reserved::ALERT`]. Returns when it is durable.
    ///
    /// # Errors
    /// See [`OfferError`].
    pub async fn alert(&self, alert: Event) -> Result<(), OfferError> {
        self.append(vec![alert], Hops::FIRST, None).await.map(|_| ())
    }

    /// What the stages have measured since the host started.
    #[must_use]
    pub fn measured(&self) -> Measured {
        self.shared.measures.measured()
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
