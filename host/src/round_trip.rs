//! All ways of an event out of the host and back into it, as one function: for the fuzzer
//! and for a property test. On none of them may an event change.

use std::sync::Arc;

use sagabox_engine::model::json;
use sagabox_engine::model::{
    DeadLetterId, DeadLetterStatus, Event, Hops, JSON, Key, Message, MessageKind, PluginName,
    Position, Sequence, SinkName, Timestamp,
};
use sagabox_engine::model::{Lease, LeaseId, Leased};
use sagabox_engine::pure::pointer;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::{Redrive, lease_json};
use crate::cli::{Edited, indented};
use crate::decisions::json::{Json, differences};
use crate::io::cloudevents;
use crate::io::sinks;
use crate::store::query::rows::{DeadLetterKind, DeadLetterRow};

/// Sends an event all ways.
///
/// # Errors
/// Says on which way it changed, and how.
pub fn check(event: &Event) -> Result<(), String> {
    event.validate().map_err(|error| format!("it is not accepted again: {error}"))?;
    let text = event.to_json();
    same("the store", event, Event::read(text.as_bytes()))?;
    dead_letters(event, &text)?;
    lease(event, &text)?;
    modes(event, &text)?;
    line(event, &text)?;
    values(event)
}

/// A page of dead letters, on the command line and back as an edited event that was not edited.
fn dead_letters(event: &Event, text: &str) -> Result<(), String> {
    #[derive(Serialize)]
    struct Page {
        dead_letters: [DeadLetterRow; 1],
    }
    let raw = RawValue::from_string(text.to_owned());
    let raw = raw.map_err(|error| format!("a row cannot be shown: {error}"))?;
    let dead_letter = DeadLetterRow {
        payloads_hidden: false,
        id: DeadLetterId(1),
        kind: DeadLetterKind::Event,
        plugin: "p".into(),
        key: None,
        position: Position(1),
        sink: None,
        reason: "because".to_owned(),
        log: None,
        cause: "because".to_owned(),
        attempts: 1,
        plugin_version: "1.0.0".to_owned(),
        at: Timestamp(1),
        status: DeadLetterStatus::Open,
        resolved_by: None,
        resolved_reason: None,
        batch: None,
        edited: Some(raw.clone()),
        event: raw,
    };
    let page = serde_json::to_vec(&Page { dead_letters: [dead_letter] });
    let page = page.map_err(|error| format!("a page cannot be written: {error}"))?;
    let answer: Box<RawValue> = serde_json::from_slice(&page)
        .map_err(|error| format!("the command line cannot read a page: {error}"))?;
    let printed = indented(answer.get());
    for (what, page) in [("a page", page.as_slice()), ("the command line", printed.as_bytes())] {
        for member in ["event", "edited"] {
            let shown = pointer::find(page, &format!("/dead_letters/0/{member}"));
            let shown = shown.map_err(|error| format!("{what} is not JSON: {error}"))?;
            if shown != Some(text) {
                return Err(format!("{what} shows {shown:?} instead of {text}"));
            }
        }
    }
    let edited = Edited::new("ada", Some("a reason"), text.as_bytes());
    let edited = edited.map_err(|error| format!("what is shown cannot be edited: {error}"))?;
    let body = serde_json::to_vec(&edited).map_err(|error| error.to_string())?;
    let redrive: Redrive = serde_json::from_slice(&body)
        .map_err(|error| format!("what was edited cannot be sent: {error}"))?;
    let again = redrive.event.ok_or("the edited event got lost")?;
    again.validate().map_err(|error| format!("what was edited is refused: {error}"))?;
    same("an edited redrive", event, Ok::<_, String>(again))
}

/// What a worker gets.
fn lease(event: &Event, text: &str) -> Result<(), String> {
    let message = Message {
        sink: SinkName::from("queue:Do"),
        sequence: Sequence(1),
        kind: MessageKind::Command,
        plugin: PluginName::from("p"),
        key: Key::from("k"),
        cause: Position(1),
        instance: None,
        event: Arc::new(event.clone()),
        hops: Hops::FIRST,
    };
    let leased = Leased { message: Arc::new(message), attempt: 1 };
    let lease = Lease { id: LeaseId(1), expires_at: Timestamp(0), messages: vec![leased] };
    let answer = lease_json(&lease);
    let shown = pointer::find(answer.as_bytes(), "/messages/0/event");
    match shown {
        Ok(Some(shown)) if shown == text => Ok(()),
        other => Err(format!("a lease has {other:?} instead of {text}")),
    }
}

/// The modes of the HTTP binding.
fn modes(event: &Event, text: &str) -> Result<(), String> {
    let structured = cloudevents::structured_headers();
    let mut again = cloudevents::parse(&structured, &text.to_owned().into(), 1)
        .map_err(|error| format!("structured mode is refused: {error}"))?;
    same("structured mode", event, again.pop().ok_or("no event"))?;
    let headers = cloudevents::binary_headers(event);
    let mut again = cloudevents::parse(&headers, &event.data, 1)
        .map_err(|error| format!("binary mode is refused: {error}"))?;
    // Headers have no order, and what is implied in JSON is said there.
    let mut expected = event.clone();
    expected.extensions.sort_unstable();
    expected.datacontenttype.get_or_insert_with(|| JSON.to_owned());
    same("binary mode", &expected, again.pop().ok_or("no event"))
}

