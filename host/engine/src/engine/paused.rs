//! The pauses, and what waits because of each: for people who decide when to resume.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Engine, Epoch};
use crate::changes::requests::{PluginRequest, PluginWaiting, SinkRequest, SinkWaiting};
use crate::lock;
use crate::model::{
    Key, Message, Pause, PluginName, Position, Sequence, SinkName, Target, Timestamp,
};
use crate::pure::routes;
use crate::seams::store::{Page, Store};

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
