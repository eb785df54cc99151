//! What the store keeps besides instances and messages: the log, decisions, dead letters, and
//! all that waits.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    AgeTime, BatchId, DecisionSummary, Event, Hops, Key, MessageKind, PluginName, Position,
    Sequence, SinkName, TimerName, Timestamp,
};

/// An event in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The event's place in the log.
    pub position: Position,
    /// The wall-clock date at which the host received it.
    pub received_at: Timestamp,
    /// The event as it was accepted.
    pub event: Arc<Event>,
    /// How far it is from an event of a sender; zero for a sender's event.
    pub hops: Hops,
}

/// One decision that took effect: its inputs and its output.
///
/// An instance's records form a chain: `Instance::decided` is the newest,
/// `previous` leads to the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// The position of the event that was decided.
    pub position: Position,
    /// The plugin that decided.
    pub plugin: PluginName,
    /// The key of the instance, or the lane of a stateless role.
    pub key: Key,
    /// The position of the same instance's or lane's decision before this one; none for the
    /// first.
    pub previous: Option<Position>,
    /// The wall-clock date of the decision.
    pub decided_at: Timestamp,
    /// The version in the manifest of the plugin that decided.
    pub plugin_version: Arc<str>,
    /// The number of the attempt that succeeded, counting from 1.
    pub attempt: u32,
    /// The state after the decision, if it wrote one.
    pub state: Option<super::State>,
    /// The JSON of a [`DecisionSummary`], for people and for replay.
    pub summary: String,
}

impl DecisionRecord {
    /// The first decision under the key of a plugin, at its first attempt, that wrote no state.
    /// Callers set what differs, so that a further member has its default here alone.
    #[must_use]
    pub fn new(
        (plugin, key): (PluginName, Key),
        position: Position,
        decided_at: Timestamp,
        plugin_version: Arc<str>,
        summary: &DecisionSummary,
    ) -> Self {
        Self {
            position,
            plugin,
            key,
            previous: None,
            decided_at,
            plugin_version,
            attempt: 1,
            state: None,
            summary: summary.to_json(),
        }
    }
}

/// An event that waits for an instance to claim `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The plugin that holds it.
    pub plugin: PluginName,
    /// The key that no instance has claimed. An event with several keys has a row for each.
    pub key: Key,
    /// The event.
    pub entry: LogEntry,
    /// The wall-clock date at which the hold ends, if no instance claims the key before.
    pub until: Timestamp,
    /// The instances that it has already reached, by this or another of its keys.
    pub reached: Vec<Key>,
    /// Set when `until` has passed: the instances that claimed the key in time and have not
    /// decided the event yet.
    pub due: Option<Vec<Key>>,
}

/// An event that waits behind a dead letter of its instance or lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The plugin for which it waits.
    pub plugin: PluginName,
    /// The key of the instance or lane that it waits for.
    pub key: Key,
    /// The event.
    pub entry: LogEntry,
}

/// One setting of a timer. Setting the same name again makes another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerRef {
    /// The plugin of the instance.
    pub plugin: PluginName,
    /// The key of the instance that set it.
    pub instance: Key,
    /// The timer's name within the instance.
    pub name: TimerName,
    /// The date at which it fires, not before.
    pub due: Timestamp,
    /// The position of the event whose decision set it.
    pub set_by: Position,
}

/// The place of a timer among all timers: in the order of the fields, so that no two timers have
/// one place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerPlace {
    /// The date at which the timer fires.
    pub due: Timestamp,
    /// The plugin of the instance.
    pub plugin: PluginName,
    /// The key of the instance.
    pub instance: Key,
    /// The timer's name within the instance.
    pub name: TimerName,
}

impl TimerRef {
    /// The timer's place among all timers.
    #[must_use]
    pub fn place(&self) -> TimerPlace {
        let Self { plugin, instance, name, due, .. } = self.clone();
        TimerPlace { due, plugin, instance, name }
    }
}

/// The number of a dead letter. It grows with each dead letter of the store, and is never given
/// again.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct DeadLetterId(pub u64);

