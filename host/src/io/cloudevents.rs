//! The CloudEvents 1.0.2 HTTP protocol binding, in both directions. Pure: it turns headers and
//! bytes into events, and events into headers and bytes.
//!
//! `POST /v1/events` reads events with it; the HTTP transport and the command line write them. The
//! rules for the event itself are in `Event`.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use sagabox_engine::model::json;
use sagabox_engine::model::{BatchError, Event, EventError, read_batch, reserved};
use thiserror::Error;

pub const STRUCTURED: &str = "application/cloudevents+json";
pub const BATCH: &str = "application/cloudevents-batch+json";

/// Characters that must be escaped in a header's value, in addition to those that are not ASCII
/// (section 3.1.3.2).
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
const ATTRIBUTE_HEADER: &str = "ce-";

/// Why a request does not carry acceptable events.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    #[error("{0}")]
    UnsupportedMediaType(String),
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    #[error("the batch has {count} events; at most {max} are accepted in one request")]
    TooMany { count: usize, max: usize },
    /// One event is not acceptable. `index` is its place in a batch, counting from 0; none
    /// without a batch.
    #[error("{error}")]
    Event { index: Option<usize>, error: EventError },
}

/// Whether a request has the content type of a batch.
pub fn is_batch(headers: &HeaderMap) -> bool {
    let content_type = content_type(headers).ok().flatten();
    content_type.is_some_and(|content_type| essence(&content_type) == BATCH)
}

/// The events of a request in any of the three content modes. If one event is not acceptable, no
/// event is returned.
///
/// # Errors
/// Says what is wrong with the request, or with which of its events.
pub fn parse(headers: &HeaderMap, body: &Bytes, max: usize) -> Result<Vec<Event>, ParseError> {
    let content_type = content_type(headers)?;
    let essence = content_type.as_deref().map(essence).unwrap_or_default();
    let batch = essence == BATCH;
    // A byte order mark, which some editors and languages put before UTF-8. RFC 8259 allows a
    // parser to ignore it.
    let json = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if let (STRUCTURED | BATCH, Some(charset)) =
        (essence.as_str(), content_type.as_deref().and_then(foreign_charset))
    {
        return Err(ParseError::UnsupportedMediaType(format!(
            "the charset `{charset}` is not supported; JSON is UTF-8"
        )));
    }
    let events = match essence.as_str() {
        STRUCTURED => vec![parse_structured(json)?],
        BATCH => parse_batch(json)?,
        other if other.starts_with("application/cloudevents") => {
            return Err(ParseError::UnsupportedMediaType(format!(
                "`{other}` is not supported; send {STRUCTURED}, {BATCH}, or ce- headers"
            )));
        }
        _ if headers.keys().any(|name| name.as_str().starts_with(ATTRIBUTE_HEADER)) => {
            vec![parse_binary(headers, content_type, body.clone()).map_err(single)?]
        }
        other => {
            return Err(ParseError::UnsupportedMediaType(format!(
                "the request has the content type `{other}` and no ce- headers; send {STRUCTURED}, \
                 {BATCH}, or an event's attributes as ce- headers"
            )));
        }
    };
    if events.len() > max {
        return Err(ParseError::TooMany { count: events.len(), max });
    }
    for (index, event) in events.iter().enumerate() {
        let checked = event.validate().and_then(|()| check_reserved(event));
        checked.map_err(|error| ParseError::Event { index: batch.then_some(index), error })?;
    }
    Ok(events)
}

/// Refuses event types and extension attributes that are reserved for the host.
///
/// # Errors
/// Names the type or the attribute.
pub fn check_reserved(event: &Event) -> Result<(), EventError> {
    if event.event_type.starts_with(reserved::PREFIX) {
        let reason =
            format!("types that begin with `{}` are reserved for the host", reserved::PREFIX);
        return Err(EventError::new("type", reason));
    }
    match event.extensions.iter().find(|(name, _)| name.starts_with(reserved::EXTENSIONS)) {
        Some((name, _)) => Err(EventError::new(
            name,
            format!(
                "extensions that begin with `{}` are reserved for the host",
                reserved::EXTENSIONS
            ),
        )),
        None => Ok(()),
    }
}

/// An event's attributes as headers (binary content mode); the body is its data.
#[must_use]
pub fn binary_headers(event: &Event) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8 + event.extensions.len());
    let optional = [
        ("subject", event.subject.as_deref()),
        ("time", event.time.as_deref()),
        ("dataschema", event.dataschema.as_deref()),
    ];
    let required = [
        ("specversion", "1.0"),
        ("id", &event.id),
        ("source", &event.source),
        ("type", &event.event_type),
    ];
    let extensions = event.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let given = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
    for (name, value) in required.into_iter().chain(given).chain(extensions) {
        let name = HeaderName::try_from(format!("{ATTRIBUTE_HEADER}{name}"));
        if let (Ok(name), Ok(value)) = (name, header_value(value)) {
            headers.insert(name, value);
        }
    }
    if let Ok(value) = HeaderValue::try_from(event.content_type()) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers
}

