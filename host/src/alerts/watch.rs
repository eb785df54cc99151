//! Pure: which alerts are due, from what is observed of the host and from earlier alerts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sagabox_engine::engine::DeadLetters;
use sagabox_engine::model::{PluginName, SinkName};
use sagabox_engine::pure::identity::ALERT_PLUGIN;
use serde_json::{Value, json};

/// What an alert is about. The event type is `sagabox.alert.` and the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    DeadLetter,
    SinkDown,
    LookupDown,
    Lag,
    CanaryWithdrawn,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetter => "dead-letter",
            Self::SinkDown => "sink-down",
            Self::LookupDown => "lookup-down",
            Self::Lag => "lag",
            Self::CanaryWithdrawn => "canary-withdrawn",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alert {
    pub kind: Kind,
    /// Distinguishes it from other alerts of its kind.
    pub cause: String,
    /// The plugin, sink or lookup: the event's subject.
    pub subject: String,
    /// `docs/alerts.schema.json` describes it.
    pub data: Value,
}

/// The state of the host, as far as alerts are about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// Dead letters since the host started.
    pub dead_letters: BTreeMap<(PluginName, Option<SinkName>), DeadLetters>,
    pub sinks: Vec<Down>,
    pub lookups: Vec<Down>,
    /// How many events each plugin is behind the log.
    pub lags: Vec<(PluginName, u64)>,
    pub withdrawals: Vec<Withdrawal>,
}

/// A sink or lookup that is down.
#[derive(Clone, Debug)]
pub(crate) struct Down {
    pub name: String,
    pub since: String,
    pub reason: String,
}

/// A canary that the host withdrew.
#[derive(Clone, Debug)]
pub(crate) struct Withdrawal {
    pub plugin: String,
    pub version: String,
    pub digest: String,
    pub at: String,
    pub reason: String,
}

pub(crate) struct Watch {
    period: Duration,
    lag_events: Option<u64>,
    /// When each cause last had an alert, and how many dead letters that counted.
    alerted: BTreeMap<(Kind, String), Alerted>,
}

#[derive(Clone, Copy)]
struct Alerted {
    /// None: the next look makes an alert again.
    at: Option<Instant>,
    count: u64,
}

impl Watch {
    pub(crate) fn new(period: Duration, lag_events: Option<u64>) -> Self {
        Self { period, lag_events, alerted: BTreeMap::new() }
    }

    /// The alerts that are due now. They count as sent.
    pub(crate) fn due(&mut self, observed: &Observed, now: Instant) -> Vec<Alert> {
        let mut due = Vec::new();
        for ((plugin, sink), dead_letters) in &observed.dead_letters {
            // The message of an alert: another alert about it could fail as well.
            if plugin.as_str() != ALERT_PLUGIN {
                due.extend(self.dead_letters(plugin, sink.as_ref(), dead_letters, now));
            }
        }
        for (kind, name, all) in [
            (Kind::SinkDown, "sink", &observed.sinks),
            (Kind::LookupDown, "lookup", &observed.lookups),
        ] {
            for Down { name: subject, since, reason } in all {
                let data = json!({name: subject, "since": since, "reason": reason});
                due.extend(self.alert(kind, subject.clone(), subject, data, now));
            }
        }
        for (plugin, events) in &observed.lags {
            let Some(threshold) = self.lag_events.filter(|threshold| events >= threshold) else {
                continue;
            };
            let data = json!({"plugin": plugin.as_str(), "events": events, "threshold": threshold});
            due.extend(self.alert(Kind::Lag, plugin.to_string(), plugin.as_str(), data, now));
        }
        for withdrawal in &observed.withdrawals {
            due.extend(self.withdrawal(withdrawal, now));
        }
        due
    }

    fn dead_letters(
        &mut self,
        plugin: &PluginName,
        sink: Option<&SinkName>,
        dead_letters: &DeadLetters,
        now: Instant,
    ) -> Option<Alert> {
        let sink = sink.map(SinkName::as_str);
        let cause = format!("{plugin}\n{}", sink.unwrap_or_default());
        let known =
            self.alerted.get(&(Kind::DeadLetter, cause.clone())).map_or(0, |alerted| alerted.count);
        let fresh = dead_letters.count.checked_sub(known).filter(|fresh| *fresh > 0)?;
        let data = json!({
            "plugin": plugin.as_str(), "sink": sink, "dead_letters": fresh,
            "last_reason": dead_letters.last_reason,
        });
        let alert = self.alert(Kind::DeadLetter, cause.clone(), plugin.as_str(), data, now)?;
        self.alerted
            .entry((Kind::DeadLetter, cause))
            .and_modify(|alerted| alerted.count = dead_letters.count);
        Some(alert)
    }

