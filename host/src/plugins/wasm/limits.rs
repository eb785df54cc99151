//! What a call may use, and what a reply may hold.

use std::time::Duration;

/// The limits of one plugin. Each is enforced for every call; breaking one is a
/// permanent failure whose reason names it, except for the log, which is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Wall-clock time of a call.
    pub call_time: Duration,
    /// Linear memory of an instance, in total.
    pub memory_bytes: usize,
    /// Elements of an instance's tables, in total.
    pub table_elements: usize,
    /// Bytes of a decision with everything in it.
    pub decision_bytes: usize,
    /// Bytes of the next state.
    pub state_bytes: usize,
    /// Commands and events of a decision, together.
    pub messages: usize,
    /// Timers that a decision sets and cancels.
    pub timers: usize,
    /// Keys that a decision claims and releases.
    pub keys: usize,
    /// Questions that a handler asks at once.
    pub questions: usize,
    /// Log lines of a call; more are dropped.
    pub log_lines: usize,
    /// Bytes that a call logs; more are dropped.
    pub log_bytes: usize,
    /// An instance is replaced after so many calls, so that a leak in a plugin stays small.
    pub calls_per_instance: u32,
}

/// Of a component's file: twice the largest that any language's tools were seen to make.
pub const COMPONENT_BYTES: usize = 64 << 20;
/// Stack of a call. One for all plugins: it is compiled into the engine.
pub const STACK_BYTES: usize = 512 << 10;
/// The threads that make calls have 2 MiB, which the host's own frames share.
pub const STACK_BYTES_MAX: usize = 1 << 20;
/// What 32 bits can address.
pub const MEMORY_BYTES_MAX: usize = 4 << 30;

/// Parts of which an instance may be made. Python's 30 linked libraries are the
/// most that was seen in a real component.
pub(super) const CORE_INSTANCES: u32 = 100;
pub(super) const MEMORIES: u32 = 20;
pub(super) const TABLES: u32 = 20;

/// Room on the way out of the guest for what is too much by a little: its
/// failure then names the number that is over its limit, not the bytes.
const ITEM_BYTES: usize = 512;

impl Default for Limits {
    /// Generous against what real decisions need (kilobytes, milliseconds), small
    /// against a machine: a thousand keys that reach them at once hurt nobody else.
    fn default() -> Self {
        Self {
            call_time: Duration::from_secs(1),
            memory_bytes: 64 << 20,
            table_elements: 100_000,
            decision_bytes: 8 << 20,
            state_bytes: 1 << 20,
            messages: 1_000,
            timers: 1_000,
            keys: 1_000,
            questions: 100,
            log_lines: 100,
            log_bytes: 64 << 10,
            calls_per_instance: 10_000,
        }
    }
}

impl Limits {
    /// The wider of both in everything that an instance can use. A plugin's name,
    /// and so its limits, are known only once it could describe itself.
    pub(super) fn widest(&self, other: &Self) -> Self {
        Self {
            call_time: self.call_time.max(other.call_time),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            table_elements: self.table_elements.max(other.table_elements),
            decision_bytes: self.decision_bytes.max(other.decision_bytes),
            ..self.clone()
        }
    }

    /// How many bytes the host copies out of the guest in one call, before it can
    /// look at what they are.
    pub(super) fn copied_bytes(&self) -> usize {
        let items = self.messages + self.timers + self.keys + self.questions;
        self.decision_bytes.saturating_add(items.saturating_mul(ITEM_BYTES))
    }
}
