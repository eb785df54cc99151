//! A CloudEvents 1.0 event and its JSON format.
//!
//! Source of the rules: CloudEvents specification 1.0.2, sections "Context
//! Attributes" and "Type System", and the JSON Event Format 1.0.2.
//!
//! The data is kept byte for byte, and is written into JSON and read from it byte for byte: this
//! file never builds values from it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;

use super::attribute::{self, clip};
use super::message::reserved;
use crate::model::json::{self, Scanner, SyntaxError};

/// The media type of JSON data, and what an event without `datacontenttype` means.
pub const JSON: &str = "application/json";

/// Limits on attributes. CloudEvents asks receivers to take events of 64 KiB at
/// least; no attribute needs more than a fraction of that.
const ATTRIBUTE_BYTES_MAX: usize = 4096;
const EXTENSIONS_MAX: usize = 64;
const TOO_MANY: &str = "an event can have at most 64 extension attributes";

/// A fact: a CloudEvents 1.0 event. The host never changes an event that it has accepted, and
/// shares it in an `Arc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Identifies the event together with `source`: a second event with the same pair is a
    /// duplicate. Never empty.
    pub id: String,
    /// The context in which the event happened: a URI reference (RFC 3986). Never empty. It is
    /// `/sagabox/<plugin>` for what a plugin sends.
    pub source: String,
    /// The CloudEvents attribute `type`, which subscriptions and routes name. Never empty.
    pub event_type: String,
    /// What the event is about; it names the event's stream. None if the sender gave none, never
    /// empty.
    pub subject: Option<String>,
    /// RFC 3339, as the sender wrote it.
    pub time: Option<String>,
    /// The media type of `data` (RFC 2045); none means JSON.
    pub datacontenttype: Option<String>,
    /// The URI of a schema that `data` follows. The host passes it on and never reads the
    /// schema.
    pub dataschema: Option<String>,
    /// Extension attributes: the name, and the value in its canonical string form. At most 64,
    /// each name once.
    pub extensions: Vec<(String, String)>,
    /// The payload, byte for byte as it came. Empty if there is none.
    pub data: Bytes,
}

/// Why something is not a CloudEvents 1.0 event.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("attribute `{attribute}`: {reason}")]
pub struct EventError {
    /// The name of the attribute at fault, as in the JSON format. It is `data` if the text is no
    /// event.
    pub attribute: String,
    /// What is wrong with the attribute, for people. Values in it are shortened and escaped.
    pub reason: String,
}

