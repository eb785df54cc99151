//! The host's HTTP side: the way in, the queues, and what operators look at.
//!
//! Every error is a problem (RFC 9457), those of the router too. The guard keeps foreign web pages
//! out, and the check before each route asks who the caller is.

mod access;
pub(crate) mod admin;
pub(crate) mod audit;
mod authorize;
pub(crate) mod batches;
mod body;
mod caller;
pub(crate) mod client;
mod connection;
pub(crate) mod controls;
mod cookies;
pub(crate) mod dead_letters;
pub(crate) mod decisions;
mod deliveries;
mod described;
pub(crate) mod due;
mod encoding;
pub(crate) mod events;
pub(crate) mod extract;
pub(crate) mod fields;
mod filter;
pub(crate) mod find;
mod guard;
mod hidden;
mod idempotency;
mod imports;
mod instance_file;
mod instance_filter;
pub(crate) mod leases;
mod live;
pub(crate) mod login;
mod metrics;
pub(crate) mod openapi;
pub(crate) mod paging;
mod problem;
pub(crate) mod queues;
mod refusals;
mod routes;
pub(crate) mod samples;
mod server;
mod sessions;
pub(crate) mod sinks;
mod stream;
mod streaming;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
pub(crate) mod tokens;
pub(crate) mod views;
pub(crate) mod what_if;
pub(crate) mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{self, MethodRouter};
use sagabox_engine::engine::Engine;
use sagabox_engine::model::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::batches::Batches;
use crate::plugins::again::KeptVersions;
use crate::plugins::readable::Readability;
use crate::plugins::status::PluginStatus;
use crate::plugins::wasm::Sandbox;
use crate::store::query::Queries;
use crate::store::query::views::ViewRecords;
use crate::telemetry::Telemetry;
pub(crate) use access::FORWARDED;
pub use access::{Access, AccessSettings, LoginSettings};
pub(crate) use authorize::{Needs, Peer};
pub(crate) use caller::Caller;
pub use connection::Timeouts;
pub(crate) use dead_letters::One as Redrive;
pub use events::Summary;
pub use guard::HostName;
pub use login::grants::{Claims, Grant};
pub use login::oidc::OidcSettings;
pub use metrics::Traffic;
pub(crate) use metrics::gather;
pub use problem::Problem;
pub(crate) use queues::lease_json;
pub(crate) use routes::{guarded, not_found};
pub use samples::Samples;
pub use server::Settings;
pub(crate) use tls::Tls;
pub use tls::TlsSettings;

/// What the routes share.
pub struct Site {
    pub engine: Engine,
    pub queries: Arc<dyn Queries>,
    pub plugin_status: PluginStatus,
    /// Of the plugins, without links in it.
    pub directory: PathBuf,
    /// The configured ones.
    pub sinks: BTreeSet<String>,
    /// From message type to sink.
    pub routes: BTreeMap<String, String>,
    pub limits: Limits,
    pub access: Arc<Access>,
    pub batches: Batches,
    pub views: Arc<dyn ViewRecords>,
    /// Set if events that no plugin can read are refused.
    pub readability: Option<Readability>,
    pub traffic: Arc<Traffic>,
    pub telemetry: Arc<Telemetry>,
    pub samples: Samples,
    /// The versions that decide again what is on record.
    pub kept_versions: KeptVersions,
    /// How many decisions are made again at a time.
    pub deciding_again: Semaphore,
    /// Where plugins are called: it knows what they have logged and used.
    pub sandbox: Sandbox,
    /// Cancelled when the host begins to stop: answers without an end of their own end then.
    pub stopping: CancellationToken,
}

impl Site {
    pub(crate) fn now(&self) -> Timestamp {
        (self.access.clock)()
    }
}

/// It is cloned for each request.
pub(crate) type Shared = Arc<Site>;

/// A path, and what answers there.
pub(crate) type Served = (&'static str, MethodRouter<Shared>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub body_bytes: usize,
    pub batch_events: usize,
    /// How long one request resolves dead letters. What is left then, its answer says.
    pub bulk_time: Duration,
}

/// Serves the API, and what the host serves `beside` it, until `shutdown`; then ends when the
/// requests under way have been answered.
pub(crate) async fn serve(
    listener: TcpListener,
    site: Shared,
    beside: Beside,
    settings: Settings,
    tls: Option<Arc<Tls>>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let body_bytes = site.limits.body_bytes;
    let (access, stopping) = (Arc::clone(&site.access), site.stopping.clone());
    let shutdown = async move {
        shutdown.await;
        stopping.cancel();
    };
    let mut served = routes::of_api(&site);
    served.extend(beside.served);
    let router = routes::router(served, beside.fallback, site);
    server::serve(listener, router, access, settings, tls, body_bytes, shutdown).await;
}

/// The routes of the API alone, for what asks them within the host.
pub(crate) fn router_of_api(site: &Shared) -> Router {
    routes::router(routes::of_api(site), routing::any(not_found), Arc::clone(site))
}

/// What a host serves beside the API.
pub(crate) struct Beside {
    pub served: Vec<Served>,
    /// Answers for paths that are not served.
    pub fallback: MethodRouter<Shared>,
}
