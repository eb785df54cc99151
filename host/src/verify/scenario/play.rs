//! Plays a scenario on a handler, with the host's rules around it: an event reaches
//! the instance by its correlation key, or it does not; a timer must be set to fire;
//! questions are answered from what is given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use sagabox_engine::model::{
    Absent, Answer, AnswerValue, Decision, Due, Effect, Event, Failure, JSON, Key, KeyChange,
    Origin, Outgoing, Question, State, Subscription, TimerChange, Timestamp, attribute, reserved,
};
use sagabox_engine::pure::correlate::correlate;
use sagabox_engine::pure::identity::{self, DecisionIdentity};
use sagabox_engine::seams::handler::{Call, Handler, Reply, as_read_by};

use super::expect::due_at;
use super::file::{Given, Scenario, When};
use crate::decisions::json::{Json, Object};
use crate::decisions::shown;
use crate::io::durations::{duration, instant};

/// 2026-01-01T00:00:00Z, if the scenario says nothing.
const BEGINNING: Timestamp = Timestamp(1_767_225_600_000);
/// The member of a decision that says when it was made.
pub(crate) const NOW: &str = "now";
/// As the host's: a handler that asks so often asks for ever.
const ROUNDS_MAX: usize = 16;
const SOURCE: &str = "/scenario";

/// What came of one step.
pub(crate) struct Outcome {
    /// As JSON: see `expect`.
    pub shown: Json,
    /// What it sends and emits, byte for byte.
    pub messages: Vec<Outgoing>,
}

/// What came of each step. The first that cannot be played ends it.
///
/// # Errors
/// Says what is wrong with the scenario itself.
pub(crate) fn play(scenario: &Scenario, handler: &dyn Handler) -> Result<Vec<Outcome>, String> {
    let mut player = Player::new(&scenario.given, handler)?;
    for (index, when) in scenario.given.events.iter().enumerate() {
        let outcome = player.step(when).map_err(|why| format!("given.events[{index}]: {why}"))?;
        for bad in ["fails", "ignored"] {
            if let Some(why) = outcome.shown.get(bad) {
                return Err(format!("given.events[{index}]: it {bad}: {why}"));
            }
        }
    }
    let steps = scenario.steps.iter().enumerate();
    let outcomes = steps.map(|(index, step)| {
        player.step(&step.when).map_err(|why| format!("step {}: {why}", index + 1))
    });
    outcomes.collect()
}

struct Player<'s> {
    given: &'s Given,
    handler: &'s dyn Handler,
    now: Timestamp,
    /// The instance's; for other roles, that of the last event.
    key: Option<Key>,
    started: bool,
    complete: bool,
    state: Option<State>,
    claims: BTreeSet<Key>,
    timers: BTreeMap<String, (Timestamp, Bytes)>,
    /// Commands sent so far.
    sent: Vec<Outgoing>,
    events: u32,
}

impl<'s> Player<'s> {
    fn new(given: &'s Given, handler: &'s dyn Handler) -> Result<Self, String> {
        let version = given.state_version.unwrap_or(handler.manifest().state_version);
        let now = given.now.as_deref().map_or(Ok(BEGINNING), instant);
        let now = now.map_err(|why| format!("given.now: {why}"))?;
        if given.state.is_some() && given.key.is_none() {
            return Err("given.state: needs given.key, the key of the instance".to_owned());
        }
        let mut timers = BTreeMap::new();
        for (name, due) in &given.timers {
            let due = due_at(due, now).map_err(|why| format!("given.timers.{name}: {why}"))?;
            timers.insert(name.clone(), (due, Bytes::new()));
        }
        Ok(Self {
            given,
            handler,
            now,
            key: given.key.as_deref().map(Key::from),
            started: given.state.is_some(),
            complete: false,
            state: given.state.as_ref().map(|state| State { version, data: bytes(state) }),
            claims: given.claims.iter().map(|key| Key::from(key.as_str())).collect(),
            timers,
            sent: Vec::new(),
            events: 0,
        })
    }

    fn step(&mut self, when: &When) -> Result<Outcome, String> {
        if let Some(after) = &when.after {
            self.now = self.now.after(duration(after).map_err(|why| format!("after: {why}"))?);
        }
        if let Some(to) = when.migrate {
            return self.migrate(to);
        }
        self.events += 1;
        let event = self.event(when)?;
        let subscription = match self.subscription(&event)? {
            Ok(subscription) => subscription.clone(),
            Err(why) => return Ok(ignored(&why)),
        };
        let keys = match correlate(&event, &subscription.key) {
            Ok(keys) => keys,
            // The host does the same, because it has no plugin to call.
            Err(why) => return Ok(failed(&why, false, Vec::new())),
        };
        let attempt = when.attempt.unwrap_or(1);
        if !self.handler.manifest().role.has_instances() {
            return self.call_for_each(&keys, &event, attempt);
        }
        match self.reaches(&subscription, &keys) {
            Err(why) => Ok(why),
            Ok(key) => {
                self.key = Some(key.clone());
                self.call(&key, &event, attempt)
            }
        }
    }

