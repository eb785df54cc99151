//! Pure: the circuit breaker of a sink. It says whether a relay may start another delivery, so that
//! a sink that is down pauses its route and does not use up the attempts of every message that
//! waits for it. A lookup has the same breaker for its questions: read "lookup" for sink and
//! "question" for message.
//!
//! A failed delivery counts by its cause. A failure of the sink counts each time. A failure of a
//! message counts once for each message, because a second failure of the same message says
//! nothing about the others. So a message that always fails is retried and becomes a dead
//! letter, and a sink that fails at everything is down.
//!
//! Until a sink has answered, the breaker admits only as many deliveries as it takes to open it. So
//! a sink that is down gets a handful of requests, however many may be in progress.
//!
//! Source of the shape: M. Nygard, "Release It!" (2nd ed., 2018), Circuit Breaker.

use std::time::Duration;

use crate::pure::monotonic::{Instant, after};
use crate::pure::retry::RetryPolicy;

/// Failures in a row, with no answer between them, before the sink is taken to be down. It is less
/// than the attempts that a message has by default, so that an outage makes no dead letters.
const FAILURES_MAX: usize = 5;

#[derive(Debug)]
pub(crate) struct Breaker {
    policy: RetryPolicy,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Closed(Row),
    /// Nothing is delivered before `until`. Then one delivery starts as a probe (`probing`).
    Open {
        since: Instant,
        until: Instant,
        round: u32,
        probing: bool,
    },
}

/// Failures since the sink last answered.
#[derive(Clone, Debug, Default)]
struct Row {
    /// Messages that failed, each once.
    messages: Vec<u64>,
    /// Deliveries that failed because of the sink.
    of_sink: usize,
    /// The sink has answered, and nothing failed since.
    is_proven: bool,
    /// Deliveries that began since the sink last answered and have not failed yet.
    begun: usize,
}

impl Row {
    fn failures(&self) -> usize {
        self.messages.len() + self.of_sink
    }
}

/// The cause of a failed delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// This message failed, and perhaps only this one.
    Message(u64),
    /// The sink is in trouble.
    Sink,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admits {
    /// Another delivery may start.
    Another,
    /// One delivery may start. Its result shows whether the sink works again.
    Probe,
    NoneUntil(Instant),
    /// None may start before one that is in progress has ended.
    None,
}

