//! Times as clients read and write them: RFC 3339 in UTC, to the millisecond. Every answer of the
//! API, every query and every body has this form; the store and the engine count milliseconds.

use sagabox_engine::model::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use super::durations;

/// A time in a request, and the schema of all times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        durations::instant(&text).map(Self).map_err(de::Error::custom)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        rfc3339(&self.0, serializer)
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339; answers have UTC and milliseconds"))
            .into()
    }
}

impl ToSchema for Time {}

/// For `serialize_with`.
///
/// # Errors
/// Those of the serializer.
pub fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339())
}

/// For `serialize_with`.
///
/// # Errors
/// Those of the serializer.
pub fn rfc3339_option<S: Serializer>(
    at: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_and_read_in_any_zone() {
        let time = Time(Timestamp(1_500));
        let text = serde_json::to_string(&time).unwrap();
        assert_eq!(text, r#""1970-01-01T00:00:01.500Z""#);
        assert_eq!(serde_json::from_str::<Time>(&text).unwrap(), time);
        let elsewhere = r#""1970-01-01T01:00:01.5+01:00""#;
        assert_eq!(serde_json::from_str::<Time>(elsewhere).unwrap(), time);
        for wrong in ["1500", r#""1500""#, r#""today""#, r#""1969-12-31T23:59:59Z""#] {
            serde_json::from_str::<Time>(wrong).unwrap_err();
        }
    }
}
