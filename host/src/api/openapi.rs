//! The OpenAPI document of the API, made from the table of routes.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::path::{PathItem, PathsBuilder};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, Info, OpenApi, OpenApiBuilder};

use super::described::TOKEN;
use super::extract::Written;
use super::routes;

/// The version of the API, not of the program.
const VERSION: &str = "1";

/// An OpenAPI 3.1 document.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenApi)]
pub(crate) struct Document {
    openapi: String,
}

/// The document as text. The same program always makes the same text.
pub(crate) fn text() -> String {
    // A document of strings and numbers is always JSON.
    let mut document = serde_json::to_value(document()).unwrap_or_default();
    let items = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    let operations = items.filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    let parameters = operations.filter_map(|operation| operation.get_mut("parameters"));
    for parameter in parameters.filter_map(Value::as_array_mut).flatten() {
        without_null(&mut parameter["schema"]);
    }
    format!("{document:#}\n")
}

pub(super) async fn get() -> Written<Document> {
    Written::new(text())
}

/// What may be absent is null in JSON. A parameter of a query is absent, or has a value.
fn without_null(schema: &mut Value) {
    let is_null = |value: &Value| *value == "null" || value["type"] == "null";
    for name in ["type", "oneOf"] {
        let Some(Value::Array(choices)) = schema.get_mut(name) else { continue };
        choices.retain(|choice| !is_null(choice));
        if let [only] = &mut choices[..] {
            let only = only.take();
            match name {
                "type" => schema["type"] = only,
                _ => *schema = only,
            }
        }
    }
}

fn document() -> OpenApi {
    let mut info = Info::new("Sagabox", VERSION);
    info.description = Some(
        "The API of a Sagabox host. docs/http.md is its reference for people. Every error is a \
         problem of RFC 9457."
            .to_owned(),
    );
    let (mut paths, mut components) = (PathsBuilder::new(), ComponentsBuilder::new());
    for route in routes::routes() {
        let (operation, schemas) = route.operation();
        let item = PathItem::new(route.method.clone(), operation);
        paths = paths.path(route.path, item);
        components = components.schemas_from_iter(schemas);
    }
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components = components.security_scheme(TOKEN, scheme);
    OpenApiBuilder::new()
        .info(info)
        .paths(paths.build())
        .components(Some(components.build()))
        .build()
}
