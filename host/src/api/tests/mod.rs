//! The router with a real engine on a real store, over the loopback interface.

mod connections;
mod documented;
mod foreign;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::routing::MethodRouter;
use reqwest::{Client, Response};
use sagabox_engine::engine::{self, Parts};
use sagabox_engine::model::Timestamp;
use sagabox_engine::seams::store::Store;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::batches::Batches;
use crate::io::cloudevents::BATCH;
use crate::io::lookup::Lookups;
use crate::plugins::wasm::{self, Sandbox};
use crate::store::connect::connect;

const LIMITS: Limits = Limits { body_bytes: 2000, batch_events: 2, bulk_time: Duration::ZERO };

pub(crate) struct Server {
    pub base: String,
    address: SocketAddr,
    pub client: Client,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
    /// Holds the store's file.
    _directory: tempfile::TempDir,
}

pub(crate) async fn server() -> Server {
    server_with(Settings::default(), Vec::new()).await
}

/// An engine without plugins.
async fn engine(store: Arc<dyn Store>) -> Engine {
    let parts = Parts {
        store,
        handlers: Vec::new(),
        canaries: Vec::new(),
        lookup: Arc::new(Lookups::default()),
        sinks: HashMap::new(),
        routes: std::collections::BTreeMap::new(),
        clock: Arc::new(|| Timestamp(0)),
        settings: engine::Settings::default(),
    };
    Engine::start(parts).await.unwrap()
}

/// With further routes besides the host's own.
async fn server_with(
    settings: Settings,
    further: Vec<(&'static str, MethodRouter<Shared>)>,
) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("a.db").display());
    let store = connect(&url).await.unwrap();
    let engine = engine(store.engine).await;
    let settings_of_access =
        AccessSettings { local_without_token: true, ..AccessSettings::default() };
    let clock = Arc::new(|| Timestamp(0));
    let access = Access::open(store.access_records, settings_of_access, clock).await.unwrap();
    let traffic = Arc::default();
    let (plugin_status, sinks) = (PluginStatus::default(), BTreeSet::new());
    let directory_of_plugins = directory.path().to_owned();
    let kept_versions = KeptVersions {
        sandbox: Sandbox::new(wasm::Settings::default()).unwrap(),
        configurations: HashMap::new(),
        queries: Arc::clone(&store.queries),
    };
    let (queries, stop_batches) = (Arc::clone(&store.queries), CancellationToken::new());
    let clock: sagabox_engine::Clock = Arc::new(|| Timestamp(0));
    let batches = Batches::new(engine.clone(), queries, store.batch_records, clock, stop_batches);
    let site = Site {
        engine,
        batches,
        queries: store.queries,
        views: store.view_records,
        plugin_status,
        directory: directory_of_plugins,
        sinks,
        routes: BTreeMap::new(),
        limits: LIMITS,
        access: Arc::clone(&access),
        readability: None,
        traffic,
        samples: Samples::default(),
        kept_versions,
        deciding_again: Semaphore::new(1),
        sandbox: Sandbox::new(crate::plugins::wasm::Settings::default()).unwrap(),
        stopping: CancellationToken::new(),
        telemetry: Arc::new(crate::telemetry::Telemetry::new(None).0),
    };
    let site = Arc::new(site);
    let mut routes = routes::of_api(&site);
    let Beside { served, fallback } = crate::pages::beside(&site);
    routes.extend(further.into_iter().chain(served));
    let stopping = site.stopping.clone();
    let router = routes::router(routes, fallback, site);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move {
        let _ = stopped.await;
        stopping.cancel();
    };
    let served =
        server::serve(listener, router, access, settings, None, LIMITS.body_bytes, shutdown);
    let served = tokio::spawn(served);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let base = format!("http://{address}");
    let client = Client::builder().no_proxy().build().unwrap();
    Server { base, address, client, stop: Some(stop), served, _directory: directory }
}

/// For whatever should happen at once but runs on a loaded machine.
const SOON: Duration = Duration::from_secs(30);

impl Server {
    /// Opens a connection and sends these bytes on it.
    pub(crate) async fn raw(&self, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }

    /// What the host answers to these bytes until it closes the connection.
    async fn answer(&self, bytes: &str) -> String {
        rest(self.raw(bytes).await).await
    }

    async fn post(&self, path: &str, content_type: &str, body: String) -> Response {
        let request = self.client.post(format!("{}{path}", self.base));
        request.header("content-type", content_type).body(body).send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.base)).send().await.unwrap()
    }
}

