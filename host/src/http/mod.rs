//! The host's HTTP side: the way in, the queues, and what operators look at.
//!
//! Every error is a problem (RFC 9457), those of the router too. There is no
//! authentication yet, so the default address is one that only this machine reaches.

mod admin;
mod events;
mod extract;
mod letters;
mod metrics;
mod problem;
mod queues;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use sagabox_engine::engine::Engine;
use tokio::net::TcpListener;

use crate::hot::Board;
use crate::store::admin::Admin;
pub use events::Summary;
pub use metrics::Traffic;
pub use problem::Problem;

/// What the routes share.
pub struct Site {
    pub engine: Engine,
    pub admin: Admin,
    pub board: Board,
    pub limits: Limits,
    pub traffic: Arc<Traffic>,
}

/// It is cloned for each request.
type Shared = Arc<Site>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub body_bytes: usize,
    pub batch_events: usize,
}

/// Serves until `shutdown`, then ends when the requests under way have been answered.
pub async fn serve(
    listener: TcpListener,
    site: Site,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(Arc::new(site))).with_graceful_shutdown(shutdown).await
}

fn router(site: Shared) -> Router {
    Router::new()
        .route("/events", post(events::post))
        .route("/queues", get(queues::list))
        .route("/queues/{type}/lease", post(queues::lease))
        .route("/queues/{type}/acknowledge", post(queues::acknowledge))
        .route("/queues/{type}/give-back", post(queues::give_back))
        .route("/queues/{type}/extend", post(queues::extend))
        .route("/plugins", get(admin::plugins))
        .route("/plugins/{plugin}/instances", get(admin::instances))
        .route("/plugins/{plugin}/instances/{key}", get(admin::instance))
        .route("/plugins/{plugin}/instances/{key}/{verb}", post(letters::instance))
        .route("/dead-letters", get(admin::dead_letters))
        .route("/dead-letters/{id}", get(letters::show).post(letters::resolve_many))
        .route("/dead-letters/{id}/{verb}", post(letters::resolve))
        .route("/sinks", get(letters::sinks))
        .route("/accounts", get(admin::accounts))
        .route("/metrics", get(metrics::get))
        .route("/healthz", get(async || Json(serde_json::json!({ "status": "ok" }))))
        .route("/readyz", get(ready))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(site)
}

/// Ready means that events are accepted; while the engine recovers, they are not.
async fn ready(State(site): State<Shared>) -> Result<Json<serde_json::Value>, Problem> {
    use sagabox_engine::engine::OfferError;

    let status = site.engine.status().await;
    status.serving.map_err(OfferError::Unavailable)?;
    Ok(Json(serde_json::json!({ "status": "ready" })))
}

async fn not_found(uri: Uri) -> Problem {
    Problem::not_found(format!("nothing is served at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::method_not_allowed(format!("{} does not take {method}", uri.path()))
}