/// The headers of structured content mode; the body is an event's JSON.
#[must_use]
pub fn structured_headers() -> HeaderMap {
    let content_type = HeaderValue::from_static(STRUCTURED);
    HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)])
}

/// Any text as a header's value. Characters that a header cannot have are percent-encoded.
///
/// # Errors
/// Never: what is encoded is ASCII.
pub fn header_value(text: &str) -> Result<HeaderValue, axum::http::header::InvalidHeaderValue> {
    HeaderValue::try_from(utf8_percent_encode(text, ESCAPED).to_string())
}

fn parse_structured(body: &[u8]) -> Result<Event, ParseError> {
    Event::read(body).map_err(|error| match json::check(body) {
        Err(syntax) => ParseError::NotJson(syntax.to_string()),
        Ok(_) => single(error),
    })
}

fn parse_batch(body: &[u8]) -> Result<Vec<Event>, ParseError> {
    read_batch(body).map_err(|error| match error {
        BatchError::NotJson(syntax) => ParseError::NotJson(syntax.to_string()),
        BatchError::Event { index, error } => ParseError::Event { index: Some(index), error },
    })
}

fn parse_binary(
    headers: &HeaderMap,
    datacontenttype: Option<String>,
    data: Bytes,
) -> Result<Event, EventError> {
    let mut event = Event {
        id: String::new(),
        source: String::new(),
        event_type: String::new(),
        subject: None,
        time: None,
        datacontenttype,
        dataschema: None,
        extensions: Vec::new(),
        data,
    };
    let mut specversion = None;
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix(ATTRIBUTE_HEADER) else { continue };
        let mut values = headers.get_all(name).iter();
        let value = decode(attribute, values.next())?;
        if values.next().is_some() {
            return Err(EventError::new(attribute, "is given more than once"));
        }
        match attribute {
            "specversion" => specversion = Some(value),
            "id" => event.id = value,
            "source" => event.source = value,
            "type" => event.event_type = value,
            "subject" => event.subject = Some(value),
            "time" => event.time = Some(value),
            "dataschema" => event.dataschema = Some(value),
            "datacontenttype" => {
                let reason = "is the header Content-Type in binary content mode";
                return Err(EventError::new(attribute, reason));
            }
            "data" => return Err(EventError::new(attribute, "is the body, not a header")),
            _ => event.extensions.push((attribute.to_owned(), value)),
        }
    }
    // Headers have no order, and the same event must give the same bytes each time.
    event.extensions.sort_unstable();
    match specversion.as_deref() {
        Some("1.0") => Ok(event),
        Some(other) => Err(EventError::new(
            "specversion",
            format!("is `{}`; only 1.0 is accepted", other.chars().take(80).collect::<String>()),
        )),
        None => Err(EventError::new("specversion", "is required, with the value 1.0")),
    }
}

/// Decodes a header's value (section 3.1.3.2): blanks, quotes, percent-encoding, UTF-8.
fn decode(attribute: &str, value: Option<&HeaderValue>) -> Result<String, EventError> {
    let raw = value.map_or(&[][..], HeaderValue::as_bytes).trim_ascii();
    let unquoted = match raw {
        [b'"', inner @ .., b'"'] => unescape(inner),
        _ => raw.to_vec(),
    };
    String::from_utf8(percent_decode(&unquoted).collect())
        .map_err(|_| EventError::new(attribute, "is not UTF-8 after percent-decoding"))
}

fn unescape(quoted: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(if byte == b'\\' { bytes.next().copied().unwrap_or(byte) } else { byte });
    }
    plain
}

fn content_type(headers: &HeaderMap) -> Result<Option<String>, ParseError> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let fault = |reason| Err(single(EventError::new("datacontenttype", reason)));
    if values.next().is_some() {
        return fault("is given more than once");
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => fault("is no media type in ASCII"),
    }
}

