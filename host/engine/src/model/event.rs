//! A CloudEvents 1.0 event and its JSON format.
//!
//! Source of the rules: CloudEvents specification 1.0.2, sections "Context
//! Attributes" and "Type System", and the JSON Event Format 1.0.2.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;

use super::reserved;

/// The media type of JSON data, and what an event without `datacontenttype` means.
pub const JSON: &str = "application/json";

/// Limits on attributes. CloudEvents asks receivers to take events of 64 KiB at
/// least; no attribute needs more than a fraction of that.
const ATTRIBUTE_BYTES_MAX: usize = 4096;
/// An extension's name should have at most 20 characters; more are common in the wild.
const EXTENSION_NAME_BYTES_MAX: usize = 64;
const EXTENSIONS_MAX: usize = 64;

/// A fact. Cheap to share in an `Arc`; never changed after it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub source: String,
    pub event_type: String,
    pub subject: Option<String>,
    /// RFC 3339, as the sender wrote it.
    pub time: Option<String>,
    pub datacontenttype: Option<String>,
    pub dataschema: Option<String>,
    /// Name and canonical string form of the value.
    pub extensions: Vec<(String, String)>,
    /// Byte for byte as it came. Empty if there is none.
    pub data: Bytes,
}

/// Why something is not a CloudEvents 1.0 event.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("attribute `{attribute}`: {reason}")]
pub struct EventError {
    pub attribute: String,
    pub reason: String,
}

impl EventError {
    pub fn new(attribute: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { attribute: attribute.into(), reason: reason.into() }
    }
}

impl Event {
    /// The media type of `data`: JSON unless the sender said otherwise.
    #[must_use]
    pub fn content_type(&self) -> &str {
        self.datacontenttype.as_deref().unwrap_or(JSON)
    }

    /// Whether `data` is JSON by its media type (`application/json`, `text/json`, `…+json`).
    #[must_use]
    pub fn is_json(&self) -> bool {
        is_json_media_type(self.content_type())
    }

