//! JSON Schemas, draft 2020-12: whether a text is one, and whether a value matches one.

use std::fmt::Write as _;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, Validator};
use serde_json::Value;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// So many mistakes of a value are named at once.
const MISTAKES_MAX: usize = 5;

#[derive(Debug)]
pub(crate) struct JsonSchema(Validator);

impl JsonSchema {
    /// # Errors
    /// Says why it is no schema, and where.
    pub(crate) fn new(schema: &Value) -> Result<Self, String> {
        if let Some(dialect) = schema.get("$schema")
            && dialect.as_str().is_none_or(|own| own.trim_end_matches('#') != DIALECT)
        {
            return Err(format!("its `$schema` is {dialect}; only {DIALECT} is supported"));
        }
        let built = jsonschema::options().with_draft(Draft::Draft202012).build(schema);
        built.map(Self).map_err(|error| match error.instance_path().as_str() {
            "" => error.to_string(),
            place => format!("at `{place}`: {error}"),
        })
    }

    /// # Errors
    /// Names the parts of the value that do not match.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        let mut text = String::new();
        for (count, error) in self.0.iter_errors(value).enumerate() {
            if count == MISTAKES_MAX {
                text.push_str("; and more");
                break;
            }
            let between = if count == 0 { "" } else { "; " };
            let place = match error.instance_path().as_str() {
                "" => String::new(),
                place => format!("at `{place}`: "),
            };
            let _ = match error.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected }
                | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                    let names = unexpected.iter().map(|name| format!("`{name}`"));
                    let names = names.collect::<Vec<_>>().join(", ");
                    write!(text, "{between}{place}unknown member {names}")
                }
                ValidationErrorKind::Required { property } => {
                    let name = property.as_str().unwrap_or_default();
                    write!(text, "{between}{place}the member `{name}` is missing")
                }
                _ => write!(text, "{between}{place}{error}"),
            };
        }
        if text.is_empty() { Ok(()) } else { Err(text) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn refused(schema: &Value, expected: &str) {
        let reason = JsonSchema::new(schema).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    }

    #[test]
    fn what_is_no_schema_is_refused_with_the_place() {
        refused(&json!({"type": "txt"}), "at `/type`");
        refused(&json!({"properties": {"a": {"minimum": "1"}}}), "at `/properties/a/minimum`");
        refused(&json!({"$schema": "http://json-schema.org/draft-07/schema#"}), "only https://");
        refused(&json!({"$ref": "https://example.com/other.json"}), "example.com");
        refused(&json!({"$ref": "#/$defs/none"}), "none");
        refused(&json!(7), "7");
    }

    #[test]
    fn a_schema_without_a_dialect_is_of_this_one() {
        let schema = json!({"prefixItems": [{"const": 1}], "items": false});
        let schema = JsonSchema::new(&schema).unwrap();
        assert_eq!(schema.check(&json!([1])), Ok(()));
        assert!(schema.check(&json!([1, 2])).is_err());
    }

    #[test]
    fn each_mistake_of_a_value_is_named_with_its_place() {
        let schema = json!({
            "type": "object",
            "properties": {"seconds": {"type": "integer"}, "name": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": false,
        });
        let schema = JsonSchema::new(&schema).unwrap();
        assert_eq!(schema.check(&json!({"name": "n", "seconds": 5})), Ok(()));
        let reason = schema.check(&json!({"seconds": "5", "secs": 1})).unwrap_err();
        for part in
            ["at `/seconds`: \"5\" is not of type", "unknown member `secs`", "`name` is missing"]
        {
            assert!(reason.contains(part), "{reason}");
        }
    }
}
