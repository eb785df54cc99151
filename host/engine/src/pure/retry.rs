//! Pure: the pause before the next attempt, or none after the last one. The same attempt and seed
//! give the same pause.

use std::time::Duration;

/// The pause between two attempts at a read of the store: short enough to continue soon after a
/// short outage, and long enough to spare a store that is down. Chosen, not measured.
pub(crate) const READ_RETRY: Duration = Duration::from_millis(200);

/// Exponential backoff with equal jitter: the delay before attempt n + 1 is uniform
/// between one half and the whole of `min(delay_max, delay_min * 2^(n-1))`.
///
/// Source: M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015). Full
/// jitter, which begins at 0, spreads many retries a little better, but may use up all attempts
/// in a fraction of the time that they are meant to span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts, the first included, before the event or message becomes a dead letter.
    pub attempts_max: u32,
    /// The delay after the first failed attempt, before jitter.
    pub delay_min: Duration,
    /// The longest delay, before jitter.
    pub delay_max: Duration,
}

impl RetryPolicy {
    /// The same delays, and no last attempt.
    #[must_use]
    pub fn endless(&self) -> Self {
        Self { attempts_max: u32::MAX, ..self.clone() }
    }

    /// The delay after the failed attempt of number `attempt` (from 1), or none if it was the
    /// last. `seed` chooses within the jitter. The delay is at least `at_least`, for which the
    /// other side asked.
    #[must_use]
    pub fn delay(&self, attempt: u32, seed: u64, at_least: Option<Duration>) -> Option<Duration> {
        if attempt >= self.attempts_max {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(31);
        let ceiling = self.delay_min.saturating_mul(1 << doublings).min(self.delay_max);
        let millis = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
        // Mixed with the attempt, so that two retries of one message have different delays.
        let random = mix(seed ^ u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // Rounded up, so that the shortest delay is not zero.
        let half = millis.div_ceil(2);
        let jittered = Duration::from_millis(half + random % (millis - half + 1));
        Some(jittered.max(at_least.unwrap_or(Duration::ZERO)))
    }
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014): spreads every bit of the input.
#[must_use]
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts_max: 5,
        delay_min: Duration::from_millis(100),
        delay_max: Duration::from_millis(350),
    };

    #[test]
    fn the_ceiling_doubles_up_to_its_limit() {
        for (attempt, ceiling) in [(1, 100), (2, 200), (3, 350), (4, 350)] {
            let delays: Vec<u128> = (0..200)
                .filter_map(|s| POLICY.delay(attempt, s, None))
                .map(|d| d.as_millis())
                .collect();
            assert_eq!(delays.len(), 200);
            assert!(delays.iter().all(|&d| (ceiling / 2..=ceiling).contains(&d)));
            assert!(
                delays.iter().any(|&d| d > ceiling * 9 / 10),
                "the jitter uses the whole range"
            );
            assert!(delays.iter().any(|&d| d < ceiling * 6 / 10), "the jitter uses all of it");
        }
    }

    #[test]
    fn the_default_attempts_span_minutes_whatever_the_seed() {
        let policy = crate::engine::Settings::default().retry();
        for seed in 0..1_000 {
            let delays = (1..policy.attempts_max).filter_map(|n| policy.delay(n, seed, None));
            let span: Duration = delays.sum();
            assert!((90..=240).contains(&span.as_secs()), "{span:?} by seed {seed}");
        }
    }

    #[test]
    fn the_last_attempt_has_no_delay() {
        assert_eq!(POLICY.delay(5, 1, None), None);
    }

    #[test]
    fn what_the_other_side_asks_for_is_honoured() {
        let asked = Duration::from_secs(30);
        assert_eq!(POLICY.delay(1, 1, Some(asked)), Some(asked));
    }
}
