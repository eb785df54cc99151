//! Starts and connects the stages of one epoch, and supervises them.
//!
//! Start-up and recovery use the same code: the stages begin with what the store recovered. An
//! epoch ends when the outcome of a commit is unknown, when a stage panics, or when another host
//! owns the store. Draining ends the stages in the order of an event's way, and each hands over
//! what it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::controls::end_pauses;
use super::delivering::Delivering;
use super::queues::Queues;
use super::{EngineEnd, Epoch, Shared};
use crate::Routes;
use crate::changes::compensation::Refusals;
use crate::changes::outbox::Outboxes;
use crate::changes::readers::Readers;
use crate::changes::rejection::Rejections;
use crate::changes::requests::Dispatchers;
use crate::changes::resolve::DeadLetterIds;
use crate::changes::tail::Tail;
use crate::changes::timer_index::TimerIndex;
use crate::engine::plugins::Plugins;
use crate::lock;
use crate::model::LogEntry;
use crate::seams::store::{ReadError, Recovered, RecoveredSink};
use crate::stages::commit::{Committer, Ended};
use crate::stages::dispatch::DispatchContext;
use crate::stages::housekeeping::Housekeeping;
use crate::stages::sinks::queue::first_lease;
use crate::stages::timers::Timers;

/// Bytes of the newest events in memory, where all plugins read them.
const LOG_TAIL_BYTES: usize = 64 << 20;
/// The pause between two attempts to recover.
const RECOVER_DELAY: Duration = Duration::from_millis(250);

/// The tasks of one epoch.
pub(super) struct Stages {
    /// A set of one task, so that it ends when this is dropped.
    committer: JoinSet<Ended>,
    /// Dispatchers and timers: they stop first.
    deciding: JoinSet<()>,
    /// Starts relays and queues, and ends when they have ended.
    delivering: JoinSet<()>,
    stop_deciding: CancellationToken,
    stop_delivering: CancellationToken,
}

/// Restarts the stages from the store after every end of an epoch, until the engine is stopped
/// or another host owns the store.
pub(super) async fn supervise(shared: Arc<Shared>, stages: Stages) {
    let mut stages = stages;
    let end = loop {
        let ended = tokio::select! {
            biased;
            Some(ended) = stages.committer.join_next() => ended,
            panicked = panicked(&mut stages.deciding, &mut stages.delivering) => Err(panicked),
            () = shared.stop.cancelled() => break stages.end(&shared).await,
        };
        let fenced = matches!(&ended, Ok(Ended::Fenced(_)));
        let by_mistake = ended.is_err();
        let reason = match ended {
            Ok(Ended::Restart(reason) | Ended::Fenced(reason)) => reason,
            Ok(Ended::Drained) => "the committer ended early".to_owned(),
            Err(error) => format!("a stage ended by a mistake of Sagabox: {error}"),
        };
        shared.readiness.set(Err(reason.clone()));
        tokio::select! {
            biased;
            () = shared.cut_off.cancelled() => break EngineEnd::CutOff,
            () = stages.abort(&shared) => {}
        }
        if fenced {
            tracing::error!(%reason, "this host no longer owns the store; stopping");
            break EngineEnd::Fenced(reason);
        }
        tracing::error!(%reason, "all stages restart from the store");
        let revived = async {
            if by_mistake {
                // The same mistake may happen again at once.
                tokio::time::sleep(RECOVER_DELAY).await;
            }
            revive(&shared).await
        };
        let next = tokio::select! {
            biased;
            // No stage runs that could be drained.
            () = shared.stop.cancelled() => break EngineEnd::Drained,
            next = revived => next,
        };
        shared.readiness.set(Ok(()));
        stages = next;
    };
    shared.stop.cancel();
    *lock(&shared.epoch) = None;
    shared.ended.send_replace(Some(end));
}

