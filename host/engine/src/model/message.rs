//! An outgoing command or event.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Event, Hops, Key, MessageId, PluginName, Position, Sequence, SinkName};

/// A message in the outbox of a sink. The committer creates it from an [`super::Outgoing`] and
/// gives it its sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sink through which it leaves: a configured one, or the queue of its type.
    pub sink: SinkName,
    /// Its place in the outbox of `sink`.
    pub sequence: Sequence,
    /// Whether it is a command or an event. Only a command that fails is reported to its
    /// instance.
    pub kind: MessageKind,
    /// The plugin that sent it.
    pub plugin: PluginName,
    /// The key of the instance, or the lane of a stateless role, that sent it. Messages of one
    /// plugin and key leave in order.
    pub key: Key,
    /// The position of the event whose decision sent it.
    pub cause: Position,
    /// The position at which the sending instance began ([`super::Instance::started`]); none for
    /// a stateless role. It distinguishes the instance from a later one of the same key.
    pub instance: Option<Position>,
    /// The event as it leaves. Its id is the message's id.
    pub event: Arc<Event>,
    /// The hops of the message. An event that the host makes of it has more (see
    /// [`Hops::after`]).
    pub hops: Hops,
}

impl Message {
    /// The message's id: the id of its event.
    #[must_use]
    pub fn id(&self) -> MessageId {
        MessageId::new(self.event.id.as_str())
    }
}

/// What a message asks of its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageKind {
    /// A request to one handler. Without a route, it goes to the queue of its type.
    Command,
    /// A fact.
    Event,
}

/// Event types and extension attributes that only the host may use.
pub mod reserved {
    /// Every reserved event type begins with this.
    pub const PREFIX: &str = "sagabox.";
    /// Every event type of an alert begins with this. Routes deliver alerts to sinks.
    pub const ALERT: &str = "sagabox.alert.";
    /// A timer of an instance is due. The subject is the timer's name, the data is what was
    /// given when it was set.
    pub const TIMER_FIRED: &str = "sagabox.timer.fired";
    /// A command of an instance became a dead letter. The data is a JSON object with `id`,
    /// `type`, `reason`, `attempts` and `command`.
    pub const COMMAND_UNDELIVERABLE: &str = "sagabox.command.undeliverable";
    /// An operator asks an instance to come to an end. The data is a JSON object with `by` and
    /// `reason`.
    pub const INSTANCE_CANCELLED: &str = "sagabox.instance.cancelled";
    /// An operator ends an instance. No handler gets this event: the dispatcher ends the
    /// instance.
    pub const INSTANCE_ENDED: &str = "sagabox.instance.ended";
    /// An operator brings an instance from another host. No handler gets this event: the dispatcher
    /// makes the instance. The data is the JSON of an [`super::Import`].
    pub const INSTANCE_IMPORTED: &str = "sagabox.instance.imported";
    /// Extension attributes that begin with this belong to the host; senders and handlers cannot
    /// set them.
    pub const EXTENSIONS: &str = "sagabox";
    /// Extension attribute of an event that the host made for one plugin: the plugin's name.
    pub const EXTENSION_PLUGIN: &str = "sagaboxplugin";
    /// Extension attribute of a reserved event: the key of the instance that it is for.
    pub const EXTENSION_INSTANCE: &str = "sagaboxinstance";
    /// Extension attribute of a reserved event: the position of the event with which its
    /// instance began. If that instance was removed and another of the same key began, the event
    /// is not for the other.
    pub const EXTENSION_STARTED: &str = "sagaboxstarted";
    /// Extension attribute of an undeliverable command's event: the command's dead letter.
    pub const EXTENSION_DEAD_LETTER: &str = "sagaboxletter";
    /// Extension attribute of a fired timer: the position whose decision set it.
    pub const EXTENSION_SET_BY: &str = "sagaboxsetby";
    /// Extension attribute of an event that an operator brought back to the log.
    pub const EXTENSION_REDRIVEN: &str = "sagaboxredriven";
}