impl EventError {
    /// The error for one attribute.
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
        attribute::is_json(self.content_type())
    }

    /// The subject whose stream the event belongs to; none if the event is in no stream. That is
    /// so for events without a subject and for those that the host made for one plugin: fired
    /// timers, redriven events, and what operators request of instances. A redriven event is in
    /// the stream where it came first.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        let addressed = self.extension(reserved::EXTENSION_PLUGIN).is_some();
        self.subject.as_deref().filter(|_| !addressed)
    }

    /// The value of an extension attribute; none if it is not set.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A context attribute or extension by its name; none if it is not set. `specversion` is
    /// always `1.0`.
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

    /// Checks the rules of the specification for all attributes, and the host's limits: 4,096
    /// bytes for each value and 64 extension attributes. It does not check `data`.
    ///
    /// # Errors
    /// Names the first attribute at fault.
    pub fn validate(&self) -> Result<(), EventError> {
        type Rule = fn(&str) -> Result<(), String>;
        let attributes: [(&str, Option<&str>, Rule); 7] = [
            ("id", Some(&self.id), attribute::text),
            ("source", Some(&self.source), attribute::uri_reference),
            ("type", Some(&self.event_type), attribute::text),
            ("subject", self.subject.as_deref(), attribute::text),
            ("time", self.time.as_deref(), attribute::timestamp),
            ("datacontenttype", self.datacontenttype.as_deref(), attribute::media_type),
            ("dataschema", self.dataschema.as_deref(), attribute::uri),
        ];
        for (index, (name, value, rule)) in attributes.into_iter().enumerate() {
            let Some(value) = value else { continue };
            let is_required = index < 3;
            if value.is_empty() {
                let reason = match is_required {
                    true => "is required and must not be empty",
                    false => "must not be empty when it is given",
                };
                return Err(EventError::new(name, reason));
            }
            bounded(name, value)?;
            rule(value).map_err(|reason| EventError::new(name, reason))?;
        }
        if self.extensions.len() > EXTENSIONS_MAX {
            return Err(EventError::new(&self.extensions[EXTENSIONS_MAX].0, TOO_MANY));
        }
        for (index, (name, value)) in self.extensions.iter().enumerate() {
            attribute::extension_name(name).map_err(|reason| EventError::new(name, reason))?;
            if self.extensions[..index].iter().any(|(other, _)| other == name) {
                return Err(EventError::new(name, TWICE));
            }
            bounded(name, value)?;
            // The host's own extensions carry keys of instances, which come from data and may
            // have any character.
            if !name.starts_with(reserved::EXTENSIONS) {
                attribute::text(value).map_err(|reason| EventError::new(name, reason))?;
            }
        }
        Ok(())
    }

    /// Reads the JSON event format and validates it.
    ///
    /// # Errors
    /// Names the attribute at fault, or `data` for a text that is not a JSON object.
    pub fn from_json(json: &[u8]) -> Result<Self, EventError> {
        let event = Self::read(json)?;
        event.validate()?;
        Ok(event)
    }

    /// Reads the JSON event format of an event that was validated before it was written.
    ///
    /// # Errors
    /// As [`Event::from_json`].
    pub fn read(json: &[u8]) -> Result<Self, EventError> {
        let text = std::str::from_utf8(json)
            .map_err(|error| EventError::new("data", format!("not UTF-8: {error}")))?;
        let mut scanner = Scanner::new(text);
        let event = Self::scan(&mut scanner)?;
        scanner.end().map_err(not_an_event)?;
        Ok(event)
    }

    /// The JSON event format, on one line unless the data itself has line breaks.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Reserved at once, because a string that grows is copied at every doubling.
        let extensions = self.extensions.iter().map(|(name, value)| name.len() + value.len() + 6);
        let data = self.data.len() * 4 / 3 + extensions.sum::<usize>();
        let mut json = String::with_capacity(ATTRIBUTES_BYTES + data);
        json.push_str("{\"specversion\":\"1.0\"");
        let mut add = |name: &str, value: &str| {
            json.push_str(",\"");
            json.push_str(name);
            json.push_str("\":");
            json::write(&mut json, value);
        };
        add("id", &self.id);
        add("source", &self.source);
        add("type", &self.event_type);
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.datacontenttype),
            ("dataschema", &self.dataschema),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                add(name, value);
            }
        }
        for (name, value) in &self.extensions {
            add(name, value);
        }
        if !self.data.is_empty() {
            self.write_data(&mut json);
        }
        json.push('}');
        json
    }

    /// As `data` if a reader gets the same bytes from that, otherwise as `data_base64`.
    fn write_data(&self, json: &mut String) {
        if self.is_json() {
            if let Some(data) = json::embeddable(&self.data) {
                json.push_str(",\"data\":");
                json.push_str(data);
                return;
            }
        } else if let Ok(text) = std::str::from_utf8(&self.data) {
            json.push_str(",\"data\":");
            json::write(json, text);
            return;
        }
        json.push_str(",\"data_base64\":\"");
        BASE64.encode_string(&self.data, json);
        json.push('"');
    }

    /// Reads the object that comes next in the text.
    fn scan(scanner: &mut Scanner) -> Result<Self, EventError> {
        if !scanner.enter_object() {
            let error = scanner.error("expected an object with the attributes of a CloudEvent");
            return Err(not_an_event(error));
        }
        let mut read = Read::default();
        while let Some(name) = scanner.member().map_err(not_an_event)? {
            let value = scanner.value().map_err(not_an_event)?;
            let Some(name) = json::decode(name) else {
                let reason = "an attribute's name has only the characters a-z and 0-9";
                return Err(EventError::new(clip(name), reason));
            };
            read.member(&name, value)?;
        }
        read.event()
    }
}

