//! Pure: the limits that an operator has set for a sink or a message type. A gate says whether one
//! more message may begin, and counts those that are under way.
//!
//! The rate is kept by GCRA (ITU-T I.371, the virtual scheduling algorithm): messages have even
//! distances, and after a pause at most those of a tenth of a second leave at once. So in any time
//! `t` at most `1 + rate × (t + 0.1 s)` begin, also if the limit is changed meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::{Key, Limit, PluginName, Rate};
use crate::pure::monotonic::{Instant, after};

/// How early a message may begin. A timer is exact to a millisecond, and a rate of many thousands
/// must not need a timer for each message.
const EARLY: Duration = Duration::from_millis(100);

/// The ordering key of a message.
pub(crate) type OrderingKey = (PluginName, Key);

/// Whether one more message may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Now,
    /// At this time.
    At(Instant),
    /// When one that is under way has ended.
    AfterAnother,
    /// When one with the same ordering key has ended.
    AfterItsKey,
}

/// No limit by default.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    pace: Option<Pace>,
    in_flight_max: Option<usize>,
    per_key_max: Option<usize>,
    in_flight: usize,
    /// The messages under way of each ordering key. They are counted only if `per_key_max` is set.
    by_key: HashMap<OrderingKey, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    spacing: Duration,
    /// When the next message would be exactly in time.
    due: Instant,
}

impl Pace {
    fn next(&self) -> Instant {
        self.due.checked_sub(EARLY).unwrap_or(self.due)
    }
}

impl Gate {
    /// The gate of a limit. `before` is the gate of the limit before it, whose pace continues. The
    /// caller counts the messages that are under way with [`Self::count`].
    pub(crate) fn new(limit: &Limit, before: Option<&Self>, now: Instant) -> Self {
        let size = |number: Option<u32>| number.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let due = before.and_then(|gate| gate.pace).map(|pace| pace.due);
        let pace = limit.per_second.map(|rate| {
            let spacing = Rate::spacing(rate);
            // A rate that was very low does not hold up the first message of a higher one.
            let due = due.map_or(now, |due| due.min(after(now, spacing + EARLY)));
            Pace { spacing, due }
        });
        Self {
            pace,
            in_flight_max: size(limit.in_flight),
            per_key_max: size(limit.concurrency),
            in_flight: 0,
            by_key: HashMap::new(),
        }
    }

    /// The gate with which the host begins. It does not know when the last messages began, so it
    /// assumes that as many as may be early began just now.
    pub(crate) fn begin_anew(&mut self, now: Instant) {
        if let Some(pace) = &mut self.pace {
            pace.due = after(now, pace.spacing + EARLY);
        }
    }

    /// Whether a message with this ordering key may begin.
    pub(crate) fn admits(&self, key: &OrderingKey, now: Instant) -> Start {
        let in_flight = self.per_key_max.map(|max| (max, self.by_key.get(key).copied()));
        if let Some((max, Some(count))) = in_flight
            && count >= max
        {
            return Start::AfterItsKey;
        }
        self.admits_any(now)
    }

    /// Whether some message may begin, as far as that does not depend on its key.
    pub(crate) fn admits_any(&self, now: Instant) -> Start {
        if self.in_flight_max.is_some_and(|max| self.in_flight >= max) {
            return Start::AfterAnother;
        }
        match self.pace {
            Some(pace) if pace.next() > now => Start::At(pace.next()),
            _ => Start::Now,
        }
    }

    /// Notes that a message begins.
    pub(crate) fn begin(&mut self, key: &OrderingKey, now: Instant) {
        if let Some(pace) = &mut self.pace {
            pace.due = after(pace.due.max(now), pace.spacing);
        }
        self.count(key);
    }

    /// Counts a message that is under way and began before this gate was made.
    pub(crate) fn count(&mut self, key: &OrderingKey) {
        self.in_flight += 1;
        if self.per_key_max.is_some() {
            *self.by_key.entry(key.clone()).or_default() += 1;
        }
    }

