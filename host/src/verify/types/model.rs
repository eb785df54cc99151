//! The data of messages as types of any language: what all printers know.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The messages of a directory that have a schema, by type, and the types of their data.
#[derive(Debug, Default)]
pub struct Types {
    pub messages: Vec<Message>,
    pub(super) declarations: Vec<Declaration>,
    /// Messages without a schema.
    pub undescribed: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub message_type: String,
    pub is_command: bool,
    pub senders: Vec<String>,
    pub receivers: Vec<String>,
    /// Of the declaration.
    pub name: String,
    pub schema: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declaration {
    /// Unique, letters and digits, beginning with an upper-case letter.
    pub name: String,
    pub doc: Option<String>,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Struct(Vec<Field>),
    /// Strings.
    Enum(Vec<String>),
    Union(Vec<(String, Type)>),
    Alias(Type),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub json: String,
    pub doc: Option<String>,
    pub value: Type,
    pub is_required: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Any,
    Null,
    Bool,
    Integer {
        is_unsigned: bool,
    },
    Number,
    Text,
    /// What an exact decimal is read from, so that no digit is lost.
    NumberOrText,
    List(Box<Type>),
    Tuple(Vec<Type>),
    Map(Box<Type>),
    Nullable(Box<Type>),
    Named(String),
}

impl Message {
    /// `Event Paid: sent by bank, taken by shop`, for documentation.
    pub(super) fn description(&self) -> String {
        let kind = if self.is_command { "Command" } else { "Event" };
        let mut parts = Vec::new();
        for (what, names) in [("sent by", &self.senders), ("taken by", &self.receivers)] {
            if !names.is_empty() {
                parts.push(format!("{what} {}", names.join(", ")));
            }
        }
        let is_odd = |c: char| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let message_type = self.message_type.replace(is_odd, " ");
        format!("{kind} `{message_type}`, {}.", parts.join(", "))
    }
}

impl Types {
    /// The message whose data a declaration is.
    pub(super) fn message_of(&self, declaration: &Declaration) -> Option<&Message> {
        self.messages.iter().find(|message| message.name == declaration.name)
    }

    /// The documentation of a declaration: that of its schema, then that of its message.
    pub(super) fn doc(&self, declaration: &Declaration) -> Vec<String> {
        let own = declaration.doc.iter().flat_map(|doc| doc.lines()).map(str::to_owned);
        let mut lines: Vec<String> = own.collect();
        if let Some(message) = self.message_of(declaration) {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.push(message.description());
        }
        lines
    }

    /// The declarations that contain themselves other than in a list or map: languages whose
    /// structs are values need a pointer there.
    pub(super) fn recursive(&self) -> BTreeSet<String> {
        let edges: BTreeMap<&str, BTreeSet<&str>> = self
            .declarations
            .iter()
            .map(|declaration| (declaration.name.as_str(), contained(&declaration.body)))
            .collect();
        let reaches_itself = |name: &str| {
            let mut seen = BTreeSet::new();
            let mut left: Vec<&str> = edges[name].iter().copied().collect();
            while let Some(next) = left.pop() {
                if next == name {
                    return true;
                }
                if seen.insert(next) {
                    left.extend(edges.get(next).into_iter().flatten().copied());
                }
            }
            false
        };
        edges.keys().filter(|name| reaches_itself(name)).map(|name| (*name).to_owned()).collect()
    }
}

/// The names that a value of the type holds directly.
fn contained(body: &Body) -> BTreeSet<&str> {
    fn of<'t>(value: &'t Type, names: &mut BTreeSet<&'t str>) {
        match value {
            Type::Named(name) => drop(names.insert(name.as_str())),
            Type::Nullable(inner) => of(inner, names),
            Type::Tuple(items) => items.iter().for_each(|item| of(item, names)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    match body {
        Body::Struct(fields) => fields.iter().for_each(|field| of(&field.value, &mut names)),
        Body::Union(variants) => variants.iter().for_each(|(_, value)| of(value, &mut names)),
        Body::Alias(value) => of(value, &mut names),
        Body::Enum(_) => {}
    }
    names
}
