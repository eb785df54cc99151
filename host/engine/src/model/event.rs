//! A CloudEvents 1.0 event, and the rules for its attributes. `event_json.rs` has its JSON format.
//!
//! Source of the rules: CloudEvents specification 1.0.2, sections "Context Attributes" and "Type
//! System".

use bytes::Bytes;
use thiserror::Error;

use super::attribute;
use super::message::reserved;

/// The media type of JSON data, and what an event without `datacontenttype` means.
pub const JSON: &str = "application/json";

/// Limits on attributes. CloudEvents asks receivers to take events of 64 KiB at
/// least; no attribute needs more than a fraction of that.
const ATTRIBUTE_BYTES_MAX: usize = 4096;
pub(super) const EXTENSIONS_MAX: usize = 64;
pub(super) const TOO_MANY: &str = "an event can have at most 64 extension attributes";
pub(super) const TWICE: &str = "is given more than once";

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

/// Why an event, or a text, breaks the rules of CloudEvents 1.0.
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
}

fn bounded(name: &str, value: &str) -> Result<(), EventError> {
    if value.len() <= ATTRIBUTE_BYTES_MAX {
        return Ok(());
    }
    let reason = format!("has {} bytes; at most {ATTRIBUTE_BYTES_MAX} are accepted", value.len());
    Err(EventError::new(name, reason))
}
