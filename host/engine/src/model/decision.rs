//! What a handler is asked and what it returns.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Event, Key, MessageKind, TimerName, Timestamp};

/// What should happen because of an event. Stateless roles fill `messages` only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The next state; none leaves it as it is.
    pub state: Option<Bytes>,
    /// Commands and events, in the order in which they leave.
    pub messages: Vec<Outgoing>,
    /// Applied in order.
    pub timers: Vec<TimerChange>,
    /// Applied in order.
    pub keys: Vec<KeyChange>,
    pub complete: bool,
}

/// A command or event before the engine gives it its id, source and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub kind: MessageKind,
    pub event_type: String,
    pub subject: Option<String>,
    pub datacontenttype: String,
    pub extensions: Vec<(String, String)>,
    pub data: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimerChange {
    Set { name: TimerName, due: Due, data: Bytes },
    Cancel(TimerName),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Due {
    /// Milliseconds after the `now` of the call.
    After(u64),
    At(Timestamp),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyChange {
    Claim(Key),
    Release(Key),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    Lookup {
        name: String,
        key: String,
    },
    /// The events of this subject before the one being handled.
    Stream(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub question: Question,
    pub value: AnswerValue,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerValue {
    Found { content_type: String, data: Bytes },
    Missing,
    Events(Vec<Arc<Event>>),
}

/// Why an event could not be handled, or a question not be answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// Trying again cannot help.
    #[error("{0}")]
    Permanent(String),
    /// Trying again may help.
    #[error("{0}")]
    Transient(String),
}
