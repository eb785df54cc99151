//! The router with a real engine on a real store, over the loopback interface.

use std::collections::HashMap;

use reqwest::{Client, Response};
use sagabox_engine::engine::{Parts, Settings};
use sagabox_engine::model::Timestamp;
use serde_json::Value;

use super::*;
use crate::cloudevents::BATCH;
use crate::lookup::Lookups;
use crate::store::SqliteStore;

const LIMITS: Limits = Limits { body_bytes: 2000, batch_events: 2 };

struct Server {
    base: String,
    client: Client,
    /// Holds the store's file.
    _directory: tempfile::TempDir,
}

async fn server() -> Server {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("a.db").display());
    let store = SqliteStore::open(&url).await.unwrap();
    let admin = Admin::new(&store).await.unwrap();
    let parts = Parts {
        store: Arc::new(store),
        handlers: Vec::new(),
        canaries: Vec::new(),
        lookup: Arc::new(Lookups::default()),
        transports: HashMap::new(),
        routes: std::collections::BTreeMap::new(),
        clock: Arc::new(|| Timestamp(0)),
        settings: Settings::default(),
    };
    let engine = Engine::start(parts).await.unwrap();
    let traffic = Arc::default();
    let site = Site { engine, admin, board: Board::default(), limits: LIMITS, traffic };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, site, std::future::pending()));
    let _ = rustls::crypto::ring::default_provider().install_default();
    Server { base, client: Client::new(), _directory: directory }
}

impl Server {
    async fn post(&self, path: &str, content_type: &str, body: String) -> Response {
        let request = self.client.post(format!("{}{path}", self.base));
        request.header("content-type", content_type).body(body).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
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
    check(server.post("/events", BATCH, batch(&["1", "2"])).await, 202, "accepted", 2.into()).await;
    let again = server.post("/events", BATCH, batch(&["2", "3"])).await;
    check(again, 202, "duplicates", 1.into()).await;
    check(server.get("/accounts").await, 200, "events", 3.into()).await;
}

#[tokio::test]
async fn a_request_is_taken_whole_or_not_at_all() {
    let server = server().await;
    let faulty = server.post("/events", BATCH, batch(&["1", ""])).await;
    check(faulty, 422, "index", 1.into()).await;
    let many = server.post("/events", BATCH, batch(&["1", "2", "3"])).await;
    check(many, 413, "status", 413.into()).await;
    let long = server.post("/events", BATCH, " ".repeat(2001)).await;
    check(long, 413, "status", 413.into()).await;
    check(server.get("/accounts").await, 200, "events", 0.into()).await;
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let server = server().await;
    check(server.get("/nothing").await, 404, "status", 404.into()).await;
    let wrong = server.get("/events").await;
    assert_eq!(wrong.headers()["allow"], "POST");
    check(wrong, 405, "status", 405.into()).await;
    let json = "application/json";
    check(server.post("/events", json, "{}".into()).await, 415, "status", 415.into()).await;
    let unknown = server.post("/queues/a/acknowledge", json, r#"{"lease":"7"}"#.into()).await;
    check(unknown, 404, "type", "urn:sagabox:problem:no-such-lease".into()).await;
    let zero = server.post("/queues/a/lease", json, r#"{"max":0}"#.into()).await;
    check(zero, 422, "attribute", "max".into()).await;
    check(server.get("/plugins/p/instances/k").await, 404, "status", 404.into()).await;
    check(server.get("/dead-letters?limit=0").await, 422, "attribute", "limit".into()).await;
    check(server.get("/dead-letters?x=0").await, 400, "status", 400.into()).await;
    check(server.get("/queues/%FF/lease").await, 405, "status", 405.into()).await;
}

#[tokio::test]
async fn an_empty_queue_is_an_empty_lease() {
    let server = server().await;
    let lease = server.post("/queues/a%2Fb/lease", "", r#"{"wait_ms":0}"#.into()).await;
    check(lease, 200, "messages", Value::Array(Vec::new())).await;
    check(server.get("/readyz").await, 200, "status", "ready".into()).await;
}
