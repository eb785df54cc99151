//! Requests to the dispatcher of a plugin and to the stage of a sink from other tasks, and the
//! registries of the channels that lead to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{mpsc, oneshot};

use crate::changes::resolve::ResolveRequest;
use crate::lock;
use crate::model::{InstanceStatus, Key, PluginName, Position, Sequence, SinkName, Timestamp};

pub(crate) enum PluginRequest {
    Resolve(Box<ResolveRequest>),
    Remove(RemoveRequest),
    /// The controls have changed. Answered when the stage follows them.
    Controls(oneshot::Sender<()>),
    /// Asks for the events of the plugin that wait because it, or one of their keys, is paused.
    Waiting(oneshot::Sender<PluginWaiting>),
    /// Makes the key's next attempt due now.
    AttemptNow(Key, AttemptReply),
}

/// Requests to the relay or queue of a sink.
pub(crate) enum SinkRequest {
    Resolve(Box<ResolveRequest>),
    /// The controls have changed. Answered when the stage follows them.
    Controls(oneshot::Sender<()>),
    /// Asks for the messages of the sink that wait because it, or their type, is paused.
    Waiting(oneshot::Sender<SinkWaiting>),
    /// Makes the next attempt due now: at all messages that wait, or at those of one ordering key.
    AttemptNow(Option<(PluginName, Key)>, AttemptReply),
}

/// Answered with the number of keys or messages that continue, and a receiver that resolves when
/// that is durable.
pub(crate) type AttemptReply = oneshot::Sender<(usize, oneshot::Receiver<()>)>;

/// The events that a plugin has not settled.
pub(crate) struct PluginWaiting {
    /// The number of positions of the log.
    pub positions: u64,
    /// When the first event was accepted that is read and not settled.
    pub oldest: Option<Timestamp>,
    /// By paused key: the number of its events, and the position of the first that is parked.
    pub keys: BTreeMap<Key, (usize, Option<Position>)>,
}

/// The messages that a sink has not settled.
pub(crate) struct SinkWaiting {
    /// Their number, and the sequence before the first.
    pub messages: u64,
    pub settled: Sequence,
    /// By paused type: the number of messages that wait for it, and the first of these.
    pub types: BTreeMap<String, (usize, Option<Sequence>)>,
}

/// The channels to the stages of all sinks that have one.
pub(crate) type Sinks = Arc<Mutex<BTreeMap<SinkName, mpsc::UnboundedSender<SinkRequest>>>>;

/// Asks for the removal of instances that the store has as finished. The dispatcher does it,
/// because it has instances in memory: later events for their keys find none.
pub(crate) struct RemoveRequest {
    /// Their keys, and the statuses that the store has.
    pub instances: Vec<(Key, InstanceStatus)>,
    /// Answered with the number of removed instances, and a receiver that resolves when that is
    /// durable. An instance with deliveries in progress stays for now.
    pub reply: oneshot::Sender<(usize, oneshot::Receiver<()>)>,
}

/// The dispatchers of all plugins that are served.
#[derive(Clone, Default)]
pub(crate) struct Dispatchers(
    Arc<Mutex<BTreeMap<PluginName, mpsc::UnboundedSender<PluginRequest>>>>,
);

impl Dispatchers {
    #[must_use]
    pub(crate) fn get(&self, plugin: &PluginName) -> Option<mpsc::UnboundedSender<PluginRequest>> {
        self.lock().get(plugin).cloned()
    }

    #[must_use]
    pub(crate) fn all(&self) -> Vec<(PluginName, mpsc::UnboundedSender<PluginRequest>)> {
        self.lock().iter().map(|(name, requests)| (name.clone(), requests.clone())).collect()
    }

    pub(crate) fn insert(
        &self,
        plugin: PluginName,
        requests: mpsc::UnboundedSender<PluginRequest>,
    ) {
        self.lock().insert(plugin, requests);
    }

    pub(crate) fn remove(&self, plugin: &PluginName) {
        self.lock().remove(plugin);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PluginName, mpsc::UnboundedSender<PluginRequest>>> {
        lock(&self.0)
    }
}
