//! What chance decides in a simulated world. Each choice has a name, and what it is
//! follows from the seed and that name alone: so one can be taken away, and the others
//! stay what they were. That is what shrinking is made of.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Mutex;

use sagabox_engine::model::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::io::locks::lock;

/// Odds are counted in millionths.
const CERTAIN: u64 = 1_000_000;

/// How often something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odds(u64);

impl Odds {
    pub const ALWAYS: Self = Self(CERTAIN);
    pub const NEVER: Self = Self(0);

    #[must_use]
    pub fn of_millionths(odds: u64) -> Self {
        Self(odds.min(CERTAIN))
    }

    /// None if it is no percentage.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and a million"
    )]
    pub fn percent(percent: f64) -> Option<Self> {
        (0.0..=100.0).contains(&percent).then(|| Self((percent * 10_000.0).round() as u64))
    }

    #[must_use]
    pub fn millionths(self) -> u64 {
        self.0
    }
}

/// Something that chance decided otherwise than the plainest run has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub name: String,
    /// When it was decided.
    pub at: Timestamp,
    /// What it means, for people; nothing if the history shows it anyway.
    pub what: String,
}

pub struct Choices {
    seed: u64,
    /// If it is given, all others are as in the plainest run.
    only: Option<BTreeSet<String>>,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    names: BTreeSet<String>,
    choices: Vec<Choice>,
}

impl Choices {
    #[must_use]
    pub fn new(seed: u64, only: Option<BTreeSet<String>>) -> Self {
        Self { seed, only, made: Mutex::default() }
    }

    /// Those that were made so far, in their order.
    #[must_use]
    pub fn made(&self) -> Vec<Choice> {
        lock(&self.made).choices.clone()
    }

    /// Whether something happens. In the plainest run it does not.
    pub fn happens(
        &self,
        name: &str,
        odds: Odds,
        at: Timestamp,
        what: impl FnOnce() -> String,
    ) -> bool {
        let happens = self.number(name) % CERTAIN < odds.0 && self.is_free(name);
        if happens {
            self.note(name, at, what);
        }
        happens
    }

    /// One of so many possibilities; the plainest is the first.
    pub fn pick(
        &self,
        name: &str,
        count: u64,
        at: Timestamp,
        what: impl FnOnce(u64) -> String,
    ) -> u64 {
        let picked = self.number(name) % count.max(1);
        if picked == 0 || !self.is_free(name) {
            return 0;
        }
        self.note(name, at, || what(picked));
        picked
    }

    /// A number that no shrinking changes, so it is no choice.
    #[must_use]
    pub fn between(&self, name: &str, range: &RangeInclusive<u64>) -> u64 {
        range.start() + self.number(name) % (range.end() - range.start() + 1)
    }

    fn is_free(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(name))
    }

    fn note(&self, name: &str, at: Timestamp, what: impl FnOnce() -> String) {
        let mut made = lock(&self.made);
        // What is asked again after a crash is the same choice.
        if made.names.insert(name.to_owned()) {
            made.choices.push(Choice { name: name.to_owned(), at, what: what() });
        }
    }

    fn number(&self, name: &str) -> u64 {
        let digest = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(name);
        let digest = digest.finalize();
        u64::from_be_bytes(std::array::from_fn(|index| digest[index]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(7);

    fn half() -> Odds {
        Odds::percent(50.0).unwrap()
    }

    #[test]
    fn a_choice_follows_from_the_seed_and_its_name_alone() {
        let of = |seed: u64, names: &[&str]| {
            let choices = Choices::new(seed, None);
            let made = names.iter().map(|name| choices.happens(name, half(), AT, String::new));
            made.collect::<Vec<bool>>()
        };
        let names: Vec<String> = (0..64).map(|index| format!("c{index}")).collect();
        let forward: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut backward: Vec<bool> = of(1, &forward.iter().rev().copied().collect::<Vec<_>>());
        backward.reverse();
        assert_eq!(of(1, &forward), backward);
        assert_ne!(of(1, &forward), of(2, &forward));
    }

    #[test]
    fn what_is_not_allowed_is_as_in_the_plainest_run() {
        let all = Choices::new(3, None);
        for index in 0..100 {
            all.happens(&format!("h{index}"), half(), AT, String::new);
            all.pick(&format!("p{index}"), 5, AT, |_| String::new());
        }
        let names: Vec<String> = all.made().into_iter().map(|choice| choice.name).collect();
        assert!(names.len() > 50, "{}", names.len());
        let kept = names[names.len() / 2].clone();
        let few = Choices::new(3, Some(BTreeSet::from([kept.clone()])));
        for index in 0..100 {
            few.happens(&format!("h{index}"), half(), AT, String::new);
            few.pick(&format!("p{index}"), 5, AT, |_| String::new());
        }
        let left: Vec<String> = few.made().into_iter().map(|choice| choice.name).collect();
        assert_eq!(left, [kept]);
    }

    #[test]
    fn odds_are_percentages() {
        let choices = Choices::new(9, None);
        let count = |odds: Odds| {
            let happens =
                |index: &u32| choices.happens(&format!("{odds:?} {index}"), odds, AT, String::new);
            (0..1_000).filter(happens).count()
        };
        assert_eq!(count(Odds::percent(0.0).unwrap()), 0);
        assert_eq!(count(Odds::ALWAYS), 1_000);
        assert!((150..350).contains(&count(Odds::percent(25.0).unwrap())));
        assert_eq!(Odds::percent(101.0), None);
        assert_eq!(Odds::percent(f64::NAN), None);
    }

    #[test]
    fn what_is_asked_again_is_noted_once() {
        let choices = Choices::new(1, None);
        for _ in 0..2 {
            assert!(choices.happens("a", Odds::ALWAYS, AT, || "first".to_owned()));
        }
        assert_eq!(choices.made().len(), 1);
        for value in 0..50 {
            let drawn = choices.between(&value.to_string(), &(3..=5));
            assert!((3..=5).contains(&drawn));
        }
    }
}
