//! Numbers, times and texts, as pages show them. Templates call these functions.

use std::borrow::Borrow;

use sagabox_engine::model::Timestamp;

use crate::io::figures;

/// For programs: RFC 3339 with milliseconds.
pub(super) fn iso(at: impl Borrow<Timestamp>) -> String {
    format!("{:.3}", moment(at.borrow()))
}

/// For readers without script.
pub(super) fn utc(at: impl Borrow<Timestamp>) -> String {
    moment(at.borrow()).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// With groups of three digits.
pub(super) fn grouped(number: impl Borrow<u64>) -> String {
    figures::grouped(*number.borrow())
}

/// A length of time in its two largest units.
pub(super) fn length(millis: impl Borrow<u64>) -> String {
    figures::length(*millis.borrow())
}

/// How much earlier `at` is than `now`.
pub(super) fn age(at: impl Borrow<Timestamp>, now: impl Borrow<Timestamp>) -> String {
    let millis = now.borrow().0.saturating_sub(at.borrow().0);
    // Under a second, the digits of milliseconds say nothing about an age.
    if millis < 1000 { "0s".to_owned() } else { figures::length(millis - millis % 1000) }
}

/// `1 event`, `2 events`.
pub(super) fn counted(number: impl Borrow<u64>, singular: &str, plural: &str) -> String {
    let number = *number.borrow();
    format!("{} {}", figures::grouped(number), if number == 1 { singular } else { plural })
}

fn moment(at: &Timestamp) -> jiff::Timestamp {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
}
