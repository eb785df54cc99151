//! Pure: how fast a batch begins its items. It begins the first item and waits for its outcome,
//! then 5, then 50, and then as many in a second as its rate allows. If more than half of one of
//! these first groups fail again, the batch stops: what was wrong is still wrong.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::pure::monotonic::Instant;

/// The sizes of the first groups.
const WAVES: [u32; 3] = [1, 5, 50];
/// Items that were due within the last such time, and did not begin, may begin at once. A task is
/// not woken at each moment, and this evens out its steps.
const BURST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Pace {
    /// The group of first items that is under way; none if the rate is the only bound.
    wave: Option<Wave>,
    /// The time between two items at the full rate.
    gap: Duration,
    /// When the next item would begin if all began evenly.
    next: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Wave {
    index: usize,
    begun: u32,
    settled: u32,
    failed: u32,
}

/// Too many of the first items have failed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    pub failed: u32,
    pub of: u32,
}

impl Pace {
    /// With `ignore_failures`, the first items are treated like all others.
    pub(crate) fn new(rate_per_second: NonZeroU32, ignore_failures: bool, now: Instant) -> Self {
        let wave = (!ignore_failures).then(Wave::default);
        Self { wave, gap: Duration::from_secs(1) / rate_per_second.get(), next: now }
    }

    /// How many items may begin now.
    pub(crate) fn room(&self, now: Instant) -> usize {
        let end = now + BURST;
        let by_rate = match end.checked_duration_since(self.next.max(now)) {
            None => 0,
            Some(time) => 1 + time.as_nanos() / self.gap.as_nanos().max(1),
        };
        let by_wave = self.wave.map_or(u32::MAX, |wave| WAVES[wave.index] - wave.begun);
        usize::try_from(by_rate.min(u128::from(by_wave))).unwrap_or(usize::MAX)
    }

    /// When there may be room, if no item settles before; none if one must settle first.
    pub(crate) fn next_room(&self, now: Instant) -> Option<Instant> {
        let is_full = self.wave.is_some_and(|wave| WAVES[wave.index] == wave.begun);
        // The instant before `now` may not be representable.
        (!is_full).then(|| self.next.checked_sub(BURST).unwrap_or(now).max(now))
    }

    /// Notes that an item begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.next = self.next.max(now) + self.gap;
        if let Some(wave) = &mut self.wave {
            wave.begun += 1;
        }
    }

    /// Notes that the batch did not act on an item that began, so the item says nothing about the
    /// others.
    pub(crate) fn take_back(&mut self) {
        if let Some(wave) = &mut self.wave {
            wave.begun = wave.begun.saturating_sub(1);
        }
    }

    /// Notes that an item has its outcome. Returns why the batch stops, if it does.
    pub(crate) fn settle(&mut self, has_failed: bool) -> Option<TooMany> {
        let wave = self.wave.as_mut()?;
        wave.settled += 1;
        wave.failed += u32::from(has_failed);
        let Wave { index, settled, failed, .. } = *wave;
        let of = WAVES[index];
        if settled == of {
            let index = index + 1;
            self.wave = (index < WAVES.len()).then(|| Wave { index, ..Wave::default() });
        }
        (2 * failed > of).then_some(TooMany { failed, of })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(per_second: u32) -> NonZeroU32 {
        NonZeroU32::new(per_second).unwrap()
    }

    fn begin_all(pace: &mut Pace, now: Instant) -> usize {
        let room = pace.room(now);
        (0..room).for_each(|_| pace.begin(now));
        room
    }

    /// What begins at once if all that began settles well.
    fn next_wave(pace: &mut Pace, now: Instant) -> usize {
        let begun = begin_all(pace, now);
        assert_eq!(pace.room(now), 0, "what is under way has no outcome");
        assert_eq!(pace.next_room(now), None);
        assert!((0..begun).all(|_| pace.settle(false).is_none()));
        begun
    }

    #[tokio::test(start_paused = true)]
    async fn one_begins_then_five_then_fifty_then_as_many_as_the_rate_allows() {
        let now = Instant::now();
        let mut pace = Pace::new(rate(10_000), false, now);
        let waves: Vec<usize> = (0..3).map(|_| next_wave(&mut pace, now)).collect();
        assert_eq!(waves, [1, 5, 50]);
        assert!(pace.room(now) > 50);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_stops_if_more_than_half_of_its_first_items_fail_again() {
        let now = Instant::now();
        let mut pace = Pace::new(rate(10_000), false, now);
        pace.begin(now);
        assert_eq!(pace.settle(true), Some(TooMany { failed: 1, of: 1 }));
        let mut pace = Pace::new(rate(10_000), false, now);
        next_wave(&mut pace, now);
        assert_eq!(begin_all(&mut pace, now), 5);
        let said: Vec<_> = [true, true, false, true].map(|failed| pace.settle(failed)).into();
        assert_eq!(said, [None, None, None, Some(TooMany { failed: 3, of: 5 })]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_item_that_was_not_acted_on_makes_room_for_another() {
        let now = Instant::now();
        let mut pace = Pace::new(rate(10_000), false, now);
        pace.begin(now);
        pace.take_back();
        assert_eq!(pace.room(now), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_look_at_failures_the_rate_is_the_only_bound() {
        let now = Instant::now();
        let mut pace = Pace::new(rate(100), true, now);
        assert_eq!(begin_all(&mut pace, now), 11, "a burst of 100 ms, and one");
        assert_eq!(pace.settle(true), None);
        let next = pace.next_room(now).unwrap();
        assert_eq!(next - now, Duration::from_millis(10));
        assert_eq!((pace.room(now), pace.room(next)), (0, 1));
    }

    proptest! {
        /// In any time, no more items begin than the rate allows, and a burst.
        #[test]
        fn the_rate_holds_in_any_time(
            per_second in 1_u32..10_000,
            steps in prop::collection::vec((0_u64..400, 0_usize..2_000), 1..60),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let start = Instant::now();
                let mut pace = Pace::new(rate(per_second), true, start);
                let (mut now, mut begun) = (start, Vec::new());
                for (millis, wish) in steps {
                    now += Duration::from_millis(millis);
                    let count = pace.room(now).min(wish);
                    (0..count).for_each(|_| pace.begin(now));
                    begun.push((now, u32::try_from(count).unwrap()));
                }
                for (first, (from, _)) in begun.iter().enumerate() {
                    let mut sum = 0;
                    for (to, count) in &begun[first..] {
                        sum += count;
                        let time = (*to - *from + BURST).as_secs_f64();
                        let most = time * f64::from(per_second) + 2.0;
                        assert!(f64::from(sum) <= most, "{sum} in {time} s, {per_second}/s");
                    }
                }
            });
        }
    }
}
