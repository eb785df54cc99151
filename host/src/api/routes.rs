//! What is served where. The paths of the API begin with its version; where probes and scrapers
//! look is not ours to version.
//!
//! Keys, queues and plugins stand in the query or in the body, never in a path: a key can be
//! any text, and clients and proxies change paths with `.`, `..`, `//` or `%2F` in them. What
//! varies in a path is a number.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use axum::{Json, Router};
use sagabox_engine::engine::OfferError;
use serde::Serialize;
use utoipa::ToSchema;

use super::authorize::Needs::{ForAll, ForPlugin, Nothing};
use super::authorize::{Gate, Needs, authorize};
use super::described::{Route, get, post};
use super::problem::Problem;
use super::{
    Served, Shared, admin, audit, batches, controls, dead_letters, decisions, due, events, fields,
    find, imports, instance_file, leases, metrics, openapi, queues, samples, sessions, sinks,
    tokens, views, what_if, why,
};
use crate::access::Permission::{Administer, Operate, Read, Send, Work};

pub(super) fn routes() -> Vec<Route> {
    [events(), plugins(), dead_letters(), batches(), controls(), administration(), monitoring()]
        .into_iter()
        .flatten()
        .collect()
}

fn events() -> Vec<Route> {
    vec![
        post("/v1/events", "Send events", events::post).needs(ForPlugin(Send)).refuses(&[422, 429]),
        get("/v1/queues", "List the queues", queues::list).needs(ForAll(Read)).refuses(&[422]),
        get("/v1/queues/leases", "List the messages that workers have leased", leases::list)
            .needs(ForPlugin(Read))
            .refuses(&[404, 422]),
        post("/v1/queues/lease", "Lease messages", queues::lease)
            .needs(ForPlugin(Work))
            .refuses(&[422, 429]),
        post("/v1/queues/acknowledge", "Acknowledge leased messages", queues::acknowledge)
            .needs(ForPlugin(Work))
            .refuses(&[404, 410, 422, 429]),
        post("/v1/queues/give-back", "Return leased messages unprocessed", queues::give_back)
            .needs(ForPlugin(Work))
            .refuses(&[404, 410, 422, 429]),
        post("/v1/queues/extend", "Extend a lease", queues::extend)
            .needs(ForPlugin(Work))
            .refuses(&[404, 410, 422, 429]),
    ]
}

fn plugins() -> Vec<Route> {
    vec![
        get("/v1/plugins", "List plugins, candidates and refused files", admin::plugins)
            .needs(ForPlugin(Read)),
        get("/v1/plugins/topology", "Show who sends what to whom", admin::topology)
            .needs(ForAll(Read)),
        get("/v1/plugins/log", "List the newest lines that a plugin has logged", admin::log)
            .needs(ForPlugin(Read))
            .refuses(&[404, 422]),
        get("/v1/instances", "List the instances of a plugin", admin::instances)
            .needs(ForPlugin(Read))
            .refuses(&[404, 422]),
        get("/v1/instances/count", "Count the instances of a plugin", fields::count)
            .needs(ForPlugin(Read))
            .refuses(&[404, 422]),
        get("/v1/views", "List the saved views of instances", views::list)
            .needs(ForPlugin(Read))
            .refuses(&[422]),
        post("/v1/views", "Save a view of instances", views::save)
            .needs(ForPlugin(Read))
            .refuses(&[404, 409, 422]),
        post("/v1/views/{id}/delete", "Delete a saved view", views::delete)
            .needs(ForPlugin(Read))
            .refuses(&[404]),
        get("/v1/instances/export", "Export the instances of a plugin", fields::export)
            .needs(ForPlugin(Read))
            .refuses(&[404, 422]),
        get(
            "/v1/instance/decisions",
            "List the decisions of an instance with their inputs",
            decisions::list,
        )
        .needs(ForPlugin(Read))
        .refuses(&[404, 422]),
        post("/v1/instance/what-if", "Decide a recorded decision again", what_if::decide)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 409, 422]),
        get("/v1/instance/file", "Get an instance as one file", instance_file::get)
            .needs(ForPlugin(Read))
            .refuses(&[404, 409]),
        get("/v1/instance/why", "Explain why an instance waits", why::explain)
            .needs(ForPlugin(Read))
            .refuses(&[404]),
        post(
            "/v1/instances/cancel",
            "Request that an instance compensates and completes",
            dead_letters::cancel,
        )
        .needs(ForPlugin(Operate))
        .refuses(&[404, 409, 422, 429]),
        post("/v1/instances/end", "End an instance", dead_letters::end)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 409, 422, 429]),
        post("/v1/instances/import", "Import an instance of another host", imports::import)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 409, 422, 429]),
        get("/v1/find", "Find what has a key or an id", find::find)
            .needs(ForPlugin(Read))
            .refuses(&[422]),
        get("/v1/event", "Show an event and what became of it", find::event)
            .needs(ForPlugin(Read))
            .refuses(&[404]),
        get("/v1/instance", "Show an instance and its history", admin::instance)
            .needs(ForPlugin(Read))
            .refuses(&[404, 422]),
    ]
}

