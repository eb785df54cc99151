//! Given, when, then: handlers tested natively, without wasm and without a host.
//!
//! [`given`] makes a plugin without any past, or an instance that does not exist yet. What is
//! called on [`Given`] says what is so; `when…` lets something happen, and [`Then`] looks at
//! what the plugin decided. See [`guide::tests`](crate::guide::tests) for an example.

mod then;

use core::marker::PhantomData;
use core::time::Duration;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

pub use then::{Due, Then};

use crate::message::{Command, Config, Configured, Event, Message, Timer};
use crate::raw::{
    AnswerValue, Correlation, Decision, Failure, Plugin, Question, RawContext, RawEvent, Reply,
    State, TimerChange,
};
use crate::time::Timestamp;

/// A handler that asks this often in one call asks for ever.
const ROUNDS_MAX: usize = 16;
/// A plugin whose timers set each other anew without end is stopped after so many.
const TIMERS_MAX: usize = 10_000;

/// The beginning of a test.
#[must_use]
pub fn given<P: Plugin>() -> Given<P> {
    Given {
        state: None,
        answers: Vec::new(),
        configuration: "{}".to_owned(),
        now: 1_800_000_000_000,
        event_time: None,
        source: "test".to_owned(),
        key: "key".to_owned(),
        timers: BTreeMap::new(),
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
    event_time: Option<Timestamp>,
    source: String,
    key: String,
    /// When each is due, and its data.
    timers: BTreeMap<String, (u64, Vec<u8>)>,
    complete: bool,
    plugin: PhantomData<P>,
}

impl<P: Plugin> Given<P> {
    /// What a lookup knows.
    ///
    /// # Panics
    /// If the value cannot be written as JSON.
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
        let event = self.raw(&event);
        let known = self.answers.iter_mut().find(|(asked, _)| *asked == question);
        match known {
            Some((_, AnswerValue::Events(events))) => events.push(event),
            _ => self.answers.push((question, AnswerValue::Events(vec![event]))),
        }
        self
    }

    /// The plugin's section of the host's configuration.
    ///
    /// # Panics
    /// If it cannot be written as JSON.
    #[must_use]
    pub fn config<C: Config>(self, config: C) -> Self
    where
        P: Configured<C>,
    {
        self.configuration(&serde_json::to_value(config).expect("the configuration is JSON"))
    }

    /// The same as JSON, as it is in `sagabox.toml`.
    #[must_use]
    pub fn configuration(mut self, configuration: &Value) -> Self {
        self.configuration = configuration.to_string();
        self
    }

    /// The correlation key of the events to come.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.key);
        self
    }

    /// The source of the events to come.
    #[must_use]
    pub fn source(mut self, source: &str) -> Self {
        source.clone_into(&mut self.source);
        self
    }

    /// The host's clock: `now("2026-03-01T12:00:00Z")`. No timer fires.
    ///
    /// # Panics
    /// If it is no RFC 3339 time.
    #[must_use]
    #[track_caller]
    pub fn now(mut self, now: &str) -> Self {
        self.now = moment(now).as_millis();
        self
    }

    /// The attribute `time` of the events to come.
    ///
    /// # Panics
    /// If it is no RFC 3339 time.
    #[must_use]
    #[track_caller]
    pub fn event_time(mut self, time: &str) -> Self {
        self.event_time = Some(moment(time));
        self
    }

    /// A state that an instance has, instead of the events that led to it.
    ///
    /// # Panics
    /// If it cannot be written as JSON.
    #[must_use]
    pub fn state<S: Serialize>(mut self, state: &S) -> Self {
        let data = crate::finite::to_json(state).expect("the state is JSON");
        self.state = Some(State { version: P::manifest().state_version, data });
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

    /// An event comes.
    ///
    /// # Panics
    /// If the correlation key of its handler leads to nothing in its data.
    #[must_use]
    #[track_caller]
    pub fn when<E: Event>(self, event: E) -> Then<P> {
        let raw = self.raw(&event);
        has_key::<P>(&raw);
        self.when_raw(raw)
    }

    /// A timer fires, whether it is set or not.
    ///
    /// # Panics
    /// If its data cannot be written as JSON.
    #[must_use]
    pub fn when_timer<T: Timer>(mut self, timer: T) -> Then<P> {
        self.timers.remove(T::NAME);
        let data = serde_json::to_vec(&timer).expect("a timer's data is JSON");
        self.when_raw(fired(T::NAME, data))
    }

    /// Time passes. The timers that become due fire, one after the other, each at its time.
    ///
    /// # Panics
    /// If more than ten thousand fire.
    #[must_use]
    #[track_caller]
    pub fn when_time_passes(mut self, time: impl Into<Duration>) -> Then<P> {
        let time = u64::try_from(time.into().as_millis()).unwrap_or(u64::MAX);
        let until = self.now.saturating_add(time);
        let mut all = Decision { complete: self.complete, ..Decision::default() };
        for _ in 0..TIMERS_MAX {
            let due = self.timers.iter().map(|(name, (due, _))| (*due, name.clone()));
            let Some((due, name)) = due.min().filter(|(due, _)| *due <= until) else {
                self.now = until;
                return Then { given: self, result: Ok(all) };
            };
            let data = self.timers.remove(&name).map(|(_, data)| data).unwrap_or_default();
            self.now = self.now.max(due);
            let then = self.when_raw(fired(&name, data));
            let decision = match then.result {
                Ok(decision) => decision,
                Err(failure) => return Then { given: then.given, result: Err(failure) },
            };
            self = then.given;
            all.state = decision.state.or(all.state);
            all.commands.extend(decision.commands);
            all.events.extend(decision.events);
            all.timers.extend(decision.timers);
            all.keys.extend(decision.keys);
            all.complete = decision.complete;
        }
        panic!("more than {TIMERS_MAX} timers fire in this time");
    }

    /// As [`Given::when_time_passes`]; what was sent meanwhile is not looked at.
    ///
    /// # Panics
    /// If a handler fails.
    #[must_use]
    #[track_caller]
    pub fn wait(self, time: impl Into<Duration>) -> Self {
        self.when_time_passes(time).done()
    }

    /// A command that the instance sent becomes a dead letter.
    ///
    /// # Panics
    /// If the command cannot be written as JSON.
    #[must_use]
    pub fn when_undeliverable<C: Command>(self, command: C, reason: &str) -> Then<P> {
        let data = serde_json::to_value(&command).expect("a command is JSON");
        let sent = json!({"id": "command", "type": C::TYPE, "data": data});
        let data = json!({
            "id": "command", "type": C::TYPE, "reason": reason, "attempts": 1, "command": sent,
        });
        self.when_raw(of_host("sagabox.command.undeliverable", None, data.to_string().into()))
    }

    /// An operator asks for cancellation.
    #[must_use]
    pub fn when_cancelled(self) -> Then<P> {
        self.when_cancelled_by("operator", "a test")
    }

    /// The same, by this operator and for this reason.
    #[must_use]
    pub fn when_cancelled_by(self, by: &str, reason: &str) -> Then<P> {
        let data = json!({"by": by, "reason": reason}).to_string();
        self.when_raw(of_host("sagabox.instance.cancelled", None, data.into()))
    }

    /// An event comes as it is.
    #[must_use]
    pub fn when_raw(mut self, event: RawEvent) -> Then<P> {
        let result = self.handle(&event);
        if let Ok(decision) = &result {
            self.apply(decision);
        }
        Then { given: self, result }
    }

    /// Asks the plugin as the host does: again and again, until it has all answers.
    fn handle(&self, event: &RawEvent) -> Result<Decision, Failure> {
        let mut context = RawContext {
            now: self.now,
            attempt: 1,
            key: self.key.clone(),
            answers: Vec::new(),
            configuration: self.configuration.clone(),
            seed: 1,
        };
        for _ in 0..ROUNDS_MAX {
            match P::handle(event.clone(), self.state.clone(), context.clone())? {
                Reply::Decided(decision) => return Ok(decision),
                Reply::Need(questions) => {
                    for question in questions {
                        let known = self.answers.iter().find(|(asked, _)| *asked == question);
                        let answer = known.cloned().unwrap_or((question, AnswerValue::Missing));
                        context.answers.push(answer);
                    }
                }
            }
        }
        Err(Failure::Permanent("asked too often".to_owned()))
    }

    fn apply(&mut self, decision: &Decision) {
        if let Some(data) = &decision.state {
            let version = P::manifest().state_version;
            self.state = Some(State { version, data: data.clone() });
        }
        for change in &decision.timers {
            match change {
                TimerChange::SetAfter { name, after, data } => {
                    let due = self.now.saturating_add(*after);
                    self.timers.insert(name.clone(), (due, data.clone()));
                }
                TimerChange::SetAt { name, at, data } => {
                    self.timers.insert(name.clone(), (*at, data.clone()));
                }
                TimerChange::Cancel(name) => drop(self.timers.remove(name)),
            }
        }
        self.complete = decision.complete;
        if decision.complete {
            self.timers.clear();
        }
    }

    fn raw<E: Event>(&self, event: &E) -> RawEvent {
        RawEvent {
            id: "event".to_owned(),
            source: self.source.clone(),
            event_type: E::TYPE.to_owned(),
            subject: event.subject(),
            time: self.event_time.map(|time| time.to_string()),
            datacontenttype: "application/json".to_owned(),
            data: serde_json::to_vec(event).expect("an event is JSON"),
            ..RawEvent::default()
        }
    }
}