    /// The subject whose stream the event belongs to. What the host has for one plugin alone
    /// (fired timers, redriven events, what operators ask of instances) is in no stream: a
    /// redriven event stands in it where it came first.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        let addressed = self.extension(reserved::EXTENSION_PLUGIN).is_some();
        self.subject.as_deref().filter(|_| !addressed)
    }

    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A context attribute or extension by its name; none if it is not set.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "id" => Some(&self.id),
            "source" => Some(&self.source),
            "type" => Some(&self.event_type),
            "subject" => self.subject.as_deref(),
            "time" => self.time.as_deref(),
            "datacontenttype" => self.datacontenttype.as_deref(),
            "dataschema" => self.dataschema.as_deref(),
            "specversion" => Some("1.0"),
            other => self.extension(other),
        }
    }

    /// Checks what the specification demands of the attributes.
    ///
    /// # Errors
    /// Names the first attribute at fault.
    pub fn validate(&self) -> Result<(), EventError> {
        for (name, value) in
            [("id", &self.id), ("source", &self.source), ("type", &self.event_type)]
        {
            if value.is_empty() {
                return Err(EventError::new(name, "is required and must not be empty"));
            }
        }
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.datacontenttype),
            ("dataschema", &self.dataschema),
        ];
        for (name, value) in optional {
            if value.as_deref() == Some("") {
                return Err(EventError::new(name, "must not be empty when it is given"));
            }
        }
        if let Some(time) = &self.time
            && time.parse::<jiff::Timestamp>().is_err()
        {
            return Err(EventError::new(
                "time",
                format!(
                    "`{}` is not an RFC 3339 timestamp such as 2026-01-31T12:00:00Z",
                    clip(time)
                ),
            ));
        }
        if self.extensions.len() > EXTENSIONS_MAX {
            return Err(EventError::new(
                &self.extensions[EXTENSIONS_MAX].0,
                format!("an event can have at most {EXTENSIONS_MAX} extension attributes"),
            ));
        }
        for (index, (name, _)) in self.extensions.iter().enumerate() {
            validate_extension_name(name)?;
            if self.extensions[..index].iter().any(|(other, _)| other == name) {
                return Err(EventError::new(name, TWICE));
            }
        }
        let values = [("id", &self.id), ("source", &self.source), ("type", &self.event_type)];
        let all = values
            .into_iter()
            .chain(optional.into_iter().filter_map(|(n, v)| v.as_ref().map(|v| (n, v))))
            .chain(self.extensions.iter().map(|(n, v)| (n.as_str(), v)));
        for (name, value) in all {
            if value.len() > ATTRIBUTE_BYTES_MAX {
                return Err(EventError::new(
                    name,
                    format!(
                        "has {} bytes; at most {ATTRIBUTE_BYTES_MAX} are accepted",
                        value.len()
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Parses the JSON event format and validates it.
    ///
    /// # Errors
    /// Names the attribute at fault; `data` for JSON that is no event at all.
    pub fn from_json(json: &[u8]) -> Result<Self, EventError> {
        let text = std::str::from_utf8(json)
            .map_err(|error| EventError::new("data", format!("not UTF-8: {error}")))?;
        let parsed: Result<Self, serde_json::Error> = serde_json::from_str(text);
        let event = parsed.map_err(|error| attribute_of(&error.to_string()))?;
        event.validate()?;
        Ok(event)
    }

    /// The JSON event format, on one line unless the data itself has line breaks.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Without this the text would be copied at every doubling.
        let extensions = self.extensions.iter().map(|(name, value)| name.len() + value.len() + 6);
        let data = self.data.len() * 4 / 3 + extensions.sum::<usize>();
        let mut json = Vec::with_capacity(ATTRIBUTES_BYTES + data);
        serde_json::to_writer(&mut json, self).expect("an event has only string keys");
        String::from_utf8(json).expect("JSON is UTF-8")
    }
}

/// What an event's JSON usually needs besides its data and extensions.
const ATTRIBUTES_BYTES: usize = 384;

fn is_json_media_type(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or("").trim();
    let essence = essence.to_ascii_lowercase();
    essence == JSON || essence == "text/json" || essence.ends_with("+json")
}

fn validate_extension_name(name: &str) -> Result<(), EventError> {
    if name.is_empty() || name.len() > EXTENSION_NAME_BYTES_MAX {
        return Err(EventError::new(
            name,
            format!("an extension's name has 1 to {EXTENSION_NAME_BYTES_MAX} characters"),
        ));
    }
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return Err(EventError::new(
            name,
            "an attribute's name has only the characters a-z and 0-9",
        ));
    }
    Ok(())
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

const TWICE: &str = "is given more than once";

/// Serde carries our own errors as text: `attribute \u{1f} reason`.
const SEPARATOR: char = '\u{1f}';

fn attribute_of(message: &str) -> EventError {
    let Some((attribute, rest)) = message.split_once(SEPARATOR) else {
        return EventError::new("data", format!("not a CloudEvent in JSON: {message}"));
    };
    let reason = rest.rsplit_once(" at line ").map_or(rest, |(reason, _)| reason);
    EventError::new(attribute, reason)
}

fn fault<E: serde::de::Error>(attribute: &str, reason: impl fmt::Display) -> E {
    E::custom(format!("{attribute}{SEPARATOR}{reason}"))
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object with the attributes of a CloudEvent")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        let mut id = None;
        let mut source = None;
        let mut event_type = None;
        let mut specversion: Option<String> = None;
        let mut event = Event {
            id: String::new(),
            source: String::new(),
            event_type: String::new(),
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: Vec::new(),
            data: Bytes::new(),
        };
        let mut data: Option<&'de RawValue> = None;
        let mut data_base64: Option<String> = None;
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let name = name.as_ref();
            match name {
                "data" => {
                    let raw: &'de RawValue = map.next_value()?;
                    if data.is_some() {
                        return Err(fault(name, TWICE));
                    }
                    // `"data": null` is how several SDKs write "no data".
                    data = (raw.get() != "null").then_some(raw);
                }
                "data_base64" => once(&mut data_base64, name, map.next_value()?)?,
                "id" => once(&mut id, name, map.next_value()?)?,
                "source" => once(&mut source, name, map.next_value()?)?,
                "type" => once(&mut event_type, name, map.next_value()?)?,
                "specversion" => once(&mut specversion, name, map.next_value()?)?,
                "subject" => once(&mut event.subject, name, map.next_value()?)?,
                "time" => once(&mut event.time, name, map.next_value()?)?,
                "datacontenttype" => once(&mut event.datacontenttype, name, map.next_value()?)?,
                "dataschema" => once(&mut event.dataschema, name, map.next_value()?)?,
                _ => {
                    if let Some(value) = extension_value(name, map.next_value()?)? {
                        event.extensions.push((name.to_owned(), value));
                    }
                }
            }
        }
        match specversion.as_deref() {
            Some("1.0") => {}
            Some(other) => {
                return Err(fault(
                    "specversion",
                    format!("is `{}`; only 1.0 is accepted", clip(other)),
                ));
            }
            None => return Err(fault("specversion", "is required, with the value 1.0")),
        }
        event.id = id.ok_or_else(|| fault("id", "is required"))?;
        event.source = source.ok_or_else(|| fault("source", "is required"))?;
        event.event_type = event_type.ok_or_else(|| fault("type", "is required"))?;
        event.data = match (data, data_base64) {
            (Some(_), Some(_)) => return Err(fault("data_base64", "must not stand beside `data`")),
            (None, None) => Bytes::new(),
            (None, Some(encoded)) => BASE64
                .decode(encoded)
                .map_err(|error| fault("data_base64", format!("is not base64: {error}")))?
                .into(),
            (Some(raw), None) => data_bytes(&event, raw)?,
        };
        Ok(event)
    }
}

/// JSON data is kept as it was written. Of other media types a JSON string carries the text itself.
fn data_bytes<E: serde::de::Error>(event: &Event, raw: &RawValue) -> Result<Bytes, E> {
    if !event.is_json() && raw.get().starts_with('"') {
        let text: String = serde_json::from_str(raw.get()).map_err(|error| fault("data", error))?;
        return Ok(text.into());
    }
    Ok(Bytes::copy_from_slice(raw.get().as_bytes()))
}

/// JSON leaves open which of two members with one name counts; readers would differ.
fn once<E: serde::de::Error>(
    slot: &mut Option<String>,
    name: &str,
    raw: &RawValue,
) -> Result<(), E> {
    if slot.is_some() {
        return Err(fault(name, TWICE));
    }
    *slot = string(name, raw)?;
    Ok(())
}

fn string<E: serde::de::Error>(name: &str, raw: &RawValue) -> Result<Option<String>, E> {
    let text = raw.get();
    if text == "null" {
        return Ok(None);
    }
    if !text.starts_with('"') {
        return Err(fault(name, format!("must be a string, not {}", clip(text))));
    }
    // Nearly all strings are written as they are.
    let inner = &text[1..text.len() - 1];
    if !inner.contains('\\') {
        return Ok(Some(inner.to_owned()));
    }
    serde_json::from_str(text).map(Some).map_err(|error| fault(name, error))
}

fn extension_value<E: serde::de::Error>(name: &str, raw: &RawValue) -> Result<Option<String>, E> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => string(name, raw),
        Some(b'n') => Ok(None),
        Some(b't' | b'f') => Ok(Some(text.to_owned())),
        Some(b'-' | b'0'..=b'9') if text.parse::<i32>().is_ok() => Ok(Some(text.to_owned())),
        _ => Err(fault(
            name,
            format!("an extension is a string, a boolean or a 32-bit integer, not {}", clip(text)),
        )),
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("type", &self.event_type)?;
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.datacontenttype),
            ("dataschema", &self.dataschema),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        for (name, value) in &self.extensions {
            map.serialize_entry(name, value)?;
        }
        if !self.data.is_empty() {
            serialize_data(&mut map, self)?;
        }
        map.end()
    }
}

