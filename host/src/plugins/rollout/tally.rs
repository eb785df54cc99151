//! What came of a candidate's calls, for people to look at and for the host to judge it by.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sagabox_engine::model::Timestamp;
use serde::Serialize;

use crate::decisions::json::Difference;

/// A canary is admitted by so many of its last calls.
pub(crate) const WINDOW: usize = 100;
/// The last that differ are kept whole; all are counted.
const DIFFERING_MAX: usize = 20;

/// Since the candidate began.
#[derive(Debug, Default)]
pub struct Tally(Mutex<State>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub calls: u64,
    /// Calls that the candidate failed at. If the version that serves failed as well, a
    /// shadow's call is none of them.
    pub failed: u64,
    /// Of a shadow: decisions that are not those of the version that serves.
    pub differing: u64,
    /// Of a shadow: decisions that came faster than it could be asked.
    pub skipped: u64,
}

/// A decision that a shadow makes otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Differing {
    pub at: Timestamp,
    pub key: String,
    pub event_type: String,
    pub event_id: String,
    /// `expected` is what the version that serves decided.
    pub differences: Vec<Difference>,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    /// Whether it failed at each of the last calls.
    recent: VecDeque<bool>,
    recent_failed: usize,
    differing: VecDeque<Differing>,
}

impl Tally {
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// The last that differ, the newest first.
    pub fn differing(&self) -> Vec<Differing> {
        self.lock().differing.iter().rev().cloned().collect()
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
        if state.differing.len() == DIFFERING_MAX {
            state.differing.pop_front();
        }
        state.differing.push_back(differing);
    }

    pub fn skip(&self) {
        self.lock().counts.skipped += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
