//! Pure: how old things are, for retention.
//!
//! The wall clock may be set at any time, and what is received while it is wrong keeps a wrong
//! date. So age is not computed from dates. A *mark* notes the end of the log at a time of the
//! *age clock*, which runs with monotonic time. Everything up to the position of a mark is at
//! least as old as the mark, whatever the wall clock says. Setting the wall clock while a host
//! runs makes nothing older or younger.
//!
//! Monotonic time does not show how long no host ran; only the wall clock does. That time counts
//! once the wall clock has shown it for as long as the gap, but for at least ten minutes and at
//! most an hour. A wall clock that is wrong at start-up is usually corrected sooner.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::AgeMark;
use crate::model::{AgeTime, Position, Timestamp};
use crate::pure::monotonic::Instant;

/// The wall clock drifts, and is read a moment after the monotonic clock.
const DRIFT_MAX: i64 = 1_000;
/// How long the wall clock must show a gap before the gap counts.
const BELIEVED_AFTER_MIN: Duration = Duration::from_secs(10 * 60);
const BELIEVED_AFTER_MAX: Duration = Duration::from_secs(60 * 60);
/// The distance between marks is this part of the shortest retention. Data stays that much
/// longer.
const MARKS_PER_RETENTION: u32 = 64;

/// Knows which positions and dates are older than an age.
#[derive(Debug)]
pub(crate) struct Ages {
    clock: AgeClock,
    marks: BTreeMap<AgeTime, (Position, Timestamp)>,
    /// Marks that are in the store and are no longer needed.
    useless: Vec<AgeTime>,
    spacing: Duration,
    /// The longest retention. Marks that are older are not needed.
    kept: Duration,
}

#[derive(Debug)]
struct AgeClock {
    at: AgeTime,
    /// When both clocks were read last, and what the wall clock said.
    read: Instant,
    wall: Timestamp,
    down: Option<Down>,
}

/// How long no host ran, according to the wall clock.
#[derive(Clone, Copy, Debug)]
struct Down {
    gap: i64,
    /// When the gap began, and since when the wall clock shows it.
    after: AgeTime,
    since: Instant,
}

impl Ages {
    /// Continues from the marks that the last host left. `kept` are the retention periods.
    pub(crate) fn new(
        marks: &[AgeMark],
        kept: impl IntoIterator<Item = Duration>,
        now: Instant,
        wall: Timestamp,
    ) -> Self {
        let kept: Vec<Duration> = kept.into_iter().collect();
        let shortest = kept.iter().min().copied().unwrap_or_default();
        let mut clock = AgeClock { at: AgeTime(wall.0), read: now, wall, down: None };
        if let Some(latest) = marks.iter().max_by_key(|mark| mark.at) {
            clock.at = latest.at;
            // The wall clock may have been wrong at the latest mark, so all marks are compared.
            let dates = marks.iter().map(|mark| mark.wall.after(latest.at.since(mark.at)));
            let gap = signed(wall) - signed(dates.max().unwrap_or(latest.wall));
            clock.down = Some(Down { gap, after: latest.at, since: now });
        }
        Self {
            clock,
            marks: marks.iter().map(|mark| (mark.at, (mark.position, mark.wall))).collect(),
            useless: Vec::new(),
            spacing: shortest / MARKS_PER_RETENTION,
            kept: kept.into_iter().max().unwrap_or_default(),
        }
    }

    /// Reads both clocks, after time has passed.
    pub(crate) fn advance(&mut self, now: Instant, wall: Timestamp) {
        if let Some(down) = self.clock.advance(now, wall) {
            // Events that came after the gap are younger than these marks say, so the marks are
            // removed.
            let later = self.marks.split_off(&down.after);
            self.useless.extend(later.keys().filter(|at| **at != down.after));
            self.marks.extend(later.into_iter().filter(|(at, _)| *at == down.after));
        }
    }

