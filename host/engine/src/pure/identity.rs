//! Pure: ids that are the same after every retry, crash and takeover (guarantee 5), and that belong
//! to the host alone.
//!
//! Each id is a SHA-256 over a domain and its parts, each part preceded by its length. So no two
//! lists of parts have the same bytes. Where an event came from is one of the parts, so an id that
//! is derived from a sender's event never equals one that is derived from an event of the host,
//! whatever ids a sender chooses. Senders may therefore use any source and id: an event with the
//! source `/sagabox/...`, as another host sends it, is a sender's event like any other.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::model::{
    Event, ImportedInstance, Key, Origin, PluginName, Position, Question, SpanId, TimerRef,
    Timestamp,
};

/// What an identity stands for. The names never change, because they are part of every id that
/// was sent.
#[derive(Clone, Copy, Debug)]
enum Domain {
    OutsideEvent,
    HostEvent,
    Decision,
    Message,
    Timer,
    Undeliverable,
    Operator,
    Import,
    Place,
    Span,
    Alert,
}

/// The identity of one decision: a plugin's for an event, in an instance or lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionIdentity(u128);

impl DecisionIdentity {
    /// The identity of the decision of a plugin about an event, in the instance or lane of
    /// `key`. `origin` is the event's.
    #[must_use]
    pub fn new(plugin: &PluginName, origin: Origin, event: &Event, key: &Key) -> Self {
        let event = event_identity(origin, event).to_be_bytes();
        Self(hash(Domain::Decision, &[plugin.as_str().as_bytes(), &event, key.as_str().as_bytes()]))
    }

    /// The id of the decision's message number `index`, counting from 0.
    #[must_use]
    pub fn message_id(&self, index: usize) -> String {
        uuid(hash(Domain::Message, &[&self.0.to_be_bytes(), &(index as u64).to_be_bytes()]))
    }

    /// The seed from which a handler makes its random values; the same in every retry.
    #[must_use]
    pub fn seed(&self) -> u128 {
        self.0
    }

    /// The span of the decision (number 0), or of its attempt of this number that failed.
    #[must_use]
    pub fn span(&self, number: u32) -> SpanId {
        span(&[b"decision", &self.0.to_be_bytes(), &number.to_be_bytes()])
    }

    /// The seed in 64 bits, for uses that need no more.
    #[must_use]
    pub fn short_seed(&self) -> u64 {
        halves(self.0).0 ^ halves(self.0).1
    }
}

/// The identity of an event: two events with the same one are an event and its duplicate.
#[must_use]
pub fn event_identity(origin: Origin, event: &Event) -> u128 {
    let domain = match origin {
        Origin::Outside => Domain::OutsideEvent,
        Origin::Host => Domain::HostEvent,
    };
    hash(domain, &[event.source.as_bytes(), event.id.as_bytes()])
}

/// The id of the event as which a timer fires.
#[must_use]
pub fn timer_event_id(timer: &TimerRef) -> String {
    let TimerRef { plugin, instance, name, due, set_by } = timer;
    let names = [plugin.as_str(), instance.as_str(), name.as_str()].map(str::as_bytes);
    let places = [due.0.to_be_bytes(), set_by.0.to_be_bytes()];
    uuid(hash(Domain::Timer, &[names[0], names[1], names[2], &places[0], &places[1]]))
}

/// The id of the event that reports to an instance that a command cannot be delivered.
#[must_use]
pub fn undeliverable_event_id(command: &Event) -> String {
    uuid(hash(Domain::Undeliverable, &[command.source.as_bytes(), command.id.as_bytes()]))
}

/// The id of the event as which an operator's request reaches an instance. Two requests at the
/// same time have the same id while the instance has decided nothing between them.
#[must_use]
pub fn operator_event_id(
    event_type: &str,
    plugin: &PluginName,
    key: &Key,
    decided: Position,
    said_at: Timestamp,
) -> String {
    let names = [event_type, plugin.as_str(), key.as_str()].map(str::as_bytes);
    let places = [decided.0.to_be_bytes(), said_at.0.to_be_bytes()];
    uuid(hash(Domain::Operator, &[names[0], names[1], names[2], &places[0], &places[1]]))
}

/// The id of the event by which an instance is imported. It follows from the instance as it was on
/// the other host, so that the same instance of the same moment is imported once.
///
/// # Panics
/// Never: all keys of the instance's JSON are strings.
#[must_use]
pub fn import_event_id(plugin: &PluginName, key: &Key, instance: &ImportedInstance) -> String {
    let instance = serde_json::to_vec(instance).expect("an instance has only string keys");
    uuid(hash(Domain::Import, &[plugin.as_str().as_bytes(), key.as_str().as_bytes(), &instance]))
}

/// The span in which the host accepted an event of a sender.
#[must_use]
pub fn arrival_span(event: &Event) -> SpanId {
    span(&[b"arrival", event.source.as_bytes(), event.id.as_bytes()])
}

/// The span in which a timer fires as the event with this id.
#[must_use]
pub fn timer_span(event_id: &str) -> SpanId {
    span(&[b"timer", event_id.as_bytes()])
}

/// The span of one delivery of a message: the number distinguishes it from the others.
#[must_use]
pub fn delivery_span(message_id: &str, number: u64) -> SpanId {
    span(&[b"delivery", message_id.as_bytes(), &number.to_be_bytes()])
}

/// The span of the answer to a question that a handler asked for a decision.
#[must_use]
pub fn answer_span(decision: SpanId, question: &Question) -> SpanId {
    let (kind, name, key) = match question {
        Question::Lookup { name, key } => (&b"lookup"[..], name.as_str(), key.as_str()),
        Question::Stream(subject) => (&b"stream"[..], subject.as_str(), ""),
    };
    span(&[kind, &decision.0.to_be_bytes(), name.as_bytes(), key.as_bytes()])
}

