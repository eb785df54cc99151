//! Pure: a recorded decision against what a candidate decides now.
//!
//! Both are brought into the form of the decision's record, and compared there.

use std::collections::HashMap;
use std::sync::Arc;

use sagabox_engine::model::{
    Answer, Decision, DecisionSummary, Due, Event, JSON, KeyChange, MessageKind, Question,
    RecordedTimer, TRACEPARENT, TRACESTATE, attribute,
};

use crate::decisions::json::{Difference, Json, differences};
use crate::decisions::shown;

/// The messages of a plugin by their ids.
#[derive(Default)]
pub struct Messages(HashMap<String, Arc<str>>);

impl Messages {
    /// The message as JSON.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(|text| &**text)
    }

    pub fn insert(&mut self, id: String, json: Arc<str>) {
        self.0.insert(id, json);
    }

    #[cfg(test)]
    pub(super) fn of(kept: &[(&str, &str)]) -> Self {
        Self(kept.iter().map(|(id, text)| ((*id).to_owned(), Arc::from(*text))).collect())
    }
}

/// Messages, timers, keys and completion; the state is the caller's to compare.
#[must_use]
pub(crate) fn compare(
    summary: &DecisionSummary,
    decision: &Decision,
    key: &str,
    messages: &Messages,
) -> Vec<Difference> {
    let mut all = Vec::new();
    let rest = |timers: Vec<Json>, keys: Vec<Json>, completes: bool| {
        Json::object([
            ("timers", timers.into()),
            ("keys", keys.into()),
            ("completes", completes.into()),
        ])
    };
    let shown = |timers: &[RecordedTimer], keys: &[KeyChange], completes: bool| {
        let (timers, keys) = (timers.iter().map(timer), keys.iter().map(key_change));
        rest(timers.collect(), keys.collect(), completes)
    };
    let recorded = shown(&summary.timers, &summary.keys, summary.complete);
    let timers: Vec<_> = decision.timers.iter().map(RecordedTimer::from).collect();
    let decided = shown(&timers, &decision.keys, decision.complete);
    for index in 0..summary.messages.len().max(decision.messages.len()) {
        let place = format!("messages[{index}]");
        let sent = summary.messages.get(index);
        let full = sent.and_then(|sent| messages.get(&sent.id));
        let full = full.and_then(|text| Event::read(text.as_bytes()).ok());
        let old = sent.map(|sent| match &full {
            Some(event) => of_event(sent.kind, event),
            None => named(sent.kind, &sent.event_type),
        });
        let new = decision.messages.get(index).map(|message| {
            let event = Event {
                id: String::new(),
                source: String::new(),
                event_type: message.event_type.clone(),
                subject: message.subject.clone(),
                time: None,
                datacontenttype: Some(message.datacontenttype.clone()),
                dataschema: None,
                extensions: with_the_hosts(&message.extensions, key),
                data: message.data.clone(),
            };
            match (sent, &full) {
                // What is no longer kept cannot be compared: its kind and type are.
                (Some(_), None) => named(message.kind, &message.event_type),
                _ => of_event(message.kind, &event),
            }
        });
        match (old, new) {
            (Some(old), Some(new)) => all.extend(differences(&place, &old, &new)),
            (old, new) => all.push(Difference { place, expected: old, found: new }),
        }
    }
    all.extend(differences("", &recorded, &decided));
    all
}

fn named(kind: MessageKind, event_type: &str) -> Json {
    let kind = match kind {
        MessageKind::Command => "command",
        MessageKind::Event => "event",
    };
    Json::object([("kind", kind.into()), ("type", event_type.into())])
}

fn of_event(kind: MessageKind, event: &Event) -> Json {
    let mut extensions = without_trace(&event.extensions);
    extensions.sort();
    let message = sagabox_engine::model::Outgoing {
        kind,
        event_type: event.event_type.clone(),
        subject: event.subject.clone(),
        datacontenttype: event.datacontenttype.clone().unwrap_or_else(|| JSON.to_owned()),
        extensions,
        data: event.data.clone(),
    };
    let mut shown = shown::message(&message);
    shown["kind"] = named(kind, &event.event_type)["kind"].clone();
    shown
}

/// What the host sets itself on what it sends on. It may trace a replayed decision in another way.
const OF_TRACE: [&str; 2] = [TRACEPARENT, TRACESTATE];

/// As the host sends a message on: with the ordering key.
fn with_the_hosts(own: &[(String, String)], key: &str) -> Vec<(String, String)> {
    const PARTITION: &str = "partitionkey";
    let mut all = without_trace(own);
    if !all.iter().any(|(name, _)| name == PARTITION) {
        all.push((PARTITION.to_owned(), attribute::encoded(key).into_owned()));
    }
    all
}

fn without_trace(extensions: &[(String, String)]) -> Vec<(String, String)> {
    extensions.iter().filter(|(name, _)| !OF_TRACE.contains(&name.as_str())).cloned().collect()
}

fn timer(change: &RecordedTimer) -> Json {
    match change {
        RecordedTimer::Set(name, due) => {
            let (member, millis) = match due {
                Due::After(millis) => ("after_ms", *millis),
                Due::At(at) => ("at", at.0),
            };
            Json::object([("set", name.as_str().into()), (member, millis.into())])
        }
        RecordedTimer::Cancel(name) => Json::object([("cancel", name.as_str().into())]),
    }
}

