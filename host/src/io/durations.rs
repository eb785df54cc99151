//! Durations and times as people write them: in the configuration, in scenarios and simulations,
//! and on the command line. All use this reader.

use std::time::Duration;

use jiff::SpanRelativeTo;
use sagabox_engine::model::{Timestamp, attribute};

/// Reads a duration: `90s`, `1h 30m`, `7d`, `90 minutes`, `P1DT12H`. A day has 24 hours, and a
/// week seven days. Months and years have no fixed length, and are refused.
///
/// # Errors
/// Says how it is written.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let span: Result<jiff::Span, _> = text.trim().parse();
    let length = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let positive = length
        .map_err(|error| error.to_string())
        .and_then(|length| Duration::try_from(length).map_err(|_| "it is negative".to_owned()));
    positive.map_err(|why| format!("`{text}` is not a duration such as 90s, 10m, 24h or 7d: {why}"))
}

/// Reads a time (RFC 3339), to the millisecond.
///
/// # Errors
/// Says how it is written.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    let millis = attribute::timestamp(text).and_then(|()| {
        let parsed: Result<jiff::Timestamp, _> = text.parse();
        // RFC 3339 has some hours more at the end of its last year, which people write for "never".
        let last = || text.starts_with("9999-").then_some(jiff::Timestamp::MAX);
        let parsed = parsed.or_else(|error| last().ok_or(error));
        parsed.map(jiff::Timestamp::as_millisecond).map_err(|error| error.to_string())
    });
    let positive =
        millis.and_then(|at| u64::try_from(at).map_err(|_| "it is before 1970".to_owned()));
    positive
        .map(Timestamp)
        .map_err(|why| format!("`{text}` is not a time such as 2026-01-31T12:00:00Z: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_people_write_them() {
        for (text, expected) in [
            ("0s", Duration::ZERO),
            ("5ms", Duration::from_millis(5)),
            ("90s", Duration::from_secs(90)),
            ("10m", Duration::from_mins(10)),
            ("1h 30m", Duration::from_mins(90)),
            ("1h30m", Duration::from_mins(90)),
            ("1.5h", Duration::from_mins(90)),
            ("90 minutes", Duration::from_mins(90)),
            ("24h", Duration::from_hours(24)),
            ("7d", Duration::from_hours(7 * 24)),
            ("90d", Duration::from_hours(90 * 24)),
            ("2w", Duration::from_hours(14 * 24)),
            ("1d 12h", Duration::from_hours(36)),
            ("PT10M", Duration::from_mins(10)),
            ("P1DT12H", Duration::from_hours(36)),
            (" 10m ", Duration::from_mins(10)),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for text in ["", "soon", "90", "1 month", "1y", "P1M", "10m 5"] {
            let error = duration(text).unwrap_err();
            assert!(error.starts_with(&format!("`{text}` is not a duration such as")), "{error}");
        }
        assert!(duration("-1s").unwrap_err().contains("it is negative"));
    }

    #[test]
    fn a_time_is_an_rfc_3339_timestamp() {
        assert_eq!(instant("1970-01-01T00:00:01Z"), Ok(Timestamp(1000)));
        assert_eq!(instant("1970-01-01T01:00:01.5+01:00"), Ok(Timestamp(1500)));
        let last = instant("9999-12-30T22:00:00.999Z");
        assert!(last.is_ok());
        for never in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:60Z", "9999-12-31T00:00:00-23:59"] {
            assert_eq!(instant(never), last, "{never}");
        }
        assert!(instant("today").unwrap_err().starts_with("`today` is not a time such as"));
        assert!(instant("2026-01-31T12Z").is_err());
        assert!(instant("1969-12-31T23:59:59Z").unwrap_err().contains("it is before 1970"));
    }
}
