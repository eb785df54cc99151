//! Reports about the host for other systems: metrics, traces and their export by OTLP.

pub(crate) mod arrivals;
pub(crate) mod metrics;
pub(crate) mod otlp;
mod sampler;
pub(crate) mod settings;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sagabox_engine::engine::{Span, Spans};
use tokio::sync::mpsc;

use self::arrivals::Arrivals;
use self::otlp::Exported;
use self::sampler::Sampler;
use self::settings::TelemetrySettings;
use crate::io::locks::lock;

/// Spans that wait for the exporter: some seconds of a busy host, about 8 MB.
const SPANS_MAX: usize = 16_384;

/// What a serving host reports, and the counts of it.
pub struct Telemetry {
    pub(crate) arrivals: Arrivals,
    pub(crate) spans: Spans,
    pub(crate) exported: Arc<Exported>,
    /// The alerts that were sent, by kind.
    alerts: Mutex<BTreeMap<&'static str, u64>>,
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
        let alerts = Mutex::default();
        (Self { arrivals, spans, exported: Arc::default(), alerts }, receiver)
    }

    pub(crate) fn count_alert(&self, kind: &'static str) {
        *lock(&self.alerts).entry(kind).or_default() += 1;
    }

    pub(crate) fn alerts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.alerts).clone()
    }
}
