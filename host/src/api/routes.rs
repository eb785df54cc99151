//! What is served where.
//!
//! Keys, queues and plugins stand in the query or in the body, never in a path: a key can be
//! any text, and clients and proxies change paths with `.`, `..`, `//` or `%2F` in them. What
//! varies in a path is a number.

use axum::extract::State;
use axum::http::{Method, Uri};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use sagabox_engine::engine::OfferError;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Shared, admin, dead_letters, events, metrics, queues};

pub(super) fn routes() -> Vec<(&'static str, MethodRouter<Shared>)> {
    vec![
        ("/events", post(events::post)),
        ("/queues", get(queues::list)),
        ("/queues/lease", post(queues::lease)),
        ("/queues/acknowledge", post(queues::acknowledge)),
        ("/queues/give-back", post(queues::give_back)),
        ("/queues/extend", post(queues::extend)),
        ("/plugins", get(admin::plugins)),
        ("/instances", get(admin::instances)),
        ("/instances/cancel", post(dead_letters::cancel)),
        ("/instances/end", post(dead_letters::end)),
        ("/instance", get(admin::instance)),
        ("/dead-letters", get(admin::dead_letters)),
        ("/dead-letters/redrive", post(dead_letters::redrive_many)),
        ("/dead-letters/skip", post(dead_letters::skip_many)),
        ("/dead-letters/discard", post(dead_letters::discard_many)),
        ("/dead-letters/{id}", get(dead_letters::show)),
        ("/dead-letters/{id}/redrive", post(dead_letters::redrive)),
        ("/dead-letters/{id}/skip", post(dead_letters::skip)),
        ("/dead-letters/{id}/discard", post(dead_letters::discard)),
        ("/sinks", get(dead_letters::sinks)),
        ("/lookups", get(dead_letters::lookups)),
        ("/accounts", get(admin::accounts)),
        ("/metrics", get(metrics::get)),
        ("/healthz", get(healthy)),
        ("/readyz", get(ready)),
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

async fn healthy() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Ready means that events are accepted; while the engine recovers, they are not.
async fn ready(State(site): State<Shared>) -> Result<Json<Value>, Problem> {
    let status = site.engine.status().await;
    status.readiness.map_err(OfferError::Unavailable)?;
    Ok(Json(json!({ "status": "ready" })))
}

async fn not_found(uri: Uri) -> Problem {
    Problem::not_found(format!("no resource at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::method_not_allowed(format!("{} does not support {method}", uri.path()))
}
