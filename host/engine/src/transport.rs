//! SEAM Transport: a way out. Implemented over HTTP, files and standard output,
//! and by the simulator's sinks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::model::Message;

#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Tries to deliver all messages, and tells of each what became of it, in
    /// the same order. A message may be delivered again after any error, and
    /// after a crash: its id is the same then.
    ///
    /// If `ordered()` is false, the batch has at most one message of each ordering key.
    /// If it is true, the batch is in order and a message may be delivered only
    /// if all before it of the same key were.
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>>;

    /// How many messages it takes at once.
    fn batch_max(&self) -> usize;

    /// How many batches may be under way at once. Must be 1 if `ordered()`.
    fn concurrency(&self) -> usize {
        1
    }

    /// Whether it keeps the order within a batch.
    fn ordered(&self) -> bool;
}

/// What the relay must do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeliveryError {
    /// Try again, not before `retry_after` if it is given.
    #[error("{reason}")]
    Transient { reason: String, retry_after: Option<Duration> },
    /// The sink refuses this message for good.
    #[error("{0}")]
    Permanent(String),
}
