//! Pure: remembers what became of the messages of recent leases, in bounded memory.
//!
//! A worker whose answer was lost repeats its call. The queue then reports what the first call did,
//! and does not hand the messages out again.

use std::collections::VecDeque;

use crate::model::LeaseId;
use crate::model::MessageId;
use crate::pure::hash::HashMap;

/// The most messages of one queue that are remembered: some leases of the largest size, in a few
/// MiB.
const MESSAGES_MAX: usize = 16_384;

/// How a message left its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseOutcome {
    Acknowledged,
    GivenBack,
    Expired,
}

/// The messages that have left recent leases, by lease.
#[derive(Default)]
pub(crate) struct LeaseOutcomes {
    leases: HashMap<LeaseId, HashMap<MessageId, LeaseOutcome>>,
    /// The leases in the order in which a first message left them, oldest first.
    order: VecDeque<LeaseId>,
    messages: usize,
}

impl LeaseOutcomes {
    pub(crate) fn note(
        &mut self,
        lease: LeaseId,
        messages: impl IntoIterator<Item = MessageId>,
        outcome: LeaseOutcome,
    ) {
        let of_lease = self.leases.entry(lease).or_insert_with(|| {
            self.order.push_back(lease);
            HashMap::default()
        });
        let before = of_lease.len();
        of_lease.extend(messages.into_iter().map(|message| (message, outcome)));
        self.messages += of_lease.len() - before;
        // The newest lease stays, however large it is.
        while self.messages > MESSAGES_MAX
            && self.order.len() > 1
            && let Some(oldest) = self.order.pop_front()
        {
            self.messages -= self.leases.remove(&oldest).map_or(0, |messages| messages.len());
        }
    }

    /// What became of the messages that have left a lease. None if the lease is not known, or no
    /// longer.
    #[must_use]
    pub(crate) fn of(&self, lease: LeaseId) -> Option<&HashMap<MessageId, LeaseOutcome>> {
        self.leases.get(&lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<usize>) -> impl Iterator<Item = MessageId> {
        range.map(|number| MessageId::from(number.to_string()))
    }

    #[test]
    fn the_newest_leases_are_remembered_and_memory_is_bounded() {
        let mut outcomes = LeaseOutcomes::default();
        for lease in 0..100 {
            outcomes.note(LeaseId(lease), ids(0..1000), LeaseOutcome::Expired);
            outcomes.note(LeaseId(lease), ids(0..1), LeaseOutcome::Acknowledged);
            assert!(outcomes.messages <= MESSAGES_MAX);
        }
        assert!(outcomes.of(LeaseId(83)).is_none());
        let newest = outcomes.of(LeaseId(99)).unwrap();
        assert_eq!(
            (newest.len(), newest[&MessageId::from("0")]),
            (1000, LeaseOutcome::Acknowledged)
        );
        outcomes.note(LeaseId(100), ids(0..2 * MESSAGES_MAX), LeaseOutcome::GivenBack);
        assert_eq!(outcomes.of(LeaseId(100)).unwrap().len(), 2 * MESSAGES_MAX);
        assert_eq!(outcomes.leases.len(), 1);
    }
}
