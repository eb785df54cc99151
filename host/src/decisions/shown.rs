//! Pure: decisions, messages and questions as JSON that a person can read and write.

use sagabox_engine::model::{
    Decision, Due, JSON, KeyChange, MessageKind, Outgoing, Question, TimerChange, Timestamp,
    attribute,
};

use crate::decisions::json::{Json, Object};

/// What a decision does; what is empty is left out, but for messages.
#[must_use]
pub(crate) fn decision(decision: &Decision, now: Timestamp) -> Json {
    let of = |kind: MessageKind| {
        let messages = decision.messages.iter().filter(|message| message.kind == kind);
        messages.map(message).collect::<Json>()
    };
    let mut shown = Object::default();
    shown.insert("sends", of(MessageKind::Command));
    shown.insert("emits", of(MessageKind::Event));
    if let Some(state) = &decision.state {
        shown.insert("state", data(state));
    }
    if !decision.timers.is_empty() {
        let timers = decision.timers.iter().map(|change| timer(change, now));
        shown.insert("timers", Json::object(timers));
    }
    let keys = |claimed: bool| {
        let keys = decision.keys.iter().filter_map(|change| match change {
            KeyChange::Claim(key) if claimed => Some(Json::from(key.as_str())),
            KeyChange::Release(key) if !claimed => Some(Json::from(key.as_str())),
            KeyChange::Claim(_) | KeyChange::Release(_) => None,
        });
        keys.collect::<Vec<Json>>()
    };
    for (name, keys) in [("claims", keys(true)), ("releases", keys(false))] {
        if !keys.is_empty() {
            shown.insert(name, keys.into());
        }
    }
    if decision.complete {
        shown.insert("completes", true.into());
    }
    shown.into()
}

/// Its name, and in how many milliseconds it is due, which are less than none for a time
/// that is over; null if it is cancelled.
fn timer(change: &TimerChange, now: Timestamp) -> (String, Json) {
    match change {
        TimerChange::Cancel(name) => (name.to_string(), Json::Null),
        TimerChange::Set { name, due, data: own } => {
            let millis = match due {
                Due::After(millis) => Json::from(*millis),
                Due::At(at) => after(*at, now),
            };
            let mut shown = Json::object([("after_ms", millis)]);
            if !own.is_empty() {
                shown["data"] = data(own);
            }
            (name.to_string(), shown)
        }
    }
}

/// The milliseconds from one time to another.
#[must_use]
pub(crate) fn after(at: Timestamp, now: Timestamp) -> Json {
    match at >= now {
        true => (at.0 - now.0).into(),
        false => i64::try_from(now.0 - at.0).map_or(i64::MIN, |millis| -millis).into(),
    }
}

#[must_use]
pub(crate) fn message(message: &Outgoing) -> Json {
    let mut shown = Object::default();
    shown.insert("type", message.event_type.as_str().into());
    if let Some(subject) = &message.subject {
        shown.insert("subject", subject.as_str().into());
    }
    if message.datacontenttype != JSON {
        shown.insert("datacontenttype", message.datacontenttype.as_str().into());
    }
    if !message.extensions.is_empty() {
        let extensions =
            message.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str().into()));
        shown.insert("extensions", Json::object(extensions));
    }
    let shown_data = match attribute::is_json(&message.datacontenttype) {
        true => data(&message.data),
        false => text(&message.data),
    };
    shown.insert("data", shown_data);
    shown.into()
}

#[must_use]
pub(crate) fn question(question: &Question) -> Json {
    match question {
        Question::Lookup { name, key } => {
            Json::object([("lookup", name.as_str().into()), ("key", key.as_str().into())])
        }
        Question::Stream(subject) => Json::object([("stream", subject.as_str().into())]),
    }
}

/// JSON if it is JSON, otherwise as [`text`].
#[must_use]
pub(crate) fn data(bytes: &[u8]) -> Json {
    Json::parse(bytes).unwrap_or_else(|_| text(bytes))
}

/// Text if it is text, otherwise its length and digest; null if there is none.
fn text(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok("") => Json::Null,
        Ok(text) => text.into(),
        Err(_) => Json::object([
            ("bytes", bytes.len().into()),
            ("sha256", crate::decisions::digest::digest(bytes).into()),
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::json::json;

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
    fn bytes_that_are_no_text_are_distinguished() {
        assert_ne!(data(&[0xff, 0]), data(&[0xff, 1]));
    }

    #[test]
    fn a_time_that_is_over_is_distinguished_from_another_one() {
        let set = |at| TimerChange::Set {
            name: "t".into(),
            due: Due::At(Timestamp(at)),
            data: "".into(),
        };
        let shown = |at| timer(&set(at), Timestamp(1_000)).1;
        assert_eq!(shown(400), json!({"after_ms": -600}));
        assert_eq!(shown(1_000), json!({"after_ms": 0}));
        assert_ne!(shown(400), shown(500));
    }

    #[test]
    fn data_is_taken_apart_only_if_it_is_called_json() {
        let of = |kind: &str, data: &'static str| {
            message(&Outgoing {
                kind: MessageKind::Command,
                event_type: "Pay".to_owned(),
                subject: None,
                datacontenttype: kind.to_owned(),
                extensions: Vec::new(),
                data: data.into(),
            })["data"]
                .clone()
        };
        assert_eq!(of("application/vnd.x+json", "1.0"), of("application/json", "1"));
        assert_ne!(of("text/plain", "1.0"), of("text/plain", "1"));
        assert_eq!(of("application/json", ""), Json::Null);
        assert_eq!(of("application/json", r#"{"n":1e400}"#).to_string(), r#"{"n":1e400}"#);
    }
}