    /// Notes the end of the log. Returns the mark to be stored, and the marks to be removed.
    pub(crate) fn mark(&mut self, head: Position) -> (AgeMark, Vec<AgeTime>) {
        let (at, wall) = (self.clock.at, self.clock.wall);
        let mut removed = std::mem::take(&mut self.useless);
        // The next host continues from the latest mark. It stays as a mark only if it is far
        // enough from the one before it.
        let mut earlier = self.marks.keys().rev().filter(|mark| **mark != at);
        if let (Some(last), Some(before)) = (earlier.next(), earlier.next())
            && last.since(*before) < self.spacing
        {
            removed.push(*last);
        }
        let useful = self.marks.range(..=at.before(self.kept)).next_back();
        let useful = useful.map_or(AgeTime(0), |(at, _)| *at);
        removed.extend(self.marks.range(..useful).map(|(at, _)| *at));
        for mark in &removed {
            self.marks.remove(mark);
        }
        self.marks.insert(at, (head, wall));
        (AgeMark { at, position: head, wall }, removed)
    }

    /// A position and a date: everything up to the position was received at least `age` ago, and
    /// everything dated before the date happened at least `age` ago.
    pub(crate) fn older_than(&self, age: Option<Duration>) -> (Position, Timestamp) {
        let mark = age.and_then(|age| self.marks.range(..=self.clock.at.before(age)).next_back());
        let Some((&at, (position, _))) = mark else { return Default::default() };
        // The date of one mark may be wrong, so all marks since are compared.
        let dates = self.marks.range(at..).map(|(later, (_, wall))| wall.before(later.since(at)));
        (*position, dates.min().unwrap_or_default())
    }
}

impl AgeClock {
    /// Returns the time for which no host ran, once it counts.
    fn advance(&mut self, now: Instant, wall: Timestamp) -> Option<Down> {
        let elapsed = now.saturating_duration_since(self.read);
        let set = signed(wall) - signed(self.wall.after(elapsed));
        (self.at, self.read, self.wall) = (self.at.after(elapsed), now, wall);
        let mut down = self.down.take()?;
        if set.abs() > DRIFT_MAX {
            (down.gap, down.since) = (down.gap + set, now);
        }
        if down.gap <= DRIFT_MAX {
            return None;
        }
        let gap = Duration::from_millis(down.gap.unsigned_abs());
        let believed_after = gap.clamp(BELIEVED_AFTER_MIN, BELIEVED_AFTER_MAX);
        if now.saturating_duration_since(down.since) < believed_after {
            self.down = Some(down);
            return None;
        }
        self.at = self.at.after(gap);
        Some(down)
    }
}

