//! SEAM Transport: delivers messages to one sink. HTTP, files and standard output implement it,
//! an implementation in memory, and the simulator's sinks.

#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod faulty;
#[cfg(any(test, feature = "testing"))]
pub mod memory;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::model::Message;

/// A way to deliver messages to one sink. Calls may overlap, up to [`Self::in_flight`].
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Tries to deliver all messages and returns one result for each, in the same order.
    /// `Ok` means that the receiver has the whole message. After an error it may have it
    /// or not: the message is delivered again, with the same id.
    ///
    /// A message is delivered only if all messages before it in the batch that have the same
    /// ordering key were. The relay drops the future when the engine ends. The next delivery
    /// must work all the same.
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>>;

    /// The most messages that `deliver` takes at once; at least 1. It is 1 where each message is
    /// a request.
    fn batch_max(&self) -> usize;

    /// How many deliveries may be in progress at once; at least 1. A slow delivery occupies one
    /// of them.
    fn in_flight(&self) -> usize {
        1
    }

    /// Whether nothing of a batch is delivered after the first message that failed, whatever its
    /// key. The batches of other transports keep only the order of each key.
    fn is_sequential(&self) -> bool {
        false
    }
}

/// Why a message was not delivered, by what the relay must do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeliveryError {
    /// This message failed, and may succeed later: it is retried, not before `retry_after`
    /// if that is given, and the attempt counts. Whether other messages fail too is unknown.
    #[error("{reason}")]
    Transient {
        /// Why the delivery failed, for people.
        reason: String,
        /// The pause that the sink asked for; none if it asked for none.
        retry_after: Option<Duration>,
    },
    /// The sink is in trouble, whatever the message is: it cannot be reached, its address or
    /// credentials are wrong, or it asks for a pause. The message waits; the attempt counts
    /// only if the sink takes other messages meanwhile.
    #[error("{reason}")]
    Unavailable {
        /// What is wrong with the sink, for people.
        reason: String,
        /// The pause that the sink asked for; none if it asked for none.
        retry_after: Option<Duration>,
    },
    /// The sink refuses this message for good: it becomes a dead letter.
    #[error("{0}")]
    Permanent(String),
}

impl DeliveryError {
    /// The reason, for people; it is logged, and kept with a dead letter.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Transient { reason, .. } | Self::Unavailable { reason, .. } => reason,
            Self::Permanent(reason) => reason,
        }
    }
}

/// Which messages of one sink must leave one after another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// No order: each message leaves by itself, and a dead letter holds back no other message.
    None,
    /// The messages of one plugin and ordering key.
    #[default]
    Key,
    /// All messages: while one is retried or is a dead letter, no other leaves.
    Whole,
}

/// A configured sink.
#[derive(Clone)]
pub struct Sink {
    /// Delivers the sink's messages.
    pub transport: Arc<dyn Transport>,
    /// Which of its messages must leave one after another.
    pub order: Order,
}

impl Sink {
    /// A sink that keeps the order of each key.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, order: Order::default() }
    }
}