/// A file sink's.
fn line(event: &Event, text: &str) -> Result<(), String> {
    let line = sinks::line(event);
    if line.contains(['\n', '\r']) {
        return Err(format!("a line has several: {line}"));
    }
    let is_one_line = !text.contains(['\n', '\r']);
    let mut again = Event::read(line.as_bytes()).map_err(|error| error.to_string())?;
    if !is_one_line {
        // Of JSON data that has line breaks, these became spaces.
        let spaces = |data: &[u8]| {
            let space = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
            data.iter().map(space).collect::<Vec<u8>>()
        };
        if again.data != spaces(&event.data) {
            return Err(format!("a line has the data {:?}", again.data));
        }
        again.data = event.data.clone();
    }
    same("a file", event, Ok::<_, String>(again))
}

/// As values, data keeps its meaning, and what can be looked at is found.
fn values(event: &Event) -> Result<(), String> {
    let Ok(value) = Json::parse(&event.data) else {
        return match json::check(&event.data) {
            Ok(_) => Err("JSON is not read as a value".to_owned()),
            Err(_) => Ok(()),
        };
    };
    let again = Json::parse(value.to_string().as_bytes()).map_err(|error| error.to_string())?;
    match differences("data", &value, &again).first() {
        None => Ok(()),
        Some(difference) => Err(format!("as a value it differs: {difference}")),
    }
}

fn same<E: std::fmt::Display>(
    what: &str,
    event: &Event,
    again: Result<Event, E>,
) -> Result<(), String> {
    match again {
        Ok(again) if again == *event => Ok(()),
        Ok(again) => Err(format!("{what} changes {event:?} to {again:?}")),
        Err(error) => Err(format!("{what} loses {event:?}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn attribute() -> impl Strategy<Value = String> {
        "[ -~äß\u{1F9C0}\u{2028}\u{fffd}]{1,12}"
    }

    /// JSON as people and programs write it, and as they should not.
    fn data() -> impl Strategy<Value = Bytes> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,6})?([eE][+-]?[0-9]{1,4})?",
            "\"([a-zä ]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-f]{4}|\\\\ud[89a-f][0-9a-f]{2}){0,6}\"",
        ];
        let json = leaf.prop_recursive(5, 40, 4, |inner| {
            let members = prop::collection::vec(("(a|b|\\\\udead|\\\\u0061)", inner.clone()), 0..4);
            let blanks = "[ \t\r\n]{0,2}";
            prop_oneof![
                (prop::collection::vec(inner, 0..4), blanks).prop_map(|(items, blanks)| format!(
                    "[{blanks}{}]",
                    items.join(&blanks_and_comma(&blanks))
                )),
                (members, blanks).prop_map(|(members, blanks)| {
                    let members: Vec<String> = members
                        .iter()
                        .map(|(name, value)| format!("\"{name}\":{blanks}{value}"))
                        .collect();
                    format!("{{{}}}", members.join(&blanks_and_comma(&blanks)))
                }),
            ]
        });
        prop_oneof![
            8 => json.prop_map(Bytes::from),
            1 => (1..6_000_usize).prop_map(|depth| ("[".repeat(depth) + &"]".repeat(depth)).into()),
            1 => "\\PC{0,20}".prop_map(Bytes::from),
            1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from),
        ]
    }

    fn blanks_and_comma(blanks: &str) -> String {
        format!("{blanks},{blanks}")
    }

    prop_compose! {
        fn event()(
            id in attribute(),
            event_type in attribute(),
            subject in prop::option::of(attribute()),
            time in prop::option::of(prop::sample::select(vec![
                "2026-01-31T12:00:00Z", "9999-12-31T23:59:59.123456789012z", "1990-12-31T23:59:60Z",
            ])),
            datacontenttype in prop::option::of(prop::sample::select(vec![
                "application/json", "Text/JSON; charset=utf-8", "application/x+json", "text/plain", "image/png",
            ])),
            dataschema in prop::option::of(Just("https://example.com/s#1".to_owned())),
            extensions in prop::collection::btree_map("[a-z]{1,8}x", "[ -~ä]{0,8}", 0..4),
            data in data(),
        ) -> Event {
            Event {
                id,
                source: "/s?a=%20b".to_owned(),
                event_type,
                subject,
                time: time.map(str::to_owned),
                datacontenttype: datacontenttype.map(str::to_owned),
                dataschema,
                extensions: extensions.into_iter().collect(),
                data,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn an_event_comes_back_as_it_went(event in event()) {
            // Types of the host are for the host alone.
            prop_assume!(cloudevents::check_reserved(&event).is_ok());
            prop_assert_eq!(check(&event), Ok(()));
        }
    }

    /// Those that have changed, or stopped a host, before.
    #[test]
    fn known_troubles_come_back_as_they_went() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        for data in [
            r#"{"orderId":7,"big":12345678901234567890123,"cents":10.00,"f":117.63331139400017,"n":1,"n":2}"#,
            r#"{"note":"cut \ud83d"}"#,
            r#"{"n":1e400}"#,
            r#"{"\udead":0}"#,
            "null",
            " {} ",
            "{}\n",
            "{ \"a\" :\r\n 1 }",
            &deep,
        ] {
            for datacontenttype in [None, Some(JSON), Some("text/plain")] {
                let event = Event {
                    id: "num".to_owned(),
                    source: "/t".to_owned(),
                    event_type: "PaymentFailed".to_owned(),
                    subject: None,
                    time: None,
                    datacontenttype: datacontenttype.map(str::to_owned),
                    dataschema: None,
                    extensions: Vec::new(),
                    data: data.to_owned().into(),
                };
                assert_eq!(check(&event), Ok(()));
            }
        }
    }
}
