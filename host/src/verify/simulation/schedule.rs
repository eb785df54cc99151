//! What comes, and when: the events of the cases, and the answers to commands. It is
//! outside of the host, so it outlives its crashes; what is not acknowledged is sent again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use sagabox_engine::model::{Event, Message, Timestamp};

use super::answers::{Reaction, arrival, event};
use super::choices::{Choices, Odds};
use super::file::{Coming, Disturbances, Simulation};
use super::transcript::time_of;
use crate::decisions::json::{Json, Object};
use crate::io::locks::lock;

const SOURCE: &str = "/simulation";

#[derive(Default)]
pub(crate) struct Schedule {
    /// By time, and by the order in which they were noted.
    events: Mutex<BTreeMap<(Timestamp, u64), Event>>,
    /// How many were noted.
    noted: AtomicU64,
}

/// What the outside does with a command that it gets for the first time.
pub(crate) enum Taken {
    Done,
    Refused(String),
}

impl Schedule {
    /// All that comes by itself.
    ///
    /// # Errors
    /// If a place in a template cannot be filled.
    pub(crate) fn of(simulation: &Simulation, choices: &Choices) -> Result<Self, String> {
        let schedule = Self::default();
        let start = simulation.given.now;
        for (name, at, event) in simulation.log_events() {
            // Each can be taken away, so what is left of a failing run is what it takes.
            if choices.happens(&name, Odds::ALWAYS, at, String::new) {
                schedule.send(&simulation.disturbances, choices, &name, event, at);
            }
        }
        if simulation.events.is_empty() {
            return Ok(schedule);
        }
        for case in 1..=choices.between("cases", &simulation.cases) {
            let name = format!("case {case}");
            let begins = arrival(choices, &format!("{name} begins"), simulation.starts, start);
            let mut values = Object::default();
            values.insert("case".to_owned(), case.into());
            for (draw, how) in &simulation.draws {
                let place = format!("{name} draws {draw}");
                let value = how.draw(choices, &place, start, &|name| values.get(name).cloned())?;
                values.insert(draw.clone(), value);
            }
            for (index, coming) in simulation.events.iter().enumerate() {
                let place = format!("{name} event {}", index + 1);
                let id = format!("{}-{case}.{}", coming.what.event_type, index + 1);
                let comes = |place: &str, id: &str, each: Option<&Json>| {
                    let known = |name: &str| match name {
                        "each" => each.cloned(),
                        _ => values.get(name).cloned(),
                    };
                    let disturbances = &simulation.disturbances;
                    schedule.come(coming, disturbances, choices, (place, id, begins), &known)
                };
                let list = coming.each.as_ref().map(|each| values.get(each).unwrap_or(&Json::Null));
                match list {
                    None => comes(&place, &id, None)?,
                    Some(list) => {
                        let list = list.as_array().cloned().unwrap_or_else(|| vec![list.clone()]);
                        for (number, value) in (1..).zip(&list) {
                            let id = format!("{id}.{number}");
                            comes(&format!("{place}.{number}"), &id, Some(value))?;
                        }
                    }
                }
            }
        }
        Ok(schedule)
    }

    /// An event of a case: or not, later, twice, and once more.
    fn come(
        &self,
        coming: &Coming,
        disturbances: &Disturbances,
        choices: &Choices,
        (name, id, begins): (&str, &str, Timestamp),
        known: &dyn Fn(&str) -> Option<Json>,
    ) -> Result<(), String> {
        let at = arrival(choices, &format!("{name} waits"), coming.after, begins);
        if choices.happens(name, coming.odds, at, String::new) {
            let event = event(&coming.what, SOURCE, id.to_owned(), known)?;
            self.send(disturbances, choices, name, event, at);
        }
        let name = format!("{name} again");
        if choices.happens(&name, coming.again, at, String::new) {
            let at = arrival(choices, &format!("{name} waits"), coming.after, begins);
            let event = event(&coming.what, SOURCE, format!("{id}-again"), known)?;
            self.send(disturbances, choices, &name, event, at);
        }
        Ok(())
    }

    /// The outside takes a command.
    ///
    /// # Errors
    /// If a place in a template cannot be filled.
    pub(crate) fn take(
        &self,
        simulation: &Simulation,
        choices: &Choices,
        command: &Message,
        now: Timestamp,
    ) -> Result<Taken, String> {
        match simulation.answers.react(choices, SOURCE, command, now)? {
            Reaction::Nothing => Ok(Taken::Done),
            Reaction::Refused(reason) => Ok(Taken::Refused(reason)),
            Reaction::Events(events) => {
                for (name, at, answer) in events {
                    self.send(&simulation.disturbances, choices, &name, answer, at);
                }
                Ok(Taken::Done)
            }
        }
    }

    /// Puts an event on its way, on which it may be delayed and come twice.
    fn send(
        &self,
        disturbances: &Disturbances,
        choices: &Choices,
        name: &str,
        event: Event,
        at: Timestamp,
    ) {
        let Disturbances { duplicates, delays, delay, .. } = *disturbances;
        let later = |name: &str| {
            let most = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).max(1);
            at.after(Duration::from_millis(choices.between(&format!("{name} by"), &(1..=most))))
        };
        let twice = format!("{name} twice");
        let what = || format!("{} arrives twice", event.event_type);
        if choices.happens(&twice, duplicates, at, what) {
            self.note(later(&twice), event.clone());
        }
        let late = format!("{name} late");
        let describe = || {
            let by = later(&late).0 - at.0;
            format!("{} arrives {} late", event.event_type, time_of(by))
        };
        match choices.happens(&late, delays, at, describe) {
            true => self.note(later(&late), event),
            false => self.note(at, event),
        }
    }

    fn note(&self, at: Timestamp, event: Event) {
        let number = self.noted.fetch_add(1, Ordering::Relaxed);
        self.lock().insert((at, number), event);
    }

    /// When the next event comes.
    #[must_use]
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.lock().keys().next().map(|(at, _)| *at)
    }

    /// What has come by now, and is not acknowledged.
    #[must_use]
    pub(crate) fn due(&self, now: Timestamp) -> Vec<((Timestamp, u64), Event)> {
        let events = self.lock();
        let due = events.range(..(now, u64::MAX));
        due.map(|(place, event)| (*place, event.clone())).collect()
    }

    pub(crate) fn acknowledge(&self, place: (Timestamp, u64)) {
        self.lock().remove(&place);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Timestamp, u64), Event>> {
        lock(&self.events)
    }
}
