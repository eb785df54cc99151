//! Native handlers: an order process that claims items and packages, a saga, and a reactor whose
//! events go back to the log. They fail by a pattern of the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::{
    Absent, Correlation, Decision, Due, Effect, Failure, Field, KeyChange, Manifest, MessageKind,
    OptionalPart, Outgoing, Question, Role, Source, State, Subscription, TimerChange, reserved,
};
use crate::seams::handler::{Call, Handler, Reply};

/// The name of a scripted plugin, and of the commands that the ledger counts.
pub(crate) const ORDERS: &str = "orders";
pub(crate) const NOTIFIER: &str = "notifier";
pub(crate) const RECEIPTS: &str = "receipts";
pub(crate) const AUDITOR: &str = "auditor";

/// How often handlers fail transiently, in percent; and which orders and events fail
/// permanently. By default none fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pattern {
    pub seed: u64,
    pub transient_percent: u64,
    /// Orders whose receipts fail permanently at the notifier, and events that fail permanently
    /// at every plugin, until they are cured.
    pub poisoned: BTreeSet<String>,
    pub cured: Arc<AtomicBool>,
    /// The version of the plugins.
    pub version: u32,
    /// Whether a version knows no states of later ones.
    pub is_ignorant: bool,
}

/// The half of the seed from which the scripts draw.
pub(crate) fn half(seed: u128) -> u64 {
    let (first, second) = uuid::Uuid::from_u128(seed).as_u64_pair();
    first ^ second
}

/// The state version that a version of a plugin reads and writes. It goes up and down with the
/// versions.
pub(crate) fn state_version(version: u32) -> u32 {
    1 + version % 3
}

impl Pattern {
    fn check(&self, call: &Call) -> Result<(), Failure> {
        if self.is_poisoned(&call.event.id) {
            return Err(Failure::Permanent("planted: for good".to_owned()));
        }
        let mixed = half(call.seed) ^ self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let roll = (mixed ^ u64::from(call.attempt) << 7).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33;
        match roll % 100 < self.transient_percent {
            true => Err(Failure::Transient("planted: in passing".to_owned())),
            false => Ok(()),
        }
    }

    fn is_poisoned(&self, what: &str) -> bool {
        self.poisoned.contains(what) && !self.cured.load(Ordering::Relaxed)
    }
}

pub(crate) struct Script {
    manifest: Manifest,
    pattern: Pattern,
    decide: fn(&Call, &Pattern) -> Result<Reply, Failure>,
}

impl Handler for Script {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        self.pattern.check(call)?;
        (self.decide)(call, &self.pattern)
    }

    fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String> {
        let mut order = Order::read(state)?;
        let Pattern { version, is_ignorant, .. } = self.pattern;
        if is_ignorant && order.since > version {
            return Err(format!("1.0.{version} was released before 1.0.{}", order.since));
        }
        order.format = to;
        // That version knows the state to which it is converted for it.
        order.since = if to == state_version(version) { version } else { 0 };
        serde_json::to_vec(&order).map(Bytes::from).map_err(|error| error.to_string())
    }
}

pub(crate) fn subscription(
    event_type: &str,
    key: &str,
    effect: Effect,
    absent: Absent,
) -> Subscription {
    let key = match key {
        "" => Correlation::Instance,
        pointer => Correlation::Pointer(pointer.to_owned()),
    };
    Subscription { event_type: event_type.to_owned(), source: Source::Any, key, effect, absent }
}

pub(crate) fn manifest(
    name: &str,
    role: Role,
    subscriptions: Vec<Subscription>,
    version: u32,
) -> Manifest {
    let of_state = if role.has_instances() { state_version(version) } else { 0 };
    Manifest {
        name: name.into(),
        role,
        version: format!("1.0.{version}").into(),
        description: String::new(),
        subscriptions,
        commands: BTreeSet::new(),
        events: BTreeSet::new(),
        lookups: BTreeSet::new(),
        streams: false,
        state_version: of_state,
        optional: OptionalPart::default(),
    }
}