/// The charset of a media type, if JSON cannot be in it.
fn foreign_charset(media_type: &str) -> Option<&str> {
    let parameters = media_type.split(';').skip(1).filter_map(|part| part.split_once('='));
    let mut charsets = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    let (_, charset) = charsets.next()?;
    let charset = charset.trim().trim_matches('"');
    let is_known = ["utf-8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known));
    (!is_known).then_some(charset)
}

fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn single(error: EventError) -> ParseError {
    ParseError::Event { index: None, error }
}

#[cfg(test)]
mod conformance;

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"placed"}"#;

    fn request(headers: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        };
        headers.iter().map(pair).collect()
    }

    fn send(headers: &[(&str, &str)], body: &str) -> Result<Vec<Event>, ParseError> {
        parse(&request(headers), &Bytes::copy_from_slice(body.as_bytes()), 3)
    }

    const BINARY: [(&str, &str); 4] =
        [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/shop"), ("ce-type", "placed")];

    #[track_caller]
    fn check_binary(extra: &[(&str, &str)], expected: Result<Event, (&str, &str)>) {
        let names: Vec<_> = extra.iter().map(|(name, _)| *name).collect();
        let mut headers: Vec<_> = extra.to_vec();
        headers.extend(BINARY.iter().filter(|(name, _)| !names.contains(name)));
        let expected = expected
            .map(|event| vec![event])
            .map_err(|(attribute, reason)| single(EventError::new(attribute, reason)));
        assert_eq!(send(&headers, "{}"), expected);
    }

    #[track_caller]
    fn check_batch_fault(body: &str, index: usize, attribute: &str, reason: &str) {
        let error = EventError::new(attribute, reason);
        let expected = ParseError::Event { index: Some(index), error };
        assert_eq!(send(&[("content-type", BATCH)], body), Err(expected));
    }

    fn placed() -> Event {
        let mut event = Event::from_json(EVENT.as_bytes()).unwrap();
        event.data = Bytes::from_static(b"{}");
        event
    }

    #[test]
    fn binary_mode_reads_attributes_from_headers() {
        check_binary(&[], Ok(placed()));
        let subject = Some("Käse \"50%\"".to_owned());
        let extensions = vec![("tenant".to_owned(), "a b".to_owned())];
        let event = Event {
            subject,
            extensions,
            datacontenttype: Some("text/plain; charset=utf-8".to_owned()),
            ..placed()
        };
        check_binary(
            &[
                ("ce-subject", "K%C3%A4se%20%2250%25%22"),
                ("ce-tenant", "\"a\\ b\""),
                ("content-type", "text/plain; charset=utf-8"),
            ],
            Ok(event),
        );
    }

    #[test]
    fn binary_mode_names_the_attribute_at_fault() {
        check_binary(
            &[("ce-specversion", "0.3")],
            Err(("specversion", "is `0.3`; only 1.0 is accepted")),
        );
        check_binary(&[("ce-id", "")], Err(("id", "is required and must not be empty")));
        check_binary(
            &[("ce-subject", "%FF")],
            Err(("subject", "is not UTF-8 after percent-decoding")),
        );
        check_binary(
            &[("ce-datacontenttype", "text/plain")],
            Err(("datacontenttype", "is the header Content-Type in binary content mode")),
        );
        check_binary(&[("ce-data", "1")], Err(("data", "is the body, not a header")));
        check_binary(
            &[("ce-x-y", "1")],
            Err(("x-y", "an attribute's name has only the characters a-z and 0-9")),
        );
        let twice = [("ce-a", "1"), ("ce-a", "2")];
        check_binary(&twice, Err(("a", "is given more than once")));
    }

    #[test]
    fn what_goes_out_comes_in_again() {
        let event = Event {
            subject: Some("Käse \"50%\" \u{1F9C0}".to_owned()),
            time: Some("2026-01-31T12:00:00Z".to_owned()),
            datacontenttype: Some("application/xml".to_owned()),
            extensions: vec![("traceparent".to_owned(), "00-ab-cd-01".to_owned())],
            ..placed()
        };
        assert_eq!(parse(&binary_headers(&event), &event.data, 1), Ok(vec![event]));
    }

    #[test]
    fn structured_and_batch_are_distinguished_by_the_content_type() {
        let structured = "Application/CloudEvents+JSON; charset=UTF-8";
        assert_eq!(send(&[("content-type", structured)], EVENT).unwrap().len(), 1);
        let batch = format!("[{EVENT},{EVENT}]");
        assert_eq!(send(&[("content-type", BATCH)], &batch).unwrap().len(), 2);
        assert_eq!(send(&[("content-type", BATCH)], "[]").unwrap().len(), 0);
    }

    #[test]
    fn a_fault_in_a_batch_names_index_and_attribute() {
        check_batch_fault(
            &format!(r#"[{EVENT},{{"specversion":"1.0","id":"2","type":"t"}}]"#),
            1,
            "source",
            "is required",
        );
        let faulty = EVENT.replace("placed", "sagabox.timer.fired");
        check_batch_fault(
            &format!("[{EVENT},{EVENT},{faulty}]"),
            2,
            "type",
            "types that begin with `sagabox.` are reserved for the host",
        );
        let faulty = EVENT.replace(r#""id""#, r#""sagaboxplugin":"p","id""#);
        check_batch_fault(
            &format!("[{faulty}]"),
            0,
            "sagaboxplugin",
            "extensions that begin with `sagabox` are reserved for the host",
        );
    }

    #[test]
    fn what_is_no_event_is_refused_by_kind() {
        let structured = [("content-type", STRUCTURED)];
        let batch = [("content-type", BATCH)];
        assert!(matches!(send(&structured, "{"), Err(ParseError::NotJson(_))));
        assert!(matches!(send(&batch, &format!("[{EVENT}")), Err(ParseError::NotJson(_))));
        assert!(matches!(send(&batch, EVENT), Err(ParseError::NotJson(_))));
        let json = [("content-type", "application/json")];
        let avro = [("content-type", "application/cloudevents+avro")];
        for headers in [&json[..], &avro[..], &[]] {
            assert!(matches!(send(headers, EVENT), Err(ParseError::UnsupportedMediaType(_))));
        }
        let four = format!("[{EVENT},{EVENT},{EVENT},{EVENT}]");
        assert_eq!(send(&batch, &four), Err(ParseError::TooMany { count: 4, max: 3 }));
    }
}
