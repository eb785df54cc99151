//! Moments and durations as events and configurations write them.

use core::fmt;
use core::ops::{Add, Sub};
use core::str::FromStr;
use core::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// So many seconds.
#[must_use]
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// So many minutes.
#[must_use]
pub const fn minutes(count: u64) -> Duration {
    seconds(count.saturating_mul(60))
}

/// So many hours.
#[must_use]
pub const fn hours(count: u64) -> Duration {
    minutes(count.saturating_mul(60))
}

/// So many days of 24 hours.
#[must_use]
pub const fn days(count: u64) -> Duration {
    hours(count.saturating_mul(24))
}

/// A moment, written as RFC 3339: `2026-03-01T12:00:00Z`.
///
/// It is read with any offset, and written in UTC with as many digits of a second as it has.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// let paid: Timestamp = "2026-03-01T12:00:00.25+01:00".parse().unwrap();
/// assert_eq!(paid.to_string(), "2026-03-01T11:00:00.25Z");
/// assert_eq!((paid + hours(24)).to_string(), "2026-03-02T11:00:00.25Z");
/// assert_eq!((paid + days(1)).since(paid), hours(24));
/// assert!(paid < paid + seconds(1));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// Milliseconds since 1970-01-01T00:00:00Z; the latest that RFC 3339 can write if that is later.
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        let millis = i64::try_from(millis).unwrap_or(i64::MAX);
        Self(jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z; zero for what is before.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millisecond()).unwrap_or_default()
    }

    /// When a timer of this moment is due: at the first millisecond that is not before it. None
    /// before 1970.
    pub(crate) fn due_millis(self) -> Option<u64> {
        let nanos = u128::try_from(self.0.as_nanosecond()).ok()?;
        u64::try_from(nanos.div_ceil(NANOS_PER_MILLI)).ok()
    }

    /// The time from `earlier` to this; zero if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::try_from(self.0.duration_since(earlier.0)).unwrap_or_default()
    }
}

const NANOS_PER_MILLI: u128 = 1_000_000;

/// After how many milliseconds a timer is due: a part of one counts as a whole, so that the timer
/// is never early.
pub(crate) fn due_after(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(NANOS_PER_MILLI)).unwrap_or(u64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time).unwrap_or(jiff::Timestamp::MAX))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(time).unwrap_or(jiff::Timestamp::MIN))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why a text is no moment or no duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeError(String);

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for TimeError {}

impl FromStr for Timestamp {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        text.parse().map(Self).map_err(|error| {
            TimeError(format!("`{text}` is no RFC 3339 time such as 2026-03-01T12:00:00Z: {error}"))
        })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A duration in an event, a state or a configuration, written as `24h`, `90s` or `1h 30m`.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// let patience: Span = "1h 30m".parse().unwrap();
/// assert_eq!(Duration::from(patience), minutes(90));
/// assert_eq!(Span::from(days(2)).to_string(), "2d");
/// assert!("soon".parse::<Span>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl From<Duration> for Span {
    fn from(time: Duration) -> Self {
        Self(time)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

/// In milliseconds, rounded down.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        let mut between = "";
        for (unit, millis) in UNITS {
            let count = rest / millis;
            rest %= millis;
            if count > 0 {
                write!(f, "{between}{count}{unit}")?;
                between = " ";
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        span(text).map(Duration::from_millis).map(Self).ok_or_else(|| {
            TimeError(format!(
                "`{text}` is no duration such as 24h, 90s or 1h 30m (ms, s, m, h, d)"
            ))
        })
    }
}

fn span(text: &str) -> Option<u64> {
    let (mut rest, mut total) = (text.trim(), 0_u64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let behind = &rest[digits..];
        let end = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (_, millis) = UNITS.into_iter().find(|(unit, _)| *unit == &behind[..end])?;
        total = total.checked_add(count.checked_mul(millis)?)?;
        rest = behind[end..].trim_start();
    }
    Some(total)
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_with_any_offset_and_written_in_utc() {
        let read = |text: &str| text.parse::<Timestamp>().map(|at| at.to_string());
        assert_eq!(read("2026-01-01T00:30:00+01:00").unwrap(), "2025-12-31T23:30:00Z");
        assert_eq!(read("1969-12-31T23:59:59.999Z").unwrap(), "1969-12-31T23:59:59.999Z");
        for wrong in ["2026-01-01", "2026-01-01T00:00:00", "yesterday", ""] {
            assert!(read(wrong).unwrap_err().to_string().contains("RFC 3339"), "{wrong}");
        }
    }

    #[test]
    fn a_timer_is_never_due_early() {
        let due = |text: &str| text.parse::<Timestamp>().unwrap().due_millis();
        assert_eq!(due("1970-01-01T00:00:00.001Z"), Some(1));
        assert_eq!(due("1970-01-01T00:00:00.001000001Z"), Some(2));
        assert_eq!(due("1969-12-31T23:59:59.9999Z"), None);
        assert_eq!(
            [0, 1, 1_000_000, 1_000_001].map(Duration::from_nanos).map(due_after),
            [0, 1, 1, 2]
        );
        assert_eq!(due_after(Duration::MAX), u64::MAX);
    }

    #[test]
    fn the_ends_of_time_are_no_overflow() {
        let late = Timestamp::from_millis(u64::MAX);
        assert_eq!(late + days(u64::MAX), late);
        let early = Timestamp::from_millis(0) - Duration::MAX;
        assert_eq!((early.as_millis(), early.since(late)), (0, Duration::ZERO));
        assert_eq!(Timestamp::from_millis(1_500).as_millis(), 1_500);
    }

    #[test]
    fn a_duration_is_read_as_it_is_written() {
        for millis in [0, 1, 999, 1_000, 61_000, 90_061_001, 86_400_000 * 30] {
            let written = Span(Duration::from_millis(millis)).to_string();
            assert_eq!(span(&written), Some(millis), "{written}");
        }
        assert_eq!(span(" 1h30m "), Some(5_400_000));
        for wrong in ["", "5", "h", "-1s", "1.5h", "1 h", "99999999999999999999d", "1w"] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
    }
}
