//! Pure: a JSON Schema as the fields of a form, and the data from these fields.
//!
//! Members that are texts, numbers, truth values or choices have fields of their own; any other
//! member is written as JSON. Written text is not parsed into a value: digits stay as they are.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// More members than a person fills in.
const FIELDS_MAX: usize = 100;

/// A member of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub name: String,
    pub kind: Kind,
    pub is_required: bool,
    pub description: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    /// One of these values, as JSON.
    Choice(Vec<String>),
    /// Any value, as JSON.
    Json,
}

/// The fields of a schema; none if it is not of an object with named members.
pub(super) fn fields(schema: &Value) -> Option<Vec<Field>> {
    let is_object = schema.get("type").is_none_or(|kind| kind == "object");
    let members = schema.get("properties")?.as_object()?;
    let others = ["$ref", "allOf", "anyOf", "oneOf", "if", "not", "patternProperties"];
    let is_plain = is_object && !others.iter().any(|other| schema.get(other).is_some());
    if !is_plain || members.is_empty() || members.len() > FIELDS_MAX {
        return None;
    }
    let required = schema.get("required").and_then(Value::as_array);
    let is_required =
        |name: &str| required.is_some_and(|names| names.iter().any(|other| other == name));
    let field = |(name, schema): (&String, &Value)| Field {
        name: name.clone(),
        kind: kind(schema, is_required(name)),
        is_required: is_required(name),
        description: schema.get("description").and_then(Value::as_str).unwrap_or("").to_owned(),
    };
    Some(members.iter().map(field).collect())
}

fn kind(schema: &Value, is_required: bool) -> Kind {
    let choice = |values: &[Value]| Kind::Choice(values.iter().map(Value::to_string).collect());
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return choice(values);
    }
    if let Some(value) = schema.get("const") {
        return choice(std::slice::from_ref(value));
    }
    let mut types = types(schema);
    if !is_required {
        // What may be null may be left out, which an empty field does.
        types.retain(|name| *name != "null");
    }
    match types[..] {
        ["string"] => Kind::Text,
        // An exact decimal can be sent as a text, too.
        ["integer" | "number"] | ["number", "string"] | ["string", "number"] => Kind::Number,
        ["boolean"] => choice(&[Value::Bool(true), Value::Bool(false)]),
        _ => Kind::Json,
    }
}

/// The types that a schema names: one, or a list.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        name => name.and_then(Value::as_str).into_iter().collect(),
    }
}

/// The data as JSON. `written` has what was written, by the names of the fields. A field that is
/// empty is left out, unless it is a text that is required.
///
/// # Errors
/// Names the field that cannot be what its kind says, and why.
pub(super) fn data(
    fields: &[Field],
    written: &BTreeMap<String, String>,
) -> Result<String, (String, String)> {
    let mut members = Vec::new();
    for field in fields {
        let text = written.get(&field.name).map_or("", String::as_str);
        let wrong = |why: &str| (field.name.clone(), why.to_owned());
        let value = match &field.kind {
            Kind::Text if text.is_empty() && !field.is_required => continue,
            Kind::Text => Value::from(text).to_string(),
            _ if text.trim().is_empty() => match field.is_required {
                true => return Err(wrong("is required")),
                false => continue,
            },
            Kind::Number => match json(text) {
                Some(number) if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                    number
                }
                _ => return Err(wrong("is not a number")),
            },
            Kind::Choice(values) => match values.iter().find(|value| *value == text) {
                Some(value) => value.clone(),
                None => return Err(wrong("is not one of the values")),
            },
            Kind::Json => json(text).ok_or_else(|| wrong("is not JSON"))?,
        };
        members.push(format!("{}:{value}", Value::from(field.name.as_str())));
    }
    Ok(format!("{{{}}}", members.join(",")))
}

