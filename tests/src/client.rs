//! Sagabox's HTTP interface as the tests use it. The only file that knows its paths and shapes.

use std::collections::BTreeMap;
use std::sync::Once;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::wait;

pub const BATCH: &str = "application/cloudevents-batch+json";
pub const STRUCTURED: &str = "application/cloudevents+json";
pub const PROBLEM: &str = "application/problem+json";

/// How many events go into one request; any number does, this one keeps bodies well under a megabyte.
const EVENTS_PER_REQUEST: usize = 500;
/// What the paths of the API begin with. Where probes and scrapers look has no version.
const API: &str = "/v1";
const WITHOUT_VERSION: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// The largest page that the host gives.
const PAGE: usize = 1000;

#[derive(Clone)]
pub struct Client {
    url: String,
    http: reqwest::Client,
    token: Option<String>,
}

/// The answer to accepted events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Accepted {
    pub accepted: usize,
    pub duplicates: usize,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Lease {
    pub lease: Value,
    pub messages: Vec<Leased>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Leased {
    pub attempt: u32,
    pub event: Value,
}

impl Leased {
    /// # Panics
    /// If the message has no id.
    pub fn id(&self) -> &str {
        self.event["id"].as_str().expect("every message has an id")
    }

    pub fn data(&self) -> &Value {
        &self.event["data"]
    }
}

impl Client {
    /// # Panics
    /// Never: the settings are constant.
    pub fn new(url: impl Into<String>) -> Self {
        // The TLS library wants a provider even where only plain HTTP is spoken.
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let http = reqwest::Client::builder()
            .timeout(Duration::from_mins(1))
            .no_proxy()
            .build()
            .expect("constant settings");
        Self { url: url.into(), http, token: None }
    }

    /// The same client, with a token.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// A request to a path of the API, which is given without its version.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let api = if WITHOUT_VERSION.contains(&path) { "" } else { API };
        let request = self.http.request(method, format!("{}{api}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Posts a body to `/events`, as it is.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn post_events(
        &self,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<Response> {
        let request = self.request(Method::POST, "/events").header("content-type", content_type);
        request.body(body).send().await
    }

    /// Sends events in batches and insists: a busy or absent host is asked again.
    ///
    /// # Panics
    /// If an event is refused, or the host stays away.
    pub async fn send(&self, events: &[Value]) -> Accepted {
        let mut sum = Accepted::default();
        for batch in events.chunks(EVENTS_PER_REQUEST) {
            let body = serde_json::to_string(batch).expect("events are JSON");
            let accepted = wait::until("sending events", wait::LONG, || self.try_send(&body)).await;
            sum.accepted += accepted.accepted;
            sum.duplicates += accepted.duplicates;
        }
        sum
    }

    async fn try_send(&self, body: &str) -> Result<Accepted, String> {
        let response =
            self.post_events(BATCH, body.to_owned()).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let text = response.text().await.map_err(|error| error.to_string())?;
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(format!("{status} {text}"));
        }
        assert_eq!(status, StatusCode::ACCEPTED, "events were refused: {text}");
        Ok(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}")))
    }

    /// # Errors
    /// If the host does not answer or refuses.
    pub async fn lease(
        &self,
        queue: &str,
        max: usize,
        wait: Duration,
        duration: Duration,
    ) -> Result<Lease, String> {
        self.lease_as(None, queue, max, wait, duration).await
    }

    /// Leases messages as the worker with this name.
    ///
    /// # Errors
    /// If the host does not answer or refuses.
    pub async fn lease_as(
        &self,
        worker: Option<&str>,
        queue: &str,
        max: usize,
        wait: Duration,
        duration: Duration,
    ) -> Result<Lease, String> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let mut body = json!({"max": max, "wait_ms": wait_ms, "duration_ms": duration_ms});
        if let Some(worker) = worker {
            body["worker"] = json!(worker);
        }
        let answer = self.queue_call(queue, "lease", &body).await?;
        serde_json::from_value(answer.clone()).map_err(|error| format!("{error} in {answer}"))
    }

    /// Acknowledges messages of a lease; all of them if none are named.
    ///
    /// # Errors
    /// If the host does not answer, or does not know the lease any more.
    pub async fn acknowledge(
        &self,
        queue: &str,
        lease: &Value,
        ids: Option<&[&str]>,
    ) -> Result<Value, String> {
        let mut body = json!({"lease": lease});
        if let Some(ids) = ids {
            body["ids"] = json!(ids);
        }
        self.queue_call(queue, "acknowledge", &body).await
    }

    /// # Errors
    /// If the host does not answer, or does not know the lease any more.
    pub async fn give_back(&self, queue: &str, lease: &Value) -> Result<Value, String> {
        self.queue_call(queue, "give-back", &json!({"lease": lease, "reason": "a test"})).await
    }

    async fn queue_call(&self, queue: &str, verb: &str, body: &Value) -> Result<Value, String> {
        let path = format!("/queues/{verb}");
        let mut body = body.clone();
        body["queue"] = json!(queue);
        let response = self
            .request(Method::POST, &path)
            .json(&body)
            .send()
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status();
        let text = response.text().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("{path}: {status} {text}"));
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|error| format!("{path}: {error} in {text}"))
    }

    /// Takes and acknowledges messages of a queue until `count` different ones came,
    /// then looks once more that no further one comes. By id.
    ///
    /// # Panics
    /// If they do not come, more come, or an id comes with two contents.
    pub async fn take_exactly(&self, queue: &str, count: usize) -> BTreeMap<String, Value> {
        const MAX: usize = 1000;
        const HOLD: Duration = Duration::from_secs(30);
        let mut taken = BTreeMap::new();
        let mut idle = 0;
        // Two empty leases of a second: the messages may be on their way.
        while taken.len() < count && idle < wait::SOON.as_secs() || idle < 1 {
            let wait = if taken.len() < count { 1000 } else { 100 };
            let lease = self
                .lease(queue, MAX, Duration::from_millis(wait), HOLD)
                .await
                .unwrap_or_else(|error| panic!("leasing from {queue}: {error}"));
            if lease.messages.is_empty() {
                idle += 1;
                continue;
            }
            idle = 0;
            for message in &lease.messages {
                let before = taken.insert(message.id().to_owned(), message.event.clone());
                if let Some(before) = before {
                    assert_eq!(before, message.event, "one id, two messages");
                }
            }
            self.acknowledge(queue, &lease.lease, None)
                .await
                .unwrap_or_else(|error| panic!("acknowledging to {queue}: {error}"));
        }
        assert_eq!(taken.len(), count, "messages in the queue {queue}");
        taken
    }

    /// # Errors
    /// If the host does not answer, or not with JSON.
    pub async fn get(&self, path: &str) -> Result<Value, String> {
        let text = self.text(path).await?;
        serde_json::from_str(&text).map_err(|error| format!("{path}: {error} in {text}"))
    }

    /// The sinks that do not answer: each with its name, and since when and why it does not.
    ///
    /// # Errors
    /// If the host does not answer.
    pub async fn sinks_down(&self) -> Result<Vec<Value>, String> {
        let page = self.get("/sinks").await?;
        let sinks = page["sinks"].as_array().cloned().unwrap_or_default();
        let down = sinks.into_iter().filter(|sink| !sink["down"].is_null()).map(|sink| {
            let mut down = sink["down"].clone();
            down["sink"] = sink["sink"].clone();
            down
        });
        Ok(down.collect())
    }

    /// # Errors
    /// If the host does not answer.
    pub async fn text(&self, path: &str) -> Result<String, String> {
        let response =
            self.request(Method::GET, path).send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        let text = response.text().await.map_err(|error| error.to_string())?;
        match status.is_success() {
            true => Ok(text),
            false => Err(format!("{path}: {status} {text}")),
        }
    }

    /// The instances of a plugin in one status, all pages of them.
    ///
    /// # Errors
    /// If the host does not answer, or in another shape.
    pub async fn instances(&self, plugin: &str, status: &str) -> Result<Vec<Value>, String> {
        let path = format!("/instances?plugin={}&status={status}", encode(plugin));
        self.pages(&path, "instances").await
    }

    /// The open dead letters.
    ///
    /// # Errors
    /// If the host does not answer, or in another shape.
    pub async fn dead_letters(&self) -> Result<Vec<Value>, String> {
        self.pages("/dead-letters?status=open", "dead_letters").await
    }

    /// An instance with its history; a plugin's and a key's names can be any text.
    ///
    /// # Errors
    /// If the host does not answer, or knows no such instance.
    pub async fn instance(&self, plugin: &str, key: &str) -> Result<Value, String> {
        self.get(&format!("/instance?plugin={}&key={}", encode(plugin), encode(key))).await
    }

    /// All of a list, page by page.
    ///
    /// # Errors
    /// If the host does not answer, or in another shape.
    pub async fn pages(&self, path: &str, list: &str) -> Result<Vec<Value>, String> {
        let mut all: Vec<Value> = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.get(&format!("{path}&limit={PAGE}{after}")).await?;
            let rows = page[list].as_array().ok_or_else(|| format!("{path}: {page}"))?;
            all.extend(rows.iter().cloned());
            after = match &page["next"] {
                Value::Null => return Ok(all),
                Value::String(text) => format!("&after={}", encode(text)),
                other => return Err(format!("{path}: next is {other}")),
            };
        }
    }

    /// Waits until so many instances of a plugin are completed.
    ///
    /// # Panics
    /// If they are not in time.
    pub async fn wait_for_completed(&self, plugin: &str, count: usize) {
        wait::until(&format!("{count} completed instances of {plugin}"), wait::LONG, || async {
            match self.instances(plugin, "completed").await?.len() {
                n if n == count => Ok(()),
                n => Err(format!("{n}")),
            }
        })
        .await;
    }

    /// Waits until the accounts say that the sums add up, wherever they say so.
    ///
    /// # Panics
    /// If they do not.
    pub async fn wait_for_balance(&self) {
        wait::until("balanced accounts", wait::SOON, || async {
            let accounts = self.get("/accounts").await?;
            let mut balances = Vec::new();
            collect(&accounts, "balanced", &mut balances);
            let all = !balances.is_empty() && balances.iter().all(|b| **b == json!(true));
            if all { Ok(()) } else { Err(accounts.to_string()) }
        })
        .await;
    }

    /// Waits until so many messages wait to be delivered, in all sinks and queues.
    ///
    /// # Panics
    /// If there are never exactly so many, or the accounts do not say.
    pub async fn wait_for_pending(&self, count: u64) {
        wait::until(&format!("{count} pending messages"), wait::LONG, || async {
            let accounts = self.get("/accounts").await?;
            let mut pending = Vec::new();
            collect(&accounts, "pending", &mut pending);
            let sum: Option<u64> = pending.iter().map(|n| n.as_u64()).sum();
            let matches = !pending.is_empty() && sum == Some(count);
            if matches { Ok(()) } else { Err(accounts.to_string()) }
        })
        .await;
    }

    /// # Panics
    /// If there is a dead letter.
    pub async fn assert_no_dead_letters(&self) {
        let dead = self.dead_letters().await.expect("the list of dead letters");
        assert!(dead.is_empty(), "{} dead letters, the first: {}", dead.len(), dead[0]);
    }
}

/// Every value that stands under a name, at any depth.
fn collect<'v>(value: &'v Value, name: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                if member == name {
                    found.push(value);
                }
                collect(value, name, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, name, found)),
        _ => {}
    }
}

/// Percent-encodes all but the unreserved characters.
#[must_use]
pub fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