    /// The instance that the event is for; otherwise what the host does with it.
    fn reaches(&self, subscription: &Subscription, keys: &[Key]) -> Result<Key, Outcome> {
        let ignored = |why: &str| Err(self::ignored(why));
        let named = self.key.as_ref().is_some_and(|own| keys.contains(own));
        if !self.started && subscription.effect != Effect::Handle {
            return match (&self.key, keys.first()) {
                (Some(own), _) if named => Ok(own.clone()),
                (Some(own), _) => ignored(&format!("it does not name the key `{own}`")),
                (None, Some(first)) => Ok(first.clone()),
                (None, None) => ignored("it names no key"),
            };
        }
        let claimed = named || keys.iter().any(|key| self.claims.contains(key));
        match &self.key {
            Some(own) if self.started && claimed => match subscription.effect {
                _ if self.complete => ignored("the instance is complete"),
                Effect::Start => ignored("the instance is started already"),
                Effect::StartOrHandle | Effect::Handle => Ok(own.clone()),
            },
            _ => match subscription.absent {
                Absent::Ignore => ignored("no instance has its key"),
                Absent::Hold(_) => ignored("no instance has its key yet: it is held"),
                Absent::Fail => Err(failed("no instance has its key", false, Vec::new())),
            },
        }
    }

