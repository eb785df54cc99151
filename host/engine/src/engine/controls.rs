//! The controls of operators: pauses, limits, and attempts that are made before their time.
//!
//! A control is written first. Then the stages that it concerns follow it, and only then the call
//! returns: from then on nothing begins that a pause forbids. What had begun ends as usual. A
//! resumption takes the same way. If a call fails with [`ControlError::Unavailable`], the control
//! may be set; the list of the controls shows it.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Engine, OfferError, Shared};
use crate::changes::controls::NextEnd;
use crate::changes::requests::{PluginRequest, SinkRequest};
use crate::changes::{ControlChange, Work};
use crate::lock;
use crate::model::{
    Control, ControlId, ControlKind, Key, Limit, Pause, PluginName, SinkName, Target,
};
use crate::pure::monotonic::Instant;
use crate::pure::routes;

/// The most pauses and limits that can be set. Each is in memory, and a stage looks through all of
/// them when one changes.
const CONTROLS_MAX: usize = 10_000;
/// The retry time that a sender gets while the door is paused: this one for a pause without an end,
/// and at most `DOOR_RETRY_AFTER_MAX`.
const DOOR_RETRY_AFTER: Duration = Duration::from_secs(30);
const DOOR_RETRY_AFTER_MAX: Duration = Duration::from_mins(5);
/// The delay before the host tries again to end a pause whose end it could not write.
const END_RETRY: Duration = Duration::from_secs(1);

/// Why a control is not changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ControlError {
    /// The target is not paused.
    #[error("{0} is not paused")]
    NotPaused(String),
    /// The target has no limit.
    #[error("{0} has no limit")]
    NotLimited(String),
    /// Only sinks, queues and message types can be limited, and `concurrency` only for message
    /// types.
    #[error("{0} cannot have this limit")]
    NotLimitable(String),
    /// Too many controls are set.
    #[error("{CONTROLS_MAX} pauses and limits are set already; remove some first")]
    TooMany,
    /// No stage serves the plugin or sink. The text names it.
    #[error("{0} is not loaded or configured, or has had no message yet")]
    Unserved(String),
    /// The store failed, or the engine recovers or stops. The change may have been made.
    #[error("the store does not answer: {0}; whether the change was made shows in the list")]
    Unavailable(String),
}

