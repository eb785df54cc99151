//! Where two values differ, in lines that a person can read. The one place that says what
//! is the same.
//!
//! - Numbers are the same if their exact values are, at any size: `1`, `1.0` and `10e-1` are
//!   one number, so are `0` and `-0`, and 9007199254740993 is not 9007199254740992.0.
//! - Strings are the same if their characters are, however they are escaped.
//! - The order of an object's members does not matter; a member that is there twice is.
//! - What stays text (`Json::Text`) is the same if the text is, but for blanks.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Json, Object};

/// Longer values are cut where people read them.
const SHOWN_CHARACTERS: usize = 200;

/// Places at which two values differ that are named. A person reads the first of them, and a state of a
/// megabyte has hundreds of thousands.
const DIFFERENCES_MAX: usize = 10_000;
/// Bytes of a place. Each item below a long name has the name in its place.
const PLACE_BYTES_MAX: usize = 1_024;

/// One place at which two values differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Such as `sends[0].data.reason`.
    pub place: String,
    /// None if nothing is there.
    pub expected: Option<Json>,
    pub found: Option<Json>,
}

impl Difference {
    /// One that a host has written.
    #[must_use]
    pub fn read(json: &Json) -> Option<Self> {
        let value = |name: &str| json.get(name).filter(|value| !value.is_null()).cloned();
        let place = json.get("place")?.as_str()?.to_owned();
        Some(Self { place, expected: value("expected"), found: value("found") })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, expected, found } = self;
        write!(f, "{place}: expected {}, found {}", shown(expected.as_ref()), shown(found.as_ref()))
    }
}

fn shown(value: Option<&Json>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The places at which two values differ: all of them, or the first [`DIFFERENCES_MAX`].
#[must_use]
pub(crate) fn differences(place: &str, expected: &Json, found: &Json) -> Vec<Difference> {
    let mut all = Vec::new();
    compare(place, expected, found, &mut all);
    all
}

/// A place below another one.
fn below(place: &str, next: fmt::Arguments<'_>) -> String {
    let mut place = format!("{place}{next}");
    if place.len() > PLACE_BYTES_MAX {
        place.truncate(place.floor_char_boundary(PLACE_BYTES_MAX));
        place.push('…');
    }
    place
}

fn compare(place: &str, expected: &Json, found: &Json, all: &mut Vec<Difference>) {
    if all.len() >= DIFFERENCES_MAX {
        return;
    }
    match (expected, found) {
        (Json::Object(expected), Json::Object(found)) => {
            compare_objects(place, expected, found, all);
        }
        (Json::Array(expected), Json::Array(found)) => {
            for index in 0..expected.len().max(found.len()) {
                if all.len() >= DIFFERENCES_MAX {
                    return;
                }
                let place = below(place, format_args!("[{index}]"));
                compare_members(&place, expected.get(index), found.get(index), all);
            }
        }
        _ if expected == found => {}
        _ => all.push(Difference {
            place: place.to_owned(),
            expected: Some(expected.clone()),
            found: Some(found.clone()),
        }),
    }
}

fn compare_objects(place: &str, expected: &Object, found: &Object, all: &mut Vec<Difference>) {
    let (expected, found) = (Names::of(expected), Names::of(found));
    // Each name once, those that were expected first.
    let unexpected = found.order.iter().filter(|name| expected.values(name).is_empty());
    for name in expected.order.iter().chain(unexpected) {
        if all.len() >= DIFFERENCES_MAX {
            return;
        }
        let dot = if place.is_empty() { "" } else { "." };
        let place = below(place, format_args!("{dot}{name}"));
        let (expected, found) = (expected.values(name), found.values(name));
        for index in 0..expected.len().max(found.len()) {
            let place = match index {
                0 => place.clone(),
                more => below(&place, format_args!(" (number {})", more + 1)),
            };
            let (expected, found) = (expected.get(index).copied(), found.get(index).copied());
            compare_members(&place, expected, found, all);
        }
    }
}

/// An object's names, in the order in which they come first, and the values of each.
struct Names<'o> {
    order: Vec<&'o str>,
    values: HashMap<&'o str, Vec<&'o Json>>,
}

impl<'o> Names<'o> {
    fn of(object: &'o Object) -> Self {
        let mut names = Self { order: Vec::new(), values: HashMap::with_capacity(object.len()) };
        for (name, value) in object {
            let values = names.values.entry(name).or_default();
            if values.is_empty() {
                names.order.push(name);
            }
            values.push(value);
        }
        names
    }