pub(crate) fn handlers(pattern: &Pattern) -> Vec<Script> {
    let hold = Absent::Hold(Duration::from_secs(3_600));
    let of_world = |source, subscription| Subscription { source, ..subscription };
    let (exactly, prefix) = (Source::Exactly("/world".into()), Source::Prefix("/wo".into()));
    let orders = vec![
        of_world(exactly, subscription("place", "/order", Effect::Start, Absent::Ignore)),
        subscription("pay", "/order", Effect::Handle, hold),
        of_world(prefix.clone(), subscription("pack", "/items", Effect::Handle, hold)),
        of_world(prefix, subscription("deliver", "/package", Effect::Handle, hold)),
        subscription(reserved::TIMER_FIRED, "", Effect::Handle, Absent::Ignore),
    ];
    let stateless =
        |event_type: &str| vec![subscription(event_type, "/order", Effect::Handle, Absent::Ignore)];
    let script = |name, role, subscriptions, decide| Script {
        manifest: manifest(name, role, subscriptions, pattern.version),
        pattern: pattern.clone(),
        decide,
    };
    let mut order = script(ORDERS, Role::ProcessManager, orders, decide_order);
    order.manifest.optional.fields = fields(pattern.version);
    vec![
        order,
        script(RECEIPTS, Role::Reactor, stateless("pay"), decide_receipt),
        script(NOTIFIER, Role::Saga, stateless("receipt"), decide_notification),
        script(AUDITOR, Role::Saga, stateless("note"), decide_note),
    ]
}

/// The fields of an order. They change with the versions, as the state does.
pub(crate) fn fields(version: u32) -> Vec<Field> {
    let field = |name: &str, pointer: &str| Field { name: name.into(), pointer: pointer.into() };
    let first = if version.is_multiple_of(2) { "/handled/0" } else { "/handled/1" };
    vec![field("paid", "/paid"), field("first", first), field("packed", "/items")]
}

/// The plugin of this name.
pub(crate) fn script(pattern: &Pattern, name: &str) -> Arc<dyn Handler> {
    let mut all = handlers(pattern).into_iter();
    let found = all.find(|script| script.manifest().name.as_str() == name);
    Arc::new(found.expect("each plugin has its script"))
}

/// All scripted plugins, as an engine takes them.
#[cfg(test)]
pub(crate) fn served(pattern: &Pattern) -> Vec<Arc<dyn Handler>> {
    handlers(pattern).into_iter().map(|script| Arc::new(script) as _).collect()
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub paid: u32,
    /// The package of each item; none if it has none yet.
    pub items: BTreeMap<String, Option<String>>,
    pub delivered: BTreeSet<String>,
    pub reminded: u32,
    /// The events that the order has handled, in order.
    pub handled: Vec<String>,
    /// The state version of these bytes. A plugin of another state version that reads them
    /// without migration is detected by it.
    pub format: u32,
    /// The first version of the plugin that knows them.
    pub since: u32,
}

impl Order {
    fn read(state: &State) -> Result<Self, String> {
        let order: Self = serde_json::from_slice(&state.data).map_err(|error| error.to_string())?;
        match order.format == state.version {
            true => Ok(order),
            false => Err(format!("a state of {} is said to be of {}", order.format, state.version)),
        }
    }
}

