//! Requests to the dispatcher of a plugin from other tasks, and the registry of the channels that
//! lead to the dispatchers of all served plugins.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{mpsc, oneshot};

use crate::changes::resolve::ResolveRequest;
use crate::lock;
use crate::model::{Key, PluginName};

pub(crate) enum PluginRequest {
    Resolve(Box<ResolveRequest>),
    Remove(RemoveRequest),
}

/// Asks that instances are removed which the store says are over. The dispatcher does it,
/// because it has instances in memory: what comes for their keys later finds none.
pub(crate) struct RemoveRequest {
    pub keys: Vec<Key>,
    /// Answered with how many are removed, and with what resolves when that is durable. One
    /// that something is under way for stays for now.
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
