//! Pure: decisions, messages and questions as JSON that a person can read and write.

use sagabox_engine::model::{
    Decision, Due, JSON, KeyChange, MessageKind, Outgoing, Question, TimerChange, Timestamp,
};
use serde_json::{Map, Value, json};

/// What a decision does; what is empty is left out, but for messages.
#[must_use]
pub fn decision(decision: &Decision, now: Timestamp) -> Value {
    let of = |kind: MessageKind| {
        let messages = decision.messages.iter().filter(|message| message.kind == kind);
        messages.map(message).collect::<Vec<Value>>()
    };
    let mut shown = Map::new();
    shown.insert("sends".to_owned(), of(MessageKind::Command).into());
    shown.insert("emits".to_owned(), of(MessageKind::Event).into());
    if let Some(state) = &decision.state {
        shown.insert("state".to_owned(), data(state));
    }
    if !decision.timers.is_empty() {
        let timers = decision.timers.iter().map(|change| timer(change, now));
        shown.insert("timers".to_owned(), Value::Object(timers.collect()));
    }
    let keys = |claimed: bool| {
        let keys = decision.keys.iter().filter_map(|change| match change {
            KeyChange::Claim(key) if claimed => Some(key.as_str()),
            KeyChange::Release(key) if !claimed => Some(key.as_str()),
            KeyChange::Claim(_) | KeyChange::Release(_) => None,
        });
        keys.collect::<Vec<&str>>()
    };
    for (name, keys) in [("claims", keys(true)), ("releases", keys(false))] {
        if !keys.is_empty() {
            shown.insert(name.to_owned(), json!(keys));
        }
    }
    if decision.complete {
        shown.insert("completes".to_owned(), true.into());
    }
    Value::Object(shown)
}

/// Its name, and in how many milliseconds it is due; null if it is cancelled.
fn timer(change: &TimerChange, now: Timestamp) -> (String, Value) {
    match change {
        TimerChange::Cancel(name) => (name.to_string(), Value::Null),
        TimerChange::Set { name, due, data: own } => {
            let millis = match due {
                Due::After(millis) => *millis,
                Due::At(at) => at.0.saturating_sub(now.0),
            };
            let shown = match own.is_empty() {
                true => json!({"after_ms": millis}),
                false => json!({"after_ms": millis, "data": data(own)}),
            };
            (name.to_string(), shown)
        }
    }
}

#[must_use]
pub fn message(message: &Outgoing) -> Value {
    let mut shown = Map::new();
    shown.insert("type".to_owned(), message.event_type.clone().into());
    if let Some(subject) = &message.subject {
        shown.insert("subject".to_owned(), subject.clone().into());
    }
    if message.datacontenttype != JSON {
        shown.insert("datacontenttype".to_owned(), message.datacontenttype.clone().into());
    }
    if !message.extensions.is_empty() {
        let extensions = message.extensions.iter().map(|(n, v)| (n.clone(), v.clone().into()));
        shown.insert("extensions".to_owned(), Value::Object(extensions.collect()));
    }
    shown.insert("data".to_owned(), data(&message.data));
    Value::Object(shown)
}

#[must_use]
pub fn question(question: &Question) -> Value {
    match question {
        Question::Lookup { name, key } => json!({"lookup": name, "key": key}),
        Question::Stream(subject) => json!({"stream": subject}),
    }
}

/// JSON if it is JSON, text if it is text, otherwise its length and digest.
fn data(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    if let Ok(value) = serde_json::from_slice(bytes) {
        return value;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({"bytes": bytes.len(), "sha256": crate::plugin::digest(bytes)}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_shown_as_a_scenario_writes_it() {
        let pay = Outgoing {
            kind: MessageKind::Command,
            event_type: "Pay".to_owned(),
            subject: Some("o".to_owned()),
            datacontenttype: JSON.to_owned(),
            extensions: Vec::new(),
            data: b"{\"n\":1}".to_vec().into(),
        };
        let set =
            TimerChange::Set { name: "late".into(), due: Due::At(Timestamp(5)), data: "7".into() };
        let all = Decision {
            state: Some("not json".into()),
            messages: vec![pay],
            timers: vec![set, TimerChange::Cancel("old".into())],
            keys: vec![KeyChange::Claim("a".into()), KeyChange::Release("b".into())],
            complete: true,
        };
        let expected = json!({
            "sends": [{"type": "Pay", "subject": "o", "data": {"n": 1}}],
            "emits": [],
            "state": "not json",
            "timers": {"late": {"after_ms": 2, "data": 7}, "old": null},
            "claims": ["a"],
            "releases": ["b"],
            "completes": true,
        });
        assert_eq!(decision(&all, Timestamp(3)), expected);
        let nothing = json!({"sends": [], "emits": []});
        assert_eq!(decision(&Decision::default(), Timestamp(3)), nothing);
    }

    #[test]
    fn bytes_that_are_no_text_are_told_apart() {
        assert_ne!(data(&[0xff, 0]), data(&[0xff, 1]));
    }
}
