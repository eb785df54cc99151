//! Leases: how a worker takes messages from a queue, and what the queue answers about them.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::{Key, Message, MessageId, PluginName, Sequence, Timestamp};

/// Limits of leases. The HTTP interface refuses what is beyond them, with an error that names them;
/// a queue itself grants as much as they allow.
impl LeaseRequest {
    /// The most messages of a lease, which is one answer: a thousand of a few KiB are some MiB.
    pub const MESSAGES_MAX: usize = 1_000;
    /// The longest wait. Proxies commonly cut connections that are silent for a minute.
    pub const WAIT_MS_MAX: u64 = 60_000;
    /// The shortest lease: a shorter one would expire before its worker has read it.
    pub const DURATION_MS_MIN: u64 = 100;
    /// The longest lease. A longer one would hold up its keys for too long when its worker dies;
    /// workers extend a lease instead.
    pub const DURATION_MS_MAX: u64 = 3_600_000;
}

/// A worker's request for messages of a queue.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The most messages that the lease holds.
    pub max: usize,
    /// How long to wait for a first message if the queue is empty.
    pub wait: Duration,
    /// How long the lease lasts. Messages that are not acknowledged by then are leased to other
    /// workers.
    pub duration: Duration,
    /// The name of the worker, for people: no decision depends on it. None if it has none.
    pub worker: Option<Arc<str>>,
}

/// The messages that one worker may work on until a date.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Names the lease in calls about it.
    pub id: LeaseId,
    /// The date at which the lease ends, unless the worker extends it.
    pub expires_at: Timestamp,
    /// The messages, in order; empty if none came within the wait. At any time, one worker has
    /// all leased messages of an ordering key.
    pub messages: Vec<Leased>,
}

/// The id of a lease. The host never gives the same id twice, also not after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub u64);

/// A message of a lease.
#[derive(Clone, Debug)]
pub struct Leased {
    /// The message.
    pub message: Arc<Message>,
    /// The number of this delivery of the message, counting from 1.
    pub attempt: u32,
}

/// Which messages of a lease a call is about.
#[derive(Clone, Debug)]
pub enum Selection {
    /// All that the lease still holds.
    All,
    /// Those with these ids.
    Ids(Vec<MessageId>),
}

/// What a call about a lease has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseReport {
    /// How many messages the call acknowledged, or gave back.
    pub done: usize,
    /// How many messages an earlier call had acknowledged, or given back, in the same way.
    pub already: usize,
    /// Named ids of messages that left the lease in another way: given back instead of
    /// acknowledged, or the other way round.
    pub otherwise: Vec<MessageId>,
    /// Named ids that the lease never held.
    pub unknown: Vec<MessageId>,
}

/// Why a queue did not do what a worker asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueueError {
    /// The lease is not known: it ended long ago, or the host restarted since.
    #[error(
        "lease {0} not found: it ended long ago, or the host restarted; its messages that \
         were not acknowledged are delivered again"
    )]
    NoSuchLease(u64),
    /// The lease has ended in another way than the call asks for.
    #[error(
        "lease {lease} has ended: of its messages, {acknowledged} were acknowledged, {given_back} \
         given back, and {expired} expired; messages that were not acknowledged are delivered again"
    )]
    Ended {
        /// The lease's id.
        lease: u64,
        /// How many of its messages were acknowledged.
        acknowledged: usize,
        /// How many of its messages were given back.
        given_back: usize,
        /// How many of its messages were neither when the lease expired.
        expired: usize,
    },
    /// Too many requests wait for messages of this queue already.
    #[error("too many requests already wait for messages of this queue; retry later")]
    Busy,
    /// The store did not write the acknowledgement, or the engine recovers. The worker can
    /// repeat the call.
    #[error("the store does not accept acknowledgements: {0}")]
    Unavailable(String),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    Stopping,
}

/// The current number of messages of a queue, and the workers that have leased some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// The message type, which is the queue's name.
    pub queue: String,
    /// Messages that no worker has leased, those that wait behind others of their key included.
    pub ready: usize,
    /// Messages that workers have leased.
    pub leased: usize,
    /// The workers that have leased messages, the one with the oldest lease first. There are at
    /// most as many as messages in leases, of which a queue has some thousand.
    pub workers: Vec<WorkerLeases>,
}

/// The open leases of one worker in one queue. All workers without a name are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLeases {
    /// The name that the worker gave with its requests; none if it has none.
    pub worker: Option<Arc<str>>,
    /// The number of messages that it has leased.
    pub messages: usize,
    /// When its oldest open lease began.
    pub oldest_at: Timestamp,
    /// When its open leases end next, unless it extends them.
    pub next_end_at: Timestamp,
    /// When it last leased messages, or asked for something about an open lease.
    pub seen_at: Timestamp,
}

/// Which leased messages are listed. The default selects all.
#[derive(Clone, Debug, Default)]
pub struct LeaseFilter {
    /// Only those of the worker with this name.
    pub worker: Option<String>,
    /// Only those that this plugin has sent.
    pub plugin: Option<PluginName>,
    /// Only those of this ordering key.
    pub key: Option<Key>,
}

/// A message that a worker has leased.
#[derive(Clone, Debug)]
pub struct LeasedMessage {
    /// The message type, which is the queue's name.
    pub queue: String,
    /// The name of the worker; none if it has none.
    pub worker: Option<Arc<str>>,
    /// The lease.
    pub lease: LeaseId,
    /// When the lease began.
    pub leased_at: Timestamp,
    /// When the lease ends, unless the worker extends it.
    pub ends_at: Timestamp,
    /// The message and the number of its delivery.
    pub leased: Leased,
}

impl LeasedMessage {
    /// Its place in the order in which leased messages are listed.
    #[must_use]
    pub fn place(&self) -> (String, Sequence) {
        (self.queue.clone(), self.leased.message.sequence)
    }
}