fn serialize_data<M: SerializeMap>(map: &mut M, event: &Event) -> Result<(), M::Error> {
    let text = std::str::from_utf8(&event.data).ok();
    if event.is_json() {
        let json = text.and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
        // Surrounding blanks would be lost: only what survives the way there and back is embedded.
        if let Some(json) = json.filter(|json| json.get().len() == event.data.len())
            && json.get() != "null"
        {
            return map.serialize_entry("data", json);
        }
    } else if let Some(text) = text {
        return map.serialize_entry("data", text);
    }
    map.serialize_entry("data_base64", &BASE64.encode(&event.data))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"placed"}"#;

    fn with(member: &str) -> String {
        format!("{},{member}}}", &MINIMAL[..MINIMAL.len() - 1])
    }

    #[track_caller]
    fn check_round_trip(json: &str) -> Event {
        let event = Event::from_json(json.as_bytes()).unwrap();
        let again = Event::from_json(event.to_json().as_bytes()).unwrap();
        assert_eq!(event, again);
        event
    }

    #[track_caller]
    fn check_fault(json: &str, attribute: &str, reason: &str) {
        let error = Event::from_json(json.as_bytes()).unwrap_err();
        assert_eq!((error.attribute.as_str(), error.reason.as_str()), (attribute, reason));
    }

    #[test]
    fn json_data_is_kept_byte_for_byte() {
        let event = check_round_trip(&with(r#""data":{"b" : 1.00, "a":[1 ,2]}"#));
        assert_eq!(event.data, r#"{"b" : 1.00, "a":[1 ,2]}"#);
    }

    #[test]
    fn binary_and_text_data_survive() {
        let event =
            check_round_trip(&with(r#""datacontenttype":"image/png","data_base64":"AP8=""#));
        assert_eq!(event.data, &b"\x00\xff"[..]);
        let event = check_round_trip(&with(r#""datacontenttype":"text/plain","data":"\u00e4 b""#));
        assert_eq!(event.data, "ä b");
    }

    #[test]
    fn data_that_is_not_the_json_it_claims_to_be_survives() {
        let mut event = Event::from_json(MINIMAL.as_bytes()).unwrap();
        for data in ["{broken", " {} ", "null"] {
            event.data = Bytes::from_static(data.as_bytes());
            assert_eq!(Event::from_json(event.to_json().as_bytes()).unwrap(), event);
        }
    }

    #[test]
    fn extensions_have_a_canonical_string_form() {
        let event = check_round_trip(&with(r#""a":"x","b":true,"c":-7,"d":null"#));
        let expected = [("a", "x"), ("b", "true"), ("c", "-7")];
        assert_eq!(event.extensions, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_fault_names_its_attribute() {
        check_fault(r#"{"specversion":"1.0","source":"s","type":"t"}"#, "id", "is required");
        check_fault(
            r#"{"id":"1","source":"s","type":"t"}"#,
            "specversion",
            "is required, with the value 1.0",
        );
        check_fault(&with(r#""subject":7"#), "subject", "must be a string, not 7");
        check_fault(&with(r#""subject":"""#), "subject", "must not be empty when it is given");
        check_fault(
            &with(r#""time":"yesterday""#),
            "time",
            "`yesterday` is not an RFC 3339 timestamp such as 2026-01-31T12:00:00Z",
        );
        check_fault(
            &with(r#""x-y":"1""#),
            "x-y",
            "an attribute's name has only the characters a-z and 0-9",
        );
        check_fault(
            &with(r#""data":1,"data_base64":"AA==""#),
            "data_base64",
            "must not stand beside `data`",
        );
    }

    #[test]
    fn an_attribute_stands_once() {
        let again = [
            r#""id":"2""#,
            r#""source":"/other""#,
            r#""type":"paid""#,
            r#""specversion":"1.0""#,
            r#""subject":"a","subject":"b""#,
            r#""time":"2026-01-31T12:00:00Z","time":"2026-01-31T12:00:00Z""#,
            r#""datacontenttype":"text/plain","datacontenttype":"text/html""#,
            r#""dataschema":"a","dataschema":"b""#,
            r#""data":1,"data":2"#,
            r#""data_base64":"AA==","data_base64":"AQ==""#,
            r#""x":"1","y":"2","x":"3""#,
        ];
        for members in again {
            let name = members.split('"').nth(1).unwrap();
            check_fault(&with(members), name, "is given more than once");
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for json in ["", "7", "[]", "{", "\u{0}"] {
            assert_eq!(Event::from_json(json.as_bytes()).unwrap_err().attribute, "data");
        }
    }
}