/// The bytes that an event's JSON usually takes besides its data and extensions.
const ATTRIBUTES_BYTES: usize = 384;

const TWICE: &str = "is given more than once";

fn bounded(name: &str, value: &str) -> Result<(), EventError> {
    if value.len() <= ATTRIBUTE_BYTES_MAX {
        return Ok(());
    }
    let reason = format!("has {} bytes; at most {ATTRIBUTE_BYTES_MAX} are accepted", value.len());
    Err(EventError::new(name, reason))
}

fn not_an_event(error: SyntaxError) -> EventError {
    EventError::new("data", format!("not a CloudEvent in JSON: {error}"))
}

/// The members of an event's JSON that have been read so far.
#[derive(Default)]
struct Read<'t> {
    /// One bit for each of [`MEMBERS`].
    seen: u16,
    texts: [Option<String>; 8],
    data: Option<&'t str>,
    data_base64: Option<String>,
    extensions: Vec<(String, String)>,
    /// Extensions that the sender gave as `null`, which means that they are not set.
    unset: Vec<String>,
}

/// Members that are not extensions. The attributes come first, in the order of `Read::texts`.
const MEMBERS: [&str; 10] = [
    "id",
    "source",
    "type",
    "specversion",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
];

impl<'t> Read<'t> {
    /// JSON does not say which of two members with one name counts, and readers differ. So each
    /// name may stand once. A member with the value `null`, which means that the attribute is
    /// not set, counts too.
    fn member(&mut self, name: &str, value: &'t str) -> Result<(), EventError> {
        let Some(index) = MEMBERS.iter().position(|member| *member == name) else {
            return self.extension(name, value);
        };
        let bit = 1 << index;
        if self.seen & bit != 0 {
            return Err(EventError::new(name, TWICE));
        }
        self.seen |= bit;
        match name {
            "data" => self.data = Some(value),
            "data_base64" => self.data_base64 = string(name, value)?,
            _ => self.texts[index] = string(name, value)?,
        }
        Ok(())
    }

    fn extension(&mut self, name: &str, value: &str) -> Result<(), EventError> {
        if self.extensions.len() + self.unset.len() >= EXTENSIONS_MAX {
            return Err(EventError::new(name, TOO_MANY));
        }
        if self.unset.iter().any(|unset| unset == name) {
            return Err(EventError::new(name, TWICE));
        }
        match extension_value(name, value)? {
            // `validate` refuses a name that stands twice.
            Some(value) => self.extensions.push((name.to_owned(), value)),
            None if self.extensions.iter().any(|(known, _)| known == name) => {
                return Err(EventError::new(name, TWICE));
            }
            None => self.unset.push(name.to_owned()),
        }
        Ok(())
    }

    fn event(self) -> Result<Event, EventError> {
        let [id, source, event_type, specversion, subject, time, datacontenttype, dataschema] =
            self.texts;
        match specversion.as_deref() {
            Some("1.0") => {}
            Some(other) => {
                let reason = format!("is `{}`; only 1.0 is accepted", clip(other));
                return Err(EventError::new("specversion", reason));
            }
            None => {
                return Err(EventError::new("specversion", "is required, with the value 1.0"));
            }
        }
        let required = |name: &str, value: Option<String>| {
            value.ok_or_else(|| EventError::new(name, "is required"))
        };
        let mut event = Event {
            id: required("id", id)?,
            source: required("source", source)?,
            event_type: required("type", event_type)?,
            subject,
            time,
            datacontenttype,
            dataschema,
            extensions: self.extensions,
            data: Bytes::new(),
        };
        event.data = match (self.data, self.data_base64) {
            (Some(_), Some(_)) => {
                return Err(EventError::new("data_base64", "must not stand beside `data`"));
            }
            (None, None) => Bytes::new(),
            (None, Some(encoded)) => {
                let decoded = BASE64.decode(encoded).map_err(|error| {
                    EventError::new("data_base64", format!("is not base64: {error}"))
                })?;
                decoded.into()
            }
            (Some(value), None) => data_bytes(&event, value)?,
        };
        Ok(event)
    }
}

