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
mod tests;
