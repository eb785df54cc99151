//! The JSON format of events and of batches of events.
//!
//! Source of the rules: the JSON Event Format 1.0.2 of CloudEvents.
//!
//! The data is written into JSON and read from it byte for byte: this file never builds values from
//! it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;

use super::attribute::clip;
use super::event::{EXTENSIONS_MAX, Event, EventError, TOO_MANY, TWICE};
use super::json::{self, Scanner, SyntaxError};

impl Event {
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
mod tests;
