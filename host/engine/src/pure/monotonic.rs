//! Pure: points in monotonic time. Everything that waits uses them: retries, leases, breakers,
//! timeouts, polling. Setting the wall clock, in either direction, changes no wait.
//!
//! Dates (due times, deadlines of holds, what people read) are [`Timestamp`]s of the wall clock.
//! The source is `tokio::time`, so the paused time of a simulation applies here too.

use std::time::Duration;

pub(crate) use tokio::time::Instant;

use crate::model::Timestamp;

/// The longest wait. The range of an `Instant` is bounded, and the delay that a peer asks for is
/// not.
const WAIT_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The end of a wait that begins at `now`.
#[must_use]
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    now + wait.min(WAIT_MAX)
}

/// The date of a point in monotonic time, from the wall clock's date of now: for people, and for
/// rows that outlive the process.
#[must_use]
pub(crate) fn date(at: Instant, now: Instant, today: Timestamp) -> Timestamp {
    match now.checked_duration_since(at) {
        None => today.after(at.duration_since(now)),
        Some(ago) => today.before(ago),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn any_wait_has_an_end() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::from_secs(5)).duration_since(now).as_secs(), 5);
        assert!(after(now, Duration::MAX) > now);
    }

    #[tokio::test(start_paused = true)]
    async fn the_ends_of_a_wait_are_shown_as_dates() {
        let now = Instant::now();
        let end = after(now, Duration::from_millis(1_500));
        assert_eq!(date(end, now, Timestamp(10_000)), Timestamp(11_500));
        assert_eq!(date(now, end, Timestamp(10_000)), Timestamp(8_500));
        assert_eq!(date(after(now, Duration::MAX), now, Timestamp::MAX), Timestamp::MAX);
    }
}
