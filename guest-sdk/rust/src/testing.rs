//! Given, when, then: handlers tested natively, without wasm and without a host.

use core::marker::PhantomData;

use serde::Serialize;
use serde_json::{Value, json};

use crate::context::{Event, Message};
use crate::raw::{
    AnswerValue, Decision, Failure, KeyChange, Outgoing, Plugin, Question, RawContext, RawEvent,
    Reply, State, TimerChange,
};

/// A handler that asks this often in one call asks for ever.
const ROUNDS_MAX: usize = 16;

/// The beginning of a test.
#[must_use]
pub fn given<P: Plugin>() -> Given<P> {
    Given {
        state: None,
        answers: Vec::new(),
        configuration: "{}".to_owned(),
        now: 1_800_000_000_000,
        key: "key".to_owned(),
        complete: false,
        plugin: PhantomData,
    }
}

/// What is so before the next event.
pub struct Given<P> {
    state: Option<State>,
    answers: Vec<(Question, AnswerValue)>,
    configuration: String,
    now: u64,
    key: String,
    complete: bool,
    plugin: PhantomData<P>,
}

impl<P: Plugin> Given<P> {
    /// What a lookup knows.
    #[must_use]
    pub fn answer(mut self, name: &str, key: &str, value: impl Serialize) -> Self {
        let data = serde_json::to_vec(&value).expect("the answer is JSON");
        let question = Question::Lookup { name: name.to_owned(), key: key.to_owned() };
        let found = AnswerValue::Found { content_type: "application/json".to_owned(), data };
        self.answers.push((question, found));
        self
    }

    /// That a lookup knows nothing of a key.
    #[must_use]
    pub fn missing(mut self, name: &str, key: &str) -> Self {
        let question = Question::Lookup { name: name.to_owned(), key: key.to_owned() };
        self.answers.push((question, AnswerValue::Missing));
        self
    }

    /// An event of the stream of a subject.
    #[must_use]
    pub fn in_stream<E: Event>(mut self, subject: &str, event: E) -> Self {
        let question = Question::Stream(subject.to_owned());
        let event = raw(&event);
        let known = self.answers.iter_mut().find(|(asked, _)| *asked == question);
        match known {
            Some((_, AnswerValue::Events(events))) => events.push(event),
            _ => self.answers.push((question, AnswerValue::Events(vec![event]))),
        }
        self
    }

    #[must_use]
    pub fn configuration(mut self, configuration: &Value) -> Self {
        self.configuration = configuration.to_string();
        self
    }

    /// The correlation key of the events to come.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = key.to_owned();
        self
    }

    /// An event that was handled before; what it sent is not looked at.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    #[track_caller]
    pub fn event<E: Event>(self, event: E) -> Self {
        self.when(event).done()
    }

    #[must_use]
    pub fn when<E: Event>(self, event: E) -> Then<P> {
        self.when_raw(raw(&event))
    }

    /// The timer of that name fires.
    #[must_use]
    pub fn when_timer(self, name: &str) -> Then<P> {
        let event_type = "sagabox.timer.fired".to_owned();
        let subject = Some(name.to_owned());
        self.when_raw(RawEvent { event_type, subject, ..RawEvent::default() })
    }

    /// An operator asks for cancellation.
    #[must_use]
    pub fn when_cancelled(self) -> Then<P> {
        let event_type = "sagabox.instance.cancelled".to_owned();
        self.when_raw(RawEvent { event_type, ..RawEvent::default() })
    }

    #[must_use]
    pub fn when_raw(mut self, event: RawEvent) -> Then<P> {
        let mut context = RawContext {
            now: self.now,
            attempt: 1,
            key: self.key.clone(),
            answers: Vec::new(),
            configuration: self.configuration.clone(),
            seed: 1,
        };
        let mut result = Err(Failure::Permanent("asked too often".to_owned()));
        for _ in 0..ROUNDS_MAX {
            match P::handle(event.clone(), self.state.clone(), context.clone()) {
                Ok(Reply::Need(questions)) => {
                    for question in questions {
                        let known = self.answers.iter().find(|(asked, _)| *asked == question);
                        let answer = known.cloned().unwrap_or((question, AnswerValue::Missing));
                        context.answers.push(answer);
                    }
                }
                Ok(Reply::Decided(decision)) => {
                    result = Ok(decision);
                    break;
                }
                Err(failure) => {
                    result = Err(failure);
                    break;
                }
            }
        }
        if let Ok(decision) = &result {
            if let Some(data) = &decision.state {
                let version = P::manifest().state_version;
                self.state = Some(State { version, data: data.clone() });
            }
            self.complete = decision.complete;
        }
        Then { given: self, result }
    }
}

/// What the event led to.
pub struct Then<P> {
    given: Given<P>,
    result: Result<Decision, Failure>,
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

    /// # Panics
    /// If the process is not complete now.
    #[track_caller]
    pub fn completes(self) -> Self {
        assert!(self.decision().complete, "the process is not complete");
        self
    }

    /// # Panics
    /// If the process is complete now.
    #[track_caller]
    pub fn goes_on(self) -> Self {
        assert!(!self.decision().complete, "the process is complete");
        self
    }

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

    /// # Panics
    /// If the timer is not set by this event.
    #[track_caller]
    pub fn sets_timer(self, expected: &str) -> Self {
        let is_set = self.decision().timers.iter().any(|change| match change {
            TimerChange::SetAfter { name, .. } | TimerChange::SetAt { name, .. } => {
                name == expected
            }
            TimerChange::Cancel(_) => false,
        });
        assert!(is_set, "the timer `{expected}` is not set: {:?}", self.decision().timers);
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

/// A message for [`Then::sends_all`].
///
/// # Panics
/// If the message cannot be written as JSON.
pub fn message<M: Message>(message: &M) -> Value {
    json!({"type": M::TYPE, "data": serde_json::to_value(message).expect("a message is JSON")})
}

fn readable(message: &Outgoing) -> Value {
    let data: Value = serde_json::from_slice(&message.data).unwrap_or(Value::Null);
    json!({"type": message.message_type, "data": data})
}

fn raw<E: Event>(event: &E) -> RawEvent {
    RawEvent {
        id: "event".to_owned(),
        source: "test".to_owned(),
        event_type: E::TYPE.to_owned(),
        subject: event.subject(),
        datacontenttype: "application/json".to_owned(),
        data: serde_json::to_vec(event).expect("an event is JSON"),
        ..RawEvent::default()
    }
}
