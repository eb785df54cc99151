//! The relay of one sink: delivers its outbox through a transport, each message
//! at least once, those of one ordering key in their order (guarantees 4 and 5).

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::model::{Message, Timestamp};
use crate::outlet::{LaneKey, Outlet};
use crate::retry::RetryPolicy;
use crate::transport::{DeliveryError, Transport};

const SLEEP_MAX: Duration = Duration::from_millis(500);
const READ_RETRY: Duration = Duration::from_millis(200);

pub struct Relay {
    pub outlet: Outlet,
    pub transport: Arc<dyn Transport>,
    pub clock: Clock,
    pub retry: RetryPolicy,
}

type Delivered = (Vec<(LaneKey, Arc<Message>)>, Vec<Result<(), DeliveryError>>);

impl Relay {
    /// Runs until `stop`; then lets deliveries that are under way end.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut under_way: FuturesUnordered<BoxFuture<'static, Delivered>> =
            FuturesUnordered::new();
        loop {
            self.outlet.lanes.wake((self.clock)());
            while under_way.len() < self.transport.concurrency()
                && let Some(delivery) = self.next_batch()
            {
                under_way.push(delivery);
            }
            let slot = self.outlet.slot();
            let (dirty, has_room) = (self.outlet.is_dirty(), self.outlet.has_room());
            let sleep = self.sleep();
            let more = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                permit = slot.acquire_owned(), if dirty => {
                    if let Ok(permit) = permit {
                        self.outlet.hand_over(permit);
                    }
                    false
                }
                Some(delivered) = under_way.next(), if !under_way.is_empty() => {
                    self.on_delivered(delivered);
                    false
                }
                () = self.outlet.wait(), if has_room => true,
                () = tokio::time::sleep(sleep) => false,
            };
            if more && let Err(error) = self.outlet.fill().await {
                tracing::warn!(sink = %self.outlet.sink, %error, "the outbox cannot be read; trying again");
                tokio::time::sleep(READ_RETRY).await;
            }
        }
        while let Some(delivered) = under_way.next().await {
            self.on_delivered(delivered);
        }
        self.outlet.flush().await;
    }

    fn sleep(&self) -> Duration {
        let now = (self.clock)();
        let next = self.outlet.lanes.next_wake().map(|at| at.since(now).min(SLEEP_MAX));
        next.unwrap_or(Duration::from_secs(3600)).max(Duration::from_millis(1))
    }

    fn next_batch(&mut self) -> Option<BoxFuture<'static, Delivered>> {
        let mut batch: Vec<(LaneKey, Arc<Message>)> = Vec::new();
        let max = self.transport.batch_max().max(1);
        while batch.len() < max
            && let Some((lane, _, parcel)) = self.outlet.lanes.take()
        {
            batch.push((lane.clone(), Arc::clone(&parcel.message)));
            while self.transport.ordered()
                && batch.len() < max
                && let Some((_, parcel)) = self.outlet.lanes.take_next(&lane)
            {
                batch.push((lane.clone(), Arc::clone(&parcel.message)));
            }
        }
        if batch.is_empty() {
            return None;
        }
        let transport = Arc::clone(&self.transport);
        Some(Box::pin(async move {
            let messages: Vec<Arc<Message>> =
                batch.iter().map(|(_, message)| Arc::clone(message)).collect();
            let results = transport.deliver(&messages).await;
            assert_eq!(results.len(), batch.len(), "a transport tells of each message");
            (batch, results)
        }))
    }

    fn on_delivered(&mut self, (batch, results): Delivered) {
        let now = (self.clock)();
        for ((lane, message), result) in batch.into_iter().zip(results) {
            let sequence = message.sequence.0;
            match result {
                Ok(()) => self.outlet.delivered(&lane, sequence),
                Err(error) => self.on_failed(&lane, sequence, &error, now),
            }
        }
    }

    fn on_failed(&mut self, lane: &LaneKey, sequence: u64, error: &DeliveryError, now: Timestamp) {
        let Some(parcel) = self.outlet.lanes.get_mut(lane, sequence) else { return };
        let delay = match error {
            DeliveryError::Permanent(_) => None,
            DeliveryError::Transient { retry_after, .. } => {
                self.retry.delay(parcel.attempt, sequence, *retry_after)
            }
        };
        match delay {
            Some(delay) => self.outlet.retry(lane, sequence, now.after(delay)),
            None => self.outlet.bury(lane, sequence, &error.to_string(), now),
        }
    }
}