    fn values(&self, name: &str) -> &[&'o Json] {
        self.values.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

fn compare_members(
    place: &str,
    expected: Option<&Json>,
    found: Option<&Json>,
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

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::Number(left), Self::Number(right)) => left == right,
            (Self::String(left), Self::String(right)) => left == right,
            (Self::Array(left), Self::Array(right)) => left == right,
            (Self::Object(left), Self::Object(right)) => left == right,
            (Self::Text(left), Self::Text(right)) => left == right,
            _ => false,
        }
    }
}

impl Eq for Json {}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |object: &Self| {
            let mut members: Vec<usize> = (0..object.len()).collect();
            members.sort_by(|left, right| object.0[*left].0.cmp(&object.0[*right].0));
            members
        };
        // Stable: what has one name keeps its order.
        self.len() == other.len()
            && sorted(self).into_iter().zip(sorted(other)).all(|(left, right)| {
                let (left, right) = (&self.0[left], &other.0[right]);
                left == right
            })
    }
}

impl Eq for Object {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::json;
    use super::*;

    #[track_caller]
    fn check(expected: &Json, found: &Json, lines: &[&str]) {
        let all = differences("", expected, found);
        assert_eq!(all.iter().map(ToString::to_string).collect::<Vec<_>>(), lines);
        assert_eq!(expected == found, lines.is_empty());
        assert_eq!(differences("", found, expected).len(), lines.len());
    }

    #[track_caller]
    fn texts(expected: &str, found: &str, lines: &[&str]) {
        let read = |text: &str| Json::parse(text.as_bytes()).unwrap();
        check(&read(expected), &read(found), lines);
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
    fn two_large_values_have_no_more_differences_and_no_longer_places_than_people_read() {
        let of = |number: &str| {
            let items = vec![number; 30_000].join(",");
            let name = "n".repeat(100_000);
            Json::parse(format!("{{\"{name}\":[[{items}]],\"z\":{number}}}").as_bytes()).unwrap()
        };
        let all = differences("state", &of("1"), &of("2"));
        assert_eq!(all.len(), DIFFERENCES_MAX);
        assert!(all.iter().all(|one| one.place.len() < PLACE_BYTES_MAX + 100));
        assert_eq!(differences("state", &of("1"), &of("1.0")), []);
    }

    #[test]
    fn numbers_are_what_they_mean() {
        check(&json!([1, 2.0, 0.5]), &json!([1.0, 2, 0.5]), &[]);
        texts("[1,-0,1e400,10.00]", "[10e-1,0,10e399,1e1]", &[]);
        for (a, b) in [
            ("9007199254740993", "9007199254740992.0"),
            ("9007199254740993", "9007199254740992"),
            ("12345678901234567890123", "12345678901234567890124"),
            ("0.1", "0.1000000000000000055511151231257827"),
            ("1e400", "1e401"),
        ] {
            texts(a, b, &[&format!(": expected {a}, found {b}")]);
        }
    }

    #[test]
    fn members_that_are_there_twice_are_compared_one_by_one() {
        texts(r#"{"n":1,"m":0,"n":2}"#, r#"{"n":1,"n":2,"m":0}"#, &[]);
        texts(
            r#"{"n":1,"n":2}"#,
            r#"{"n":2}"#,
            &["n: expected 1, found 2", "n (number 2): expected 2, found nothing"],
        );
        texts(
            r#"{"n":1,"n":2}"#,
            r#"{"n":2,"n":1}"#,
            &["n: expected 1, found 2", "n (number 2): expected 2, found 1"],
        );
    }

    #[test]
    fn text_that_stays_text_is_compared_as_it_is() {
        texts(r#""cut \ud83d""#, r#""cut \ud83d""#, &[]);
        texts(
            r#""cut \ud83d""#,
            r#""cut \ud83e""#,
            &[r#": expected "cut \ud83d", found "cut \ud83e""#],
        );
        texts(r#"{"a" : {"\udead": 1}}"#, r#"{"a":{"\udead":1}}"#, &[]);
    }

    proptest! {
        #[test]
        fn what_differs_is_not_equal_and_what_is_equal_does_not_differ(
            left in "[0-2.]{1,3}|\\{(\"[ab]\":[01],){0,2}\"a\":0\\}",
            right in "[0-2.]{1,3}|\\{(\"[ab]\":[01],){0,2}\"a\":0\\}",
        ) {
            let (Ok(left), Ok(right)) = (Json::parse(left.as_bytes()), Json::parse(right.as_bytes())) else {
                return Ok(());
            };
            prop_assert_eq!(differences("", &left, &right).is_empty(), left == right);
            prop_assert_eq!(left == right, right == left);
        }
    }
}
