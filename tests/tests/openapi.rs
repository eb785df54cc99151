//! The OpenAPI document: the committed one is the code's own, and real answers of a host are as it
//! says.

use reqwest::{Method, StatusCode};
use sagabox_tests::client::Client;
use sagabox_tests::command::sagabox;
use sagabox_tests::events::{cart_finalized, event};
use sagabox_tests::host::Host;
use sagabox_tests::{paths, wait};
use serde_json::{Value, json};

#[test]
fn the_committed_document_is_that_of_the_code() {
    let folder = paths::repository();
    let written = sagabox(folder, &["openapi"]).with(0).output;
    let committed = std::fs::read_to_string(folder.join("docs/openapi.json")).unwrap_or_default();
    assert!(written == committed, "write it anew: sagabox openapi > docs/openapi.json");
}

/// The document that a host serves.
struct Document(Value);

impl Document {
    async fn served(client: &Client) -> Self {
        Self(client.get("/openapi.json").await.expect("the document"))
    }

    /// The schema of an answer. Refused if the document does not list the answer.
    fn schema(&self, method: &Method, path: &str, status: StatusCode) -> Value {
        let path = path.split('?').next().unwrap_or(path);
        let is_id = |segment: &str| segment.bytes().all(|byte| byte.is_ascii_digit());
        let template: Vec<_> =
            path.split('/').map(|s| if !s.is_empty() && is_id(s) { "{id}" } else { s }).collect();
        let versioned = format!("/v1{}", template.join("/"));
        let known = &self.0["paths"];
        let item = known.get(&versioned).or_else(|| known.get(path)).expect("a known path");
        let response = &item[method.as_str().to_ascii_lowercase()]["responses"][status.as_str()];
        let kind =
            if status.is_success() { "application/json" } else { "application/problem+json" };
        let schema = response["content"][kind]["schema"].clone();
        assert!(schema.is_object(), "{method} {path} does not list {status}: {response}");
        schema
    }

    fn check(&self, schema: Value, answer: &Value, what: &str) {
        let mut whole = schema;
        whole["components"] = self.0["components"].clone();
        let validator = jsonschema::draft202012::new(&whole).expect("a valid schema");
        let errors: Vec<String> =
            validator.iter_errors(answer).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{what}: {errors:#?} in {answer}");
    }

    async fn ask(&self, client: &Client, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = client.request(method.clone(), path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let answer: Value = response.json().await.expect("JSON");
        let what = format!("{method} {path} {status}");
        self.check(self.schema(&method, path, status), &answer, &what);
        answer
    }
}

/// What is read of a host with an instance, a dead letter, and plugins that it does not have.
const READ: &[&str] = &[
    "/queues",
    "/plugins",
    "/instances?plugin=group-checkout",
    "/instance?plugin=group-checkout&key=g",
    "/instance?plugin=order-saga&key=b",
    "/instance?plugin=order-saga&key=nothing",
    "/instances?plugin=nothing",
    "/dead-letters",
    "/dead-letters?limit=0",
    "/dead-letters/99",
    "/dead-letters/causes",
    "/dead-letters/causes?plugin=nothing",
    "/plugins/log?plugin=order-saga",
    "/plugins/log?plugin=nothing",
    "/timers",
    "/timers?after=x",
    "/waits?sink=nothing",
    "/waits",
    "/sinks",
    "/lookups",
    "/accounts",
    "/healthz",
    "/readyz",
];

#[tokio::test]
async fn answers_are_as_the_document_says() {
    let host = Host::builder().plugin("order-saga").plugin("group-checkout").start().await;
    let client = host.client();
    let document = Document::served(&client).await;
    let group = json!({"groupCheckoutId": "g", "guestStayIds": ["a guest"]});
    let broken = event("bad", "CartFinalized", "a", &json!({"cartId": "a"}));
    let events =
        [event("g", "GroupCheckoutInitiated", "g", &group), cart_finalized("b", "b"), broken];
    client.send(&events).await;
    wait::until("a dead letter and an instance", wait::SOON, async || {
        let dead = client.dead_letters().await?.len();
        let instances = client.instances("group-checkout", "running").await?.len();
        if (dead, instances) == (1, 1) { Ok(()) } else { Err(format!("{dead} {instances}")) }
    })
    .await;
    let dead_letter = client.dead_letters().await.expect("a list")[0]["id"].clone();
    for path in READ {
        document.ask(&client, Method::GET, path, None).await;
    }
    document.ask(&client, Method::GET, &format!("/dead-letters/{dead_letter}"), None).await;
    let ask = async |path: &str, body| document.ask(&client, Method::POST, path, Some(body)).await;
    let lease = ask("/queues/lease", json!({"queue": "InitializeOrder"})).await;
    assert_eq!(lease["messages"].as_array().map(Vec::len), Some(1), "{lease}");
    let named = json!({"queue": "InitializeOrder", "lease": lease["lease"]});
    let mut extend = named.clone();
    extend["duration_ms"] = json!(60_000);
    ask("/queues/extend", extend).await;
    ask("/queues/acknowledge", named).await;
    ask("/queues/acknowledge", json!({"queue": "InitializeOrder", "lease": "1"})).await;
    ask("/queues/lease", json!({"queue": "q", "max": 0})).await;
    ask("/instances/cancel", json!({"plugin": "group-checkout", "key": "g", "reason": "r"})).await;
    ask("/instances/end", json!({"plugin": "group-checkout", "key": "g", "reason": "r"})).await;
    ask("/dead-letters/skip", json!({"ids": [99], "reason": "r", "dry_run": true})).await;
    ask("/dead-letters/discard", json!({"ids": [99], "reason": "r"})).await;
    ask("/batches", json!({"action": "skip", "all": true})).await;
    ask("/batches", json!({"action": "skip"})).await;
    ask("/batches/1/start", json!({"reason": "r", "rate_per_second": 1})).await;
    ask("/batches/1/pause", json!({})).await;
    ask("/batches/1/resume", json!({})).await;
    ask("/batches/1/cancel", json!({"reason": "r"})).await;
    ask("/batches/9/cancel", json!({})).await;
    for path in ["/batches", "/batches/1", "/batches/1/items", "/batches/9"] {
        document.ask(&client, Method::GET, path, None).await;
    }
    ask(&format!("/dead-letters/{dead_letter}/skip"), json!({"reason": "r"})).await;
    ask("/events", event("g2", "GroupCheckoutInitiated", "g", &group)).await;
}
