//! What is served where. The paths of the API begin with its version; where probes and scrapers
//! look is not ours to version.
//!
//! Keys, queues and plugins stand in the query or in the body, never in a path: a key can be
//! any text, and clients and proxies change paths with `.`, `..`, `//` or `%2F` in them. What
//! varies in a path is a number.

use axum::extract::State;
use axum::http::{Method, Uri};
use axum::routing::MethodRouter;
use axum::{Json, Router};
use sagabox_engine::engine::OfferError;
use serde::Serialize;
use utoipa::ToSchema;

use super::described::{Route, get, post};
use super::problem::Problem;
use super::{Shared, admin, dead_letters, events, fields, metrics, openapi, queues};

pub(super) fn routes() -> Vec<Route> {
    [events(), plugins(), dead_letters(), monitoring()].into_iter().flatten().collect()
}

fn events() -> Vec<Route> {
    vec![
        post("/v1/events", "Send events", events::post).refuses(&[422, 429]),
        get("/v1/queues", "List the queues", queues::list),
        post("/v1/queues/lease", "Lease messages", queues::lease).refuses(&[422, 429]),
        post("/v1/queues/acknowledge", "Acknowledge leased messages", queues::acknowledge)
            .refuses(&[404, 410, 422, 429]),
        post("/v1/queues/give-back", "Return leased messages unprocessed", queues::give_back)
            .refuses(&[404, 410, 422, 429]),
        post("/v1/queues/extend", "Extend a lease", queues::extend).refuses(&[404, 410, 422, 429]),
    ]
}

fn plugins() -> Vec<Route> {
    vec![
        get("/v1/plugins", "List plugins, candidates and refused files", admin::plugins),
        get("/v1/instances", "List the instances of a plugin", admin::instances)
            .refuses(&[404, 422]),
        get("/v1/instances/count", "Count the instances of a plugin", fields::count)
            .refuses(&[404, 422]),
        get("/v1/instances/export", "Export the instances of a plugin", fields::export)
            .refuses(&[404, 422]),
        post(
            "/v1/instances/cancel",
            "Request that an instance compensates and completes",
            dead_letters::cancel,
        )
        .refuses(&[404, 409, 422, 429]),
        post("/v1/instances/end", "End an instance", dead_letters::end)
            .refuses(&[404, 409, 422, 429]),
        get("/v1/instance", "Show an instance and its history", admin::instance)
            .refuses(&[404, 422]),
    ]
}

fn dead_letters() -> Vec<Route> {
    vec![
        get("/v1/dead-letters", "List dead letters", admin::dead_letters).refuses(&[404, 422]),
        post(
            "/v1/dead-letters/redrive",
            "Process many dead letters again",
            dead_letters::redrive_many,
        )
        .refuses(&[404, 422]),
        post("/v1/dead-letters/skip", "Skip many dead letters", dead_letters::skip_many)
            .refuses(&[404, 422]),
        post("/v1/dead-letters/discard", "Discard many dead letters", dead_letters::discard_many)
            .refuses(&[404, 422]),
        get("/v1/dead-letters/{id}", "Show a dead letter", dead_letters::show).refuses(&[404]),
        post("/v1/dead-letters/{id}/redrive", "Process a dead letter again", dead_letters::redrive)
            .refuses(&[404, 409, 422]),
        post("/v1/dead-letters/{id}/skip", "Continue without a dead letter", dead_letters::skip)
            .refuses(&[404, 409, 422]),
        post(
            "/v1/dead-letters/{id}/discard",
            "Drop a dead letter and everything that waits behind it",
            dead_letters::discard,
        )
        .refuses(&[404, 409, 422]),
    ]
}

fn monitoring() -> Vec<Route> {
    vec![
        get("/v1/sinks", "List the sinks that are down", dead_letters::sinks),
        get("/v1/lookups", "List the lookups that are down", dead_letters::lookups),
        get("/v1/accounts", "Show where all events and messages are", admin::accounts),
        get("/v1/openapi.json", "Describe this API in OpenAPI 3.1", openapi::get),
        get("/metrics", "Metrics in the Prometheus format", metrics::get),
        get("/healthz", "Check that the process responds", healthy),
        get("/readyz", "Check that the host accepts events", ready),
    ]
}

pub(super) fn router(routes: Vec<(&'static str, MethodRouter<Shared>)>, site: Shared) -> Router {
    let add = |router: Router<Shared>, (path, methods)| router.route(path, methods);
    routes
        .into_iter()
        .fold(Router::new(), add)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(site)
}

/// Whether the host is there, or ready.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    #[schema(value_type = String)]
    status: &'static str,
}

async fn healthy() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Ready means that events are accepted; while the engine recovers, they are not.
async fn ready(State(site): State<Shared>) -> Result<Json<Health>, Problem> {
    let status = site.engine.status().await;
    status.readiness.map_err(OfferError::Unavailable)?;
    Ok(Json(Health { status: "ready" }))
}

async fn not_found(uri: Uri) -> Problem {
    Problem::not_found(format!("no resource at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::method_not_allowed(format!("{} does not support {method}", uri.path()))
}
