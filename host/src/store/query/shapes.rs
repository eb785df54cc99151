//! Schemas of the engine's types in what the store answers. The engine does not know how its
//! types are described to clients.

use std::borrow::Cow;

use sagabox_engine::model::{BatchAction, DeadLetterStatus, InstanceStatus, ItemOutcome};
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::io::times::Time;

/// Any JSON value.
pub struct AnyJson;

impl PartialSchema for AnyJson {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some("Any JSON value"))
            .into()
    }
}

impl ToSchema for AnyJson {}

/// The status of an instance.
pub struct InstanceStatusName;

impl PartialSchema for InstanceStatusName {
    fn schema() -> RefOr<Schema> {
        let all = [InstanceStatus::Running, InstanceStatus::Completed, InstanceStatus::Ended];
        names(all.map(InstanceStatus::as_str))
    }
}

impl ToSchema for InstanceStatusName {
    fn name() -> Cow<'static, str> {
        "InstanceStatus".into()
    }
}

/// The status of a dead letter.
pub struct DeadLetterStatusName;

impl PartialSchema for DeadLetterStatusName {
    fn schema() -> RefOr<Schema> {
        let all = [
            DeadLetterStatus::Open,
            DeadLetterStatus::Redriving,
            DeadLetterStatus::Redriven,
            DeadLetterStatus::Skipped,
            DeadLetterStatus::Discarded,
            DeadLetterStatus::Compensated,
        ];
        names(all.map(DeadLetterStatus::as_str))
    }
}

impl ToSchema for DeadLetterStatusName {
    fn name() -> Cow<'static, str> {
        "DeadLetterStatus".into()
    }
}

/// What a batch does.
pub struct BatchActionName;

impl PartialSchema for BatchActionName {
    fn schema() -> RefOr<Schema> {
        names(BatchAction::ALL.map(BatchAction::as_str))
    }
}

impl ToSchema for BatchActionName {
    fn name() -> Cow<'static, str> {
        "BatchAction".into()
    }
}

/// What became of an item of a batch.
pub struct ItemOutcomeName;

impl PartialSchema for ItemOutcomeName {
    fn schema() -> RefOr<Schema> {
        names(ItemOutcome::ALL.map(ItemOutcome::as_str))
    }
}

impl ToSchema for ItemOutcomeName {
    fn name() -> Cow<'static, str> {
        "BatchItemOutcome".into()
    }
}

fn names<const N: usize>(names: [&str; N]) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
}

/// A CloudEvents 1.0 event in its JSON form.
pub struct CloudEvent;

impl PartialSchema for CloudEvent {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let mut schema = ObjectBuilder::new()
            .description(Some(
                "A CloudEvents 1.0 event in its JSON form. Other members are extension attributes.",
            ))
            .property("specversion", text().enum_values(Some(["1.0"])));
        for name in ["id", "source", "type"] {
            schema = schema.property(name, text().min_length(Some(1))).required(name);
        }
        for name in ["subject", "time", "datacontenttype", "dataschema", "data_base64"] {
            schema = schema.property(name, text());
        }
        schema
            .required("specversion")
            .property("data", AnyJson::schema())
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .into()
    }
}

impl ToSchema for CloudEvent {}

/// The output of a decision as it is recorded.
pub struct SummaryShape;

impl PartialSchema for SummaryShape {
    fn schema() -> RefOr<Schema> {
        let list = || ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::Object));
        let integer = || ObjectBuilder::new().schema_type(Type::Integer);
        ObjectBuilder::new()
            .description(Some("What a decision did. Empty lists are left out."))
            .property("messages", list())
            .property("timers", list())
            .property("keys", list())
            .property("complete", ObjectBuilder::new().schema_type(Type::Boolean))
            .property("answers", list())
            .property("dead_letter", integer())
            .property("ended", ObjectBuilder::new().schema_type(Type::Object))
            .property("imported", ObjectBuilder::new().schema_type(Type::Object))
            .property("traceparent", ObjectBuilder::new().schema_type(Type::String))
            .into()
    }
}

impl ToSchema for SummaryShape {
    fn name() -> Cow<'static, str> {
        "DecisionSummary".into()
    }
}

/// A timer that an instance has set.
pub struct TimerShape;

impl PartialSchema for TimerShape {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .property("due", Time::schema())
            .required("due")
            .property("set_by", u64::schema())
            .required("set_by")
            .into()
    }
}

impl ToSchema for TimerShape {
    fn name() -> Cow<'static, str> {
        "Timer".into()
    }
}

/// Bytes: a JSON value in `json`, or anything in `base64`.
pub struct ContentShape;

impl PartialSchema for ContentShape {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .description(Some("Bytes: a JSON value in `json`, or anything in `base64`"))
            .property("json", AnyJson::schema())
            .property("base64", ObjectBuilder::new().schema_type(Type::String))
            .into()
    }
}

impl ToSchema for ContentShape {
    fn name() -> Cow<'static, str> {
        "Content".into()
    }
}

/// One way in which decisions differ.
pub struct KindShape;

impl PartialSchema for KindShape {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .property("kind", ObjectBuilder::new().schema_type(Type::String))
            .required("kind")
            .property("decisions", u64::schema())
            .required("decisions")
            .property("example", AnyJson::schema())
            .required("example")
            .into()
    }
}

impl ToSchema for KindShape {
    fn name() -> Cow<'static, str> {
        "DifferenceKind".into()
    }
}

/// The manifest of a plugin.
pub struct ManifestShape;

impl PartialSchema for ManifestShape {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let texts = || ArrayBuilder::new().items(text());
        let object = || ObjectBuilder::new().schema_type(Type::Object);
        let roles = ["saga", "process-manager", "reactor", "enricher"];
        let mut schema = ObjectBuilder::new()
            .property("name", text())
            .property("role", text().enum_values(Some(roles)))
            .property("version", text())
            .property("description", text())
            .property("subscriptions", ArrayBuilder::new().items(object()))
            .property("commands", texts())
            .property("events", texts())
            .property("lookups", texts())
            .property("streams", ObjectBuilder::new().schema_type(Type::Boolean))
            .property("state_version", u32::schema());
        for name in ["name", "role", "version", "description", "subscriptions", "commands"] {
            schema = schema.required(name);
        }
        for name in ["events", "lookups", "streams", "state_version"] {
            schema = schema.required(name);
        }
        schema
            .property("schemas", object().additional_properties(Some(AnyJson::schema())))
            .property("configuration_schema", AnyJson::schema())
            .property("fields", ArrayBuilder::new().items(object()))
            .property("summary", text())
            .into()
    }
}

impl ToSchema for ManifestShape {
    fn name() -> Cow<'static, str> {
        "Manifest".into()
    }
}
