//! An instance of another host, as an operator brings it to this one. It is the data of an event
//! of the host, so it is as durable and as ordered as everything else that happens to a key.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Decision, Due, Event, Key, KeyChange, TimerChange, TimerName, Timestamp, reserved};

/// The data of the event by which an instance is imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The name that the operator gave.
    pub by: String,
    /// The reason that the operator gave.
    pub reason: String,
    /// What the other host had of the instance.
    pub instance: ImportedInstance,
}

/// What another host had of an instance, as far as the instance needs it to continue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedInstance {
    /// The wall-clock date of its first decision.
    pub started_at: Timestamp,
    /// The number of its decisions on the other host.
    pub decisions: u64,
    /// Its state; none if no decision returned one.
    pub state: Option<ImportedState>,
    /// Its additional keys.
    pub keys: BTreeSet<Key>,
    /// The timers that were set, and those whose events it had not decided.
    pub timers: Vec<ImportedTimer>,
}

/// A state with its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedState {
    /// The `state-version` of the manifest that wrote it.
    pub version: u32,
    /// The bytes of the state.
    pub data: Octets,
}

/// A timer of an imported instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedTimer {
    /// Its name within the instance.
    pub name: TimerName,
    /// The date at which it fires, not before.
    pub due: Timestamp,
    /// The data of the event as which it fires.
    pub data: Octets,
}

/// Bytes in JSON: `{"text": …}` if they are text, otherwise `{"base64": …}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "OctetMembers", into = "OctetMembers")]
pub struct Octets(pub Bytes);

/// Who imported an instance, why, and how many decisions it had made before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedBy {
    /// The name that the operator gave.
    pub by: String,
    /// The reason that the operator gave.
    pub reason: String,
    /// The number of its decisions on the other host.
    pub decisions: u64,
}

impl Import {
    /// The import that an event brings; none for any other event.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let is_import = event.event_type == reserved::INSTANCE_IMPORTED;
        is_import.then(|| serde_json::from_slice(&event.data).ok()).flatten()
    }

    /// The bytes of the event's data.
    ///
    /// # Panics
    /// Never: all keys of the JSON are strings.
    #[must_use]
    pub fn to_data(&self) -> Bytes {
        serde_json::to_vec(self).expect("an import has only string keys").into()
    }

    /// What the records say of it.
    #[must_use]
    pub fn noted(self) -> ImportedBy {
        let Self { by, reason, instance } = self;
        ImportedBy { by, reason, decisions: instance.decisions }
    }
}

impl ImportedInstance {
    /// The decision that makes an instance on this host what it was on the other one.
    #[must_use]
    pub fn decision(self) -> Decision {
        let timers = self.timers.into_iter().map(|timer| {
            let ImportedTimer { name, due, data } = timer;
            TimerChange::Set { name, due: Due::At(due), data: data.0 }
        });
        Decision {
            state: self.state.map(|state| state.data.0),
            keys: self.keys.into_iter().map(KeyChange::Claim).collect(),
            timers: timers.collect(),
            ..Decision::default()
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OctetMembers {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl From<Octets> for OctetMembers {
    fn from(Octets(bytes): Octets) -> Self {
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self { text: Some(text.to_owned()), base64: None },
            Err(_) => Self { text: None, base64: Some(BASE64.encode(&bytes)) },
        }
    }
}

impl TryFrom<OctetMembers> for Octets {
    type Error = String;

    fn try_from(members: OctetMembers) -> Result<Self, String> {
        match (members.text, members.base64) {
            (Some(text), None) => Ok(Self(text.into())),
            (None, Some(encoded)) => {
                let decoded = BASE64.decode(encoded).map_err(|error| error.to_string())?;
                Ok(Self(decoded.into()))
            }
            _ => Err("bytes are in `text` or in `base64`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(data: &'static [u8]) -> Import {
        Import {
            by: "me".to_owned(),
            reason: "moved".to_owned(),
            instance: ImportedInstance {
                started_at: Timestamp(7),
                decisions: 3,
                state: Some(ImportedState { version: 2, data: Octets(data.into()) }),
                keys: BTreeSet::from(["a".into(), "b\u{0}".into()]),
                timers: vec![ImportedTimer {
                    name: "late".into(),
                    due: Timestamp(9),
                    data: Octets(data.into()),
                }],
            },
        }
    }

    /// Events in logs have this form.
    #[test]
    fn every_byte_of_an_instance_comes_through_its_event() {
        let text = r#"{"by":"me","reason":"moved","instance":{"started_at":7,"decisions":3,"state":{"version":2,"data":{"text":"1.00"}},"keys":["a","b\u0000"],"timers":[{"name":"late","due":9,"data":{"text":"1.00"}}]}}"#;
        assert_eq!(import(b"1.00").to_data(), text.as_bytes());
        let mut event = Event {
            id: "1".to_owned(),
            source: "/s".to_owned(),
            event_type: reserved::INSTANCE_IMPORTED.to_owned(),
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: Vec::new(),
            data: Bytes::new(),
        };
        for data in [b"1.00".as_slice(), b"\xff\x00", b""] {
            event.data = import(data).to_data();
            assert_eq!(Import::of(&event), Some(import(data)));
        }
        event.event_type = "other".to_owned();
        assert_eq!(Import::of(&event), None);
    }

    #[test]
    fn bytes_are_given_once() {
        for text in ["{}", r#"{"text":"a","base64":"YQ=="}"#, r#"{"base64":"?"}"#, r#"{"x":1}"#] {
            assert!(serde_json::from_str::<Octets>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_import_is_a_decision_that_sends_nothing() {
        let decision = import(b"s").instance.decision();
        assert_eq!(decision.state.as_deref(), Some(b"s".as_slice()));
        assert_eq!(
            decision.keys,
            [KeyChange::Claim("a".into()), KeyChange::Claim("b\u{0}".into())]
        );
        let due = Due::At(Timestamp(9));
        let timer = TimerChange::Set { name: "late".into(), due, data: "s".into() };
        assert_eq!(decision.timers, [timer]);
        assert!(decision.messages.is_empty() && !decision.complete);
    }
}
