//! Wiring and supervision of the stages, and the handle that the rest of the host holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::handler::Handler;
use crate::lookup::Lookup;
use crate::model::{Event, Message, MessageId, Position, SinkName, Timestamp};
use crate::store::Store;
use crate::transport::Transport;

/// What the engine is made of.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub handlers: Vec<Arc<dyn Handler>>,
    pub lookup: Arc<dyn Lookup>,
    /// The sinks that routes name.
    pub transports: HashMap<SinkName, Arc<dyn Transport>>,
    /// Message type to sink. A command or enriched event without a route goes to the queue of its type.
    pub routes: BTreeMap<String, SinkName>,
    /// The wall clock. Nothing in the engine reads another.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: 2,
            attempts_max: 10,
            retry_delay_min: Duration::from_millis(200),
            retry_delay_max: Duration::from_secs(60),
            lookup_timeout: Duration::from_secs(10),
        }
    }
}

/// The running engine. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine;

/// What became of an offered event, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    Accepted(Position),
    /// An event with the same (source, id) was accepted before.
    Duplicate,
}

/// Why events were not accepted. Nothing of the offer is in the log, except after
/// `Unavailable`, when some may be: offering the same events again is always safe.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OfferError {
    #[error("the host has more work than it takes; try again in {retry_after:?}")]
    Busy { retry_after: Duration },
    #[error("the store does not accept events: {0}")]
    Unavailable(String),
    #[error("the host is shutting down")]
    Stopping,
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
}

impl Engine {
    /// Recovers from the store and starts all stages.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn start(_parts: Parts) -> Result<Self, crate::store::ReadError> {
        unreachable!("under construction")
    }

    /// Appends events to the log. Returns when they are durable: one receipt for each, in order.
    ///
    /// # Errors
    /// See [`OfferError`].
    pub async fn offer(&self, _events: Vec<Event>) -> Result<Vec<Receipt>, OfferError> {
        unreachable!("under construction")
    }

    /// Takes messages from the queue of a message type. An empty lease means that
    /// none came within the wait. A queue that never had a message is an empty queue.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn lease(&self, _queue: &str, _request: LeaseRequest) -> Result<Lease, QueueError> {
        unreachable!("under construction")
    }

    /// Settles messages of a lease. Returns when that is durable.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn acknowledge(
        &self,
        _queue: &str,
        _lease: LeaseId,
        _messages: Selection,
    ) -> Result<LeaseReport, QueueError> {
        unreachable!("under construction")
    }

    /// Gives messages back unhandled. They come again after `delay`, as the next
    /// attempt; out of attempts, they become dead letters with this reason.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn give_back(
        &self,
        _queue: &str,
        _lease: LeaseId,
        _messages: Selection,
        _delay: Duration,
        _reason: String,
    ) -> Result<LeaseReport, QueueError> {
        unreachable!("under construction")
    }

    /// Lets a lease expire `duration` from now instead.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn extend(
        &self,
        _queue: &str,
        _lease: LeaseId,
        _duration: Duration,
    ) -> Result<Timestamp, QueueError> {
        unreachable!("under construction")
    }

    #[must_use]
    pub fn status(&self) -> Status {
        unreachable!("under construction")
    }

    /// Stops accepting, lets calls and deliveries that are under way end, commits,
    /// and returns. What is left is in the store. Calling it again waits for the same end.
    pub async fn drain(&self) {
        unreachable!("under construction")
    }
}
