//! Delivers each message as an HTTP POST in the CloudEvents binary content mode.
//!
//! A receiver recognises a repeated delivery by `Idempotency-Key` (and `ce-id`), which is the
//! message's id. It is the same after every retry and crash (guarantee 5).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode, header};
use futures::future::join_all;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::{Client, Response};
use sagabox_engine::model::{Event, Message};
use sagabox_engine::seams::transport::{DeliveryError, Transport};

use super::client::{OwnHeaders, causes, client};
use super::status::{Meaning, StatusRules};
use crate::io::cloudevents::{binary_headers, header_value};
use crate::io::figures;
use crate::io::secrets::SecretUrl;

/// The bytes of a refusal's body that go into the reason.
const REASON_BYTES_MAX: usize = 300;
/// The bytes of the body that are read. Secrets are removed before the text is cut to size.
const BODY_BYTES_READ: usize = 4 * 1024;
/// The longest wait for a body that explains a refusal. The status is known already.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest pause that a server can ask for. Without this limit, a mistake in its clock would
/// stop a key for ever.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

pub struct HttpOptions {
    pub timeout: Duration,
    /// The most requests in progress at once.
    pub in_flight: usize,
    pub headers: OwnHeaders,
    pub status: StatusRules,
}

pub struct HttpTransport {
    client: Client,
    url: SecretUrl,
    options: HttpOptions,
}

impl HttpTransport {
    /// # Errors
    /// If the TLS library cannot be set up.
    pub fn new(url: SecretUrl, options: HttpOptions) -> Result<Self, reqwest::Error> {
        Ok(Self { client: client(options.timeout, url.is_loopback())?, url, options })
    }

    async fn post(&self, event: &Event) -> Result<(), DeliveryError> {
        let mut headers = headers(event);
        self.options.headers.add_to(&mut headers);
        let request = self.client.post(self.url.expose().clone()).headers(headers);
        match request.body(event.data.clone()).send().await {
            Ok(response) => match self.options.status.meaning(response.status()) {
                Meaning::Delivered => Ok(()),
                meaning => Err(self.refusal(response, meaning).await),
            },
            Err(error) => Err(self.no_answer(&error)),
        }
    }

    fn no_answer(&self, error: &reqwest::Error) -> DeliveryError {
        let never_arrived = error.is_connect() || error.is_builder();
        let reason = format!("POST {}: {}", self.url, self.options.headers.redact(&causes(error)));
        match never_arrived {
            true => DeliveryError::Unavailable { reason, retry_after: None },
            // It is unknown whether the message arrived. The id makes a second delivery
            // harmless. The message itself may be the cause of the failure.
            false => DeliveryError::Transient { reason, retry_after: None },
        }
    }

    async fn refusal(&self, response: Response, meaning: Meaning) -> DeliveryError {
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            // An operator may have replaced the credentials; the next attempt uses the new ones.
            self.options.headers.read_files_again();
        }
        let retry_after = retry_after(response.headers(), Timestamp::now());
        let body = tokio::time::timeout(BODY_TIMEOUT, beginning(response)).await;
        let body = self.options.headers.redact(&body.unwrap_or_default());
        let body = body[..body.floor_char_boundary(REASON_BYTES_MAX)].trim();
        let separator = if body.is_empty() { "" } else { ": " };
        let shown = figures::status(status);
        let reason = format!("POST {} answered {shown}{separator}{body}", self.url);
        match meaning {
            Meaning::Sink => DeliveryError::Unavailable { reason, retry_after },
            Meaning::Retry => DeliveryError::Transient { reason, retry_after },
            Meaning::Message | Meaning::Delivered => DeliveryError::Permanent(reason),
        }
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        join_all(messages.iter().map(|message| self.post(&message.event))).await
    }

    fn batch_max(&self) -> usize {
        1
    }

    fn in_flight(&self) -> usize {
        self.options.in_flight
    }
}