    /// A stateless role is called once for each key; the decisions are shown as one.
    fn call_for_each(
        &mut self,
        keys: &[Key],
        event: &Arc<Event>,
        attempt: u32,
    ) -> Result<Outcome, String> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for key in keys {
            outcomes.push(self.call(key, event, attempt)?);
        }
        if let Some(failed) = outcomes.iter().position(|one| one.shown.get("fails").is_some()) {
            return Ok(outcomes.swap_remove(failed));
        }
        let mut outcomes = outcomes.into_iter();
        let Some(mut all) = outcomes.next() else {
            return Ok(ignored("it names no key"));
        };
        for outcome in outcomes {
            for list in ["sends", "emits", "asks"] {
                let more = outcome.shown[list].as_array().cloned().unwrap_or_default();
                if let Some(known) = all.shown[list].as_array_mut() {
                    known.extend(more);
                }
            }
            all.messages.extend(outcome.messages);
        }
        Ok(all)
    }

    fn call(&mut self, key: &Key, event: &Arc<Event>, attempt: u32) -> Result<Outcome, String> {
        let plugin = &self.handler.manifest().name;
        let origin = match event.event_type.starts_with(reserved::PREFIX) {
            true => Origin::Host,
            false => Origin::Outside,
        };
        // One of another version is converted first, as by a host.
        let state = self.state.as_ref().map(|state| as_read_by(self.handler, state)).transpose();
        let state = match state {
            Ok(state) => state,
            Err(why) => return Ok(failed(&why, false, Vec::new())),
        };
        let mut call = Call {
            event: Arc::clone(event),
            state,
            now: self.now,
            attempt,
            key: key.clone(),
            answers: Vec::new(),
            seed: DecisionIdentity::new(plugin, origin, event, key).seed(),
        };
        let mut asked: Vec<Json> = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let questions = match self.handler.handle(&call) {
                Ok(Reply::Decided(decision)) => {
                    let mut shown = shown::decision(&decision, self.now);
                    shown["asks"] = asked.into();
                    shown[NOW] = self.now.0.into();
                    let messages = decision.messages.clone();
                    self.take(key, event, decision);
                    return Ok(Outcome { shown, messages });
                }
                Err(failure) => {
                    let transient = matches!(failure, Failure::Transient(_));
                    return Ok(failed(&failure.to_string(), transient, asked));
                }
                Ok(Reply::Need(questions)) => questions,
            };
            let before = call.answers.len();
            for question in questions {
                if call.answers.iter().all(|answer| answer.question != question) {
                    asked.push(shown::question(&question));
                    let value = self.answer(&question)?;
                    call.answers.push(Answer { question, value });
                }
            }
            if call.answers.len() == before {
                let why = "the handler asks only questions that are answered already";
                return Ok(failed(why, false, asked));
            }
        }
        let why = format!("the handler asked in more than {ROUNDS_MAX} rounds for one event");
        Ok(failed(&why, false, asked))
    }

    /// What the decision does to the instance.
    fn take(&mut self, key: &Key, event: &Event, decision: Decision) {
        self.sent.extend(decision.messages);
        if !self.handler.manifest().role.has_instances() {
            return;
        }
        self.started = true;
        let version = self.handler.manifest().state_version;
        if let Some(data) = decision.state {
            self.state = Some(State { version, data });
        }
        if event.event_type == reserved::TIMER_FIRED
            && let Some(name) = &event.subject
        {
            self.timers.remove(name);
        }
        for change in decision.timers {
            match change {
                TimerChange::Cancel(name) => drop(self.timers.remove(name.as_str())),
                TimerChange::Set { name, due, data } => {
                    let due = match due {
                        Due::After(millis) => {
                            self.now.after(std::time::Duration::from_millis(millis))
                        }
                        Due::At(at) => at,
                    };
                    self.timers.insert(name.to_string(), (due, data));
                }
            }
        }
        for change in decision.keys {
            match change {
                KeyChange::Claim(claimed) if claimed != *key => drop(self.claims.insert(claimed)),
                KeyChange::Claim(_) => {}
                KeyChange::Release(released) => drop(self.claims.remove(&released)),
            }
        }
        self.complete = decision.complete;
        if decision.complete {
            self.timers.clear();
            self.claims.clear();
        }
    }

    /// The one that takes the event; otherwise why the host ignores it.
    ///
    /// # Errors
    /// If the scenario has an event of a type that the plugin does not take from any source.
    fn subscription(&self, event: &Event) -> Result<Result<&'s Subscription, String>, String> {
        if let Some(found) = self.handler.manifest().subscription_to(event) {
            return Ok(Ok(found));
        }
        let subscriptions = &self.handler.manifest().subscriptions;
        if let Some(own) = subscriptions.iter().find(|s| s.event_type == event.event_type) {
            return Ok(Err(format!(
                "the plugin takes `{}` from {}, and the event is from `{}`",
                event.event_type, own.source, event.source
            )));
        }
        let known: Vec<&str> = subscriptions.iter().map(|s| s.event_type.as_str()).collect();
        Err(format!(
            "the plugin does not subscribe to `{}`; it does to {}",
            event.event_type,
            known.join(", ")
        ))
    }

    /// The host has the plugin convert the instance's state, as before a version is served, or
    /// when a canary is withdrawn.
    fn migrate(&mut self, to: u32) -> Result<Outcome, String> {
        let Some(state) = &self.state else {
            return Err("no state exists yet; give one in given.state".to_owned());
        };
        match self.handler.migrate(state, to) {
            Err(why) => Ok(failed(&why, false, Vec::new())),
            Ok(data) => {
                let decision = Decision { state: Some(data.clone()), ..Decision::default() };
                self.state = Some(State { version: to, data });
                let mut shown = shown::decision(&decision, self.now);
                shown[NOW] = self.now.0.into();
                Ok(Outcome { shown, messages: Vec::new() })
            }
        }
    }

    // ---- what happens -----------------------------------------------------------

    fn event(&mut self, when: &When) -> Result<Arc<Event>, String> {
        let event = if let Some(name) = &when.timer {
            self.fired(name)?
        } else if let Some(command) = &when.undeliverable {
            self.undeliverable(command, when.data.as_ref())?
        } else if let Some(cancelled) = &when.cancelled {
            let said = [("by", &cancelled.by), ("reason", &cancelled.reason)];
            let data = Json::object(said.map(|(name, text)| (name, text.as_str().into())));
            let subject = self.key.as_ref().map(ToString::to_string);
            self.reserved(reserved::INSTANCE_CANCELLED, subject, bytes(&data))?
        } else {
            plain_event(when, self.events)?
        };
        event.validate().map_err(|error| error.to_string())?;
        Ok(Arc::new(event))
    }

    /// Time goes on to when the timer is due.
    fn fired(&mut self, name: &str) -> Result<Event, String> {
        let Some((due, data)) = self.timers.get(name).cloned() else {
            let known: Vec<&str> = self.timers.keys().map(String::as_str).collect();
            return Err(match known.is_empty() {
                true => format!("the timer `{name}` is not set; none is"),
                false => format!("the timer `{name}` is not set; set are {}", known.join(", ")),
            });
        };
        self.now = self.now.max(due);
        self.reserved(reserved::TIMER_FIRED, Some(name.to_owned()), data)
    }

    fn undeliverable(&self, command: &str, data: Option<&Json>) -> Result<Event, String> {
        let sent = self.sent.iter().rev().find(|sent| sent.event_type == command);
        let Some(sent) = sent else {
            return Err(format!("no command `{command}` was sent before"));
        };
        let plugin = self.handler.manifest().name.as_str();
        let said = |name: &str| data.and_then(|data| data.get(name)).cloned();
        // The command as it left, a CloudEvent.
        let sent = Event {
            id: "command".to_owned(),
            source: identity::source(&plugin.into()),
            event_type: sent.event_type.clone(),
            subject: sent.subject.clone(),
            time: None,
            datacontenttype: Some(sent.datacontenttype.clone()),
            dataschema: None,
            extensions: sent.extensions.clone(),
            data: sent.data.clone(),
        };
        let sent = Json::parse(sent.to_json().as_bytes()).map_err(|error| error.to_string())?;
        let data = Json::object([
            ("id", said("id").unwrap_or_else(|| "command".into())),
            ("type", command.into()),
            ("reason", said("reason").unwrap_or_else(|| "refused by the sink".into())),
            ("attempts", said("attempts").unwrap_or_else(|| 1_u32.into())),
            ("command", sent),
        ]);
        self.reserved(reserved::COMMAND_UNDELIVERABLE, Some(command.to_owned()), bytes(&data))
    }

    /// An event of the host for the instance.
    fn reserved(&self, kind: &str, subject: Option<String>, data: Bytes) -> Result<Event, String> {
        let plugin = &self.handler.manifest().name;
        let Some(key) = &self.key else {
            return Err("no instance exists yet; begin with an event that starts one".to_owned());
        };
        Ok(Event {
            id: format!("host-{}", self.events),
            source: identity::source(plugin),
            event_type: kind.to_owned(),
            subject,
            time: Some(self.now.to_rfc3339()),
            datacontenttype: None,
            dataschema: None,
            extensions: vec![
                (reserved::EXTENSION_PLUGIN.to_owned(), plugin.to_string()),
                (reserved::EXTENSION_INSTANCE.to_owned(), key.to_string()),
            ],
            data,
        })
    }

    // ---- answers ----------------------------------------------------------------

    fn answer(&self, question: &Question) -> Result<AnswerValue, String> {
        match question {
            Question::Lookup { name, key } => {
                let found = self.given.lookups.get(name).and_then(|table| table.get(key));
                match found {
                    Some(Json::Null) => Ok(AnswerValue::Missing),
                    Some(value) => {
                        Ok(AnswerValue::Found { content_type: JSON.to_owned(), data: bytes(value) })
                    }
                    None => Err(format!(
                        "it asks lookup `{name}` for `{key}`; add the answer under \
                         given.lookups.{name}, or null for not found"
                    )),
                }
            }
            Question::Stream(subject) => {
                let Some(events) = self.given.streams.get(subject) else {
                    return Err(format!(
                        "it asks for the stream of `{subject}`; add its events under given.streams"
                    ));
                };
                let events = (1_u32..).zip(events).map(|(number, when)| {
                    let mut event = plain_event(when, number)?;
                    event.subject.get_or_insert_with(|| subject.clone());
                    Ok(Arc::new(event))
                });
                events.collect::<Result<_, String>>().map(AnswerValue::Events)
            }
        }
    }
}

