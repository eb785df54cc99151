//! `GET /metrics`, and where the values of the metrics come from: the engine, the store, the
//! plugins, and what comes to `POST /v1/events`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, header};
use sagabox_engine::engine::{Measured, PauseStatus, Status};
use sagabox_engine::model::{Target, Timestamp};
use sagabox_engine::pure::histogram::Histogram;

use super::events::Summary;
use super::problem::Problem;
use super::{Shared, Site};
use crate::plugins::rollout::Counts;
use crate::plugins::status::{CandidateView, PluginStatus};
use crate::store::query::rows::Accounts;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::{Gathered, declared, text};
use crate::telemetry::otlp::Exported;

/// What came to `POST /v1/events` since the host started.
#[derive(Debug, Default)]
pub struct Traffic {
    accepted: AtomicU64,
    duplicates: AtomicU64,
    differing: AtomicU64,
    refused: AtomicU64,
    times: Histogram,
}

impl Traffic {
    /// Counts a request, and the time since its body was read.
    pub fn count(&self, offered: &Result<Summary, Problem>, took: Duration) {
        match offered {
            Ok(summary) => {
                self.accepted.fetch_add(summary.accepted as u64, Ordering::Relaxed);
                self.duplicates.fetch_add(summary.duplicates as u64, Ordering::Relaxed);
                self.differing.fetch_add(summary.differing as u64, Ordering::Relaxed);
                self.times.observe(took);
            }
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Traffic {
    pub fn differing(&self) -> u64 {
        self.differing.load(Ordering::Relaxed)
    }
}

pub(crate) async fn get(State(site): State<Shared>) -> ([(HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, text::MEDIA_TYPE)], gather(&site).await.to_text())
}

/// The current values of all metrics.
pub(crate) async fn gather(site: &Site) -> Gathered {
    let status = site.engine.status().await;
    // A store that cannot be read for a moment must not hide the rest.
    let accounts = site.queries.accounts().await.ok();
    let mut gathered = Gathered::default();
    gathered.add(&declared::UP, &[], u64::from(status.readiness.is_ok()));
    add_traffic(&mut gathered, &site.traffic);
    gathered.add(&declared::LOG_POSITION, &[], status.head.0);
    add_measured(&mut gathered, &site.engine.measured());
    for (plugin, lag) in site.engine.lags() {
        gathered.add(&declared::PLUGIN_BEHIND, &[plugin.as_str()], lag);
    }
    add_spans(&mut gathered, &site.telemetry);
    add_plugins(&mut gathered, &site.plugin_status);
    add_candidates(&mut gathered, &site.plugin_status.candidates());
    add_status(&mut gathered, &status);
    let pauses = site.engine.pauses().await;
    add_pauses(&mut gathered, &pauses, (site.access.clock)());
    if let Some(accounts) = accounts {
        add_accounts(&mut gathered, &accounts);
    }
    gathered
}

/// What operators hold back. Keys are counted by plugin: there may be many.
fn add_pauses(gathered: &mut Gathered, pauses: &[PauseStatus], today: Timestamp) {
    let mut groups: BTreeMap<(&'static str, String), (u64, u64, u64)> = BTreeMap::new();
    for PauseStatus { pause, waiting, oldest } in pauses {
        let (kind, name) = match &pause.target {
            Target::Key { plugin, .. } => ("key", plugin.to_string()),
            other => other.kind_and_name(),
        };
        let (count, rows, age) = groups.entry((kind, name)).or_default();
        *count += 1;
        *rows += waiting.unwrap_or_default();
        *age = (*age).max(oldest.map_or(0, |oldest| today.since(oldest).as_secs()));
    }
    for ((kind, name), (count, rows, age)) in &groups {
        let labels = [*kind, name.as_str()];
        gathered.add(&declared::PAUSED, &labels, *count);
        gathered.add(&declared::PAUSED_WAITING, &labels, *rows);
        gathered.add(&declared::PAUSED_OLDEST, &labels, *age);
    }
}

fn add_traffic(gathered: &mut Gathered, traffic: &Traffic) {
    let accepted = traffic.accepted.load(Ordering::Relaxed);
    gathered.add(&declared::EVENTS, &["accepted"], accepted);
    let duplicates = traffic.duplicates.load(Ordering::Relaxed);
    gathered.add(&declared::EVENTS, &["duplicate"], duplicates);
    gathered.add(&declared::EVENTS_DIFFERING, &[], traffic.differing());
    let refused = traffic.refused.load(Ordering::Relaxed);
    gathered.add(&declared::REQUESTS_REFUSED, &[], refused);
    gathered.add_times(&declared::INGEST, &[], traffic.times.distribution());
}

fn add_measured(gathered: &mut Gathered, measured: &Measured) {
    gathered.add_times(&declared::COMMIT, &[], measured.commit);
    for (plugin, age) in &measured.event_age {
        gathered.add_times(&declared::EVENT_AGE, &[plugin.as_str()], *age);
    }
    for (plugin, count) in &measured.not_held {
        gathered.add(&declared::EVENTS_NOT_HELD, &[plugin.as_str()], *count);
    }
    for (sink, times) in &measured.sinks {
        gathered.add_times(&declared::DELIVERY, &[sink.as_str()], times.delivery);
        gathered.add_times(&declared::MESSAGE_AGE, &[sink.as_str()], times.message_age);
    }
}

/// What became of spans, and the alerts.
fn add_spans(gathered: &mut Gathered, telemetry: &Telemetry) {
    let Exported { sent, failed } = &*telemetry.exported;
    for (outcome, count) in [
        ("exported", sent.load(Ordering::Relaxed)),
        ("failed", failed.load(Ordering::Relaxed)),
        ("dropped", telemetry.spans.dropped()),
    ] {
        gathered.add(&declared::SPANS, &[outcome], count);
    }
    for (kind, count) in telemetry.alerts() {
        gathered.add(&declared::ALERTS, &[kind], count);
    }
}

/// What serves, and what became of files.
fn add_plugins(gathered: &mut Gathered, plugin_status: &PluginStatus) {
    let serving = plugin_status.serving();
    gathered.add(&declared::PLUGINS, &[], serving.len() as u64);
    for plugin in &serving {
        let manifest = &plugin.manifest;
        let (name, role) = (manifest.name.as_str(), manifest.role.as_str());
        let labels = [name, &*manifest.version, role, &plugin.digest];
        gathered.add(&declared::PLUGIN_INFO, &labels, 1);
    }
    let totals = plugin_status.totals();
    gathered.add(&declared::PLUGIN_REFUSED, &[], totals.refusals);
    gathered.add(&declared::PLUGIN_REPLACED, &[], totals.replacements);
    gathered.add(&declared::CANARY_WITHDRAWN, &[], totals.withdrawals);
}

/// Calls of plugins, and what waits for workers, sinks and lookups.
fn add_status(gathered: &mut Gathered, status: &Status) {
    for (plugin, times) in &status.calls {
        gathered.add_times(&declared::PLUGIN_CALL, &[plugin.as_str()], *times);
    }
    for queue in &status.queues {
        for (state, count) in [("ready", queue.ready), ("leased", queue.leased)] {
            gathered.add(&declared::QUEUE_MESSAGES, &[&queue.queue, state], count as u64);
        }
    }
    for down in &status.sinks_down {
        gathered.add(&declared::SINK_DOWN, &[down.sink.as_str()], 1);
    }
    for down in &status.lookups_down {
        gathered.add(&declared::LOOKUP_DOWN, &[down.lookup.as_str()], 1);
    }
    for (sink, bytes) in &status.outbox_bytes {
        gathered.add(&declared::OUTBOX_BYTES, &[sink.as_str()], *bytes as u64);
    }
}

/// Guarantee 7: the outcomes of a plugin add up to what it received.
fn add_accounts(gathered: &mut Gathered, accounts: &Accounts) {
    gathered.add(&declared::BALANCED, &[], u64::from(accounts.balanced));
    let untaken = accounts.untaken.iter().map(|untaken| untaken.events).sum();
    gathered.add(&declared::EVENTS_UNTAKEN, &[], untaken);
    for plugin in &accounts.plugins {
        for (outcome, count) in [
            ("handled", plugin.handled),
            ("ignored", plugin.ignored),
            ("held", plugin.held),
            ("parked", plugin.parked),
            ("dead", plugin.dead),
            ("discarded", plugin.discarded),
            ("pending", plugin.pending),
        ] {
            gathered.add(&declared::PLUGIN_EVENTS, &[plugin.plugin.as_str(), outcome], count);
        }
    }
    for sink in &accounts.sinks {
        for (outcome, count) in [
            ("delivered", sink.delivered),
            ("pending", sink.pending),
            ("parked", sink.parked),
            ("dead", sink.dead),
            ("discarded", sink.discarded),
            ("compensated", sink.compensated),
        ] {
            gathered.add(&declared::SINK_MESSAGES, &[sink.sink.as_str(), outcome], count);
        }
    }
}

fn add_candidates(gathered: &mut Gathered, candidates: &[CandidateView]) {
    for candidate in candidates {
        let (plugin, version) = (candidate.plugin.as_str(), candidate.version.as_str());
        let labels = [plugin, version, candidate.kind, &candidate.digest];
        let is_tried = candidate.status == "tried";
        gathered.add(&declared::CANDIDATE_INFO, &labels, u64::from(is_tried));
        let Counts { calls, failed, differing, skipped, waited } = candidate.counts;
        for (outcome, count) in [
            ("all", calls),
            ("failed", failed),
            ("differing", differing),
            ("skipped", skipped),
            ("waited", waited),
        ] {
            gathered.add(&declared::CANDIDATE_CALLS, &[plugin, version, outcome], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::{Pause, Position, QueueStatus};
    use sagabox_engine::pure::histogram::Distribution;

    use super::*;

    #[test]
    fn keys_that_are_paused_are_counted_by_plugin() {
        let pause = |target, waiting, oldest| PauseStatus {
            pause: Pause {
                target,
                by: String::new(),
                reason: String::new(),
                since: Timestamp(0),
                end: None,
            },
            waiting,
            oldest,
        };
        let key = |key: &str| Target::Key { plugin: "p".into(), key: key.into() };
        let pauses = [
            pause(key("a"), Some(2), Some(Timestamp(1_000))),
            pause(key("b"), Some(3), Some(Timestamp(500))),
            pause(Target::Ingest, None, None),
        ];
        let mut gathered = Gathered::default();
        add_pauses(&mut gathered, &pauses, Timestamp(3_000));
        let text = gathered.to_text();
        for line in [
            r#"sagabox_paused{kind="key",name="p"} 2"#,
            r#"sagabox_paused{kind="ingest",name=""} 1"#,
            r#"sagabox_paused_waiting{kind="key",name="p"} 5"#,
            r#"sagabox_paused_oldest_seconds{kind="key",name="p"} 2"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_label_cannot_break_the_page() {
        let queue = "a\"b\\\nc".to_owned();
        let queue = QueueStatus { queue, ready: 3, leased: 0, workers: Vec::new() };
        let mut calls = Distribution::default();
        calls.observe(Duration::from_millis(1500));
        let status = Status {
            readiness: Ok(()),
            head: Position(7),
            queues: vec![queue],
            sinks_down: Vec::new(),
            lookups_down: Vec::new(),
            outbox_bytes: [("web".into(), 4096)].into(),
            calls: vec![("p".into(), calls)],
        };
        let traffic = Traffic::default();
        let offered = Ok(Summary { accepted: 5, duplicates: 2, differing: 1 });
        traffic.count(&offered, Duration::from_micros(100));
        let mut gathered = Gathered::default();
        add_traffic(&mut gathered, &traffic);
        add_status(&mut gathered, &status);
        let text = gathered.to_text();
        for line in [
            r#"sagabox_queue_messages{queue="a\"b\\\nc",state="ready"} 3"#,
            r#"sagabox_events_total{outcome="accepted"} 5"#,
            "sagabox_events_differing_total 1",
            r#"sagabox_ingest_seconds_bucket{le="0.0001"} 1"#,
            r#"sagabox_outbox_bytes{sink="web"} 4096"#,
            r#"sagabox_plugin_call_seconds_bucket{plugin="p",le="1"} 0"#,
            r#"sagabox_plugin_call_seconds_bucket{plugin="p",le="2.5"} 1"#,
            r#"sagabox_plugin_call_seconds_bucket{plugin="p",le="+Inf"} 1"#,
            r#"sagabox_plugin_call_seconds_sum{plugin="p"} 1.5"#,
            r#"sagabox_plugin_call_seconds_count{plugin="p"} 1"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
