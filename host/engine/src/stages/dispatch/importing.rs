//! The import of an instance from another host. When the turn of its event comes, the dispatcher
//! makes the instance without its handler: by the decision that gives it the state, the keys and
//! the timers that it had. So an import is in log order like everything else of its key, held
//! events find the claimed keys, and a restart finds the instance in the store.
//!
//! If the key has an instance when the turn comes, the import has no effect: its event becomes a
//! dead letter, behind which nothing waits.

use std::sync::Arc;

use crate::model::{
    Absent, Correlation, Effect, Event, Import, ImportedBy, Key, Position, Source, Subscription,
    Timestamp, reserved,
};

use super::Dispatcher;
use super::versions::PluginVersion;

impl Dispatcher {
    pub(super) fn imports(&mut self, key: &Key, position: Position) -> bool {
        let delivery = self.lanes.get_mut(key, position.0);
        delivery.is_some_and(|delivery| is_import(&delivery.entry.event))
    }

    pub(super) fn import(&mut self, key: &Key, position: Position) {
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return };
        let Some(Import { instance, .. }) = Import::of(&delivery.entry.event) else {
            return self.park_behind_dead_letter(key, position, "its data is no instance", 1);
        };
        let generation = self.versions.generation_of(key);
        let version = self.versions.version(generation);
        // The state is the other host's, and so is its version.
        let of_state = instance.state.as_ref().map_or(version.of_state, |state| state.version);
        let made_by = PluginVersion { of_state, ..version.clone() };
        let decision = instance.decision();
        if let Some((decision, state)) = self.look_back(key, position, decision, None, &made_by) {
            self.decide(key, position, decision, state, &made_by);
        }
    }
}

pub(super) fn is_import(event: &Event) -> bool {
    event.event_type == reserved::INSTANCE_IMPORTED
}

/// Who imported the instance; none for any other event.
pub(super) fn imported_by(event: &Event) -> Option<ImportedBy> {
    Import::of(event).map(Import::noted)
}

/// When the instance began on the other host; none for any other event.
pub(super) fn started_at(event: &Event) -> Option<Timestamp> {
    Import::of(event).map(|import| import.instance.started_at)
}

/// What every process manager does with the event.
pub(super) fn subscription() -> Arc<Subscription> {
    Arc::new(Subscription {
        event_type: reserved::INSTANCE_IMPORTED.to_owned(),
        source: Source::Any,
        key: Correlation::Instance,
        effect: Effect::Start,
        absent: Absent::Fail,
    })
}
