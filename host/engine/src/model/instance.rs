//! A running process of a process manager.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Key, Position, Timestamp};

/// What each decision writes of an instance. Its claims and timers are rows of their own:
/// a decision writes those that it changes, however many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The correlation key that started it: its identity within the plugin.
    pub key: Key,
    pub status: InstanceStatus,
    /// The event that it began with: tells it from an earlier instance of the same key.
    pub started: Position,
    /// None only if the plugin never returned one.
    pub state: Option<State>,
    /// The event of the latest decision: where the history of decisions begins.
    pub decided: Position,
    /// The highest position that it has decided. The latest may be lower: a held event is
    /// decided after the one that claimed its key.
    pub place: Position,
    /// Decisions so far.
    pub version: u64,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceStatus {
    Running,
    Completed,
    /// Ended by an operator.
    Ended,
}

impl InstanceStatus {
    #[must_use]
    pub fn is_running(self) -> bool {
        self == Self::Running
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Ended => "ended",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The `state-version` of the manifest that wrote it.
    pub version: u32,
    pub data: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    pub due: Timestamp,
    /// The event whose decision set it: tells a timer from the one it replaced.
    pub set_by: Position,
}
