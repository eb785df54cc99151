//! What a store knows of why an instance, or a key, does not go on.

use sagabox_engine::model::{InstanceStatus, Timestamp};

/// All that waits at one key of a plugin. Each list is bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// None if the key has no instance.
    pub status: Option<InstanceStatus>,
    /// Unresolved dead letters of its events and messages, the oldest first.
    pub dead_letters: Vec<WaitingDeadLetter>,
    /// Events that wait behind a dead letter or a retry.
    pub parked: u64,
    /// The pause before the next attempt at its first event.
    pub retry: Option<Retry>,
    /// Events that are held for the key, as long as no instance claims it.
    pub held: Vec<HeldEvent>,
    /// Its timers, the next first.
    pub timers: Vec<WaitingTimer>,
    /// Its messages that are not settled, the oldest first, as far as the host looked.
    pub messages: Vec<WaitingMessage>,
    /// Events of the log that the plugin has not settled.
    pub behind: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingDeadLetter {
    pub id: u64,
    /// None for an event.
    pub sink: Option<String>,
    pub position: u64,
    pub event_type: Option<String>,
    pub reason: String,
    pub at: Timestamp,
    /// Whether it is on its way again.
    pub is_redriving: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The position of the event, or the sequence of the message.
    pub place: u64,
    /// The number of the next attempt.
    pub attempt: u32,
    pub since: Timestamp,
    pub until: Timestamp,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldEvent {
    pub position: u64,
    pub until: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingTimer {
    pub name: String,
    pub due: Timestamp,
    /// Whether its event is in the log already.
    pub has_fired: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingMessage {
    pub sink: String,
    pub sequence: u64,
    pub id: String,
    pub message_type: String,
    /// Whether it waits behind a dead letter.
    pub is_parked: bool,
    pub retry: Option<Retry>,
}
