//! How far a reader has come, when it finishes out of order.

use serde::{Deserialize, Serialize};

/// Everything up to and including `settled` is done, and so is everything in `ahead`.
/// What lies between is in flight, and is read again after a restart.
///
/// Plugins read the log with it (in positions), sinks their outbox (in sequences).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub settled: u64,
    /// Done beyond `settled`: disjoint, ascending, and not adjacent to each other or to `settled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<Span>,
    /// Events that several instances get and that some of them have: those who have.
    /// Ascending by position.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partly: Vec<(u64, Vec<super::Key>)>,
}

/// `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub first: u64,
    pub last: u64,
}

impl Cursor {
    #[must_use]
    pub fn contains(&self, place: u64) -> bool {
        place <= self.settled
            || self
                .ahead
                .binary_search_by(|span| {
                    if span.last < place {
                        std::cmp::Ordering::Less
                    } else if span.first > place {
                        std::cmp::Ordering::Greater
                    } else {
                        std::cmp::Ordering::Equal
                    }
                })
                .is_ok()
    }

    /// The highest place that is done.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.ahead.last().map_or(self.settled, |span| span.last)
    }
}

/// What became of what a reader has read, in total. Committed together with the
/// cursor, so that the sums always add up (guarantee 7). Held, parked and dead
/// things are not counted here: they are rows, and are counted where they lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Plugins: deliveries to handle, that is one for each event and instance that it
    /// reaches, and one for an event that reaches none. Sinks: messages appended.
    pub received: u64,
    /// Decisions that took effect; messages delivered.
    pub handled: u64,
    /// Ignored because no instance had the key.
    pub ignored_absent: u64,
    /// Ignored because the instance had been started already.
    pub ignored_started: u64,
    /// Ignored because the instance is complete.
    pub ignored_completed: u64,
    /// Ignored because nobody claimed the key while the event was held.
    pub ignored_unclaimed: u64,
    /// Fired timers that had been replaced or cancelled meanwhile.
    pub ignored_superseded: u64,
    /// Ignored because they came while the plugin was away, and it is configured so.
    #[serde(default)]
    pub ignored_missed: u64,
    /// Skipped or discarded by an operator.
    #[serde(default)]
    pub discarded: u64,
    /// Dead letters without a key that were redriven: they went to the log anew, and are
    /// received once more from there.
    #[serde(default)]
    pub requeued: u64,
}

impl Counters {
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored_absent
            + self.ignored_started
            + self.ignored_completed
            + self.ignored_unclaimed
            + self.ignored_superseded
            + self.ignored_missed
    }
}
