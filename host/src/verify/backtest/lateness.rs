//! How a log is brought out of order: every event a little late, or a share of them very late. An
//! event never arrives before its time. Which event is how late follows from the seed and from the
//! event's source and id alone.

use std::time::Duration;

use crate::verify::event_log::{Arrival, Happening};
use crate::verify::simulation::{Choices, Odds};

#[derive(Clone, Debug, Default)]
pub struct Lateness {
    pub seed: u64,
    /// Every event arrives up to so much late.
    pub within: Option<Duration>,
    /// This share of the events arrives so much late.
    pub late: Option<(Odds, Duration)>,
}

impl Lateness {
    /// Reads `5%:2d`.
    ///
    /// # Errors
    /// Says how it is written.
    pub fn parse_late(text: &str) -> Result<(Odds, Duration), String> {
        let wrong = || format!("`{text}` is not a share and a duration such as 5%:2d");
        let (share, by) = text.split_once(':').ok_or_else(wrong)?;
        let percent = share.trim().trim_end_matches('%').trim_end().parse().ok();
        let odds = percent.and_then(Odds::percent).ok_or_else(wrong)?;
        Ok((odds, crate::io::durations::duration(by)?))
    }

    /// Moves the arrivals, and returns how many events arrive later than they would have.
    pub fn apply(&self, arrivals: &mut [Arrival]) -> usize {
        let choices = Choices::new(self.seed, None);
        let mut moved = 0;
        for arrival in &mut *arrivals {
            let Happening::Event(event) = &arrival.what else { continue };
            let by = self.delay(&choices, &format!("{} {}", event.source, event.id));
            moved += usize::from(by > Duration::ZERO);
            arrival.at = arrival.at.after(by);
        }
        // A stable sort: what arrives at one time stays in its order.
        arrivals.sort_by_key(|arrival| arrival.at);
        moved
    }

    fn delay(&self, choices: &Choices, event: &str) -> Duration {
        let within = self.within.map_or(Duration::ZERO, |within| {
            let most = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
            Duration::from_millis(choices.between(&format!("shuffle {event}"), &(0..=most)))
        });
        let late = self.late.filter(|(odds, _)| {
            let drawn = choices.between(&format!("late {event}"), &(0..=999_999));
            drawn < odds.millionths()
        });
        within + late.map_or(Duration::ZERO, |(_, by)| by)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sagabox_engine::model::{Event, Timestamp};

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn arrivals() -> Vec<Arrival> {
        let line =
            |id: u64| format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t"}}"#);
        let arrival = |id: u64| Arrival {
            at: Timestamp(id * 60_000),
            what: Happening::Event(Arc::new(Event::from_json(line(id).as_bytes()).unwrap())),
        };
        (1..=1_000).map(arrival).collect()
    }

    /// Each event with how late it is.
    fn delays(lateness: &Lateness) -> Vec<(u64, u64)> {
        let mut all = arrivals();
        let moved = lateness.apply(&mut all);
        assert!(all.is_sorted_by_key(|arrival| arrival.at));
        let mut delays: Vec<(u64, u64)> = all
            .iter()
            .map(|arrival| {
                let Happening::Event(event) = &arrival.what else { panic!("{arrival:?}") };
                let id: u64 = event.id.parse().unwrap();
                (id, arrival.at.0 - id * 60_000)
            })
            .collect();
        assert_eq!(delays.iter().filter(|(_, by)| *by > 0).count(), moved);
        delays.sort_unstable();
        delays
    }

    #[test]
    fn a_shuffled_event_is_late_by_the_window_at_most_and_never_early() {
        let shuffle = |seed| Lateness { seed, within: Some(HOUR), late: None };
        let delays_of = |seed| delays(&shuffle(seed));
        assert!(delays_of(1).iter().all(|(_, by)| *by <= 3_600_000));
        assert_eq!(delays_of(1), delays_of(1));
        assert_ne!(delays_of(1), delays_of(2));
        let mut all = arrivals();
        shuffle(1).apply(&mut all);
        assert_ne!(
            all.iter().map(|a| &a.what).collect::<Vec<_>>(),
            arrivals().iter().map(|a| &a.what).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_share_of_the_events_is_late() {
        let late = Lateness::parse_late("10%:2d").unwrap();
        let delays = delays(&Lateness { seed: 7, within: None, late: Some(late) });
        let count = delays.iter().filter(|(_, by)| *by == 48 * 3_600_000).count();
        assert!((50..200).contains(&count), "{count}");
        assert_eq!(delays.iter().filter(|(_, by)| *by == 0).count(), 1_000 - count);
    }

    #[test]
    fn a_share_and_a_duration_are_read() {
        let expected = (Odds::percent(0.5).unwrap(), HOUR);
        assert_eq!(Lateness::parse_late("0.5 % : 1h"), Ok(expected));
        for text in ["5%", "x:1h", "101%:1h", "5%:soon"] {
            assert!(Lateness::parse_late(text).is_err(), "{text}");
        }
    }
}
