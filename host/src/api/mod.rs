//! The host's HTTP side: the way in, the queues, and what operators look at.
//!
//! Every error is a problem (RFC 9457), those of the router too. The guard keeps foreign web pages
//! out, and the check before each route asks who the caller is.

mod access;
mod admin;
mod audit;
mod authorize;
mod body;
mod caller;
pub(crate) mod client;
mod connection;
mod dead_letters;
mod described;
mod encoding;
mod events;
mod extract;
mod fields;
mod filter;
mod guard;
mod hidden;
mod metrics;
pub(crate) mod openapi;
mod paging;
mod problem;
mod queues;
mod refusals;
mod routes;
mod server;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod tokens;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sagabox_engine::engine::Engine;
use tokio::net::TcpListener;

use crate::plugins::readable::Readability;
use crate::plugins::status::PluginStatus;
use crate::store::query::Queries;
pub use access::{Access, AccessSettings};
pub use connection::Timeouts;
pub(crate) use dead_letters::One as Redrive;
pub use events::Summary;
pub use guard::HostName;
pub use metrics::Traffic;
pub use problem::Problem;
pub(crate) use queues::lease_json;
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
    pub limits: Limits,
    pub access: Arc<Access>,
    /// Set if events that no plugin can read are refused.
    pub readability: Option<Readability>,
    pub traffic: Arc<Traffic>,
}

/// It is cloned for each request.
type Shared = Arc<Site>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub body_bytes: usize,
    pub batch_events: usize,
    /// How long one request resolves dead letters. What is left then, its answer says.
    pub bulk_time: Duration,
}

/// Serves until `shutdown`, then ends when the requests under way have been answered.
pub(crate) async fn serve(
    listener: TcpListener,
    site: Site,
    settings: Settings,
    tls: Option<Arc<Tls>>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let body_bytes = site.limits.body_bytes;
    let site = Arc::new(site);
    let router = routes::router(routes::guarded(&site), site);
    server::serve(listener, router, settings, tls, body_bytes, shutdown).await;
}
