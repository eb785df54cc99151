//! The server around the routes: accepts connections within a limit, answers what the guard
//! lets through, and stops without waiting for clients that ask nothing.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use futures::FutureExt as _;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::access::Access;
use super::authorize::Peer;
use super::body::{Answer, Received};
use super::connection::{Connection, Connections, Exchange, Timeouts};
use super::guard::{Guard, HostName};
use super::problem::Problem;
use super::stream::Stream;
use super::tls::Tls;
use crate::access::Fingerprint;

/// The header of an event in binary mode is as large as its attributes. Each connection may
/// hold so much of an unfinished one.
const HEADER_BYTES_MAX: usize = 128 * 1024;
const HTTP2_HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Requests under way on one HTTP/2 connection: as many as a client's worker threads.
const HTTP2_STREAMS_MAX: u32 = 128;
/// Bytes of all request bodies in memory at a time, and at least two of the largest.
const BODIES_BYTES_MAX: usize = 256 << 20;
/// Bytes of all answers in memory that clients have not taken yet.
const ANSWERS_BYTES_MAX: usize = 256 << 20;
/// A smaller answer is given in any case: to senders and workers, and about the host's health.
const SMALL_ANSWER_BYTES: u64 = 16 << 10;
/// After the operating system refused a connection, because it has no more files.
const ACCEPT_DELAY: Duration = Duration::from_millis(100);
/// What is answered on connections beyond the limit.
const HEALTH: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// How soon a client on such a connection may try again.
const CROWDED_RETRY_AFTER: Duration = Duration::from_secs(1);

const NOSNIFF: (HeaderName, HeaderValue) =
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
/// Browsers let no other site's page have what is answered here.
const OWN_PAGES: (HeaderName, HeaderValue) = (
    HeaderName::from_static("cross-origin-resource-policy"),
    HeaderValue::from_static("same-origin"),
);

/// What one caller may see, another may not. Files that are the same for all say otherwise.
const NOT_STORED: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Names of this host besides those of the local machine and its address.
    pub hosts: Vec<HostName>,
    /// Connections at a time.
    pub connections: usize,
    pub timeouts: Timeouts,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            // A worker that waits for a lease holds one.
            connections: 1024,
            timeouts: Timeouts {
                header: Duration::from_secs(10),
                // 4 MiB at 560 kbit/s.
                body: Duration::from_secs(60),
                // Longer than common clients keep idle connections, so that they close first.
                idle: Duration::from_secs(120),
                write: Duration::from_secs(60),
            },
        }
    }
}

struct Server {
    router: Router,
    access: Arc<Access>,
    guard: Guard,
    connections: Arc<Connections>,
    timeouts: Timeouts,
    protocol: auto::Builder<TokioExecutor>,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
}

/// Serves until `shutdown`, then ends when the requests under way have been answered.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    access: Arc<Access>,
    settings: Settings,
    tls: Option<Arc<Tls>>,
    body_bytes: usize,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let bodies_max = BODIES_BYTES_MAX.max(body_bytes.saturating_mul(2));
    let server = Arc::new(Server {
        router,
        access,
        guard: Guard::new(settings.hosts),
        connections: Arc::new(Connections::new(
            settings.connections,
            bodies_max,
            ANSWERS_BYTES_MAX,
        )),
        timeouts: settings.timeouts,
        protocol: protocol(settings.timeouts),
        tls: tls.clone(),
        stop: CancellationToken::new(),
    });
    // It ends with the server.
    let mut following = std::pin::pin!(async {
        match &tls {
            Some(tls) => tls.follow().await,
            None => std::future::pending().await,
        }
    });
    let mut served = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = served.join_next() => continue,
            () = &mut following => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // Beyond all limits: the client sees a connection that ends.
                let Some(connection) = server.connections.admit() else { continue };
                served.spawn(Arc::clone(&server).handle(stream, connection));
            }
            Err(error) => {
                server.connections.make_room();
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_DELAY).await;
            }
        }
    }
    drop(listener);
    server.stop.cancel();
    while served.join_next().await.is_some() {}
}

fn protocol(timeouts: Timeouts) -> auto::Builder<TokioExecutor> {
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    // The stream has deadlines of its own, which know what a connection is doing.
    protocol.http1().timer(TokioTimer::new()).header_read_timeout(None);
    protocol.http1().max_buf_size(HEADER_BYTES_MAX);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(HTTP2_HEADER_BYTES_MAX)
        .keep_alive_interval(timeouts.idle)
        .keep_alive_timeout(timeouts.header);
    protocol
}