fn dead_letters() -> Vec<Route> {
    vec![
        get("/v1/dead-letters", "List dead letters", admin::dead_letters)
            .needs(ForPlugin(Read))
            .refuses(&[404, 422]),
        post(
            "/v1/dead-letters/redrive",
            "Process many dead letters again",
            dead_letters::redrive_many,
        )
        .needs(ForPlugin(Operate))
        .refuses(&[404, 422]),
        post("/v1/dead-letters/skip", "Skip many dead letters", dead_letters::skip_many)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 422]),
        post("/v1/dead-letters/discard", "Discard many dead letters", dead_letters::discard_many)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 422]),
        get("/v1/dead-letters/causes", "List the causes of open dead letters", admin::causes)
            .needs(ForPlugin(Read))
            .refuses(&[404, 422]),
        get("/v1/dead-letters/{id}", "Show a dead letter", dead_letters::show)
            .needs(ForPlugin(Read))
            .refuses(&[404]),
        post("/v1/dead-letters/{id}/redrive", "Process a dead letter again", dead_letters::redrive)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 409, 422]),
        post("/v1/dead-letters/{id}/skip", "Continue without a dead letter", dead_letters::skip)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 409, 422]),
        post(
            "/v1/dead-letters/{id}/discard",
            "Drop a dead letter and everything that waits behind it",
            dead_letters::discard,
        )
        .needs(ForPlugin(Operate))
        .refuses(&[404, 409, 422]),
    ]
}

fn controls() -> Vec<Route> {
    vec![
        get("/v1/pauses", "List what is paused", controls::pauses).needs(ForPlugin(Read)),
        post("/v1/pauses", "Pause a plugin, a key, a sink, a type or the door", controls::pause)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 409, 422]),
        post("/v1/pauses/resume", "Resume what is paused", controls::resume)
            .needs(ForPlugin(Operate))
            .refuses(&[409, 422]),
        get("/v1/limits", "List the limits of sinks and types", controls::limits)
            .needs(ForAll(Read)),
        post("/v1/limits", "Limit a sink or a type", controls::limit)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 409, 422]),
        post("/v1/retries", "Make the next attempts now", controls::retry)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 409, 422]),
    ]
}

fn batches() -> Vec<Route> {
    vec![
        get("/v1/batches", "List the batches", batches::list)
            .needs(ForPlugin(Read))
            .refuses(&[422]),
        post("/v1/batches", "Count what a batch would act on, and keep it", batches::draft)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 422]),
        get("/v1/batches/{id}", "Show a batch", batches::show)
            .needs(ForPlugin(Read))
            .refuses(&[404]),
        get("/v1/batches/{id}/items", "List the items of a batch", batches::items)
            .needs(ForPlugin(Read))
            .refuses(&[404, 422]),
        post("/v1/batches/{id}/start", "Start a batch", batches::start)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 409, 422]),
        post("/v1/batches/{id}/pause", "Pause a batch", batches::pause)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 409]),
        post("/v1/batches/{id}/resume", "Resume a batch", batches::resume)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 409, 422]),
        post("/v1/batches/{id}/cancel", "Cancel a batch", batches::cancel)
            .needs(ForPlugin(Operate))
            .refuses(&[404, 409]),
    ]
}

