//! Pure: where two JSON values differ, in lines that a person can read.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Longer values are cut where people read them.
const SHOWN_CHARACTERS: usize = 200;

/// One place at which two values differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Such as `sends[0].data.reason`.
    pub place: String,
    /// None if nothing is there.
    pub expected: Option<Value>,
    pub found: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, expected, found } = self;
        write!(f, "{place}: expected {}, found {}", shown(expected.as_ref()), shown(found.as_ref()))
    }
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// All places. Numbers are compared by what they mean: 1 is 1.0.
#[must_use]
pub fn differences(place: &str, expected: &Value, found: &Value) -> Vec<Difference> {
    let mut all = Vec::new();
    compare(place, expected, found, &mut all);
    all
}

fn compare(place: &str, expected: &Value, found: &Value, all: &mut Vec<Difference>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            compare_objects(place, expected, found, all);
        }
        (Value::Array(expected), Value::Array(found)) => {
            for index in 0..expected.len().max(found.len()) {
                let place = format!("{place}[{index}]");
                compare_members(&place, expected.get(index), found.get(index), all);
            }
        }
        (Value::Number(a), Value::Number(b)) if a == b || same_fraction(a, b) => {}
        _ if expected == found => {}
        _ => all.push(Difference {
            place: place.to_owned(),
            expected: Some(expected.clone()),
            found: Some(found.clone()),
        }),
    }
}

/// Integers are compared as such: as fractions, large ones that differ would be the same.
fn same_fraction(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64()
}

fn compare_objects(
    place: &str,
    expected: &Map<String, Value>,
    found: &Map<String, Value>,
    all: &mut Vec<Difference>,
) {
    let unexpected = found.keys().filter(|name| !expected.contains_key(*name));
    for name in expected.keys().chain(unexpected) {
        let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        compare_members(&place, expected.get(name), found.get(name), all);
    }
}

fn compare_members(
    place: &str,
    expected: Option<&Value>,
    found: Option<&Value>,
    all: &mut Vec<Difference>,
) {
    match (expected, found) {
        (Some(expected), Some(found)) => compare(place, expected, found, all),
        (None, None) => {}
        _ => all.push(Difference {
            place: place.to_owned(),
            expected: expected.cloned(),
            found: found.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(expected: &Value, found: &Value, lines: &[&str]) {
        let all = differences("", expected, found);
        assert_eq!(all.iter().map(ToString::to_string).collect::<Vec<_>>(), lines);
    }

    #[test]
    fn each_place_is_named() {
        check(
            &json!({"a": {"b": [1, 2]}, "c": "x", "same": null}),
            &json!({"a": {"b": [1, 3, 4]}, "d": true, "same": null}),
            &[
                "a.b[1]: expected 2, found 3",
                "a.b[2]: expected nothing, found 4",
                "c: expected \"x\", found nothing",
                "d: expected nothing, found true",
            ],
        );
    }

    #[test]
    fn numbers_are_what_they_mean() {
        check(&json!([1, 2.0, 0.5]), &json!([1.0, 2, 0.5]), &[]);
        let (a, b) = (9_007_199_254_740_993_u64, 9_007_199_254_740_992_u64);
        assert_eq!(differences("", &json!(a), &json!(b)).len(), 1);
    }
}
