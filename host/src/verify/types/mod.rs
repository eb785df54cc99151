//! `sagabox types`: the data of a directory's messages, as types of other languages.
//!
//! Pure. The schemas of the manifests become types that all languages have (`model`), and one
//! printer for each language writes them. No crate does this for JSON Schema 2020-12 and all these
//! languages: typify writes Rust from draft 7, and the others are programs of other ecosystems.

mod go;
mod model;
mod names;
mod python;
mod read;
mod rust;
#[cfg(test)]
mod tests;
mod typescript;

use serde_json::{Map, Value, json};

pub use model::Types;
pub use read::read;

use crate::verify::schema;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Rust,
    TypeScript,
    Python,
    Go,
    JsonSchema,
}

#[must_use]
pub fn print(types: &Types, language: Language) -> String {
    match language {
        Language::Rust => rust::print(types),
        Language::TypeScript => typescript::print(types),
        Language::Python => python::print(types),
        Language::Go => go::print(types),
        Language::JsonSchema => format!("{:#}\n", document(types)),
    }
}

/// One document with the schema of each message.
fn document(types: &Types) -> Value {
    let definitions = types.messages.iter().map(|message| {
        let mut own = schema::rebased(&message.schema, &format!("/$defs/{}", message.name));
        if let Value::Object(map) = &mut own {
            map.insert("title".to_owned(), json!(message.message_type));
            map.insert("$comment".to_owned(), json!(message.description()));
        }
        (message.name.clone(), own)
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": definitions.collect::<Map<_, _>>(),
    })
}
