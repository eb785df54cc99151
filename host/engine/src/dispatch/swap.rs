//! Another version of the plugin takes over, between two events of each key.
//!
//! Nothing is waited for: every call carries the version that it was made on, so what
//! is under way ends on the old one and is recorded as its decision, while the next
//! event of every key goes to the new one. A call of the old one that fails, or asks,
//! had no effect; its event starts over on the new one. So each event is decided by
//! one version, with all of its input (guarantees 2 and 8).

use std::sync::Arc;

use futures::stream::FuturesOrdered;
use tokio::sync::oneshot;

use crate::handler::Handler;
use crate::hash::HashMap;
use crate::model::{Key, Manifest, Position, Subscription, reserved};

use super::Dispatcher;

/// What is to serve from now on, and who is told when it does.
pub struct Version {
    pub handler: Arc<dyn Handler>,
    pub serving: oneshot::Sender<()>,
}

/// What a decision notes of the version that made it.
#[derive(Clone)]
pub(super) struct PluginVersion {
    pub(super) of_plugin: Arc<str>,
    pub(super) of_state: u32,
}

pub(super) fn subscriptions(manifest: &Manifest) -> HashMap<String, Subscription> {
    manifest.subscriptions.iter().map(|s| (s.event_type.clone(), s.clone())).collect()
}

impl Dispatcher {
    pub(super) fn swap(&mut self, version: Version) {
        let Version { handler, serving } = version;
        let manifest = handler.manifest();
        assert_eq!(manifest.role, self.manifest.role, "a version plays its plugin's role");
        if self.calls == 0 {
            self.earlier.clear();
        }
        self.earlier.insert(self.generation, self.version(self.generation));
        self.generation += 1;
        self.subscriptions = subscriptions(manifest);
        self.manifest = manifest.clone();
        self.handler = handler;
        // What was read and is not routed may mean something else to this version.
        self.chunks.clear();
        self.loads = FuturesOrdered::new();
        self.loading.clear();
        self.read_to = self.place;
        self.recall();
        // Whoever asked for it may have hung up.
        let _ = serving.send(());
    }

    /// The version of a generation that is the current one, or has calls under way.
    pub(super) fn version(&self, generation: u32) -> PluginVersion {
        let current = || PluginVersion {
            of_plugin: Arc::clone(&self.manifest.version),
            of_state: self.manifest.state_version,
        };
        self.earlier.get(&generation).cloned().unwrap_or_else(current)
    }

    /// Takes back the calls that nobody has begun: behind a version that spins they
    /// would wait for ever.
    pub(super) fn recall(&mut self) {
        let jobs = self.around.shards.recall(&self.plugin, &self.results);
        self.calls -= jobs.len();
        for job in jobs {
            self.start_over(&job.key, job.position);
        }
    }

    /// Has an event decided anew by the version that serves now. No answer that another
    /// version asked for is given to it.
    pub(super) fn start_over(&mut self, key: &Key, position: Position) {
        let now = (self.around.clock)();
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return };
        delivery.attempt = 1;
        delivery.now = None;
        delivery.answers.clear();
        delivery.rounds = 0;
        self.lanes.put_back(key, position.0, now);
    }

    /// Whether an event waited for a version that subscribes to it no more.
    pub(super) fn is_outdated(&mut self, key: &Key, position: Position) -> bool {
        if self.generation == 0 {
            return false;
        }
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return false };
        let event_type = &delivery.entry.event.event_type;
        event_type != reserved::INSTANCE_ENDED && !self.subscriptions.contains_key(event_type)
    }
}
