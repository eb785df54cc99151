//! Starts the stage of each sink: a relay if the configuration has the sink, or a queue if the sink
//! is a queue. Stages of known sinks start with the epoch, others with the first message of their
//! sink.
//!
//! A sink that is neither keeps its messages in the outbox, and a warning is logged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::queues::Queues;
use crate::changes::Work;
use crate::changes::compensation::Refusals;
use crate::changes::outbox::Outboxes;
use crate::changes::requests::Sinks;
use crate::changes::resolve::DeadLetterIds;
use crate::lock;
use crate::model::{Counters, Cursor, Sequence, SinkName};
use crate::pure::breaker::Breaker;
use crate::pure::monotonic::Instant;
use crate::pure::routes;
use crate::seams::store::{RecoveredSink, SinkProgress};
use crate::seams::transport::Order;
use crate::stages::sinks::lanes::{LanesParts, SinkLanes};
use crate::stages::sinks::queue::Queue;
use crate::stages::sinks::relay::Relay;

/// Starts the relay or queue of each sink: of known sinks at once, of others with their first
/// message.
pub(super) struct Delivering {
    pub(super) shared: Arc<Shared>,
    pub(super) work: mpsc::UnboundedSender<Work>,
    pub(super) outboxes: Arc<Outboxes>,
    pub(super) queues: Arc<Queues>,
    pub(super) sinks: Sinks,
    pub(super) dead_letter_ids: Arc<DeadLetterIds>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) recovered: BTreeMap<SinkName, RecoveredSink>,
    pub(super) started: BTreeSet<SinkName>,
    pub(super) next_lease: u64,
}

impl Delivering {
    pub(super) async fn run(
        mut self,
        mut opened: mpsc::UnboundedReceiver<SinkName>,
        stop: CancellationToken,
    ) {
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
        self.queues.close();
        // This drops the handle on the committer, so that it can end.
        drop(self);
        while stages.join_next().await.is_some() {}
    }

    fn start(&mut self, sink: &SinkName, stages: &mut JoinSet<()>, stop: &CancellationToken) {
        if !self.started.insert(sink.clone()) {
            return;
        }
        let parts = &self.shared.parts;
        let recovered = self.recovered.remove(sink).unwrap_or_else(|| fresh_sink(sink));
        let reader = self.outboxes.reader(sink, Arc::clone(&parts.store));
        let (requests_to, requests_of_sink) = mpsc::unbounded_channel();
        let (clock, retry) = (Arc::clone(&parts.clock), parts.settings.retry());
        let dead_letter_ids = Arc::clone(&self.dead_letter_ids);
        let work = self.work.clone();
        let order = parts.sinks.get(sink).map_or(Order::Key, |configured| configured.order);
        let mut lanes = SinkLanes::new(LanesParts {
            recovered,
            order,
            reader,
            requests: requests_of_sink,
            dead_letter_ids,
            refusals: Arc::clone(&self.refusals),
            waiting_max: parts.settings.waiting_max,
            wait_in_memory_max: parts.settings.wait_in_memory_max,
            work,
            clock: Arc::clone(&clock),
            controls: Arc::clone(&self.shared.controls),
            backlog: Arc::clone(&self.shared.backlog),
            measures: Arc::clone(&self.shared.measures),
        });
        let is_served = routes::queue_name(sink).is_some() || parts.sinks.contains_key(sink);
        if is_served {
            lock(&self.sinks).insert(sink.clone(), requests_to);
            // From here on the stage is asked to look at what changes; this is what changed before.
            lanes.begin_with_controls(Instant::now());
        }
        let measures = self.shared.measures.of_sink(sink);
        let spans = parts.settings.spans.clone();
        if let Some(name) = routes::queue_name(sink) {
            let (requests, requests_of) = mpsc::unbounded_channel();
            self.queues.open(name, requests);
            let next_lease = self.next_lease;
            let name = name.to_owned();
            let queue = Queue { lanes, clock, retry, name, next_lease, measures, spans };
            stages.spawn(queue.run(requests_of, stop.clone()));
        } else if let Some(configured) = parts.sinks.get(sink) {
            let relay = Relay {
                lanes,
                transport: Arc::clone(&configured.transport),
                clock,
                breaker: Breaker::new(retry.clone()),
                retry,
                states: Arc::clone(&self.shared.sinks),
                answers: 0,
                measures,
                spans,
            };
            stages.spawn(relay.run(stop.clone()));
        } else {
            tracing::warn!(
                %sink, "the sink is no longer configured; its messages wait in the outbox"
            );
        }
    }
}

fn fresh_sink(sink: &SinkName) -> RecoveredSink {
    RecoveredSink {
        progress: SinkProgress {
            sink: sink.clone(),
            cursor: Cursor::default(),
            counters: Counters::default(),
        },
        last: Sequence(0),
        compensated: 0,
        parked: Vec::new(),
    }
}
