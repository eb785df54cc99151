//! What a plugin says of itself. The host reads it when it loads the plugin, and refuses a
//! manifest that breaks a rule of the plugin interface (`wit/`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Event, PluginName};

/// The part that a plugin plays. A plugin keeps its role in all versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Decides commands for one event at a time, without state.
    Saga,
    /// Decides commands, events, timers and the next state of an instance.
    ProcessManager,
    /// Decides commands and events, without state.
    Reactor,
    /// Turns internal events into external ones, without state.
    Enricher,
}

impl Role {
    /// Only process managers have instances; the other roles keep no state.
    #[must_use]
    pub fn has_instances(self) -> bool {
        self == Self::ProcessManager
    }

    /// The name in JSON, in the database and on pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Saga => "saga",
            Self::ProcessManager => "process-manager",
            Self::Reactor => "reactor",
            Self::Enricher => "enricher",
        }
    }
}

/// The manifest of one plugin. See `wit/` for the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Lower-case letters, digits and `-`. It never changes between versions, because it is part
    /// of every message id.
    pub name: PluginName,
    /// The role, which follows from the component's world.
    pub role: Role,
    /// The semantic version of the plugin.
    pub version: Arc<str>,
    /// One line for people.
    pub description: String,
    /// What the plugin handles: at most one subscription for each event type.
    pub subscriptions: Vec<Subscription>,
    /// The types of commands that it may send. A decision with another type is a failure.
    pub commands: BTreeSet<String>,
    /// The types of events that it may emit. A decision with another type is a failure.
    pub events: BTreeSet<String>,
    /// The names of the lookups that it may ask.
    pub lookups: BTreeSet<String>,
    /// Whether it may ask for streams of the log.
    pub streams: bool,
    /// The version of the state that it writes, counting from 1; 0 for roles without state.
    pub state_version: u32,
    /// What it may leave out.
    #[serde(default, flatten)]
    pub optional: OptionalPart,
}

/// What a manifest may leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionalPart {
    /// JSON Schemas of events and commands, by type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<String, Value>,
    /// The JSON Schema of the plugin's section in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration_schema: Option<Value>,
    /// By which instances can be listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// A template over the fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// A part of a process manager's state by which its instances can be listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Unique in the manifest.
    pub name: String,
    /// RFC 6901, into the state.
    pub pointer: String,
}

impl Manifest {
    /// The subscription by which the plugin takes an event: its type and its source decide.
    #[must_use]
    pub fn subscription_to(&self, event: &Event) -> Option<&Subscription> {
        self.subscriptions.iter().find(|subscription| subscription.takes(event))
    }

    /// The subscriptions by event type. Two manifests with equal maps subscribe to the same, in
    /// whatever order they list it.
    #[must_use]
    pub fn subscriptions_by_type(&self) -> BTreeMap<&str, &Subscription> {
        self.subscriptions.iter().map(|s| (s.event_type.as_str(), s)).collect()
    }
}

/// An event type that the plugin handles, and the rule that finds the correlation key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The event type, compared exactly.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Which senders' events it takes.
    #[serde(default, skip_serializing_if = "Source::is_any")]
    pub source: Source,
    /// Where the correlation key of such an event is found.
    pub key: Correlation,
    /// What the event may do to an instance. Roles without instances have [`Effect::Handle`].
    pub effect: Effect,
    /// What becomes of the event if its key has no instance. It counts for [`Effect::Handle`]
    /// only.
    pub absent: Absent,
}

impl Subscription {
    /// Whether the event is of its type, and of its source.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        self.event_type == event.event_type && self.source.admits(&event.source)
    }
}

/// Which senders an event is taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// All.
    #[default]
    Any,
    /// The source, compared exactly.
    Exactly(String),
    /// What the source begins with.
    Prefix(String),
}

impl Source {
    /// Whether it admits every source.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::Any
    }

    /// Whether events of this source are taken.
    #[must_use]
    pub fn admits(&self, source: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(own) => own == source,
            Self::Prefix(prefix) => source.starts_with(prefix.as_str()),
        }
    }
}

/// As people read it, after "from".
impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any source"),
            Self::Exactly(source) => write!(f, "`{source}`"),
            Self::Prefix(prefix) => write!(f, "`{prefix}*`"),
        }
    }
}

/// Where the correlation key of an event is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correlation {
    /// In the attribute `subject`.
    Subject,
    /// In the context attribute or extension of this name.
    Attribute(String),
    /// At this JSON Pointer (RFC 6901) in the JSON data. An array names every key in it.
    Pointer(String),
    /// In the extension attributes of a reserved event, which the host made for one instance.
    Instance,
}

/// What an event may do to an instance of a process manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It starts the instance of its key. An instance that exists ignores it.
    Start,
    /// It starts the instance of its key, or reaches it if it exists.
    StartOrHandle,
    /// It reaches every instance that has claimed its key.
    Handle,
}

/// What becomes of a `handle` event when no instance has claimed its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    /// It is ignored, and counted.
    Ignore,
    /// It is held for so long, and reaches each instance that claims its key in that time. If
    /// none does, it is ignored, and counted.
    Hold(Duration),
    /// It becomes a dead letter.
    Fail,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_source_is_taken_by_itself_and_by_all_that_it_begins_with(
            source in "[a-b/]{0,6}", other in "[a-b/]{0,6}"
        ) {
            prop_assert!(Source::Any.admits(&source));
            prop_assert_eq!(Source::Exactly(source.clone()).admits(&other), source == other);
            let begins = other.len() >= source.len() && other[..source.len()] == source;
            prop_assert_eq!(Source::Prefix(source).admits(&other), begins);
        }
    }
}