pub(crate) fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn decide_order(call: &Call, pattern: &Pattern) -> Result<Reply, Failure> {
    let data: Value = serde_json::from_slice(&call.event.data).unwrap_or_default();
    let mut order: Order = match &call.state {
        Some(state) if state.version != state_version(pattern.version) => {
            return Err(Failure::Permanent(format!("not migrated from {}", state.version)));
        }
        Some(state) => Order::read(state).map_err(Failure::Permanent)?,
        None => Order { format: state_version(pattern.version), ..Order::default() },
    };
    let mut decision = Decision::default();
    order.since = pattern.version;
    order.handled.push(call.event.id.clone());
    match call.event.event_type.as_str() {
        "place" => {
            for item in strings(&data["items"]) {
                decision.keys.push(KeyChange::Claim(item.as_str().into()));
                order.items.insert(item, None);
            }
            decision.timers.push(TimerChange::Set {
                name: "remind".into(),
                due: Due::After(40),
                data: Bytes::new(),
            });
        }
        "pay" => order.paid += 1,
        "pack" => {
            let package = data["package"].as_str().unwrap_or_default();
            decision.keys.push(KeyChange::Claim(package.into()));
            for item in strings(&data["items"]) {
                if let Some(place) = order.items.get_mut(&item) {
                    *place = Some(package.to_owned());
                }
            }
        }
        "deliver" => {
            order.delivered.insert(data["package"].as_str().unwrap_or_default().to_owned());
        }
        _ => order.reminded += 1,
    }
    let is_delivered =
        |p: &Option<String>| p.as_ref().is_some_and(|package| order.delivered.contains(package));
    if order.paid > 0 && order.items.values().all(is_delivered) {
        decision.complete = true;
        decision.messages.push(message(MessageKind::Command, "close", call));
    } else if order.reminded == 0 && order.items.len() > 1 && call.event.event_type == "pay" {
        // This replaces the first setting, which must not fire as well.
        decision.timers.push(TimerChange::Set {
            name: "remind".into(),
            due: Due::After(60),
            data: Bytes::new(),
        });
    }
    decision.state = serde_json::to_vec(&order).ok().map(Bytes::from);
    Ok(Reply::Decided(decision))
}

// All scripts have one signature.
#[allow(clippy::unnecessary_wraps)]
fn decide_receipt(call: &Call, _: &Pattern) -> Result<Reply, Failure> {
    if call.answers.is_empty() {
        let key = call.key.to_string();
        return Ok(Reply::Need(vec![Question::Lookup { name: "customer".to_owned(), key }]));
    }
    // Two messages, so that one waits behind the dead letter of a poisoned key.
    let receipt = message(MessageKind::Event, "receipt", call);
    let messages = vec![receipt.clone(), receipt];
    Ok(Reply::Decided(Decision { messages, ..Decision::default() }))
}

fn decide_notification(call: &Call, pattern: &Pattern) -> Result<Reply, Failure> {
    if pattern.is_poisoned(call.key.as_str()) {
        return Err(Failure::Permanent("planted: for good".to_owned()));
    }
    let messages = vec![
        message(MessageKind::Command, "notify", call),
        message(MessageKind::Command, "notify", call),
    ];
    Ok(Reply::Decided(Decision { messages, ..Decision::default() }))
}

// All scripts have one signature.
#[allow(clippy::unnecessary_wraps)]
fn decide_note(call: &Call, _: &Pattern) -> Result<Reply, Failure> {
    let messages = vec![message(MessageKind::Command, "record", call)];
    Ok(Reply::Decided(Decision { messages, ..Decision::default() }))
}

fn message(kind: MessageKind, message_type: &str, call: &Call) -> Outgoing {
    let own = json!({"order": call.key}).to_string();
    Outgoing {
        kind,
        event_type: message_type.to_owned(),
        subject: None,
        datacontenttype: "application/json".to_owned(),
        // The host's own trace counts, whatever a handler claims.
        extensions: vec![("traceparent".to_owned(), "forged".to_owned())],
        data: payload(&own, half(call.seed)).into(),
    }
}

/// The JSON of an object with an additional member that is JSON by the grammar and that most
/// parsers refuse. The engine must treat it like any other.
pub(crate) fn payload(object: &str, seed: u64) -> String {
    const DEEP: usize = 200;
    let odd = match seed % 8 {
        0 => r#""cut \ud83d""#.to_owned(),
        1 => "1e400".to_owned(),
        2 => format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP)),
        3 => r#"{"\udead":-0,"n":1,"n":2}"#.to_owned(),
        4 => "12345678901234567890123.50".to_owned(),
        _ => return object.to_owned(),
    };
    let comma = if object == "{}" { "" } else { "," };
    format!("{}{comma}\"odd\":{odd}}}", &object[..object.len() - 1])
}
