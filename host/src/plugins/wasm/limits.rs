//! The limits of a call and of its reply: each limit is declared once, here, with what is measured.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use sagabox_engine::model::{Decision, KeyChange, Question, TimerChange};
use sagabox_engine::seams::handler::Reply;
use serde::Deserialize;

/// Passes the limits of a call to a macro, after the macro's other input: the key in the
/// configuration, the type of its value there, the field and its default, what of a call it bounds,
/// what happens when a call breaks it, and the test in `tests/tests/sandbox.rs`.
///
/// [`Limits`], the check of replies, the use of each limit that people see, the sections of the
/// configuration, and the rows of the table in CONFIGURATION.md follow from it. The defaults are generous against what real decisions need (kilobytes,
/// milliseconds), and small against a machine: a thousand keys that reach them at once do not
/// affect other keys.
macro_rules! call_limits {
    ($then:ident! { $($first:tt)* }) => {
        $then! {
            $($first)*
            call {
                /// Wall-clock time of a call.
                call_time_ms: $crate::plugins::wasm::Millis, call_time = Duration::from_secs(1), Measure::CallTime,
                    "dead letter", "an_endless_loop_is_stopped";
                /// Linear memory of an instance, in total.
                memory_bytes: NonZeroUsize, memory_bytes = 64 << 20, Measure::Memory,
                    "the allocation fails; a dead letter if the plugin does not survive that",
                    "a_memory_bomb_is_stopped";
                /// Elements of an instance's tables, in total.
                table_elements: usize, table_elements = 100_000, Measure::TableElements,
                    "the file is refused; a table that would grow further does not",
                    "a_file_that_cannot_be_a_plugin_is_refused";
                /// Bytes of a decision with everything in it.
                decision_bytes: NonZeroUsize, decision_bytes = 8 << 20,
                    Measure::Decision("bytes", decision_bytes),
                    "dead letter", "a_huge_decision_is_refused";
                /// Bytes of the next state.
                state_bytes: usize, state_bytes = 1 << 20,
                    Measure::Decision("bytes of state", state_bytes),
                    "dead letter", "a_huge_state_is_refused";
                /// Commands and events of a decision, together.
                messages: usize, messages = 1_000,
                    Measure::Decision("messages", |decision| decision.messages.len()),
                    "dead letter", "too_many_messages_are_refused";
                /// Timers that a decision sets and cancels.
                timers: usize, timers = 1_000,
                    Measure::Decision("timers", |decision| decision.timers.len()),
                    "dead letter", "too_many_timers_are_refused";
                /// Keys that a decision claims and releases.
                keys: usize, keys = 1_000,
                    Measure::Decision("keys", |decision| decision.keys.len()),
                    "dead letter", "too_many_keys_are_refused";
                /// Questions that a handler asks at once.
                questions: usize, questions = 100,
                    Measure::Questions("questions at once", <[Question]>::len),
                    "dead letter", "too_many_questions_are_refused";
                /// Log lines of a call; more are dropped.
                log_lines: usize, log_lines = 100, Measure::None,
                    "the rest is dropped, and counted in one line", "a_flood_of_log_lines_is_cut";
                /// Bytes that a call logs; more are dropped.
                log_bytes: usize, log_bytes = 64 << 10, Measure::None,
                    "the rest is dropped, and counted in one line", "a_flood_of_log_bytes_is_cut";
                /// An instance is replaced after this many calls, so that a leak in a plugin stays
                /// small.
                calls_per_instance: NonZeroU32, calls_per_instance = 10_000, Measure::None,
                    "a fresh instance takes its place", "an_instance_is_replaced_after_its_calls";
            }
        }
    };
}
pub(crate) use call_limits;

macro_rules! declare {
    (call {
        $($(#[$doc:meta])* $key:ident: $said:ty, $field:ident = $default:expr, $measure:expr,
            $effect:literal, $test:literal;)*
    }) => {
        /// The limits of one plugin. Each is enforced for every call; breaking one is a
        /// permanent failure whose reason names it, except for the log, which is cut.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[$doc])* pub $field: <$said as Said>::Limit,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl Limits {
            /// The limits by their keys in the configuration, as they are written there.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($key), <$said as Said>::number(self.$field)),)*]
            }
        }

        impl Limits {
            /// What of a reply each limit bounds, and how much of it is accepted.
            pub(super) fn measures(&self) -> [(&'static str, u64, Measure); MEASURES.len()] {
                [$((stringify!($key), <$said as Said>::number(self.$field), $measure),)*]
            }
        }

        /// What of a call each limit bounds, by the limit's key.
        pub(super) static MEASURES: [(&str, Measure); [$(stringify!($key)),*].len()] =
            [$((stringify!($key), $measure),)*];

        /// What happens when a call breaks each limit, and the test of that.
        #[cfg(test)]
        const EFFECTS: &[(&str, &str)] = &[$(($effect, $test),)*];
    };
}