async fn check(response: Response, status: u16, member: &str, expected: Value) {
    let found = response.status().as_u16();
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    let kind = if status < 400 { "application/json" } else { problem::MEDIA_TYPE };
    assert_eq!(content_type, kind, "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body[member], expected, "{text}");
}

fn batch(ids: &[&str]) -> String {
    let event =
        |id: &&str| format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"placed"}}"#);
    format!("[{}]", ids.iter().map(event).collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn events_are_accepted_once() {
    let server = server().await;
    check(server.post("/v1/events", BATCH, batch(&["1", "2"])).await, 202, "accepted", 2.into())
        .await;
    let again = server.post("/v1/events", BATCH, batch(&["2", "3"])).await;
    check(again, 202, "duplicates", 1.into()).await;
    check(server.get("/v1/accounts").await, 200, "events", 3.into()).await;
}

#[tokio::test]
async fn a_request_is_taken_whole_or_not_at_all() {
    let server = server().await;
    let faulty = server.post("/v1/events", BATCH, batch(&["1", ""])).await;
    check(faulty, 422, "index", 1.into()).await;
    let many = server.post("/v1/events", BATCH, batch(&["1", "2", "3"])).await;
    check(many, 413, "status", 413.into()).await;
    let long = server.post("/v1/events", BATCH, " ".repeat(2001)).await;
    check(long, 413, "status", 413.into()).await;
    check(server.get("/v1/accounts").await, 200, "events", 0.into()).await;
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let server = server().await;
    check(server.get("/nothing").await, 404, "status", 404.into()).await;
    let wrong = server.get("/v1/events").await;
    assert_eq!(wrong.headers()["allow"], "POST");
    check(wrong, 405, "status", 405.into()).await;
    let json = "application/json";
    check(server.post("/v1/events", json, "{}".into()).await, 415, "status", 415.into()).await;
    let body = r#"{"queue":"a","lease":"7"}"#.into();
    let unknown = server.post("/v1/queues/acknowledge", json, body).await;
    check(unknown, 404, "type", "urn:sagabox:problem:no-such-lease".into()).await;
    let zero = server.post("/v1/queues/lease", json, r#"{"queue":"a","max":0}"#.into()).await;
    check(zero, 422, "attribute", "max".into()).await;
    check(server.get("/v1/instance?plugin=p&key=k").await, 404, "status", 404.into()).await;
    check(server.get("/v1/dead-letters?limit=0").await, 422, "attribute", "limit".into()).await;
    check(server.get("/v1/dead-letters?x=0").await, 400, "status", 400.into()).await;
    check(server.get("/v1/dead-letters/%FF").await, 400, "status", 400.into()).await;
    check(server.get("/v1/queues/lease").await, 405, "status", 405.into()).await;
}

#[tokio::test]
async fn an_empty_queue_is_an_empty_lease() {
    let server = server().await;
    let body = "\u{feff}{\"queue\":\"../a\",\"wait_ms\":0}";
    let lease = server.post("/v1/queues/lease", "application/json", body.into()).await;
    check(lease, 200, "messages", Value::Array(Vec::new())).await;
    check(server.get("/readyz").await, 200, "status", "ready".into()).await;
}

/// Everything that still comes on a connection. One that is reset ends, too.
async fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    let reading = stream.read_to_end(&mut all);
    let _ = tokio::time::timeout(SOON, reading).await.expect("the host closes the connection");
    String::from_utf8_lossy(&all).into_owned()
}

fn status_of(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).unwrap_or_default();
    status.parse().unwrap_or_else(|_| panic!("no status in {answer:?}"))
}

/// A request has no time at all here: each resolves one dead letter, and says what is left.
#[tokio::test]
async fn a_bulk_request_ends_in_time_and_says_what_is_left() {
    let server = server().await;
    let by_id = r#"{"ids":[7,8,9],"reason":"a test"}"#.to_owned();
    let answer = server.post("/v1/dead-letters/skip", "application/json", by_id).await;
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["left"], serde_json::json!([8, 9]), "{answer}");
    assert_eq!(answer["refused"][0]["id"], 7, "{answer}");
    let dry = r#"{"ids":[7,8,9],"reason":"a test","dry_run":true}"#.to_owned();
    let answer = server.post("/v1/dead-letters/skip", "application/json", dry).await;
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["left"], serde_json::json!([]), "{answer}");
    assert_eq!(answer["refused"].as_array().map(Vec::len), Some(3), "{answer}");
}
