//! Pure: differences between decisions, grouped by their kind: what a new version does otherwise,
//! said once, and not once for each decision.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::decisions::json::Difference;

/// The most kinds that are kept apart. A version that differs in more ways differs in everything.
const KINDS_MAX: usize = 100;
/// The most places that a kind names.
const PLACES_MAX: usize = 5;
/// The most characters of a failure's text.
const FAILURE_CHARACTERS_MAX: usize = 100;
const OTHERS: &str = "other kinds";
/// Stands between the reason of a failure and what the plugin wrote in that call.
pub(crate) const WROTE: &str = "; it wrote: ";

/// The reason without what the plugin wrote: lines of a log may have addresses and counts in them,
/// which differ from call to call.
#[must_use]
pub(crate) fn reason_alone(reason: &str) -> &str {
    reason.split_once(WROTE).map_or(reason, |(alone, _)| alone)
}

/// What of two decisions is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aspects {
    /// Messages, timers, keys and completion: what others notice.
    Effects,
    /// The state that an instance is left with.
    State,
    #[default]
    Both,
}

impl Aspects {
    pub const NAMES: [&str; 3] = ["effects", "state", "both"];

    /// # Errors
    /// Names what is accepted.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "effects" => Ok(Self::Effects),
            "state" => Ok(Self::State),
            "both" => Ok(Self::Both),
            other => Err(format!("is `{other}`; accepted are {}", Self::NAMES.join(", "))),
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Effects => "effects",
            Self::State => "state",
            Self::Both => "both",
        }
    }

    #[must_use]
    pub fn has_effects(self) -> bool {
        self != Self::State
    }

    #[must_use]
    pub fn has_state(self) -> bool {
        self != Self::Effects
    }
}

/// How many decisions differ in one way, and one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KindCount<E> {
    /// Such as "state only, `/reminded` new".
    pub kind: String,
    pub decisions: u64,
    pub example: E,
}

/// Decisions that differ, by kind.
#[derive(Clone, Debug)]
pub(crate) struct Kinds<E>(BTreeMap<String, (u64, E)>);

impl<E> Default for Kinds<E> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<E: Clone> Kinds<E> {
    /// Adds a decision with these differences. `example` is kept if it is the first of its kind, or
    /// comes before the one that is kept.
    pub(crate) fn add(
        &mut self,
        differences: &[Difference],
        is_before: impl FnOnce(&E) -> bool,
        example: impl FnOnce() -> E,
    ) {
        let mut kind = kind(differences);
        if self.0.len() >= KINDS_MAX && !self.0.contains_key(&kind) {
            OTHERS.clone_into(&mut kind);
        }
        match self.0.entry(kind) {
            Entry::Vacant(place) => _ = place.insert((1, example())),
            Entry::Occupied(mut place) => {
                let (decisions, kept) = place.get_mut();
                *decisions += 1;
                if is_before(kept) {
                    *kept = example();
                }
            }
        }
    }

    /// The most frequent first.
    #[must_use]
    pub(crate) fn counts(&self) -> Vec<KindCount<E>> {
        let count = |(kind, (decisions, example)): (&String, &(u64, E))| KindCount {
            kind: kind.clone(),
            decisions: *decisions,
            example: example.clone(),
        };
        let mut counts: Vec<_> = self.0.iter().map(count).collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.decisions));
        counts
    }
}

/// In which way a decision differs, without the values.
fn kind(differences: &[Difference]) -> String {
    if let Some(failure) = differences.iter().find(|own| own.place == "decision") {
        return of_failure(failure);
    }
    let is_state = |own: &&Difference| state_place(&own.place).is_some();
    let aspects = match (
        differences.iter().any(|own| is_state(&own)),
        differences.iter().all(|own| is_state(&own)),
    ) {
        (_, true) => "state only",
        (true, false) => "effects and state",
        (false, false) => "effects only",
    };
    let places: BTreeSet<String> = differences.iter().map(place).collect();
    let mut text = aspects.to_owned();
    for place in places.iter().take(PLACES_MAX) {
        text.push_str(", ");
        text.push_str(place);
    }
    if places.len() > PLACES_MAX {
        text.push_str(", and more");
    }
    text
}

/// A place with all elements of a list as one, and what became of it.
fn place(difference: &Difference) -> String {
    let Difference { place, expected, found } = difference;
    let shown = match state_place(place) {
        Some(inner) => elements(inner, "/*").replace('.', "/"),
        None => elements(place, "[*]"),
    };
    let what = match (expected, found) {
        (None, Some(_)) => "new",
        (Some(_), None) => "gone",
        _ => "differs",
    };
    match shown.as_str() {
        "" => format!("all of it {what}"),
        shown => format!("`{shown}` {what}"),
    }
}

