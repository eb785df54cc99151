//! The relay of one sink: delivers its outbox through a transport, each message at least once,
//! those of one ordering key in their order (guarantees 4 and 5).
//!
//! Several deliveries are in progress at the same time, as many as the transport allows; a slow one
//! occupies one place. The breaker (`pure/breaker.rs`) pauses a sink that is down. A failure counts
//! as an attempt of the message only if the message, and not the sink, is the cause.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::changes::measures::SinkMeasures;
use crate::changes::sinks::SinkStates;
use crate::changes::spans::Spans;
use crate::model::Message;
use crate::pure::breaker::{Admits, Breaker, Trouble};
use crate::pure::monotonic::{self, Instant, after};
use crate::pure::retry::RetryPolicy;
use crate::seams::transport::{DeliveryError, Order, Transport};
use crate::stages::sinks::lanes::parcel::Lane;
use crate::stages::sinks::lanes::{SinkLanes, Turn};
use crate::stages::sinks::spans::report_delivery;

/// The longest wait of the loop, when nothing has a time.
const SLEEP_MAX: Duration = Duration::from_hours(24);

pub(crate) struct Relay {
    pub lanes: SinkLanes,
    pub transport: Arc<dyn Transport>,
    pub clock: Clock,
    pub retry: RetryPolicy,
    /// Notified when the breaker opens, and when it closes.
    pub states: Arc<SinkStates>,
    pub breaker: Breaker,
    /// How often the sink has taken or refused a message.
    pub answers: u64,
    pub measures: Arc<SinkMeasures>,
    pub spans: Spans,
}

/// A delivery that has ended.
struct Delivered {
    batch: Vec<(Lane, Arc<Message>)>,
    /// One result for each message.
    results: Vec<Result<(), DeliveryError>>,
    started: Instant,
}

