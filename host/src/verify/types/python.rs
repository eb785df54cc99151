//! Types as Python (3.11): typed dictionaries, which is what `json.loads` makes.

use std::fmt::Write as _;

use serde_json::json;

use super::model::{Body, Declaration, Field, Type, Types};
use super::names::shouting;

const KEYWORDS: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

#[must_use]
pub(super) fn print(types: &Types) -> String {
    let mut body = String::new();
    for message in &types.messages {
        let constant = shouting(&message.name);
        let _ = writeln!(body, "{constant}_TYPE: Final = {}", json!(message.message_type));
    }
    for declaration in &types.declarations {
        print_one(types, declaration, &mut body);
    }
    "# Written by `sagabox types`. Needs Python 3.11.\n\nfrom __future__ import annotations\n\n\
     from typing import Any, Final, Literal, NotRequired, TypeAlias, TypedDict\n\n"
        .to_owned()
        + &body
}

fn print_one(types: &Types, declaration: &Declaration, text: &mut String) {
    let name = &declaration.name;
    text.push_str("\n\n");
    let lines = types.doc(declaration);
    match &declaration.body {
        Body::Struct(fields) if fields.iter().all(|field| is_plain(&field.json)) => {
            let _ = writeln!(text, "class {name}(TypedDict):");
            docstring(&lines, text);
            for field in fields {
                comments(&field_doc(field), "    ", text);
                let _ = writeln!(text, "    {}: {}", field.json, field_type(field));
            }
            if fields.is_empty() && lines.is_empty() {
                text.push_str("    pass\n");
            }
        }
        // A class cannot have members of such names.
        Body::Struct(fields) => {
            comments(&lines, "", text);
            let _ = writeln!(text, "{name} = TypedDict(\n    {name:?},\n    {{");
            for field in fields {
                comments(&field_doc(field), "        ", text);
                let _ =
                    writeln!(text, "        {}: {},", json!(field.json), json!(field_type(field)));
            }
            text.push_str("    },\n)\n");
        }
        Body::Enum(values) => {
            comments(&lines, "", text);
            let values: Vec<String> = values.iter().map(|value| json!(value).to_string()).collect();
            let _ = writeln!(text, "{name}: TypeAlias = Literal[{}]", values.join(", "));
        }
        Body::Union(variants) => {
            comments(&lines, "", text);
            let variants: Vec<String> =
                variants.iter().map(|(_, variant)| value(variant)).collect();
            let _ = writeln!(text, "{name}: TypeAlias = {}", json!(variants.join(" | ")));
        }
        Body::Alias(other) => {
            comments(&lines, "", text);
            let _ = writeln!(text, "{name}: TypeAlias = {}", json!(value(other)));
        }
    }
}

fn field_doc(field: &Field) -> Vec<String> {
    field.doc.iter().flat_map(|doc| doc.lines()).map(str::to_owned).collect()
}

fn field_type(field: &Field) -> String {
    match field.is_required {
        true => value(&field.value),
        false => format!("NotRequired[{}]", value(&field.value)),
    }
}

fn value(value_type: &Type) -> String {
    match value_type {
        Type::Any => "Any".to_owned(),
        Type::Null => "None".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Integer { .. } => "int".to_owned(),
        Type::Number => "float".to_owned(),
        Type::Text => "str".to_owned(),
        Type::NumberOrText => "float | str".to_owned(),
        Type::List(item) => format!("list[{}]", value(item)),
        Type::Map(item) => format!("dict[str, {}]", value(item)),
        // A tuple is a list in JSON.
        Type::Tuple(_) => "list[Any]".to_owned(),
        Type::Nullable(inner) => format!("{} | None", value(inner)),
        Type::Named(name) => name.clone(),
    }
}

fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    // Two underscores at the start would be mangled.
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with("__")
        && !KEYWORDS.contains(&name)
}

fn docstring(lines: &[String], text: &mut String) {
    if lines.is_empty() {
        return;
    }
    let lines: Vec<String> =
        lines.iter().map(|line| line.replace('\\', "\\\\").replace('"', "\\\"")).collect();
    match &lines[..] {
        [line] => drop(writeln!(text, "    \"\"\"{line}\"\"\"")),
        lines => {
            let _ = writeln!(text, "    \"\"\"{}", lines[0]);
            for line in &lines[1..] {
                let indent = if line.is_empty() { "" } else { "    " };
                let _ = writeln!(text, "{indent}{line}");
            }
            text.push_str("    \"\"\"\n");
        }
    }
    text.push('\n');
}

fn comments(lines: &[String], indent: &str, text: &mut String) {
    for line in lines {
        let space = if line.is_empty() { "" } else { " " };
        let _ = writeln!(text, "{indent}#{space}{line}");
    }
}