#[track_caller]
fn moment(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn of_host(event_type: &str, subject: Option<&str>, data: Vec<u8>) -> RawEvent {
    RawEvent {
        id: "event".to_owned(),
        source: "/sagabox/test".to_owned(),
        event_type: event_type.to_owned(),
        subject: subject.map(str::to_owned),
        datacontenttype: "application/json".to_owned(),
        data,
        ..RawEvent::default()
    }
}

fn fired(name: &str, data: Vec<u8>) -> RawEvent {
    of_host("sagabox.timer.fired", Some(name), data)
}

/// A host could not know which instance the event is for.
#[track_caller]
fn has_key<P: Plugin>(event: &RawEvent) {
    let manifest = P::manifest();
    let mut subscriptions = manifest.subscriptions.iter();
    let own = subscriptions.find(|subscription| subscription.event_type == event.event_type);
    let Some(Correlation::Pointer(pointer)) = own.map(|own| &own.key) else { return };
    let data: Value = serde_json::from_slice(&event.data).unwrap_or_default();
    let names: Vec<String> =
        data.as_object().into_iter().flatten().map(|(name, _)| format!("/{name}")).collect();
    assert!(
        data.pointer(pointer).is_some(),
        "the key \"{pointer}\" leads to nothing in `{}`, which has {}",
        event.event_type,
        names.join(", ")
    );
}

/// A message for [`Then::sends_all`].
///
/// # Panics
/// If the message cannot be written as JSON.
pub fn message<M: Message>(message: &M) -> Value {
    json!({"type": M::TYPE, "data": serde_json::to_value(message).expect("a message is JSON")})
}
