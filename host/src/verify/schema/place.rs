//! Pure: whether a JSON Pointer leads to a place that a schema has, and where it may have meant to
//! lead.

use std::collections::{BTreeSet, VecDeque};

use sagabox_engine::pure::pointer::tokens;
use serde_json::Value;

use super::shape::{Alternative, Kind, Rest, Root, Schema};
use crate::io::nearest;

/// Deeper places are not listed; recursive types have no end.
const DEPTH_MAX: usize = 6;
/// A schema with more places gets no better advice from the rest.
const PLACES_MAX: usize = 1_000;

/// What a schema has at a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A value that may be a key: a string, a number, or an array.
    Key,
    /// Values that no correlation key can be made of: booleans, objects and null.
    NoKey,
    /// Nothing, whatever the value.
    Missing,
    /// The schema does not say.
    Open,
}

/// Looks where a pointer leads in the values of a schema.
#[must_use]
pub fn find(schema: &Value, pointer: &str) -> Place {
    let root = Root(schema);
    let Some(tokens) = tokens(pointer) else { return Place::Missing };
    let mut here: Vec<Schema<'_>> = vec![Schema::All(vec![schema])];
    for token in tokens {
        let mut next = Vec::new();
        for schema in &here {
            for alternative in &*root.alternatives(schema) {
                match step(alternative, &token) {
                    Rest::Each(schema) => next.push(schema),
                    Rest::None => {}
                    Rest::Unsaid | Rest::Unknown => return Place::Open,
                }
            }
        }
        here = next;
    }
    let found = here.iter().flat_map(|schema| root.alternatives(schema).to_vec());
    let found: Vec<Alternative<'_>> = found.collect();
    let may_be_key = |found: &Alternative<'_>| {
        found.is_untyped || matches!(found.kind.json_type(), "string" | "number" | "array")
    };
    match found.iter().any(may_be_key) {
        true => Place::Key,
        false if found.is_empty() => Place::Missing,
        false => Place::NoKey,
    }
}

/// The part of a value that a token names.
fn step<'s>(alternative: &Alternative<'s>, token: &str) -> Rest<'s> {
    let said = match &alternative.kind {
        Kind::Members(members) => match members.at(token) {
            // An object that names its members has these; one that names none may have any.
            Rest::Unsaid if !members.declared.is_empty() && !members.required.contains(token) => {
                Rest::None
            }
            said => said,
        },
        Kind::List(list) => match token.parse() {
            Ok(index) => list.at(index),
            Err(_) => Rest::None,
        },
        Kind::Literal(Value::Array(_) | Value::Object(_)) => Rest::Unknown,
        _ => Rest::None,
    };
    match said {
        Rest::None if alternative.is_untyped => Rest::Unsaid,
        said => said,
    }
}

/// All pointers to named members, those near the top first.
#[must_use]
pub fn pointers(schema: &Value) -> Vec<String> {
    let root = Root(schema);
    let mut all = BTreeSet::new();
    let mut listed = Vec::new();
    let mut left = VecDeque::from([(String::new(), Schema::All(vec![schema]), 0)]);
    while let Some((at, schema, depth)) = left.pop_front() {
        for alternative in &*root.alternatives(&schema) {
            let Kind::Members(members) = &alternative.kind else { continue };
            for (name, schema) in &members.declared {
                let place = format!("{at}/{}", escaped(name));
                if listed.len() < PLACES_MAX && all.insert(place.clone()) {
                    listed.push(place.clone());
                    if depth < DEPTH_MAX {
                        left.push_back((place, schema.clone(), depth + 1));
                    }
                }
            }
        }
    }
    listed
}

