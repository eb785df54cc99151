//! The host's own queues, as workers use them: leases, and what becomes of their messages.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::{Engine, lock};
use crate::model::{Message, MessageId, Timestamp};
use crate::queue::QueueRequest;
use crate::routes;

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

impl Engine {
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
}
