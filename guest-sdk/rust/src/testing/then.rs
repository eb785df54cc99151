//! What an event led to, and what a test says of it.

use core::fmt::Debug;
use core::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Given;
use crate::message::{Message, Timer};
use crate::raw::{Decision, Failure, KeyChange, Outgoing, Plugin, TimerChange};
use crate::time::{Span, Timestamp, due_after};

/// When a timer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// After the event.
    After(Duration),
    /// At a moment.
    At(Timestamp),
}

impl From<Duration> for Due {
    fn from(time: Duration) -> Self {
        Self::After(time)
    }
}

impl From<Timestamp> for Due {
    fn from(at: Timestamp) -> Self {
        Self::At(at)
    }
}

impl Due {
    fn text(self) -> String {
        match self {
            Self::After(time) => {
                format!("after {}", Span::from(Duration::from_millis(due_after(time))))
            }
            Self::At(at) => {
                format!("at {}", at.due_millis().map_or(at, Timestamp::from_millis))
            }
        }
    }
}

/// What the event led to.
pub struct Then<P> {
    pub(super) given: Given<P>,
    pub(super) result: Result<Decision, Failure>,
}

impl<P: Plugin> Then<P> {
    /// Exactly these commands or events, in this order, and nothing else.
    ///
    /// # Panics
    /// If not, with both lists.
    #[track_caller]
    pub fn sends<M: Message>(self, expected: impl IntoIterator<Item = M>) -> Self {
        let expected: Vec<Value> =
            expected.into_iter().map(|message| json!({"type": M::TYPE, "data": message})).collect();
        self.check_messages(&expected)
    }

    /// Exactly these, of different types: `[message("Type", data), …]`.
    ///
    /// # Panics
    /// If not, with both lists.
    #[track_caller]
    pub fn sends_all(self, expected: impl IntoIterator<Item = Value>) -> Self {
        let expected: Vec<Value> = expected.into_iter().collect();
        self.check_messages(&expected)
    }

    /// Nothing is sent.
    ///
    /// # Panics
    /// If something is.
    #[track_caller]
    pub fn sends_nothing(self) -> Self {
        self.check_messages(&[])
    }

    #[track_caller]
    fn check_messages(self, expected: &[Value]) -> Self {
        let decision = self.decision();
        let sent = decision.commands.iter().chain(&decision.events).map(readable);
        let sent: Vec<Value> = sent.collect();
        let pretty =
            |messages: &[Value]| messages.iter().map(|m| format!("  {m}\n")).collect::<String>();
        assert!(
            sent == expected,
            "other messages than expected\nexpected:\n{}sent:\n{}",
            pretty(expected),
            pretty(&sent)
        );
        self
    }

    /// The handler fails for a reason that contains this text.
    ///
    /// # Panics
    /// If the handler did not fail, or with another reason.
    #[track_caller]
    pub fn fails(self, reason: &str) -> Self {
        match &self.result {
            Ok(decision) => panic!("expected the failure `{reason}`, but it decided: {decision:?}"),
            Err(Failure::Permanent(text) | Failure::Transient(text)) => {
                assert!(text.contains(reason), "expected the failure `{reason}`, not `{text}`");
            }
        }
        self
    }

    /// The process is complete.
    ///
    /// # Panics
    /// If the process is not complete now.
    #[track_caller]
    pub fn completes(self) -> Self {
        assert!(self.decision().complete, "the process is not complete");
        self
    }

    /// The process is not complete.
    ///
    /// # Panics
    /// If the process is complete now.
    #[track_caller]
    pub fn goes_on(self) -> Self {
        assert!(!self.decision().complete, "the process is complete");
        self
    }

