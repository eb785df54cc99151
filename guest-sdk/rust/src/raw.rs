//! What crosses the border between host and guest, as plain types. Authors meet only
//! [`RawEvent`], [`RawMessage`], [`Undeliverable`](crate::Undeliverable) and [`Cancelled`](crate::Cancelled);
//! the macros and the tests use the rest.
#![allow(missing_docs, reason = "the WIT package documents what these mirror")]

use crate::{Error, Event, Result, Timestamp};

/// An event as it came: its attributes, and its data byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawEvent {
    pub id: String,
    pub source: String,
    pub event_type: String,
    pub subject: Option<String>,
    /// RFC 3339, as the sender wrote it.
    pub time: Option<String>,
    pub datacontenttype: String,
    pub dataschema: Option<String>,
    pub extensions: Vec<(String, String)>,
    pub data: Vec<u8>,
}

impl RawEvent {
    /// When it happened, by its sender; none if that is not known.
    #[must_use]
    pub fn event_time(&self) -> Option<Timestamp> {
        self.time.as_deref().and_then(|time| time.parse().ok())
    }

    /// The event as this type; none if it is of another type.
    ///
    /// # Errors
    /// Permanent, naming type and field, if the data does not fit.
    pub fn parse<E: Event>(&self) -> Result<Option<E>> {
        if self.event_type != E::TYPE {
            return Ok(None);
        }
        serde_json::from_slice(&self.data).map(Some).map_err(|error| {
            Error::permanent(format!("the data of `{}` does not fit: {error}", self.event_type))
        })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawContext {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub now: u64,
    pub attempt: u32,
    pub key: String,
    pub answers: Vec<(Question, AnswerValue)>,
    /// JSON.
    pub configuration: String,
    pub seed: u128,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    Lookup { name: String, key: String },
    Stream(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerValue {
    Found { content_type: String, data: Vec<u8> },
    Missing,
    Events(Vec<RawEvent>),
}

/// A command or an emitted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub message_type: String,
    pub message: RawMessage,
}

/// A command or an event as it leaves: of any content type, with extensions, and its data byte
/// for byte. `ctx.send_raw` and `ctx.emit_raw` take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    pub subject: Option<String>,
    pub datacontenttype: String,
    /// Names are lower-case letters and digits.
    pub extensions: Vec<(String, String)>,
    pub data: Vec<u8>,
}

impl RawMessage {
    /// Data of a media type, such as `text/plain`.
    pub fn new(datacontenttype: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self {
            subject: None,
            datacontenttype: datacontenttype.into(),
            extensions: Vec::new(),
            data: data.into(),
        }
    }

    /// The same with the CloudEvents subject.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// The same with another extension attribute.
    #[must_use]
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimerChange {
    /// Milliseconds from now.
    SetAfter {
        name: String,
        after: u64,
        data: Vec<u8>,
    },
    /// Milliseconds since 1970-01-01T00:00:00Z.
    SetAt {
        name: String,
        at: u64,
        data: Vec<u8>,
    },
    Cancel(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    Claim(String),
    Release(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub state: Option<Vec<u8>>,
    pub commands: Vec<Outgoing>,
    pub events: Vec<Outgoing>,
    pub timers: Vec<TimerChange>,
    pub keys: Vec<KeyChange>,
    pub complete: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Decided(Decision),
    Need(Vec<Question>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Permanent(String),
    Transient(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Correlation {
    Subject,
    Attribute(&'static str),
    Pointer(&'static str),
    Instance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Start,
    StartOrHandle,
    Handle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    Ignore,
    /// Milliseconds.
    Hold(u64),
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Any,
    Exactly(&'static str),
    Prefix(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub event_type: &'static str,
    pub source: Source,
    pub key: Correlation,
    pub effect: Effect,
    pub absent: Absent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub name: &'static str,
    pub version: &'static str,
    pub description: &'static str,
    pub subscriptions: Vec<Subscription>,
    pub commands: Vec<&'static str>,
    pub events: Vec<&'static str>,
    pub lookups: Vec<&'static str>,
    pub streams: bool,
    pub state_version: u32,
    /// Type and JSON Schema.
    pub schemas: Vec<(&'static str, String)>,
    pub configuration_schema: Option<String>,
    /// Name and JSON Pointer.
    pub fields: Vec<(String, String)>,
    pub summary: Option<String>,
}

/// A state and the version that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub version: u32,
    pub data: Vec<u8>,
}

/// Implemented by the role macros.
pub trait Plugin: Sized + 'static {
    fn manifest() -> Manifest;

    /// # Errors
    /// The handler's refusal.
    fn handle(
        event: RawEvent,
        state: Option<State>,
        context: RawContext,
    ) -> core::result::Result<Reply, Failure>;

    /// Converts a state to the version `to`; from its own to its own it says whether it can
    /// read the state.
    ///
    /// # Errors
    /// Why the state cannot be converted or read.
    fn migrate(state: State, to: u32) -> core::result::Result<Vec<u8>, String>;
}
