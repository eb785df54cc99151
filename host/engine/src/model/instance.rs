//! A running process of a process manager.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Key, Position, Timestamp, TraceContext};

/// The part of an instance that every decision writes. Claims and timers are rows of their own:
/// a decision writes only those that it changes, however many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The correlation key that started it: its identity within the plugin.
    pub key: Key,
    /// Whether the process runs, completed, or was ended.
    pub status: InstanceStatus,
    /// The position of the event with which it began. It distinguishes the instance from an earlier one
    /// of the same key.
    pub started: Position,
    /// The current state; none if no decision of the instance returned one.
    pub state: Option<State>,
    /// The position of the event of the latest decision, from which the chain of decision
    /// records starts ([`super::DecisionRecord::previous`]).
    pub decided: Position,
    /// The highest position that it has decided. `decided` may be lower, because a held event is
    /// decided after the event that claimed its key.
    pub place: Position,
    /// The number of its decisions so far.
    pub version: u64,
    /// The wall-clock date of its first decision.
    pub started_at: Timestamp,
    /// The wall-clock date of its latest change.
    pub updated_at: Timestamp,
    /// The span of its latest decision of which a span was reported; none if there is none. The
    /// span of the next decision has a link to it if it is of another trace.
    pub trace: Option<Box<TraceContext>>,
}

/// Whether an instance still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceStatus {
    /// It has begun, and handles events.
    Running,
    /// Its own decision completed it. It handles no more events but that one of its commands
    /// could not be delivered, whose decision may make it run again.
    Completed,
    /// An operator ended it, without asking its plugin. It handles no more events.
    Ended,
}

impl InstanceStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Running, Self::Completed, Self::Ended];

    /// Whether it is [`Self::Running`].
    #[must_use]
    pub fn is_running(self) -> bool {
        self == Self::Running
    }

    /// The name in JSON, in the database and on pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Ended => "ended",
        }
    }
}

/// The state of an instance as a plugin returned it. The host keeps the bytes and never
/// interprets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The `state-version` of the manifest that wrote it.
    pub version: u32,
    /// The bytes of the state.
    pub data: Bytes,
}

/// A timer that an instance has set and that its handler has not decided yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// The date at which it fires, not before.
    pub due: Timestamp,
    /// The position of the event whose decision set it. It distinguishes the timer from one that it
    /// replaced.
    pub set_by: Position,
}
