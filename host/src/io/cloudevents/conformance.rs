//! The rules of CloudEvents 1.0.2 for the JSON format and the HTTP binding. Each row is a
//! request, with the events that it carries or the attribute at fault.
//!
//! Source: CloudEvents specification, sections "Context Attributes" and "Type System"; JSON
//! Event Format, sections 2 to 4; HTTP Protocol Binding, section 3. The rows are written for
//! this test.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use super::{ParseError, parse};

/// The outcome of a request.
enum Outcome {
    /// It is accepted. Each event as JSON, without `specversion`, `id`, `source` and `type`.
    Events(&'static [&'static str]),
    /// This attribute is at fault.
    Fault(&'static str),
    /// The body is not JSON.
    NotJson,
    /// The content type is not supported.
    Unsupported,
}

use Outcome::{Events, Fault, NotJson, Unsupported};

const STRUCTURED: &str = "content-type: application/cloudevents+json";
const BATCH: &str = "content-type: application/cloudevents-batch+json";

/// A structured event: these members after the required ones.
fn structured(rule: &str, members: &str, outcome: &Outcome) {
    let comma = if members.is_empty() { "" } else { "," };
    let body =
        format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{comma}{members}}}"#);
    check(rule, &[STRUCTURED], body.as_bytes(), outcome);
}

/// A binary event: these headers besides the required ones.
fn binary(rule: &str, headers: &[&str], body: &[u8], outcome: &Outcome) {
    let required = ["ce-specversion: 1.0", "ce-id: 1", "ce-source: /s", "ce-type: t"];
    let given = |required: &&&str| {
        let name = required.split(':').next().unwrap_or_default();
        !headers.iter().any(|header| header.starts_with(&format!("{name}:")))
    };
    let all: Vec<&str> = required.iter().filter(given).chain(headers).copied().collect();
    check(rule, &all, body, outcome);
}

fn check(rule: &str, headers: &[&str], body: &[u8], outcome: &Outcome) {
    let mut map = HeaderMap::new();
    for header in headers {
        let (name, value) = header.split_once(':').expect("name: value");
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).expect("a header's value");
        map.append(HeaderName::from_bytes(name.as_bytes()).expect("a header's name"), value);
    }
    let found = parse(&map, &Bytes::copy_from_slice(body), 10);
    let shown = String::from_utf8_lossy(body);
    match (outcome, found) {
        (Events(expected), Ok(events)) => {
            let rest: Vec<String> = events.iter().map(|event| rest(&event.to_json())).collect();
            assert_eq!(rest, *expected, "{rule}: {headers:?} {shown}");
        }
        (Fault(attribute), Err(ParseError::Event { error, .. })) => {
            assert_eq!(error.attribute, *attribute, "{rule}: {headers:?} {shown}: {error}");
        }
        (NotJson, Err(ParseError::NotJson(_)))
        | (Unsupported, Err(ParseError::UnsupportedMediaType(_))) => {}
        (_, found) => panic!("{rule}: {headers:?} {shown}: {found:?}"),
    }
}

/// An event's JSON without its required members.
fn rest(json: &str) -> String {
    let required = r#""specversion":"1.0","id":"1","source":"/s","type":"t""#;
    json.replacen(required, "", 1).replacen("{,", "{", 1)
}