impl Server {
    async fn handle(self: Arc<Self>, stream: TcpStream, connection: Arc<Connection>) {
        let peer = stream.peer_addr().ok();
        let peer = peer.map(|peer| Peer { address: peer.ip(), certificate: None });
        let local = stream.local_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |local| local.ip());
        // An answer is written at once; waiting for more only delays it.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.serve(stream, &connection, local, peer).await,
            Some(tls) => {
                let handshake = tls.acceptor().accept(stream);
                let handshake = tokio::time::timeout(self.timeouts.header, handshake);
                let shaken = tokio::select! {
                    biased;
                    () = connection.ended.cancelled() => None,
                    () = self.stop.cancelled() => None,
                    shaken = handshake => shaken.ok(),
                };
                match shaken {
                    Some(Ok(stream)) => {
                        let shown = stream.get_ref().1.peer_certificates();
                        let certificate = shown.and_then(|shown| shown.first());
                        let certificate = certificate.map(|own| Fingerprint::of(own));
                        let peer = peer.map(|peer| Peer { certificate, ..peer });
                        self.serve(stream, &connection, local, peer).await;
                    }
                    Some(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                    None => {}
                }
            }
        }
        self.connections.remove(&connection);
    }

    async fn serve<S>(
        self: &Arc<Self>,
        stream: S,
        connection: &Arc<Connection>,
        local: IpAddr,
        peer: Option<Peer>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = Stream::new(stream, Arc::clone(connection), self.timeouts);
        let service = service_fn(|request| {
            let (server, connection) = (Arc::clone(self), Arc::clone(connection));
            async move { Ok::<_, Infallible>(server.answer(request, &connection, local, peer).await) }
        });
        let served = self.protocol.serve_connection(TokioIo::new(stream), service);
        let mut served = std::pin::pin!(served);
        let ended = async {
            tokio::select! {
                biased;
                _ = served.as_mut() => return,
                () = self.stop.cancelled() => {}
            }
            served.as_mut().graceful_shutdown();
            if connection.is_busy() {
                let _ = served.await;
            }
        };
        tokio::select! {
            biased;
            () = connection.ended.cancelled() => {}
            () = ended => {}
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
        local: IpAddr,
        peer: Option<Peer>,
    ) -> Response<Answer> {
        let exchange = Exchange::begin(connection, &self.connections);
        let (mut parts, body) = request.into_parts();
        if let Some(peer) = peer {
            parts.extensions.insert(peer);
        }
        let checked = self.guard.check(&parts, local);
        let mut response = match checked {
            Err(problem) => {
                self.access.note_guarded(&parts, peer, &problem);
                problem.into_response()
            }
            Ok(()) if connection.is_reserved && !HEALTH.contains(&parts.uri.path()) => {
                let detail = "the host has reached its limit of connections";
                Problem::crowded(detail, CROWDED_RETRY_AFTER).into_response()
            }
            Ok(()) => {
                let timeout = self.timeouts.body;
                let body = Received::new(body, exchange.clone(), timeout, self.stop.clone());
                self.route(Request::from_parts(parts, Body::new(body))).await
            }
        };
        let bytes = response.body().size_hint().lower();
        let is_large = bytes > SMALL_ANSWER_BYTES;
        if is_large && !exchange.take_answer_bytes(usize::try_from(bytes).unwrap_or(usize::MAX)) {
            let detail = "the host has reached its limit of answers that clients have not read";
            response = Problem::crowded(detail, CROWDED_RETRY_AFTER).into_response();
        }
        let headers = response.headers_mut();
        for (name, value) in [NOSNIFF, OWN_PAGES] {
            headers.insert(name, value);
        }
        let (name, value) = NOT_STORED;
        headers.entry(name).or_insert(value);
        if connection.is_reserved {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|body| Answer::new(body, exchange))
    }

    /// A mistake in a handler costs one request its answer, and says so.
    async fn route(&self, request: Request<Body>) -> Response<Body> {
        let answering = AssertUnwindSafe(self.router.clone().oneshot(request));
        match answering.catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => {
                let detail = "a bug in Sagabox; the log of the host contains the details";
                Problem::internal(detail).into_response()
            }
        }
    }
}
