//! The plugins and the sink of the operated world: a process manager that does what its events'
//! data says, a reactor that sends the ids of its key's stream, and a sink that refuses some
//! messages.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::AGAIN;
use crate::lock;
use crate::model::{
    Absent, AnswerValue, Correlation, Decision, Due, Effect, Event, Failure, KeyChange, Manifest,
    Message, MessageKind, OptionalPart, Outgoing, Question, Role, Source, State, Subscription,
    TimerChange, reserved,
};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::transport::{DeliveryError, Transport};
use crate::sim::scripts::half;

pub(super) const JOBS: &str = "jobs";
pub(super) const REPORTER: &str = "reporter";
/// Longer than a run of the host with the retries in it, and shorter than a whole world.
const HOLD: Duration = Duration::from_millis(300);

pub(super) struct Script {
    manifest: Manifest,
    /// How often a call fails transiently, in percent.
    transient_percent: u64,
    decide: fn(&Call, &Value) -> Result<Reply, Failure>,
}

pub(super) fn handlers(transient_percent: u64) -> Vec<Arc<dyn Handler>> {
    let by = |pointer: &str| Correlation::Pointer(pointer.to_owned());
    let on = |event_type: &str, key, effect, absent| Subscription {
        event_type: event_type.to_owned(),
        source: Source::Any,
        key,
        effect,
        absent,
    };
    let ignore = Absent::Ignore;
    let jobs = vec![
        on("start", by("/key"), Effect::Start, ignore),
        on("touch", by("/key"), Effect::StartOrHandle, ignore),
        on("must", by("/key"), Effect::Handle, Absent::Fail),
        on("step", by("/key"), Effect::Handle, ignore),
        on("item", by("/item"), Effect::Handle, Absent::Hold(HOLD)),
        on(reserved::TIMER_FIRED, Correlation::Instance, Effect::Handle, ignore),
        on(reserved::COMMAND_UNDELIVERABLE, Correlation::Instance, Effect::Handle, ignore),
    ];
    let reporter = vec![on("touch", by("/key"), Effect::Handle, ignore)];
    let script = |name, role, subscriptions, decide| -> Arc<dyn Handler> {
        let manifest = manifest(name, role, subscriptions);
        Arc::new(Script { manifest, transient_percent, decide })
    };
    vec![
        script(JOBS, Role::ProcessManager, jobs, decide_job),
        script(REPORTER, Role::Reactor, reporter, report),
    ]
}

fn manifest(name: &str, role: Role, subscriptions: Vec<Subscription>) -> Manifest {
    Manifest {
        name: name.into(),
        role,
        version: "1.0.0".into(),
        description: String::new(),
        subscriptions,
        commands: BTreeSet::new(),
        events: BTreeSet::new(),
        lookups: BTreeSet::new(),
        streams: true,
        state_version: u32::from(role.has_instances()),
        optional: OptionalPart::default(),
    }
}

impl Handler for Script {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        let mixed = half(call.seed) ^ u64::from(call.attempt) << 7;
        let roll = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33;
        if roll % 100 < self.transient_percent {
            return Err(Failure::Transient("planted: in passing".to_owned()));
        }
        let data: Value = serde_json::from_slice(&call.event.data).unwrap_or_default();
        (self.decide)(call, &data)
    }

    fn migrate(&self, state: &State, _: u32) -> Result<Bytes, String> {
        Ok(state.data.clone())
    }
}

