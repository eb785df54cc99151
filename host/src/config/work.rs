//! How the engine works: its retries, how long it keeps data, and its limits.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use sagabox_engine::engine;
use sagabox_engine::model::Retention;
use toml::Spanned;

use super::file::{self, Fault, Retry};
use super::limits::Limits;
use crate::io::durations;

/// The accepted delays between retries. A delay of zero would be a busy loop; after one of more
/// than a day, no operator would remember the cause.
const RETRY_DELAY_MS: RangeInclusive<u64> = 1..=86_400_000;
/// The duration of data that is never removed.
const FOREVER: &str = "forever";

pub(super) fn engine(
    retry: &Retry,
    retention: &file::Retention,
    limits: &Limits,
) -> Result<engine::Settings, Fault> {
    let default = limits.engine()?;
    let settings = engine::Settings {
        attempts_max: retry.attempts.map_or(default.attempts_max, NonZeroU32::get),
        retry_delay_min: millis("retry.delay_ms_min", retry.delay_ms_min.as_ref(), RETRY_DELAY_MS)?
            .unwrap_or(default.retry_delay_min),
        retry_delay_max: millis("retry.delay_ms_max", retry.delay_ms_max.as_ref(), RETRY_DELAY_MS)?
            .unwrap_or(default.retry_delay_max),
        retention: self::retention(retention)?,
        ..default
    };
    if settings.retry_delay_min > settings.retry_delay_max {
        let place = retry.delay_ms_min.as_ref().or(retry.delay_ms_max.as_ref());
        return Err(Fault {
            span: place.map(Spanned::span),
            reason: format!(
                "retry: delay_ms_min ({}) is more than delay_ms_max ({})",
                settings.retry_delay_min.as_millis(),
                settings.retry_delay_max.as_millis()
            ),
        });
    }
    Ok(settings)
}

fn retention(file: &file::Retention) -> Result<Retention, Fault> {
    let default = Retention::default();
    Ok(Retention {
        duplicates: age(file.duplicates.as_ref(), default.duplicates)?,
        history: age(file.history.as_ref(), default.history)?,
        finished: age(file.finished.as_ref(), default.finished)?,
        interval: file.interval.as_ref().map_or(Ok(default.interval), duration)?,
    })
}

pub(super) fn age(
    given: Option<&Spanned<String>>,
    default: Option<Duration>,
) -> Result<Option<Duration>, Fault> {
    match given {
        None => Ok(default),
        Some(text) if text.get_ref() == FOREVER => Ok(None),
        Some(text) => duration(text).map(Some),
    }
}

fn duration(text: &Spanned<String>) -> Result<Duration, Fault> {
    let given = text.get_ref();
    let length = durations::duration(given).ok().filter(|duration| !duration.is_zero());
    length.ok_or_else(|| {
        let reason = format!(
            "retention: `{given}` is not a duration; write for example \"30d\", \"12h\" or \"{FOREVER}\""
        );
        Fault::at(text.span(), reason)
    })
}

pub(super) fn millis(
    key: &str,
    said: Option<&Spanned<u64>>,
    range: RangeInclusive<u64>,
) -> Result<Option<Duration>, Fault> {
    let Some(said) = said else { return Ok(None) };
    let ms = *said.get_ref();
    match range.contains(&ms) {
        true => Ok(Some(Duration::from_millis(ms))),
        false => Err(Fault::at(
            said.span(),
            format!("{key}: is {ms}; accepted are {} to {}", range.start(), range.end()),
        )),
    }
}
