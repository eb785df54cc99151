//! The controls of operators: pauses, limits, and attempts that are made before their time.
//!
//! A control is written first. Then the stages that it concerns follow it, and only then the call
//! returns: from then on nothing begins that a pause forbids. What had begun ends as usual. A
//! resumption takes the same way. If a call fails with [`ControlError::Unavailable`], the control
//! may be set; the list of the controls shows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Engine, Epoch, OfferError, Shared};
use crate::changes::controls::NextEnd;
use crate::changes::requests::{PluginRequest, PluginWaiting, SinkRequest, SinkWaiting};
use crate::changes::{ControlChange, Work};
use crate::lock;
use crate::model::{
    Control, ControlId, ControlKind, Key, Limit, Message, Pause, PluginName, Position, Sequence,
    SinkName, Target, Timestamp,
};
use crate::pure::monotonic::Instant;
use crate::pure::routes;
use crate::seams::store::{Page, Store};

/// The pauses and limits that can be set: each is in memory, and a stage looks through them when one
/// changes.
const CONTROLS_MAX: usize = 10_000;
/// The retry time that a sender gets while the door is paused: for a pause without an end, and at most.
const DOOR_RETRY_AFTER: Duration = Duration::from_secs(30);
const DOOR_RETRY_AFTER_MAX: Duration = Duration::from_mins(5);
/// The pause before a pause whose end could not be written is ended again.
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

/// A pause, and what waits because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseStatus {
    /// The pause.
    pub pause: Pause,
    /// How many events or messages wait. For a plugin: the positions of the log that it has not
    /// settled, which may be of events that are not for it. None for the door, where senders
    /// wait, and where no stage serves the target.
    pub waiting: Option<u64>,
    /// The wall-clock date of the oldest of these.
    pub oldest: Option<Timestamp>,
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
        // It runs to its end, also if the caller goes away.
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

    /// The pauses, in the order of their targets, and what waits because of each. It asks the
    /// stages, and reads the oldest event or message of each from the store.
    pub async fn pauses(&self) -> Vec<PauseStatus> {
        let pauses = self.shared.controls.pauses();
        let epoch = if pauses.is_empty() { None } else { self.shared.epoch() };
        let Some(epoch) = epoch else {
            let status = |pause| PauseStatus { pause, waiting: None, oldest: None };
            return pauses.into_iter().map(status).collect();
        };
        let waiting = Waiting::ask(&epoch, &pauses).await;
        // A channel that is held here would keep the stages from ending.
        drop(epoch);
        let mut statuses = Vec::with_capacity(pauses.len());
        for pause in pauses {
            let (waiting, oldest) = waiting.of(&pause.target, &*self.shared.parts.store).await;
            statuses.push(PauseStatus { pause, waiting, oldest });
        }
        statuses
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
    /// If its time is over, and no operator has set another one meanwhile.
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
                // An operator was faster.
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

/// The answers of the stages.
#[derive(Default)]
struct Waiting {
    plugins: BTreeMap<PluginName, PluginWaiting>,
    sinks: BTreeMap<SinkName, SinkWaiting>,
}

impl Waiting {
    async fn ask(epoch: &Epoch, pauses: &[Pause]) -> Self {
        let mut answers = Self::default();
        let plugins = epoch.plugins.all().into_iter().filter(|(name, _)| {
            pauses.iter().any(|pause| match &pause.target {
                Target::Plugin { plugin } | Target::Key { plugin, .. } => plugin == name,
                _ => false,
            })
        });
        for (name, requests) in plugins {
            let (reply, answer) = oneshot::channel();
            let _ = requests.send(PluginRequest::Waiting(reply));
            drop(requests);
            answers.plugins.extend(answer.await.ok().map(|waiting| (name, waiting)));
        }
        let sinks: Vec<_> = lock(&epoch.sinks)
            .iter()
            .map(|(name, requests)| (name.clone(), requests.clone()))
            .collect();
        let is_of_sinks =
            |pause: &Pause| matches!(pause.target, Target::Sink { .. } | Target::Type { .. });
        if pauses.iter().any(is_of_sinks) {
            for (name, requests) in sinks {
                let (reply, answer) = oneshot::channel();
                let _ = requests.send(SinkRequest::Waiting(reply));
                drop(requests);
                answers.sinks.extend(answer.await.ok().map(|waiting| (name, waiting)));
            }
        }
        answers
    }

    /// How much waits for a target, and since when.
    async fn of(&self, target: &Target, store: &dyn Store) -> (Option<u64>, Option<Timestamp>) {
        match target {
            Target::Ingest => (None, None),
            Target::Plugin { plugin } => match self.plugins.get(plugin) {
                Some(waiting) => (Some(waiting.positions), waiting.oldest),
                None => (None, None),
            },
            Target::Key { plugin, key } => {
                let Some(waiting) = self.plugins.get(plugin) else { return (None, None) };
                let (count, first) = waiting.keys.get(key).copied().unwrap_or_default();
                let oldest = match first {
                    Some(first) => oldest_parked(store, plugin, key, first).await,
                    None => None,
                };
                (Some(count as u64), oldest)
            }
            Target::Sink { sink } => match self.sinks.get(sink) {
                Some(waiting) => {
                    let oldest = oldest_message(store, sink, waiting.settled, waiting.messages);
                    (Some(waiting.messages), oldest.await)
                }
                None => (None, None),
            },
            Target::Type { message_type } => self.of_type(message_type, store).await,
        }
    }

    async fn of_type(
        &self,
        message_type: &str,
        store: &dyn Store,
    ) -> (Option<u64>, Option<Timestamp>) {
        let (mut count, mut oldest) = (None, None);
        for (sink, waiting) in &self.sinks {
            let is_queue = routes::queue_name(sink) == Some(message_type);
            let (more, date) = match waiting.types.get(message_type) {
                _ if is_queue => {
                    let date = oldest_message(store, sink, waiting.settled, waiting.messages);
                    (waiting.messages, date.await)
                }
                Some((rows, Some(first))) => {
                    let read = store.read_messages(sink, &[*first], 1).await;
                    (*rows as u64, read.ok().and_then(|rows| date_of(rows.first()?)))
                }
                Some((rows, None)) => (*rows as u64, None),
                None => continue,
            };
            *count.get_or_insert(0) += more;
            oldest = oldest.into_iter().chain(date).min();
        }
        (count, oldest)
    }
}

async fn oldest_parked(
    store: &dyn Store,
    plugin: &PluginName,
    key: &Key,
    first: Position,
) -> Option<Timestamp> {
    let page = Page { rows: 1, bytes: 1 };
    let rows = store.read_parked(plugin, key, Position(first.0.saturating_sub(1)), page).await;
    rows.ok()?.first().map(|entry| entry.received_at)
}

async fn oldest_message(
    store: &dyn Store,
    sink: &SinkName,
    settled: Sequence,
    messages: u64,
) -> Option<Timestamp> {
    if messages == 0 {
        return None;
    }
    let rows = store.read_outbox(sink, settled, Page { rows: 1, bytes: 1 }).await;
    rows.ok().and_then(|rows| date_of(rows.first()?))
}

/// The host dates the messages that it makes.
fn date_of(message: &Arc<Message>) -> Option<Timestamp> {
    message.event.time.as_deref().and_then(Timestamp::from_rfc3339)
}
