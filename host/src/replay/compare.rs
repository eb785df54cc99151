//! Pure: a recorded decision against what a candidate decides now.
//!
//! Both are brought into the form of the decision's record, and compared there.

use sagabox_engine::model::{
    Decision, Due, Event, JSON, KeyChange, MessageKind, TimerChange, reserved,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::recorded::Messages;
use crate::scenario::{Difference, differences, shown_message};

/// The record of a decision as the engine writes it.
#[derive(Debug, Default, Deserialize)]
pub struct Summary {
    #[serde(default)]
    pub messages: Vec<Sent>,
    #[serde(default)]
    pub timers: Vec<Value>,
    #[serde(default)]
    pub keys: Vec<Value>,
    #[serde(default)]
    pub complete: bool,
    #[serde(default)]
    pub answers: Vec<Answered>,
    pub dead_letter: Option<u64>,
    /// An operator ended the instance: no handler decided that.
    pub ended: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub struct Sent {
    pub id: String,
    pub kind: MessageKind,
    #[serde(rename = "type")]
    pub event_type: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Answered {
    pub question: sagabox_engine::model::Question,
    pub answer: Value,
}

/// Messages, timers, keys and completion; the state is the caller's to compare.
#[must_use]
pub fn compare(
    summary: &Summary,
    decision: &Decision,
    cause: &Event,
    key: &str,
    messages: &Messages,
) -> Vec<Difference> {
    let mut all = Vec::new();
    let recorded = json!({
        "timers": summary.timers, "keys": summary.keys, "completes": summary.complete,
    });
    let decided = json!({
        "timers": decision.timers.iter().map(timer).collect::<Vec<_>>(),
        "keys": decision.keys.iter().map(key_change).collect::<Vec<_>>(),
        "completes": decision.complete,
    });
    for index in 0..summary.messages.len().max(decision.messages.len()) {
        let place = format!("messages[{index}]");
        let sent = summary.messages.get(index);
        let full = sent.and_then(|sent| messages.get(&sent.id));
        let full: Option<Event> = full.and_then(|text| serde_json::from_str(text).ok());
        let old = sent.map(|sent| {
            let mut shown = json!({"kind": sent.kind, "type": sent.event_type});
            if let Some(event) = &full {
                shown = of_event(sent.kind, event);
            }
            shown
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
                extensions: with_the_hosts(&message.extensions, key, cause),
                data: message.data.clone(),
            };
            match (sent, &full) {
                // What is no longer kept cannot be compared: its kind and type are.
                (Some(_), None) => json!({"kind": message.kind, "type": message.event_type}),
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

fn of_event(kind: MessageKind, event: &Event) -> Value {
    let mut extensions = event.extensions.clone();
    extensions.sort();
    let message = sagabox_engine::model::Outgoing {
        kind,
        event_type: event.event_type.clone(),
        subject: event.subject.clone(),
        datacontenttype: event.datacontenttype.clone().unwrap_or_else(|| JSON.to_owned()),
        extensions,
        data: event.data.clone(),
    };
    let mut shown = shown_message(&message);
    shown["kind"] = json!(kind);
    shown
}

/// As the host sends a message on: with the ordering key, and tracing passed on.
fn with_the_hosts(own: &[(String, String)], key: &str, cause: &Event) -> Vec<(String, String)> {
    let mut all = own.to_vec();
    let passed = [
        ("partitionkey", Some(key)),
        ("traceparent", cause.extension("traceparent")),
        ("tracestate", cause.extension("tracestate")),
    ];
    for (name, value) in passed {
        if let Some(value) = value
            && !own.iter().any(|(known, _)| known == name)
        {
            all.push((name.to_owned(), value.to_owned()));
        }
    }
    all
}

fn timer(change: &TimerChange) -> Value {
    match change {
        TimerChange::Set { name, due: Due::After(millis), .. } => {
            json!({"set": name, "after_ms": millis})
        }
        TimerChange::Set { name, due: Due::At(at), .. } => json!({"set": name, "at": at}),
        TimerChange::Cancel(name) => json!({"cancel": name}),
    }
}

fn key_change(change: &KeyChange) -> Value {
    match change {
        KeyChange::Claim(key) => json!({"claim": key}),
        KeyChange::Release(key) => json!({"release": key}),
    }
}

/// States are compared by what they mean where they are JSON, otherwise byte for byte.
#[must_use]
pub fn compare_states(recorded: Option<&[u8]>, decided: Option<&[u8]>) -> Vec<Difference> {
    if recorded == decided {
        return Vec::new();
    }
    let shown = |state: &[u8]| {
        serde_json::from_slice(state)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(state).into_owned()))
    };
    match (recorded, decided) {
        (Some(old), Some(new)) => {
            let (old_shown, new_shown) = (shown(old), shown(new));
            let found = differences("state", &old_shown, &new_shown);
            let is_json = |state: &[u8]| serde_json::from_slice::<Value>(state).is_ok();
            if found.is_empty() && !(is_json(old) && is_json(new)) {
                let bytes = |state: &[u8]| Some(json!({"sha256": crate::plugin::digest(state)}));
                let place = "state".to_owned();
                return vec![Difference { place, expected: bytes(old), found: bytes(new) }];
            }
            found
        }
        (old, new) => vec![Difference {
            place: "state".to_owned(),
            expected: old.map(shown),
            found: new.map(shown),
        }],
    }
}

/// Whether a record is of something that no handler decided.
#[must_use]
pub fn is_the_hosts(summary: &Summary, event: Option<&Event>) -> bool {
    summary.ended.is_some()
        || event.is_some_and(|event| event.event_type == reserved::INSTANCE_ENDED)
}

/// An answer as it was given, or what is missing of it. A stream is only counted on
/// record: its events are in the log.
pub fn answer(answered: &Answered) -> Result<Known, String> {
    let Some(answer) = answered.answer.as_object() else {
        return Err("an answer is not understood".to_owned());
    };
    let empty = Map::new();
    let of = |name: &str| answer.get(name).or_else(|| empty.get(name));
    if of("missing").is_some() {
        return Ok(Known::Missing);
    }
    if let Some(count) = of("events").and_then(Value::as_u64) {
        return Ok(Known::Stream(count));
    }
    match (of("content_type").and_then(Value::as_str), of("data").and_then(Value::as_str)) {
        // What was no text was recorded with this in place of what it was.
        (_, Some(data)) if data.contains('\u{fffd}') => {
            Err("an answer that is no text is not on record as it was".to_owned())
        }
        (Some(content_type), Some(data)) => {
            Ok(Known::Found(content_type.to_owned(), data.to_owned()))
        }
        _ => Err("an answer is not understood".to_owned()),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    Missing,
    Found(String, String),
    /// So many events.
    Stream(u64),
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::Outgoing;

    use super::*;

    fn cause() -> Event {
        Event::from_json(
            br#"{"specversion":"1.0","id":"1","source":"s","type":"t","traceparent":"tp"}"#,
        )
        .unwrap()
    }

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
    fn check(summary: &Value, decision: &Decision, kept: &[(&str, &str)], expected: &[&str]) {
        let summary: Summary = serde_json::from_value(summary.clone()).unwrap();
        let messages = Messages::of(kept);
        let found = compare(&summary, decision, &cause(), "k", &messages);
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
        let found = compare_states(Some(b"{\"a\":1}"), Some(b"{\"a\":2}"));
        assert_eq!(found[0].to_string(), "state.a: expected 1, found 2");
        assert_eq!(compare_states(Some(&[0xff]), Some(&[0xfe])).len(), 1);
        assert_eq!(
            compare_states(Some(b"1"), None)[0].to_string(),
            "state: expected 1, found nothing"
        );
    }

    #[test]
    fn answers_are_read_back_or_refused() {
        let read = |value: Value| {
            answer(
                &serde_json::from_value(json!({"question": {"stream": "s"}, "answer": value}))
                    .unwrap(),
            )
        };
        assert_eq!(read(json!({"missing": true})), Ok(Known::Missing));
        assert_eq!(read(json!({"events": 3})), Ok(Known::Stream(3)));
        let found = json!({"content_type": "text/plain", "data": "x"});
        assert_eq!(read(found), Ok(Known::Found("text/plain".to_owned(), "x".to_owned())));
        assert!(read(json!({"content_type": "a/b", "data": "\u{fffd}"})).is_err());
    }
}
