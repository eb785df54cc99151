//! `GET /metrics` in the Prometheus text format, written by hand: a few gauges
//! from the engine's status and counters of the door.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{HeaderName, header};
use sagabox_engine::engine::Status;

use super::Shared;
use super::events::Summary;
use super::problem::Problem;
use crate::plugins::rollout::Counts;
use crate::plugins::status::{CandidateView, PluginStatus};
use crate::store::query::rows::Accounts;

const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What came to `POST /v1/events` since the host started.
#[derive(Debug, Default)]
pub struct Traffic {
    accepted: AtomicU64,
    duplicates: AtomicU64,
    differing: AtomicU64,
    refused: AtomicU64,
}

impl Traffic {
    pub fn count(&self, offered: &Result<Summary, Problem>) {
        match offered {
            Ok(summary) => {
                self.accepted.fetch_add(summary.accepted as u64, Ordering::Relaxed);
                self.duplicates.fetch_add(summary.duplicates as u64, Ordering::Relaxed);
                self.differing.fetch_add(summary.differing as u64, Ordering::Relaxed);
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
    let status = site.engine.status().await;
    // A store that cannot be read for a moment must not hide the rest.
    let accounts = site.queries.accounts().await.ok();
    let text = render(&status, &site.traffic, &site.plugin_status, accounts.as_ref());
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], text)
}

fn render(
    status: &Status,
    traffic: &Traffic,
    plugin_status: &PluginStatus,
    accounts: Option<&Accounts>,
) -> String {
    let mut page = Page(String::with_capacity(1024));
    page.head("sagabox_up", "gauge", "1 while the host accepts events.");
    page.sample("sagabox_up", &[], u8::from(status.readiness.is_ok()));
    page.traffic(traffic);
    page.head("sagabox_log_position", "gauge", "The last position in the log.");
    page.sample("sagabox_log_position", &[], status.head);
    page.plugins(plugin_status);
    page.candidates(&plugin_status.candidates());
    page.calls(status);
    page.deliveries(status);
    if let Some(accounts) = accounts {
        page.accounts(accounts);
    }
    page.0
}

struct Page(String);

impl Page {
    /// What came to `POST /v1/events`.
    fn traffic(&mut self, traffic: &Traffic) {
        self.head("sagabox_events_total", "counter", "Received events, by outcome.");
        let accepted = traffic.accepted.load(Ordering::Relaxed);
        self.sample("sagabox_events_total", &[("outcome", "accepted")], accepted);
        let duplicates = traffic.duplicates.load(Ordering::Relaxed);
        self.sample("sagabox_events_total", &[("outcome", "duplicate")], duplicates);
        self.head(
            "sagabox_events_differing_total",
            "counter",
            "Duplicates whose content differs from the accepted event with their source and id.",
        );
        self.sample("sagabox_events_differing_total", &[], traffic.differing());
        self.head(
            "sagabox_requests_refused_total",
            "counter",
            "Refused requests to POST /v1/events.",
        );
        self.sample("sagabox_requests_refused_total", &[], traffic.refused.load(Ordering::Relaxed));
    }

    /// What serves, and what became of files.
    fn plugins(&mut self, plugin_status: &PluginStatus) {
        self.head("sagabox_plugins", "gauge", "Plugins that serve.");
        let serving = plugin_status.serving();
        self.sample("sagabox_plugins", &[], serving.len());
        self.head(
            "sagabox_plugin_info",
            "gauge",
            "1 for each plugin that serves, with its version.",
        );
        for plugin in &serving {
            let manifest = &plugin.manifest;
            let labels = [
                ("plugin", manifest.name.as_str()),
                ("version", &*manifest.version),
                ("role", manifest.role.as_str()),
                ("digest", &plugin.digest),
            ];
            self.sample("sagabox_plugin_info", &labels, 1);
        }
        let totals = plugin_status.totals();
        self.head("sagabox_plugin_refused_total", "counter", "Refused component files.");
        self.sample("sagabox_plugin_refused_total", &[], totals.refusals);
        self.head(
            "sagabox_plugin_replaced_total",
            "counter",
            "Plugins that another version has replaced.",
        );
        self.sample("sagabox_plugin_replaced_total", &[], totals.replacements);
        self.head(
            "sagabox_canary_withdrawn_total",
            "counter",
            "Canaries that the host withdrew because they failed too often.",
        );
        self.sample("sagabox_canary_withdrawn_total", &[], totals.withdrawals);
    }

    /// How often, and how long, plugins were called.
    fn calls(&mut self, status: &Status) {
        self.head("sagabox_plugin_calls_total", "counter", "Completed calls of a plugin.");
        for (plugin, totals) in &status.calls {
            let labels = [("plugin", plugin.as_str())];
            self.sample("sagabox_plugin_calls_total", &labels, totals.calls);
        }
        self.head(
            "sagabox_plugin_call_seconds_total",
            "counter",
            "Wall-clock time of a plugin's completed calls.",
        );
        for (plugin, totals) in &status.calls {
            let labels = [("plugin", plugin.as_str())];
            self.sample("sagabox_plugin_call_seconds_total", &labels, totals.time.as_secs_f64());
        }
    }