fn administration() -> Vec<Route> {
    vec![
        get("/v1/tokens", "List the tokens", tokens::list)
            .needs(ForAll(Administer))
            .refuses(&[422]),
        post("/v1/tokens", "Create a token", tokens::create)
            .needs(ForAll(Administer))
            .answers_secret()
            .refuses(&[409, 422]),
        post("/v1/tokens/{id}/revoke", "Revoke a token", tokens::revoke)
            .needs(ForAll(Administer))
            .refuses(&[404, 409]),
        get("/v1/sessions", "List the sessions of people", sessions::list)
            .needs(ForAll(Administer))
            .refuses(&[422]),
        post("/v1/sessions/{id}/end", "End a session", sessions::end)
            .needs(ForAll(Administer))
            .refuses(&[404]),
        get("/v1/audit", "List what was done and refused", audit::list)
            .needs(ForAll(Administer))
            .refuses(&[422]),
    ]
}

fn monitoring() -> Vec<Route> {
    vec![
        get("/v1/sinks", "List the sinks and queues", sinks::list)
            .needs(ForAll(Read))
            .refuses(&[422]),
        get("/v1/lookups", "List the lookups that are down", sinks::lookups).needs(ForAll(Read)),
        get("/v1/timers", "List the timers that are due next", due::timers)
            .needs(ForPlugin(Read))
            .refuses(&[404, 422]),
        get("/v1/waits", "List the next attempts at events and messages", due::waits)
            .needs(ForPlugin(Read))
            .refuses(&[404, 422]),
        get("/v1/accounts", "Show where all events and messages are", admin::accounts)
            .needs(ForAll(Read)),
        get("/v1/samples", "Show the figures of the last ten minutes", samples::list)
            .needs(ForAll(Read)),
        get("/v1/openapi.json", "Describe this API in OpenAPI 3.1", openapi::get).needs(Nothing),
        get("/metrics", "Metrics in the Prometheus format", metrics::get).needs(ForAll(Read)),
        get("/healthz", "Check that the process responds", healthy).needs(Nothing),
        get("/readyz", "Check that the host accepts events", ready).needs(Nothing),
    ]
}

/// The routes of the API, each with the check of its caller before it.
pub(super) fn of_api(site: &Shared) -> Vec<Served> {
    let guard = |route: Route| {
        let (is_audited, is_secret) = (route.is_audited(), route.is_secret);
        let gate = Gate { is_secret, ..gate(site, route.needs, is_audited) };
        (route.path, route.handler.route_layer(from_fn_with_state(gate, authorize)))
    };
    routes().into_iter().map(guard).collect()
}

/// A handler with the check of its caller before it. The body of a request that is recorded has
/// `body_bytes` at most.
pub(crate) fn guarded(
    site: &Shared,
    needs: Needs,
    is_audited: bool,
    body_bytes: usize,
    handler: MethodRouter<Shared>,
) -> MethodRouter<Shared> {
    let gate = Gate { body_bytes, ..gate(site, needs, is_audited) };
    handler.route_layer(from_fn_with_state(gate, authorize))
}

fn gate(site: &Shared, needs: Needs, is_audited: bool) -> Gate {
    let (access, body_bytes) = (Arc::clone(&site.access), site.limits.body_bytes);
    Gate { access, needs, is_audited, is_secret: false, body_bytes }
}

pub(super) fn router(served: Vec<Served>, fallback: MethodRouter<Shared>, site: Shared) -> Router {
    let add = |router: Router<Shared>, (path, methods)| router.route(path, methods);
    served
        .into_iter()
        .fold(Router::new(), add)
        .fallback_service(fallback.with_state(Arc::clone(&site)))
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

pub(crate) async fn not_found(uri: Uri) -> Problem {
    Problem::not_found(format!("no resource at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::method_not_allowed(format!("{} does not support {method}", uri.path()))
}
