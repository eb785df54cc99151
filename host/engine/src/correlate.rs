//! Pure: the rule of a subscription finds the correlation keys of an event.

use serde_json::Value;

use crate::model::{Correlation, Event, Key, reserved};
use crate::pointer;

/// An array may name this many keys. The largest fan-out measured in real event
/// logs is below 100; more than this is a mistake in the sender or the rule.
const KEYS_MAX: usize = 1_000;
/// Longer keys make indexes useless.
const KEY_BYTES_MAX: usize = 512;

/// The keys, each once, in the order of the event. Empty if an array is empty.
///
/// # Errors
/// Says what was looked for and what is there instead.
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
    let found = pointer::find(&event.data, pointer)
        .map_err(|error| format!("no correlation key: the data is not JSON: {error}"))?
        .ok_or_else(|| format!("no correlation key: the data has nothing at `{pointer}`"))?;
    let Value::Array(values) = &found else {
        return Ok(vec![scalar(&found, pointer)?]);
    };
    if values.len() > KEYS_MAX {
        return Err(format!(
            "`{pointer}` names {} correlation keys; at most {KEYS_MAX} are accepted",
            values.len()
        ));
    }
    let mut keys = Vec::with_capacity(values.len());
    for value in values {
        let key = scalar(value, pointer)?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(keys)
}

fn scalar(value: &Value, pointer: &str) -> Result<Key, String> {
    match value {
        Value::String(text) => key(text, pointer),
        Value::Number(number) if !number.is_f64() => key(&number.to_string(), pointer),
        other => Err(format!(
            "no correlation key: `{pointer}` must find a string, an integer or an array of these, not {}",
            kind(other)
        )),
    }
}

fn key(text: &str, place: &str) -> Result<Key, String> {
    if text.is_empty() {
        return Err(format!("no correlation key: `{place}` is empty"));
    }
    if text.len() > KEY_BYTES_MAX {
        return Err(format!(
            "the correlation key at `{place}` has {} bytes; at most {KEY_BYTES_MAX} are accepted",
            text.len()
        ));
    }
    Ok(Key::from(text))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a fraction",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
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
    }
}
