//! How far a reader has read, if it finishes out of order.

use serde::{Deserialize, Serialize};

use super::instance::InstanceStatus;

/// Everything up to and including `settled` is done, and so is everything in `ahead`. The places
/// between are in flight, and are read again after a restart.
///
/// Plugins read the log with it (in positions), sinks their outbox (in sequences).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The place up to which everything is done; zero if nothing is. It is a position for a
    /// plugin, and a sequence for a sink.
    pub settled: u64,
    /// Places after `settled` that are done: disjoint, ascending, and not adjacent to each other
    /// or to `settled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<Span>,
}

/// The places from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first place of the span.
    pub first: u64,
    /// The last place of the span.
    pub last: u64,
}

impl Cursor {
    /// Whether a place is done: up to `settled`, or in `ahead`.
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

/// What became of what a reader has read, in total. It is committed together with the cursor, so
/// that the sums always add up (guarantee 7). Held events, parked events and dead letters are
/// not counted here: each is a row, and the store counts the rows.
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
    /// Ignored because the instance had completed, or an operator had ended it.
    pub ignored_completed: u64,
    /// Ignored because no instance claimed the key while the event was held.
    pub ignored_unclaimed: u64,
    /// Fired timers that a decision had replaced or cancelled before the turn of their event
    /// came.
    pub ignored_superseded: u64,
    /// Ignored because they came while the plugin was not loaded, and it is configured to ignore
    /// them.
    #[serde(default)]
    pub ignored_missed: u64,
    /// Ignored because the plugin takes them from other sources alone.
    #[serde(default)]
    pub ignored_source: u64,
    /// Skipped or discarded by an operator.
    #[serde(default)]
    pub discarded: u64,
    /// Dead letters without a key that were redriven: their events were appended to the log
    /// again, and the plugin receives them once more from there.
    #[serde(default)]
    pub requeued: u64,
    /// The number of the plugin's instances. It is kept here so that reading it costs the same for
    /// any number of instances.
    #[serde(default, skip_serializing_if = "InstanceCounts::is_empty")]
    pub instances: InstanceCounts,
}

/// How many instances a plugin has, by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceCounts {
    /// Those that run.
    pub running: u64,
    /// Those that have completed.
    pub completed: u64,
    /// Those that an operator has ended.
    pub ended: u64,
}

impl InstanceCounts {
    /// How many have a status.
    #[must_use]
    pub fn of(&self, status: InstanceStatus) -> u64 {
        match status {
            InstanceStatus::Running => self.running,
            InstanceStatus::Completed => self.completed,
            InstanceStatus::Ended => self.ended,
        }
    }

    /// Counts an instance that changes: from nothing if it begins, to nothing if it is removed.
    pub fn change(&mut self, from: Option<InstanceStatus>, to: Option<InstanceStatus>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            let count = self.of_mut(from);
            *count = count.saturating_sub(1);
        }
        if let Some(to) = to {
            *self.of_mut(to) += 1;
        }
    }

    fn of_mut(&mut self, status: InstanceStatus) -> &mut u64 {
        match status {
            InstanceStatus::Running => &mut self.running,
            InstanceStatus::Completed => &mut self.completed,
            InstanceStatus::Ended => &mut self.ended,
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Counters {
    /// The sum over all reasons for which events were ignored.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored_absent
            + self.ignored_started
            + self.ignored_completed
            + self.ignored_unclaimed
            + self.ignored_superseded
            + self.ignored_missed
            + self.ignored_source
    }
}
