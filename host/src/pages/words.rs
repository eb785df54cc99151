//! Numbers, times and texts, as pages show them. Templates call these functions.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sagabox_engine::model::{BatchAction, Timestamp};
use serde_json::value::RawValue;

use crate::io::figures;
use crate::io::indent::indented as lines;
use crate::io::printable::printable_json;

/// A browser shows as much at once, and a person reads no more.
const SHOWN_BYTES_MAX: usize = 128 << 10;
/// Browsers become slow with a longer text in a field.
const EDITED_BYTES_MAX: usize = 512 << 10;

/// A value that a template gives, by reference or not: templates add references of their own.
pub(super) trait Value<T> {
    fn value(&self) -> T;
}

impl Value<Self> for Timestamp {
    fn value(&self) -> Self {
        *self
    }
}

impl Value<Self> for u64 {
    fn value(&self) -> Self {
        *self
    }
}

impl Value<Self> for BatchAction {
    fn value(&self) -> Self {
        *self
    }
}

impl<T, V: Value<T> + ?Sized> Value<T> for &V {
    fn value(&self) -> T {
        (**self).value()
    }
}

/// For programs: RFC 3339 with milliseconds.
pub(super) fn iso(at: impl Value<Timestamp>) -> String {
    format!("{:.3}", moment(at.value()))
}

/// For readers without script.
pub(super) fn utc(at: impl Value<Timestamp>) -> String {
    moment(at.value()).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// With groups of three digits.
pub(super) fn grouped(number: impl Value<u64>) -> String {
    figures::grouped(number.value())
}

/// A length of time in its two largest units.
pub(super) fn length(millis: impl Value<u64>) -> String {
    figures::length(millis.value())
}

/// How much earlier `at` is than `now`.
pub(super) fn age(at: impl Value<Timestamp>, now: impl Value<Timestamp>) -> String {
    let millis = now.value().0.saturating_sub(at.value().0);
    // Under a second, the digits of milliseconds say nothing about an age.
    if millis < 1000 { "0s".to_owned() } else { figures::length(millis - millis % 1000) }
}

/// `1 event`, `2 events`.
pub(super) fn counted(number: impl Value<u64>, singular: &str, plural: &str) -> String {
    figures::counted(number.value(), singular, plural)
}

/// The query of an address, without the parameters that are empty.
pub(super) fn query<'p, T: AsRef<str> + 'p + ?Sized>(
    parameters: impl IntoIterator<Item = (&'p str, &'p T)>,
) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let given = parameters.into_iter().filter(|(_, value)| !value.as_ref().is_empty());
    let pairs = given.map(|(name, value)| format!("{name}={}", encoded(value.as_ref())));
    pairs.collect::<Vec<_>>().join("&")
}

/// JSON in lines. Its values are not changed, and what cannot be seen is escaped.
pub(super) fn in_lines(json: &str) -> String {
    printable_json(&lines(json)).into_owned()
}

/// The same; of very long JSON, the beginning.
pub(super) fn indented(json: &str) -> String {
    let begin = &json[..json.floor_char_boundary(SHOWN_BYTES_MAX)];
    let mut text = in_lines(begin);
    if begin.len() < json.len() {
        let (shown, all) = (grouped(begin.len() as u64), grouped(json.len() as u64));
        text.push_str(&format!(
            "\n… the first {shown} of {all} bytes; the API answers all of them"
        ));
    }
    text
}

/// The size of JSON that is too long to be edited in a browser; none if it is not.
pub(super) fn too_long_to_edit(json: &str) -> Option<u64> {
    (json.len() > EDITED_BYTES_MAX).then_some(json.len() as u64)
}

/// The type of an event; none if it cannot be read.
pub(super) fn type_of(event: &str) -> Option<String> {
    attribute(event, "type")
}

/// The id of an event; none if it cannot be read.
pub(super) fn id_of(event: &str) -> Option<String> {
    attribute(event, "id")
}

fn attribute(event: &str, name: &str) -> Option<String> {
    let mut members = serde_json::from_str::<BTreeMap<&str, &RawValue>>(event).ok()?;
    serde_json::from_str(members.remove(name)?.get()).ok()
}

fn moment(at: Timestamp) -> jiff::Timestamp {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_json_is_shown_from_its_beginning() {
        let all = format!("[\"{}\"]", "é".repeat(10));
        assert_eq!(indented(&all), format!("[\n  \"{}\"\n]", "é".repeat(10)));
        let long = format!("\"{}\"", "é".repeat(SHOWN_BYTES_MAX));
        let shown = indented(&long);
        let end = "… the first 131,071 of 262,146 bytes; the API answers all of them";
        assert!(shown.ends_with(end) && shown.len() < SHOWN_BYTES_MAX + 100, "{}", shown.len());
    }
}