impl Breaker {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self { policy, state: State::Closed(Row::default()) }
    }

    pub(crate) fn admits(&self, now: Instant) -> Admits {
        match &self.state {
            State::Closed(row) if row.is_proven => Admits::Another,
            State::Closed(row) if row.failures() + row.begun < FAILURES_MAX => Admits::Another,
            State::Closed(_) | State::Open { probing: true, .. } => Admits::None,
            State::Open { until, .. } if now >= *until => Admits::Probe,
            State::Open { until, .. } => Admits::NoneUntil(*until),
        }
    }

    /// Notes that a delivery that was admitted begins.
    pub(crate) fn begin(&mut self) {
        match &mut self.state {
            State::Closed(row) => row.begun += usize::from(!row.is_proven),
            State::Open { probing, .. } => *probing = true,
        }
    }

    /// Notes that a delivery was given up. It says nothing about the sink.
    pub(crate) fn abandon(&mut self, was_probe: bool) {
        match &mut self.state {
            State::Closed(row) if !row.is_proven => row.begun = row.begun.saturating_sub(1),
            State::Open { probing, .. } if was_probe => *probing = false,
            State::Closed(_) | State::Open { .. } => {}
        }
    }

    /// The sink has answered, and nothing failed since.
    pub(crate) fn is_proven(&self) -> bool {
        matches!(&self.state, State::Closed(row) if row.is_proven)
    }

    /// Since when the breaker is open, and when the next delivery may start; none if it is
    /// closed.
    pub(crate) fn open(&self) -> Option<(Instant, Instant)> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { since, until, .. } => Some((since, until)),
        }
    }

    /// Lets the next probe start now, if the breaker is open and no probe is under way.
    pub(crate) fn try_now(&mut self, now: Instant) {
        if let State::Open { until, probing: false, .. } = &mut self.state {
            *until = (*until).min(now);
        }
    }

    /// Notes that the sink answered. True if that closed the breaker.
    pub(crate) fn answered(&mut self) -> bool {
        let was_open = self.open().is_some();
        self.state = State::Closed(Row { is_proven: true, ..Row::default() });
        was_open
    }

    /// Notes that a delivery failed. `seed` chooses within the jitter. True if that opened the
    /// breaker.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        trouble: Trouble,
        at_least: Option<Duration>,
        seed: u64,
    ) -> bool {
        match &mut self.state {
            State::Closed(row) => {
                if !std::mem::take(&mut row.is_proven) {
                    row.begun = row.begun.saturating_sub(1);
                }
                match trouble {
                    Trouble::Message(message) if row.messages.contains(&message) => {}
                    Trouble::Message(message) => row.messages.push(message),
                    Trouble::Sink => row.of_sink += 1,
                }
                if row.failures() < FAILURES_MAX {
                    return false;
                }
                let until = after(now, self.pause(1, at_least, seed));
                self.state = State::Open { since: now, until, round: 1, probing: false };
                true
            }
            // A delivery that was in progress when the breaker opened says nothing new.
            State::Open { probing: false, .. } => false,
            &mut State::Open { since, round, .. } => {
                let until = after(now, self.pause(round + 1, at_least, seed));
                self.state = State::Open { since, until, round: round + 1, probing: false };
                false
            }
        }
    }

    fn pause(&self, round: u32, at_least: Option<Duration>, seed: u64) -> Duration {
        let pause = self.policy.endless().delay(round, seed, at_least);
        pause.unwrap_or(self.policy.delay_max).max(self.policy.delay_min)
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

    /// Notes one failure each of so many different messages. True if the last one opened the
    /// breaker.
    fn fail(breaker: &mut Breaker, times: usize, now: Instant) -> bool {
        let troubles = (0..times as u64).map(Trouble::Message);
        troubles.map(|trouble| breaker.failed(now, trouble, None, 1)).last().unwrap_or(false)
    }

    /// A start, and a function that returns the time so many milliseconds after it.
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
        assert!(breaker.failed(start, Trouble::Message(99), None, 1));
        let (_, until) = breaker.open().unwrap();
        assert!(until >= at(100));
        assert_eq!(breaker.admits(until - Duration::from_millis(1)), Admits::NoneUntil(until));
        assert_eq!(breaker.admits(until), Admits::Probe);
        breaker.begin();
        assert_eq!(breaker.admits(until), Admits::None);
        assert!(breaker.answered());
        assert_eq!(breaker.admits(until), Admits::Another);
    }

    #[test]
    fn one_message_that_always_fails_does_not_open_it_and_a_sink_in_trouble_does() {
        let (start, _) = times();
        let mut breaker = Breaker::new(POLICY);
        for _ in 0..1_000 {
            assert_eq!(breaker.admits(start), Admits::Another);
            breaker.begin();
            assert!(!breaker.failed(start, Trouble::Message(7), None, 1));
        }
        for _ in 1..FAILURES_MAX - 1 {
            assert!(!breaker.failed(start, Trouble::Sink, None, 1));
        }
        assert!(breaker.failed(start, Trouble::Sink, None, 1));
    }

    #[test]
    fn a_sink_that_never_answered_gets_a_handful_of_deliveries() {
        let (start, _) = times();
        let mut breaker = Breaker::new(POLICY);
        let begin_all = |breaker: &mut Breaker| {
            let mut begun = 0;
            while begun < 100 && breaker.admits(start) == Admits::Another {
                breaker.begin();
                begun += 1;
            }
            begun
        };
        assert_eq!(begin_all(&mut breaker), FAILURES_MAX);
        assert_eq!(breaker.admits(start), Admits::None);
        assert!(!breaker.answered());
        assert_eq!(begin_all(&mut breaker), 100, "it has answered");
        // 100 are under way when the sink goes down: few are begun after that.
        assert!(!breaker.failed(start, Trouble::Message(0), None, 1));
        assert_eq!(begin_all(&mut breaker), FAILURES_MAX - 1);
    }

    #[test]
    fn each_failed_probe_waits_longer_and_as_long_as_the_sink_asks() {
        let (start, at) = times();
        let mut breaker = Breaker::new(POLICY);
        fail(&mut breaker, FAILURES_MAX, start);
        breaker.begin();
        breaker.failed(at(1_000), Trouble::Sink, Some(Duration::from_secs(30)), 1);
        assert_eq!(breaker.open(), Some((start, at(31_000))));
    }

    #[test]
    fn an_operator_who_tries_now_gets_one_probe() {
        let (start, at) = times();
        let mut breaker = Breaker::new(POLICY);
        breaker.try_now(start);
        assert_eq!(breaker.admits(start), Admits::Another);
        fail(&mut breaker, FAILURES_MAX, start);
        assert!(matches!(breaker.admits(at(1)), Admits::NoneUntil(_)));
        breaker.try_now(at(1));
        assert_eq!(breaker.admits(at(1)), Admits::Probe);
        breaker.begin();
        breaker.try_now(at(1));
        assert_eq!(breaker.admits(at(1)), Admits::None);
    }

    #[test]
    fn a_delivery_that_is_given_up_lets_another_one_begin() {
        let (start, _) = times();
        let mut breaker = Breaker::new(POLICY);
        for _ in 0..10 * FAILURES_MAX {
            assert_eq!(breaker.admits(start), Admits::Another);
            breaker.begin();
            breaker.abandon(false);
        }
        fail(&mut breaker, FAILURES_MAX, start);
        let (_, until) = breaker.open().unwrap();
        for _ in 0..3 {
            assert_eq!(breaker.admits(until), Admits::Probe);
            breaker.begin();
            breaker.abandon(false);
            assert_eq!(breaker.admits(until), Admits::None, "the probe is still under way");
            breaker.abandon(true);
        }
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