impl Engine {
    /// Pauses a target, or changes its pause. When this returns, the pause is durable, and nothing
    /// of the target begins any more.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn pause(&self, pause: Pause) -> Result<(), ControlError> {
        self.set(Control::Pause(pause)).await
    }

    /// Sets a limit, or changes it. When this returns, it is durable and kept. A limit of nothing
    /// removes the one that is set.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn limit(&self, limit: Limit) -> Result<(), ControlError> {
        let target = &limit.target;
        let is_of_type = matches!(target, Target::Type { .. });
        if !target.can_be_limited() || (limit.concurrency.is_some() && !is_of_type) {
            return Err(ControlError::NotLimitable(target.to_string()));
        }
        if limit.is_empty() {
            return self.remove(ControlKind::Limit, limit.target, Only::Always).await;
        }
        self.set(Control::Limit(limit)).await
    }

    /// Resumes a target that is paused.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn resume(&self, target: Target) -> Result<(), ControlError> {
        self.remove(ControlKind::Pause, target, Only::Always).await
    }

    /// The limits that are set, in the order of their targets.
    #[must_use]
    pub fn limits(&self) -> Vec<Limit> {
        self.shared.controls.limits()
    }

    /// The pauses that are set, in the order of their targets. Unlike [`Self::pauses`], it asks no
    /// stage.
    #[must_use]
    pub fn paused(&self) -> Vec<Pause> {
        self.shared.controls.pauses()
    }

    async fn set(&self, control: Control) -> Result<(), ControlError> {
        let shared = Arc::clone(&self.shared);
        // The change runs to its end, also if the caller stops waiting.
        detached(async move {
            let _one = shared.changing_controls.lock().await;
            let is_new = match control.id().kind {
                ControlKind::Pause => !shared.controls.is_paused(&control.id().target),
                ControlKind::Limit => !shared.controls.is_limited(&control.id().target),
            };
            let count = shared.controls.pauses().len() + shared.controls.limits().len();
            if is_new && count >= CONTROLS_MAX {
                return Err(ControlError::TooMany);
            }
            let target = control.id().target;
            shared.write(vec![control.clone()], Vec::new()).await?;
            shared.controls.put(control, (shared.parts.clock)());
            shared.follow(&target).await;
            Ok(())
        })
        .await
    }

    async fn remove(
        &self,
        kind: ControlKind,
        target: Target,
        only: Only,
    ) -> Result<(), ControlError> {
        let shared = Arc::clone(&self.shared);
        detached(async move {
            let _one = shared.changing_controls.lock().await;
            let name = || target.to_string();
            if only == Only::IfOver && !shared.is_over(&target) {
                return Err(ControlError::NotPaused(name()));
            }
            match kind {
                ControlKind::Pause if !shared.controls.is_paused(&target) => {
                    return Err(ControlError::NotPaused(name()));
                }
                ControlKind::Limit if !shared.controls.is_limited(&target) => {
                    return Err(ControlError::NotLimited(name()));
                }
                ControlKind::Pause | ControlKind::Limit => {}
            }
            let id = ControlId { kind, target };
            shared.write(Vec::new(), vec![id.clone()]).await?;
            shared.controls.remove(&id);
            shared.follow(&id.target).await;
            Ok(())
        })
        .await
    }

    /// Makes the next attempt at the first event of a key due now, if the key waits for it. False
    /// if it does not. When this returns, that is durable.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn retry_key(&self, plugin: &PluginName, key: &Key) -> Result<bool, ControlError> {
        let unserved = || ControlError::Unserved(format!("plugin `{plugin}`"));
        let epoch = self.shared.epoch().ok_or_else(|| self.shared.unavailable())?;
        let requests = epoch.plugins.get(plugin).ok_or_else(unserved)?;
        drop(epoch);
        let (reply, answer) = oneshot::channel();
        let _ = requests.send(PluginRequest::AttemptNow(key.clone(), reply));
        drop(requests);
        self.attempted(answer).await.map(|count| count > 0)
    }

    /// Makes the next attempts of a sink due now: at the messages of one ordering key, or at all
    /// that wait; then a sink that is down is also tried. Returns how many ordering keys go on.
    /// When this returns, that is durable.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn retry_sink(
        &self,
        sink: &SinkName,
        of: Option<(PluginName, Key)>,
    ) -> Result<usize, ControlError> {
        let unserved = || ControlError::Unserved(format!("sink `{sink}`"));
        let epoch = self.shared.epoch().ok_or_else(|| self.shared.unavailable())?;
        let requests = lock(&epoch.sinks).get(sink).cloned().ok_or_else(unserved)?;
        drop(epoch);
        let (reply, answer) = oneshot::channel();
        let _ = requests.send(SinkRequest::AttemptNow(of, reply));
        drop(requests);
        self.attempted(answer).await
    }

    async fn attempted(
        &self,
        answer: oneshot::Receiver<(usize, oneshot::Receiver<()>)>,
    ) -> Result<usize, ControlError> {
        let unavailable = |_| self.shared.unavailable();
        let (count, durable) = answer.await.map_err(unavailable)?;
        durable.await.map_err(unavailable)?;
        Ok(count)
    }

    /// What a sender gets while the door is paused.
    pub(super) fn door_is_paused(&self, pause: &Pause) -> OfferError {
        let left = pause.left((self.shared.parts.clock)()).unwrap_or(DOOR_RETRY_AFTER);
        let retry_after = left.clamp(Duration::from_secs(1), DOOR_RETRY_AFTER_MAX);
        OfferError::Paused { reason: pause.reason.clone(), retry_after }
    }
}

/// Runs a change of the controls to its end.
async fn detached<T: Send + 'static>(
    change: impl Future<Output = Result<T, ControlError>> + Send + 'static,
) -> Result<T, ControlError> {
    tokio::spawn(change).await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(ControlError::Unavailable("the host is shutting down".to_owned())),
    })
}

