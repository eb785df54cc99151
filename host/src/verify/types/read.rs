//! Pure: from the JSON Schemas of manifests to types.
//!
//! What a schema says beyond types (ranges, patterns, conditions) has no place in them. Where a
//! type cannot be known, it is any value: the types never refuse what the schema allows.

use std::collections::{BTreeMap, BTreeSet};

use sagabox_engine::model::reserved;
use serde_json::{Map, Value};

use super::model::{Body, Declaration, Field, Message, Type, Types};
use super::names::Names;
use crate::verify::check::Facts;
use crate::verify::schema;

/// Schemas in schemas. Deeper ones are any value.
const DEPTH_MAX: usize = 64;

/// The types of all messages that these plugins send and take.
#[must_use]
pub fn read(plugins: &[Facts]) -> Types {
    let mut types = Types::default();
    let mut messages: BTreeMap<&str, Message> = BTreeMap::new();
    for plugin in plugins {
        let manifest = &plugin.manifest;
        let sent = manifest.commands.iter().map(|name| (name, true, true));
        let sent = sent.chain(manifest.events.iter().map(|name| (name, false, true)));
        let taken = manifest.subscriptions.iter().map(|own| (&own.event_type, false, false));
        for (message_type, is_command, is_sender) in sent.chain(taken) {
            if message_type.starts_with(reserved::PREFIX) {
                continue;
            }
            let message = messages.entry(message_type).or_insert_with(|| Message {
                message_type: message_type.clone(),
                is_command: false,
                senders: Vec::new(),
                receivers: Vec::new(),
                name: String::new(),
                schema: Value::Null,
            });
            message.is_command |= is_command;
            if let Some(schema) = manifest.optional.schemas.get(message_type)
                // What is sent is described by its sender.
                && (message.schema.is_null() || (is_sender && message.senders.is_empty()))
            {
                message.schema = schema.clone();
            }
            let names = if is_sender { &mut message.senders } else { &mut message.receivers };
            names.push(plugin.name().to_owned());
        }
    }
    let mut names = Names::default();
    // Their names come first, so they are as near to their types as possible.
    for message in messages.into_values() {
        match message.schema.is_null() {
            true => drop(types.undescribed.insert(message.message_type)),
            false => {
                let name = names.of_type(&message.message_type);
                types.messages.push(Message { name, ..message });
            }
        }
    }
    let mut reader = Reader { names, shared: Vec::new(), declarations: Vec::new() };
    for message in &types.messages {
        reader.message(message);
    }
    types.declarations = reader.declarations;
    without_circles(&mut types);
    types
}

struct Reader<'s> {
    names: Names,
    /// Declared schemas that are referred to: root, schema, name.
    shared: Vec<(&'s Value, &'s Value, String)>,
    declarations: Vec<Declaration>,
}

/// Where a schema is.
#[derive(Clone, Copy)]
struct Place<'s> {
    root: &'s Value,
    depth: usize,
}

impl<'s> Reader<'s> {
    fn message(&mut self, message: &'s Message) {
        let root = &message.schema;
        let target = referred(root, root).map_or(root, |(_, target)| target);
        self.shared.push((root, target, message.name.clone()));
        let place = Place { root, depth: 0 };
        let index = self.reserve(&message.name);
        let body = self.body(target, &message.name, place);
        self.declare(index, target, body);
    }

    /// A place in the list, so that what a type contains stands behind it.
    fn reserve(&mut self, name: &str) -> usize {
        let (name, doc, body) = (name.to_owned(), None, Body::Alias(Type::Any));
        self.declarations.push(Declaration { name, doc, body });
        self.declarations.len() - 1
    }

    fn declare(&mut self, index: usize, schema: &Value, body: Body) {
        let declaration = &mut self.declarations[index];
        declaration.doc = description(schema);
        declaration.body = body;
    }

    /// What a declaration of its own says about a schema.
    fn body(&mut self, schema: &'s Value, name: &str, place: Place<'s>) -> Body {
        match allows_null(schema) || place.depth > DEPTH_MAX {
            true => Body::Alias(self.value(schema, name, place)),
            false => self.shape(schema, name, place),
        }
    }

    /// The same for a schema whose null is said elsewhere.
    fn shape(&mut self, schema: &'s Value, name: &str, place: Place<'s>) -> Body {
        let inner = place.inner();
        if let Some(values) = strings(schema) {
            return Body::Enum(values);
        }
        if let Some(fields) = fields(schema, place.root, 0) {
            let fields = fields.into_iter().map(|(json, (member, is_required))| Field {
                json: json.to_owned(),
                doc: description(member),
                value: self.value(member, &format!("{name} {json}"), inner),
                is_required,
            });
            return Body::Struct(fields.collect());
        }
        match branches(schema) {
            Some((branches, _)) if branches.len() > 1 => {
                let mut variants = Names::default();
                let variants = branches.iter().map(|branch| {
                    let variant = variants.of_type(&variant_name(branch));
                    (variant.clone(), self.value(branch, &format!("{name} {variant}"), inner))
                });
                Body::Union(variants.collect())
            }
            _ => Body::Alias(self.plain(schema, name, place)),
        }
    }

