//! What a handler is asked and what it returns.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Event, Key, MessageKind, TimerName, Timestamp};

/// What a handler decides for one event. Stateless roles fill `messages` only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The next state, in the manifest's `state_version`; none leaves the state as it is.
    pub state: Option<Bytes>,
    /// Commands and events, in the order in which they leave. The place in this list is part of
    /// each message's id.
    pub messages: Vec<Outgoing>,
    /// Applied in order.
    pub timers: Vec<TimerChange>,
    /// Applied in order.
    pub keys: Vec<KeyChange>,
    /// The process is complete: its timers are cancelled, and later events for it are ignored
    /// and counted.
    pub complete: bool,
}

/// A command or event as the handler returned it. The engine adds its id, source and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// A command leaves through the outbox. An event is appended to the log; it also leaves
    /// through the outbox if an enricher sent it or a route names its type.
    pub kind: MessageKind,
    /// The CloudEvents attribute `type`. The manifest must list it among its `commands` or
    /// `events`.
    pub event_type: String,
    /// The CloudEvents attribute `subject`; none if the handler gave none.
    pub subject: Option<String>,
    /// The media type of `data`.
    pub datacontenttype: String,
    /// Extension attributes, name and value. The engine adds `partitionkey` where the handler gave
    /// none. It sets `traceparent` and `tracestate` itself, whatever the handler gave.
    pub extensions: Vec<(String, String)>,
    /// The payload, byte for byte. Empty if there is none.
    pub data: Bytes,
}

/// One change of the instance's timers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimerChange {
    /// Sets a timer. It replaces the timer of the same name.
    Set {
        /// The timer's name.
        name: TimerName,
        /// When it fires.
        due: Due,
        /// The data of the event as which it fires: JSON, or empty for none.
        data: Bytes,
    },
    /// Cancels a timer. Cancelling a timer that is not set changes nothing.
    Cancel(TimerName),
}

/// When a timer fires: at this time, or later if the host is not running or is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Milliseconds after the `now` of the call.
    After(u64),
    /// At this date. A date in the past is due at once.
    At(Timestamp),
}

/// One change of the further keys that the instance has claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyChange {
    /// From now on, events with this key reach the instance too.
    Claim(Key),
    /// Events with this key no longer reach the instance. Its own correlation key cannot be
    /// released.
    Release(Key),
}

/// What a handler needs to know from outside. The engine gets the answer and calls the handler
/// again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Asks a lookup that an operator has configured and granted to the plugin.
    Lookup {
        /// The lookup's configured name. The manifest must list it among its `lookups`.
        name: String,
        /// What to look up; the lookup defines the form.
        key: String,
    },
    /// Asks for the events in the stream of this subject that came before the event being
    /// handled.
    Stream(String),
}

/// The answer to a question that the handler asked in an earlier call for the same event. It is
/// recorded with the decision, so that a replay asks nothing again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The question as the handler asked it.
    pub question: Question,
    /// What was found.
    pub value: AnswerValue,
}

/// What was found for a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerValue {
    /// The lookup has a value for the key.
    Found {
        /// The media type of `data`.
        content_type: String,
        /// The value, byte for byte.
        data: Bytes,
    },
    /// The lookup works, and has no value for the key.
    Missing,
    /// The events of a stream, in log order. Retention may have removed the oldest.
    Events(Vec<Arc<Event>>),
}

/// Why an event could not be handled, or a question could not be answered. The text is the
/// reason, for people; a dead letter keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// A retry cannot help: the event becomes a dead letter at once.
    #[error("{0}")]
    Permanent(String),
    /// A retry may help: the event is retried with a growing delay until its attempts are used
    /// up.
    #[error("{0}")]
    Transient(String),
}
