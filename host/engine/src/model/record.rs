//! What the store keeps besides instances and messages.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    AgeTime, Event, Hops, Key, MessageKind, PluginName, Position, Sequence, SinkName, TimerName,
    Timestamp,
};

/// An event in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub position: Position,
    pub received_at: Timestamp,
    pub event: Arc<Event>,
    pub hops: Hops,
}

/// One decision that took effect: its inputs and its output.
///
/// An instance's records form a chain: `Instance::decided` is the newest,
/// `previous` leads to the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    pub position: Position,
    pub plugin: PluginName,
    pub key: Key,
    pub previous: Option<Position>,
    pub decided_at: Timestamp,
    pub plugin_version: Arc<str>,
    pub attempt: u32,
    /// The state after the decision, if it wrote one.
    pub state: Option<super::State>,
    /// JSON, for people and for replay: `{"messages":[{"id","kind","type","sink"}],
    /// "timers":[…],"keys":[…],"complete":bool,"answers":[…]}`, without what is empty.
    pub summary: String,
}

/// An event that waits for an instance to claim `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub plugin: PluginName,
    pub key: Key,
    pub entry: LogEntry,
    pub until: Timestamp,
    /// Instances that it has reached already, by this or another of its keys.
    pub reached: Vec<Key>,
    /// Set when its time is up: instances that claimed a key in time, and have not decided yet.
    pub due: Option<Vec<Key>>,
}

/// An event that waits behind a dead letter of its instance or lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    pub plugin: PluginName,
    pub key: Key,
    pub entry: LogEntry,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerRef {
    pub plugin: PluginName,
    pub instance: Key,
    pub name: TimerName,
    pub due: Timestamp,
    pub set_by: Position,
}

/// Where a timer stands among all that are set: by its due time, then by its name, so
/// that no two stand at one place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerPlace {
    pub due: Timestamp,
    pub plugin: PluginName,
    pub instance: Key,
    pub name: TimerName,
}

impl TimerRef {
    #[must_use]
    pub fn place(&self) -> TimerPlace {
        let Self { plugin, instance, name, due, .. } = self.clone();
        TimerPlace { due, plugin, instance, name }
    }
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct DeadLetterId(pub u64);

/// An event that could not be handled, or a message that could not be delivered.
/// A key waits for the next attempt at its first event or message, for longer than a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The position of the event, or the sequence of the message. It is parked, or the dead
    /// letter that is being redriven.
    pub place: u64,
    /// The number of the next attempt.
    pub attempt: u32,
    pub since: Timestamp,
    pub until: Timestamp,
    /// Why the last attempt failed.
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub id: DeadLetterId,
    pub subject: DeadLetterSubject,
    /// The plugin that failed, or that sent the message.
    pub plugin: PluginName,
    /// The instance, or the lane of a stateless role; none if the event had no key. It is parked.
    pub key: Option<Key>,
    pub position: Position,
    pub reason: String,
    pub attempts: u32,
    pub plugin_version: Arc<str>,
    pub at: Timestamp,
    pub status: DeadLetterStatus,
    /// Set by whoever resolved it.
    pub resolved_by: Option<String>,
    pub resolved_reason: Option<String>,
    /// The event or message itself, as it was when it failed.
    pub event: Arc<Event>,
    pub hops: Hops,
    /// What an operator put in its place when it was redriven.
    pub edited: Option<Arc<Event>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterSubject {
    /// The event at the letter's position.
    Event,
    /// The message at this place of a sink's outbox.
    Message { sink: SinkName, sequence: Sequence, kind: MessageKind },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadLetterStatus {
    /// Its key is parked.
    Open,
    /// To be tried again, or being tried: its key still waits behind it.
    Redriving,
    Redriven,
    Skipped,
    Discarded,
    /// Its plugin has handled the event that told of the refused command.
    Compensated,
}

impl DeadLetterStatus {
    /// Whether nobody has settled it yet: it counts as dead, and its key is parked.
    #[must_use]
    pub fn is_unresolved(self) -> bool {
        matches!(self, Self::Open | Self::Redriving)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Redriving => "redriving",
            Self::Redriven => "redriven",
            Self::Skipped => "skipped",
            Self::Discarded => "discarded",
            Self::Compensated => "compensated",
        }
    }
}

/// How far the log had come at a time of the age clock, and what the wall clock said then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgeMark {
    pub at: AgeTime,
    pub position: Position,
    pub wall: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenDeadLetter {
    pub id: DeadLetterId,
    /// The position of the event, or the sequence of the message.
    pub place: u64,
    /// Its status is `Redriving`.
    pub redriving: bool,
}