    /// The type of a schema inside of another one.
    fn value(&mut self, schema: &'s Value, name: &str, place: Place<'s>) -> Type {
        if place.depth > DEPTH_MAX {
            return Type::Any;
        }
        if let Some((reference, target)) = referred(schema, place.root) {
            return Type::Named(self.shared(reference, target, place));
        }
        let branches = branches(schema).map(|(branches, _)| branches);
        let value = match branches.as_deref() {
            Some([]) => return Type::Null,
            Some([one]) => self.value(one, name, place.inner()),
            None if strings(schema).is_none() && fields(schema, place.root, 0).is_none() => {
                self.plain(schema, name, place)
            }
            _ => {
                let declared = self.names.of_type(name);
                let index = self.reserve(&declared);
                let body = self.shape(schema, &declared, place);
                self.declare(index, schema, body);
                Type::Named(declared)
            }
        };
        if allows_null(schema) { nullable(value) } else { value }
    }

    /// The declaration of a schema that is referred to; the same for the same schema.
    fn shared(&mut self, reference: &str, target: &'s Value, place: Place<'s>) -> String {
        let same = |(root, schema, _): &&(&'s Value, &'s Value, String)| {
            std::ptr::eq(*schema, target)
                || schema::is_same_in((root, schema), (place.root, target))
        };
        if let Some((_, _, name)) = self.shared.iter().find(same) {
            return name.clone();
        }
        let name = self.names.of_type(reference.rsplit('/').next().unwrap_or_default());
        self.shared.push((place.root, target, name.clone()));
        let index = self.reserve(&name);
        let body = self.body(target, &name, place.inner());
        self.declare(index, target, body);
        name
    }

    /// Types without a name. Null is said elsewhere.
    fn plain(&mut self, schema: &'s Value, name: &str, place: Place<'s>) -> Type {
        let inner = place.inner();
        let mut names = type_names(schema);
        names.retain(|name| *name != "null");
        match names[..] {
            [] if allows_null(schema) => Type::Null,
            ["boolean"] => Type::Bool,
            ["integer"] => Type::Integer { is_unsigned: is_unsigned(schema) },
            ["number"] => Type::Number,
            ["string"] => Type::Text,
            ["number", "string"] | ["string", "number"] => Type::NumberOrText,
            ["array"] => self.list(schema, name, inner),
            ["object"] => match schema.get("additionalProperties") {
                Some(rest @ Value::Object(_)) => {
                    Type::Map(Box::new(self.value(rest, &format!("{name} value"), inner)))
                }
                _ => Type::Map(Box::new(Type::Any)),
            },
            _ => Type::Any,
        }
    }

    fn list(&mut self, schema: &'s Value, name: &str, place: Place<'s>) -> Type {
        let item_name = format!("{name} item");
        let rest = schema.get("items");
        match (schema.get("prefixItems").and_then(Value::as_array), rest) {
            (None, Some(items)) => Type::List(Box::new(self.value(items, &item_name, place))),
            (None, None) => Type::List(Box::new(Type::Any)),
            (Some(first), _) => {
                let count = |keyword: &str| schema.get(keyword).and_then(Value::as_u64);
                let length = Some(first.len() as u64);
                let is_closed = rest == Some(&Value::Bool(false)) || count("maxItems") == length;
                match is_closed && count("minItems") == length {
                    true => Type::Tuple(
                        first.iter().map(|item| self.value(item, &item_name, place)).collect(),
                    ),
                    false => Type::List(Box::new(Type::Any)),
                }
            }
        }
    }
}

impl Place<'_> {
    fn inner(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

/// Whether null is one of its values, if it says what they are.
fn allows_null(schema: &Value) -> bool {
    match schema.get("enum").and_then(Value::as_array) {
        Some(values) => values.contains(&Value::Null),
        None => {
            type_names(schema).contains(&"null")
                || branches(schema).is_some_and(|(_, has_null)| has_null)
        }
    }
}

fn nullable(value: Type) -> Type {
    match value {
        Type::Any | Type::Null | Type::Nullable(_) => value,
        value => Type::Nullable(Box::new(value)),
    }
}

fn description(schema: &Value) -> Option<String> {
    let text = printable(schema.get("description")?.as_str()?.trim());
    (!text.is_empty()).then_some(text)
}

/// Without what ends a comment early, or changes its direction.
fn printable(text: &str) -> String {
    let is_odd = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_odd(c) { ' ' } else { c }).collect()
}

/// The reference and the schema that a mere reference leads to.
fn referred<'s>(schema: &'s Value, root: &'s Value) -> Option<(&'s str, &'s Value)> {
    let one = match schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([one]) if schema.get("properties").is_none() => one,
        _ => schema,
    };
    if one.get("properties").is_some() {
        return None;
    }
    let reference = one.get("$ref")?.as_str()?;
    let target = root.pointer(reference.strip_prefix('#')?)?;
    Some((reference, target))
}

fn type_names(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(name) => name.as_str().into_iter().collect(),
        None => Vec::new(),
    }
}

