//! An outgoing command or event.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Event, Hops, Key, MessageId, PluginName, Position, Sequence, SinkName};

/// A message in the outbox of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub sink: SinkName,
    /// Its place in the outbox of `sink`.
    pub sequence: Sequence,
    pub kind: MessageKind,
    /// Who sent it, from which instance or lane, and because of which event.
    pub plugin: PluginName,
    pub key: Key,
    pub cause: Position,
    /// Where the sending instance began ([`super::Instance::started`]); none for a lane.
    pub instance: Option<Position>,
    /// As it leaves. `event.id` is the message's id.
    pub event: Arc<Event>,
    /// Those of the events that the host makes of it are one more.
    pub hops: Hops,
}

impl Message {
    #[must_use]
    pub fn id(&self) -> MessageId {
        MessageId::new(self.event.id.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageKind {
    Command,
    Event,
}

/// Event types and extension attributes that only the host may use.
pub mod reserved {
    /// Every reserved event type begins so.
    pub const PREFIX: &str = "sagabox.";
    pub const TIMER_FIRED: &str = "sagabox.timer.fired";
    pub const COMMAND_UNDELIVERABLE: &str = "sagabox.command.undeliverable";
    pub const INSTANCE_CANCELLED: &str = "sagabox.instance.cancelled";
    /// An operator ends an instance. No handler gets it: the host itself does what it says.
    pub const INSTANCE_ENDED: &str = "sagabox.instance.ended";
    /// Extension attributes that begin so are the host's own.
    pub const EXTENSIONS: &str = "sagabox";
    /// Extension attributes of reserved events: for which instance they are.
    pub const EXTENSION_PLUGIN: &str = "sagaboxplugin";
    pub const EXTENSION_INSTANCE: &str = "sagaboxinstance";
    /// Extension attribute of a reserved event: the position of the event that its instance
    /// began with. An event for an instance that was removed is not for the next of its key.
    pub const EXTENSION_STARTED: &str = "sagaboxstarted";
    /// Extension attribute of an undeliverable command's event: the command's dead letter.
    pub const EXTENSION_LETTER: &str = "sagaboxletter";
    /// Extension attribute of a fired timer: the position whose decision set it.
    pub const EXTENSION_SET_BY: &str = "sagaboxsetby";
    /// Extension attribute of an event that an operator brought back to the log.
    pub const EXTENSION_REDRIVEN: &str = "sagaboxredriven";
}
