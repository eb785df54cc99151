//! Wiring and supervision of the stages, and the handle that the rest of the host holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::backlog::Backlog;
use crate::breaker::Breaker;
use crate::commit::{Committer, Ended, Offer, Work};
use crate::dispatch::Surroundings;
use crate::handler::Handler;
use crate::housekeeping::{Housekeeping, Retention};
use crate::lookup::Lookup;
use crate::model::{
    DeadLetterId, DeadLetterSubject, Event, Instance, InstanceStatus, Key, LogEntry, Message,
    MessageId, PluginName, Position, Sequence, SinkName, Timestamp, reserved,
};
use crate::outbox::{OutboxReader, Outboxes};
use crate::outlet::Outlet;
use crate::plugins::{Plugins, Resolvers};
use crate::queue::{Queue, QueueRequest};
pub use crate::receipt::{OfferError, Receipt};
use crate::relay::Relay;
pub use crate::resolve::{Action, Resolution, ResolveError};
use crate::resolve::{LetterIds, ResolveRequest};
use crate::retry::RetryPolicy;
use crate::roster::Roster;
pub use crate::roster::{Missed, ServeError};
pub use crate::shard::CallTotals;
use crate::shard::Shards;
pub use crate::sinks::SinkDown;
use crate::sinks::SinkStates;
use crate::store::{ReadError, Recovered, RecoveredSink, SinkProgress, Store};
use crate::tail::Tail;
use crate::timers::{TimerIndex, Timers};
use crate::transport::Transport;
use crate::{Clock, Routes, Serving, routes};

/// Events that may wait for their commit: about two commits' worth.
const WAITING_EVENTS_MAX: usize = 32_768;
/// An event with more data than this counts as several, so that memory is bounded too.
const WAITING_EVENT_BYTES: usize = 4_096;
/// How long a sender waits for room before it is told to come back.
const ADMISSION_WAIT: Duration = Duration::from_millis(500);
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Between two attempts to recover.
const RECOVER_DELAY: Duration = Duration::from_millis(250);

/// What the engine is made of.
pub struct Parts {
    pub store: Arc<dyn Store>,
    /// The plugins that are served from the start.
    pub handlers: Vec<Arc<dyn Handler>>,
    pub lookup: Arc<dyn Lookup>,
    /// The sinks that routes name.
    pub transports: HashMap<SinkName, Arc<dyn Transport>>,
    /// Message type to sink. A command or enriched event without a route goes to the queue of its type.
    pub routes: BTreeMap<String, SinkName>,
    /// The wall clock. Nothing in the engine reads another.
    pub clock: Clock,
    pub settings: Settings,
}

/// Every limit of the engine that an operator may set.
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
    /// Events that a plugin takes from the log at once.
    pub entries_read_max: usize,
    pub retention: Retention,
    /// Events that the slowest plugin may be behind before offers are refused.
    pub backlog_max: u64,
}

impl Settings {
    fn retry(&self) -> RetryPolicy {
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
            retry_delay_min: Duration::from_millis(200),
            retry_delay_max: Duration::from_secs(60),
            lookup_timeout: Duration::from_secs(10),
            instance_bytes_max: 64 << 20,
            entries_read_max: 512,
            retention: Retention::default(),
            backlog_max: 10_000_000,
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
    roster: Arc<Roster>,
    shards: Shards,
    serving: Arc<Serving>,
    /// Bounds the events that wait for their commit.
    admission: Arc<Semaphore>,
    /// The stages of this life; none between two lives and after the end.
    life: Mutex<Option<Life>>,
    backlog: Arc<Backlog>,
    sinks: Arc<SinkStates>,
    stop: CancellationToken,
    ended: watch::Sender<bool>,
}

/// How to reach the stages from the first recovery to the next.
#[derive(Clone)]
struct Life {
    work: mpsc::UnboundedSender<Work>,
    log: Arc<Tail<LogEntry>>,
    queues: Arc<Mutex<BTreeMap<String, mpsc::UnboundedSender<QueueRequest>>>>,
    outboxes: Arc<Outboxes>,
    /// Who resolves the dead letters of a plugin's keys, and of a sink's.
    plugins: Resolvers,
    sinks: Arc<Mutex<BTreeMap<SinkName, mpsc::UnboundedSender<ResolveRequest>>>>,
}

#[derive(Clone, Debug)]
pub struct LeaseRequest {
    pub max: usize,
    /// How long to wait for a first message.
    pub wait: Duration,
    /// For how long the messages are the worker's; then they are given to another.
    pub duration: Duration,
}

#[derive(Clone, Debug)]
pub struct Lease {
    pub id: LeaseId,
    pub expires_at: Timestamp,
    /// In order. Messages of one ordering key are with one worker at a time.
    pub messages: Vec<Leased>,
}

/// Never used again, also not by a later run of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub u64);

#[derive(Clone, Debug)]
pub struct Leased {
    pub message: Arc<Message>,
    /// Counts from 1.
    pub attempt: u32,
}

/// Which messages of a lease a call is about.
#[derive(Clone, Debug)]
pub enum Selection {
    All,
    Ids(Vec<MessageId>),
}

/// What became of a call about a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseReport {
    /// How many messages the call settled, gave back, or extended.
    pub done: usize,
    /// Named ids that the lease does not hold (any more).
    pub unknown: Vec<MessageId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueueError {
    #[error(
        "lease {0} is not known: it expired, or the host was started again; its messages come again"
    )]
    NoSuchLease(u64),
    #[error("the store does not accept acknowledgements: {0}")]
    Unavailable(String),
    #[error("the host is shutting down")]
    Stopping,
}

