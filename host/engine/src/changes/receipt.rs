//! The receipt for an offered event, and the errors of an offer. A receipt exists only after the
//! commit: an `Accepted` event is durable.

use std::time::Duration;

use thiserror::Error;

use crate::model::Position;

/// What became of an offered event, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    Accepted(Position),
    /// An event with the same (source, id) was accepted before.
    Duplicate,
    /// The same, and that one has another type, subject or data. Not every such event is
    /// found: what is compared, and how often, is bounded.
    Differing,
}

/// Why events were not accepted. Nothing of the offer is in the log, except after
/// `Unavailable`, when all may be: offering the same events again is always safe.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OfferError {
    #[error("the host has too much work; retry in {retry_after:?}")]
    Busy { retry_after: Duration },
    #[error("the store does not accept events: {0}")]
    Unavailable(String),
    #[error(
        "the store cannot hold an event of this request: {0}; nothing of the request was accepted"
    )]
    Rejected(String),
    #[error("the host is shutting down")]
    Stopping,
}
