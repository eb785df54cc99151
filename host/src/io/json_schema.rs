//! JSON Schemas, draft 2020-12: whether a text is one, and whether a value matches one.

use std::fmt::Write as _;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, ValidationError, Validator};
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
            let _ = write!(text, "{between}{place}{}", reason(&error));
        }
        if text.is_empty() { Ok(()) } else { Err(text) }
    }

    /// The JSON Pointer to the first part of the value that does not match, and why it does not. A
    /// member that is missing or unknown is that part.
    pub(crate) fn mistake(&self, value: &Value) -> Option<(String, String)> {
        let error = self.0.iter_errors(value).next()?;
        let name = match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                unexpected.first().map(String::as_str)
            }
            ValidationErrorKind::Required { property } => property.as_str(),
            _ => None,
        };
        let mut pointer = error.instance_path().as_str().to_owned();
        if let Some(name) = name {
            let _ = write!(pointer, "/{}", name.replace('~', "~0").replace('/', "~1"));
        }
        Some((pointer, reason(&error)))
    }

    pub(crate) fn is_valid(&self, value: &Value) -> bool {
        self.0.is_valid(value)
    }
}

fn reason(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let names = unexpected.iter().map(|name| format!("`{name}`"));
            format!("unknown member {}", names.collect::<Vec<_>>().join(", "))
        }
        ValidationErrorKind::Required { property } => {
            format!("the member `{}` is missing", property.as_str().unwrap_or_default())
        }
        _ => error.to_string(),
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

    #[test]
    fn the_first_mistake_has_a_pointer() {
        let schema = json!({
            "properties": {"a/b": {"type": "object", "required": ["c~d"]}, "n": {"type": "integer"}},
            "additionalProperties": false,
        });
        let schema = JsonSchema::new(&schema).unwrap();
        let mistake = |value: &Value| schema.mistake(value);
        assert_eq!(mistake(&json!({"n": 1})), None);
        let (pointer, reason) = mistake(&json!({"n": "1"})).unwrap();
        assert_eq!((&*pointer, &*reason), ("/n", "\"1\" is not of type \"integer\""));
        let missing = ("/a~1b/c~0d".to_owned(), "the member `c~d` is missing".to_owned());
        assert_eq!(mistake(&json!({"a/b": {}})), Some(missing));
        let unknown = ("/m".to_owned(), "unknown member `m`".to_owned());
        assert_eq!(mistake(&json!({"m": 1})), Some(unknown));
    }
}
