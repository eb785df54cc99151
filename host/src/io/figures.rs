//! Numbers, lengths of time and statuses for people.

use axum::http::StatusCode;

/// The number with groups of three digits: `12,345,678`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its noun: `1 event`, `2,000 events`.
pub(crate) fn counted(number: u64, singular: &str, plural: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { singular } else { plural })
}

/// A status with its name, if it has one: `404 Not Found`, `599`.
pub(crate) fn status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(name) => format!("{} {name}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// The two largest units of a length of time: `12d 3h`, `4m 5s`, `0s`.
pub(crate) fn length(millis: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let first = UNITS.iter().position(|(unit, _)| millis >= *unit);
    let Some(first) = first else { return "0s".to_owned() };
    let mut rest = millis;
    let mut parts = Vec::new();
    for (unit, name) in &UNITS[first..] {
        if rest >= *unit {
            parts.push(format!("{}{name}", grouped(rest / unit)));
        }
        rest %= unit;
    }
    parts.truncate(2);
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_two_units_at_most() {
        for (millis, text) in [
            (0, "0s"),
            (5, "5ms"),
            (61_000, "1m 1s"),
            (86_400_000, "1d"),
            (90_061_001, "1d 1h"),
            (172_800_000_000, "2,000d"),
        ] {
            assert_eq!(length(millis), text);
        }
    }

    #[test]
    fn one_thing_is_not_in_the_plural() {
        let events = |number| counted(number, "event", "events");
        assert_eq!([0, 1, 2_000].map(events), ["0 events", "1 event", "2,000 events"]);
    }

    #[test]
    fn a_status_without_a_name_is_its_number() {
        let shown = [404, 599, 999].map(|code| status(StatusCode::from_u16(code).unwrap()));
        assert_eq!(shown, ["404 Not Found", "599", "999"]);
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
