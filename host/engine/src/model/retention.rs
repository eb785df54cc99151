//! How long data is kept.

use std::time::Duration;

/// How long completed data is kept. None: for ever. Ages are measured on the age clock
/// ([`super::AgeTime`]), so a wall clock that jumps removes nothing early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long an event with the (source, id) of an earlier one is recognised as its duplicate.
    pub duplicates: Option<Duration>,
    /// Events, decisions, delivered messages and resolved dead letters.
    pub history: Option<Duration>,
    /// Instances that are completed or ended. For as long, late events for them are counted as
    /// such.
    pub finished: Option<Duration>,
    /// The pause between two passes of the housekeeping stage.
    pub interval: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            duplicates: Some(7 * DAY),
            history: Some(30 * DAY),
            finished: Some(30 * DAY),
            interval: Duration::from_secs(60),
        }
    }
}