/// Recovers and starts the stages; repeats that until it succeeds.
async fn revive(shared: &Arc<Shared>) -> Stages {
    loop {
        let attempt = async {
            let recovered = shared.parts.store.recover().await?;
            Stages::start(shared, recovered).await
        };
        match attempt.await {
            Ok(stages) => return stages,
            Err(error) => {
                tracing::error!(%error, "reading the store failed; retrying");
                tokio::time::sleep(RECOVER_DELAY).await;
            }
        }
    }
}

impl Stages {
    // Which stage has which ends of which channels stands in one place.
    #[allow(clippy::too_many_lines)]
    pub(super) async fn start(
        shared: &Arc<Shared>,
        recovered: Recovered,
    ) -> Result<Self, ReadError> {
        let parts = &shared.parts;
        let (work, work_of) = mpsc::unbounded_channel();
        let (opened, opened_of) = mpsc::unbounded_channel();
        let bytes = |entry: &LogEntry| entry.event.bytes();
        let log = Arc::new(Tail::new(recovered.position.0, LOG_TAIL_BYTES, bytes));
        let last = |sink: &RecoveredSink| (sink.progress.sink.clone(), sink.last);
        let outboxes = Arc::new(Outboxes::new(recovered.sinks.iter().map(last), opened.clone()));
        let timers = Arc::new(TimerIndex::new(parts.settings.timers_in_memory_max));
        let stop_deciding = CancellationToken::new();
        let stop_delivering = CancellationToken::new();

        let readers = Arc::new(Readers::default());
        shared.sinks.clear();
        let dead_letter_ids = DeadLetterIds::new(recovered.dead_letter);
        let rejections = Rejections::default();
        // Created before the dispatchers start, because a decision may resolve dead letters of
        // any sink.
        let refusals = Refusals::new(&recovered.sinks);
        let routes = Arc::new(Routes::new(parts.routes.clone()));
        let context = DispatchContext {
            shards: shared.shards.clone(),
            store: Arc::clone(&parts.store),
            lookups: Arc::clone(&shared.lookups),
            clock: Arc::clone(&parts.clock),
            retry: parts.settings.retry(),
            instance_bytes_max: parts.settings.instance_bytes_max,
            held_bytes_max: parts.settings.held_bytes_max,
            waiting_max: parts.settings.waiting_max,
            wait_in_memory_max: parts.settings.wait_in_memory_max,
            date_check_max: parts.settings.date_check_max,
            entries_read_max: parts.settings.entries_read_max,
            hops_max: parts.settings.hops_max,
            routes: Arc::clone(&routes),
            log: Arc::clone(&log),
            readers: Arc::clone(&readers),
            work: work.clone(),
            dead_letter_ids: Arc::clone(&dead_letter_ids),
            rejections: rejections.clone(),
            refusals: Arc::clone(&refusals),
            measures: Arc::clone(&shared.measures),
            spans: parts.settings.spans.clone(),
            controls: Arc::clone(&shared.controls),
            backlog: Arc::clone(&shared.backlog),
        };
        let (desired_state, dispatchers) =
            (Arc::clone(&shared.desired_state), Dispatchers::default());
        shared.backlog.restart(recovered.position.0);
        // Before any stage starts: what is paused decides and delivers nothing.
        shared.controls.restore(recovered.controls, (parts.clock)());
        let backlog = Arc::clone(&shared.backlog);
        let plugins =
            Plugins::start(context, desired_state, backlog, recovered.plugins, dispatchers.clone())
                .await?;
        let mut deciding = JoinSet::new();
        deciding.spawn(plugins.run(stop_deciding.clone()));
        let timer_stage = Timers {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            date_check_max: parts.settings.date_check_max,
            index: Arc::clone(&timers),
            work: work.clone(),
            spans: parts.settings.spans.clone(),
        };
        deciding.spawn(timer_stage.run(stop_deciding.clone()));
        let housekeeping = Housekeeping {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            retention: parts.settings.retention.clone(),
            desired_state: Arc::clone(&shared.desired_state),
            dispatchers: dispatchers.clone(),
            log: Arc::clone(&log),
            work: work.clone(),
            age_marks: recovered.age_marks,
        };
        deciding.spawn(housekeeping.run(stop_deciding.clone()));
        deciding.spawn(end_pauses(Arc::clone(shared), stop_deciding.clone()));

        let committer = Committer {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            log: Arc::clone(&log),
            outboxes: Arc::clone(&outboxes),
            timers,
            readiness: Arc::clone(&shared.readiness),
            backlog: Arc::clone(&shared.backlog),
            readers,
            readers_due: None,
            rejections,
            heads: Vec::new(),
            position: recovered.position,
            committed: recovered.position,
            stale: BTreeMap::new(),
            measures: Arc::clone(&shared.measures),
            routes,
        };
        let queues = Arc::new(Queues::default());
        let sinks = Arc::new(Mutex::new(BTreeMap::new()));
        let delivering = Delivering {
            shared: Arc::clone(shared),
            work: work.clone(),
            outboxes: Arc::clone(&outboxes),
            queues: Arc::clone(&queues),
            sinks: Arc::clone(&sinks),
            dead_letter_ids,
            refusals,
            recovered: recovered
                .sinks
                .into_iter()
                .map(|sink| (sink.progress.sink.clone(), sink))
                .collect(),
            started: BTreeSet::new(),
            next_lease: first_lease((parts.clock)()),
        };
        let epoch = Epoch { work, log, queues, outboxes, plugins: dispatchers, sinks };
        *lock(&shared.epoch) = Some(epoch);
        let mut committing = JoinSet::new();
        committing.spawn(committer.run(work_of));
        let mut delivery_stage = JoinSet::new();
        delivery_stage.spawn(delivering.run(opened_of, stop_delivering.clone()));
        Ok(Self {
            committer: committing,
            deciding,
            delivering: delivery_stage,
            stop_deciding,
            stop_delivering,
        })
    }