fn plain_event(when: &When, number: u32) -> Result<Event, String> {
    let stated = when.payload()?;
    Ok(Event {
        id: when.id.clone().unwrap_or_else(|| format!("event-{number}")),
        source: when.source.clone().unwrap_or_else(|| SOURCE.to_owned()),
        event_type: when.event_type.clone().unwrap_or_default(),
        subject: when.subject.clone(),
        time: when.time.clone(),
        datacontenttype: when.datacontenttype.clone(),
        dataschema: when.dataschema.clone(),
        extensions: when.extensions.iter().map(|(n, v)| (n.clone(), v.clone())).collect(),
        data: match (stated, &when.data, when.datacontenttype.as_deref()) {
            (Some(stated), ..) => stated,
            (None, None, _) => Bytes::new(),
            // Text of another media type is meant as it stands, without quotes.
            (None, Some(Json::String(text)), Some(kind)) if !attribute::is_json(kind) => {
                text.clone().into()
            }
            (None, Some(data), _) => bytes(data),
        },
    })
}

fn failed(why: &str, transient: bool, asked: Vec<Json>) -> Outcome {
    let mut shown = Json::object([("fails", why.into()), ("transient", transient.into())]);
    if !asked.is_empty() {
        shown["asks"] = asked.into();
    }
    Outcome { shown, messages: Vec::new() }
}

fn ignored(why: &str) -> Outcome {
    Outcome { shown: Json::object([("ignored", why.into())]), messages: Vec::new() }
}

fn bytes(value: &Json) -> Bytes {
    Bytes::from(value.to_string())
}

/// Whether an outcome is a decision.
#[must_use]
pub(crate) fn is_decision(outcome: &Object) -> bool {
    outcome.contains_key("sends")
}
