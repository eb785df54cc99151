//! Pure: the rules of CloudEvents 1.0 for the value of an attribute, by its type.
//!
//! Source of the rules: CloudEvents specification 1.0.2, section "Type System", and the
//! documents that it names: RFC 3986 (URI), RFC 3339 (timestamp), RFC 2045 with RFC 9110
//! (media type).

use iri_string::types::{UriReferenceStr, UriStr};

/// The bytes that an extension's name may have. CloudEvents recommends at most 20; longer names
/// are common.
pub const EXTENSION_NAME_BYTES_MAX: usize = 64;
/// Names that an extension cannot have.
const CORE: [&str; 9] = [
    "data",
    "datacontenttype",
    "dataschema",
    "id",
    "source",
    "specversion",
    "subject",
    "time",
    "type",
];

/// Checks a string (section "Type System"): no control characters, and no noncharacters of
/// Unicode.
///
/// # Errors
/// Names the first character that is not allowed.
pub fn text(value: &str) -> Result<(), String> {
    // Nearly all values are ASCII, of which only control characters are excluded.
    if value.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
        return Ok(());
    }
    match value.chars().find(|character| !is_allowed(*character)) {
        None => Ok(()),
        Some(character) => Err(format!(
            "has the character U+{:04X}; control characters and noncharacters are not allowed",
            u32::from(character)
        )),
    }
}

/// Whether a CloudEvents string may have the character.
#[must_use]
pub fn is_allowed(character: char) -> bool {
    let code = u32::from(character);
    !character.is_control() && code & 0xfffe != 0xfffe && !(0xfdd0..=0xfdef).contains(&code)
}

/// The text as a CloudEvents string: characters that are not allowed are percent-encoded. For
/// values that the host derives from data, such as the key of an instance.
#[must_use]
pub fn encoded(value: &str) -> std::borrow::Cow<'_, str> {
    if text(value).is_ok() {
        return value.into();
    }
    let mut encoded = String::with_capacity(value.len() + 8);
    for character in value.chars() {
        if is_allowed(character) {
            encoded.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded.into()
}

/// Checks a URI reference (RFC 3986, section 4.1).
///
/// # Errors
/// Says what it is not.
pub fn uri_reference(value: &str) -> Result<(), String> {
    match UriReferenceStr::new(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "`{}` is not a URI reference (RFC 3986) such as /orders or https://example.com/orders; \
             other characters are percent-encoded",
            clip(value)
        )),
    }
}

/// Checks a URI with a scheme (RFC 3986, section 3).
///
/// # Errors
/// Says what it is not.
pub fn uri(value: &str) -> Result<(), String> {
    match UriStr::new(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "`{}` is not a URI (RFC 3986) with a scheme, such as https://example.com/order.json",
            clip(value)
        )),
    }
}

/// Checks a timestamp (RFC 3339, section 5.6): date, time with at least seconds, and offset. The
/// second 60 is a leap second, so it must be in the last minute of June or December in UTC
/// (section 5.7).
///
/// # Errors
/// Says what it is not.
pub fn timestamp(value: &str) -> Result<(), String> {
    match is_timestamp(value.as_bytes()) {
        Some(true) => Ok(()),
        _ => Err(format!(
            "`{}` is not an RFC 3339 timestamp such as 2026-01-31T12:00:00Z",
            clip(value)
        )),
    }
}

/// None if the text ends too early.
fn is_timestamp(text: &[u8]) -> Option<bool> {
    // In the pattern, 0 matches any digit, and each other character matches itself.
    let (date, rest) = text.split_first_chunk::<19>()?;
    let shape = b"0000-00-00T00:00:00";
    let fits = |(found, expected): (&u8, &u8)| match expected {
        b'0' => found.is_ascii_digit(),
        other => found.eq_ignore_ascii_case(other),
    };
    if !date.iter().zip(shape).all(fits) {
        return Some(false);
    }
    let number = |digits: &[u8]| digits.iter().fold(0, |n, digit| n * 10 + u32::from(digit - b'0'));
    let (year, month, day) = (number(&date[..4]), number(&date[5..7]), number(&date[8..10]));
    let (hour, minute, second) =
        (number(&date[11..13]), number(&date[14..16]), number(&date[17..]));
    if !(1..=12).contains(&month) || day < 1 || day > days(year, month) {
        return Some(false);
    }
    if hour > 23 || minute > 59 || second > 60 {
        return Some(false);
    }
    let rest = match rest.split_first()? {
        (b'.', rest) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return Some(false);
            }
            &rest[digits..]
        }
        _ => rest,
    };
    let offset = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), digits @ ..] if digits.len() == 5 && digits[2] == b':' => {
            let (hours, minutes) = (&digits[..2], &digits[3..]);
            if !hours.iter().chain(minutes).all(u8::is_ascii_digit) {
                return Some(false);
            }
            let (hours, minutes) = (number(hours), number(minutes));
            if hours > 23 || minutes > 59 {
                return Some(false);
            }
            let offset = (hours * 60 + minutes).cast_signed();
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return Some(false),
    };
    Some(second < 60 || is_leap(month, day, (hour * 60 + minute).cast_signed() - offset))
}