    /// The instance claims these keys, and no others.
    ///
    /// # Panics
    /// If other keys are claimed by this event.
    #[track_caller]
    pub fn claims<'a>(self, expected: impl IntoIterator<Item = &'a str>) -> Self {
        let claimed = self.decision().keys.iter().filter_map(|change| match change {
            KeyChange::Claim(key) => Some(key.as_str()),
            KeyChange::Release(_) => None,
        });
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(claimed.collect::<Vec<_>>(), expected, "other keys are claimed");
        self
    }

    /// The instance releases these keys, and no others.
    ///
    /// # Panics
    /// If other keys are released by this event.
    #[track_caller]
    pub fn releases<'a>(self, expected: impl IntoIterator<Item = &'a str>) -> Self {
        let released = self.decision().keys.iter().filter_map(|change| match change {
            KeyChange::Release(key) => Some(key.as_str()),
            KeyChange::Claim(_) => None,
        });
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(released.collect::<Vec<_>>(), expected, "other keys are released");
        self
    }

    /// The event sets this timer, due then: `sets_timer(Deadline, hours(24))`.
    ///
    /// # Panics
    /// If it does not, with the timers that it sets.
    #[track_caller]
    pub fn sets_timer<T: Timer + PartialEq>(self, timer: T, due: impl Into<Due>) -> Self {
        let due = due.into();
        let data = serde_json::to_value(&timer).expect("a timer's data is JSON");
        let expected = format!("{} {} with {data}", T::NAME, due.text());
        let set = self.decision().timers.iter().filter_map(described);
        let set: Vec<String> = set.collect();
        assert!(
            set.contains(&expected),
            "another timer is set than expected\nexpected:\n  {expected}\nset:\n  {}",
            set.join("\n  ")
        );
        self
    }

    /// The event cancels this timer.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn cancels_timer<T: Timer>(self) -> Self {
        let cancelled = TimerChange::Cancel(T::NAME.to_owned());
        let timers = &self.decision().timers;
        assert!(
            timers.contains(&cancelled),
            "the timer `{}` is not cancelled: {timers:?}",
            T::NAME
        );
        self
    }

    /// No timer is set or cancelled.
    ///
    /// # Panics
    /// If one is.
    #[track_caller]
    pub fn sets_no_timer(self) -> Self {
        let timers = &self.decision().timers;
        assert!(timers.is_empty(), "timers are set or cancelled: {timers:?}");
        self
    }

    /// The state after the event is this.
    ///
    /// # Panics
    /// If it is another, with both.
    #[track_caller]
    pub fn state_is<S: DeserializeOwned + PartialEq + Debug>(self, expected: &S) -> Self {
        self.state(|state: &S| assert_eq!(state, expected, "another state than expected"))
    }

    /// Looks at the state after the event: `state(|order: &Order| assert!(order.paid))`.
    ///
    /// # Panics
    /// If there is no state, or it is of another type.
    #[track_caller]
    pub fn state<S: DeserializeOwned>(self, look: impl FnOnce(&S)) -> Self {
        self.decision();
        let state = self.given.state.as_ref().expect("the instance has a state");
        let state = serde_json::from_slice(&state.data);
        look(&state.unwrap_or_else(|error| panic!("the state is of another type: {error}")));
        self
    }

    /// On to the next event.
    ///
    /// # Panics
    /// If the handler failed.
    #[must_use]
    #[track_caller]
    pub fn done(self) -> Given<P> {
        self.decision();
        self.given
    }

    #[track_caller]
    fn decision(&self) -> &Decision {
        match &self.result {
            Ok(decision) => decision,
            Err(failure) => panic!("the handler failed: {failure:?}"),
        }
    }
}

fn described(change: &TimerChange) -> Option<String> {
    let (name, due, data) = match change {
        TimerChange::SetAfter { name, after, data } => {
            (name, Due::After(Duration::from_millis(*after)), data)
        }
        TimerChange::SetAt { name, at, data } => (name, Due::At(Timestamp::from_millis(*at)), data),
        TimerChange::Cancel(_) => return None,
    };
    let data: Value = serde_json::from_slice(data).unwrap_or_default();
    Some(format!("{name} {} with {data}", due.text()))
}

/// Data that is no JSON is shown as its text.
fn readable(sent: &Outgoing) -> Value {
    let data = &sent.message.data;
    let text = || String::from_utf8_lossy(data).into();
    let data: Value = match sent.message.datacontenttype.as_str() {
        "application/json" => serde_json::from_slice(data).unwrap_or_else(|_| text()),
        _ => text(),
    };
    json!({"type": sent.message_type, "data": data})
}
