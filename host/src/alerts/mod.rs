//! Alerts: events of the host about its own trouble, which routes deliver to sinks like any other
//! message. This file looks at the host from time to time and appends what `watch.rs` finds due.
//!
//! An alert about the delivery of an alert is suppressed, and each cause has one alert a period. So a
//! sink that is down, to which alerts go, leads to a bounded number of messages that wait for it.

mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sagabox_engine::engine::Engine;
use sagabox_engine::model::{self, Event, JSON};
use sagabox_engine::pure::identity;
use tokio_util::sync::CancellationToken;

use self::watch::{Alert, Observed, Watch, Withdrawal};
use crate::plugins::status::PluginStatus;
use crate::telemetry::Telemetry;

/// The section `[alerts]`, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    /// In which each cause has one alert at most.
    pub period: Duration,
    /// Between two looks at the host.
    pub interval: Duration,
    /// A plugin that is this many events behind the log has an alert; none: there is no such alert.
    pub lag_events: Option<u64>,
}

pub(crate) struct Alerts {
    pub settings: AlertSettings,
    pub engine: Engine,
    pub plugin_status: PluginStatus,
    pub telemetry: Arc<Telemetry>,
}

impl Alerts {
    /// Runs until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut watch = Watch::new(self.settings.period, self.settings.lag_events);
        let look = async {
            loop {
                tokio::time::sleep(self.settings.interval).await;
                let observed = self.observe().await;
                for alert in watch.due(&observed, Instant::now()) {
                    self.append(&mut watch, alert).await;
                }
            }
        };
        stop.run_until_cancelled(look).await;
    }

    async fn observe(&self) -> Observed {
        let status = self.engine.status().await;
        let down = |name: &str, since: model::Timestamp, reason: String| watch::Down {
            name: name.to_owned(),
            since: since.to_rfc3339(),
            reason,
        };
        let candidates = self.plugin_status.candidates().into_iter();
        Observed {
            dead_letters: self.engine.measured().dead_letters,
            sinks: status
                .sinks_down
                .into_iter()
                .map(|sink| down(sink.sink.as_str(), sink.since, sink.reason))
                .collect(),
            lookups: status
                .lookups_down
                .into_iter()
                .map(|lookup| down(lookup.lookup.as_str(), lookup.since, lookup.reason))
                .collect(),
            lags: self.engine.lags(),
            withdrawals: candidates
                .filter_map(|candidate| {
                    let withdrawn = candidate.withdrawn?;
                    Some(Withdrawal {
                        plugin: candidate.plugin,
                        version: candidate.version,
                        digest: candidate.digest,
                        at: withdrawn.at,
                        reason: withdrawn.reason,
                    })
                })
                .collect(),
        }
    }

    /// Appends an alert. If that fails, the next look finds it again.
    async fn append(&self, watch: &mut Watch, alert: Alert) {
        let now = Timestamp::now();
        match self.engine.alert(event(&alert, now, self.settings.period)).await {
            Ok(()) => self.telemetry.count_alert(alert.kind.as_str()),
            Err(error) => {
                tracing::debug!(%error, kind = alert.kind.as_str(), "an alert is retried");
                watch.forget(&alert);
            }
        }
    }
}

/// The id stands for the cause and the period, so that a host that restarts within the period
/// repeats the alert with the same id.
fn event(alert: &Alert, now: Timestamp, period: Duration) -> Event {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let number = seconds / period.as_secs().max(1);
    let event_type = format!("{}{}", model::reserved::ALERT, alert.kind.as_str());
    Event {
        id: identity::alert_event_id(&event_type, &alert.cause, number),
        source: identity::ALERT_SOURCE.to_owned(),
        event_type,
        subject: Some(model::attribute::encoded(&alert.subject).into_owned()),
        time: Some(now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()),
        datacontenttype: Some(JSON.to_owned()),
        dataschema: None,
        extensions: Vec::new(),
        data: alert.data.to_string().into(),
    }
}
