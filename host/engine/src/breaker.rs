//! Pure: whether a sink is worth trying. A sink that is down as a whole pauses
//! its route instead of wearing out the attempts of every message that waits for it.
//!
//! Source of the shape: M. Nygard, "Release It!" (2nd ed., 2018), Circuit Breaker.

use std::time::Duration;

use crate::monotonic::{Instant, after};
use crate::retry::RetryPolicy;

/// Deliveries that fail one after another, none succeeding between them, before
/// the sink is taken to be down. Below the attempts that a message has.
const FAILURES_MAX: u32 = 5;

#[derive(Debug)]
pub struct Breaker {
    policy: RetryPolicy,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        failures: u32,
    },
    /// Nothing is tried before `until`. Then one delivery is (`probing`).
    Open {
        since: Instant,
        until: Instant,
        round: u32,
        probing: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    All,
    One,
    NoneUntil(Instant),
    /// The one is under way.
    None,
}

impl Breaker {
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy, state: State::Closed { failures: 0 } }
    }

    pub fn admits(&self, now: Instant) -> Admits {
        match self.state {
            State::Closed { .. } => Admits::All,
            State::Open { probing: true, .. } => Admits::None,
            State::Open { until, .. } if now >= until => Admits::One,
            State::Open { until, .. } => Admits::NoneUntil(until),
        }
    }

    pub fn probe(&mut self) {
        if let State::Open { probing, .. } = &mut self.state {
            *probing = true;
        }
    }

    /// Since when nothing gets through, and when the next attempt is.
    pub fn open(&self) -> Option<(Instant, Instant)> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { since, until, .. } => Some((since, until)),
        }
    }

    /// The sink answered. True if that closed the breaker.
    pub fn answered(&mut self) -> bool {
        let was_open = self.open().is_some();
        self.state = State::Closed { failures: 0 };
        was_open
    }

    /// A whole delivery failed in passing. `seed` chooses within the jitter.
    /// True if that opened the breaker.
    pub fn failed(&mut self, now: Instant, at_least: Option<Duration>, seed: u64) -> bool {
        match &mut self.state {
            State::Closed { failures } if *failures + 1 < FAILURES_MAX => {
                *failures += 1;
                false
            }
            State::Closed { .. } => {
                let until = after(now, self.pause(1, at_least, seed));
                self.state = State::Open { since: now, until, round: 1, probing: false };
                true
            }
            // Deliveries that were under way when it opened tell nothing new.
            State::Open { probing: false, .. } => false,
            &mut State::Open { since, round, .. } => {
                let until = after(now, self.pause(round + 1, at_least, seed));
                self.state = State::Open { since, until, round: round + 1, probing: false };
                false
            }
        }
    }

    fn pause(&self, round: u32, at_least: Option<Duration>, seed: u64) -> Duration {
        let endless = RetryPolicy { attempts_max: u32::MAX, ..self.policy.clone() };
        let pause = endless.delay(round, seed, at_least).unwrap_or(self.policy.delay_max);
        // Full jitter may say "at once": a sink that is down gets some rest.
        pause.max(self.policy.delay_min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts_max: 10,
        delay_min: Duration::from_millis(100),
        delay_max: Duration::from_secs(1),
    };

    fn fail(breaker: &mut Breaker, times: u32, now: Instant) -> bool {
        (0..times).map(|_| breaker.failed(now, None, 1)).last().unwrap_or(false)
    }

    /// A point in time, and those so many milliseconds after it.
    fn times() -> (Instant, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        (start, move |millis| start + Duration::from_millis(millis))
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_by_itself() {
        let (start, at) = times();
        let mut breaker = Breaker::new(POLICY);
        assert!(!fail(&mut breaker, FAILURES_MAX - 1, start));
        assert!(!breaker.answered(), "one answer, and the row begins anew");
        assert!(!fail(&mut breaker, FAILURES_MAX - 1, start));
        assert!(fail(&mut breaker, 1, start));
        let (_, until) = breaker.open().unwrap();
        assert!(until >= at(100));
        assert_eq!(breaker.admits(until - Duration::from_millis(1)), Admits::NoneUntil(until));
        assert_eq!(breaker.admits(until), Admits::One);
        breaker.probe();
        assert_eq!(breaker.admits(until), Admits::None);
        assert!(breaker.answered());
        assert_eq!(breaker.admits(until), Admits::All);
    }

    #[test]
    fn each_failed_probe_waits_longer_and_as_long_as_it_is_told() {
        let (start, at) = times();
        let mut breaker = Breaker::new(POLICY);
        fail(&mut breaker, FAILURES_MAX, start);
        breaker.probe();
        breaker.failed(at(1_000), Some(Duration::from_secs(30)), 1);
        assert_eq!(breaker.open(), Some((start, at(31_000))));
    }

    #[test]
    fn late_failures_do_not_prolong_it() {
        let (start, at) = times();
        let mut breaker = Breaker::new(POLICY);
        fail(&mut breaker, FAILURES_MAX, start);
        let opened = breaker.open();
        assert!(!fail(&mut breaker, 3, at(50)));
        assert_eq!(breaker.open(), opened);
    }
}
