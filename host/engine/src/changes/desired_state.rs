//! The desired state: which plugins the host wants served, by which version, and with which canary.
//! It outlives the stages. `engine/plugins.rs` reconciles the dispatchers with it in every epoch.
//!
//! Each change has a number, so that a caller can wait until its own change is reconciled. A plugin
//! keeps its role: a handler of another role is refused here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use thiserror::Error;
use tokio::sync::Notify;

use crate::changes::canary::Canary;
use crate::lock;
use crate::model::{Manifest, PluginName, Position};
use crate::seams::handler::Handler;

/// What happens to the events that were accepted while a plugin was not loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// They are handled.
    #[default]
    Handle,
    /// They are ignored, and counted. Events that the host made for this plugin, such as fired
    /// timers, are handled all the same.
    Ignore,
}

/// Why the engine does not serve a plugin or a canary.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ServeError {
    /// A plugin of this name serves in another role.
    #[error(
        "{plugin} serves as {serving}, and this is a {candidate}; a plugin keeps its role, give the new one another name"
    )]
    Role {
        /// The plugin's name.
        plugin: PluginName,
        /// The role of the version that serves.
        serving: &'static str,
        /// The role of the version that was given.
        candidate: &'static str,
    },
    /// A canary was given for a plugin that is not served.
    #[error("no version of {0} serves; a canary needs a serving version")]
    NotServed(PluginName),
    /// A canary was given whose subscriptions differ from those of the version that serves.
    #[error(
        "{0} has other subscriptions than the serving version; a canary must have the same ones"
    )]
    Subscriptions(PluginName),
    /// The engine is stopping.
    #[error("the host is shutting down")]
    Stopping,
}

pub(crate) struct DesiredState {
    wanted: Mutex<Wanted>,
    changed: Notify,
    made: Notify,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub handler: Arc<dyn Handler>,
    pub canary: Option<Canary>,
    pub missed: Missed,
    /// Set when the plugin first starts: it has missed the events up to this position.
    pub missed_to: Option<Position>,
}

struct Wanted {
    plugins: BTreeMap<PluginName, Entry>,
    /// The number of the last change, and of the last one that is reconciled.
    changes: u64,
    made: u64,
}

impl DesiredState {
    pub(crate) fn new(handlers: &[Arc<dyn Handler>]) -> Self {
        let entry = |handler: &Arc<dyn Handler>| Entry {
            handler: Arc::clone(handler),
            canary: None,
            missed: Missed::Handle,
            missed_to: None,
        };
        let plugins = handlers.iter().map(|h| (h.manifest().name.clone(), entry(h)));
        let wanted = Wanted { plugins: plugins.collect(), changes: 0, made: 0 };
        Self { wanted: Mutex::new(wanted), changed: Notify::new(), made: Notify::new() }
    }

    pub(crate) fn get(&self, plugin: &PluginName) -> Option<Arc<dyn Handler>> {
        self.lock().plugins.get(plugin).map(|entry| Arc::clone(&entry.handler))
    }

    /// Wants a plugin served by this version. Returns the number of the change.
    pub(crate) fn put(&self, handler: Arc<dyn Handler>, missed: Missed) -> Result<u64, ServeError> {
        let manifest = handler.manifest();
        let name = manifest.name.clone();
        let mut wanted = self.lock();
        if let Some(entry) = wanted.plugins.get_mut(&name) {
            check_role(entry.handler.manifest(), manifest)?;
            entry.handler = handler;
            entry.canary = None;
        } else {
            let entry = Entry { handler, canary: None, missed, missed_to: None };
            wanted.plugins.insert(name, entry);
        }
        Ok(self.change(wanted))
    }

    /// Wants a share of a plugin's keys served by this candidate.
    pub(crate) fn put_canary(&self, canary: Canary) -> Result<u64, ServeError> {
        let manifest = canary.handler.manifest();
        let name = manifest.name.clone();
        let mut wanted = self.lock();
        let entry = wanted.plugins.get_mut(&name);
        let entry = entry.ok_or_else(|| ServeError::NotServed(name.clone()))?;
        let serving = entry.handler.manifest();
        check_role(serving, manifest)?;
        if serving.subscriptions_by_type() != manifest.subscriptions_by_type() {
            return Err(ServeError::Subscriptions(name));
        }
        entry.canary = Some(canary);
        Ok(self.change(wanted))
    }

    pub(crate) fn remove_canary(&self, plugin: &PluginName) -> u64 {
        let mut wanted = self.lock();
        if let Some(entry) = wanted.plugins.get_mut(plugin) {
            entry.canary = None;
        }
        self.change(wanted)
    }

    pub(crate) fn remove(&self, plugin: &PluginName) -> u64 {
        let mut wanted = self.lock();
        wanted.plugins.remove(plugin);
        self.change(wanted)
    }

    fn change(&self, mut wanted: MutexGuard<'_, Wanted>) -> u64 {
        wanted.changes += 1;
        let change = wanted.changes;
        drop(wanted);
        self.changed.notify_one();
        change
    }

    /// The desired state as of the change of this number.
    pub(crate) fn wanted(&self) -> (BTreeMap<PluginName, Entry>, u64) {
        let wanted = self.lock();
        (wanted.plugins.clone(), wanted.changes)
    }

    /// Notes how far the log had come when the plugin started. The first time counts, also if the
    /// stages start again before the plugin has come so far.
    pub(crate) fn began(&self, plugin: &PluginName, head: Position) -> Position {
        let mut wanted = self.lock();
        let Some(entry) = wanted.plugins.get_mut(plugin) else { return Position(0) };
        *entry.missed_to.get_or_insert(match entry.missed {
            Missed::Handle => Position(0),
            Missed::Ignore => head,
        })
    }

    /// Resolves when there may be a change to reconcile.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn is_made(&self, change: u64) {
        self.lock().made = change;
        self.made.notify_waiters();
    }

    /// Resolves when the change of this number is reconciled.
    pub(crate) async fn made(&self, change: u64) {
        loop {
            let made = self.made.notified();
            tokio::pin!(made);
            made.as_mut().enable();
            if self.lock().made >= change {
                return;
            }
            made.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        lock(&self.wanted)
    }
}

fn check_role(serving: &Manifest, candidate: &Manifest) -> Result<(), ServeError> {
    if serving.role == candidate.role {
        return Ok(());
    }
    let plugin = candidate.name.clone();
    let (serving, candidate) = (serving.role.as_str(), candidate.role.as_str());
    Err(ServeError::Role { plugin, serving, candidate })
}
