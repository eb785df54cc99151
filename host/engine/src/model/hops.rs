//! How many steps an event is away from an event of a sender.
//!
//! The store keeps the number beside the event, not in it, so no sender can set it and no
//! receiver sees it. The number distinguishes the host's own events from events of senders, whatever
//! their ids are. It also stops plugins that answer each other in an endless loop.

use serde::{Deserialize, Serialize};

/// The steps that a decision adds for each doubling of the number of things that it makes. With
/// a limit of 100, all that follows from one event of a sender stays below some 30 million
/// things, and a decision with 1,000 messages may still be answered by another such decision.
const DOUBLING: u32 = 4;

/// The steps from an event of a sender to this event or message. Zero: it is the sender's event
/// itself.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Hops(pub u32);

/// Who made an event. It is part of the event's identity, so an event of the host is never a
/// duplicate of a sender's event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A sender.
    Outside,
    /// This host, for a decision, a timer, a failed command or an operator.
    Host,
}

impl Hops {
    /// An event that a sender sent.
    pub const OUTSIDE: Self = Self(0);
    /// An event that the host made without an event as its cause, such as an operator's request.
    pub const FIRST: Self = Self(1);

    /// Who made the event with these hops.
    #[must_use]
    pub fn origin(self) -> Origin {
        match self {
            Self::OUTSIDE => Origin::Outside,
            Self(_) => Origin::Host,
        }
    }

    /// The hops of each of the `made` things that one decision about this event makes: one step
    /// more, and [`DOUBLING`] steps for each doubling of their number.
    #[must_use]
    pub fn after(self, made: usize) -> Self {
        let doublings = made.max(1).next_power_of_two().trailing_zeros();
        Self(self.0.saturating_add(1 + DOUBLING * doublings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_counts_one_and_more_if_it_multiplies() {
        let steps = [0, 1, 2, 3, 4, 5, 1_000].map(|made| Hops::OUTSIDE.after(made).0);
        assert_eq!(steps, [1, 1, 5, 9, 9, 13, 41]);
        assert_eq!(Hops(u32::MAX).after(2), Hops(u32::MAX));
    }

    #[test]
    fn only_a_sender_is_outside() {
        assert_eq!(Hops::default().origin(), Origin::Outside);
        assert_eq!(Hops::FIRST.origin(), Origin::Host);
        assert_eq!(Hops::OUTSIDE.after(1).origin(), Origin::Host);
    }
}
