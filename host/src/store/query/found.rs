//! What a text names: answers to "which thing has this id", and where one event went.

use sagabox_engine::model::{DeadLetterStatus, InstanceStatus, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::shapes::{CloudEvent, DeadLetterStatusName, InstanceStatusName};
use crate::io::times::{Time, rfc3339, rfc3339_option};

/// Whether a caller sees what was found.
pub type Sees<'s> = dyn Fn(&Found) -> bool + Send + Sync + 's;

/// Something that has the text as its key or id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Found {
    /// An instance with this key.
    Instance {
        plugin: String,
        key: String,
        #[schema(value_type = InstanceStatusName)]
        status: InstanceStatus,
    },
    /// An instance that claims this key.
    Claim { plugin: String, key: String, instance: String },
    /// A key without an instance of its own for which events wait or are dead.
    Key { plugin: String, key: String },
    /// An event of the log with this id, or at this position.
    Event {
        position: u64,
        id: String,
        #[serde(rename = "type")]
        event_type: String,
        source: String,
        #[serde(serialize_with = "rfc3339")]
        #[schema(value_type = Time)]
        received_at: Timestamp,
    },
    /// A message with this id.
    Message {
        id: String,
        #[serde(rename = "type")]
        message_type: String,
        sink: String,
        sequence: u64,
        /// The plugin and the key that sent it.
        plugin: String,
        key: String,
        /// The position of the event whose decision sent it.
        cause: u64,
    },
    /// The dead letter of this number.
    DeadLetter {
        id: u64,
        plugin: String,
        key: Option<String>,
        #[schema(value_type = DeadLetterStatusName)]
        status: DeadLetterStatus,
    },
}

impl Found {
    /// The plugin that it belongs to; none for an event, which several plugins may take.
    #[must_use]
    pub fn plugin(&self) -> Option<&str> {
        match self {
            Self::Instance { plugin, .. }
            | Self::Claim { plugin, .. }
            | Self::Key { plugin, .. }
            | Self::Message { plugin, .. }
            | Self::DeadLetter { plugin, .. } => Some(plugin),
            Self::Event { .. } => None,
        }
    }
}

/// An event of the log, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventTrace {
    pub position: u64,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub received_at: Timestamp,
    /// As it was received or made, byte by byte.
    #[schema(value_type = CloudEvent)]
    pub event: Box<RawValue>,
    /// Whether the data of the event is left out, because the caller may not see payloads.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub payloads_hidden: bool,
    /// Who has decided it.
    pub decided: Vec<TracedKey>,
    /// Keys for which it is held, until an instance claims them.
    pub held: Vec<TracedKey>,
    /// Keys at which it waits behind a dead letter.
    pub parked: Vec<TracedKey>,
    /// Its dead letters.
    pub dead_letters: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TracedKey {
    pub plugin: String,
    pub key: String,
    /// When it was decided, or until when it is held; none if it is parked.
    #[serde(serialize_with = "rfc3339_option")]
    #[schema(value_type = Option<Time>)]
    pub at: Option<Timestamp>,
}
