//! The optional part of the manifest: what is derived from the plugin's types.

use std::collections::BTreeSet;

use serde_json::Value;

/// A state with more scalars than this shows the first ones; the rest would only cost space.
const FIELDS_MAX: usize = 12;
const SUMMARY_FIELDS_MAX: usize = 3;
const NAME_CHARACTERS_MAX: usize = 64;

/// Name and pointer.
pub type Fields = Vec<(String, String)>;

/// The schema of a type that is read.
#[cfg(feature = "schemas")]
#[must_use]
pub fn read<T: schemars::JsonSchema>() -> Option<String> {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_deserialize();
    text::<T>(settings)
}

/// The schema of a type that is written.
#[cfg(feature = "schemas")]
#[must_use]
pub fn written<T: schemars::JsonSchema>() -> Option<String> {
    text::<T>(schemars::generate::SchemaSettings::draft2020_12().for_serialize())
}

#[cfg(feature = "schemas")]
fn text<T: schemars::JsonSchema>(settings: schemars::generate::SchemaSettings) -> Option<String> {
    let schema = settings.into_generator().into_root_schema_for::<T>();
    serde_json::to_string(&schema).ok()
}

/// Those that there are, one of each type.
#[must_use]
pub fn collect(
    all: impl IntoIterator<Item = (&'static str, Option<String>)>,
) -> Vec<(&'static str, String)> {
    let mut types = BTreeSet::new();
    let known = all.into_iter().filter_map(|(name, schema)| Some((name, schema?)));
    known.filter(|(name, _)| types.insert(*name)).collect()
}

/// Finds the schema of a state, if its type has one.
pub struct Probe<T>(core::marker::PhantomData<T>);

impl<T> Probe<T> {
    #[allow(clippy::new_without_default, reason = "the macros alone call it")]
    #[must_use]
    pub fn new() -> Self {
        Self(core::marker::PhantomData)
    }
}

/// For types that have a schema.
pub trait Described {
    fn described(&self) -> Option<String>;
}

/// For all others: the compiler takes this where [`Described`] does not fit.
pub trait Undescribed {
    fn described(&self) -> Option<String>;
}

#[cfg(feature = "schemas")]
impl<T: schemars::JsonSchema> Described for Probe<T> {
    fn described(&self) -> Option<String> {
        written::<T>()
    }
}

impl<T> Undescribed for &Probe<T> {
    fn described(&self) -> Option<String> {
        None
    }
}

/// The members of a state that are one value: strings, numbers and booleans.
#[must_use]
pub fn fields(schema: Option<String>) -> Fields {
    let schema: Option<Value> = schema.and_then(|text| serde_json::from_str(&text).ok());
    let Some(schema) = schema else { return Fields::new() };
    let members = schema["properties"].as_object();
    let scalars = members
        .into_iter()
        .flatten()
        .filter(|(name, member)| is_name(name) && is_scalar(member, &schema, SUMMARY_FIELDS_MAX));
    scalars.map(|(name, _)| (name.clone(), format!("/{name}"))).take(FIELDS_MAX).collect()
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(plain)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && (1..=NAME_CHARACTERS_MAX).contains(&name.len())
}

fn is_scalar(schema: &Value, root: &Value, depth: usize) -> bool {
    let is_one = |name: &Value| {
        let name = name.as_str();
        name.is_some_and(|name| matches!(name, "string" | "integer" | "number" | "boolean"))
    };
    let is_null = |name: &Value| name == "null";
    if let Some(reference) = schema["$ref"].as_str() {
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return depth > 0 && target.is_some_and(|target| is_scalar(target, root, depth - 1));
    }
    let any = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array());
    if let Some(any) = any {
        let mut others = any.iter().filter(|other| !is_null(&other["type"])).peekable();
        return depth > 0
            && others.peek().is_some()
            && others.all(|other| is_scalar(other, root, depth - 1));
    }
    match &schema["type"] {
        Value::Array(types) => types.iter().all(|name| is_one(name) || is_null(name)),
        name => is_one(name),
    }
}

/// A line about an instance: the first fields with their names.
#[must_use]
pub fn summary(fields: &Fields) -> Option<String> {
    let parts =
        fields.iter().take(SUMMARY_FIELDS_MAX).map(|(name, _)| format!("{name} {{{name}}}"));
    let text = parts.collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

/// Schemas of the SDK's own types.
#[cfg(feature = "schemas")]
mod own {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    macro_rules! schema {
        ($type:ty, $name:literal, $schema:tt) => {
            impl JsonSchema for $type {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    $name.into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        };
    }

    schema!(crate::Json, "Json", true);
    schema!(crate::Timestamp, "Timestamp", {"type": "string", "format": "date-time"});
    schema!(crate::Span, "Span", {
        "type": "string",
        "pattern": "^\\s*([0-9]+(ms|s|m|h|d)\\s*)+$",
        "description": "a duration such as 24h, 90s or 1h 30m",
    });

    #[cfg(feature = "decimal")]
    impl JsonSchema for crate::Decimal {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            "Decimal".into()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            match generator.contract().is_deserialize() {
                true => json_schema!({"type": ["number", "string"]}),
                false => json_schema!({"type": "number"}),
            }
        }
    }
}

#[cfg(all(test, feature = "schemas"))]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(dead_code, reason = "only its schema is looked at")]
    #[derive(schemars::JsonSchema)]
    struct Order {
        id: String,
        paid: Option<bool>,
        total: crate::Decimal,
        due: Option<crate::Timestamp>,
        status: Option<Status>,
        items: Vec<String>,
        address: Address,
        note: crate::Json,
        #[schemars(rename = "not-a-name")]
        other: u8,
    }

    #[allow(dead_code, reason = "only its schema is looked at")]
    #[derive(schemars::JsonSchema)]
    enum Status {
        /// With a text of its own.
        Open,
        Closed,
    }

    #[allow(dead_code, reason = "only its schema is looked at")]
    #[derive(schemars::JsonSchema)]
    struct Address {
        street: String,
    }

    #[test]
    fn the_fields_of_a_state_are_its_members_that_are_one_value() {
        let mut found = fields(written::<Order>());
        found.sort();
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["due", "id", "paid", "status", "total"]);
        assert_eq!(found[0].1, "/due");
        assert_eq!(summary(&found).unwrap(), "due {due}, id {id}, paid {paid}");
        assert_eq!((fields(None), summary(&Fields::new())), (Fields::new(), None));
    }

    #[test]
    fn a_type_without_a_schema_has_no_fields() {
        struct Plain;
        let (plain, order) = (&Probe::<Plain>::new(), &Probe::<Order>::new());
        assert_eq!(plain.described(), None);
        assert!(order.described().is_some());
    }

    #[test]
    fn each_type_has_one_schema() {
        let all = [("a", Some("1".to_owned())), ("b", None), ("a", Some("2".to_owned()))];
        assert_eq!(collect(all), [("a", "1".to_owned())]);
    }

    #[test]
    fn money_is_read_from_a_text_and_written_as_a_number() {
        let types = |schema: Option<String>| {
            let schema: Value = serde_json::from_str(&schema.unwrap()).unwrap();
            schema["type"].clone()
        };
        assert_eq!(types(read::<crate::Decimal>()), json!(["number", "string"]));
        assert_eq!(types(written::<crate::Decimal>()), json!("number"));
    }
}