/// The part of a place behind `state`. None if it is a place of an effect.
fn state_place(place: &str) -> Option<&str> {
    place.strip_prefix("state").filter(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
}

/// With `any` instead of each index.
fn elements(place: &str, any: &str) -> String {
    let mut text = String::new();
    let mut rest = place;
    while let Some((before, behind)) = rest.split_once('[') {
        text.push_str(before);
        rest = match behind.split_once(']') {
            Some((index, behind)) if index.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.push_str(any);
                behind
            }
            _ => {
                text.push('[');
                behind
            }
        };
    }
    text + rest
}

/// The texts of failures name figures, which differ from decision to decision.
fn of_failure(difference: &Difference) -> String {
    let fails = |value: &Option<crate::decisions::json::Json>| {
        let text = value.as_ref()?.get("fails")?.as_str()?.to_owned();
        let mut short = String::new();
        for c in text.chars().take(FAILURE_CHARACTERS_MAX) {
            match c.is_ascii_digit() {
                true if short.ends_with('#') => {}
                true => short.push('#'),
                false => short.push(c),
            }
        }
        Some(short)
    };
    match (fails(&difference.expected), fails(&difference.found)) {
        (_, Some(found)) => format!("fails: {found}"),
        (Some(expected), None) => format!("decides where the other fails: {expected}"),
        (None, None) => "the decision differs".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::json::json;
    use crate::decisions::recorded::failed;

    fn difference(place: &str, is_there: [bool; 2]) -> Difference {
        let [expected, found] = is_there.map(|there| there.then(|| json!(1)));
        Difference { place: place.to_owned(), expected, found }
    }

    #[track_caller]
    fn check(places: &[(&str, [bool; 2])], expected: &str) {
        let all: Vec<_> = places.iter().map(|(place, there)| difference(place, *there)).collect();
        assert_eq!(kind(&all), expected);
    }

    #[test]
    fn a_kind_says_where_and_not_what() {
        const NEW: [bool; 2] = [false, true];
        const BOTH: [bool; 2] = [true, true];
        check(&[("state.reminded", NEW)], "state only, `/reminded` new");
        check(&[("state", BOTH)], "state only, all of it differs");
        check(
            &[("state.items[0].at", [true, false]), ("state.items[12].at", [true, false])],
            "state only, `/items/*/at` gone",
        );
        check(
            &[("messages[1].data.sum", BOTH), ("completes", BOTH)],
            "effects only, `completes` differs, `messages[*].data.sum` differs",
        );
        check(
            &[("statement", NEW), ("state[0]", NEW)],
            "effects and state, `/*` new, `statement` new",
        );
        let many: Vec<(String, _)> = (0..9).map(|n| (format!("m.{n}"), BOTH)).collect();
        let many: Vec<(&str, _)> =
            many.iter().map(|(place, there)| (place.as_str(), *there)).collect();
        assert!(
            kind(&many.iter().map(|(p, t)| difference(p, *t)).collect::<Vec<_>>())
                .ends_with(", and more")
        );
    }

    #[test]
    fn failures_of_one_text_are_one_kind() {
        for text in ["order 17 has 3 items", "order 9 has 12 items"] {
            assert_eq!(kind(&[failed(text)]), "fails: order # has # items");
        }
        let swapped = failed("no");
        let swapped = Difference { expected: swapped.found, found: Some(json!({})), ..swapped };
        assert_eq!(kind(&[swapped]), "decides where the other fails: no");
    }

    #[test]
    fn kinds_are_counted_with_the_first_of_each() {
        let mut kinds = Kinds::default();
        for (n, name) in ["a", "b", "b", "c"].into_iter().enumerate() {
            kinds.add(&[difference(name, [true, true])], |_| false, || n);
        }
        kinds.add(&[difference("b", [true, true])], |kept| *kept > 0, || 0);
        let counts = kinds.counts();
        assert_eq!((counts.len(), counts[0].decisions, counts[0].example), (3, 3, 0));
        for n in 0..2 * KINDS_MAX {
            kinds.add(&[difference(&format!("more.{n}"), [true, true])], |_| false, || n);
        }
        let counts = kinds.counts();
        assert_eq!(counts.len(), KINDS_MAX + 1);
        assert_eq!(counts[0].kind, OTHERS);
        assert_eq!(
            counts.iter().map(|count| count.decisions).sum::<u64>(),
            5 + 2 * KINDS_MAX as u64
        );
    }
}
