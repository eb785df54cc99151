//! Pure: how long things take, counted in buckets with fixed limits. To observe a duration allocates
//! nothing and takes no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper limits of the buckets, in microseconds: from a quick call of a plugin to an hour of
/// waiting. One set serves all histograms, so that they can be compared. A last bucket has what
/// took longer.
const LIMITS_MICROS: [u64; 20] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
];
const BUCKETS: usize = LIMITS_MICROS.len() + 1;

/// Durations that were observed, by size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    counts: [u64; BUCKETS],
    sum: Duration,
}

impl Distribution {
    /// Counts a duration.
    pub fn observe(&mut self, duration: Duration) {
        self.counts[bucket(duration)] += 1;
        self.sum = self.sum.saturating_add(duration);
    }

    /// Counts all that the other has counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// The upper limits of the buckets, the smallest first. The last bucket has none.
    pub fn limits() -> impl Iterator<Item = Duration> {
        LIMITS_MICROS.into_iter().map(Duration::from_micros)
    }

    /// How many durations each bucket has, in the order of the limits, and then the bucket of
    /// those that exceed all limits. The counts are not cumulative.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many durations were observed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// A [`Distribution`] that several threads fill.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        self.counts[bucket(duration)].fetch_add(1, Ordering::Relaxed);
        // The sum of 500 years fits.
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was counted so far. The sum may have a duration that the counts do not have yet.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        Distribution {
            counts: std::array::from_fn(|index| self.counts[index].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)),
        }
    }
}

/// The first bucket whose limit is not exceeded.
fn bucket(duration: Duration) -> usize {
    let nanos = duration.as_nanos();
    LIMITS_MICROS.partition_point(|limit| u128::from(*limit) * 1_000 < nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_has_room_for_it() {
        let micros = Duration::from_micros;
        let mut counted = Distribution::default();
        let all = [0, 100, 101, 250, 3_600_000_000, 3_600_000_001, u64::MAX / 1_000_000];
        all.into_iter().for_each(|duration| counted.observe(micros(duration)));
        assert_eq!(counted.counts()[..3], [2, 2, 0]);
        assert_eq!(counted.counts()[BUCKETS - 2..], [1, 2]);
        assert_eq!((counted.count(), counted.sum()), (7, micros(all.iter().sum())));
        let histogram = Histogram::default();
        all.into_iter().for_each(|duration| histogram.observe(micros(duration)));
        assert_eq!(histogram.distribution(), counted);
        counted.add(&histogram.distribution());
        assert_eq!(counted.count(), 14);
    }

    #[test]
    fn limits_grow() {
        assert!(LIMITS_MICROS.is_sorted_by(|a, b| a < b));
        assert_eq!(Distribution::limits().count() + 1, Distribution::default().counts().len());
    }
}
