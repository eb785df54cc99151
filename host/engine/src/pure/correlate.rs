//! Pure: finds the correlation keys of an event by the rule of a subscription. An array names every
//! key in it. If the event has no key, the error says why, in words for the reason of a dead
//! letter.

use crate::model::json::{self, Scanner};
use crate::model::{Correlation, Event, Key, reserved};
use crate::pure::pointer;

/// The most keys that one event may name. The largest number measured in real event logs is
/// below 100; a larger one than this is a mistake in the sender or the rule.
const KEYS_MAX: usize = 1_000;

/// The keys, each once, in the order of the event. Empty if the rule finds an empty array.
///
/// # Errors
/// Says what the rule looks for and what the event has instead, in words for a dead letter's
/// reason.
pub fn correlate(event: &Event, rule: &Correlation) -> Result<Vec<Key>, String> {
    match rule {
        Correlation::Subject => attribute(event, "subject"),
        Correlation::Attribute(name) => attribute(event, name),
        Correlation::Pointer(pointer) => by_pointer(event, pointer),
        Correlation::Instance => attribute(event, reserved::EXTENSION_INSTANCE),
    }
}

fn attribute(event: &Event, name: &str) -> Result<Vec<Key>, String> {
    let value = event
        .attribute(name)
        .ok_or_else(|| format!("no correlation key: the event has no attribute `{name}`"))?;
    Ok(vec![key(value, name)?])
}

fn by_pointer(event: &Event, pointer: &str) -> Result<Vec<Key>, String> {
    if !event.is_json() {
        return Err(format!(
            "no correlation key: `{pointer}` needs JSON data, and this is {}",
            event.content_type()
        ));
    }
    let not_json = |error| format!("no correlation key: the data is not JSON: {error}");
    let found = pointer::find(&event.data, pointer)
        .map_err(not_json)?
        .ok_or_else(|| format!("no correlation key: the data has nothing at `{pointer}`"))?;
    let mut scanner = Scanner::new(found);
    if !scanner.enter_array() {
        return Ok(vec![scalar(found, pointer)?]);
    }
    let mut keys = Vec::new();
    let mut named = 0;
    while scanner.element().map_err(not_json)? {
        let value = scanner.value().map_err(not_json)?;
        named += 1;
        if named > KEYS_MAX {
            continue;
        }
        let key = scalar(value, pointer)?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    if named > KEYS_MAX {
        return Err(format!(
            "`{pointer}` names {named} correlation keys; at most {KEYS_MAX} are accepted"
        ));
    }
    Ok(keys)
}

/// The key of a string is its text. The key of an integer is its digits: `7` and `"7"` are one
/// key, and the key of `-0` is `0`.
fn scalar(value: &str, pointer: &str) -> Result<Key, String> {
    if value.starts_with('"') {
        let text = json::decode(value).ok_or_else(|| {
            format!("no correlation key: the string at `{pointer}` has half of a surrogate pair")
        })?;
        return key(&text, pointer);
    }
    match json::integer(value) {
        Some(integer) => key(&integer, pointer),
        None => Err(format!(
            "no correlation key: `{pointer}` must find a string, an integer or an array of these, not {}",
            kind(value)
        )),
    }
}

fn key(text: &str, place: &str) -> Result<Key, String> {
    if text.is_empty() {
        return Err(format!("no correlation key: `{place}` is empty"));
    }
    if text.len() > Key::BYTES_MAX {
        return Err(format!(
            "the correlation key at `{place}` has {} bytes; at most {} are accepted",
            text.len(),
            Key::BYTES_MAX
        ));
    }
    Ok(Key::from(text))
}

fn kind(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        _ => "a fraction",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data: &str, pointer: &str, expected: Result<&[&str], &str>) {
        let json =
            format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","data":{data}}}"#);
        let event = Event::from_json(json.as_bytes()).unwrap();
        let found = correlate(&event, &Correlation::Pointer(pointer.to_owned()));
        let found =
            found.map(|keys| keys.iter().map(|key| key.as_str().to_owned()).collect::<Vec<_>>());
        let expected = expected.map(|keys| keys.iter().map(|&key| key.to_owned()).collect());
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn a_pointer_finds_strings_integers_and_arrays() {
        check(r#"{"a":{"b":"x"}}"#, "/a/b", Ok(&["x"]));
        check(r#"{"a":17}"#, "/a", Ok(&["17"]));
        check(r#"{"a":["x","y","x",3]}"#, "/a", Ok(&["x", "y", "3"]));
        check(r#"{"a":[]}"#, "/a", Ok(&[]));
        check(r#"{"a":"\u0061\/b"}"#, "/a", Ok(&["a/b"]));
    }

    #[test]
    fn an_integer_of_any_size_is_its_digits() {
        for digits in [
            "0",
            "-7",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "123456789012345678901234567890123456789012345678901234567890",
        ] {
            check(&format!(r#"{{"a":{digits}}}"#), "/a", Ok(&[digits]));
        }
        check(r#"{"a":[-0,0,"0"]}"#, "/a", Ok(&["0"]));
        let digits = "7".repeat(513);
        let reason = "the correlation key at `/a` has 513 bytes; at most 512 are accepted";
        check(&format!(r#"{{"a":{digits}}}"#), "/a", Err(reason));
    }

    #[test]
    fn what_other_parsers_refuse_is_no_obstacle() {
        check(r#"{"a":"x","n":1e400,"s":"\ud83d","\udead":0}"#, "/a", Ok(&["x"]));
        let deep = format!(r#"{{"n":{}{},"a":"x"}}"#, "[".repeat(5_000), "]".repeat(5_000));
        check(&deep, "/a", Ok(&["x"]));
        check(
            r#"{"a":"\ud83d"}"#,
            "/a",
            Err("no correlation key: the string at `/a` has half of a surrogate pair"),
        );
    }

    #[test]
    fn what_is_no_key_is_said() {
        check("{}", "/a", Err("no correlation key: the data has nothing at `/a`"));
        check(
            r#"{"a":1.5}"#,
            "/a",
            Err(
                "no correlation key: `/a` must find a string, an integer or an array of these, not a fraction",
            ),
        );
        check(r#"{"a":""}"#, "/a", Err("no correlation key: `/a` is empty"));
        let many = format!(r#"{{"a":[{}]}}"#, ["1"; 1_001].join(","));
        check(&many, "/a", Err("`/a` names 1001 correlation keys; at most 1000 are accepted"));
        for (value, kind) in [
            ("null", "null"),
            ("true", "a boolean"),
            ("1e2", "a fraction"),
            ("{}", "an object"),
            ("[[]]", "an array"),
        ] {
            let reason = format!(
                "no correlation key: `/a` must find a string, an integer or an array of these, not {kind}"
            );
            check(&format!(r#"{{"a":{value}}}"#), "/a", Err(&reason));
        }
    }
}