/// The pointer of these that another one was meant to be.
#[must_use]
pub fn nearest<'p>(pointer: &str, known: &'p [String]) -> Option<&'p str> {
    let all = || known.iter().map(String::as_str);
    let (parent, name) = pointer.rsplit_once('/')?;
    let inside = all().filter_map(|other| other.rsplit_once('/'));
    let siblings = inside.filter(|(other, _)| *other == parent).map(|(_, name)| name);
    if let Some(found) = near(name, siblings) {
        return all().find(|other| other.rsplit_once('/') == Some((parent, found)));
    }
    // The same name in another place.
    let named: Vec<&str> = all()
        .filter(|other| other.rsplit('/').next().is_some_and(|other| plain(other) == plain(name)))
        .collect();
    nearest::nearest(pointer, named.iter().copied()).or_else(|| named.first().copied())
}

/// The name of these that another one was meant to be.
pub(super) fn near<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let known: Vec<&str> = known.collect();
    let same = known.iter().find(|other| plain(other) == plain(name));
    same.copied().or_else(|| nearest::nearest(name, known.iter().copied())).or_else(|| {
        // `amount` and `amount_cents`.
        let within = |other: &&&str| {
            let (one, other) = (plain(name), plain(other));
            one.len().min(other.len()) > 2 && (one.contains(&other) || other.contains(&one))
        };
        known.iter().find(within).copied()
    })
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// A name as a token of a JSON Pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order() -> Value {
        json!({
            "type": "object",
            "properties": {
                "orderId": {"type": "string"},
                "is/paid": {"type": "boolean"},
                "customer": {"$ref": "#/$defs/Customer"},
                "lines": {"type": "array", "items": {"type": "object", "properties": {"sku": {}}}},
                "notes": {"type": "object"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "required": ["orderId"],
            "$defs": {"Customer": {
                "type": ["object", "null"],
                "properties": {"id": {"type": "integer"}, "friend": {"$ref": "#/$defs/Customer"}},
            }},
        })
    }

    #[test]
    fn a_pointer_leads_to_what_the_schema_has() {
        for (pointer, expected) in [
            ("/orderId", Place::Key),
            ("/customer/id", Place::Key),
            ("/customer/friend/friend/id", Place::Key),
            ("/lines", Place::Key),
            ("/lines/0/sku", Place::Key),
            ("/labels/any", Place::Key),
            ("/is~1paid", Place::NoKey),
            ("/customer", Place::NoKey),
            ("", Place::NoKey),
            ("/order_id", Place::Missing),
            ("/orderId/x", Place::Missing),
            ("/lines/first", Place::Missing),
            ("/notes/any", Place::Open),
            ("/lines/0/sku/any", Place::Open),
        ] {
            assert_eq!(find(&order(), pointer), expected, "{pointer}");
        }
        assert_eq!(find(&json!(true), "/a"), Place::Open);
        assert_eq!(find(&json!({"properties": {"a": {}}}), "/b"), Place::Open);
        let either = json!({"oneOf": [
            {"type": "object", "properties": {"a": {"const": 1}}},
            {"type": "object", "properties": {"b": {"type": "string"}}},
        ]});
        assert_eq!((find(&either, "/b"), find(&either, "/c")), (Place::Key, Place::Missing));
    }

    #[test]
    fn a_recursive_schema_has_a_bounded_number_of_places() {
        let places = pointers(&order());
        assert_eq!(places[..2], ["/customer", "/is~1paid"]);
        assert!(places.contains(&"/customer/friend/friend/id".to_owned()), "{places:?}");
        assert!(places.len() < 30, "{places:?}");
    }

    #[test]
    fn the_nearest_is_what_was_meant() {
        let places = pointers(&order());
        for (pointer, expected) in [
            ("/order_id", Some("/orderId")),
            ("/orderid", Some("/orderId")),
            ("/ordrId", Some("/orderId")),
            ("/id", Some("/customer/id")),
            ("/customer/name", None),
        ] {
            assert_eq!(nearest(pointer, &places), expected, "{pointer}");
        }
        assert_eq!(near("amount", ["amountCents", "other"].into_iter()), Some("amountCents"));
        assert_eq!(near("id", ["paid"].into_iter()), None);
    }
}