// A table.
#[allow(clippy::too_many_lines)]
#[test]
fn attributes_of_the_json_format() {
    let rows: &[(&str, &str, Outcome)] = &[
        ("required attributes suffice", "", Events(&["{}"])),
        (
            "attributes are members",
            r#""subject":"s","time":"2018-04-05T17:31:00Z""#,
            Events(&[r#"{"subject":"s","time":"2018-04-05T17:31:00Z"}"#]),
        ),
        (
            "null is unset",
            r#""subject":null,"time":null,"dataschema":null,"datacontenttype":null,"ext":null"#,
            Events(&["{}"]),
        ),
        ("a required attribute is not null", r#""x":"1","subject":7"#, Fault("subject")),
        ("an attribute appears once", r#""id":"2""#, Fault("id")),
        ("null beside a value is twice", r#""subject":null,"subject":"s""#, Fault("subject")),
        ("an extension appears once", r#""ext":"1","ext":null"#, Fault("ext")),
        ("a boolean is a boolean", r#""ext":true"#, Events(&[r#"{"ext":"true"}"#])),
        (
            "an integer is a number",
            r#""ext":-2147483648,"fxt":2147483647,"gxt":0"#,
            Events(&[r#"{"ext":"-2147483648","fxt":"2147483647","gxt":"0"}"#]),
        ),
        ("zero has one form", r#""ext":-0"#, Events(&[r#"{"ext":"0"}"#])),
        ("an integer has 32 bits", r#""ext":2147483648"#, Fault("ext")),
        ("an integer has no fraction", r#""ext":1.0"#, Fault("ext")),
        ("an integer has no exponent", r#""ext":1e2"#, Fault("ext")),
        ("an attribute is no object", r#""ext":{"a":1}"#, Fault("ext")),
        ("an attribute is no array", r#""ext":["a"]"#, Fault("ext")),
        ("an extension may be empty", r#""ext":"""#, Events(&[r#"{"ext":""}"#])),
        ("a name is lower case", r#""Ext":"1""#, Fault("Ext")),
        ("a name is ASCII", r#""exté":"1""#, Fault("exté")),
        ("a name has no punctuation", r#""e_x":"1""#, Fault("e_x")),
        ("a name has a character", r#""":"1""#, Fault("")),
        ("a subject is not empty", r#""subject":"""#, Fault("subject")),
        ("a string has no control characters", r#""subject":"a\u0000b""#, Fault("subject")),
        ("neither does an extension", r#""ext":"\u0007""#, Fault("ext")),
        ("nor those above ASCII", r#""subject":"\u0085""#, Fault("subject")),
        ("a string has no noncharacters", r#""subject":"\uffff""#, Fault("subject")),
        ("of no plane", r#""subject":"\ud83f\udffe""#, Fault("subject")),
        ("a surrogate has its pair", r#""subject":"\udead""#, Fault("subject")),
        (
            "with it, it is a character",
            r#""subject":"\ud800\udead""#,
            Events(&["{\"subject\":\"\u{102ad}\"}"]),
        ),
        (
            "a schema is a URI",
            r#""dataschema":"https://example.com/s#1""#,
            Events(&[r#"{"dataschema":"https://example.com/s#1"}"#]),
        ),
        ("with a scheme", r#""dataschema":"/s""#, Fault("dataschema")),
        ("and the characters of one", r#""dataschema":"%%%""#, Fault("dataschema")),
        ("a time is RFC 3339", r#""time":"2026-01-31T12:00:00+0100""#, Fault("time")),
        (
            "to the last year of it",
            r#""time":"9999-12-31T23:59:59.9999999Z""#,
            Events(&[r#"{"time":"9999-12-31T23:59:59.9999999Z"}"#]),
        ),
        (
            "to any fraction",
            r#""time":"2026-01-31T12:00:00.123456789012Z""#,
            Events(&[r#"{"time":"2026-01-31T12:00:00.123456789012Z"}"#]),
        ),
        (
            "a leap second is one",
            r#""time":"1990-12-31T23:59:60Z""#,
            Events(&[r#"{"time":"1990-12-31T23:59:60Z"}"#]),
        ),
        ("and no other second 60", r#""time":"2026-01-31T00:00:60Z""#, Fault("time")),
        ("a content type is a media type", r#""datacontenttype":"xyz""#, Fault("datacontenttype")),
        (
            "with whole parameters",
            r#""datacontenttype":"text/plain; charset""#,
            Fault("datacontenttype"),
        ),
        (
            "it may be there without data",
            r#""datacontenttype":"text/xml""#,
            Events(&[r#"{"datacontenttype":"text/xml"}"#]),
        ),
        ("what only the host says is refused", r#""sagaboxplugin":"p""#, Fault("sagaboxplugin")),
    ];
    for (rule, members, outcome) in rows {
        structured(rule, members, outcome);
    }
}

#[test]
fn required_attributes_of_the_json_format() {
    let rows: &[(&str, &str, Outcome)] = &[
        ("a version is required", r#"{"id":"1","source":"/s","type":"t"}"#, Fault("specversion")),
        (
            "it is 1.0",
            r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#,
            Fault("specversion"),
        ),
        (
            "as a string",
            r#"{"specversion":1.0,"id":"1","source":"/s","type":"t"}"#,
            Fault("specversion"),
        ),
        ("an id is required", r#"{"specversion":"1.0","source":"/s","type":"t"}"#, Fault("id")),
        (
            "it is not null",
            r#"{"specversion":"1.0","id":null,"source":"/s","type":"t"}"#,
            Fault("id"),
        ),
        (
            "null and a value are two",
            r#"{"specversion":"1.0","id":null,"id":"4","source":"/s","type":"t"}"#,
            Fault("id"),
        ),
        (
            "it is not empty",
            r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#,
            Fault("id"),
        ),
        ("it is a string", r#"{"specversion":"1.0","id":7,"source":"/s","type":"t"}"#, Fault("id")),
        ("a source is required", r#"{"specversion":"1.0","id":"1","type":"t"}"#, Fault("source")),
        (
            "it is a URI reference",
            r#"{"specversion":"1.0","id":"1","source":"http://[bad","type":"t"}"#,
            Fault("source"),
        ),
        (
            "without blanks",
            r#"{"specversion":"1.0","id":"1","source":"a b","type":"t"}"#,
            Fault("source"),
        ),
        ("in ASCII", r#"{"specversion":"1.0","id":"1","source":"/ä","type":"t"}"#, Fault("source")),
        ("a type is required", r#"{"specversion":"1.0","id":"1","source":"/s"}"#, Fault("type")),
        (
            "types of the host are its own",
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"sagabox.x"}"#,
            Fault("type"),
        ),
        (
            "a byte order mark before it does no harm",
            "\u{feff}{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}",
            Events(&["{}"]),
        ),
        ("an event is an object", r#"["specversion"]"#, Fault("data")),
        ("in JSON", r#"{"specversion":"1.0","#, NotJson),
        ("and nothing else", r#"{"specversion":"1.0"} x"#, NotJson),
        ("there is one", "", NotJson),
    ];
    for (rule, body, outcome) in rows {
        check(rule, &[STRUCTURED], body.as_bytes(), outcome);
    }
    check("JSON is UTF-8", &[STRUCTURED], b"{\"id\":\"\xff\"}", &NotJson);
}

#[test]
fn data_of_the_json_format() {
    let rows: &[(&str, &str, Outcome)] = &[
        (
            "data is any JSON",
            r#""data":{"a" : [1.50, "\u00e4"]}"#,
            Events(&[r#"{"data":{"a" : [1.50, "\u00e4"]}}"#]),
        ),
        ("a number", r#""data":1.5"#, Events(&[r#"{"data":1.5}"#])),
        (
            "a string, which is JSON as it is",
            r#""data":"{\"a\":1}""#,
            Events(&[r#"{"data":"{\"a\":1}"}"#]),
        ),
        ("null, which is not absence", r#""data":null"#, Events(&[r#"{"data":null}"#])),
        ("once", r#""data":null,"data":{"id":"d4"}"#, Fault("data")),
        (
            "also of a JSON type",
            r#""datacontenttype":"application/vnd.x+json","data":{"a":1}"#,
            Events(&[r#"{"datacontenttype":"application/vnd.x+json","data":{"a":1}}"#]),
        ),
        (
            "of any main type",
            r#""datacontenttype":"text/json","data":[]"#,
            Events(&[r#"{"datacontenttype":"text/json","data":[]}"#]),
        ),
        (
            "text of another type is a string",
            r#""datacontenttype":"text/xml","data":"<much wow=\"xml\"/>""#,
            Events(&[r#"{"datacontenttype":"text/xml","data":"<much wow=\"xml\"/>"}"#]),
        ),
        (
            "and a character in it is whole",
            r#""datacontenttype":"text/xml","data":"\ud83d""#,
            Fault("data"),
        ),
        (
            "bytes are base64",
            r#""datacontenttype":"image/png","data_base64":"AP8=""#,
            Events(&[r#"{"datacontenttype":"image/png","data_base64":"AP8="}"#]),
        ),
        (
            "whole base64",
            r#""datacontenttype":"image/png","data_base64":"AP8""#,
            Fault("data_base64"),
        ),
        (
            "of the usual alphabet",
            r#""datacontenttype":"image/png","data_base64":"-_8=""#,
            Fault("data_base64"),
        ),
        ("as a string", r#""data_base64":7"#, Fault("data_base64")),
        ("or unset", r#""data_base64":null"#, Events(&["{}"])),
        ("one of the two", r#""data":1,"data_base64":"AA==""#, Fault("data_base64")),
        ("also if one is null", r#""data":null,"data_base64":"AA==""#, Fault("data_base64")),
        (
            "JSON that came as bytes is JSON",
            r#""datacontenttype":"application/json","data_base64":"eyAiYSI6IDEgfQ==""#,
            Events(&[r#"{"datacontenttype":"application/json","data":{ "a": 1 }}"#]),
        ),
        (
            "and other bytes stay bytes",
            r#""datacontenttype":"application/json","data_base64":"e30K""#,
            Events(&[r#"{"datacontenttype":"application/json","data_base64":"e30K"}"#]),
        ),
    ];
    for (rule, members, outcome) in rows {
        structured(rule, members, outcome);
    }
}

#[test]
fn batches_of_the_json_format() {
    let one = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    check(
        "a batch is an array",
        &[BATCH],
        format!("[{one},{one}]").as_bytes(),
        &Events(&["{}", "{}"]),
    );
    check("which may be empty", &[BATCH], b"[]", &Events(&[]));
    check("it is no event", &[BATCH], one.as_bytes(), &NotJson);
    check("an event is no batch", &[STRUCTURED], format!("[{one}]").as_bytes(), &Fault("data"));
    check("each is an event", &[BATCH], format!("[{one},null]").as_bytes(), &Fault("data"));
    check(
        "with all that is required",
        &[BATCH],
        format!("[{one},{{}}]").as_bytes(),
        &Fault("specversion"),
    );
    check("an array ends", &[BATCH], format!("[{one}").as_bytes(), &NotJson);
}

#[test]
fn content_modes_of_the_http_binding() {
    let one = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let modes: &[(&str, &str, Outcome)] = &[
        (
            "the case of a content type does not matter",
            "content-type: Application/CloudEvents+JSON",
            Events(&["{}"]),
        ),
        (
            "nor do its parameters",
            "content-type: application/cloudevents+json; charset=UTF-8",
            Events(&["{}"]),
        ),
        (
            "but JSON is UTF-8",
            "content-type: application/cloudevents+json; charset=utf-16",
            Unsupported,
        ),
        ("other formats are not known", "content-type: application/cloudevents+avro", Unsupported),
        ("nor other batches", "content-type: application/cloudevents-batch+avro", Unsupported),
        ("JSON alone is no event", "content-type: application/json", Unsupported),
    ];
    for (rule, header, outcome) in modes {
        check(rule, &[header], one.as_bytes(), outcome);
    }
    let also = [STRUCTURED, "ce-id: other", "ce-specversion: 1.0"];
    check("the payload says what the event is", &also, one.as_bytes(), &Events(&["{}"]));
}

// A table.
#[allow(clippy::too_many_lines)]
#[test]
fn binary_mode_of_the_http_binding() {
    let rows: &[(&str, &[&str], &[u8], Outcome)] = &[
        ("required headers suffice", &[], b"", Events(&["{}"])),
        (
            "names are headers with a prefix",
            &["ce-subject: s", "ce-ext: 1"],
            b"",
            Events(&[r#"{"subject":"s","ext":"1"}"#]),
        ),
        ("in any case", &["CE-Subject: s"], b"", Events(&[r#"{"subject":"s"}"#])),
        (
            "the body is the data, byte for byte",
            &["content-type: application/json"],
            b"{ \"a\": 1.50 }",
            Events(&[r#"{"datacontenttype":"application/json","data":{ "a": 1.50 }}"#]),
        ),
        (
            "also if it is not what it is called",
            &["content-type: application/json"],
            b"{",
            Events(&[r#"{"datacontenttype":"application/json","data_base64":"ew=="}"#]),
        ),
        (
            "and with blanks around it",
            &["content-type: application/json"],
            b"{}\n",
            Events(&[r#"{"datacontenttype":"application/json","data_base64":"e30K"}"#]),
        ),
        (
            "text stays text",
            &["content-type: text/plain"],
            "ä\n".as_bytes(),
            Events(&[r#"{"datacontenttype":"text/plain","data":"ä\n"}"#]),
        ),
        (
            "bytes stay bytes",
            &["content-type: image/png"],
            b"\x00\xff",
            Events(&[r#"{"datacontenttype":"image/png","data_base64":"AP8="}"#]),
        ),
        ("the content type is a media type", &["content-type: xyz"], b"", Fault("datacontenttype")),
        (
            "given once",
            &["content-type: text/xml", "content-type: text/html"],
            b"",
            Fault("datacontenttype"),
        ),
        (
            "and not as an attribute",
            &["ce-datacontenttype: text/xml"],
            b"",
            Fault("datacontenttype"),
        ),
        ("data is no header", &["ce-data: 1"], b"", Fault("data")),
        (
            "a value is percent-decoded",
            &["ce-subject: Euro%20%E2%82%AC%20%F0%9F%98%80"],
            b"",
            Events(&["{\"subject\":\"Euro € \u{1f600}\"}"]),
        ),
        (
            "also in lower case, and without need",
            &["ce-subject: %e2%82%ac%41"],
            b"",
            Events(&[r#"{"subject":"€A"}"#]),
        ),
        ("once", &["ce-subject: %2541"], b"", Events(&[r#"{"subject":"%41"}"#])),
        ("it is UTF-8", &["ce-subject: %C0%A0"], b"", Fault("subject")),
        (
            "quotes are taken off first",
            &["ce-subject: \"a \\\"b\\\" %41\""],
            b"",
            Events(&[r#"{"subject":"a \"b\" A"}"#]),
        ),
        ("comments are not", &["ce-subject: a (b)"], b"", Events(&[r#"{"subject":"a (b)"}"#])),
        ("control characters are refused", &["ce-subject: a%00b"], b"", Fault("subject")),
        ("an attribute appears once", &["ce-ext: 1", "ce-ext: 2"], b"", Fault("ext")),
        ("a value is not empty", &["ce-id: "], b"", Fault("id")),
        ("an extension may be", &["ce-ext: "], b"", Events(&[r#"{"ext":""}"#])),
        ("a name has no dash", &["ce-a-b: 1"], b"", Fault("a-b")),
        ("the version is 1.0", &["ce-specversion: 0.3"], b"", Fault("specversion")),
        ("the source is a URI reference", &["ce-source: a%20b"], b"", Fault("source")),
        ("the time is RFC 3339", &["ce-time: 2026-01-31 12:00:00Z"], b"", Fault("time")),
        ("the schema is a URI", &["ce-dataschema: x"], b"", Fault("dataschema")),
        (
            "what only the host says is refused",
            &["ce-sagaboxinstance: k"],
            b"",
            Fault("sagaboxinstance"),
        ),
        ("also a type", &["ce-type: sagabox.timer.fired"], b"", Fault("type")),
        (
            "other headers are no attributes",
            &["x-request-id: 1", "traceparent: 00-1-2-01"],
            b"",
            Events(&["{}"]),
        ),
    ];
    for (rule, headers, body, outcome) in rows {
        binary(rule, headers, body, outcome);
    }
    for left_out in ["ce-id", "ce-source", "ce-type", "ce-specversion"] {
        let all = ["ce-specversion: 1.0", "ce-id: 1", "ce-source: /s", "ce-type: t"];
        let rest: Vec<&str> =
            all.into_iter().filter(|header| !header.starts_with(left_out)).collect();
        let attribute: &'static str = left_out.trim_start_matches("ce-").to_owned().leak();
        check("an attribute is required", &rest, b"", &Fault(attribute));
    }
}

#[test]
fn the_way_out_is_the_way_in() {
    let subject = "Käse \"50%\" (a) \\ \u{1F9C0}";
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("ce-subject", super::header_value(subject).unwrap());
    let event = parse(&headers, &Bytes::new(), 1).unwrap().remove(0);
    assert_eq!(event.subject.as_deref(), Some(subject));
    let out = super::binary_headers(&event);
    assert_eq!(out["ce-subject"], "K%C3%A4se%20%2250%25%22%20(a)%20\\%20%F0%9F%A7%80");
    // An event without a content type is JSON, and is written with that content type.
    assert_eq!(out["content-type"], "application/json");
    let again = parse(&out, &Bytes::new(), 1).unwrap().remove(0);
    assert_eq!(again.subject, event.subject);
}
