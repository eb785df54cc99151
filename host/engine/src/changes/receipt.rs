//! The receipt for an offered event, and the errors of an offer. A receipt exists only after the
//! commit: an `Accepted` event is durable.

use std::time::Duration;

use thiserror::Error;

use crate::model::Position;

/// The durable outcome of an offered event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It is in the log, at this position.
    Accepted(Position),
    /// An event with the same (source, id) was accepted before.
    Duplicate,
    /// An event with the same (source, id) was accepted before and has another type, subject or
    /// data. Not every such event is found, because the number of comparisons is bounded.
    Differing,
}

/// Why events were not accepted. No event of the offer is in the log, except after
/// `Unavailable`, when all of them may be. Offering the same events again is always safe.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OfferError {
    /// Too many events wait for their commit, or the slowest plugin is too far behind.
    #[error("the host has too much work; retry in {retry_after:?}")]
    Busy {
        /// The pause before the sender should repeat the offer.
        retry_after: Duration,
    },
    /// An operator has paused the door.
    #[error("an operator has paused the acceptance of events: {reason}")]
    Paused {
        /// Why, in the operator's words.
        reason: String,
        /// The pause before the sender should repeat the offer.
        retry_after: Duration,
    },
    /// The store refused the commit or its outcome is unknown, or the engine recovers. The text
    /// is the reason.
    #[error("the store does not accept events: {0}")]
    Unavailable(String),
    /// The store cannot hold one of the events. A repetition fails too.
    #[error(
        "the store cannot hold an event of this request: {0}; nothing of the request was accepted"
    )]
    Rejected(String),
    /// The engine is stopping.
    #[error("the host is shutting down")]
    Stopping,
}
