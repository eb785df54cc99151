//! All metrics. The table in `docs/operations.md` is compared with this list.

use super::Kind::{Counter, Gauge, Histogram};
use super::Metric;

macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            pub(crate) static $constant: Metric =
                Metric { name: $name, kind: $kind, labels: &[$($label),*], help: $help };
        )*
        /// Every metric, in the order of the documentation.
        #[cfg(test)]
        pub(crate) static ALL: &[&Metric] = &[$(&$constant),*];
    };
}

metrics! {
    UP: Gauge "sagabox_up" [] "1 while the host accepts events.";
    EVENTS: Counter "sagabox_events_total" ["outcome"] "Received events, by outcome: accepted, duplicate.";
    EVENTS_DIFFERING: Counter "sagabox_events_differing_total" []
        "Duplicates whose content differs from the accepted event with their source and id.";
    REQUESTS_REFUSED: Counter "sagabox_requests_refused_total" [] "Refused requests to POST /v1/events.";
    INGEST: Histogram "sagabox_ingest_seconds" []
        "Time from the body of a request to POST /v1/events until its events are durable.";
    LOG_POSITION: Gauge "sagabox_log_position" [] "The last position in the log.";
    COMMIT: Histogram "sagabox_commit_seconds" [] "Time of one commit of the store.";
    BALANCED: Gauge "sagabox_balanced" [] "1 if all sums of the accounts are correct.";
    EVENTS_UNTAKEN: Gauge "sagabox_events_untaken" []
        "Events of senders that no plugin took when they arrived.";
    SPANS: Counter "sagabox_spans_total" ["outcome"]
        "Spans: exported; failed, which the receiver refused; dropped, for which there was no room.";
    ALERTS: Counter "sagabox_alerts_total" ["kind"]
        "Alerts that were appended to the log, such as sink-down.";
    PLUGINS: Gauge "sagabox_plugins" [] "Plugins that serve.";
    PLUGIN_INFO: Gauge "sagabox_plugin_info" ["plugin", "version", "role", "digest"]
        "1 for each plugin that serves, with its version.";
    PLUGIN_REFUSED: Counter "sagabox_plugin_refused_total" [] "Refused component files.";
    PLUGIN_REPLACED: Counter "sagabox_plugin_replaced_total" []
        "Plugins that another version has replaced.";
    PLUGIN_EVENTS: Gauge "sagabox_plugin_events" ["plugin", "outcome"]
        "Events of a plugin, by current state: handled, ignored, held, parked, dead, discarded, pending.";
    PLUGIN_BEHIND: Gauge "sagabox_plugin_behind_events" ["plugin"]
        "Events of the log that a plugin has before it.";
    EVENTS_NOT_HELD: Counter "sagabox_plugin_events_not_held_total" ["plugin"]
        "Events that an instance has decided, and that were not held for further instances because of limits.held_bytes.";
    EVENT_AGE: Histogram "sagabox_event_age_seconds" ["plugin"]
        "Age of an event when a plugin is called for it first.";
    PLUGIN_CALL: Histogram "sagabox_plugin_call_seconds" ["plugin"]
        "Wall-clock time of a plugin's completed calls.";
    CANDIDATE_INFO: Gauge "sagabox_candidate_info" ["plugin", "version", "kind", "digest"]
        "1 for each candidate under trial, 0 for a withdrawn one.";
    CANDIDATE_CALLS: Counter "sagabox_candidate_calls_total" ["plugin", "version", "outcome"]
        "Calls of a candidate, by outcome: all, failed, differing, skipped, waited.";
    CANARY_WITHDRAWN: Counter "sagabox_canary_withdrawn_total" []
        "Canaries that the host withdrew because they failed too often.";
    LOOKUP_DOWN: Gauge "sagabox_lookup_down" ["lookup"] "1 for each lookup that is down.";
    SINK_MESSAGES: Gauge "sagabox_sink_messages" ["sink", "outcome"]
        "Messages of a sink, by current state: delivered, pending, parked, dead, discarded, compensated.";
    SINK_DOWN: Gauge "sagabox_sink_down" ["sink"] "1 for each sink that is down.";
    DELIVERY: Histogram "sagabox_delivery_seconds" ["sink"]
        "Time of one attempt to deliver; of a queue, until the worker acknowledges or gives back.";
    MESSAGE_AGE: Histogram "sagabox_message_age_seconds" ["sink"]
        "Age of a message when its sink has taken it, or when a worker leases it first.";
    QUEUE_MESSAGES: Gauge "sagabox_queue_messages" ["queue", "state"]
        "Messages in the host's queues: ready, leased.";
    OUTBOX_BYTES: Gauge "sagabox_outbox_bytes" ["sink"] "Bytes of messages of a sink in memory.";
    PAUSED: Gauge "sagabox_paused" ["kind", "name"]
        "Pauses, by what is paused: ingest, plugin, sink, type, or the keys of a plugin.";
    PAUSED_WAITING: Gauge "sagabox_paused_waiting" ["kind", "name"]
        "Events or messages that wait because of these pauses.";
    PAUSED_OLDEST: Gauge "sagabox_paused_oldest_seconds" ["kind", "name"]
        "Age of the oldest of these.";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a gauge's name may end in: a unit, or what is counted.
    const UNITS: [&str; 13] = [
        "seconds", "bytes", "events", "untaken", "messages", "plugins", "position", "info", "up",
        "down", "balanced", "paused", "waiting",
    ];

    #[test]
    fn names_say_what_they_measure() {
        for metric in ALL {
            let Metric { name, kind, labels, help } = metric;
            let rest = name.strip_prefix("sagabox_").expect("a name has our prefix");
            let unit = rest.rsplit('_').next().unwrap();
            let is_right = match kind {
                Counter => unit == "total",
                Histogram => unit == "seconds",
                Gauge => UNITS.contains(&unit),
            };
            assert!(is_right, "{name} is a {kind:?}");
            assert!(help.ends_with('.') && !help.contains(['\\', '\n', '|']), "{name}: {help}");
            assert!(labels.iter().all(|label| *label != "le"), "{name}");
            let same = ALL.iter().filter(|other| other.name == *name);
            assert_eq!(same.count(), 1, "{name} is declared once");
        }
    }

    #[test]
    fn the_documentation_has_the_table_of_all_metrics() {
        let mut table = "| name | kind | labels | meaning |\n|---|---|---|---|\n".to_owned();
        for Metric { name, kind, labels, help } in ALL.iter().copied() {
            let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>();
            let kind = kind.as_str();
            table += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let documented = std::fs::read_to_string(path).unwrap();
        assert!(documented.contains(&table), "docs/operations.md must have this table:\n{table}");
    }
}