/// JSON data is kept as it was written. For another media type, a JSON string carries the text
/// itself.
fn data_bytes(event: &Event, value: &str) -> Result<Bytes, EventError> {
    if event.is_json() || !value.starts_with('"') {
        return Ok(Bytes::copy_from_slice(value.as_bytes()));
    }
    let text = json::decode(value).ok_or_else(|| EventError::new("data", HALF_A_PAIR))?;
    Ok(text.into_owned().into())
}

const HALF_A_PAIR: &str = "has half of a surrogate pair";

fn string(name: &str, value: &str) -> Result<Option<String>, EventError> {
    if value == "null" {
        return Ok(None);
    }
    if !value.starts_with('"') {
        return Err(EventError::new(name, format!("must be a string, not {}", clip(value))));
    }
    match json::decode(value) {
        Some(text) => Ok(Some(text.into_owned())),
        None => Err(EventError::new(name, HALF_A_PAIR)),
    }
}

fn extension_value(name: &str, value: &str) -> Result<Option<String>, EventError> {
    match value.as_bytes().first() {
        Some(b'"' | b'n') => string(name, value),
        Some(b't' | b'f') => Ok(Some(value.to_owned())),
        Some(b'-' | b'0'..=b'9') if value.parse::<i32>().is_ok() => {
            Ok(json::integer(value).map(std::borrow::Cow::into_owned))
        }
        _ => Err(EventError::new(
            name,
            format!("an extension is a string, a boolean or a 32-bit integer, not {}", clip(value)),
        )),
    }
}

/// Reads an event that is part of another JSON text, without validating it.
impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::read(raw.get().as_bytes()).map_err(serde::de::Error::custom)
    }
}

