//! The side of the queues that workers use: leases, acknowledgements and messages that are given
//! back; and what people ask about the leases. Finds the stage of a queue
//! (`stages/sinks/queue.rs`), passes the request on, and waits for the answer.
//!
//! A queue exists from its first message on. A worker that asks earlier waits. If its wait ends
//! without a message, nothing of it stays in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};

use super::Engine;
use crate::lock;
use crate::model::{
    Lease, LeaseFilter, LeaseId, LeaseReport, LeaseRequest, LeasedMessage, QueueError, Selection,
    Sequence, Timestamp,
};
use crate::pure::monotonic::{Instant, after};
use crate::stages::sinks::queue::{LeaseQuestion, QueueRequest};

/// The channels to the stages of the queues, by the queues' names.
#[derive(Default)]
pub(super) struct Queues {
    stages: Mutex<BTreeMap<String, mpsc::UnboundedSender<QueueRequest>>>,
    /// Wakes the requests that wait for a queue's first message, in the order in which they
    /// came.
    opened: Notify,
}

impl Queues {
    pub(super) fn open(&self, name: &str, requests: mpsc::UnboundedSender<QueueRequest>) {
        lock(&self.stages).insert(name.to_owned(), requests);
        self.opened.notify_waiters();
    }

    pub(super) fn all(&self) -> Vec<mpsc::UnboundedSender<QueueRequest>> {
        lock(&self.stages).values().cloned().collect()
    }

    /// Those with these names or later ones, in the order of the names.
    fn from(&self, first: &str) -> Vec<(String, mpsc::UnboundedSender<QueueRequest>)> {
        let stages = lock(&self.stages);
        let from = stages.range::<str, _>((Bound::Included(first), Bound::Unbounded));
        from.map(|(name, requests)| (name.clone(), requests.clone())).collect()
    }

    /// Drops the channels, so that the stages can end.
    pub(super) fn close(&self) {
        lock(&self.stages).clear();
    }

    fn find(&self, name: &str) -> Option<mpsc::UnboundedSender<QueueRequest>> {
        lock(&self.stages).get(name).cloned()
    }

    /// Waits for a queue's first message. A request that stops waiting leaves nothing in memory.
    async fn wait_for(&self, name: &str) -> mpsc::UnboundedSender<QueueRequest> {
        loop {
            let opened = self.opened.notified();
            tokio::pin!(opened);
            // From here on no notification is missed. A queue that was opened before is found in
            // the map.
            opened.as_mut().enable();
            if let Some(queue) = self.find(name) {
                return queue;
            }
            opened.await;
        }
    }
}

