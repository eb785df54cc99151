//! How the committer reports to a stage that the store will never write what it handed over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc;

use crate::lock;
use crate::model::{DeadLetter, Event, PluginName};
use crate::seams::store::{Batch, TimerRow};

/// A rejection for a dispatcher.
pub(crate) enum Rejection {
    /// The store has nothing of what the dispatcher handed over, and nothing that it hands over
    /// from now on is written: another dispatcher must start from the store.
    Changes {
        reason: String,
        batch: Box<Batch>,
    },
    Timer(TimerRejection),
}

/// A timer of an instance is due, and its event cannot be appended.
#[derive(Clone, Debug)]
pub(crate) struct TimerRejection {
    pub row: TimerRow,
    pub event: Arc<Event>,
    pub reason: String,
}

/// A rejection for a relay or queue: the store has everything that it handed over except these dead
/// letters.
pub(crate) struct DeadLettersDropped(pub Vec<Arc<DeadLetter>>);

/// The channels to the dispatchers of the plugins that are served.
#[derive(Clone, Default)]
pub(crate) struct Rejections(Arc<Mutex<BTreeMap<PluginName, mpsc::UnboundedSender<Rejection>>>>);

impl Rejections {
    /// Makes the channel of a dispatcher that starts. The sender accompanies its changes.
    pub(crate) fn begin(
        &self,
        plugin: &PluginName,
    ) -> (mpsc::UnboundedSender<Rejection>, mpsc::UnboundedReceiver<Rejection>) {
        let (rejections, rejections_of) = mpsc::unbounded_channel();
        self.lock().insert(plugin.clone(), rejections.clone());
        (rejections, rejections_of)
    }

    pub(crate) fn end(&self, plugin: &PluginName) {
        self.lock().remove(plugin);
    }

    pub(crate) fn of(&self, plugin: &PluginName) -> Option<mpsc::UnboundedSender<Rejection>> {
        self.lock().get(plugin).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PluginName, mpsc::UnboundedSender<Rejection>>> {
        lock(&self.0)
    }
}