/// Writes the event as part of another JSON text, in the form of [`Event::to_json`].
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = RawValue::from_string(self.to_json()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Why a text is not a batch of events.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The text is not JSON, or not an array.
    #[error(transparent)]
    NotJson(#[from] SyntaxError),
    /// An element of the array is not an event.
    #[error("event {index} of the batch: {error}")]
    Event {
        /// The place of the element in the array, counting from 0.
        index: usize,
        /// What is wrong with it.
        error: EventError,
    },
}

/// Reads a batch: a JSON array of events (JSON Event Format 1.0.2, section "JSON Batch Format").
/// It does not validate the events.
///
/// # Errors
/// See [`BatchError`].
pub fn read_batch(json: &[u8]) -> Result<Vec<Event>, BatchError> {
    let text = match std::str::from_utf8(json) {
        Ok(text) => text,
        // `check` names the first byte that is not UTF-8.
        Err(_) => json::check(json)?,
    };
    let mut scanner = Scanner::new(text);
    if !scanner.enter_array() {
        json::check(json)?;
        return Err(scanner.error("expected an array of CloudEvents").into());
    }
    let mut events = Vec::new();
    while scanner.element()? {
        match Event::scan(&mut scanner) {
            Ok(event) => events.push(event),
            Err(error) => {
                // An error of syntax anywhere in the text is reported before an error of this
                // event.
                json::check(json)?;
                return Err(BatchError::Event { index: events.len(), error });
            }
        }
    }
    scanner.end()?;
    Ok(events)
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
    fn data_that_other_parsers_refuse_survives() {
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        for data in [
            r#"{"note":"cut \ud83d"}"#,
            r#"{"\udead":0}"#,
            r#"{"n":1e400,"m":-0,"k":12345678901234567890123,"price":10.00}"#,
            r#"{"a":1,"a":2,"b":"\u00e4\/"}"#,
            "null",
            &deep,
        ] {
            let event = check_round_trip(&with(&format!(r#""data":{data}"#)));
            assert_eq!(event.data, data);
            assert!(event.to_json().ends_with(&format!(r#","data":{data}}}"#)));
        }
    }

    #[test]
    fn data_is_json_by_its_media_type_alone() {
        let mut event = Event::from_json(MINIMAL.as_bytes()).unwrap();
        event.data = Bytes::from_static(b"{}");
        for (media_type, is_json) in [
            ("application/json", true),
            ("text/JSON; charset=utf-8", true),
            ("application/vnd.api+json", true),
            ("image/x+json;a=b", true),
            ("application/jsonp", false),
            ("json", false),
            ("application/json+xml", false),
        ] {
            event.datacontenttype = Some(media_type.to_owned());
            assert_eq!(event.is_json(), is_json, "{media_type}");
            let expected = if is_json { r#""data":{}"# } else { r#""data":"{}""# };
            assert!(event.to_json().contains(expected), "{media_type}");
        }
    }

    #[test]
    fn a_batch_names_the_event_at_fault() {
        let batch = |json: &str| read_batch(json.as_bytes());
        assert_eq!(batch("[]").unwrap(), []);
        assert_eq!(batch(&format!(" [{MINIMAL} , {MINIMAL}] ")).unwrap().len(), 2);
        for json in [
            "",
            "[",
            MINIMAL,
            "7",
            &format!("[{MINIMAL}"),
            &format!("[{MINIMAL}] x"),
            &format!("[7,{MINIMAL}"),
        ] {
            assert!(matches!(batch(json), Err(BatchError::NotJson(_))), "{json}");
        }
        for json in [
            format!("[{MINIMAL},7]"),
            format!("[{MINIMAL},{{}}]"),
            format!("[{MINIMAL},null,{MINIMAL}]"),
        ] {
            let error = batch(&json).unwrap_err();
            assert!(matches!(error, BatchError::Event { index: 1, .. }), "{json}: {error}");
        }
    }

    #[test]
    fn extensions_have_a_canonical_string_form() {
        let event = check_round_trip(&with(r#""a":"x","b":true,"c":-7,"d":null,"e":-0"#));
        let expected = [("a", "x"), ("b", "true"), ("c", "-7"), ("e", "0")];
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
        for data in ["1", "null"] {
            check_fault(
                &with(&format!(r#""data":{data},"data_base64":"AA==""#)),
                "data_base64",
                "must not stand beside `data`",
            );
        }
        check_fault(&with(r#""subject":"\ud83d""#), "subject", "has half of a surrogate pair");
        check_fault(
            &with(r#""subject":"\uffff""#),
            "subject",
            "has the character U+FFFF; control characters and noncharacters are not allowed",
        );
        let many: Vec<String> = (0..65).map(|n| format!(r#""x{n}":null"#)).collect();
        check_fault(&with(&many.join(",")), "x64", TOO_MANY);
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
            // `null` is a value as well: it unsets the attribute.
            r#""subject":null,"subject":"s""#,
            r#""subject":"s","subject":null"#,
            r#""data":null,"data":{}"#,
            r#""data_base64":null,"data_base64":"AA==""#,
            r#""x":"1","x":null"#,
            r#""x":null,"x":"1""#,
            r#""x":null,"x":null"#,
            r#""id":null"#,
        ];
        for members in again {
            let name = members.split('"').nth(1).unwrap();
            check_fault(&with(members), name, "is given more than once");
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for json in ["", "7", "[]", "{", "\u{0}", "{\"id\":\"1\",}", &format!("{MINIMAL}x")] {
            assert_eq!(Event::from_json(json.as_bytes()).unwrap_err().attribute, "data");
        }
    }
}
