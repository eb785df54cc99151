//! Pure: keys that wait for the next attempt at their first event or message. A pause that is
//! longer than a moment is a durable row: the key leaves memory, and its flight, cursor and
//! neighbours go on without it. Dispatcher and sink lanes use it, with the barrier in `parking.rs`.
//!
//! A wait ends by the monotonic clock. Its date is for people and for the next start, which
//! waits for no longer than the pause was, whatever the wall clock says by then.

use std::collections::BTreeSet;
use std::hash::Hash;

use crate::model::{Timestamp, Wait};
use crate::pure::hash::HashMap;
use crate::pure::monotonic::{self, Instant, after};

/// The waits of all keys of a stage. `M` is what is known of the earlier attempts in memory alone.
#[derive(Debug)]
pub(crate) struct Waits<K, M> {
    keys: HashMap<K, Waiting<M>>,
    wakes: BTreeSet<(Instant, K)>,
}

#[derive(Debug)]
struct Waiting<M> {
    wait: Wait,
    memo: M,
    /// None: it is over and the attempt has not ended, or something else than time ends it.
    wakes_at: Option<Instant>,
}

impl<K, M> Default for Waits<K, M> {
    fn default() -> Self {
        Self { keys: HashMap::default(), wakes: BTreeSet::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord, M> Waits<K, M> {
    /// A key waits for the attempt at what is at `place`: until a time, or until it is woken.
    /// Returns the row; one without a time is over when the host starts again.
    pub(crate) fn begin(
        &mut self,
        key: &K,
        (place, attempt): (u64, u32),
        reason: &str,
        memo: M,
        until: Option<Instant>,
        today: Timestamp,
    ) -> Wait {
        let until_date = until.map_or(today, |it| monotonic::date(it, Instant::now(), today));
        let wait =
            Wait { place, attempt, since: today, until: until_date, reason: reason.to_owned() };
        self.insert(key, wait.clone(), memo, until);
        wait
    }

    /// Restores a wait that the store has.
    pub(crate) fn restore(&mut self, key: &K, wait: &Wait, memo: M, today: Timestamp) {
        let left = wait.until.since(today).min(wait.until.since(wait.since));
        self.insert(key, wait.clone(), memo, Some(after(Instant::now(), left)));
    }

    fn insert(&mut self, key: &K, wait: Wait, memo: M, wakes_at: Option<Instant>) {
        self.end(key, None);
        self.wakes.extend(wakes_at.map(|until| (until, key.clone())));
        self.keys.insert(key.clone(), Waiting { wait, memo, wakes_at });
    }

    /// The next key whose wait is over. Its attempt can be made.
    pub(crate) fn wake(&mut self, now: Instant) -> Option<K> {
        let (until, _) = self.wakes.first()?;
        if *until > now {
            return None;
        }
        let (_, key) = self.wakes.pop_first()?;
        if let Some(waiting) = self.keys.get_mut(&key) {
            waiting.wakes_at = None;
        }
        Some(key)
    }

    #[must_use]
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.wakes.first().map(|(until, _)| *until)
    }

    /// The number of the attempt that the event or message at this place waited for, and what is
    /// known of the earlier ones.
    pub(crate) fn of(&mut self, key: &K, place: u64) -> Option<(u32, &mut M)> {
        let waiting = self.keys.get_mut(key).filter(|waiting| waiting.wait.place == place)?;
        Some((waiting.wait.attempt, &mut waiting.memo))
    }

    /// Ends a key's wait before its time. Returns the row, with the current date as its end.
    pub(crate) fn end_early(&mut self, key: &K, today: Timestamp) -> Option<Wait> {
        let waiting = self.keys.get_mut(key)?;
        let until = waiting.wakes_at.take()?;
        self.wakes.remove(&(until, key.clone()));
        // The wait is over also for a wall clock that is set back.
        (waiting.wait.since, waiting.wait.until) = (today, today);
        Some(waiting.wait.clone())
    }

    /// The keys that wait for a time, the next first.
    pub(crate) fn keys(&self) -> Vec<K> {
        self.wakes.iter().map(|(_, key)| key.clone()).collect()
    }

    /// Where a key waits.
    #[must_use]
    pub(crate) fn place(&self, key: &K) -> Option<u64> {
        self.keys.get(key).map(|waiting| waiting.wait.place)
    }

    /// Ends the key's wait for the item at this place; at any place if none is given. True if the
    /// key waited: the caller removes the row.
    pub(crate) fn end(&mut self, key: &K, place: Option<u64>) -> bool {
        let Some(waiting) = self.keys.get(key) else { return false };
        if place.is_some_and(|place| place != waiting.wait.place) {
            return false;
        }
        if let Some(until) = waiting.wakes_at {
            self.wakes.remove(&(until, key.clone()));
        }
        self.keys.remove(key);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: Timestamp = Timestamp(1_800_000_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    #[tokio::test(start_paused = true)]
    async fn keys_wake_in_the_order_of_their_dates_and_once() {
        let mut waits: Waits<&str, ()> = Waits::default();
        let now = Instant::now();
        waits.begin(&"b", (7, 2), "busy", (), Some(now + 2 * HOUR), DAY);
        let wait = waits.begin(&"a", (5, 3), "busy", (), Some(now + HOUR), DAY);
        assert_eq!((wait.since, wait.until), (DAY, DAY.after(HOUR)));
        assert_eq!((waits.wake(now), waits.next_wake()), (None, Some(now + HOUR)));
        assert_eq!(waits.wake(now + HOUR), Some("a"));
        assert_eq!(waits.wake(now + HOUR), None);
        assert_eq!(waits.of(&"a", 5).map(|(attempt, ())| attempt), Some(3));
        assert_eq!(waits.of(&"a", 6), None);
        assert!(!waits.end(&"a", Some(6)) && waits.end(&"a", Some(5)) && !waits.end(&"a", None));
        assert!(waits.end(&"b", None));
        let begun = waits.begin(&"c", (9, 1), "asking", (), None, DAY);
        assert_eq!((begun.until, waits.next_wake()), (DAY, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_ended_early_stays_ended_after_a_start() {
        let (mut waits, now) = (Waits::<&str, ()>::default(), Instant::now());
        waits.begin(&"a", (5, 3), "busy", (), Some(now + HOUR), DAY);
        waits.begin(&"b", (6, 1), "asking", (), None, DAY);
        assert_eq!(waits.end_early(&"b", DAY), None, "no time ends it");
        let wait = waits.end_early(&"a", DAY.after(HOUR / 2)).expect("it waits");
        assert_eq!((wait.place, wait.attempt, waits.next_wake()), (5, 3, None));
        assert_eq!(waits.end_early(&"a", DAY), None, "its time is over");
        assert_eq!(waits.of(&"a", 5).map(|(attempt, ())| attempt), Some(3));
        for today in [DAY, DAY.after(9 * HOUR), DAY.before(9 * HOUR)] {
            let mut waits: Waits<&str, ()> = Waits::default();
            waits.restore(&"a", &wait, (), today);
            assert_eq!(waits.wake(now), Some("a"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_for_what_is_left_whatever_the_wall_clock_says() {
        let now = Instant::now();
        let wait = Wait {
            place: 5,
            attempt: 3,
            since: DAY,
            until: DAY.after(HOUR),
            reason: "busy".to_owned(),
        };
        for (today, left) in [
            (DAY.after(HOUR / 4), HOUR * 3 / 4),
            (DAY.after(24 * HOUR), Duration::ZERO),
            (DAY.before(24 * HOUR), HOUR),
        ] {
            let mut waits: Waits<&str, ()> = Waits::default();
            waits.restore(&"a", &wait, (), today);
            assert_eq!(waits.next_wake(), Some(now + left));
        }
    }
}