    /// Lets the stages end, until the time for that is over. Then it drops those that have not
    /// ended, without waiting for them: one of them may never end.
    async fn end(mut self, shared: &Shared) -> EngineEnd {
        tokio::select! {
            biased;
            end = self.drain(shared) => end,
            () = shared.cut_off.cancelled() => EngineEnd::CutOff,
        }
    }

    /// Ends the stages in the order of an event's way; each hands over what it has.
    async fn drain(&mut self, shared: &Shared) -> EngineEnd {
        *lock(&shared.epoch) = None;
        self.stop_deciding.cancel();
        while self.deciding.join_next().await.is_some() {}
        self.stop_delivering.cancel();
        while self.delivering.join_next().await.is_some() {}
        // No stage can send to the committer any more, so it ends when everything is written.
        match self.committer.join_next().await {
            Some(Ok(Ended::Fenced(reason))) => EngineEnd::Fenced(reason),
            Some(Ok(Ended::Restart(reason))) => {
                tracing::error!(%reason, "the last commit failed; the next start recovers");
                EngineEnd::Drained
            }
            Some(Ok(Ended::Drained) | Err(_)) | None => EngineEnd::Drained,
        }
    }

    /// Drops the stages at once. Returns when the committer has ended, so that it writes nothing
    /// when the next epoch recovers.
    async fn abort(mut self, shared: &Shared) {
        *lock(&shared.epoch) = None;
        self.deciding.shutdown().await;
        self.delivering.shutdown().await;
        self.committer.shutdown().await;
    }
}

/// Resolves when a stage that decides or delivers has panicked. Without this, its plugin or sink
/// would stand still unnoticed.
async fn panicked(deciding: &mut JoinSet<()>, delivering: &mut JoinSet<()>) -> JoinError {
    loop {
        let ended = tokio::select! {
            biased;
            Some(ended) = deciding.join_next() => ended,
            Some(ended) = delivering.join_next() => ended,
            else => std::future::pending().await,
        };
        if let Err(error) = ended {
            return error;
        }
    }
}