/// A queue of the host, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// The message type, which is the queue's name.
    pub queue: String,
    pub ready: usize,
    pub leased: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// False while the engine recovers from a failed commit, and why.
    pub serving: Result<(), String>,
    /// The last position in the log.
    pub head: Position,
    pub queues: Vec<QueueStatus>,
    /// Sinks that do not answer.
    pub sinks_down: Vec<SinkDown>,
    /// By plugin.
    pub calls: Vec<(PluginName, CallTotals)>,
}

/// Why an instance is not cancelled or ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InstanceError {
    #[error("plugin `{0}` is not loaded")]
    NotLoaded(String),
    #[error("plugin `{0}` has no instances: it is no process manager")]
    Stateless(String),
    #[error("{plugin} has no instance `{key}`")]
    NotFound { plugin: String, key: String },
    #[error("instance `{key}` of {plugin} is {status} already")]
    NotRunning { plugin: String, key: String, status: &'static str },
    #[error(
        "{0} does not subscribe to `sagabox.instance.cancelled`, so it cannot compensate; end the instance instead"
    )]
    NotSubscribed(String),
    #[error(transparent)]
    Offer(#[from] OfferError),
}

impl Engine {
    /// Recovers from the store and starts all stages.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn start(parts: Parts) -> Result<Self, ReadError> {
        let shared = Arc::new(Shared {
            shards: Shards::new(parts.settings.shards),
            backlog: Arc::new(Backlog::new(parts.settings.backlog_max)),
            roster: Arc::new(Roster::new(&parts.handlers)),
            parts,
            serving: Arc::new(Serving::new()),
            admission: Arc::new(Semaphore::new(WAITING_EVENTS_MAX)),
            life: Mutex::new(None),
            sinks: Arc::new(SinkStates::default()),
            stop: CancellationToken::new(),
            ended: watch::Sender::new(false),
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
        if self.shared.stop.is_cancelled() {
            return Err(OfferError::Stopping);
        }
        if let Err(reason) = self.shared.serving.get() {
            return Err(OfferError::Unavailable(reason));
        }
        if events.is_empty() {
            return Ok(Vec::new());
        }
        if self.shared.backlog.is_too_long() {
            return Err(OfferError::Busy { retry_after: BUSY_RETRY_AFTER });
        }
        let weight = events.iter().map(|event| 1 + event.data.len() / WAITING_EVENT_BYTES);
        let weight = weight.sum::<usize>().min(WAITING_EVENTS_MAX);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let admission = Arc::clone(&self.shared.admission).acquire_many_owned(weight);
        let permit = match tokio::time::timeout(ADMISSION_WAIT, admission).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(OfferError::Stopping),
            Err(_) => return Err(OfferError::Busy { retry_after: BUSY_RETRY_AFTER }),
        };
        let recovering = || OfferError::Unavailable("the host is recovering".to_owned());
        let life = self.shared.life().ok_or_else(recovering)?;
        let (reply, receipts) = oneshot::channel();
        let offer = Offer { events: events.into_iter().map(Arc::new).collect(), reply, permit };
        life.work.send(Work::Offer(offer)).map_err(|_| recovering())?;
        drop(life);
        receipts.await.unwrap_or_else(|_| Err(recovering()))
    }

