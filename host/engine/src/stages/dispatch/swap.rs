//! Lets another version of the plugin take over, between two events of each key; or a canary take
//! over a share of the keys.
//!
//! The swap waits for no call. Each call carries the version that it is made on, so a call in
//! progress ends on the old version and is recorded as its decision, while the next event of every
//! key goes to the new one. A call of the old version that fails or asks has no effect, and its
//! event starts again on the new version. So each event is decided by one version, with all of its
//! input (guarantees 2 and 8).

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::stream::FuturesOrdered;
use tokio::sync::oneshot;

use crate::changes::canary::{Canary, Share};
use crate::model::{Key, Manifest, Position, Subscription, reserved};
use crate::pure::hash::HashMap;
use crate::pure::monotonic::Instant;
use crate::seams::handler::Handler;

use super::{Dirty, Dispatcher, look_back};

/// What is to serve from now on, and who is told when it does.
pub(crate) struct Versions {
    pub handler: Arc<dyn Handler>,
    pub canary: Option<Canary>,
    pub serving: oneshot::Sender<()>,
}

/// The version that serves all keys, but for those of a trial.
pub(super) struct ServingVersion {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) generation: u32,
}

/// The version that serves a share of the keys. It subscribes as the other does, so who
/// gets an event does not depend on it.
pub(super) struct CanaryVersion {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) generation: u32,
    share: Share,
}

/// What a decision notes of the version that made it.
#[derive(Clone)]
pub(super) struct PluginVersion {
    pub(super) of_plugin: Arc<str>,
    pub(super) of_state: u32,
}

impl PluginVersion {
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self { of_plugin: Arc::clone(&manifest.version), of_state: manifest.state_version }
    }
}

pub(super) fn subscriptions(manifest: &Manifest) -> HashMap<String, Arc<Subscription>> {
    let arc = |subscription: &Subscription| Arc::new(subscription.clone());
    manifest.subscriptions.iter().map(|s| (s.event_type.clone(), arc(s))).collect()
}

pub(super) fn types(manifest: &Manifest) -> BTreeSet<String> {
    manifest.subscriptions.iter().map(|s| s.event_type.clone()).collect()
}

impl Dispatcher {
    pub(super) fn swap(&mut self, versions: Versions) {
        let Versions { handler, canary, serving } = versions;
        if self.calls == 0 {
            let kept = [Some(self.serving.generation), self.trial.as_ref().map(|t| t.generation)];
            self.versions.retain(|generation, _| kept.contains(&Some(*generation)));
        }
        if !Arc::ptr_eq(&self.serving.handler, &handler) {
            self.replace(handler);
        }
        let had_canary = self.trial.is_some();
        self.try_beside(canary);
        self.recall();
        if had_canary {
            // Who ends a canary looks for what it failed at: all of that is stored by then.
            self.changes.replies.push(serving);
            self.touch(Dirty::Rows);
        } else {
            // Whoever asked for it may have hung up.
            let _ = serving.send(());
        }
    }

    fn replace(&mut self, handler: Arc<dyn Handler>) {
        let manifest = handler.manifest();
        assert_eq!(manifest.role, self.manifest.role, "a version plays its plugin's role");
        self.subscriptions = subscriptions(manifest);
        self.hold_max = look_back::hold_max(&self.subscriptions);
        self.manifest = manifest.clone();
        let generation = self.next_generation(&handler);
        self.serving = ServingVersion { handler, generation };
        // What was read and is not routed may mean something else to this version.
        self.chunks.clear();
        self.loads = FuturesOrdered::new();
        self.loading.clear();
        self.read_to = self.place;
        self.reader.subscribe(types(&self.manifest), || self.context.log.head());
    }

    pub(super) fn try_beside(&mut self, canary: Option<Canary>) {
        let before = self.trial.take();
        let Some(Canary { handler, share }) = canary else { return };
        let same = before.filter(|trial| Arc::ptr_eq(&trial.handler, &handler));
        let generation = match same {
            Some(trial) => trial.generation,
            None => self.next_generation(&handler),
        };
        self.trial = Some(CanaryVersion { handler, generation, share });
    }

    fn next_generation(&mut self, handler: &Arc<dyn Handler>) -> u32 {
        let generation = self.generations;
        self.versions.insert(generation, PluginVersion::of(handler.manifest()));
        self.generations += 1;
        generation
    }

    /// Of the version that decides the next event of a key.
    pub(super) fn generation_of(&self, key: &Key) -> u32 {
        match &self.trial {
            Some(trial) if trial.share.has(&self.plugin, key) => trial.generation,
            _ => self.serving.generation,
        }
    }

    /// The version of a generation that serves, or has calls under way.
    pub(super) fn version(&self, generation: u32) -> PluginVersion {
        self.versions.get(&generation).cloned().expect("a version with calls under way is known")
    }

    /// What the records say of whom a key's next event goes to; without a key, of the
    /// version that does the routing.
    pub(super) fn version_for(&self, key: Option<&Key>) -> Arc<str> {
        let generation = key.map_or(self.serving.generation, |key| self.generation_of(key));
        self.version(generation).of_plugin
    }

    /// Takes back the calls that nobody has begun: behind a version that spins they
    /// would wait for ever.
    pub(super) fn recall(&mut self) {
        let jobs = self.context.shards.recall(&self.plugin, &self.results);
        self.calls -= jobs.len();
        for job in jobs {
            self.start_over(&job.key, job.position);
        }
    }

    /// Has an event decided anew by the version that serves now. No answer that another
    /// version asked for is given to it.
    pub(super) fn start_over(&mut self, key: &Key, position: Position) {
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return };
        delivery.attempt = 1;
        delivery.troubles = None;
        delivery.now = None;
        delivery.answers.clear();
        delivery.rounds = 0;
        self.lanes.put_back(key, position.0, Instant::now());
    }

    /// Whether an event waited for a version that subscribes to it no more.
    pub(super) fn is_outdated(&mut self, key: &Key, position: Position) -> bool {
        if self.serving.generation == 0 {
            return false;
        }
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return false };
        let event_type = &delivery.entry.event.event_type;
        event_type != reserved::INSTANCE_ENDED && !self.subscriptions.contains_key(event_type)
    }
}
