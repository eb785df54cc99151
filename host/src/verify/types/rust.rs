//! Types as Rust, with serde.

use std::fmt::Write as _;

use super::model::{Body, Declaration, Field, Type, Types};
use super::names::{Names, pascal, shouting, snake};

const DERIVE: &str = "#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]\n";
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
    "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield",
];
/// Keywords that are no names in any form.
const NEVER_NAMES: &[&str] = &["crate", "self", "super"];

#[must_use]
pub(super) fn print(types: &Types) -> String {
    let printer = Printer { recursive: types.recursive() };
    let mut body = String::new();
    for declaration in &types.declarations {
        printer.declaration(types, declaration, &mut body);
    }
    let mut text =
        "// Written by `sagabox types`. Needs the crates serde (with `derive`) and serde_json.\n"
            .to_owned();
    if body.contains("BTreeMap<") {
        text += "\nuse std::collections::BTreeMap;\n";
    }
    text + "\nuse serde::{Deserialize, Serialize};\n" + &body
}

struct Printer {
    recursive: std::collections::BTreeSet<String>,
}

impl Printer {
    fn declaration(&self, types: &Types, declaration: &Declaration, text: &mut String) {
        let name = &declaration.name;
        if let Some(message) = types.message_of(declaration) {
            let (constant, message_type) = (shouting(name), &message.message_type);
            let _ = write!(
                text,
                "\n/// The `type` of [`{name}`].\npub const {constant}_TYPE: &str = {message_type:?};\n"
            );
        }
        text.push('\n');
        doc(&types.doc(declaration), "", text);
        match &declaration.body {
            Body::Struct(fields) => {
                let _ = writeln!(text, "{DERIVE}pub struct {name} {{");
                let mut names = Names::default();
                fields.iter().for_each(|field| self.field(field, &mut names, text));
                text.push_str("}\n");
            }
            Body::Enum(values) => {
                let _ = writeln!(text, "{DERIVE}pub enum {name} {{");
                let mut names = Names::default();
                for value in values {
                    let variant = names.unique(&variant(value));
                    let _ = writeln!(text, "    #[serde(rename = {value:?})]\n    {variant},");
                }
                text.push_str("}\n");
            }
            Body::Union(variants) => {
                let _ = writeln!(text, "{DERIVE}#[serde(untagged)]\npub enum {name} {{");
                for (variant_name, value) in variants {
                    let _ = writeln!(text, "    {}({}),", variant(variant_name), self.value(value));
                }
                text.push_str("}\n");
            }
            Body::Alias(value) => {
                let _ = writeln!(text, "pub type {name} = {};", self.value(value));
            }
        }
    }

    fn field(&self, field: &Field, names: &mut Names, text: &mut String) {
        let Field { json, doc: own, value, is_required } = field;
        let name = names.unique(&snake(json));
        let name = match name.as_str() {
            name if NEVER_NAMES.contains(&name) => format!("{name}_"),
            name if KEYWORDS.contains(&name) => format!("r#{name}"),
            _ => name,
        };
        let lines: Vec<String> =
            own.iter().flat_map(|doc| doc.lines()).map(str::to_owned).collect();
        doc(&lines, "    ", text);
        let mut rules = Vec::new();
        if name.trim_start_matches("r#") != json {
            rules.push(format!("rename = {json:?}"));
        }
        if !is_required {
            rules.push("default, skip_serializing_if = \"Option::is_none\"".to_owned());
        }
        if !rules.is_empty() {
            let _ = writeln!(text, "    #[serde({})]", rules.join(", "));
        }
        let printed = self.value(value);
        let printed = match *is_required || matches!(value, Type::Nullable(_)) {
            true => printed,
            false => format!("Option<{printed}>"),
        };
        let _ = writeln!(text, "    pub {name}: {printed},");
    }

    fn value(&self, value: &Type) -> String {
        match value {
            Type::Any | Type::NumberOrText => "serde_json::Value".to_owned(),
            Type::Null => "()".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Integer { is_unsigned: true } => "u64".to_owned(),
            Type::Integer { is_unsigned: false } => "i64".to_owned(),
            Type::Number => "f64".to_owned(),
            Type::Text => "String".to_owned(),
            Type::List(item) => format!("Vec<{}>", self.inside(item)),
            Type::Map(item) => format!("BTreeMap<String, {}>", self.inside(item)),
            // Beyond the tuples of which serde and the standard library know.
            Type::Tuple(items) if items.is_empty() || items.len() > 12 => {
                "Vec<serde_json::Value>".to_owned()
            }
            Type::Tuple(items) => {
                let items: Vec<String> = items.iter().map(|item| self.value(item)).collect();
                let comma = if items.len() == 1 { "," } else { "" };
                format!("({}{comma})", items.join(", "))
            }
            Type::Nullable(inner) => format!("Option<{}>", self.value(inner)),
            Type::Named(name) if self.recursive.contains(name) => format!("Box<{name}>"),
            Type::Named(name) => name.clone(),
        }
    }

    /// What is in a list needs no box.
    fn inside(&self, value: &Type) -> String {
        match value {
            Type::Named(name) => name.clone(),
            value => self.value(value),
        }
    }
}

fn variant(value: &str) -> String {
    match pascal(value) {
        name if name == "Self" => "Self_".to_owned(),
        name => name,
    }
}

fn doc(lines: &[String], indent: &str, text: &mut String) {
    for line in lines {
        let space = if line.is_empty() { "" } else { " " };
        let _ = writeln!(text, "{indent}///{space}{line}");
    }
}