    /// Notes that a message that was counted is no longer under way.
    pub(crate) fn end(&mut self, key: &OrderingKey) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(count) = self.by_key.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.by_key.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Target, Timestamp};

    fn limit(per_second: Option<u64>, in_flight: Option<u32>, concurrency: Option<u32>) -> Limit {
        Limit {
            target: Target::Sink { sink: "web".into() },
            per_second: per_second.map(|rate| Rate(rate * 1_000)),
            in_flight,
            concurrency,
            by: "ada".to_owned(),
            reason: "too fast".to_owned(),
            since: Timestamp(0),
        }
    }

    fn key(number: u8) -> OrderingKey {
        ("p".into(), Key::from(number.to_string().as_str()))
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Ask(u8),
        End(prop::sample::Index),
        Limit(u64, u32, u32),
        /// The same limit is followed again, because another control has changed.
        Again,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            2 => (0u64..400).prop_map(Step::Wait),
            6 => (0u8..4).prop_map(Step::Ask),
            3 => any::<prop::sample::Index>().prop_map(Step::End),
            1 => (1u64..50, 1u32..6, 1u32..4).prop_map(|(r, f, c)| Step::Limit(r, f, c)),
            1 => Just(Step::Again),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #![proptest_config(crate::properties::many_cases())]

        /// A model that counts by itself, for any order of messages, ends, waits and changes.
        #[test]
        fn no_limit_is_exceeded_and_none_holds_up_what_it_admits(steps in steps()) {
            let start = Instant::now();
            let (mut now, mut under_way, mut begun) = (start, Vec::new(), Vec::new());
            let (mut rate, mut most, mut most_of_key) = (10, 3, 2);
            let mut gate = Gate::new(&limit(Some(rate), Some(most), Some(most_of_key)), None, now);
            for step in steps {
                match step {
                    Step::Wait(millis) => now += Duration::from_millis(millis),
                    Step::Limit(new_rate, new_most, new_of_key) => {
                        (rate, most, most_of_key) = (new_rate, new_most, new_of_key);
                        let limit = limit(Some(rate), Some(most), Some(most_of_key));
                        gate = Gate::new(&limit, Some(&gate), now);
                        under_way.iter().for_each(|of| gate.count(of));
                        begun.clear();
                    }
                    Step::Again => {
                        let limit = limit(Some(rate), Some(most), Some(most_of_key));
                        gate = Gate::new(&limit, Some(&gate), now);
                        under_way.iter().for_each(|of| gate.count(of));
                    }
                    Step::End(index) if !under_way.is_empty() => {
                        gate.end(&under_way.swap_remove(index.index(under_way.len())));
                    }
                    Step::End(_) => {}
                    Step::Ask(of) => {
                        let of = key(of);
                        let same = under_way.iter().filter(|other| **other == of).count();
                        let has_room = under_way.len() < most as usize;
                        match gate.admits(&of, now) {
                            Start::Now => {
                                gate.begin(&of, now);
                                prop_assert!(has_room && same < most_of_key as usize);
                                under_way.push(of);
                                begun.push(now);
                            }
                            Start::At(at) => prop_assert!(at > now),
                            Start::AfterAnother => prop_assert!(!has_room),
                            Start::AfterItsKey => prop_assert!(same >= most_of_key as usize),
                        }
                    }
                }
                for (index, from) in begun.iter().enumerate() {
                    let count = begun.len() - index;
                    let time = (now - *from + EARLY).as_secs_f64();
                    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                    let allowed = 1.0 + rate as f64 * time;
                    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                    let count = count as f64;
                    prop_assert!(count <= allowed + 1e-6, "{count} in {time} s, not {allowed}");
                }
            }
        }
    }

    #[test]
    fn a_pace_is_used_up_and_nothing_is_saved_for_later() {
        let start = Instant::now();
        let mut gate = Gate::new(&limit(Some(1), None, None), None, start);
        assert_eq!(gate.admits(&key(1), start), Start::Now);
        gate.begin(&key(1), start);
        let next = start + Duration::from_millis(900);
        assert_eq!(gate.admits(&key(2), start), Start::At(next));
        let later = start + Duration::from_secs(3_600);
        gate.begin(&key(1), later);
        assert_eq!(gate.admits_any(later), Start::At(later + Duration::from_millis(900)));
        // A limit that is set again does not begin anew, and a faster one counts soon.
        let again = Gate::new(&limit(Some(1), None, None), Some(&gate), later);
        assert_eq!(again.admits_any(later), Start::At(later + Duration::from_millis(900)));
        let faster = Gate::new(&limit(Some(100), None, None), Some(&gate), later);
        assert_eq!(faster.admits_any(later), Start::At(later + Duration::from_millis(10)));
    }

    #[test]
    fn a_start_exceeds_no_rate() {
        let start = Instant::now();
        let mut gate = Gate::new(&limit(Some(1), None, None), None, start);
        gate.begin_anew(start);
        let next = start + Duration::from_secs(1);
        assert_eq!(gate.admits_any(start), Start::At(next));
        assert_eq!(gate.admits_any(next), Start::Now);
    }

    #[test]
    fn a_key_at_its_limit_holds_up_no_other_key() {
        let start = Instant::now();
        let mut gate = Gate::new(&limit(None, None, Some(1)), None, start);
        gate.begin(&key(1), start);
        assert_eq!(gate.admits(&key(1), start), Start::AfterItsKey);
        assert_eq!(gate.admits(&key(2), start), Start::Now);
        gate.end(&key(1));
        assert_eq!(gate.admits(&key(1), start), Start::Now);
    }
}
