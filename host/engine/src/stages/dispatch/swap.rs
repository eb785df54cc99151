//! Lets another version of the plugin take over between two events of each key, or a canary take
//! over a share of the keys.
//!
//! The swap waits for no call. Each call carries the version that it is made on, so a call in
//! progress ends on the old version and is recorded as its decision, while the next event of every
//! key goes to the new one. A call of the old version that fails or asks has no effect, and its
//! event starts again on the new version. So each event is decided by one version, with all of its
//! input (guarantees 2 and 8).

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::changes::canary::Canary;
use crate::model::{Key, Position};
use crate::pure::monotonic::Instant;
use crate::seams::handler::Handler;

use super::Dispatcher;

/// The version that serves from now on, and the notification for the caller.
pub(crate) struct VersionChange {
    pub handler: Arc<dyn Handler>,
    pub canary: Option<Canary>,
    pub serving: oneshot::Sender<()>,
}

impl Dispatcher {
    pub(super) fn swap(&mut self, change: VersionChange) {
        let VersionChange { handler, canary, serving } = change;
        if self.calls.under_way() == 0 {
            self.versions.forget_earlier();
        }
        if !self.versions.serves(&handler) {
            self.replace(handler);
        }
        let had_canary = self.versions.has_canary();
        self.versions.set_canary(canary);
        self.recall();
        if had_canary {
            // A caller that ends a canary reads the dead letters of the canary then: all of them
            // are stored before the notification.
            self.output.rows().replies.push(serving);
        } else {
            // The caller may have hung up.
            let _ = serving.send(());
        }
    }

    fn replace(&mut self, handler: Arc<dyn Handler>) {
        self.versions.replace(handler);
        // This version may take the events that are read and not routed in another way.
        self.intake.begin_again(self.versions.types(), || self.context.log.head());
    }

    /// Takes back the calls that no thread has begun: behind a version that never returns they
    /// would wait for ever.
    pub(super) fn recall(&mut self) {
        let jobs = self.context.shards.recall(&self.plugin, self.calls.results());
        self.calls.end(jobs.len());
        for job in jobs {
            self.start_over(&job.key, job.position);
        }
    }

    /// Decides an event again with the version that serves now. It gets no answer to another
    /// version's question.
    pub(super) fn start_over(&mut self, key: &Key, position: Position) {
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return };
        delivery.attempt = 1;
        delivery.troubles = None;
        delivery.now = None;
        delivery.answers.clear();
        delivery.rounds = 0;
        delivery.log = None;
        self.lanes.put_back(key, position.0, Instant::now());
    }

    /// Whether an event waited for a version, while the version that serves now no longer
    /// subscribes to its type, or to its source.
    pub(super) fn is_outdated(&mut self, key: &Key, position: Position) -> bool {
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return false };
        self.versions.is_outdated(&delivery.entry.event)
    }
}
