//! Which sinks are down, since when, and when each is tried next. The relays write it, and
//! `Engine::status` reads it. It is empty at the start of each epoch.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::lock;
use crate::model::{SinkName, Timestamp};

/// A sink that is down: its messages wait, and it gets single deliveries as probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkDown {
    /// The sink's name.
    pub sink: SinkName,
    /// The wall-clock date since which it has not answered.
    pub since: Timestamp,
    /// The wall-clock date before which it is not tried again.
    pub next_attempt_at: Timestamp,
    /// Why the last delivery failed.
    pub reason: String,
}

#[derive(Default)]
pub(crate) struct SinkStates(Mutex<BTreeMap<SinkName, SinkDown>>);

impl SinkStates {
    pub(crate) fn opened(
        &self,
        sink: &SinkName,
        since: Timestamp,
        next_attempt_at: Timestamp,
        reason: &str,
    ) {
        let down =
            SinkDown { sink: sink.clone(), since, next_attempt_at, reason: reason.to_owned() };
        self.lock().insert(sink.clone(), down);
    }

    pub(crate) fn closed(&self, sink: &SinkName) {
        self.lock().remove(sink);
    }

    pub(crate) fn down(&self) -> Vec<SinkDown> {
        self.lock().values().cloned().collect()
    }

    /// A new epoch begins.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SinkName, SinkDown>> {
        lock(&self.0)
    }
}
