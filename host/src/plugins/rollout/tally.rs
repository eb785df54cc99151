//! Counts a candidate's calls, for people and for the host, which withdraws a canary by these
//! counts.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use sagabox_engine::model::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::decisions::json::Difference;
use crate::decisions::kinds::{KindCount, Kinds};
use crate::io::locks::lock;
use crate::io::times::{Time, rfc3339};
use crate::store::query::shapes::AnyJson;

/// The number of last calls that decide whether a canary is withdrawn.
pub(crate) const WINDOW: usize = 100;
/// The most differing decisions that are kept. All are counted.
const DIFFERING_MAX: usize = 20;

/// The counts since the candidate began.
#[derive(Debug, Default)]
pub struct Tally(Mutex<State>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counts {
    pub calls: u64,
    /// Calls at which the candidate failed. A shadow's call does not count if the version that
    /// serves failed as well.
    pub failed: u64,
    /// A shadow's decisions that differ from those of the version that serves.
    pub differing: u64,
    /// Decisions that a shadow did not repeat because it was behind.
    pub skipped: u64,
    /// Decisions that waited for a shadow because it was behind.
    pub waited: u64,
}

/// A decision in which a shadow differs.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Differing {
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub at: Timestamp,
    pub key: String,
    pub event_type: String,
    pub event_id: String,
    /// `expected` is what the version that serves decided.
    #[schema(value_type = Vec<AnyJson>)]
    pub differences: Vec<Difference>,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    /// For each of the last calls, whether it failed.
    recent: VecDeque<bool>,
    recent_failed: usize,
    differing: VecDeque<Differing>,
    kinds: Kinds<Differing>,
}

impl Tally {
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// The last differing decisions, the newest first.
    pub fn differing(&self) -> Vec<Differing> {
        self.lock().differing.iter().rev().cloned().collect()
    }

    /// The kinds of differences between the decisions, the most frequent first, with one example
    /// each.
    pub fn kinds(&self) -> Vec<KindCount<Differing>> {
        self.lock().kinds.counts()
    }

    /// Counts a call; returns how many of the last `WINDOW` failed.
    pub fn call(&self, failed: bool) -> usize {
        let mut state = self.lock();
        state.counts.calls += 1;
        state.counts.failed += u64::from(failed);
        state.recent.push_back(failed);
        state.recent_failed += usize::from(failed);
        if state.recent.len() > WINDOW && state.recent.pop_front() == Some(true) {
            state.recent_failed -= 1;
        }
        state.recent_failed
    }

    pub fn differs(&self, differing: Differing) {
        let mut state = self.lock();
        state.counts.differing += 1;
        state.kinds.add(&differing.differences, |_| false, || differing.clone());
        if state.differing.len() == DIFFERING_MAX {
            state.differing.pop_front();
        }
        state.differing.push_back(differing);
    }

    pub fn skip(&self) {
        self.lock().counts.skipped += 1;
    }

    pub fn waited(&self) {
        self.lock().counts.waited += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_calls_count_against_a_canary() {
        let tally = Tally::default();
        assert_eq!([true, false, true].map(|failed| tally.call(failed)), [1, 1, 2]);
        let later: Vec<usize> = (0..WINDOW).map(|_| tally.call(false)).collect();
        assert_eq!(later[WINDOW - 4..], [2, 1, 1, 0]);
        assert_eq!(tally.counts(), Counts { calls: 103, failed: 2, ..Counts::default() });
    }

    #[test]
    fn the_last_that_differ_are_kept_and_all_are_counted() {
        let tally = Tally::default();
        for n in 0..DIFFERING_MAX as u64 + 5 {
            let (key, event_id) = ("k".to_owned(), n.to_string());
            let (at, event_type) = (Timestamp(n), "t".to_owned());
            tally.differs(Differing { at, key, event_type, event_id, differences: Vec::new() });
        }
        assert_eq!(tally.counts().differing, 25);
        let kept = tally.differing();
        assert_eq!((kept.len(), &*kept[0].event_id, &*kept[19].event_id), (20, "24", "5"));
    }
}
