//! What comes, and when: the events of the cases, and the answers to commands. It is
//! outside of the host, so it outlives its crashes; what is not acknowledged is sent again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sagabox_engine::model::{Event, Message, Timestamp};

use super::choices::{Choices, Odds};
use super::draw::fill;
use super::file::{Coming, Disturbances, Outcome, Simulation, Span, Template};
use super::history::json_of;
use super::transcript::time_of;
use crate::decisions::json::{Json, Object};

const SOURCE: &str = "/simulation";

#[derive(Default)]
pub(crate) struct Agenda {
    /// By time, and by the order in which they were noted.
    events: Mutex<BTreeMap<(Timestamp, u64), Event>>,
}

/// What the outside does with a command that it gets for the first time.
pub(crate) enum Taken {
    Done,
    Refused(String),
}

impl Agenda {
    /// All that comes by itself.
    ///
    /// # Errors
    /// If a place in a template cannot be filled.
    pub(crate) fn of(simulation: &Simulation, choices: &Choices) -> Result<Self, String> {
        let agenda = Self::default();
        let start = simulation.given.now;
        for case in 1..=choices.between("cases", &simulation.cases) {
            let name = format!("case {case}");
            let begins = after(choices, &format!("{name} begins"), simulation.starts, start);
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
                    agenda.come(coming, disturbances, choices, (place, id, begins), &known)
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
        Ok(agenda)
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
        let at = after(choices, &format!("{name} waits"), coming.after, begins);
        if choices.happens(name, coming.odds, at, String::new) {
            let event = event(&coming.what, id.to_owned(), known)?;
            self.send(disturbances, choices, name, event, at);
        }
        let name = format!("{name} again");
        if choices.happens(&name, coming.again, at, String::new) {
            let at = after(choices, &format!("{name} waits"), coming.after, begins);
            let event = event(&coming.what, format!("{id}-again"), known)?;
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
        let Some(answers) = simulation.answers.get(&command.event.event_type) else {
            return Ok(Taken::Done);
        };
        let id = command.event.id.as_str();
        let name = format!("answer to {id}");
        // Which answer comes is drawn once; that it comes at all can be taken away.
        let mut roll = choices.between(&name, &(0..=Odds::ALWAYS.millionths() - 1));
        let answer = answers.iter().find(|answer| {
            let chosen = roll < answer.odds.millionths();
            roll = roll.saturating_sub(answer.odds.millionths());
            chosen
        });
        let Some(answer) = answer else { return Ok(Taken::Done) };
        let (what, span, again) = match &answer.outcome {
            Outcome::Refused(reason) => {
                let told = || format!("{} is refused: {reason}", command.event.event_type);
                let refused = choices.happens(&name, Odds::ALWAYS, now, told);
                return Ok(if refused { Taken::Refused(reason.clone()) } else { Taken::Done });
            }
            Outcome::Event { what, after, again } => (what, *after, *again),
        };
        let data = json_of(&command.event.data);
        let known = |name: &str| match name {
            "id" => Some(id.into()),
            "key" => Some(command.key.as_str().into()),
            "subject" => command.event.subject.as_deref().map(Json::from),
            pointer => data.pointer(pointer).cloned(),
        };
        let disturbances = &simulation.disturbances;
        let times =
            [(name.clone(), Odds::ALWAYS, "answer"), (format!("{name} again"), again, "again")];
        for (name, odds, suffix) in times {
            let at = after(choices, &format!("{name} waits"), span, now);
            if choices.happens(&name, odds, at, String::new) {
                let answer = event(what, format!("{id}-{suffix}"), &known)
                    .map_err(|why| format!("answers.{}: {why}", command.event.event_type))?;
                self.send(disturbances, choices, &name, answer, at);
            }
        }
        Ok(Taken::Done)
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
        let told = || {
            let by = later(&late).0 - at.0;
            format!("{} arrives {} late", event.event_type, time_of(by))
        };
        match choices.happens(&late, delays, at, told) {
            true => self.note(later(&late), event),
            false => self.note(at, event),
        }
    }

    fn note(&self, at: Timestamp, event: Event) {
        let mut events = self.lock();
        let number = events.keys().map(|(_, number)| number + 1).max().unwrap_or(0);
        events.insert((at, number), event);
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
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Some time in a span; the earliest in the plainest run. The ends are drawn more often
/// than what lies between: that is where mistakes are.
fn after(choices: &Choices, name: &str, span: Span, from: Timestamp) -> Timestamp {
    let wide = u64::try_from((span.to - span.from).as_millis()).unwrap_or(u64::MAX);
    let begins = from.after(span.from);
    if wide == 0 {
        return begins;
    }
    // Of eight, one is the beginning and one the end.
    let step = choices.pick(name, 8, begins, |_| String::new());
    let wait = match step {
        0 => 0,
        7 => wide,
        _ => choices.between(&format!("{name} for"), &(0..=wide)),
    };
    begins.after(Duration::from_millis(wait))
}

fn event(
    what: &Template,
    id: String,
    known: &dyn Fn(&str) -> Option<Json>,
) -> Result<Event, String> {
    let text = |text: &str| match fill(&text.into(), known)? {
        Json::String(text) => Ok::<_, String>(text),
        other => Ok(other.to_string()),
    };
    let extensions = what.extensions.iter().map(|(name, value)| Ok((name.clone(), text(value)?)));
    let event = Event {
        id,
        source: SOURCE.to_owned(),
        event_type: what.event_type.clone(),
        subject: what.subject.as_deref().map(text).transpose()?,
        time: None,
        datacontenttype: None,
        dataschema: None,
        extensions: extensions.collect::<Result<_, String>>()?,
        data: match fill(&what.data, known)? {
            Json::Null => Bytes::new(),
            data => Bytes::from(data.to_string()),
        },
    };
    event.validate().map_err(|error| format!("{}: {error}", what.event_type))?;
    Ok(event)
}