/// Whether the minute is the last of June or December in UTC. `minutes` counts from the start of
/// the local day, and may be outside of it.
fn is_leap(month: u32, day: u32, minutes: i32) -> bool {
    const LAST_MINUTE: i32 = 24 * 60 - 1;
    match minutes {
        LAST_MINUTE => matches!((month, day), (6, 30) | (12, 31)),
        // East of Greenwich, the local date is already the next day.
        -1 => matches!((month, day), (7 | 1, 1)),
        _ => false,
    }
}

fn days(year: u32, month: u32) -> u32 {
    let is_leap_year =
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap_year => 29,
        2 => 28,
        _ => 31,
    }
}

/// Checks a media type (RFC 2045, RFC 9110): `type/subtype`, then parameters `; name=value`,
/// whose values are tokens or quoted strings.
///
/// # Errors
/// Says what it is not.
pub fn media_type(value: &str) -> Result<(), String> {
    match is_media_type(value) {
        true => Ok(()),
        false => Err(format!("`{}` is not a media type such as application/json", clip(value))),
    }
}

fn is_media_type(text: &str) -> bool {
    let (essence, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
    let Some((kind, subtype)) = essence.trim_end_matches(BLANKS).split_once('/') else {
        return false;
    };
    if !is_token(kind) || !is_token(subtype) {
        return false;
    }
    while let Some(after) = rest.strip_prefix(';') {
        let after = after.trim_start_matches(BLANKS);
        // RFC 9110 allows a semicolon that no parameter follows.
        if after.is_empty() || after.starts_with(';') {
            rest = after;
            continue;
        }
        let Some((name, value)) = after.split_once('=') else { return false };
        let Some(length) = parameter_value(value) else { return false };
        if !is_token(name) {
            return false;
        }
        rest = value[length..].trim_start_matches(BLANKS);
    }
    rest.is_empty()
}

/// Whether a media type means JSON: `*/json` or `*/*+json`.
#[must_use]
pub fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let Some((_, subtype)) = essence.split_once('/') else { return false };
    let suffix = subtype.rsplit_once('+').map_or(subtype, |(_, suffix)| suffix);
    suffix.eq_ignore_ascii_case("json")
}

const BLANKS: [char; 2] = [' ', '\t'];

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The length of the token or quoted string with which a text begins; none if it begins with
/// neither.
fn parameter_value(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        let length = bytes.iter().take_while(|byte| is_token_byte(**byte)).count();
        return (length > 0).then_some(length);
    }
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if matches!(bytes.get(at + 1), Some(b'\t' | b' '..=b'~')) => at += 2,
            b'\t' | b' '..=b'[' | b']'..=b'~' => at += 1,
            _ => return None,
        }
    }
}

/// # Errors
/// Says which names an extension can have.
pub fn extension_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > EXTENSION_NAME_BYTES_MAX {
        return Err(format!("an extension's name has 1 to {EXTENSION_NAME_BYTES_MAX} characters"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err("an attribute's name has only the characters a-z and 0-9".to_owned());
    }
    match is_core(name) {
        true => Err("is the name of an attribute, and so no extension's".to_owned()),
        false => Ok(()),
    }
}

/// Whether the specification defines an attribute of this name, so that no extension can have
/// it.
#[must_use]
pub fn is_core(name: &str) -> bool {
    CORE.contains(&name)
}

/// The first 80 characters of a value, for reasons that are printed and logged. Characters that
/// a CloudEvents string may not have are escaped.
#[must_use]
pub fn clip(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown = String::new();
    for character in text.chars().take(SHOWN) {
        match is_allowed(character) {
            true => shown.push(character),
            false => shown.extend(character.escape_unicode()),
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
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
        check(
            uri,
            &["https://example.com/a#b", "urn:a:b"],
            &["/a", "a", "%%%", "//x", "http://a b"],
        );
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
            &[
                "",
                "A",
                "a-b",
                "a_b",
                "ä",
                "data",
                "id",
                "specversion",
                "data_base64",
                &"x".repeat(65),
            ],
        );
    }
}
