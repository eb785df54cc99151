//! Pure: a schema as a part of another document.

use serde_json::{Map, Value};

/// Keywords whose values are data, in which `$ref` is a name like any other.
const DATA: &[&str] = &["const", "default", "enum", "examples"];
/// Keywords whose members are schemas under names of the author's.
const NAMED: &[&str] =
    &["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];

/// The same schema at `base`, a JSON Pointer of plain characters in the other document: references
/// into the schema lead there. What identifies a document of its own is left out.
#[must_use]
pub fn rebased(schema: &Value, base: &str) -> Value {
    let mut schema = moved(schema, base);
    if let Value::Object(map) = &mut schema {
        map.retain(|keyword, _| keyword != "$schema" && keyword != "$id");
    }
    schema
}

fn moved(schema: &Value, base: &str) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(|item| moved(item, base)).collect(),
        Value::Object(map) => {
            let keywords = map.iter().map(|(keyword, value)| {
                let value = match (keyword.as_str(), value) {
                    ("$ref", Value::String(reference)) => reference_from(reference, base).into(),
                    (keyword, value) if DATA.contains(&keyword) => value.clone(),
                    (keyword, Value::Object(named)) if NAMED.contains(&keyword) => {
                        let schemas =
                            named.iter().map(|(name, one)| (name.clone(), moved(one, base)));
                        Value::Object(schemas.collect())
                    }
                    (_, value) => moved(value, base),
                };
                (keyword.clone(), value)
            });
            Value::Object(keywords.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

fn reference_from(reference: &str, base: &str) -> String {
    match reference.strip_prefix('#') {
        Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => {
            format!("#{base}{pointer}")
        }
        _ => reference.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_lead_to_the_new_place_and_data_is_kept() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "urn:a",
            "properties": {
                "$ref": {"$ref": "#/$defs/A"},
                "self": {"anyOf": [{"$ref": "#"}, {"const": {"$ref": "#/x"}}]},
                "const": {"items": {"$ref": "other.json#/a"}},
            },
            "$defs": {"A": {"type": "string"}},
        });
        let expected = json!({
            "properties": {
                "$ref": {"$ref": "#/a/b/$defs/A"},
                "self": {"anyOf": [{"$ref": "#/a/b"}, {"const": {"$ref": "#/x"}}]},
                "const": {"items": {"$ref": "other.json#/a"}},
            },
            "$defs": {"A": {"type": "string"}},
        });
        assert_eq!(rebased(&schema, "/a/b"), expected);
        assert_eq!(rebased(&json!(true), "/a"), json!(true));
    }
}