fn span(parts: &[&[u8]]) -> SpanId {
    // Zero would mean that there is no span.
    SpanId(halves(hash(Domain::Span, parts)).0.max(1))
}

/// The place of a key among all keys of a plugin: evenly spread over 64 bits, and the same on
/// every host and in every version. It decides whether a canary serves the key.
#[must_use]
pub fn place(plugin: &PluginName, key: &Key) -> u64 {
    halves(hash(Domain::Place, &[plugin.as_str().as_bytes(), key.as_str().as_bytes()])).0
}

/// The CloudEvents source of the host's alerts.
pub const ALERT_SOURCE: &str = "/sagabox";

/// The name that takes the place of a plugin's in the message of an alert.
pub const ALERT_PLUGIN: &str = "sagabox";

/// The id of an alert: the same for one cause within one period.
#[must_use]
pub fn alert_event_id(event_type: &str, cause: &str, period: u64) -> String {
    uuid(hash(Domain::Alert, &[event_type.as_bytes(), cause.as_bytes(), &period.to_be_bytes()]))
}

/// The CloudEvents source of what a plugin sends.
#[must_use]
pub fn source(plugin: &PluginName) -> String {
    format!("/sagabox/{plugin}")
}

/// The first half of the hash.
fn hash(domain: Domain, parts: &[&[u8]]) -> u128 {
    let mut hasher = Sha256::new();
    let name = match domain {
        Domain::OutsideEvent => "outside-event",
        Domain::HostEvent => "host-event",
        Domain::Decision => "decision",
        Domain::Message => "message",
        Domain::Timer => "timer",
        Domain::Undeliverable => "undeliverable",
        Domain::Operator => "operator",
        Domain::Import => "import",
        Domain::Place => "place",
        Domain::Span => "span",
        Domain::Alert => "alert",
    };
    for part in std::iter::once(name.as_bytes()).chain(parts.iter().copied()) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut half = [0; size_of::<u128>()];
    half.copy_from_slice(&hasher.finalize()[..size_of::<u128>()]);
    u128::from_be_bytes(half)
}

/// A UUID of version 8 (RFC 9562), whose bits the host may choose but for those of version and
/// variant.
fn uuid(hash: u128) -> String {
    uuid::Builder::from_custom_bytes(hash.to_be_bytes()).into_uuid().to_string()
}

fn halves(hash: u128) -> (u64, u64) {
    Uuid::from_u128(hash).as_u64_pair()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    /// Few characters, and those that joined parts are usually parted by: what can be
    /// taken for something else is found soon.
    fn part() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!['\0', '/', '.', 'a']), 0..4)
            .prop_map(|characters| characters.into_iter().collect())
    }

    fn event(source: &str, id: &str) -> Event {
        Event {
            id: id.to_owned(),
            source: source.to_owned(),
            event_type: "happened".to_owned(),
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: Vec::new(),
            data: Bytes::new(),
        }
    }

    fn timer(parts: &[String], due: u64, set_by: u64) -> TimerRef {
        TimerRef {
            plugin: parts[0].as_str().into(),
            instance: parts[1].as_str().into(),
            name: parts[2].as_str().into(),
            due: Timestamp(due),
            set_by: Position(set_by),
        }
    }

    /// Every identity that can be made of four parts and two numbers, with what it is of.
    fn identities(parts: &[String], numbers: (u64, u64)) -> Vec<(String, String)> {
        let (plugin, key) = (parts[0].as_str().into(), parts[1].as_str().into());
        let event = event(&parts[2], &parts[3]);
        let mut all = Vec::new();
        for origin in [Origin::Outside, Origin::Host] {
            let of_event = format!("{origin:?} {:?}", &parts[2..]);
            let known_by = event_identity(origin, &event);
            all.push((format!("{known_by:032x}"), of_event.clone()));
            let decision = DecisionIdentity::new(&plugin, origin, &event, &key);
            for index in [0, 1] {
                let of = format!("message {index} of {:?} for {of_event}", &parts[..2]);
                all.push((decision.message_id(index), of));
            }
        }
        let (due, set_by) = numbers;
        let of = format!("timer {:?} {due} {set_by}", &parts[..3]);
        all.push((timer_event_id(&timer(parts, due, set_by)), of));
        all.push((undeliverable_event_id(&event), format!("undeliverable {:?}", &parts[2..])));
        let said = operator_event_id(&parts[2], &plugin, &key, Position(due), Timestamp(set_by));
        all.push((said, format!("operator {:?} {due} {set_by}", &parts[..3])));
        all
    }

    proptest! {
        #[test]
        fn what_differs_in_any_part_has_another_identity(
            lists in prop::collection::vec((prop::collection::vec(part(), 4), 0_u64..3, 0_u64..3), 1..40)
        ) {
            let mut known: BTreeMap<String, String> = BTreeMap::new();
            for (parts, due, set_by) in &lists {
                for (id, of) in identities(parts, (*due, *set_by)) {
                    let before = known.insert(id.clone(), of.clone());
                    prop_assert!(before.as_ref().is_none_or(|before| *before == of), "{id}: {before:?} and {of}");
                }
            }
        }
    }

    #[test]
    fn ids_are_uuids_of_version_8() {
        let parts = ["orders", "o-1", "/shop", "e-1"].map(str::to_owned);
        for (id, of) in identities(&parts, (1, 2)).into_iter().filter(|(id, _)| id.contains('-')) {
            let uuid: Uuid = id.parse().unwrap();
            assert_eq!(uuid.get_version_num(), 8, "{of}");
        }
    }
}