fn key_change(change: &KeyChange) -> Json {
    match change {
        KeyChange::Claim(key) => Json::object([("claim", key.as_str().into())]),
        KeyChange::Release(key) => Json::object([("release", key.as_str().into())]),
    }
}

/// States are compared by what they mean where they are JSON, otherwise byte for byte.
#[must_use]
pub(crate) fn compare_states(recorded: Option<&[u8]>, decided: Option<&[u8]>) -> Vec<Difference> {
    if recorded == decided {
        return Vec::new();
    }
    let place = || "state".to_owned();
    match (recorded, decided) {
        (Some(old), Some(new)) => match (Json::parse(old), Json::parse(new)) {
            (Ok(old), Ok(new)) => differences("state", &old, &new),
            _ => {
                let bytes = |state: &[u8]| {
                    let digest = crate::decisions::digest::digest(state);
                    Json::object([("shown", shown::data(state)), ("sha256", digest.into())])
                };
                let (expected, found) = (Some(bytes(old)), Some(bytes(new)));
                vec![Difference { place: place(), expected, found }]
            }
        },
        (old, new) => vec![Difference {
            place: place(),
            expected: old.map(shown::data),
            found: new.map(shown::data),
        }],
    }
}

/// The candidate fails at what was decided.
#[must_use]
pub(crate) fn failed(why: &str) -> Difference {
    Difference {
        place: "decision".to_owned(),
        expected: Some("as recorded".into()),
        found: Some(Json::object([("fails", why.into())])),
    }
}

/// What the candidate wants to know and the plugin did not.
#[must_use]
pub(crate) fn asks(questions: &[Question], known: &[Answer]) -> Difference {
    let fresh = questions
        .iter()
        .filter(|question| known.iter().all(|answer| answer.question != **question))
        .map(shown::question);
    Difference { place: "asks".to_owned(), expected: None, found: Some(fresh.collect()) }
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::{Outgoing, TimerChange};

    use super::*;
    use crate::decisions::json::json;

    fn pay(sum: u32) -> Outgoing {
        Outgoing {
            kind: MessageKind::Command,
            event_type: "Pay".to_owned(),
            subject: None,
            datacontenttype: JSON.to_owned(),
            extensions: Vec::new(),
            data: format!("{{\"sum\":{sum}}}").into(),
        }
    }

    #[track_caller]
    fn check(summary: &Json, decision: &Decision, kept: &[(&str, &str)], expected: &[&str]) {
        let summary = DecisionSummary::from_json(&summary.to_string()).unwrap();
        let messages = Messages::of(kept);
        let found = compare(&summary, decision, "k", &messages);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    const KEPT: &str = r#"{"specversion":"1.0","id":"m1","source":"/sagabox/p","type":"Pay","datacontenttype":"application/json","partitionkey":"k","traceparent":"tp","data":{"sum":7}}"#;

    #[test]
    fn the_same_decision_is_no_difference() {
        let decision = Decision {
            messages: vec![pay(7)],
            timers: vec![TimerChange::Set {
                name: "t".into(),
                due: Due::After(5),
                data: "1".into(),
            }],
            keys: vec![KeyChange::Claim("a".into())],
            complete: true,
            state: None,
        };
        let summary = json!({
            "messages": [{"id": "m1", "kind": "command", "type": "Pay", "sink": "queue:Pay"}],
            "timers": [{"set": "t", "after_ms": 5}], "keys": [{"claim": "a"}], "complete": true,
        });
        check(&summary, &decision, &[("m1", KEPT)], &[]);
    }

    #[test]
    fn each_difference_is_named() {
        let sent = json!({"messages": [{"id": "m1", "kind": "command", "type": "Pay"}]});
        let one = Decision { messages: vec![pay(8)], ..Decision::default() };
        let place = "messages[0].data.sum: expected 7, found 8";
        check(&sent, &one, &[("m1", KEPT)], &[place]);
        // Without the message itself, its type is all that there is to compare.
        check(&sent, &one, &[], &[]);
        let none = Decision { complete: true, ..Decision::default() };
        check(
            &sent,
            &none,
            &[],
            &[
                "messages[0]: expected {\"kind\":\"command\",\"type\":\"Pay\"}, found nothing",
                "completes: expected false, found true",
            ],
        );
    }

    #[test]
    fn states_are_compared_by_what_they_mean() {
        assert_eq!(compare_states(Some(b"{\"a\":1}"), Some(b"{ \"a\": 1 }")), []);
        assert_eq!(compare_states(None, None), []);
        let found =
            compare_states(Some(b"{\"n\":9007199254740993}"), Some(b"{\"n\":9007199254740992.0}"));
        assert_eq!(
            found[0].to_string(),
            "state.n: expected 9007199254740993, found 9007199254740992.0"
        );
        assert_eq!(compare_states(Some(b"{\"n\":1,\"n\":2}"), Some(b"{\"n\":2}")).len(), 2);
        assert_eq!(compare_states(Some(b"no json"), Some(b"neither")).len(), 1);
        let found = compare_states(Some(b"{\"a\":1}"), Some(b"{\"a\":2}"));
        assert_eq!(found[0].to_string(), "state.a: expected 1, found 2");
        assert_eq!(compare_states(Some(&[0xff]), Some(&[0xfe])).len(), 1);
        assert_eq!(
            compare_states(Some(b"1"), None)[0].to_string(),
            "state: expected 1, found nothing"
        );
    }
}
