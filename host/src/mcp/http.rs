//! The server over HTTP: `POST /mcp` of a host. Every request stands by itself: there are no sessions
//! that a client could lose or another one take over.

use std::sync::Arc;

use axum::routing;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use super::{Reach, Server};
use crate::access::Permission;
use crate::api::{self, Needs, Served, Shared};

const PATH: &str = "/mcp";
/// Arguments of tools are names and conditions.
const BODY_BYTES_MAX: usize = 256 << 10;

/// The route, for callers that may read. Each tool needs what its route of the API needs.
pub(crate) fn served(site: &Shared, may_change: bool) -> Served {
    let server = Server::new(Reach::Inside(api::router_of_api(site)), may_change);
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_cancellation_token(site.stopping.clone())
        .with_max_request_body_bytes(BODY_BYTES_MAX)
        // The guard before all routes checks names of hosts and origins.
        .disable_allowed_hosts();
    let sessions = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(server.clone()), sessions, config);
    let handler = routing::post_service(service);
    (PATH, api::guarded(site, Needs::ForPlugin(Permission::Read), false, BODY_BYTES_MAX, handler))
}
