//! Sends spans and metrics to a receiver of the OpenTelemetry protocol (OTLP 1.x over HTTP, in
//! protobuf). Spans that the receiver does not take are dropped and counted; nothing else of the
//! host waits for it.

mod metrics;
mod traces;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use axum::http::{HeaderMap, header};
use futures::future::BoxFuture;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use reqwest::{Client, StatusCode, Url};
use sagabox_engine::engine::Span;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::metrics::Gathered;
use super::settings::TelemetrySettings;
use crate::io::figures;
use crate::io::secrets::{Redactor, SecretUrl};
use crate::io::sinks::{OwnHeaders, causes, client};

/// Spans of one request: about 256 KiB.
const BATCH_MAX: usize = 512;
/// How long the first span of a batch waits for others.
const BATCH_DELAY: Duration = Duration::from_secs(1);
/// Attempts for a batch. With the pauses between them it waits about half a minute, while the
/// queue takes further spans.
const ATTEMPTS_MAX: u32 = 5;
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// The outcomes of spans that were taken from the queue.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    pub sent: AtomicU64,
    pub failed: AtomicU64,
}

/// Gathers the current metrics.
pub(crate) type Gather = Arc<dyn Fn() -> BoxFuture<'static, Gathered> + Send + Sync>;

pub(crate) struct Exporter {
    client: Client,
    traces: Url,
    metrics: Url,
    headers: OwnHeaders,
    resource: Resource,
    /// When the counters were zero.
    started: SystemTime,
    metrics_interval: Option<Duration>,
    exported: Arc<Exported>,
    /// Whether the receiver refused the last request. One log line says so.
    is_failing: AtomicBool,
}

impl Exporter {
    /// # Errors
    /// If the endpoint, a header, or the TLS library cannot be used.
    pub(crate) fn new(
        settings: &TelemetrySettings,
        exported: Arc<Exported>,
    ) -> anyhow::Result<Self> {
        let endpoint = settings.endpoint.read().and_then(|text| SecretUrl::parse(text.expose()));
        let endpoint = endpoint.map_err(anyhow::Error::msg).context("telemetry.endpoint")?;
        let mut hidden = Redactor::default();
        hidden.hide_url(endpoint.expose());
        let headers = OwnHeaders::read(settings.headers.clone(), hidden);
        Ok(Self {
            client: client(settings.timeout, endpoint.is_loopback())?,
            traces: below(endpoint.expose(), "traces"),
            metrics: below(endpoint.expose(), "metrics"),
            headers: headers.map_err(anyhow::Error::msg).context("telemetry")?,
            resource: resource(&settings.service_name),
            started: SystemTime::now(),
            metrics_interval: settings.metrics_interval,
            exported,
            is_failing: AtomicBool::new(false),
        })
    }

    /// Exports until `stop`; then it exports the rest with one attempt.
    pub(crate) async fn run(
        self,
        spans: mpsc::Receiver<Span>,
        gather: Gather,
        stop: CancellationToken,
    ) {
        tokio::join!(self.export_spans(spans, &stop), self.export_metrics(gather, &stop));
    }

