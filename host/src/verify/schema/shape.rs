//! Pure: a JSON Schema (2020-12) as alternatives of one JSON type each.
//!
//! What a keyword demands is part of each alternative, or the alternative is marked *opaque*: then
//! the schema accepts at most what the alternative says. So an alternative of a sender is never
//! too narrow, and one of a receiver never too narrow either; `fit` knows what follows from that.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Map, Value};

use super::keywords::{anything, own};
use super::meet::both;
use super::number::{self, Range};
use super::same;
use crate::io::json_schema::JsonSchema;

/// References that lead to references; more are a circle that describes nothing.
const DEPTH_MAX: usize = 64;

/// Demands that are not understood here: they make an alternative opaque.
const OPAQUE: &[&str] = &[
    "$dynamicRef",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "not",
    "patternProperties",
    "propertyNames",
    "then",
    "unevaluatedItems",
];

/// The document in which references are looked up.
#[derive(Clone, Copy)]
pub(super) struct Root<'s>(pub &'s Value);

/// A schema that need not be written in one place.
#[derive(Clone)]
pub(super) enum Schema<'s> {
    /// All of these hold. None is everything.
    All(Vec<&'s Value>),
    /// Parts of such a schema.
    Narrowed(Rc<[Alternative<'s>]>),
}

#[derive(Clone)]
pub(super) struct Alternative<'s> {
    pub kind: Kind<'s>,
    /// The schema demands more than the alternative says.
    pub is_opaque: bool,
    /// The schema does not name the type.
    pub is_untyped: bool,
}

#[derive(Clone)]
pub(super) enum Kind<'s> {
    Null,
    Bool,
    /// One value.
    Literal(&'s Value),
    Number(Range<'s>),
    Text(Text<'s>),
    List(List<'s>),
    Members(Members<'s>),
}

#[derive(Clone, Default)]
pub(super) struct Text<'s> {
    pub min: u64,
    pub max: Option<u64>,
    pub patterns: BTreeSet<&'s str>,
    pub formats: BTreeSet<&'s str>,
}

#[derive(Clone)]
pub(super) struct List<'s> {
    pub first: Vec<Schema<'s>>,
    pub rest: Rest<'s>,
    pub min: u64,
    pub max: Option<u64>,
    pub is_unique: bool,
}

#[derive(Clone)]
pub(super) struct Members<'s> {
    pub declared: BTreeMap<&'s str, Schema<'s>>,
    pub required: BTreeSet<&'s str>,
    pub rest: Rest<'s>,
    pub min: u64,
    pub max: Option<u64>,
}

/// The items or members that have no schema of their own.
#[derive(Clone)]
pub(super) enum Rest<'s> {
    /// The schema does not mention them.
    Unsaid,
    /// There are none.
    None,
    Each(Schema<'s>),
    /// It depends on their names.
    Unknown,
}

impl<'s> Root<'s> {
    /// Where a reference leads in this document.
    pub(super) fn resolve(self, reference: &Value) -> Option<&'s Value> {
        let pointer = reference.as_str()?.strip_prefix('#')?;
        let decoded = percent_encoding::percent_decode_str(pointer).decode_utf8().ok()?;
        if decoded.is_empty() || decoded.starts_with('/') {
            return self.0.pointer(&decoded);
        }
        let definitions = ["$defs", "definitions"].map(|name| self.0.get(name));
        let mut all = definitions.into_iter().flatten().filter_map(Value::as_object);
        all.find_map(|schemas| {
            schemas
                .values()
                .find(|schema| schema.get("$anchor").and_then(Value::as_str) == Some(&decoded))
        })
    }

    /// The schema that a mere reference leads to.
    pub(super) fn follow(self, schema: &Schema<'s>) -> Schema<'s> {
        let Schema::All(parts) = schema else { return schema.clone() };
        let follow = |part: &&'s Value| {
            let mut part = *part;
            for _ in 0..DEPTH_MAX {
                let Value::Object(map) = part else { break };
                let mut demands = map.keys().filter(|keyword| !same::is_annotation(keyword));
                if !demands.all(|keyword| keyword == "$ref") {
                    break;
                }
                match map.get("$ref").and_then(|reference| self.resolve(reference)) {
                    Some(target) => part = target,
                    None => break,
                }
            }
            part
        };
        Schema::All(parts.iter().map(follow).collect())
    }

    pub(super) fn alternatives(self, schema: &Schema<'s>) -> Rc<[Alternative<'s>]> {
        match schema {
            Schema::Narrowed(alternatives) => Rc::clone(alternatives),
            Schema::All(parts) => {
                let mut all = anything();
                for part in parts {
                    all = both(&all, &self.expand(part, 0));
                }
                all.into()
            }
        }
    }

    fn expand(self, schema: &'s Value, depth: usize) -> Vec<Alternative<'s>> {
        let map = match schema {
            Value::Bool(false) => return Vec::new(),
            Value::Object(map) if depth < DEPTH_MAX => map,
            Value::Object(_) => return opaque(anything()),
            _ => return anything(),
        };
        let mut all = own(map);
        if let Some(reference) = map.get("$ref") {
            all = match self.resolve(reference) {
                Some(target) => both(&all, &self.expand(target, depth + 1)),
                None => opaque(all),
            };
        }
        for part in parts(map, "allOf") {
            all = both(&all, &self.expand(part, depth + 1));
        }
        for (keyword, is_exclusive) in [("anyOf", false), ("oneOf", true)] {
            if map.contains_key(keyword) {
                let branches: Vec<Vec<Alternative<'_>>> =
                    parts(map, keyword).map(|part| self.expand(part, depth + 1)).collect();
                let is_apart = !is_exclusive || super::apart::are_apart(self, &branches);
                let union: Vec<Alternative<'_>> = branches.into_iter().flatten().collect();
                all = both(&all, &if is_apart { union } else { opaque(union) });
            }
        }
        if map.keys().any(|keyword| OPAQUE.contains(&keyword.as_str())) {
            all = opaque(all);
        }
        match map.get("unevaluatedProperties") {
            Some(Value::Bool(false)) => close(&mut all),
            Some(Value::Bool(true)) | None => {}
            Some(_) => all = opaque(all),
        }
        all
    }
}

impl<'s> Alternative<'s> {
    pub(super) fn of(kind: Kind<'s>) -> Self {
        Self { kind, is_opaque: false, is_untyped: false }
    }

    /// One value.
    pub(super) fn literal(value: &'s Value) -> Self {
        Self::of(if value.is_null() { Kind::Null } else { Kind::Literal(value) })
    }

    pub(super) fn members(&self) -> Option<&Members<'s>> {
        match &self.kind {
            Kind::Members(members) => Some(members),
            _ => None,
        }
    }
}

impl Kind<'_> {
    /// What its values are in JSON. Integers are numbers.
    pub(super) fn json_type(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "boolean",
            Self::Literal(value) => json_type(value),
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Members(_) => "object",
        }
    }
}

