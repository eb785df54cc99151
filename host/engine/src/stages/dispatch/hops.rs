//! Stops plugins that answer each other, or themselves, without end. What a decision makes is at
//! least one hop further from the event of a sender than the event that it decides. A decision that
//! would make something beyond the limit becomes a dead letter.
//!
//! The store keeps the hops (`model/hops.rs`), so a restart does not reset the count.

use std::time::Duration;

use crate::model::{Decision, Due, Key, Position, TimerChange, Timestamp};

use super::Dispatcher;

/// A loop through timers with this pause or a longer one is no flood: an instance may look at
/// something each second, for years.
const LOOP_PAUSE: Duration = Duration::from_secs(1);

impl Dispatcher {
    /// # Errors
    /// Fails if the decision would make something beyond the limit.
    pub(super) fn check_hops(
        &mut self,
        key: &Key,
        position: Position,
        decision: &Decision,
    ) -> Result<(), String> {
        let hops_max = self.context.hops_max;
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return Ok(()) };
        let entry = &delivery.entry;
        let made = made(decision, delivery.now.unwrap_or(entry.received_at));
        let hops = entry.hops.after(made);
        if made == 0 || hops.0 <= hops_max {
            return Ok(());
        }
        Err(format!(
            "hop limit: the event is {} hops from an event of a sender, and the {made} messages \
             and timers of this decision would be {}; at most {hops_max} are allowed. Plugins \
             that answer each other in an endless loop cause this: correct their \
             subscriptions, or increase `hops` under [limits], and redrive",
            entry.hops.0, hops.0,
        ))
    }
}

pub(super) fn due_at(due: Due, now: Timestamp) -> Timestamp {
    match due {
        Due::After(millis) => now.after(Duration::from_millis(millis)),
        Due::At(at) => at.min(Timestamp::MAX),
    }
}

pub(super) fn is_soon(due: Timestamp, now: Timestamp) -> bool {
    due.since(now) < LOOP_PAUSE
}

/// How many results of a decision may return as events at once.
pub(super) fn made(decision: &Decision, now: Timestamp) -> usize {
    let soon = |change: &&TimerChange| match change {
        TimerChange::Set { due, .. } => is_soon(due_at(*due, now), now),
        TimerChange::Cancel(_) => false,
    };
    decision.messages.len() + decision.timers.iter().filter(soon).count()
}
