//! Pure: counts the calls of handlers in progress, and decides whether another decision fits into
//! memory.
//!
//! A decision's size is known when it is made. Until then each call is expected to bring as much as
//! the largest decision of late.

use tokio::sync::mpsc;

use crate::changes::jobs::JobResult;

/// The most bytes of decisions that are made, or in progress, and that the committer does not have
/// yet.
const DECIDED_BYTES_MAX: usize = 64 << 20;
/// The least size that a decision is expected to have, because a large one may come suddenly among
/// many small ones. It allows a thousand calls in progress, which keeps far more shards busy than
/// there are.
const DECISION_BYTES: usize = 64 << 10;

pub(super) struct Calls {
    results: mpsc::UnboundedSender<Vec<JobResult>>,
    under_way: usize,
    /// The bytes of the decisions that wait for the committer.
    decided_bytes: usize,
    /// The expected bytes of each further decision: those of the largest recent one.
    decision_bytes: usize,
}

impl Calls {
    pub(super) fn new(results: mpsc::UnboundedSender<Vec<JobResult>>) -> Self {
        Self { results, under_way: 0, decided_bytes: 0, decision_bytes: DECISION_BYTES }
    }

    /// The channel on which the results return.
    pub(super) fn results(&self) -> &mpsc::UnboundedSender<Vec<JobResult>> {
        &self.results
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    pub(super) fn begin(&mut self, count: usize) {
        self.under_way += count;
    }

    pub(super) fn end(&mut self, count: usize) {
        self.under_way -= count;
    }

    /// Whether one more decision, beside `more` that are about to be made, certainly fits into
    /// memory. One call is always allowed, however large its decision may become.
    pub(super) fn has_room(&self, more: usize) -> bool {
        let calls = self.under_way + more;
        let expected = calls.saturating_mul(self.decision_bytes);
        let bytes = self.decided_bytes.saturating_add(expected);
        self.decided_bytes < DECIDED_BYTES_MAX && (calls == 0 || bytes < DECIDED_BYTES_MAX)
    }

    /// Notes that a decision was made.
    pub(super) fn decided(&mut self, bytes: usize) {
        self.decided_bytes += bytes;
        let before = self.decision_bytes - self.decision_bytes / 64;
        self.decision_bytes = bytes.max(before).max(DECISION_BYTES);
    }

    /// Whether the decisions are larger than was expected when their calls were given to the
    /// shards.
    pub(super) fn are_too_many(&self) -> bool {
        self.under_way * self.decision_bytes > 2 * DECIDED_BYTES_MAX
    }

    /// Notes that the committer has the decisions that were made.
    pub(super) fn handed_over(&mut self) {
        self.decided_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls() -> Calls {
        Calls::new(mpsc::unbounded_channel().0)
    }

    #[test]
    fn as_many_calls_are_under_way_as_their_decisions_fit() {
        let mut calls = calls();
        let mut count = 0;
        while calls.has_room(count) {
            count += 1;
        }
        assert_eq!(count, DECIDED_BYTES_MAX / DECISION_BYTES);
        calls.begin(count);
        assert!(!calls.has_room(0));
        calls.end(1);
        assert!(calls.has_room(0));
    }

    #[test]
    fn a_large_decision_means_fewer_calls_until_small_ones_follow() {
        let mut calls = calls();
        calls.begin(4);
        calls.decided(DECIDED_BYTES_MAX);
        assert!(!calls.has_room(0), "the committer has not taken it");
        assert!(calls.are_too_many(), "three more of this size are under way");
        calls.end(4);
        calls.handed_over();
        assert!(calls.has_room(0), "one is always under way, however large it may be");
        assert!(!calls.has_room(1));
        for _ in 0..1_000 {
            calls.decided(1);
        }
        calls.handed_over();
        assert!(calls.has_room(DECIDED_BYTES_MAX / DECISION_BYTES - 1), "they were small of late");
    }
}