    /// Has a plugin served by this handler: a plugin that is not served yet, or another
    /// version of one that is. Returns when the next event of each key goes to it; what
    /// the version before has begun, it ends. A plugin that is new begins with the log's
    /// first event, one that was here before goes on where it was.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn serve(&self, handler: Arc<dyn Handler>, missed: Missed) -> Result<(), ServeError> {
        let change = self.shared.roster.put(handler, missed)?;
        self.made(change).await
    }

    /// Takes a plugin out. Returns when what it has begun is decided and durable. Its
    /// instances stay, and events wait for it.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn withdraw(&self, plugin: &PluginName) -> Result<(), ServeError> {
        let change = self.shared.roster.remove(plugin);
        self.made(change).await
    }

    async fn made(&self, change: u64) -> Result<(), ServeError> {
        tokio::select! {
            biased;
            () = self.shared.roster.made(change) => Ok(()),
            () = self.shared.stop.cancelled() => Err(ServeError::Stopping),
        }
    }

    /// Takes messages from the queue of a message type. An empty lease means that
    /// none came within the wait. A queue that never had a message is an empty queue.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn lease(&self, queue: &str, request: LeaseRequest) -> Result<Lease, QueueError> {
        let deadline = tokio::time::Instant::now() + request.wait;
        let Some(requests) = self.queue(queue, deadline).await? else {
            let now = (self.shared.parts.clock)();
            return Ok(Lease { id: LeaseId(0), expires_at: now, messages: Vec::new() });
        };
        let wait = deadline.saturating_duration_since(tokio::time::Instant::now());
        let (reply, lease) = oneshot::channel();
        let _ = requests.send(QueueRequest::Lease(LeaseRequest { wait, ..request }, reply));
        self.answer(lease).await
    }

    /// Settles messages of a lease. Returns when that is durable.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn acknowledge(
        &self,
        queue: &str,
        lease: LeaseId,
        messages: Selection,
    ) -> Result<LeaseReport, QueueError> {
        let requests = self.existing_queue(queue, lease)?;
        let (reply, report) = oneshot::channel();
        let _ = requests.send(QueueRequest::Acknowledge(lease, messages, reply));
        let (report, durable) = self.answer(report).await?;
        durable.await.map_err(|_| self.interrupted())?;
        Ok(report)
    }

    /// Gives messages back unhandled. They come again after `delay`, as the next
    /// attempt; out of attempts, they become dead letters with this reason.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn give_back(
        &self,
        queue: &str,
        lease: LeaseId,
        messages: Selection,
        delay: Duration,
        reason: String,
    ) -> Result<LeaseReport, QueueError> {
        let requests = self.existing_queue(queue, lease)?;
        let (reply, report) = oneshot::channel();
        let _ = requests.send(QueueRequest::GiveBack { lease, messages, delay, reason, reply });
        self.answer(report).await
    }

    /// Lets a lease expire `duration` from now instead.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn extend(
        &self,
        queue: &str,
        lease: LeaseId,
        duration: Duration,
    ) -> Result<Timestamp, QueueError> {
        let requests = self.existing_queue(queue, lease)?;
        let (reply, until) = oneshot::channel();
        let _ = requests.send(QueueRequest::Extend(lease, duration, reply));
        self.answer(until).await
    }

    /// Resolves a dead letter: tries it again, goes on without it, or drops it with
    /// all that waits behind it. Returns when that is durable; trying again takes its time after.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn resolve(
        &self,
        id: DeadLetterId,
        resolution: Resolution,
    ) -> Result<(), ResolveError> {
        let unavailable =
            |error: &dyn std::fmt::Display| ResolveError::Unavailable(error.to_string());
        let letter = self.shared.parts.store.read_dead_letter(id).await;
        let letter = letter.map_err(|error| unavailable(&error))?;
        let letter = letter.ok_or(ResolveError::NotFound(id.0))?;
        let life = self.shared.life().ok_or_else(|| unavailable(&self.interrupted()))?;
        let (owner, requests) = match &letter.subject {
            DeadLetterSubject::Event => {
                (format!("plugin {}", letter.plugin), life.plugins.get(&letter.plugin))
            }
            DeadLetterSubject::Message { sink, .. } => {
                (format!("sink {sink}"), lock(&life.sinks).get(sink).cloned())
            }
        };
        drop(life);
        let requests = requests.ok_or(ResolveError::Unserved(owner))?;
        let (reply, outcome) = oneshot::channel();
        let _ = requests.send(ResolveRequest { letter, resolution, reply });
        let durable = outcome.await.unwrap_or_else(|_| Err(unavailable(&self.interrupted())))?;
        durable.await.map_err(|_| unavailable(&self.interrupted()))
    }

    /// Asks an instance to come to an end: its plugin gets an event, and may compensate.
    ///
    /// # Errors
    /// See [`InstanceError`].
    pub async fn cancel(
        &self,
        plugin: &PluginName,
        key: &Key,
        by: &str,
        reason: &str,
    ) -> Result<(), InstanceError> {
        self.tell(plugin, key, reserved::INSTANCE_CANCELLED, by, reason).await
    }

    /// Ends an instance without asking its plugin: its timers are gone, what waits
    /// behind its dead letters is dropped, and what comes for it is ignored.
    ///
    /// # Errors
    /// See [`InstanceError`].
    pub async fn end(
        &self,
        plugin: &PluginName,
        key: &Key,
        by: &str,
        reason: &str,
    ) -> Result<(), InstanceError> {
        self.tell(plugin, key, reserved::INSTANCE_ENDED, by, reason).await
    }

    /// Appends an event of the host for a running instance.
    async fn tell(
        &self,
        plugin: &PluginName,
        key: &Key,
        event_type: &str,
        by: &str,
        reason: &str,
    ) -> Result<(), InstanceError> {
        let handler = self.shared.roster.get(plugin);
        let handler = handler.ok_or_else(|| InstanceError::NotLoaded(plugin.to_string()))?;
        let manifest = handler.manifest();
        if !manifest.role.has_instances() {
            return Err(InstanceError::Stateless(plugin.to_string()));
        }
        let subscribes = manifest.subscriptions.iter().any(|s| s.event_type == event_type);
        if event_type == reserved::INSTANCE_CANCELLED && !subscribes {
            return Err(InstanceError::NotSubscribed(plugin.to_string()));
        }
        let (name, of) = (plugin.to_string(), key.to_string());
        let loaded = self.shared.parts.store.load(plugin, std::slice::from_ref(key)).await;
        let loaded = loaded.map_err(|error| OfferError::Unavailable(error.to_string()))?;
        let own = |instance: &&Arc<Instance>| instance.key == *key;
        let Some(instance) = loaded.instances.iter().find(own) else {
            return Err(InstanceError::NotFound { plugin: name, key: of });
        };
        if instance.status != InstanceStatus::Running {
            let status = instance.status.as_str();
            return Err(InstanceError::NotRunning { plugin: name, key: of, status });
        }
        let now = (self.shared.parts.clock)();
        let event = Event {
            // Asking twice while the first waits for its turn changes nothing.
            id: format!("{plugin}/{key}/{}/{}", instance.version, now.0),
            source: crate::identity::source(plugin),
            event_type: event_type.to_owned(),
            subject: Some(of),
            time: Some(now.to_rfc3339()),
            datacontenttype: None,
            dataschema: None,
            extensions: vec![
                (reserved::EXTENSION_PLUGIN.to_owned(), name),
                (reserved::EXTENSION_INSTANCE.to_owned(), key.to_string()),
            ],
            data: serde_json::json!({"by": by, "reason": reason}).to_string().into(),
        };
        self.offer(vec![event]).await?;
        Ok(())
    }

    pub async fn status(&self) -> Status {
        let life = self.shared.life();
        let mut queues = Vec::new();
        if let Some(life) = &life {
            let requests: Vec<_> = lock(&life.queues).values().cloned().collect();
            for requests in requests {
                let (reply, status) = oneshot::channel();
                let _ = requests.send(QueueRequest::Status(reply));
                queues.extend(status.await);
            }
        }
        Status {
            serving: self.shared.serving.get(),
            head: Position(life.map_or(0, |life| life.log.head())),
            queues,
            sinks_down: self.shared.sinks.down(),
            calls: self.shared.shards.totals(),
        }
    }

    /// Stops accepting, lets calls and deliveries that are under way end, commits,
    /// and returns. What is left is in the store. Calling it again waits for the same end.
    pub async fn drain(&self) {
        self.shared.stop.cancel();
        let mut ended = self.shared.ended.subscribe();
        // The sender lives in `shared`.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// The queue's stage, waiting for a first message until the deadline.
    async fn queue(
        &self,
        name: &str,
        deadline: tokio::time::Instant,
    ) -> Result<Option<mpsc::UnboundedSender<QueueRequest>>, QueueError> {
        let life = self.shared.life().ok_or_else(|| self.interrupted())?;
        let find = || lock(&life.queues).get(name).cloned();
        if let Some(queue) = find() {
            return Ok(Some(queue));
        }
        let tail = life.outboxes.tail(&routes::queue(name));
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => return Err(QueueError::Stopping),
            () = tail.wait(0) => {}
            () = tokio::time::sleep_until(deadline) => return Ok(None),
        }
        // The stage is started when the first sequence is given, before the message is published.
        for _ in 0..100 {
            if let Some(queue) = find() {
                return Ok(Some(queue));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(None)
    }

    fn existing_queue(
        &self,
        name: &str,
        lease: LeaseId,
    ) -> Result<mpsc::UnboundedSender<QueueRequest>, QueueError> {
        let life = self.shared.life().ok_or_else(|| self.interrupted())?;
        let queue = lock(&life.queues).get(name).cloned();
        queue.ok_or(QueueError::NoSuchLease(lease.0))
    }

    async fn answer<T>(
        &self,
        answer: oneshot::Receiver<Result<T, QueueError>>,
    ) -> Result<T, QueueError> {
        answer.await.unwrap_or_else(|_| Err(self.interrupted()))
    }

    fn interrupted(&self) -> QueueError {
        match self.shared.stop.is_cancelled() {
            true => QueueError::Stopping,
            false => QueueError::Unavailable("the host is recovering".to_owned()),
        }
    }
}

impl Shared {
    fn life(&self) -> Option<Life> {
        lock(&self.life).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What the locks guard is replaced whole: a panic elsewhere leaves it usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tasks of one life.
struct Stages {
    committer: tokio::task::JoinHandle<Ended>,
    /// Dispatchers and timers: they stop first.
    deciding: JoinSet<()>,
    /// Starts relays and queues, and ends when they have ended.
    delivering: JoinSet<()>,
    stop_deciding: CancellationToken,
    stop_delivering: CancellationToken,
}

/// Lets the engine live again after every commit whose outcome is unknown, until it is stopped.
async fn supervise(shared: Arc<Shared>, stages: Stages) {
    let mut stages = stages;
    loop {
        let ended = tokio::select! {
            biased;
            ended = &mut stages.committer => ended,
            panicked = panicked(&mut stages.deciding, &mut stages.delivering) => Err(panicked),
            () = shared.stop.cancelled() => {
                stages.drain(&shared).await;
                break;
            }
        };
        let fenced = matches!(&ended, Ok(Ended::Fenced(_)));
        let by_mistake = ended.is_err();
        let reason = match ended {
            Ok(Ended::Restart(reason) | Ended::Fenced(reason)) => reason,
            Ok(Ended::Drained) => "the committer ended early".to_owned(),
            Err(error) => format!("a stage ended by a mistake of Sagabox: {error}"),
        };
        stages.abort(&shared).await;
        shared.serving.set(Err(reason.clone()));
        if fenced {
            tracing::error!(%reason, "this host no longer owns the store; it stops");
            break;
        }
        tracing::error!(%reason, "all stages start again, from what is in the store");
        if by_mistake {
            // It may well happen again at once.
            tokio::time::sleep(RECOVER_DELAY).await;
        }
        let Some(next) = revive(&shared).await else { break };
        shared.serving.set(Ok(()));
        stages = next;
    }
    shared.stop.cancel();
    *lock(&shared.life) = None;
    shared.ended.send_replace(true);
}

/// Tries to recover until it works, or the engine is stopped.
async fn revive(shared: &Arc<Shared>) -> Option<Stages> {
    loop {
        let attempt = async {
            let recovered = shared.parts.store.recover().await?;
            Stages::start(shared, recovered).await
        };
        let attempt = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return None,
            attempt = attempt => attempt,
        };
        match attempt {
            Ok(stages) => return Some(stages),
            Err(error) => {
                tracing::error!(%error, "the store cannot be read; trying again");
                tokio::time::sleep(RECOVER_DELAY).await;
            }
        }
    }
}

impl Stages {
    async fn start(shared: &Arc<Shared>, recovered: Recovered) -> Result<Self, ReadError> {
        let parts = &shared.parts;
        let (work, work_of) = mpsc::unbounded_channel();
        let (opened, opened_of) = mpsc::unbounded_channel();
        let log =
            Arc::new(Tail::new(recovered.position.0, |entry: &LogEntry| entry.event.data.len()));
        let last = |sink: &RecoveredSink| (sink.progress.sink.clone(), sink.last);
        let outboxes = Arc::new(Outboxes::new(recovered.sinks.iter().map(last), opened.clone()));
        let timers = Arc::new(TimerIndex::new());
        let stop_deciding = CancellationToken::new();
        let stop_delivering = CancellationToken::new();

        shared.sinks.clear();
        let letter_ids = LetterIds::new(recovered.dead_letter);
        let around = Surroundings {
            shards: shared.shards.clone(),
            store: Arc::clone(&parts.store),
            lookup: Arc::clone(&parts.lookup),
            clock: Arc::clone(&parts.clock),
            retry: parts.settings.retry(),
            lookup_timeout: parts.settings.lookup_timeout,
            instance_bytes_max: parts.settings.instance_bytes_max,
            entries_read_max: parts.settings.entries_read_max,
            routes: Arc::new(Routes::new(parts.routes.clone())),
            log: Arc::clone(&log),
            work: work.clone(),
            letter_ids: Arc::clone(&letter_ids),
        };
        let (roster, resolvers) = (Arc::clone(&shared.roster), Resolvers::default());
        shared.backlog.restart(recovered.position.0);
        let backlog = Arc::clone(&shared.backlog);
        let plugins =
            Plugins::start(around, roster, backlog, recovered.plugins, resolvers.clone()).await?;
        let mut deciding = JoinSet::new();
        deciding.spawn(plugins.run(stop_deciding.clone()));
        let timer_stage = Timers {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            index: Arc::clone(&timers),
            work: work.clone(),
        };
        deciding.spawn(timer_stage.run(stop_deciding.clone()));
        let housekeeping = Housekeeping {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            retention: parts.settings.retention.clone(),
            roster: Arc::clone(&shared.roster),
            work: work.clone(),
        };
        deciding.spawn(housekeeping.run(stop_deciding.clone()));

        let committer = Committer {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            log: Arc::clone(&log),
            outboxes: Arc::clone(&outboxes),
            timers,
            serving: Arc::clone(&shared.serving),
            backlog: Arc::clone(&shared.backlog),
            position: recovered.position,
        };
        let queues = Arc::new(Mutex::new(BTreeMap::new()));
        let sinks = Arc::new(Mutex::new(BTreeMap::new()));
        let delivering = Delivering {
            shared: Arc::clone(shared),
            work: work.clone(),
            outboxes: Arc::clone(&outboxes),
            queues: Arc::clone(&queues),
            sinks: Arc::clone(&sinks),
            letter_ids,
            recovered: recovered
                .sinks
                .into_iter()
                .map(|sink| (sink.progress.sink.clone(), sink))
                .collect(),
            started: BTreeSet::new(),
            next_lease: (parts.clock)().0 << 16,
        };
        let life = Life { work, log, queues, outboxes, plugins: resolvers, sinks };
        *lock(&shared.life) = Some(life);
        let mut delivery_stage = JoinSet::new();
        delivery_stage.spawn(delivering.run(opened_of, stop_delivering.clone()));
        Ok(Self {
            committer: tokio::spawn(committer.run(work_of)),
            deciding,
            delivering: delivery_stage,
            stop_deciding,
            stop_delivering,
        })
    }

    /// Ends the stages in the order of an event's way; each hands over what it has.
    async fn drain(mut self, shared: &Shared) {
        *lock(&shared.life) = None;
        self.stop_deciding.cancel();
        while self.deciding.join_next().await.is_some() {}
        self.stop_delivering.cancel();
        while self.delivering.join_next().await.is_some() {}
        // All senders are gone now: the committer ends when everything is written.
        if let Ok(Ended::Restart(reason) | Ended::Fenced(reason)) = self.committer.await {
            tracing::error!(%reason, "the last commit failed; the next start recovers");
        }
    }

    async fn abort(mut self, shared: &Shared) {
        *lock(&shared.life) = None;
        self.deciding.shutdown().await;
        self.delivering.shutdown().await;
        self.committer.abort();
    }
}

/// Resolves when a stage that decides or delivers has panicked: its plugin or sink
/// would stand still, and nobody would know.
async fn panicked(deciding: &mut JoinSet<()>, delivering: &mut JoinSet<()>) -> JoinError {
    loop {
        let ended = tokio::select! {
            biased;
            Some(ended) = deciding.join_next() => ended,
            Some(ended) = delivering.join_next() => ended,
            else => std::future::pending().await,
        };
        if let Err(error) = ended {
            return error;
        }
    }
}

/// Starts the relay or queue of each sink: of those that are known, and of those to come.
struct Delivering {
    shared: Arc<Shared>,
    work: mpsc::UnboundedSender<Work>,
    outboxes: Arc<Outboxes>,
    queues: Arc<Mutex<BTreeMap<String, mpsc::UnboundedSender<QueueRequest>>>>,
    sinks: Arc<Mutex<BTreeMap<SinkName, mpsc::UnboundedSender<ResolveRequest>>>>,
    letter_ids: Arc<LetterIds>,
    recovered: BTreeMap<SinkName, RecoveredSink>,
    started: BTreeSet<SinkName>,
    next_lease: u64,
}

impl Delivering {
    async fn run(mut self, mut opened: mpsc::UnboundedReceiver<SinkName>, stop: CancellationToken) {
        let mut stages = JoinSet::new();
        for sink in self.recovered.keys().cloned().collect::<Vec<_>>() {
            self.start(&sink, &mut stages, &stop);
        }
        loop {
            let sink = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = stages.join_next() => match ended.map_err(JoinError::try_into_panic) {
                    Err(Ok(panic)) => std::panic::resume_unwind(panic),
                    Ok(()) | Err(Err(_)) => continue,
                },
                Some(sink) = opened.recv() => sink,
            };
            self.start(&sink, &mut stages, &stop);
        }
        lock(&self.queues).clear();
        // Their handle on the committer goes with them, so that it can end.
        drop(self);
        while stages.join_next().await.is_some() {}
    }

    fn start(&mut self, sink: &SinkName, stages: &mut JoinSet<()>, stop: &CancellationToken) {
        if !self.started.insert(sink.clone()) {
            return;
        }
        let parts = &self.shared.parts;
        let recovered = self.recovered.remove(sink).unwrap_or_else(|| fresh_sink(sink));
        let reader = OutboxReader {
            sink: sink.clone(),
            store: Arc::clone(&parts.store),
            tail: self.outboxes.tail(sink),
            place: Sequence(0),
        };
        let (resolving, resolving_of) = mpsc::unbounded_channel();
        let (clock, retry) = (Arc::clone(&parts.clock), parts.settings.retry());
        let letter_ids = Arc::clone(&self.letter_ids);
        let work = self.work.clone();
        let outlet =
            Outlet::new(recovered, reader, resolving_of, letter_ids, work, Arc::clone(&clock));
        if let Some(name) = routes::queue_name(sink) {
            let (requests, requests_of) = mpsc::unbounded_channel();
            lock(&self.queues).insert(name.to_owned(), requests);
            lock(&self.sinks).insert(sink.clone(), resolving);
            let next_lease = self.next_lease;
            let queue = Queue { outlet, clock, retry, name: name.to_owned(), next_lease };
            stages.spawn(queue.run(requests_of, stop.clone()));
        } else if let Some(transport) = parts.transports.get(sink) {
            lock(&self.sinks).insert(sink.clone(), resolving);
            let relay = Relay {
                outlet,
                transport: Arc::clone(transport),
                clock,
                breaker: Breaker::new(retry.clone()),
                retry,
                states: Arc::clone(&self.shared.sinks),
            };
            stages.spawn(relay.run(stop.clone()));
        } else {
            tracing::warn!(
                %sink, "the sink is no longer configured; its messages wait in the outbox until it is again"
            );
        }
    }
}

fn fresh_sink(sink: &SinkName) -> RecoveredSink {
    RecoveredSink {
        progress: SinkProgress {
            sink: sink.clone(),
            cursor: crate::model::Cursor::default(),
            counters: crate::model::Counters::default(),
        },
        last: Sequence(0),
        parked: Vec::new(),
    }
}
