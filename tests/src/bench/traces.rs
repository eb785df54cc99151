//! The scenario `traces`: the same binary with and without traces of one event in a hundred, under
//! the same load, in turns.

use anyhow::Result;

use super::settings::Settings;
use super::versions;
use crate::host::Host;
use crate::otlp::Receiver;

/// The share of the events of which the host begins a trace.
const SAMPLE: f64 = 0.01;

/// # Errors
/// If a run fails.
pub async fn measure(settings: &Settings) -> Result<String> {
    let receiver = Receiver::start().await;
    let traced = format!("[telemetry]\nendpoint = \"{}\"\nsample = {SAMPLE}\n", receiver.url);
    let start = |plugin: &str| {
        let plain = || Host::builder().plugin(plugin);
        [plain().configuration(traced.clone()), plain()]
    };
    versions::beside(["1 % traced", "no traces", "traced is"], start, settings).await
}
