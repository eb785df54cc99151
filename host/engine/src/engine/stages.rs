//! Starts the stages of one epoch, which `connections.rs` connects, and supervises them.
//!
//! Start-up and recovery use the same code: the stages begin with what the store recovered. An
//! epoch ends when the outcome of a commit is unknown, when a stage panics, or when another host
//! owns the store. Draining ends the stages in the order of an event's way, and each hands over
//! what it has.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::connections::Connections;
use super::controls::end_pauses;
use super::{EngineEnd, Shared};
use crate::engine::plugins::Plugins;
use crate::lock;
use crate::seams::store::{ReadError, Recovered};
use crate::stages::commit::Ended;

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
        let restarted = async {
            if by_mistake {
                // The same panic may happen again at once.
                tokio::time::sleep(RECOVER_DELAY).await;
            }
            restart(&shared).await
        };
        let next = tokio::select! {
            biased;
            // No stage runs that could be drained.
            () = shared.stop.cancelled() => break EngineEnd::Drained,
            next = restarted => next,
        };
        shared.readiness.set(Ok(()));
        stages = next;
    };
    shared.stop.cancel();
    *lock(&shared.epoch) = None;
    shared.ended.send_replace(Some(end));
}

/// Recovers and starts the stages; repeats that until it succeeds.
async fn restart(shared: &Arc<Shared>) -> Stages {
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
    pub(super) async fn start(
        shared: &Arc<Shared>,
        recovered: Recovered,
    ) -> Result<Self, ReadError> {
        let (connections, receivers) = Connections::new(shared, &recovered);
        let (stop_deciding, stop_delivering) = (CancellationToken::new(), CancellationToken::new());
        shared.sinks.clear();
        shared.backlog.restart(recovered.position.0);
        // The controls are restored before any stage starts, so that a paused target decides and
        // delivers nothing.
        shared.controls.restore(recovered.controls, (shared.parts.clock)());
        let plugins = Plugins::start(
            connections.dispatch_context(),
            Arc::clone(&shared.desired_state),
            Arc::clone(&shared.backlog),
            recovered.plugins,
            connections.dispatchers.clone(),
        );
        let plugins = plugins.await?;

        let mut deciding = JoinSet::new();
        deciding.spawn(plugins.run(stop_deciding.clone()));
        deciding.spawn(connections.timers().run(stop_deciding.clone()));
        let housekeeping = connections.housekeeping(recovered.age_marks);
        deciding.spawn(housekeeping.run(stop_deciding.clone()));
        deciding.spawn(end_pauses(Arc::clone(shared), stop_deciding.clone()));
        let (committer, deliveries) =
            (connections.committer(recovered.position), connections.delivering(recovered.sinks));
        // The handle is set before the committer and the stages of the sinks start, because they
        // use it.
        *lock(&shared.epoch) = Some(connections.epoch());
        let mut committing = JoinSet::new();
        committing.spawn(committer.run(receivers.work));
        let mut delivering = JoinSet::new();
        delivering.spawn(deliveries.run(receivers.opened, stop_delivering.clone()));
        Ok(Self { committer: committing, deciding, delivering, stop_deciding, stop_delivering })
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