impl Relay {
    /// Runs until `stop`; then waits for the deliveries in progress.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut under_way: FuturesUnordered<BoxFuture<'static, Delivered>> =
            FuturesUnordered::new();
        loop {
            self.follow_operators();
            self.lanes.on_time(Instant::now());
            self.start_deliveries(&mut under_way);
            let sleep = self.sleep();
            let delivered = async {
                match under_way.next().await {
                    Some(delivered) => delivered,
                    None => std::future::pending().await,
                }
            };
            match self.lanes.turn(delivered, sleep, &stop).await {
                Turn::Stopped => break,
                Turn::Own(delivered) => self.on_delivered(delivered),
                Turn::Done => {}
            }
        }
        while let Some(delivered) = under_way.next().await {
            self.on_delivered(delivered);
        }
        self.lanes.flush().await;
    }

    /// Does what operators have asked for since the last turn.
    fn follow_operators(&mut self) {
        let now = Instant::now();
        if self.lanes.must_follow_controls() {
            let taken = self.lanes.lanes.all_taken().map(|parcel| &parcel.message);
            let under_way: Vec<_> = taken
                .map(|message| {
                    let key = (message.plugin.clone(), message.key.clone());
                    (key, message.event.event_type.clone())
                })
                .collect();
            self.lanes.follow_controls(now, under_way);
        }
        if self.lanes.take_try_now() {
            self.breaker.try_now(now);
        }
    }

    fn sleep(&self) -> Duration {
        let now = Instant::now();
        let breaker = self.breaker.open().map(|(_, until)| until).filter(|until| *until > now);
        let next = self.lanes.next_wake().into_iter().chain(breaker).min();
        let next = next.map_or(SLEEP_MAX, |at| at.saturating_duration_since(now));
        next.clamp(Duration::from_millis(1), SLEEP_MAX)
    }

    fn start_deliveries(
        &mut self,
        under_way: &mut FuturesUnordered<BoxFuture<'static, Delivered>>,
    ) {
        while under_way.len() < self.transport.in_flight() {
            let max = match self.breaker.admits(Instant::now()) {
                Admits::Another => self.batch_max(),
                Admits::Probe => 1,
                Admits::None | Admits::NoneUntil(_) => return,
            };
            let Some(delivery) = self.next_batch(max) else { return };
            self.breaker.begin();
            under_way.push(delivery);
        }
    }

    /// In a batch, a transport must keep only the order of the keys.
    fn batch_max(&self) -> usize {
        let keeps_order = self.lanes.order == Order::Key || self.transport.is_sequential();
        if keeps_order { self.transport.batch_max().max(1) } else { 1 }
    }

    fn next_batch(&mut self, max: usize) -> Option<BoxFuture<'static, Delivered>> {
        let mut batch: Vec<(Lane, Arc<Message>)> = Vec::new();
        let now = Instant::now();
        while batch.len() < max
            && let Some((lane, _, parcel)) = self.lanes.take(now)
        {
            batch.push((lane.clone(), Arc::clone(&parcel.message)));
            while batch.len() < max
                && let Some((_, parcel)) = self.lanes.take_next(&lane, now)
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
            let started = Instant::now();
            let results = transport.deliver(&messages).await;
            assert_eq!(
                results.len(),
                batch.len(),
                "a transport returns one result for each message"
            );
            Delivered { batch, results, started }
        }))
    }

    fn on_delivered(&mut self, Delivered { batch, results, started }: Delivered) {
        let now = Instant::now();
        self.measures.delivery.observe(now.duration_since(started));
        let today = (self.clock)();
        // While the sink is down, a failed attempt says something about the sink and not about the
        // message.
        let was_down = self.breaker.open().is_some();
        self.note_results(&batch, &results, now);
        for ((lane, message), result) in batch.into_iter().zip(results) {
            let sequence = message.sequence.0;
            if self.spans.is_on() {
                let failures = self.lanes.lanes.get_mut(&lane, sequence).map_or(0, |p| p.failures);
                let failed = result.as_ref().err().map(DeliveryError::reason);
                report_delivery(&self.spans, &message, failures.into(), started, failed);
            }
            self.lanes.ended(&message);
            match result {
                Ok(()) => {
                    self.measures.took(&message, today);
                    self.lanes.delivered(&lane, sequence);
                }
                Err(DeliveryError::Permanent(reason)) => {
                    self.lanes.dead_letter(&lane, sequence, &reason, today);
                }
                Err(error) => self.on_failed(&lane, sequence, &error, was_down, now),
            }
        }
    }

    /// What a delivery says about the sink as a whole: it works, if it took or refused any message.
    fn note_results(
        &mut self,
        batch: &[(Lane, Arc<Message>)],
        results: &[Result<(), DeliveryError>],
        now: Instant,
    ) {
        let mut failed = None;
        let mut at_least: Option<Duration> = None;
        for ((_, message), result) in batch.iter().zip(results) {
            let (trouble, reason, pause) = match result {
                Ok(()) | Err(DeliveryError::Permanent(_)) => return self.answered(),
                Err(DeliveryError::Transient { reason, retry_after }) => {
                    (Trouble::Message(message.sequence.0), reason, retry_after)
                }
                Err(DeliveryError::Unavailable { reason, retry_after }) => {
                    (Trouble::Sink, reason, retry_after)
                }
            };
            at_least = at_least.max(*pause);
            failed.get_or_insert((message.sequence.0, trouble, reason));
        }
        let Some((seed, trouble, reason)) = failed else { return };
        let opened = self.breaker.failed(now, trouble, at_least, seed);
        if let Some((since, until)) = self.breaker.open() {
            if opened {
                tracing::warn!(
                    sink = %self.lanes.sink, %reason,
                    "the sink is down; its messages wait, and single messages test it"
                );
            }
            let date = |at| monotonic::date(at, now, (self.clock)());
            self.states.opened(&self.lanes.sink, date(since), date(until), reason);
        }
    }

    fn answered(&mut self) {
        self.answers += 1;
        if self.breaker.answered() {
            tracing::info!(sink = %self.lanes.sink, "the sink is up again");
            self.states.closed(&self.lanes.sink);
        }
    }

    /// A message failed: it waits for its next attempt, or becomes a dead letter after its last.
    /// Whether the failure counts as one of its attempts:
    ///
    /// - If the sink has answered other messages since the message failed before, it counts: the
    ///   message is the cause.
    /// - Otherwise it does not count if the sink is down or says that it is in trouble.
    fn on_failed(
        &mut self,
        lane: &Lane,
        sequence: u64,
        error: &DeliveryError,
        was_down: bool,
        now: Instant,
    ) {
        let (retry_after, is_of_sink) = match error {
            DeliveryError::Transient { retry_after, .. } => (*retry_after, was_down),
            DeliveryError::Unavailable { retry_after, .. } => (*retry_after, true),
            DeliveryError::Permanent(_) => return,
        };
        let Some(parcel) = self.lanes.lanes.get_mut(lane, sequence) else { return };
        let failed_before = parcel.failed_at_answer.replace(self.answers);
        let others_work = failed_before.is_some_and(|answers| answers < self.answers);
        parcel.failures += 1;
        if others_work || !is_of_sink {
            if parcel.attempt >= self.retry.attempts_max {
                return self.lanes.dead_letter(lane, sequence, error.reason(), (self.clock)());
            }
            parcel.attempt += 1;
        }
        // A sink that is down has a pause of its own; then the next message is tried.
        let delay = match self.breaker.open() {
            Some(_) => Duration::ZERO,
            None => {
                let delay = self.retry.endless().delay(parcel.failures, sequence, retry_after);
                delay.unwrap_or(self.retry.delay_max)
            }
        };
        self.lanes.retry(lane, sequence, after(now, delay), error.reason());
    }
}
