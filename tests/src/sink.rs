//! A service that receives what Sagabox delivers, and remembers every delivery.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
pub use axum::http::StatusCode;
use axum::http::{HeaderMap, Uri};
use serde_json::Value;

/// One delivery, as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub id: String,
    pub message_type: String,
    pub subject: Option<String>,
    pub data: Value,
}

/// An HTTP server on a free port of this machine.
pub struct Sink {
    pub url: String,
    seen: Arc<Mutex<Seen>>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    deliveries: Vec<Delivery>,
    /// How many of the next requests are answered with 503, before anything is remembered.
    refusals: usize,
    /// How all requests are answered, if not by what they bring.
    status: Option<StatusCode>,
    /// Of each request, whatever became of it.
    headers: Vec<HeaderMap>,
    /// Requests that were no `CloudEvent`.
    junk: Vec<String>,
}

impl Sink {
    /// # Panics
    /// If no port can be opened.
    pub async fn start() -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let app = Router::new().fallback(receive).with_state(Arc::clone(&seen));
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let server = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("the sink serves until it is dropped");
        });
        Self { url: format!("http://{address}/"), seen, server }
    }

    /// Answers the next `n` requests with 503.
    pub fn refuse_next(&self, n: usize) {
        self.seen().refusals = n;
    }

    /// Answers all requests with this status and with the request's URI, or takes them.
    pub fn answer_with(&self, status: Option<StatusCode>) {
        self.seen().status = status;
    }

    /// The headers of every request in the order of arrival, whatever became of it.
    pub fn requests(&self) -> Vec<HeaderMap> {
        self.seen().headers.clone()
    }

    /// Every delivery in the order of arrival, repetitions included.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.seen().deliveries.clone()
    }

    /// The deliveries by id.
    ///
    /// # Panics
    /// If one id came with two different contents: then it is not one message, and
    /// a receiver that drops repetitions by id loses one of them. Also if something
    /// came that is no `CloudEvent`.
    pub fn messages(&self) -> BTreeMap<String, Delivery> {
        let seen = self.seen();
        assert!(seen.junk.is_empty(), "the sink got something else: {:?}", seen.junk);
        let mut messages: BTreeMap<String, Delivery> = BTreeMap::new();
        for delivery in &seen.deliveries {
            let first = messages.entry(delivery.id.clone()).or_insert_with(|| delivery.clone());
            assert_eq!(first, delivery, "one id, two messages");
        }
        messages
    }

    /// How many different messages of each type arrived.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for message in self.messages().into_values() {
            *counts.entry(message.message_type).or_default() += 1;
        }
        counts
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(seen): State<Arc<Mutex<Seen>>>,
    headers: HeaderMap,
    uri: Uri,
    body: Bytes,
) -> (StatusCode, String) {
    let mut seen = seen.lock().expect("no holder of this lock panics");
    seen.headers.push(headers.clone());
    if seen.refusals > 0 {
        seen.refusals -= 1;
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    }
    if let Some(status) = seen.status {
        return (status, format!("POST {uri}"));
    }
    if let Some(status) = asked_for(&body) {
        return (status, String::new());
    }
    let status = if let Some(deliveries) = deliveries_in(&headers, &body) {
        seen.deliveries.extend(deliveries);
        StatusCode::NO_CONTENT
    } else {
        seen.junk.push(format!("{headers:?} {body:?}"));
        StatusCode::BAD_REQUEST
    };
    (status, String::new())
}

/// A message says by a member `answer` of its data which status it is refused with.
fn asked_for(body: &[u8]) -> Option<StatusCode> {
    let data: Value = serde_json::from_slice(body).ok()?;
    let status = data.get("answer")?.as_u64()?;
    StatusCode::from_u16(u16::try_from(status).ok()?).ok()
}

/// The binary, structured and batch modes of the HTTP binding.
fn deliveries_in(headers: &HeaderMap, body: &[u8]) -> Option<Vec<Delivery>> {
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
    if let Some(id) = header("ce-id") {
        let data = serde_json::from_slice(body).unwrap_or(Value::Null);
        let (message_type, subject) = (header("ce-type")?, header("ce-subject"));
        return Some(vec![Delivery { id, message_type, subject, data }]);
    }
    match serde_json::from_slice(body).ok()? {
        Value::Array(events) => events.iter().map(delivery_of).collect(),
        event => Some(vec![delivery_of(&event)?]),
    }
}

fn delivery_of(event: &Value) -> Option<Delivery> {
    Some(Delivery {
        id: event.get("id")?.as_str()?.to_owned(),
        message_type: event.get("type")?.as_str()?.to_owned(),
        subject: event.get("subject").and_then(Value::as_str).map(str::to_owned),
        data: event.get("data").cloned().unwrap_or(Value::Null),
    })
}