fn decide_job(call: &Call, data: &Value) -> Result<Reply, Failure> {
    if data["poison"] == true {
        return Err(Failure::Permanent("planted: for good".to_owned()));
    }
    if data["command"]["data"]["unhandled"] == true && data["poison"] != false {
        return Err(Failure::Permanent("planted: no refusal is handled".to_owned()));
    }
    let state = call.state.as_ref().map(|state| state.data.clone()).unwrap_or_default();
    let mut handled: Vec<String> = serde_json::from_slice(&state).unwrap_or_default();
    handled.push(call.event.id.clone());
    let mut decision = Decision::default();
    for claimed in data["claims"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        decision.keys.push(KeyChange::Claim(claimed.into()));
    }
    if data["timer"] == true {
        let (name, due) = ("soon".into(), Due::After(20));
        decision.timers.push(TimerChange::Set { name, due, data: Bytes::new() });
    }
    if let Some(refused) = data["mail"].as_bool() {
        decision
            .messages
            .push(command("mail", &json!({"refused": refused, "unhandled": data["unhandled"]})));
    }
    // The operator starts the next instance of such a key as soon as it can, so this one must
    // not be reopened.
    let is_refusal = call.event.event_type == reserved::COMMAND_UNDELIVERABLE;
    let stays_complete = is_refusal && AGAIN.contains(&call.key.as_str());
    decision.complete = data["complete"] == true || stays_complete;
    decision.state = serde_json::to_vec(&handled).ok().map(Bytes::from);
    Ok(Reply::Decided(decision))
}

/// Sends the ids of the events in its key's stream.
fn report(call: &Call, _: &Value) -> Result<Reply, Failure> {
    let Some(answer) = call.answers.first() else {
        return Ok(Reply::Need(vec![Question::Stream(call.key.to_string())]));
    };
    let AnswerValue::Events(events) = &answer.value else {
        return Err(Failure::Permanent("a stream's answer has no events".to_owned()));
    };
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    let messages = vec![command("reported", &json!({"ids": ids}))];
    Ok(Reply::Decided(Decision { messages, ..Decision::default() }))
}

fn command(name: &str, data: &Value) -> Outgoing {
    Outgoing {
        kind: MessageKind::Command,
        event_type: name.to_owned(),
        subject: None,
        datacontenttype: "application/json".to_owned(),
        extensions: Vec::new(),
        data: data.to_string().into(),
    }
}

/// An event for the plugins, with its key as its subject.
pub(super) fn event(event_type: &str, id: &str, data: &Value) -> Event {
    let key = data["key"].as_str().or_else(|| data["item"].as_str());
    Event {
        id: id.to_owned(),
        source: "/world".to_owned(),
        event_type: event_type.to_owned(),
        subject: key.map(ToOwned::to_owned),
        time: None,
        datacontenttype: None,
        dataschema: None,
        extensions: Vec::new(),
        data: data.to_string().into(),
    }
}

/// A sink that permanently refuses the messages that say so, and fails transiently from time to
/// time.
pub(super) struct Mailbox {
    random: Mutex<StdRng>,
    delivered: Mutex<Vec<Arc<Message>>>,
}

impl Mailbox {
    pub(super) fn new(random: StdRng) -> Self {
        Self { random: Mutex::new(random), delivered: Mutex::default() }
    }

    pub(super) fn delivered(&self) -> Vec<Arc<Message>> {
        lock(&self.delivered).clone()
    }

    fn roll(&self, of: u32) -> u32 {
        lock(&self.random).random_range(0..of)
    }
}

#[async_trait]
impl Transport for Mailbox {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        let longest = if self.roll(8) == 0 { 60_000 } else { 2_000 };
        tokio::time::sleep(Duration::from_micros(u64::from(self.roll(longest)))).await;
        let mut results = Vec::new();
        // A message is delivered only if all messages before it with its key were.
        let mut held = BTreeSet::new();
        for message in messages {
            let lane = (&message.plugin, &message.key);
            let data: Value = serde_json::from_slice(&message.event.data).unwrap_or_default();
            let failed =
                DeliveryError::Transient { reason: "planted".to_owned(), retry_after: None };
            let result = match self.roll(20) {
                _ if held.contains(&lane) => Err(failed),
                _ if data["refused"] == true => {
                    Err(DeliveryError::Permanent("planted: for good".to_owned()))
                }
                0 => Err(failed),
                _ => {
                    let mut taken = lock(&self.delivered);
                    taken.push(Arc::clone(message));
                    Ok(())
                }
            };
            if result.is_err() {
                held.insert(lane);
            }
            results.push(result);
        }
        results
    }

    fn batch_max(&self) -> usize {
        2
    }

    fn in_flight(&self) -> usize {
        2
    }
}
