//! What the host tells other systems about itself: metrics, traces and their export by OTLP.

pub(crate) mod arrivals;
pub(crate) mod metrics;
pub(crate) mod otlp;
mod sampler;

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderName;
use sagabox_engine::engine::{Span, Spans};
use tokio::sync::mpsc;

use self::arrivals::Arrivals;
use self::otlp::Exported;
use self::sampler::Sampler;
use crate::io::secrets::Given;

/// Spans that wait for the exporter: some seconds of a busy host, about 8 MB.
const SPANS_MAX: usize = 16_384;

/// The section `[telemetry]`, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetrySettings {
    /// The base URL of an OTLP/HTTP receiver.
    pub endpoint: Given,
    pub headers: Vec<(HeaderName, Given)>,
    pub timeout: Duration,
    /// The share of the events without a trace of which the host begins one: 0 to 1.
    pub sample: f64,
    pub service_name: String,
    /// Between two exports of the metrics; none if they are not exported.
    pub metrics_interval: Option<Duration>,
}

/// What a host that serves reports, and what became of it.
pub struct Telemetry {
    pub(crate) arrivals: Arrivals,
    pub(crate) spans: Spans,
    pub(crate) exported: Arc<Exported>,
}

impl Telemetry {
    /// With the receiver of the spans, if they are exported.
    pub(crate) fn new(
        settings: Option<&TelemetrySettings>,
    ) -> (Self, Option<mpsc::Receiver<Span>>) {
        let (spans, receiver) = match settings {
            Some(_) => {
                let (spans, receiver) = Spans::channel(SPANS_MAX);
                (spans, Some(receiver))
            }
            None => (Spans::default(), None),
        };
        let sampler = Sampler::new(settings.map_or(0.0, |settings| settings.sample));
        let arrivals = Arrivals::new(spans.clone(), sampler);
        (Self { arrivals, spans, exported: Arc::default() }, receiver)
    }
}
