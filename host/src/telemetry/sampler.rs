//! Decides for which events without a trace the host begins one. It draws no random number per
//! event: a counter, mixed with a random seed, is spread as evenly.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use sagabox_engine::model::TraceId;
use sagabox_engine::pure::retry::mix;

pub(crate) struct Sampler {
    /// Mixed numbers below it are sampled; none if no number is.
    below: Option<u64>,
    seeds: [u64; 3],
    count: AtomicU64,
}

impl Sampler {
    /// `ratio` is from 0 to 1.
    pub(crate) fn new(ratio: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a float saturates"
        )]
        let below = (ratio > 0.0).then_some((ratio * u64::MAX as f64) as u64);
        // Each of them is seeded by the operating system.
        let random = || RandomState::new().hash_one(0_u8);
        Self { below, seeds: std::array::from_fn(|_| random()), count: AtomicU64::new(0) }
    }

    /// The id of a new trace, if the next event is sampled.
    pub(crate) fn next(&self) -> Option<TraceId> {
        let below = self.below?;
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let of = |seed: u64| mix(seed.wrapping_add(number));
        if of(self.seeds[0]) > below {
            return None;
        }
        let high = u128::from(of(self.seeds[1])) << 64;
        Some(TraceId((high | u128::from(of(self.seeds[2]))).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_share_of_sampled_events_is_the_ratio() {
        for (ratio, expected) in
            [(0.0, 0..=0), (0.01, 700..=1_300), (0.5, 49_000..=51_000), (1.0, 100_000..=100_000)]
        {
            let sampler = Sampler::new(ratio);
            let ids: Vec<TraceId> = (0..100_000).filter_map(|_| sampler.next()).collect();
            assert!(expected.contains(&ids.len()), "{ratio}: {}", ids.len());
            assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "no id twice");
        }
    }
}
