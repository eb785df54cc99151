//! Leases: how a worker takes messages of a queue, and what it hears of them.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::{Message, MessageId, Timestamp};

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
    /// How many messages the call settled, or gave back.
    pub done: usize,
    /// How many an earlier call had settled, or given back, in the same way.
    pub already: usize,
    /// Named ids of messages that left the lease in another way: given back instead of
    /// acknowledged, or the other way round.
    pub otherwise: Vec<MessageId>,
    /// Named ids that the lease never held.
    pub unknown: Vec<MessageId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueueError {
    #[error(
        "lease {0} not found: it ended long ago, or the host restarted; its messages that \
         were not acknowledged are delivered again"
    )]
    NoSuchLease(u64),
    /// It is over, and not as the call wants it.
    #[error(
        "lease {lease} has ended: of its messages, {acknowledged} were acknowledged, {given_back} \
         given back, and {expired} expired; messages that were not acknowledged are delivered again"
    )]
    Ended { lease: u64, acknowledged: usize, given_back: usize, expired: usize },
    /// Too many requests wait for messages of this queue already.
    #[error("too many requests already wait for messages of this queue; retry later")]
    Busy,
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