/// What of a call a limit bounds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Measure {
    /// So much of the decision: what is counted, as a reason names it.
    Decision(&'static str, fn(&Decision) -> usize),
    /// So much of the questions.
    Questions(&'static str, fn(&[Question]) -> usize),
    /// The call's time in milliseconds, the memory and the table elements of its instance. The
    /// sandbox measures them.
    CallTime,
    Memory,
    TableElements,
    /// How much of it calls use is not measured.
    None,
}

/// How much of a limit a reply has.
pub(super) struct Measured {
    pub count: usize,
    /// The beginning of the reason for which the reply is refused.
    pub has: &'static str,
    pub what: &'static str,
}

impl Measure {
    /// None if the limit does not bound this kind of reply.
    pub(super) fn of(self, reply: &Reply) -> Option<Measured> {
        match (self, reply) {
            (Self::Decision(what, count), Reply::Decided(decision)) => {
                Some(Measured { count: count(decision), has: "the decision has", what })
            }
            (Self::Questions(what, count), Reply::Need(questions)) => {
                Some(Measured { count: count(questions), has: "the handler asks", what })
            }
            _ => None,
        }
    }

    pub(super) fn is_measured(self) -> bool {
        !matches!(self, Self::None)
    }
}

fn state_bytes(decision: &Decision) -> usize {
    decision.state.as_ref().map_or(0, bytes::Bytes::len)
}

/// The size of a decision, in the form in which it is kept.
fn decision_bytes(decision: &Decision) -> usize {
    let messages = decision.messages.iter().map(|message| {
        let extensions = message.extensions.iter().map(|(name, value)| name.len() + value.len());
        message.event_type.len()
            + message.subject.as_ref().map_or(0, String::len)
            + message.datacontenttype.len()
            + extensions.sum::<usize>()
            + message.data.len()
    });
    let timers = decision.timers.iter().map(|change| match change {
        TimerChange::Set { name, data, .. } => name.as_str().len() + data.len(),
        TimerChange::Cancel(name) => name.as_str().len(),
    });
    let keys = decision.keys.iter().map(|change| match change {
        KeyChange::Claim(key) | KeyChange::Release(key) => key.as_str().len(),
    });
    state_bytes(decision) + messages.chain(timers).chain(keys).sum::<usize>()
}

/// How a limit is written in a configuration, and the value that this stands for.
pub trait Said: Copy {
    type Limit: Copy;

    fn limit(self) -> Self::Limit;

    /// The number in its written form.
    fn number(limit: Self::Limit) -> u64;
}

/// A time that is written in milliseconds, and is not zero.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub struct Millis(NonZeroU64);

impl Said for Millis {
    type Limit = Duration;

    fn limit(self) -> Duration {
        Duration::from_millis(self.0.get())
    }

    fn number(limit: Duration) -> u64 {
        u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Said for usize {
    type Limit = usize;

    fn limit(self) -> usize {
        self
    }

    fn number(limit: usize) -> u64 {
        u64::try_from(limit).unwrap_or(u64::MAX)
    }
}

impl Said for NonZeroUsize {
    type Limit = usize;

    fn limit(self) -> usize {
        self.get()
    }

    fn number(limit: usize) -> u64 {
        usize::number(limit)
    }
}

impl Said for NonZeroU32 {
    type Limit = u32;

    fn limit(self) -> u32 {
        self.get()
    }

    fn number(limit: u32) -> u64 {
        limit.into()
    }
}

call_limits!(declare! {});

/// The most bytes of a component's file: twice the largest that any language's tools were seen to
/// make.
pub const COMPONENT_BYTES: usize = 64 << 20;
/// The stack of a call. It is the same for all plugins, because it is compiled into the engine.
pub const STACK_BYTES: usize = 512 << 10;
/// The threads that make calls have 2 MiB, of which the host's own frames need a part.
pub const STACK_BYTES_MAX: usize = 1 << 20;
/// The bytes that 32 bits can address.
pub const MEMORY_BYTES_MAX: usize = 4 << 30;

/// The most core instances of a component. The 30 linked libraries of Python are the most that was
/// seen in a real component.
pub(super) const CORE_INSTANCES: u32 = 100;
pub(super) const MEMORIES: u32 = 20;
pub(super) const TABLES: u32 = 20;

/// Room for a reply that exceeds a limit by a little: its failure then names the number that is
/// over its limit, not the bytes.
const ITEM_BYTES: usize = 512;

impl Limits {
    /// The higher value of both for everything that an instance can use. A plugin's limits are
    /// known only after it has described itself.
    pub(super) fn widest(&self, other: &Self) -> Self {
        Self {
            call_time: self.call_time.max(other.call_time),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            table_elements: self.table_elements.max(other.table_elements),
            decision_bytes: self.decision_bytes.max(other.decision_bytes),
            ..self.clone()
        }
    }

    /// The bytes that the host copies out of the guest in one call, before it can check what they
    /// are.
    pub(super) fn copied_bytes(&self) -> usize {
        let items = self.messages + self.timers + self.keys + self.questions;
        self.decision_bytes.saturating_add(items.saturating_mul(ITEM_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::figures::grouped;

    fn shown(key: &str, number: u64) -> String {
        match key.ends_with("_bytes") {
            true if number.is_multiple_of(1 << 20) => format!("{} MiB", number >> 20),
            true => format!("{} KiB", number >> 10),
            false => grouped(number),
        }
    }

    /// The page has further rows, about settings that are not in a plugin's section.
    #[test]
    fn the_page_of_settings_has_the_row_of_each_limit() {
        let page = include_str!("../../../../CONFIGURATION.md");
        let defaults = Limits::default().named();
        assert_eq!(defaults.len(), EFFECTS.len());
        for ((key, number), (effect, test)) in defaults.into_iter().zip(EFFECTS) {
            let row = format!("\n| `{key}` | {} | {effect} | `{test}` |\n", shown(key, number));
            assert!(page.contains(&row), "CONFIGURATION.md needs the row:{row}");
        }
    }
}