/// The text without the blanks around it, if it is JSON.
fn json(text: &str) -> Option<String> {
    let raw: Box<RawValue> = serde_json::from_str(text.trim()).ok()?;
    Some(raw.get().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "order\"Id": {"type": "string", "description": "of the shop"},
                "note": {"type": "string"},
                "total": {"type": "number"},
                "paid": {"type": "boolean"},
                "state": {"enum": ["new", 7]},
                "items": {"type": "array"},
            },
            "required": ["order\"Id", "total"],
        })
    }

    fn written(given: &[(&str, &str)]) -> BTreeMap<String, String> {
        given.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn members_of_an_object_are_fields_in_their_order() {
        let fields = fields(&schema()).unwrap();
        let kinds: Vec<&Kind> = fields.iter().map(|field| &field.kind).collect();
        let choice =
            |values: &[&str]| Kind::Choice(values.iter().map(|v| (*v).to_owned()).collect());
        let (truth, state) = (choice(&["true", "false"]), choice(&["\"new\"", "7"]));
        assert_eq!(kinds, [&Kind::Text, &Kind::Text, &Kind::Number, &truth, &state, &Kind::Json]);
        let required: Vec<bool> = fields.iter().map(|field| field.is_required).collect();
        assert_eq!(required, [true, false, true, false, false, false]);
        assert_eq!(fields[0].description, "of the shop");
    }

    #[test]
    fn a_member_of_several_types_has_the_field_of_the_one_that_is_written() {
        let schema = json!({
            "properties": {
                "price": {"type": ["number", "string"]},
                "note": {"type": ["string", "null"]},
                "reason": {"type": ["string", "null"]},
                "mixed": {"type": ["string", "array"]},
            },
            "required": ["price", "reason"],
        });
        let fields = fields(&schema).unwrap();
        let kinds: Vec<&Kind> = fields.iter().map(|field| &field.kind).collect();
        // Null cannot be distinguished from an empty text where the member is required.
        assert_eq!(kinds, [&Kind::Number, &Kind::Text, &Kind::Json, &Kind::Json]);
        let written = written(&[("price", "9.50"), ("reason", "null")]);
        assert_eq!(data(&fields, &written).unwrap(), r#"{"price":9.50,"reason":null}"#);
    }

    #[test]
    fn what_is_no_plain_object_has_no_fields() {
        for schema in [
            json!(true),
            json!({"type": "array"}),
            json!({"type": "object"}),
            json!({"properties": {"a": {}}, "anyOf": []}),
            json!({"$ref": "#/$defs/a", "properties": {"a": {}}}),
        ] {
            assert_eq!(fields(&schema), None, "{schema}");
        }
    }

    #[test]
    fn what_is_written_is_the_data_digit_by_digit() {
        let fields = fields(&schema()).unwrap();
        let given = written(&[
            ("order\"Id", "a\"b\n"),
            ("total", " 12345678901234567890.10 "),
            ("paid", "true"),
            ("state", "\"new\""),
            ("items", "[1.0, {\"a\" : 2}]"),
            ("unknown", "left out"),
        ]);
        let expected = r#"{"order\"Id":"a\"b\n","total":12345678901234567890.10,"paid":true,"state":"new","items":[1.0, {"a" : 2}]}"#;
        assert_eq!(data(&fields, &given).unwrap(), expected);
        let least = written(&[("total", "0")]);
        assert_eq!(data(&fields, &least).unwrap(), r#"{"order\"Id":"","total":0}"#);
    }

    #[test]
    fn a_field_that_cannot_be_is_named() {
        let fields = fields(&schema()).unwrap();
        for (name, text, why) in [
            ("total", "", "is required"),
            ("total", "many", "is not a number"),
            ("total", "\"7\"", "is not a number"),
            ("total", "01", "is not a number"),
            ("paid", "yes", "is not one of the values"),
            ("items", "[", "is not JSON"),
            ("items", "1,\"x\":2", "is not JSON"),
        ] {
            let mut given = written(&[("total", "1")]);
            given.insert(name.to_owned(), text.to_owned());
            assert_eq!(data(&fields, &given), Err((name.to_owned(), why.to_owned())), "{text}");
        }
    }
}
