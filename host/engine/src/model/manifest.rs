//! What a plugin says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::PluginName;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Saga,
    ProcessManager,
    Reactor,
    Enricher,
}

impl Role {
    /// Only process managers have instances; the other roles keep no state.
    #[must_use]
    pub fn has_instances(self) -> bool {
        self == Self::ProcessManager
    }

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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub name: PluginName,
    pub role: Role,
    /// Semantic version.
    pub version: Arc<str>,
    pub description: String,
    pub subscriptions: Vec<Subscription>,
    pub commands: BTreeSet<String>,
    pub events: BTreeSet<String>,
    pub lookups: BTreeSet<String>,
    pub streams: bool,
    pub state_version: u32,
}

impl Manifest {
    /// In whatever order they are written, they mean the same.
    #[must_use]
    pub fn subscriptions_by_type(&self) -> BTreeMap<&str, &Subscription> {
        self.subscriptions.iter().map(|s| (s.event_type.as_str(), s)).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    #[serde(rename = "type")]
    pub event_type: String,
    pub key: Correlation,
    pub effect: Effect,
    pub absent: Absent,
}

/// Where the correlation key of an event is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correlation {
    Subject,
    Attribute(String),
    /// RFC 6901, into JSON data. An array names every key in it.
    Pointer(String),
    /// A reserved event, made for one instance.
    Instance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    Start,
    StartOrHandle,
    Handle,
}

/// What becomes of a `handle` event when no instance has claimed its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    Ignore,
    Hold(Duration),
    Fail,
}
