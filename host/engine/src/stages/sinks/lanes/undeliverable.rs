//! Pure: the event that notifies an instance that its command could not be delivered. It carries
//! the command unchanged, whatever its data.

use std::fmt::Write as _;

use crate::model::json;
use crate::model::{DeadLetterId, Event, Message, Timestamp, Trace, reserved};
use crate::pure::identity;

/// Makes the event that notifies an instance that its command could not be delivered.
pub(super) fn undeliverable(
    message: &Message,
    dead_letter: DeadLetterId,
    attempts: u32,
    reason: &str,
    now: Timestamp,
) -> Event {
    let command = &message.event;
    // Assembled by hand: the command's text is inserted unchanged, whatever its data, and is not
    // parsed.
    let mut data = String::with_capacity(reason.len() + command.data.len() + 512);
    for (before, value) in
        [("{\"id\":", &*command.id), (",\"type\":", &command.event_type), (",\"reason\":", reason)]
    {
        data.push_str(before);
        json::write(&mut data, value);
    }
    let _ = write!(data, ",\"attempts\":{attempts},\"command\":");
    data.push_str(&command.to_json());
    data.push('}');
    let mut extensions = vec![
        (reserved::EXTENSION_PLUGIN.to_owned(), message.plugin.as_str().to_owned()),
        (reserved::EXTENSION_INSTANCE.to_owned(), message.key.as_str().to_owned()),
        (reserved::EXTENSION_DEAD_LETTER.to_owned(), dead_letter.0.to_string()),
    ];
    if let Some(trace) = Trace::of(command) {
        trace.add_to(&mut extensions);
    }
    let started = message.instance.map(|started| started.to_string());
    extensions.extend(started.map(|started| (reserved::EXTENSION_STARTED.to_owned(), started)));
    Event {
        id: identity::undeliverable_event_id(command),
        source: command.source.clone(),
        event_type: reserved::COMMAND_UNDELIVERABLE.to_owned(),
        subject: Some(command.event_type.clone()),
        time: Some(now.to_rfc3339()),
        datacontenttype: None,
        dataschema: None,
        extensions,
        data: data.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Hops, MessageKind, Position, Sequence};

    #[test]
    fn whatever_a_command_carries_its_undeliverable_event_carries_as_it_was() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for data in [
            r#"{"note":"cut \ud83d"}"#,
            r#"{"\udead":1e400,"price":10.00,"n":1,"n":2}"#,
            "null",
            " [1] ",
            "{broken",
            &deep,
        ] {
            let command = Event {
                id: "m-1".to_owned(),
                source: "/sagabox/p".to_owned(),
                event_type: "Do \"it\"".to_owned(),
                subject: None,
                time: None,
                datacontenttype: Some("application/json".to_owned()),
                dataschema: None,
                extensions: Vec::new(),
                data: data.to_owned().into(),
            };
            let text = command.to_json();
            let message = Message {
                sink: "web".into(),
                sequence: Sequence(1),
                kind: MessageKind::Command,
                plugin: "p".into(),
                key: "k".into(),
                cause: Position(1),
                instance: None,
                event: Arc::new(command.clone()),
                hops: Hops::FIRST,
            };
            let event = undeliverable(
                &message,
                DeadLetterId(1),
                3,
                "no: \u{1b}[31m \u{fffd}\n",
                Timestamp(0),
            );
            let expected = format!(
                r#"{{"id":"m-1","type":"Do \"it\"","reason":"no: \u001b[31m �\n","attempts":3,"command":{text}}}"#
            );
            assert_eq!(event.data, expected);
            assert!(json::check(&event.data).is_ok());
            // The event is embedded in turn: in the log, in dead letters, in the next message.
            let shown = Event::from_json(event.to_json().as_bytes()).unwrap();
            assert_eq!(shown, event);
            let inner = crate::pure::pointer::find(&shown.data, "/command").unwrap().unwrap();
            assert_eq!(Event::from_json(inner.as_bytes()), Ok(command));
        }
    }
}