    async fn export_spans(&self, mut spans: mpsc::Receiver<Span>, stop: &CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                count = spans.recv_many(&mut batch, BATCH_MAX) => if count == 0 { break },
            }
            let more = async {
                while batch.len() < BATCH_MAX {
                    let room = BATCH_MAX - batch.len();
                    if spans.recv_many(&mut batch, room).await == 0 {
                        break;
                    }
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = more => {}
                () = tokio::time::sleep(BATCH_DELAY) => {}
            }
            self.send_spans(&mut batch, ATTEMPTS_MAX, stop).await;
        }
        while let Ok(span) = spans.try_recv() {
            batch.push(span);
        }
        if !batch.is_empty() {
            self.send_spans(&mut batch, 1, stop).await;
        }
    }

    async fn send_spans(&self, batch: &mut Vec<Span>, attempts: u32, stop: &CancellationToken) {
        let count = batch.len() as u64;
        let request = ExportTraceServiceRequest {
            resource_spans: vec![traces::encode(batch.drain(..), &self.resource)],
        };
        let answer = self.send(&self.traces, request.encode_to_vec(), attempts, stop).await;
        let rejected = match &answer {
            None => count,
            // It may have refused some of them.
            Some(body) => ExportTraceServiceResponse::decode(&body[..])
                .ok()
                .and_then(|answer| answer.partial_success)
                .map_or(0, |partial| partial.rejected_spans.try_into().unwrap_or(0).min(count)),
        };
        self.exported.sent.fetch_add(count - rejected, Ordering::Relaxed);
        self.exported.failed.fetch_add(rejected, Ordering::Relaxed);
    }

    async fn export_metrics(&self, gather: Gather, stop: &CancellationToken) {
        let Some(interval) = self.metrics_interval else { return };
        loop {
            let is_last = stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_none();
            let encoded = metrics::encode(&gather().await, &self.resource, self.started);
            let request = ExportMetricsServiceRequest { resource_metrics: vec![encoded] };
            // The next export has the newer values: this one is not repeated.
            self.send(&self.metrics, request.encode_to_vec(), 1, stop).await;
            if is_last {
                return;
            }
        }
    }

    /// The body of the answer; none if no attempt succeeded.
    async fn send(
        &self,
        url: &Url,
        body: Vec<u8>,
        attempts: u32,
        stop: &CancellationToken,
    ) -> Option<bytes::Bytes> {
        let body = bytes::Bytes::from(body);
        let mut delay = RETRY_DELAY;
        for attempt in 1.. {
            match self.post(url, body.clone()).await {
                Ok(answer) => {
                    if self.is_failing.swap(false, Ordering::Relaxed) {
                        tracing::info!("the telemetry receiver takes data again");
                    }
                    return Some(answer);
                }
                Err(Refused { reason, is_transient }) => {
                    if !self.is_failing.swap(true, Ordering::Relaxed) {
                        tracing::warn!(%reason, "telemetry is not exported; what waits is dropped when there is no room");
                    }
                    if !is_transient || attempt >= attempts {
                        return None;
                    }
                    stop.run_until_cancelled(tokio::time::sleep(delay)).await?;
                    delay *= 2;
                }
            }
        }
        None
    }

    async fn post(&self, url: &Url, body: bytes::Bytes) -> Result<bytes::Bytes, Refused> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(PROTOBUF));
        self.headers.add_to(&mut headers);
        let sent = self.client.post(url.clone()).headers(headers).body(body).send().await;
        let failed = |error: &reqwest::Error| Refused {
            reason: self.headers.redact(&causes(error)),
            is_transient: true,
        };
        let answer = sent.map_err(|error| failed(&error))?;
        let status = answer.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            self.headers.read_files_again();
        }
        if !status.is_success() {
            // OTLP names the statuses that may be retried.
            let is_transient = matches!(status.as_u16(), 429 | 502 | 503 | 504);
            let reason = format!("it answered {}", figures::status(status));
            return Err(Refused { reason, is_transient });
        }
        answer.bytes().await.map_err(|error| failed(&error))
    }
}

const PROTOBUF: &str = "application/x-protobuf";

struct Refused {
    reason: String,
    is_transient: bool,
}

/// The URL of a signal: `v1/<signal>` below the endpoint.
fn below(endpoint: &Url, signal: &str) -> Url {
    let mut url = endpoint.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["v1", signal]);
    }
    url
}

fn resource(service_name: &str) -> Resource {
    let attributes = [
        ("service.name", service_name.to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    Resource {
        attributes: attributes.into_iter().map(|(key, value)| attribute(key, value)).collect(),
        ..Resource::default()
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "sagabox".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn attribute(key: &str, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value)) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_below_the_endpoint() {
        for (endpoint, expected) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("https://example.org/otlp?k=1", "https://example.org/otlp/v1/traces?k=1"),
        ] {
            assert_eq!(below(&endpoint.parse().unwrap(), "traces").as_str(), expected);
        }
    }
}