    /// What waits for workers, sinks and lookups.
    fn deliveries(&mut self, status: &Status) {
        self.head("sagabox_queue_messages", "gauge", "Messages in the host's queues.");
        for queue in &status.queues {
            for (state, count) in [("ready", queue.ready), ("leased", queue.leased)] {
                let labels = [("queue", queue.queue.as_str()), ("state", state)];
                self.sample("sagabox_queue_messages", &labels, count);
            }
        }
        self.head("sagabox_sink_down", "gauge", "1 for each sink that is down.");
        for down in &status.sinks_down {
            self.sample("sagabox_sink_down", &[("sink", down.sink.as_str())], 1);
        }
        self.head("sagabox_lookup_down", "gauge", "1 for each lookup that is down.");
        for down in &status.lookups_down {
            self.sample("sagabox_lookup_down", &[("lookup", down.lookup.as_str())], 1);
        }
        self.head("sagabox_outbox_bytes", "gauge", "Bytes of messages of a sink in memory.");
        for (sink, bytes) in &status.outbox_bytes {
            self.sample("sagabox_outbox_bytes", &[("sink", sink.as_str())], bytes);
        }
    }

    /// Guarantee 7: the outcomes of a plugin add up to what it received.
    fn accounts(&mut self, accounts: &Accounts) {
        self.head("sagabox_balanced", "gauge", "1 if all sums of the accounts are correct.");
        self.sample("sagabox_balanced", &[], u8::from(accounts.balanced));
        self.head(
            "sagabox_events_untaken",
            "gauge",
            "Events of senders that no plugin took when they arrived.",
        );
        let untaken = accounts.untaken.iter().map(|untaken| untaken.events).sum::<u64>();
        self.sample("sagabox_events_untaken", &[], untaken);
        self.head("sagabox_plugin_events", "gauge", "Events of a plugin, by current state.");
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
                let labels = [("plugin", plugin.plugin.as_str()), ("outcome", outcome)];
                self.sample("sagabox_plugin_events", &labels, count);
            }
        }
        self.head("sagabox_sink_messages", "gauge", "Messages of a sink, by current state.");
        for sink in &accounts.sinks {
            for (outcome, count) in [
                ("delivered", sink.delivered),
                ("pending", sink.pending),
                ("parked", sink.parked),
                ("dead", sink.dead),
                ("discarded", sink.discarded),
                ("compensated", sink.compensated),
            ] {
                let labels = [("sink", sink.sink.as_str()), ("outcome", outcome)];
                self.sample("sagabox_sink_messages", &labels, count);
            }
        }
    }

    fn candidates(&mut self, candidates: &[CandidateView]) {
        self.head(
            "sagabox_candidate_info",
            "gauge",
            "1 for each candidate under trial, 0 for a withdrawn one.",
        );
        for candidate in candidates {
            let labels = [
                ("plugin", candidate.plugin.as_str()),
                ("version", candidate.version.as_str()),
                ("kind", candidate.kind),
                ("digest", candidate.digest.as_str()),
            ];
            self.sample("sagabox_candidate_info", &labels, u8::from(candidate.status == "tried"));
        }
        self.head("sagabox_candidate_calls_total", "counter", "Calls of a candidate, by outcome.");
        for candidate in candidates {
            let Counts { calls, failed, differing, skipped, waited } = candidate.counts;
            for (outcome, count) in [
                ("all", calls),
                ("failed", failed),
                ("differing", differing),
                ("skipped", skipped),
                ("waited", waited),
            ] {
                let labels = [
                    ("plugin", candidate.plugin.as_str()),
                    ("version", candidate.version.as_str()),
                    ("outcome", outcome),
                ];
                self.sample("sagabox_candidate_calls_total", &labels, count);
            }
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use sagabox_engine::engine::CallTotals;
    use sagabox_engine::model::Position;
    use sagabox_engine::model::QueueStatus;

    use super::*;

    #[test]
    fn a_label_cannot_break_the_page() {
        let queue = QueueStatus { queue: "a\"b\\\nc".to_owned(), ready: 3, leased: 0 };
        let calls = CallTotals { calls: 3, time: std::time::Duration::from_millis(1500) };
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
        traffic.count(&Ok(Summary { accepted: 5, duplicates: 2, differing: 1 }));
        let text = render(&status, &traffic, &PluginStatus::default(), None);
        for line in [
            r#"sagabox_queue_messages{queue="a\"b\\\nc",state="ready"} 3"#,
            r#"sagabox_events_total{outcome="accepted"} 5"#,
            "sagabox_events_differing_total 1",
            "sagabox_log_position 7",
            r#"sagabox_outbox_bytes{sink="web"} 4096"#,
            r#"sagabox_plugin_calls_total{plugin="p"} 3"#,
            r#"sagabox_plugin_call_seconds_total{plugin="p"} 1.5"#,
            "sagabox_up 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
