use super::*;

#[track_caller]
fn check(rule: fn(&str) -> Result<(), String>, good: &[&str], bad: &[&str]) {
    for value in good {
        assert_eq!(rule(value), Ok(()), "{value:?}");
    }
    for value in bad {
        assert!(rule(value).is_err(), "{value:?}");
    }
}

#[test]
fn a_timestamp_is_as_rfc_3339_has_it() {
    check(
        timestamp,
        &[
            "2026-01-31T12:00:00Z",
            "2026-01-31t12:00:00z",
            "1985-04-12T23:20:50.52Z",
            "1996-12-19T16:39:57-08:00",
            "2026-01-31T12:00:00-00:00",
            "2026-01-31T12:00:00+23:59",
            "0000-01-01T00:00:00Z",
            "0000-02-29T00:00:00Z",
            "2024-02-29T00:00:00Z",
            "9999-12-31T00:00:00Z",
            "9999-12-31T23:59:59.9999999Z",
            "9999-12-31T23:59:59-23:59",
            "2026-01-31T12:00:00.1234567890123456789012345678901234567890Z",
            "1990-12-31T23:59:60Z",
            "1990-12-31T15:59:60-08:00",
            "1991-01-01T00:59:60.5+01:00",
            "2016-06-30T23:59:60Z",
        ],
        &[
            "",
            "2026-01-31",
            "2026-01-31T12:00Z",
            "2026-01-31T12Z",
            "2026-01-31 12:00:00Z",
            "20260131T120000Z",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00+01",
            "2026-01-31T12:00:00+0100",
            "2026-01-31T12:00:00+1:00",
            "2026-01-31T12:00:00+01:00:30",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00+25:00",
            "2026-01-31T12:00:00+01:60",
            "2026-01-31T12:00:00,5Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00.5",
            "2026-01-31T12:00:00Z[UTC]",
            "2026-01-31T12:00:00+01:00[Europe/Berlin]",
            "2026-01-31T12:00:00ZZ",
            " 2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00Z ",
            "-002026-01-31T12:00:00Z",
            "+002026-01-31T12:00:00Z",
            "02026-01-31T12:00:00Z",
            "2026-00-31T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-01-00T12:00:00Z",
            "2026-01-32T12:00:00Z",
            "2026-04-31T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2100-02-29T12:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:60:00Z",
            "2026-01-31T12:00:61Z",
            "2026-01-31T00:00:60Z",
            "2026-01-31T23:59:60Z",
            "1990-12-31T23:59:60+01:00",
            "1990-12-31T22:59:60Z",
            "２026-01-31T12:00:00Z",
            "2026−01−31T12:00:00Z",
        ],
    );
}

#[test]
fn a_media_type_has_a_type_a_subtype_and_whole_parameters() {
    check(
        media_type,
        &[
            "application/json",
            "Text/Plain; CharSet=utf-8",
            "application/vnd.api+json;v=1;w=\"a \\\"b\\\" ;\"",
            "text/plain ; charset=utf-8 ; format=flowed",
            "text/plain;",
            "multipart/form-data; boundary=----x",
        ],
        &[
            "",
            "xyz",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a b/c",
            "a/b c",
            " a/b",
            "a/b;c",
            "a/b;=d",
            "a/b;c=",
            "a/b;c=\"d",
            "a/b;c=d e",
            "a/b,c/d",
            "käse/x",
            "a/b;c=ä",
            "a/b\n",
            "*",
            "a/b;c=\"\u{1}\"",
        ],
    );
}

#[test]
fn a_source_is_a_uri_reference_and_a_schema_a_uri() {
    check(
        uri_reference,
        &[
            "/orders",
            "https://github.com/cloudevents",
            "mailto:a@example.com",
            "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "1-555-123-4567",
            "sensors/tn-1234567/alerts?x=%20#y",
            "//[::1]:80/x",
            "#f",
        ],
        &[
            "http://[bad",
            "a b",
            "%%%",
            "%zz",
            "\n",
            "a\\b",
            "<a>",
            "a^b",
            "{a}",
            "a|b",
            "\"",
            "`",
            "/käse",
            "http://a:b:c/",
            "1:x",
            "a#b#c",
            "http://[::1",
            "x\u{0}",
        ],
    );
    check(uri, &["https://example.com/a#b", "urn:a:b"], &["/a", "a", "%%%", "//x", "http://a b"]);
}

#[test]
fn a_string_has_neither_control_characters_nor_noncharacters() {
    check(
        text,
        &["", "a b", "Käse \u{1F9C0}", "\u{fdcf}\u{fdf0}", "\u{fffd}", "\u{202e}", "\u{a0}"],
        &[
            "\u{0}",
            "a\nb",
            "\u{1b}[0m",
            "\u{7f}",
            "\u{85}",
            "\u{9f}",
            "\u{fdd0}",
            "\u{fdef}",
            "\u{fffe}",
            "\u{ffff}",
            "\u{1fffe}",
            "\u{10ffff}",
        ],
    );
    assert_eq!(encoded("a ä"), "a ä");
    assert_eq!(encoded("a\nb\u{ffff}"), "a%0Ab%EF%BF%BF");
    assert_eq!(text(&encoded("\u{0}\u{10fffe}")), Ok(()));
}

#[test]
fn a_reason_shows_no_control_character() {
    assert_eq!(clip("a ä"), "a ä");
    assert_eq!(clip("\u{1b}[2J"), "\\u{1b}[2J");
    assert_eq!(clip(&"x".repeat(81)), format!("{}…", "x".repeat(80)));
}

#[test]
fn an_extension_has_a_name_of_its_own() {
    check(
        extension_name,
        &["a", "traceparent", "0", &"x".repeat(64)],
        &["", "A", "a-b", "a_b", "ä", "data", "id", "specversion", "data_base64", &"x".repeat(65)],
    );
}
