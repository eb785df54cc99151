//! The date by which records of what operators did are too old. A wall clock that is set must not make
//! them older: a wrong date would remove the whole audit log, and what is removed does not come back.
//!
//! The date runs with monotonic time. It begins when the wall clock has run for an hour without being
//! set, because a clock that is wrong at start-up is usually corrected sooner. A wall clock that is set
//! back later takes the date with it, and one that is set ahead does not.

use std::time::Duration;

use sagabox_engine::model::Timestamp;
use tokio::time::Instant;

/// How long the wall clock must run without being set before it is believed.
const BELIEVED_AFTER: Duration = Duration::from_hours(1);
/// The wall clock drifts, and is read a moment after the monotonic clock.
const DRIFT_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Aging {
    /// When both clocks were read last, and what the wall clock said.
    read: Instant,
    wall: Timestamp,
    /// Since when the wall clock has not been set.
    since: Instant,
    /// None: no date is believed yet.
    date: Option<Timestamp>,
}

impl Aging {
    pub fn new(now: Instant, wall: Timestamp) -> Self {
        Self { read: now, wall, since: now, date: None }
    }

    /// Reads both clocks. To be called every few minutes at least, or drift looks like a clock that
    /// was set.
    pub fn advance(&mut self, now: Instant, wall: Timestamp) {
        let elapsed = now.saturating_duration_since(self.read);
        let expected = self.wall.after(elapsed);
        let difference = Duration::from_millis(wall.0.abs_diff(expected.0));
        if difference > DRIFT_MAX {
            self.since = now;
        }
        (self.read, self.wall) = (now, wall);
        self.date = match self.date {
            Some(date) => Some(date.after(elapsed).min(wall)),
            None if now.saturating_duration_since(self.since) >= BELIEVED_AFTER => Some(wall),
            None => None,
        };
    }

    /// What is dated before this is at least so old; none if nothing is known to be.
    pub fn older_than(&self, age: Duration) -> Option<Timestamp> {
        self.date.map(|date| date.before(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const DAY: Duration = Duration::from_hours(24);
    const START: Timestamp = Timestamp(1_800_000_000_000);

    struct Clocks {
        now: Instant,
        wall: Timestamp,
        aging: Aging,
    }

    impl Clocks {
        fn new() -> Self {
            let now = Instant::now();
            Self { now, wall: START, aging: Aging::new(now, START) }
        }

        fn run(&mut self, minutes: u32) -> Option<Timestamp> {
            for _ in 0..minutes {
                (self.now, self.wall) = (self.now + MINUTE, self.wall.after(MINUTE));
                self.aging.advance(self.now, self.wall);
            }
            self.aging.older_than(DAY)
        }
    }

    #[test]
    fn the_date_runs_with_the_wall_clock_once_that_is_believed() {
        let mut clocks = Clocks::new();
        assert_eq!(clocks.run(59), None);
        assert_eq!(clocks.run(1), Some(clocks.wall.before(DAY)));
        assert_eq!(clocks.run(10_000), Some(clocks.wall.before(DAY)));
    }

    #[test]
    fn a_clock_that_is_set_ahead_makes_nothing_older() {
        let mut clocks = Clocks::new();
        clocks.run(100);
        let right = clocks.wall;
        clocks.wall = clocks.wall.after(1_000 * DAY);
        assert_eq!(clocks.run(100), Some(right.after(100 * MINUTE).before(DAY)));
        clocks.wall = right.after(100 * MINUTE);
        assert_eq!(clocks.run(100), Some(clocks.wall.before(DAY)), "it is set right again");
    }

    #[test]
    fn a_clock_that_is_set_back_takes_the_date_with_it() {
        let mut clocks = Clocks::new();
        clocks.run(100);
        clocks.wall = clocks.wall.before(30 * DAY);
        assert_eq!(clocks.run(1), Some(clocks.wall.before(DAY)));
    }

    #[test]
    fn a_clock_that_is_wrong_at_start_up_is_not_believed_before_it_is_corrected() {
        let mut clocks = Clocks::new();
        assert_eq!(clocks.run(50), None);
        clocks.wall = clocks.wall.before(3_000 * DAY);
        assert_eq!(clocks.run(59), None);
        assert_eq!(clocks.run(2), Some(clocks.wall.before(DAY)));
    }
}
