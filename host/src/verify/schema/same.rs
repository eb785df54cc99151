//! Pure: whether two schemas say the same, but for the texts for people.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::shape::Root;

/// Keywords that no value is refused for.
const ANNOTATIONS: &[&str] = &[
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];

pub(super) fn is_annotation(keyword: &str) -> bool {
    ANNOTATIONS.contains(&keyword)
}

/// Compares two schemas of different documents. It follows references, and ends also where they
/// lead back to themselves.
pub(super) struct Same<'s> {
    pub one: Root<'s>,
    pub other: Root<'s>,
    assumed: HashSet<(usize, usize)>,
}

impl<'s> Same<'s> {
    pub(super) fn new(one: Root<'s>, other: Root<'s>) -> Self {
        Self { one, other, assumed: HashSet::new() }
    }

    pub(super) fn schemas(&mut self, one: &'s Value, other: &'s Value) -> bool {
        let pair = (std::ptr::from_ref(one) as usize, std::ptr::from_ref(other) as usize);
        if !self.assumed.insert(pair) {
            return true;
        }
        match (one, other) {
            (Value::Object(one), Value::Object(other)) => self.objects(one, other),
            _ => one == other,
        }
    }

    fn objects(&mut self, one: &'s Map<String, Value>, other: &'s Map<String, Value>) -> bool {
        let counts = |keyword: &&String| !is_annotation(keyword);
        one.keys().filter(counts).count() == other.keys().filter(counts).count()
            && one.iter().filter(|(keyword, _)| counts(keyword)).all(|(keyword, value)| {
                other.get(keyword).is_some_and(|other| self.keyword(keyword, value, other))
            })
    }

    fn keyword(&mut self, keyword: &str, one: &'s Value, other: &'s Value) -> bool {
        match keyword {
            "$ref" => match (self.one.resolve(one), self.other.resolve(other)) {
                (Some(one), Some(other)) => self.schemas(one, other),
                _ => false,
            },
            "properties" | "patternProperties" | "dependentSchemas" => match (one, other) {
                (Value::Object(one), Value::Object(other)) => {
                    one.len() == other.len()
                        && one.iter().all(|(name, schema)| {
                            other.get(name).is_some_and(|other| self.schemas(schema, other))
                        })
                }
                _ => false,
            },
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => match (one, other) {
                (Value::Array(one), Value::Array(other)) => {
                    one.len() == other.len()
                        && one.iter().zip(other).all(|(one, other)| self.schemas(one, other))
                }
                _ => false,
            },
            "type" | "enum" | "required" => as_set(one) == as_set(other),
            "const" | "dependentRequired" => one == other,
            // Schemas, numbers and strings.
            _ => self.schemas(one, other),
        }
    }
}

/// In an order of its own.
fn as_set(value: &Value) -> Vec<String> {
    let mut items: Vec<String> = match value {
        Value::Array(items) => items.iter().map(Value::to_string).collect(),
        one => vec![one.to_string()],
    };
    items.sort();
    items.dedup();
    items
}
