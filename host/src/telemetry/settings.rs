//! The settings of `[telemetry]`.

use std::time::Duration;

use axum::http::HeaderName;

use crate::io::secrets::Given;

/// The section `[telemetry]`, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetrySettings {
    /// The base URL of an OTLP/HTTP receiver.
    pub endpoint: Given,
    pub headers: Vec<(HeaderName, Given)>,
    pub timeout: Duration,
    /// The share of the events without a trace for which the host begins one: 0 to 1.
    pub sample: f64,
    pub service_name: String,
    /// The pause between two exports of the metrics; none if they are not exported.
    pub metrics_interval: Option<Duration>,
}
