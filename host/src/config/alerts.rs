//! When the host makes alerts: the section `[alerts]`.

use std::time::Duration;

use toml::Spanned;

use super::file::{AlertsSection, Fault};
use crate::alerts::AlertSettings;
use crate::io::durations;

/// Alerts repeat once an hour while their cause lasts. A period of less than a second would make as
/// many alerts as looks.
const PERIOD: Duration = Duration::from_hours(1);
const PERIOD_MIN: Duration = Duration::from_secs(1);
/// Between two looks at the host, which ask every queue.
const INTERVAL_MS: u64 = 5_000;
const INTERVALS_MS: std::ops::RangeInclusive<u64> = 100..=3_600_000;
/// Some seconds of work of a plugin.
const LAG_EVENTS: u64 = 100_000;

pub(super) fn resolve(section: Spanned<AlertsSection>) -> Result<AlertSettings, Fault> {
    let span = section.span();
    let said = section.into_inner();
    let fault = |reason: String| Fault::at(span.clone(), reason);
    let is_accepted = |period: &Duration| *period >= PERIOD_MIN;
    let period = match &said.period {
        None => PERIOD,
        Some(text) => durations::duration(text).ok().filter(is_accepted).ok_or_else(|| {
            fault(format!(
                "alerts.period: `{text}` is not a duration of a second or more; write for example \
                 \"1h\""
            ))
        })?,
    };
    let interval_ms = said.interval_ms.unwrap_or(INTERVAL_MS);
    if !INTERVALS_MS.contains(&interval_ms) {
        let range = (INTERVALS_MS.start(), INTERVALS_MS.end());
        return Err(fault(format!(
            "alerts.interval_ms: is {interval_ms}; accepted are {} to {}",
            range.0, range.1
        )));
    }
    let lag_events = said.lag_events.unwrap_or(LAG_EVENTS);
    let interval = Duration::from_millis(interval_ms);
    Ok(AlertSettings { period, interval, lag_events: (lag_events > 0).then_some(lag_events) })
}