/// When a control is removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Only {
    Always,
    /// Only if its time is over, and no operator has set another one meanwhile.
    IfOver,
}

impl Shared {
    fn is_over(&self, target: &Target) -> bool {
        self.controls.over(Instant::now(), (self.parts.clock)()).contains(target)
    }

    fn unavailable(&self) -> ControlError {
        let reason = match self.stop.is_cancelled() {
            true => "the host is shutting down",
            false => "the host is recovering",
        };
        ControlError::Unavailable(reason.to_owned())
    }

    async fn write(&self, put: Vec<Control>, removed: Vec<ControlId>) -> Result<(), ControlError> {
        // The committer tries again what it has, and comes to this only when the store accepts that.
        self.readiness.get().map_err(ControlError::Unavailable)?;
        let epoch = self.epoch().ok_or_else(|| self.unavailable())?;
        let (reply, durable) = oneshot::channel();
        let change = ControlChange { put, removed, reply };
        let sent = epoch.work.send(Work::Control(change));
        drop(epoch);
        sent.map_err(|_| self.unavailable())?;
        durable.await.map_err(|_| self.unavailable())
    }

    /// Has the stages follow the controls that concern a target. Stages that begin meanwhile do so
    /// by themselves.
    async fn follow(&self, target: &Target) {
        let Some(epoch) = self.epoch() else { return };
        let mut followed = Vec::new();
        let mut reply = || {
            let (reply, follows) = oneshot::channel();
            followed.push(follows);
            reply
        };
        match target {
            Target::Ingest => {}
            Target::Plugin { plugin } | Target::Key { plugin, .. } => {
                if let Some(requests) = epoch.plugins.get(plugin) {
                    let _ = requests.send(PluginRequest::Controls(reply()));
                }
            }
            Target::Sink { sink } => {
                if let Some(requests) = lock(&epoch.sinks).get(sink) {
                    let _ = requests.send(SinkRequest::Controls(reply()));
                }
            }
            Target::Type { message_type } => {
                let is_of = |sink: &SinkName| {
                    routes::queue_name(sink).is_none_or(|queue| queue == message_type)
                };
                let sinks = lock(&epoch.sinks);
                for (_, requests) in sinks.iter().filter(|(sink, _)| is_of(sink)) {
                    let _ = requests.send(SinkRequest::Controls(reply()));
                }
            }
        }
        drop(epoch);
        for follows in followed {
            // A stage that has ended begins nothing.
            let _ = follows.await;
        }
    }
}

/// Ends the pauses whose time is over, until `stop`.
pub(super) async fn end_pauses(shared: Arc<Shared>, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = end_each(&shared) => {}
    }
}

async fn end_each(shared: &Arc<Shared>) {
    loop {
        let over = shared.controls.over(Instant::now(), (shared.parts.clock)());
        for target in over {
            let engine = Engine { shared: Arc::clone(shared) };
            match engine.remove(ControlKind::Pause, target.clone(), Only::IfOver).await {
                Ok(()) => tracing::info!(%target, "the pause is over"),
                // An operator removed or changed the pause meanwhile.
                Err(ControlError::NotPaused(_)) => {}
                Err(error) => {
                    tracing::warn!(%target, %error, "a pause that is over cannot be ended; retrying");
                    tokio::time::sleep(END_RETRY).await;
                }
            }
        }
        let next = match shared.controls.next_end() {
            NextEnd::Never => None,
            NextEnd::Next(at, date) => {
                let now = (shared.parts.clock)();
                let check = shared.parts.settings.date_check_max;
                let date = date.map(|date| date.since(now).min(check));
                let at = at.map(|at| at.saturating_duration_since(Instant::now()));
                at.into_iter().chain(date).min()
            }
        };
        let sleep = async {
            match next {
                Some(time) => tokio::time::sleep(time.max(Duration::from_millis(1))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shared.controls.changed() => {}
            () = sleep => {}
        }
    }
}
