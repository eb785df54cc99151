//! Types as TypeScript.

use std::fmt::Write as _;

use serde_json::json;

use super::model::{Body, Declaration, Type, Types};
use super::names::shouting;

#[must_use]
pub(super) fn print(types: &Types) -> String {
    let mut text = "// Written by `sagabox types`.\n".to_owned();
    for message in &types.messages {
        let _ = write!(
            text,
            "\n/** The `type` of {{@link {name}}}. */\nexport const {constant}_TYPE = {message_type};\n",
            name = message.name,
            constant = shouting(&message.name),
            message_type = json!(message.message_type),
        );
    }
    text += "\n/** The data of each message, by its `type`. */\nexport interface Messages {\n";
    for message in &types.messages {
        let _ = writeln!(text, "  {}: {};", json!(message.message_type), message.name);
    }
    text += "}\n";
    types.declarations.iter().for_each(|declaration| print_one(types, declaration, &mut text));
    text
}

fn print_one(types: &Types, declaration: &Declaration, text: &mut String) {
    let name = &declaration.name;
    text.push('\n');
    doc(&types.doc(declaration), "", text);
    match &declaration.body {
        Body::Struct(fields) => {
            let _ = writeln!(text, "export interface {name} {{");
            for field in fields {
                let lines: Vec<String> =
                    field.doc.iter().flat_map(|doc| doc.lines()).map(str::to_owned).collect();
                doc(&lines, "  ", text);
                let mark = if field.is_required { "" } else { "?" };
                let _ = writeln!(text, "  {}{mark}: {};", key(&field.json), value(&field.value));
            }
            text.push_str("}\n");
        }
        Body::Enum(values) => {
            let values: Vec<String> = values.iter().map(|value| json!(value).to_string()).collect();
            let _ = writeln!(text, "export type {name} = {};", values.join(" | "));
        }
        Body::Union(variants) => {
            let variants: Vec<String> =
                variants.iter().map(|(_, variant)| value(variant)).collect();
            let _ = writeln!(text, "export type {name} = {};", variants.join(" | "));
        }
        Body::Alias(other) => {
            let _ = writeln!(text, "export type {name} = {};", value(other));
        }
    }
}

fn value(value_type: &Type) -> String {
    match value_type {
        Type::Any => "unknown".to_owned(),
        Type::Null => "null".to_owned(),
        Type::Bool => "boolean".to_owned(),
        Type::Integer { .. } | Type::Number => "number".to_owned(),
        Type::Text => "string".to_owned(),
        Type::NumberOrText => "number | string".to_owned(),
        Type::List(item) => format!("Array<{}>", value(item)),
        Type::Map(item) => format!("Record<string, {}>", value(item)),
        Type::Tuple(items) => {
            format!("[{}]", items.iter().map(value).collect::<Vec<_>>().join(", "))
        }
        Type::Nullable(inner) => format!("{} | null", value(inner)),
        Type::Named(name) => name.clone(),
    }
}

/// A member's name; as a string if it is no plain one.
fn key(name: &str) -> String {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    match begins && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        true => name.to_owned(),
        false => json!(name).to_string(),
    }
}

fn doc(lines: &[String], indent: &str, text: &mut String) {
    let lines: Vec<String> = lines.iter().map(|line| line.replace("*/", "* /")).collect();
    match &lines[..] {
        [] => {}
        [line] => drop(writeln!(text, "{indent}/** {line} */")),
        lines => {
            let _ = writeln!(text, "{indent}/**");
            for line in lines {
                let space = if line.is_empty() { "" } else { " " };
                let _ = writeln!(text, "{indent} *{space}{line}");
            }
            let _ = writeln!(text, "{indent} */");
        }
    }
}