pub(super) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A value is the same if its members and numbers are, whatever their order and notation.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => number::compare(one, other).is_eq(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, value)| other.get(name).is_some_and(|other| is_same(value, other)))
        }
        _ => one == other,
    }
}

/// An array or object as what only it matches.
pub(super) fn structure(value: &Value) -> Option<Kind<'_>> {
    let only = |value| Schema::Narrowed([Alternative::literal(value)].into());
    match value {
        Value::Array(items) => Some(Kind::List(List {
            first: items.iter().map(only).collect(),
            rest: Rest::None,
            min: items.len() as u64,
            max: Some(items.len() as u64),
            is_unique: false,
        })),
        Value::Object(members) => Some(Kind::Members(Members {
            declared: members.iter().map(|(name, value)| (name.as_str(), only(value))).collect(),
            required: members.keys().map(String::as_str).collect(),
            rest: Rest::None,
            min: 0,
            max: None,
        })),
        _ => None,
    }
}

/// Whether a value that is no array and no object is one of the alternative's; none if that is
/// uncertain.
pub(super) fn holds(kind: &Kind<'_>, value: &Value) -> Option<bool> {
    match (kind, value) {
        (Kind::Literal(own), _) => Some(is_same(own, value)),
        (Kind::Null, Value::Null) | (Kind::Bool, Value::Bool(_)) => Some(true),
        (Kind::Number(range), Value::Number(number)) => range.holds(number),
        (Kind::Text(text), Value::String(string)) => {
            let length = string.chars().count() as u64;
            if length < text.min || text.max.is_some_and(|max| length > max) {
                return Some(false);
            }
            text.patterns.iter().try_fold(true, |holds, pattern| {
                let schema = serde_json::json!({ "pattern": pattern });
                Some(holds && JsonSchema::new(&schema).ok()?.check(value).is_ok())
            })
        }
        (kind, value) if kind.json_type() != json_type(value) => Some(false),
        _ => None,
    }
}

fn parts<'s>(map: &'s Map<String, Value>, keyword: &str) -> impl Iterator<Item = &'s Value> {
    map.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn opaque(mut all: Vec<Alternative<'_>>) -> Vec<Alternative<'_>> {
    all.iter_mut().for_each(|alternative| alternative.is_opaque = true);
    all
}

/// No member besides those that are declared.
fn close(all: &mut [Alternative<'_>]) {
    for alternative in all {
        if let Kind::Members(members) = &mut alternative.kind
            && matches!(members.rest, Rest::Unsaid)
        {
            members.rest = Rest::None;
        }
    }
}

impl<'s> List<'s> {
    /// What is said about the item of this index.
    pub(super) fn at(&self, index: usize) -> Rest<'s> {
        self.first.get(index).map_or_else(|| self.rest.clone(), |item| Rest::Each(item.clone()))
    }
}

impl<'s> Members<'s> {
    /// What is said about the member of this name.
    pub(super) fn at(&self, name: &str) -> Rest<'s> {
        self.declared.get(name).map_or_else(|| self.rest.clone(), |one| Rest::Each(one.clone()))
    }
}

impl<'s> Rest<'s> {
    pub(super) fn into_schema(self) -> Schema<'s> {
        match self {
            Self::Unsaid | Self::Unknown => Schema::All(Vec::new()),
            Self::None => Schema::Narrowed([].into()),
            Self::Each(schema) => schema,
        }
    }
}
