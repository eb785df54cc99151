//! How long things are kept.

use std::time::Duration;

/// How long what is done with is kept. None: for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// For so long an event with the (source, id) of another is recognised as its duplicate.
    pub duplicates: Option<Duration>,
    /// Events, decisions, delivered messages and resolved dead letters.
    pub history: Option<Duration>,
    /// Instances that are completed or ended; so long are late events recognised as such.
    pub finished: Option<Duration>,
    /// How often somebody looks for what is too old.
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
