//! Pure: what a schema demands by its own keywords, by JSON type.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::meet::both;
use super::number::{Bound, Range};
use super::shape::{Alternative, Kind, List, Members, Rest, Schema, Text};

const TYPES: [&str; 6] = ["null", "boolean", "number", "string", "array", "object"];

pub(super) fn anything<'s>() -> Vec<Alternative<'s>> {
    let untyped = |kind| Alternative { kind, is_opaque: false, is_untyped: true };
    TYPES.iter().filter_map(|name| kind(name, Keywords(None))).map(untyped).collect()
}

#[derive(Clone, Copy)]
struct Keywords<'s>(Option<&'s Map<String, Value>>);

impl<'s> Keywords<'s> {
    fn get(self, name: &str) -> Option<&'s Value> {
        self.0.and_then(|map| map.get(name))
    }

    fn count(self, name: &str) -> Option<u64> {
        // `2.0` is a count as well.
        let value = self.get(name)?;
        value.as_u64().or_else(|| value.as_f64().map(whole))
    }

    fn text(self, name: &str) -> BTreeSet<&'s str> {
        self.get(name).and_then(Value::as_str).into_iter().collect()
    }

    fn has_any(self, names: &[&str]) -> bool {
        names.iter().any(|name| self.get(name).is_some())
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn whole(float: f64) -> u64 {
    float as u64
}

/// What a schema demands by its keywords, without the schemas that it applies to the same value.
pub(super) fn own(map: &Map<String, Value>) -> Vec<Alternative<'_>> {
    let keywords = Keywords(Some(map));
    let named: Option<Vec<&str>> = keywords.get("type").map(|types| match types {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    });
    let said = |name: &str| keywords.has_any(demands(name));
    let names = named.clone().unwrap_or_else(|| TYPES.to_vec());
    let all = names.iter().filter_map(|name| {
        let is_untyped = named.is_none() && !said(name);
        Some(Alternative { kind: kind(name, keywords)?, is_opaque: false, is_untyped })
    });
    let all: Vec<Alternative<'_>> = all.collect();
    let literals: Vec<&Value> = match (map.get("const"), map.get("enum")) {
        (Some(value), _) => vec![value],
        (None, Some(Value::Array(values))) => values.iter().collect(),
        _ => return all,
    };
    both(&all, &literals.into_iter().map(Alternative::literal).collect::<Vec<_>>())
}

/// The keywords that say something about values of a type, and so name it.
fn demands(json_type: &str) -> &'static [&'static str] {
    match json_type {
        "number" | "integer" => {
            &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]
        }
        "string" => &["minLength", "maxLength", "pattern"],
        "array" => &["items", "prefixItems", "minItems", "maxItems", "uniqueItems"],
        "object" => &["properties", "required", "additionalProperties"],
        _ => &[],
    }
}

fn kind<'s>(name: &str, keywords: Keywords<'s>) -> Option<Kind<'s>> {
    Some(match name {
        "null" => Kind::Null,
        "boolean" => Kind::Bool,
        "integer" | "number" => Kind::Number(range(name == "integer", keywords)),
        "string" => Kind::Text(Text {
            min: keywords.count("minLength").unwrap_or(0),
            max: keywords.count("maxLength"),
            patterns: keywords.text("pattern"),
            formats: keywords.text("format"),
        }),
        "array" => {
            let first = keywords.get("prefixItems").and_then(Value::as_array);
            let first = first.into_iter().flatten().map(|item| Schema::All(vec![item]));
            Kind::List(List {
                first: first.collect(),
                rest: rest(keywords.get("items")),
                min: keywords.count("minItems").unwrap_or(0),
                max: keywords.count("maxItems"),
                is_unique: keywords.get("uniqueItems") == Some(&Value::Bool(true)),
            })
        }
        "object" => Kind::Members(members(keywords)),
        _ => return None,
    })
}

fn range<'s>(is_integer: bool, keywords: Keywords<'s>) -> Range<'s> {
    let bounds = |names: [(&str, bool); 2]| -> Vec<Bound<'s>> {
        let bound = |(name, is_exclusive)| match keywords.get(name)? {
            Value::Number(at) => Some(Bound { at, is_exclusive }),
            _ => None,
        };
        names.into_iter().filter_map(bound).collect()
    };
    Range {
        is_integer,
        low: bounds([("minimum", false), ("exclusiveMinimum", true)]),
        high: bounds([("maximum", false), ("exclusiveMaximum", true)]),
        multiple_of: keywords.get("multipleOf").and_then(Value::as_f64).into_iter().collect(),
        format: keywords.get("format").and_then(Value::as_str),
    }
}

fn members(keywords: Keywords<'_>) -> Members<'_> {
    let declared = keywords.get("properties").and_then(Value::as_object);
    let declared = declared.into_iter().flatten();
    let required = keywords.get("required").and_then(Value::as_array);
    let has_patterns = keywords.get("patternProperties").is_some();
    Members {
        declared: declared
            .map(|(name, schema)| (name.as_str(), Schema::All(vec![schema])))
            .collect(),
        required: required.into_iter().flatten().filter_map(Value::as_str).collect(),
        rest: match rest(keywords.get("additionalProperties")) {
            Rest::None | Rest::Each(_) if has_patterns => Rest::Unknown,
            rest => rest,
        },
        min: keywords.count("minProperties").unwrap_or(0),
        max: keywords.count("maxProperties"),
    }
}

fn rest(schema: Option<&Value>) -> Rest<'_> {
    match schema {
        None | Some(Value::Bool(true)) => Rest::Unsaid,
        Some(Value::Bool(false)) => Rest::None,
        Some(Value::Object(map)) if map.is_empty() => Rest::Unsaid,
        Some(schema) => Rest::Each(Schema::All(vec![schema])),
    }
}
