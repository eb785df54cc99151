//! Events that the host makes for one instance alone: they reach no later instance of the same key.
//! Also commands that could not be delivered: the decision about such an event resolves the
//! command's dead letter in the same commit, so that its sink continues with the key.

use crate::model::{
    DeadLetterId, DeadLetterStatus, Event, Instance, Key, LogEntry, Origin, Position, reserved,
};
use crate::seams::store::Closing;

use super::Dispatcher;

impl Dispatcher {
    /// The plugin has decided the event about a command that could not be delivered: its dead
    /// letter is resolved.
    pub(super) fn compensate(&mut self, entry: &LogEntry) {
        let Some(id) = refused_dead_letter(entry) else { return };
        // Otherwise an operator has already resolved the dead letter, and that decision holds.
        let Some(compensation) = self.context.refusals.compensate(id) else { return };
        self.output.rows().compensations.push(compensation);
        self.output.rows().dead_letters_closed.push(Closing {
            id,
            status: DeadLetterStatus::Compensated,
            by: self.plugin.to_string(),
            reason: format!("the plugin handled the refusal at {}", entry.position),
        });
    }

    /// Notes on the dead letter that the instance which sent the refused command no longer exists.
    pub(super) fn note_absence(&mut self, key: &Key, position: Position) {
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return };
        if let Some(id) = refused_dead_letter(&delivery.entry) {
            let note = "its instance was removed before it could be notified".to_owned();
            self.output.rows().dead_letters_noted.push((id, note));
        }
    }
}

/// The dead letter of the command that an event reports as undeliverable; none for an event of a
/// sender.
fn refused_dead_letter(entry: &LogEntry) -> Option<DeadLetterId> {
    let LogEntry { event, hops, .. } = entry;
    if event.event_type != reserved::COMMAND_UNDELIVERABLE || hops.origin() != Origin::Host {
        return None;
    }
    event.extension(reserved::EXTENSION_DEAD_LETTER)?.parse().ok().map(DeadLetterId)
}

/// Whether an event is for another instance of the same key.
pub(super) fn is_for_another(event: &Event, instance: &Instance) -> bool {
    let started = event.extension(reserved::EXTENSION_STARTED);
    started.is_some_and(|started| started.parse() != Ok(instance.started.0))
}