fn is_unsigned(schema: &Value) -> bool {
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    let least = schema.get("minimum").and_then(Value::as_f64);
    format.starts_with("uint") || least.is_some_and(|least| least >= 0.0)
}

/// The values of an enumeration of strings.
fn strings(schema: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(value) = schema.get("const") {
        return text(value).map(|value| vec![value]);
    }
    if let Some(Value::Array(values)) = schema.get("enum") {
        let values: Option<Vec<String>> =
            values.iter().filter(|value| !value.is_null()).map(text).collect();
        return values.filter(|values| !values.is_empty());
    }
    let (branches, has_null) = branches(schema)?;
    let all: Option<Vec<Vec<String>>> = branches.iter().map(|branch| strings(branch)).collect();
    all.map(|all| all.concat()).filter(|all| !has_null && !all.is_empty())
}

/// The alternatives of a schema, without null, and whether null is one of them.
fn branches(schema: &Value) -> Option<(Vec<&Value>, bool)> {
    let all = schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()?;
    let is_null = |branch: &&&Value| branch.get("type").is_some_and(|name| name == "null");
    let others: Vec<&Value> = all.iter().filter(|branch| !is_null(&branch)).collect();
    let has_null = others.len() < all.len();
    Some((others, has_null))
}

type Members<'s> = BTreeMap<&'s str, (&'s Value, bool)>;

/// The members of an object, also of one that is put together from several. None if it is no
/// object, or has members of any name alone.
fn fields<'s>(schema: &'s Value, root: &'s Value, depth: usize) -> Option<Members<'s>> {
    if depth > DEPTH_MAX || branches(schema).is_some() {
        return None;
    }
    let names = type_names(schema);
    if names.iter().any(|name| !matches!(*name, "object" | "null")) {
        return None;
    }
    let mut members = Members::new();
    let required: BTreeSet<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let parts = schema.get("allOf").and_then(Value::as_array).into_iter().flatten();
    let reference = schema.get("$ref").and_then(|_| {
        let target = schema["$ref"].as_str()?.strip_prefix('#')?;
        root.pointer(target)
    });
    for part in parts.chain(reference) {
        for (name, (schema, is_required)) in fields(part, root, depth + 1)? {
            members.entry(name).or_insert((schema, false)).1 |= is_required;
        }
    }
    let own: Option<&Map<String, Value>> = schema.get("properties").and_then(Value::as_object);
    for (name, schema) in own.into_iter().flatten() {
        members.insert(name, (schema, false));
    }
    for (name, member) in &mut members {
        member.1 |= required.contains(name);
    }
    let is_map = schema.get("additionalProperties").is_some_and(Value::is_object);
    let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    match members.is_empty() {
        true => (own.is_some() && !is_map || is_closed).then_some(members),
        false => Some(members),
    }
}

/// What an alternative is called: by its title, its tag, its only member, or its type.
fn variant_name(schema: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let reference = schema.get("$ref").and_then(text);
    let reference = reference.map(|path| path.rsplit('/').next().unwrap_or_default().to_owned());
    let members = schema.get("properties").and_then(Value::as_object);
    let tag = || members?.values().find_map(|member| member.get("const").and_then(text));
    let only = || match members {
        Some(members) if members.len() == 1 => members.keys().next().cloned(),
        _ => None,
    };
    reference
        .or_else(|| schema.get("title").and_then(text))
        .or_else(|| schema.get("const").and_then(text))
        .or_else(tag)
        .or_else(only)
        .or_else(|| type_names(schema).first().map(|name| format!("{name} value")))
        .unwrap_or_else(|| "other".to_owned())
}

/// An alias that leads back to itself is no type in most languages: one of the circle becomes any
/// value.
fn without_circles(types: &mut Types) {
    while let Some(name) = circular(types) {
        for declaration in &mut types.declarations {
            if declaration.name == name {
                declaration.body = Body::Alias(Type::Any);
            }
        }
    }
}

fn circular(types: &Types) -> Option<String> {
    let aliases: BTreeMap<&str, BTreeSet<&str>> = types
        .declarations
        .iter()
        .filter_map(|declaration| match &declaration.body {
            Body::Alias(value) => Some((declaration.name.as_str(), mentioned(value))),
            _ => None,
        })
        .collect();
    let leads_back = |name: &&str| {
        let mut seen = BTreeSet::new();
        let mut left = vec![*name];
        while let Some(next) = left.pop() {
            for other in aliases.get(next).into_iter().flatten() {
                if other == name {
                    return true;
                }
                if seen.insert(*other) {
                    left.push(other);
                }
            }
        }
        false
    };
    aliases.keys().find(|name| leads_back(name)).map(|name| (*name).to_owned())
}

fn mentioned(value: &Type) -> BTreeSet<&str> {
    match value {
        Type::Named(name) => BTreeSet::from([name.as_str()]),
        Type::List(inner) | Type::Map(inner) | Type::Nullable(inner) => mentioned(inner),
        Type::Tuple(items) => items.iter().flat_map(mentioned).collect(),
        _ => BTreeSet::new(),
    }
}