/// A key's pause before the next attempt at its first event or message, if it is longer than
/// about a second. It is a row of the store, so that it survives a restart; meanwhile the key
/// takes no memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The position of the event, or the sequence of the message, that is attempted next. It is
    /// parked, or it is the dead letter that is being redriven.
    pub place: u64,
    /// The number of the next attempt.
    pub attempt: u32,
    /// The wall-clock date at which the last attempt failed.
    pub since: Timestamp,
    /// The wall-clock date of the next attempt.
    pub until: Timestamp,
    /// Why the last attempt failed.
    pub reason: String,
}

/// An event that could not be handled, or a message that could not be delivered. Its key is
/// parked until it is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number.
    pub id: DeadLetterId,
    /// Whether it is an event or a message.
    pub subject: DeadLetterSubject,
    /// The plugin that failed, or that sent the message.
    pub plugin: PluginName,
    /// The key that failed: of the instance, the lane of a stateless role, or the ordering key
    /// of the message. It is parked. None if the event had no key; then nothing waits behind it.
    pub key: Option<Key>,
    /// The position of the event, or of the event whose decision sent the message.
    pub position: Position,
    /// Why the last attempt failed, for people.
    pub reason: String,
    /// What the plugin logged in the last call that failed, as `Handler::handle_with_log` describes
    /// it; none if it logged nothing, and for a message.
    pub log: Option<Arc<str>>,
    /// How many attempts failed, those of redrives included.
    pub attempts: u32,
    /// The version of the plugin that failed; empty for a message.
    pub plugin_version: Arc<str>,
    /// The wall-clock date of the last failure.
    pub at: Timestamp,
    /// Whether it is resolved, and how.
    pub status: DeadLetterStatus,
    /// The person or program that resolved it, as the request names them; none while it is
    /// unresolved.
    pub resolved_by: Option<String>,
    /// Why it was resolved, in that person's words; none while it is unresolved.
    pub resolved_reason: Option<String>,
    /// The event or message as it was when it failed.
    pub event: Arc<Event>,
    /// The hops of the event or message. A redrive keeps them.
    pub hops: Hops,
    /// The event that an operator put in its place for the redrive; none if it is redriven as it
    /// was.
    pub edited: Option<Arc<Event>>,
    /// The batch that has resolved it last; none if a single action has, or none has.
    pub batch: Option<BatchId>,
}

/// What a dead letter is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterSubject {
    /// The event at the dead letter's position.
    Event,
    /// A message.
    Message {
        /// The sink that it could not be delivered to.
        sink: SinkName,
        /// Its place in the outbox of that sink.
        sequence: Sequence,
        /// Whether it is a command or an event.
        kind: MessageKind,
    },
}

/// Where a dead letter stands between its failure and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadLetterStatus {
    /// Its key is parked.
    Open,
    /// An operator has asked for a redrive, which has not ended. Its key still waits behind it.
    Redriving,
    /// The redrive succeeded.
    Redriven,
    /// An operator decided to continue without it; what waited behind it was processed.
    Skipped,
    /// An operator dropped it, and everything that waited behind it.
    Discarded,
    /// Its plugin has handled `sagabox.command.undeliverable` for the command, so nothing is
    /// left to do.
    Compensated,
}

impl DeadLetterStatus {
    /// Whether it is not resolved yet. It counts as dead in the sums, and its key is parked.
    #[must_use]
    pub fn is_unresolved(self) -> bool {
        matches!(self, Self::Open | Self::Redriving)
    }

    /// The name in JSON, in the database and on pages.
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

/// The end of the log at a time of the age clock. Retention finds by marks which positions are
/// old enough to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgeMark {
    /// The time of the age clock.
    pub at: AgeTime,
    /// The last position of the log at that time.
    pub position: Position,
    /// The date of the wall clock at that time.
    pub wall: Timestamp,
}

/// An unresolved dead letter, as far as recovery needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenDeadLetter {
    /// Its number.
    pub id: DeadLetterId,
    /// The position of the event, or the sequence of the message.
    pub place: u64,
    /// Whether its status is [`DeadLetterStatus::Redriving`].
    pub redriving: bool,
}