    /// Each has one alert: it stays on record.
    fn withdrawal(&mut self, withdrawal: &Withdrawal, now: Instant) -> Option<Alert> {
        let Withdrawal { plugin, version, digest, at, reason } = withdrawal;
        let cause = format!("{plugin}\n{digest}\n{at}");
        let alerted = self.alerted.get(&(Kind::CanaryWithdrawn, cause.clone()));
        if alerted.is_some_and(|alerted| alerted.at.is_some()) {
            return None;
        }
        let data = json!({"plugin": plugin, "version": version, "at": at, "reason": reason});
        self.alert(Kind::CanaryWithdrawn, cause, plugin, data, now)
    }

    fn alert(
        &mut self,
        kind: Kind,
        cause: String,
        subject: &str,
        data: Value,
        now: Instant,
    ) -> Option<Alert> {
        let alerted =
            self.alerted.entry((kind, cause.clone())).or_insert(Alerted { at: None, count: 0 });
        if alerted.at.is_some_and(|at| now.saturating_duration_since(at) < self.period) {
            return None;
        }
        alerted.at = Some(now);
        Some(Alert { kind, cause, subject: subject.to_owned(), data })
    }

    /// The alert could not be appended: it is due again.
    pub(crate) fn forget(&mut self, alert: &Alert) {
        if let Some(alerted) = self.alerted.get_mut(&(alert.kind, alert.cause.clone())) {
            let fresh = alert.data["dead_letters"].as_u64().unwrap_or(0);
            *alerted = Alerted { at: None, count: alerted.count.saturating_sub(fresh) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(60);

    fn dead_letters(count: u64) -> DeadLetters {
        DeadLetters { count, last_reason: format!("reason {count}") }
    }

    fn down(name: &str) -> Down {
        Down {
            name: name.to_owned(),
            since: "2026-01-31T12:00:00.000Z".to_owned(),
            reason: "no".to_owned(),
        }
    }

    fn everything() -> Observed {
        let withdrawal = Withdrawal {
            plugin: "p".to_owned(),
            version: "2".to_owned(),
            digest: "d".to_owned(),
            at: "2026-01-31T12:00:00.000Z".to_owned(),
            reason: "it failed".to_owned(),
        };
        Observed {
            dead_letters: [
                (("p".into(), None), dead_letters(1)),
                (("p".into(), Some("web".into())), dead_letters(2)),
                ((ALERT_PLUGIN.into(), Some("ops".into())), dead_letters(9)),
            ]
            .into(),
            sinks: vec![down("web")],
            lookups: vec![down("stock")],
            lags: vec![("p".into(), 100), ("q".into(), 99)],
            withdrawals: vec![withdrawal],
        }
    }

    fn kinds(alerts: &[Alert]) -> Vec<&'static str> {
        alerts.iter().map(|alert| alert.kind.as_str()).collect()
    }

    #[test]
    fn each_cause_has_one_alert_a_period_and_no_alert_is_about_an_alert() {
        let mut watch = Watch::new(PERIOD, Some(100));
        let now = Instant::now();
        let observed = everything();
        let all =
            ["dead-letter", "dead-letter", "sink-down", "lookup-down", "lag", "canary-withdrawn"];
        assert_eq!(kinds(&watch.due(&observed, now)), all);
        assert_eq!(watch.due(&observed, now + PERIOD / 2), []);
        // What continues has another alert; what happened once has none.
        let again = watch.due(&observed, now + PERIOD);
        assert_eq!(kinds(&again), ["sink-down", "lookup-down", "lag"]);
    }

    #[test]
    fn further_dead_letters_are_counted_in_the_alert_of_the_next_period() {
        let mut watch = Watch::new(PERIOD, None);
        let now = Instant::now();
        let observed = |count| Observed {
            dead_letters: [(("p".into(), None), dead_letters(count))].into(),
            ..Observed::default()
        };
        assert_eq!(watch.due(&observed(1), now).len(), 1);
        assert_eq!(watch.due(&observed(5), now + PERIOD / 2), []);
        let later = watch.due(&observed(7), now + PERIOD);
        assert_eq!(later[0].data["dead_letters"], 6);
        // The store did not take it: nothing is lost.
        watch.forget(&later[0]);
        let again = watch.due(&observed(8), now + PERIOD);
        assert_eq!(again[0].data["dead_letters"], 7);
        assert_eq!(again[0].data["last_reason"], "reason 8");
    }

    #[test]
    fn the_documented_schema_describes_each_kind() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/alerts.schema.json");
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let kinds = ["dead-letter", "sink-down", "lookup-down", "lag", "canary-withdrawn"];
        let documented: Vec<&String> = schema["$defs"].as_object().unwrap().keys().collect();
        assert_eq!(
            documented,
            kinds.map(|kind| format!("sagabox.alert.{kind}")).iter().collect::<Vec<_>>()
        );
        for alert in Watch::new(PERIOD, Some(100)).due(&everything(), Instant::now()) {
            let of_type = &schema["$defs"][format!("sagabox.alert.{}", alert.kind.as_str())];
            let validator = jsonschema::validator_for(of_type).unwrap();
            assert!(validator.is_valid(&alert.data), "{}: {}", alert.kind.as_str(), alert.data);
        }
    }
}
