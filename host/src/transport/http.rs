//! Delivers each message as an HTTP POST in the CloudEvents binary content mode.
//!
//! A receiver recognises a repeated delivery by `Idempotency-Key` (and `ce-id`):
//! the message's id, the same after every retry and crash (guarantee 5).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode, header};
use futures::future::join_all;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::{Client, Response, Url, redirect};
use sagabox_engine::model::{Event, Message};
use sagabox_engine::transport::{DeliveryError, Transport};

use crate::cloudevents::{binary_headers, header_value};

/// Of a refusal's body, what goes into the reason that people read.
const REASON_BYTES_MAX: usize = 300;
/// A server that wants us to stay away longer is asked again anyway, or a mistake
/// in its clock would stop a key for good.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpOptions {
    pub timeout: Duration,
    /// Requests under way at once.
    pub concurrency: usize,
}

pub struct HttpTransport {
    client: Client,
    url: Url,
    concurrency: usize,
}

impl HttpTransport {
    /// # Errors
    /// If the TLS library cannot be set up.
    pub fn new(url: Url, options: HttpOptions) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .timeout(options.timeout)
            // A redirected POST is often repeated as a GET, which would lose the message in silence.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("sagabox/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, url, concurrency: options.concurrency })
    }

    async fn post(&self, event: &Event) -> Result<(), DeliveryError> {
        let request = self.client.post(self.url.clone()).headers(headers(event));
        match request.body(event.data.clone()).send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(self.refusal(response).await),
            // Whether it arrived is unknown; the id makes a second delivery harmless.
            Err(error) => Err(DeliveryError::Transient {
                reason: format!("POST {}: {}", self.url, causes(&error)),
                retry_after: None,
            }),
        }
    }

    async fn refusal(&self, response: Response) -> DeliveryError {
        let status = response.status();
        let retry_after = retry_after(response.headers(), Timestamp::now());
        let body = beginning(response).await;
        let separator = if body.is_empty() { "" } else { ": " };
        let reason = format!("POST {} answered {status}{separator}{body}", self.url);
        if is_transient(status) {
            DeliveryError::Transient { reason, retry_after }
        } else {
            DeliveryError::Permanent(reason)
        }
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        join_all(messages.iter().map(|message| self.post(&message.event))).await
    }

    fn batch_max(&self) -> usize {
        self.concurrency
    }

    fn ordered(&self) -> bool {
        false
    }
}

/// Whether the same request may succeed later.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

/// How long a server asks to be left alone: seconds, or until an HTTP date.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = DateTimeParser::new().parse_timestamp(text).ok()?;
            Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO)
        }
    };
    Some(delay.min(RETRY_AFTER_MAX))
}

/// An error with its causes: reqwest's own text stops at "error sending request".
pub(crate) fn causes(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "timed out".to_owned() } else { String::new() };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let separator = if text.is_empty() { "" } else { ": " };
        text = format!("{text}{separator}{error}");
        cause = error.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

fn headers(event: &Event) -> HeaderMap {
    let mut headers = binary_headers(event);
    if let Ok(id) = header_value(&event.id) {
        headers.insert("idempotency-key", id);
    }
    for name in ["traceparent", "tracestate"] {
        if let Some(Ok(value)) = event.extension(name).map(header_value) {
            headers.insert(name, value);
        }
    }
    headers
}

