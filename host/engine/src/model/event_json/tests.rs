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
    let event = check_round_trip(&with(r#""datacontenttype":"image/png","data_base64":"AP8=""#));
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
