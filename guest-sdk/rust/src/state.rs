//! States of this version and of others: read, checked, converted. What the host asks of
//! `migrate`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Result;
use crate::raw::State;

type Outcome = core::result::Result<Vec<u8>, String>;

/// Reads a state of this version, and writes it again. Fails if it does not fit `S`, and also
/// if something in it does not come back: then a member was renamed or removed and the number
/// of the version was not raised, and the plugin would go on without what it had noted.
///
/// # Errors
/// Says what does not fit, or is dropped.
pub fn read_again<S: Serialize + DeserializeOwned>(data: &[u8]) -> Outcome {
    let state: S = serde_json::from_slice(data)
        .map_err(|error| format!("the stored state does not fit: {error}"))?;
    let written = text(crate::finite::to_json(&state))?;
    // A `Json` member holds what a `Value` cannot; then members are not compared.
    let (Ok(before), Ok(after)) = (serde_json::from_slice(data), serde_json::from_slice(&written))
    else {
        return Ok(written);
    };
    match dropped(&before, &after) {
        None => Ok(written),
        Some(place) => {
            Err(format!("the stored state has `{place}`, and this version of the plugin drops it"))
        }
    }
}

/// Converts a state with the plugin's own function, which gets both versions and the JSON.
///
/// # Errors
/// The function's refusal.
pub fn convert<T: Serialize>(
    state: &State,
    to: u32,
    migrate: impl FnOnce(u32, u32, Value) -> Result<T>,
) -> Outcome {
    let before = serde_json::from_slice(&state.data)
        .map_err(|error| format!("the stored state is no JSON: {error}"))?;
    let after = migrate(state.version, to, before).map_err(|error| error.reason().to_owned())?;
    text(crate::finite::to_json(&after))
}

/// What a plugin without such a function says.
#[must_use]
pub fn unknown(state: &State, to: u32) -> String {
    format!("the plugin has no migration from version {} to {to}", state.version)
}

fn text<T, E: core::fmt::Display>(
    result: core::result::Result<T, E>,
) -> core::result::Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// A member that is in `before` and not in `after`, as a path. One that says nothing (null,
/// nothing in it, false, zero) may be left out.
fn dropped(before: &Value, after: &Value) -> Option<String> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            before.iter().find_map(|(name, value)| match after.get(name) {
                None if says_nothing(value) => None,
                None => Some(name.clone()),
                Some(after) => dropped(value, after).map(|place| format!("{name}.{place}")),
            })
        }
        // A set may come back in another order.
        (Value::Array(before), Value::Array(after)) => {
            before.iter().enumerate().find_map(|(at, value)| {
                let same_place = after.get(at).into_iter();
                let mut all = same_place.chain(after);
                let place = all.clone().next().and_then(|after| dropped(value, after))?;
                let is_elsewhere =
                    all.any(|after| is_alike(value, after) && dropped(value, after).is_none());
                (!is_elsewhere).then(|| format!("{at}.{place}"))
            })
        }
        _ => None,
    }
}

fn is_alike(one: &Value, other: &Value) -> bool {
    one.is_object() == other.is_object() && one.is_array() == other.is_array()
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::Error;

    #[derive(Deserialize, Serialize)]
    struct Checkout {
        guests: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        #[serde(default)]
        nights: u32,
        #[serde(default)]
        rooms: Vec<Room>,
    }

    #[derive(Deserialize, Serialize)]
    struct Room {
        number: u32,
    }

    #[track_caller]
    fn reads(state: &Value, expected: core::result::Result<Value, &str>) {
        let read = read_again::<Checkout>(state.to_string().as_bytes());
        match (read, expected) {
            (Ok(written), Ok(expected)) => {
                assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), expected);
            }
            (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
            (read, _) => panic!("{read:?}"),
        }
    }

    #[test]
    fn a_state_of_this_version_comes_back_as_this_version_writes_it() {
        let whole =
            json!({"guests": {"a": "paid"}, "note": "x", "nights": 2, "rooms": [{"number": 1}]});
        reads(&whole, Ok(whole.clone()));
        // A member that has a default, or says nothing, may be new or gone.
        let older = json!({"guests": {}, "note": null, "was": [], "flag": false, "count": 0});
        reads(&older, Ok(json!({"guests": {}, "nights": 0, "rooms": []})));
    }

    #[test]
    fn a_shape_that_has_changed_without_its_number_is_refused_with_the_place() {
        reads(&json!({"people": {"a": "paid"}}), Err("missing field `guests`"));
        reads(&json!({"guests": 3}), Err("does not fit: invalid type: integer `3`"));
        reads(&json!({"guests": {"a": 1}}), Err("does not fit: invalid type: integer `1`"));
        // What has a default hides that it was renamed; what is dropped shows it.
        reads(&json!({"guests": {}, "days": 2}), Err("has `days`, and this version"));
        let rooms = json!({"guests": {}, "rooms": [{"number": 1}, {"number": 2, "beds": 2}]});
        reads(&rooms, Err("has `rooms.1.beds`"));
        reads(&json!("none"), Err("does not fit"));
    }

    #[test]
    fn a_state_with_json_that_a_value_cannot_hold_is_read() {
        #[derive(Deserialize, Serialize)]
        struct Passed {
            on: crate::Json,
        }
        for on in ["1e400", r#""cut \ud83d""#, "10.00"] {
            let state = format!(r#"{{"on":{on}}}"#);
            assert_eq!(read_again::<Passed>(state.as_bytes()), Ok(state.into_bytes()));
        }
    }

    #[test]
    fn sets_may_come_back_in_another_order() {
        let before = json!([{"a": 1}, {"b": 2}, 3]);
        assert_eq!(dropped(&before, &json!([3, {"b": 2}, {"a": 1}])), None);
        assert_eq!(dropped(&before, &json!([{"a": 1}, {"a": 2}, 3])), Some("1.b".to_owned()));
    }

    #[test]
    fn the_plugins_own_function_gets_both_versions() {
        let state = State { version: 2, data: br#"{"a":1}"#.to_vec() };
        let written = convert(&state, 1, |from, to, before| {
            Ok(json!({"from": from, "to": to, "before": before}))
        });
        let written: Value = serde_json::from_slice(&written.unwrap()).unwrap();
        assert_eq!(written, json!({"from": 2, "to": 1, "before": {"a": 1}}));
        let refused = convert(&state, 1, |_, _, _| Err::<Value, _>(Error::permanent("no")));
        assert_eq!(refused, Err("no".to_owned()));
        assert_eq!(unknown(&state, 3), "the plugin has no migration from version 2 to 3");
    }
}