async fn beginning(mut response: Response) -> String {
    let mut body = Vec::new();
    while body.len() < REASON_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(REASON_BYTES_MAX);
    String::from_utf8_lossy(&body).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use axum::body::Bytes;
    use axum::response::IntoResponse;
    use axum::routing::post;
    use sagabox_engine::model::{Key, MessageKind, PluginName, Position, Sequence, SinkName};
    use tokio::net::TcpListener;

    use super::*;

    type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

    /// A real server on the loopback interface that answers every message alike.
    async fn sink(status: u16, retry_after: Option<&'static str>) -> (Url, Received) {
        let received = Received::default();
        let log = Arc::clone(&received);
        let answer = async move |headers: HeaderMap, body: Bytes| {
            log.lock().unwrap().push((headers, body));
            let status = StatusCode::from_u16(status).unwrap();
            let mut response = (status, "because").into_response();
            if let Some(value) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, value.parse().unwrap());
            }
            response
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().route("/in", post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, received)
    }

    fn transport(url: Url) -> HttpTransport {
        // Whoever runs the program does this once at start-up.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let timeout = Duration::from_secs(5);
        HttpTransport::new(url, HttpOptions { timeout, concurrency: 32 }).unwrap()
    }

    fn message(id: &str) -> Arc<Message> {
        let json = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"sagabox:p","type":"Pay","subject":"Käse","traceparent":"00-1-2-01","data":{{"a":1}}}}"#
        );
        Arc::new(Message {
            sink: SinkName::from("billing"),
            sequence: Sequence(1),
            kind: MessageKind::Command,
            plugin: PluginName::from("p"),
            key: Key::from("k"),
            cause: Position(1),
            event: Arc::new(Event::from_json(json.as_bytes()).unwrap()),
        })
    }

    async fn outcome(status: u16, retry_after: Option<&'static str>) -> Result<(), DeliveryError> {
        let (url, _) = sink(status, retry_after).await;
        let result = transport(url).deliver(&[message("m")]).await.remove(0);
        result.map_err(|error| match error {
            DeliveryError::Transient { reason, retry_after } => {
                assert!(reason.ends_with(": because"), "{reason}");
                DeliveryError::Transient { reason: String::new(), retry_after }
            }
            DeliveryError::Permanent(_) => DeliveryError::Permanent(String::new()),
        })
    }

    fn transient(seconds: Option<u64>) -> Result<(), DeliveryError> {
        let retry_after = seconds.map(Duration::from_secs);
        Err(DeliveryError::Transient { reason: String::new(), retry_after })
    }

    #[tokio::test]
    async fn a_message_arrives_recognisably() {
        let (url, received) = sink(204, None).await;
        let messages = [message("m-1"), message("m-2")];
        assert_eq!(transport(url).deliver(&messages).await, [Ok(()), Ok(())]);
        let received = received.lock().unwrap();
        let mut ids: Vec<_> = received.iter().map(|(h, _)| h["idempotency-key"].clone()).collect();
        ids.sort();
        assert_eq!(ids, ["m-1", "m-2"]);
        let (headers, body) = &received[0];
        assert_eq!(headers["ce-id"], headers["idempotency-key"]);
        assert_eq!((&*headers["ce-type"].as_bytes(), &body[..]), (&b"Pay"[..], &b"{\"a\":1}"[..]));
        assert_eq!(headers["ce-subject"], "K%C3%A4se");
        assert_eq!(headers["traceparent"], "00-1-2-01");
        assert_eq!(headers["content-type"], "application/json");
    }

    #[tokio::test]
    async fn the_status_says_whether_to_try_again() {
        assert_eq!(outcome(200, None).await, Ok(()));
        for status in [408, 425, 500, 502] {
            assert_eq!(outcome(status, None).await, transient(None), "{status}");
        }
        assert_eq!(outcome(429, Some("7")).await, transient(Some(7)));
        assert_eq!(outcome(503, Some("99999999")).await, transient(Some(3600)));
        for status in [301, 307, 400, 404, 410, 422] {
            let permanent = Err(DeliveryError::Permanent(String::new()));
            assert_eq!(outcome(status, None).await, permanent, "{status}");
        }
    }

    #[tokio::test]
    async fn a_sink_that_is_down_is_tried_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let result = transport(url).deliver(&[message("m")]).await.remove(0);
        let Err(DeliveryError::Transient { reason, .. }) = result else { panic!("{result:?}") };
        assert!(reason.contains("refused"), "{reason}");
    }

    #[tokio::test]
    async fn a_sink_that_does_not_answer_is_tried_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = HttpOptions { timeout: Duration::from_millis(50), concurrency: 1 };
        let transport = HttpTransport::new(url, options).unwrap();
        let result = transport.deliver(&[message("m")]).await.remove(0);
        let Err(DeliveryError::Transient { reason, .. }) = result else { panic!("{result:?}") };
        assert!(reason.contains("timed out"), "{reason}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let check = |text: &str, expected: Option<u64>| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        };
        check("120", Some(120));
        check("Sat, 31 Jan 2026 12:00:30 GMT", Some(30));
        check("Sat, 31 Jan 2026 11:00:00 GMT", Some(0));
        check("soon", None);
        check("-1", None);
    }
}
