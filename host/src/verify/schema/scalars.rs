//! Pure: whether one alternative takes all of another, where neither holds other schemas.

use super::comparison::Comparison;
use super::number::{self, Range};
use super::shape::{Alternative, Text};
use super::words;

pub(super) fn differing(sent: &Alternative<'_>, taken: &Alternative<'_>, at: &str) -> Comparison {
    let mut comparison = Comparison::default();
    let (sent, taken) = (words::kind(&sent.kind), words::kind(&taken.kind));
    comparison.fault(at, format!("sends {sent}"), format!("takes {taken}"));
    comparison
}

pub(super) fn numbers(sent: &Range<'_>, taken: &Range<'_>, at: &str) -> Comparison {
    let mut comparison = Comparison::default();
    if taken.is_integer && !sent.is_whole() {
        comparison.fault(at, "sends a number", "takes an integer");
        return comparison;
    }
    if let Some((is_low, bound)) = sent.beyond(taken) {
        let (less, least) = if is_low { ("less", "least") } else { ("more", "most") };
        comparison.range(
            at,
            format!("may send {less} than {bound}"),
            format!("takes at {least} {bound}"),
        );
    }
    if taken.multiple_of.iter().any(|factor| !sent.is_multiple_of(*factor)) {
        comparison.unknown.insert(at.to_owned());
    }
    if let (Some(one), Some(other)) = (sent.format, taken.format)
        && let (Some(range), Some(wanted)) = (number::of_format(one), number::of_format(other))
        && comparison.faults.is_empty()
        && ((sent.low.is_empty() && range.0 < wanted.0)
            || (sent.high.is_empty() && range.1 > wanted.1))
    {
        comparison.range(at, format!("sends the format `{one}`"), format!("takes `{other}`"));
    }
    // Which numbers are multiples is not looked at.
    if sent.multiple_of.is_empty() { comparison } else { comparison.weakened() }
}

pub(super) fn texts(sent: &Text<'_>, taken: &Text<'_>, at: &str) -> Comparison {
    let mut comparison = Comparison::default();
    if taken.min > sent.min {
        let least = taken.min;
        comparison.range(
            at,
            format!("may send less than {least} characters"),
            format!("takes at least {least}"),
        );
    }
    if let Some(max) = taken.max
        && sent.max.is_none_or(|own| own > max)
    {
        comparison.range(
            at,
            format!("may send more than {max} characters"),
            format!("takes at most {max}"),
        );
    }
    if !sent.patterns.is_empty() || !sent.formats.is_empty() {
        // The pattern may say so as well.
        comparison = comparison.weakened();
    }
    if !taken.patterns.is_subset(&sent.patterns) {
        comparison.unknown.insert(at.to_owned());
    }
    let (one, other) = (sent.formats.first(), taken.formats.first());
    if let (Some(one), Some(other)) = (one, other)
        && one != other
    {
        comparison.range(at, format!("sends the format `{one}`"), format!("takes `{other}`"));
    }
    comparison
}