/// No real time is near the limit of the type.
fn signed(time: Timestamp) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const START: u64 = 20_000 * DAY;
    const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

    /// A log that grows by one event a minute, on a host with a wall clock that is set.
    struct Host {
        start: Instant,
        /// The time that really passed.
        passed: u64,
        /// How wrong the wall clock is.
        wrong: i64,
        ages: Ages,
        stored: BTreeMap<AgeTime, AgeMark>,
        received: Vec<u64>,
    }

    impl Host {
        fn new() -> Self {
            let start = Instant::now();
            let ages = Ages::new(&[], [KEPT], start, Timestamp(START));
            Self { start, passed: 0, wrong: 0, ages, stored: BTreeMap::new(), received: Vec::new() }
        }

        fn wall(&self) -> Timestamp {
            Timestamp(START.saturating_add(self.passed).saturating_add_signed(self.wrong))
        }

        fn now(&self) -> Instant {
            self.start + Duration::from_millis(self.passed)
        }

        fn run(&mut self, millis: u64) {
            for _ in 0..millis / MINUTE {
                self.passed += MINUTE;
                self.received.push(self.passed);
                self.ages.advance(self.now(), self.wall());
                let (mark, removed) = self.ages.mark(Position(self.received.len() as u64));
                self.stored.insert(mark.at, mark);
                removed.iter().for_each(|mark| _ = self.stored.remove(mark));
            }
        }

        /// Monotonic time does not count while the host is down.
        fn restart(&mut self, down: u64) {
            self.passed += down;
            let marks: Vec<AgeMark> = self.stored.values().copied().collect();
            self.ages = Ages::new(&marks, [KEPT], self.now(), self.wall());
        }

        /// The true age of the youngest event that counts as old.
        fn youngest(&self) -> Option<u64> {
            let (old, _) = self.ages.older_than(Some(KEPT));
            let at = usize::try_from(old.0).ok()?.checked_sub(1)?;
            Some(self.passed - self.received[at])
        }

        fn check(&self) {
            let age = self.youngest();
            assert!(age.is_none_or(|age| age >= 30 * DAY), "{age:?}");
        }
    }

    #[test]
    fn what_is_old_goes_soon_after_its_time() {
        let mut host = Host::new();
        host.run(29 * DAY);
        assert_eq!(host.youngest(), None);
        host.run(10 * DAY);
        let age = host.youngest().expect("some are older than 30 days");
        assert!((30 * DAY..31 * DAY).contains(&age), "{age}");
        assert!(host.stored.len() < 100, "{} marks", host.stored.len());
        let (_, date) = host.ages.older_than(Some(KEPT));
        assert!((START + 8 * DAY..=START + 9 * DAY).contains(&date.0), "{date:?}");
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_while_makes_nothing_older() {
        for wrong in [40 * DAY, DAY, HOUR].map(u64::cast_signed) {
            for sign in [1, -1] {
                let mut host = Host::new();
                host.run(DAY);
                host.wrong = sign * wrong;
                host.run(2 * MINUTE);
                host.check();
                host.restart(0);
                host.run(2 * MINUTE);
                host.check();
                host.wrong = 0;
                host.run(DAY);
                host.check();
                host.restart(0);
                host.run(28 * DAY - 10 * MINUTE);
                assert_eq!(host.youngest(), None, "wrong by {wrong}");
                host.run(2 * DAY);
                assert!(host.youngest().is_some(), "wrong by {wrong}");
            }
        }
    }

    #[test]
    fn the_time_for_which_a_host_was_down_counts_once_it_is_certain() {
        let mut host = Host::new();
        host.run(DAY);
        host.restart(40 * DAY);
        host.run(HOUR - MINUTE);
        assert_eq!(host.youngest(), None);
        host.run(2 * MINUTE);
        assert!(host.youngest().is_some_and(|age| age > 40 * DAY));
    }

    #[test]
    fn a_clock_that_is_corrected_while_a_host_runs_makes_nothing_older() {
        for wrong in [-START.cast_signed(), 40 * DAY.cast_signed()] {
            let mut host = Host::new();
            host.wrong = wrong;
            host.restart(0);
            host.run(HOUR);
            host.wrong = 0;
            host.run(DAY);
            assert_eq!(host.youngest(), None);
            host.restart(0);
            host.run(DAY);
            assert_eq!(host.youngest(), None);
            host.run(30 * DAY);
            host.check();
            assert!(host.youngest().is_some());
        }
    }

    #[test]
    fn a_date_that_was_wrong_when_it_was_noted_makes_nothing_older() {
        let mut host = Host::new();
        host.run(DAY);
        host.wrong = 40 * DAY.cast_signed();
        host.run(DAY);
        host.wrong = 0;
        host.run(30 * DAY);
        let (_, date) = host.ages.older_than(Some(KEPT));
        assert!(date.0 <= START + 2 * DAY, "{date:?}");
    }

    proptest! {
        /// Each time it is wrong it is so for less than ten minutes.
        #[test]
        fn nothing_counts_as_older_than_it_is(
            steps in proptest::collection::vec((-100 * 86_400_000_i64..100 * 86_400_000, 1..9_u64, 0..3_u64, any::<bool>()), 0..40),
        ) {
            let mut host = Host::new();
            // A clock that was never right looks like a host that was down since.
            host.run(DAY);
            for (wrong, minutes, days, restarts) in steps {
                host.wrong = wrong;
                if restarts {
                    host.restart(0);
                }
                host.run(minutes * MINUTE);
                host.check();
                if restarts {
                    host.restart(0);
                    host.check();
                }
                host.wrong = 0;
                host.run(days * DAY);
                host.check();
            }
        }
    }
}
