//! A receiver of OTLP over HTTP that remembers all spans and metrics, and a foreign collector that
//! can stand between a host and it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1 as proto;
use prost::Message as _;

use crate::paths;

/// A span, with its ids in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty for the first span of a trace.
    pub parent: String,
    pub name: String,
    pub kind: i32,
    pub times: (u64, u64),
    /// Traces and ids.
    pub links: Vec<(String, String)>,
    pub attributes: BTreeMap<String, String>,
    pub failed: Option<String>,
    pub service: String,
}

#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    /// Of each metric, the newest number of values: of points, or of what a histogram counted.
    metrics: BTreeMap<String, u64>,
    headers: Vec<HeaderMap>,
    status: Option<StatusCode>,
    junk: Vec<String>,
}

/// An HTTP server on a free port of this machine.
pub struct Receiver {
    pub url: String,
    received: Arc<Mutex<Received>>,
    server: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// # Panics
    /// If no port can be opened.
    pub async fn start() -> Self {
        let received = Arc::new(Mutex::new(Received::default()));
        let app = Router::new().fallback(receive).with_state(Arc::clone(&received));
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let server = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("the receiver serves until it is dropped");
        });
        Self { url: format!("http://{address}"), received, server }
    }

    /// Answers all requests with this status, and takes nothing.
    pub fn answer_with(&self, status: StatusCode) {
        self.received().status = Some(status);
    }

    /// # Panics
    /// If something came that is not of the protocol.
    pub fn spans(&self) -> Vec<Span> {
        let received = self.received();
        assert!(received.junk.is_empty(), "the receiver got something else: {:?}", received.junk);
        received.spans.clone()
    }

    pub fn metrics(&self) -> BTreeMap<String, u64> {
        self.received().metrics.clone()
    }

    /// The headers of every request.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.received().headers.clone()
    }

    fn received(&self) -> std::sync::MutexGuard<'_, Received> {
        self.received.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(received): State<Arc<Mutex<Received>>>,
    headers: HeaderMap,
    uri: Uri,
    body: Bytes,
) -> (StatusCode, Vec<u8>) {
    let mut received = received.lock().expect("no holder of this lock panics");
    let is_protobuf = headers.get("content-type").is_some_and(|h| h == "application/x-protobuf");
    received.headers.push(headers);
    if let Some(status) = received.status {
        return (status, Vec::new());
    }
    let body = unpacked(&received.headers, body);
    match uri.path() {
        "/v1/traces" if is_protobuf => match ExportTraceServiceRequest::decode(body) {
            Ok(request) => received.spans.extend(spans(request)),
            Err(error) => received.junk.push(error.to_string()),
        },
        "/v1/metrics" if is_protobuf => match ExportMetricsServiceRequest::decode(body) {
            Ok(request) => received.metrics.extend(metrics(request)),
            Err(error) => received.junk.push(error.to_string()),
        },
        other => received.junk.push(format!("{other} is not a path of the protocol")),
    }
    // The empty message says that everything was taken.
    (StatusCode::OK, Vec::new())
}

/// Collectors compress what they send.
fn unpacked(headers: &[HeaderMap], body: Bytes) -> Bytes {
    let is_packed = |headers: &HeaderMap| headers.get("content-encoding").is_some();
    if !headers.last().is_some_and(is_packed) {
        return body;
    }
    let mut plain = Vec::new();
    let read = flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain);
    read.expect("the collector uses gzip");
    plain.into()
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut all = Vec::new();
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.map(|resource| resource.attributes);
        let resource = attributes(resource.unwrap_or_default());
        let service = resource.get("service.name").cloned().unwrap_or_default();
        let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        all.extend(spans.map(|span| one(span, &service)));
    }
    all
}

fn one(span: proto::Span, service: &str) -> Span {
    let status = span.status.unwrap_or_default();
    let has_failed = status.code == proto::status::StatusCode::Error as i32;
    Span {
        trace: hexadecimal(&span.trace_id),
        id: hexadecimal(&span.span_id),
        parent: hexadecimal(&span.parent_span_id),
        name: span.name,
        kind: span.kind,
        times: (span.start_time_unix_nano, span.end_time_unix_nano),
        links: span
            .links
            .iter()
            .map(|link| (hexadecimal(&link.trace_id), hexadecimal(&link.span_id)))
            .collect(),
        attributes: attributes(span.attributes),
        failed: has_failed.then_some(status.message),
        service: service.to_owned(),
    }
}

fn metrics(request: ExportMetricsServiceRequest) -> BTreeMap<String, u64> {
    let scopes = request.resource_metrics.into_iter().flat_map(|of| of.scope_metrics);
    let metrics = scopes.flat_map(|scope| scope.metrics);
    let count = |data: Option<Data>| match data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len() as u64,
        Some(Data::Sum(sum)) => sum.data_points.len() as u64,
        Some(Data::Histogram(histogram)) => {
            histogram.data_points.iter().map(|point| point.count).sum()
        }
        _ => 0,
    };
    metrics.map(|metric| (metric.name, count(metric.data))).collect()
}

fn attributes(all: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |KeyValue { key, value, .. }| match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => (key, text),
        other => (key, format!("{other:?}")),
    };
    all.into_iter().map(text).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Rotel, a collector of other authors, which sends on what it receives.
pub struct Collector {
    pub url: String,
    process: Child,
}

/// The version that is fetched from `PyPI`.
const ROTEL: &str = "rotel==0.0.1a15";

impl Collector {
    /// Starts it between a host and a receiver.
    ///
    /// # Panics
    /// If it cannot be fetched or started.
    pub fn start(receiver: &Receiver) -> Self {
        let ports: Vec<u16> = (0..2).map(|_| free_port()).collect();
        let process = Command::new(rotel())
            .args(["start", "--exporter", "otlp", "--otlp-exporter-protocol", "http"])
            .args(["--otlp-exporter-endpoint", &receiver.url, "--batch-timeout", "100ms"])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{}", ports[0])])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{}", ports[1])])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the collector starts");
        Self { url: format!("http://127.0.0.1:{}", ports[0]), process }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The port is free when this returns.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// The program, in a virtual environment that is made with the first use.
fn rotel() -> PathBuf {
    let folder = paths::target().join("tests").join(ROTEL);
    if !folder.join("bin").is_dir() {
        std::fs::create_dir_all(folder.parent().expect("it has one")).expect("a folder");
        // Another process may make it at the same time: the first one's stays.
        let own = folder.with_extension(std::process::id().to_string());
        let ran = |command: &mut Command| {
            let status = command.status().expect("Python 3 with venv is installed");
            assert!(status.success(), "{command:?} failed: {status}");
        };
        ran(Command::new("python3").args(["-m", "venv"]).arg(&own));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROTEL];
        ran(Command::new(own.join("bin/python")).args(pip));
        let _ = std::fs::rename(&own, &folder);
    }
    let find = "import rotel, pathlib; print(pathlib.Path(rotel.__file__).parent / 'rotel-agent')";
    let found = Command::new(folder.join("bin/python")).args(["-c", find]).output();
    let found = found.expect("the environment has Python").stdout;
    PathBuf::from(String::from_utf8(found).expect("a path is text").trim())
}