impl Engine {
    /// Leases messages from the queue of a message type. The lease is empty if no message came
    /// within the wait. A queue that never had a message counts as an empty one.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn lease(&self, queue: &str, request: LeaseRequest) -> Result<Lease, QueueError> {
        let deadline = after(Instant::now(), request.wait);
        let Some(requests) = self.queue(queue, deadline).await? else {
            let now = (self.shared.parts.clock)();
            return Ok(Lease { id: LeaseId(0), expires_at: now, messages: Vec::new() });
        };
        let wait = deadline.saturating_duration_since(Instant::now());
        let (reply, lease) = oneshot::channel();
        let _ = requests.send(QueueRequest::Lease(LeaseRequest { wait, ..request }, reply));
        self.answer(lease).await
    }

    /// Acknowledges messages of a lease. Returns when that is durable.
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

    /// Gives messages back without handling them. They are leased again after `delay`, as their
    /// next attempt. A message without attempts left becomes a dead letter with this reason.
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

    /// Changes the end of a lease to `duration` from now. Returns the new end.
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

    /// Messages that workers have leased, of one queue or of all: at most `limit` after a place, in
    /// the order of their places ([`LeasedMessage::place`]). There are none in a queue that never
    /// had a message, and none while the engine recovers: then no lease is open.
    pub async fn leases(
        &self,
        queue: Option<&str>,
        filter: &LeaseFilter,
        after: Option<&(String, Sequence)>,
        limit: usize,
    ) -> Vec<LeasedMessage> {
        let Some(epoch) = self.shared.epoch() else { return Vec::new() };
        let first = after.map_or("", |(queue, _)| queue);
        let mut listed = Vec::new();
        for (name, requests) in epoch.queues.from(first) {
            let left = limit - listed.len();
            if left == 0 {
                break;
            }
            if queue.is_some_and(|queue| queue != name) {
                continue;
            }
            let after = after.filter(|(queue, _)| *queue == name);
            let after = after.map_or(Sequence(0), |(_, sequence)| *sequence);
            let (reply, leases) = oneshot::channel();
            let filter = filter.clone();
            let question = LeaseQuestion { filter, after, limit: left, reply };
            let _ = requests.send(QueueRequest::Leases(question));
            // A stage that ends meanwhile has no open leases.
            listed.extend(leases.await.unwrap_or_default());
        }
        listed
    }

    /// The channel to the queue's stage. Waits for the queue's first message until the deadline;
    /// none if there is none by then.
    async fn queue(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<mpsc::UnboundedSender<QueueRequest>>, QueueError> {
        let epoch = self.shared.epoch().ok_or_else(|| self.interrupted())?;
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => Err(QueueError::Stopping),
            queue = epoch.queues.wait_for(name) => Ok(Some(queue)),
            () = tokio::time::sleep_until(deadline) => Ok(None),
        }
    }

    fn existing_queue(
        &self,
        name: &str,
        lease: LeaseId,
    ) -> Result<mpsc::UnboundedSender<QueueRequest>, QueueError> {
        let epoch = self.shared.epoch().ok_or_else(|| self.interrupted())?;
        epoch.queues.find(name).ok_or(QueueError::NoSuchLease(lease.0))
    }

    async fn answer<T>(
        &self,
        answer: oneshot::Receiver<Result<T, QueueError>>,
    ) -> Result<T, QueueError> {
        answer.await.unwrap_or_else(|_| Err(self.interrupted()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Settings;
    use crate::seams::store::memory::MemoryStore;
    use crate::sim::small::{COMMAND, keys, send, start};

    fn request(wait: Duration) -> LeaseRequest {
        LeaseRequest { max: 1, wait, duration: Duration::from_secs(30), worker: None }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_queue_that_never_begins_leaves_nothing_behind() {
        let engine = start(&MemoryStore::new(), None, Settings::default()).await;
        for number in 0..4_000 {
            let name = format!("{number}");
            let lease = engine.lease(&name, request(Duration::from_millis(1))).await.unwrap();
            assert!(lease.messages.is_empty());
        }
        let epoch = engine.shared.epoch().unwrap();
        assert_eq!(epoch.queues.all().len(), 0);
        // The epoch holds a handle on the committer, and the drain waits until all handles are
        // dropped.
        drop(epoch);
        engine.drain().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_waits_gets_the_first_message_of_its_queue() {
        let engine = start(&MemoryStore::new(), None, Settings::default()).await;
        let waiting = {
            let engine = engine.clone();
            tokio::spawn(async move { engine.lease(COMMAND, request(Duration::MAX)).await })
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        send(&engine, &keys(1)).await;
        let lease = waiting.await.unwrap().unwrap();
        assert_eq!(lease.messages.len(), 1);
        engine.drain().await;
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_requests_wait_for_a_queue() {
        let engine = start(&MemoryStore::new(), None, Settings::default()).await;
        send(&engine, &keys(1)).await;
        engine.lease(COMMAND, request(Duration::from_secs(5))).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..2_000 {
            let engine = engine.clone();
            let lease = async move { engine.lease(COMMAND, request(Duration::from_secs(5))).await };
            waiting.push(tokio::spawn(lease));
        }
        let (mut empty, mut busy) = (0, 0);
        for lease in waiting {
            match lease.await.unwrap() {
                Ok(lease) if lease.messages.is_empty() => empty += 1,
                Err(QueueError::Busy) => busy += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((empty, busy), (1_000, 1_000));
        engine.drain().await;
    }
}