/// The pause that a server asks for: seconds, or until an HTTP date.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        let date = DateTimeParser::new().parse_timestamp(text).ok()?;
        Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO)
    };
    Some(delay.min(RETRY_AFTER_MAX))
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
    while body.len() < BODY_BYTES_READ
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(BODY_BYTES_READ);
    String::from_utf8_lossy(&body).into_owned()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;

    use axum::Router;
    use axum::body::Bytes;
    use axum::response::IntoResponse;
    use sagabox_engine::model::{Hops, Key, MessageKind, PluginName, Position, Sequence, SinkName};
    use sagabox_engine::seams::transport::contract::{self, Receiver, Receivers};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::io::cloudevents;
    use crate::io::secrets::{Given, Redactor, Secret};

    type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

    /// A real server on the loopback interface that gives the same answer to every message.
    async fn sink(status: u16, retry_after: Option<&'static str>) -> (String, Received) {
        let received = Received::default();
        let log = Arc::clone(&received);
        let answer = async move |headers: HeaderMap, uri: axum::http::Uri, body: Bytes| {
            log.lock().unwrap().push((headers, body));
            let status = StatusCode::from_u16(status).unwrap();
            let mut response = (status, format!("because of {uri}")).into_response();
            if let Some(value) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, value.parse().unwrap());
            }
            response
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, received)
    }

    fn transport(url: &str) -> HttpTransport {
        with(url, Duration::from_secs(5), Vec::new())
    }

    fn with(url: &str, timeout: Duration, headers: Vec<(&'static str, Given)>) -> HttpTransport {
        // The program does this once at start-up.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = SecretUrl::parse(url).unwrap();
        let mut hidden = Redactor::default();
        hidden.hide_url(url.expose());
        let headers = headers.into_iter().map(|(name, given)| (name.parse().unwrap(), given));
        let headers = OwnHeaders::read(headers.collect(), hidden).unwrap();
        let status = StatusRules::default();
        HttpTransport::new(url, HttpOptions { timeout, in_flight: 32, headers, status }).unwrap()
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
            instance: None,
            event: Arc::new(Event::from_json(json.as_bytes()).unwrap()),
            hops: Hops::FIRST,
        })
    }

    async fn deliver(transport: &HttpTransport) -> Result<(), DeliveryError> {
        transport.deliver(&[message("m")]).await.remove(0)
    }

    /// What the relay must do, and the pause that the server asked for, in seconds.
    async fn outcome(status: u16, retry_after: Option<&'static str>) -> (&'static str, u64) {
        let (url, _) = sink(status, retry_after).await;
        let result = deliver(&transport(&url)).await;
        if let Err(error) = &result {
            assert!(error.reason().ends_with(": because of /in"), "{error}");
        }
        let (kind, pause) = match result {
            Ok(()) => ("delivered", None),
            Err(DeliveryError::Transient { retry_after, .. }) => ("retry", retry_after),
            Err(DeliveryError::Unavailable { retry_after, .. }) => ("sink", retry_after),
            Err(DeliveryError::Permanent(_)) => ("message", None),
        };
        (kind, pause.map_or(0, |pause| pause.as_secs()))
    }

    #[tokio::test]
    async fn a_message_arrives_recognisably() {
        let (url, received) = sink(204, None).await;
        let messages = [message("m-1"), message("m-2")];
        assert_eq!(transport(&url).deliver(&messages).await, [Ok(()), Ok(())]);
        let received = received.lock().unwrap();
        let mut ids: Vec<_> = received.iter().map(|(h, _)| h["idempotency-key"].clone()).collect();
        ids.sort();
        assert_eq!(ids, ["m-1", "m-2"]);
        let (headers, body) = &received[0];
        assert_eq!(headers["ce-id"], headers["idempotency-key"]);
        assert_eq!((headers["ce-type"].as_bytes(), &body[..]), (&b"Pay"[..], &b"{\"a\":1}"[..]));
        assert_eq!(headers["ce-subject"], "K%C3%A4se");
        assert_eq!(headers["traceparent"], "00-1-2-01");
        assert_eq!(headers["content-type"], "application/json");
    }

    #[tokio::test]
    async fn the_status_says_what_to_do() {
        assert_eq!(outcome(200, None).await, ("delivered", 0));
        for status in [408, 425, 500] {
            assert_eq!(outcome(status, None).await, ("retry", 0), "{status}");
        }
        assert_eq!(outcome(429, Some("7")).await, ("sink", 7));
        assert_eq!(outcome(503, Some("99999999")).await, ("sink", 3600));
        for status in [301, 307, 401, 403, 404, 405, 407, 410, 421, 502] {
            assert_eq!(outcome(status, None).await, ("sink", 0), "{status}");
        }
        for status in [400, 409, 413, 415, 422] {
            assert_eq!(outcome(status, None).await, ("message", 0), "{status}");
        }
    }

    #[tokio::test]
    async fn a_sink_that_is_down_is_unavailable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let result = deliver(&transport(&url)).await;
        let Err(DeliveryError::Unavailable { reason, .. }) = result else { panic!("{result:?}") };
        assert!(reason.contains("refused"), "{reason}");
    }

    #[tokio::test]
    async fn a_sink_that_does_not_answer_is_tried_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let result = deliver(&with(&url, Duration::from_millis(50), Vec::new())).await;
        let Err(DeliveryError::Transient { reason, .. }) = result else { panic!("{result:?}") };
        assert!(reason.contains("timed out"), "{reason}");
    }

    #[tokio::test]
    async fn secrets_reach_the_server_and_no_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "Bearer first-token\n").unwrap();
        let (url, received) = sink(401, None).await;
        let url = url.replace("http://", "http://ada:hunter2@") + "?token=s3cret";
        let headers = vec![
            ("x-api-key", Given::Value(Secret::new("api-key-1"))),
            ("authorization", Given::File(file.clone())),
        ];
        let transport = with(&url, Duration::from_secs(5), headers);
        let reason = deliver(&transport).await.unwrap_err().to_string();
        // The file has a newer token, and the server has refused the older one.
        std::fs::write(&file, "Bearer second-token").unwrap();
        deliver(&transport).await.unwrap_err();
        deliver(&transport).await.unwrap_err();
        let received = received.lock().unwrap();
        let sent = |n: usize, name: &str| received[n].0[name].to_str().unwrap().to_owned();
        assert_eq!(sent(0, "x-api-key"), "api-key-1");
        assert_eq!(sent(0, "authorization"), "Bearer first-token");
        assert_eq!(sent(2, "authorization"), "Bearer second-token");
        assert!(
            reason.contains("/in?*** answered 401 Unauthorized: because of /in?***"),
            "{reason}"
        );
        for secret in ["hunter2", "s3cret", "first-token", "api-key-1"] {
            assert!(!reason.contains(secret), "{reason}");
        }
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

    /// A server that can stop and start again at the same address.
    struct Server {
        address: SocketAddr,
        received: Received,
        running: Mutex<Option<JoinHandle<()>>>,
        transport: Arc<dyn Transport>,
    }

    impl Server {
        fn serve(&self, listener: TcpListener) {
            let received = Arc::clone(&self.received);
            let answer = async move |headers: HeaderMap, body: Bytes| {
                received.lock().unwrap().push((headers, body));
                // This closes the connection, so that none outlives the server.
                (StatusCode::NO_CONTENT, [(header::CONNECTION, "close")])
            };
            let router =
                Router::new().fallback(answer).layer(axum::extract::DefaultBodyLimit::max(8 << 20));
            let serving = tokio::spawn(async move {
                axum::serve(listener, router).await.unwrap();
            });
            *self.running.lock().unwrap() = Some(serving);
        }
    }

    #[async_trait]
    impl Receiver for Server {
        fn transport(&self) -> Arc<dyn Transport> {
            Arc::clone(&self.transport)
        }

        async fn arrived(&self) -> Vec<Event> {
            let received = self.received.lock().unwrap().clone();
            let parse = |(headers, body): &(HeaderMap, Bytes)| {
                cloudevents::parse(headers, body, 1).unwrap().remove(0)
            };
            received.iter().map(parse).collect()
        }

        async fn leave(&self) {
            let serving = self.running.lock().unwrap().take().unwrap();
            serving.abort();
            let _ = serving.await;
        }

        async fn come_back(&self) {
            self.serve(TcpListener::bind(self.address).await.unwrap());
        }
    }

    struct Servers;

    #[async_trait]
    impl Receivers for Servers {
        async fn open(&self) -> Box<dyn Receiver> {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = Server {
                address,
                received: Received::default(),
                running: Mutex::default(),
                transport: Arc::new(transport(&format!("http://{address}/"))),
            };
            server.serve(listener);
            Box::new(server)
        }
    }

    #[tokio::test]
    async fn the_transport_over_http_keeps_the_contract() {
        contract::all(&Servers).await;
    }
}
