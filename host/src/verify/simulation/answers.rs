//! What the outside does with the commands that it gets, and with the questions that it is asked.
//! Simulations and backtests share it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use sagabox_engine::model::{AnswerValue, Event, JSON, Message, Timestamp};
use sagabox_engine::seams::lookup::Unanswered;
use serde::Deserialize;

use super::choices::{Choices, Odds};
use super::draw::{fill, places};
use super::file::{Span, odds, span};
use super::history::json_of;
use crate::decisions::json::Json;

/// Lookup to key to answer; `*` is any other key.
pub(crate) type Lookups = BTreeMap<String, BTreeMap<String, Json>>;

/// For each type of command, the things that can come of it.
#[derive(Clone, Debug, Default)]
pub struct Answers(BTreeMap<String, Vec<Answer>>);

/// One of the things that can come of a command.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub odds: Odds,
    pub outcome: Outcome,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// An event, after some time, and perhaps once more.
    Event { what: Template, after: Span, again: Odds },
    /// It cannot be delivered, for this reason.
    Refused(String),
}

/// An event with places that are filled when it is sent.
#[derive(Clone, Debug)]
pub struct Template {
    pub event_type: String,
    pub subject: Option<String>,
    pub extensions: BTreeMap<String, String>,
    pub data: Json,
}

/// What comes of one command.
pub(crate) enum Reaction {
    Nothing,
    Refused(String),
    /// Events, each with the name of the choice that it comes, and when it comes.
    Events(Vec<(String, Timestamp, Event)>),
}

impl Answers {
    /// # Errors
    /// Names the command and what is wrong with its answers.
    pub(crate) fn parse(written: BTreeMap<String, Vec<WrittenAnswer>>) -> Result<Self, String> {
        let parsed = written.into_iter().map(|(command, written)| {
            let resolved = answers(written).map_err(|why| format!("answers.{command}: {why}"))?;
            Ok((command, resolved))
        });
        parsed.collect::<Result<_, String>>().map(Self)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Vec<Answer>)> {
        self.0.iter()
    }

    pub(crate) fn commands(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// The outside takes a command. What it answers has `source`.
    ///
    /// # Errors
    /// If a place in a template cannot be filled.
    pub(crate) fn react(
        &self,
        choices: &Choices,
        source: &str,
        command: &Message,
        now: Timestamp,
    ) -> Result<Reaction, String> {
        let Some(answers) = self.0.get(&command.event.event_type) else {
            return Ok(Reaction::Nothing);
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
        let Some(answer) = answer else { return Ok(Reaction::Nothing) };
        let (what, span, again) = match &answer.outcome {
            Outcome::Refused(reason) => {
                let describe = || format!("{} is refused: {reason}", command.event.event_type);
                return Ok(match choices.happens(&name, Odds::ALWAYS, now, describe) {
                    true => Reaction::Refused(reason.clone()),
                    false => Reaction::Nothing,
                });
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
        let times =
            [(name.clone(), Odds::ALWAYS, "answer"), (format!("{name} again"), again, "again")];
        let mut events = Vec::new();
        for (name, odds, suffix) in times {
            let at = arrival(choices, &format!("{name} waits"), span, now);
            if choices.happens(&name, odds, at, String::new) {
                let answer = event(what, source, format!("{id}-{suffix}"), &known)
                    .map_err(|why| format!("answers.{}: {why}", command.event.event_type))?;
                events.push((name, at, answer));
            }
        }
        Ok(Reaction::Events(events))
    }
}

/// The answer to a question, from what is given.
///
/// # Errors
/// If nothing is given for this lookup.
pub(crate) fn look_up(lookups: &Lookups, name: &str, key: &str) -> Result<AnswerValue, Unanswered> {
    let Some(table) = lookups.get(name) else {
        let why = format!("no answers are given for the lookup `{name}`");
        return Err(Unanswered::NotGranted(why));
    };
    match table.get(key).or_else(|| table.get("*")) {
        None | Some(Json::Null) => Ok(AnswerValue::Missing),
        Some(value) => Ok(AnswerValue::Found {
            content_type: JSON.to_owned(),
            data: Bytes::from(value.to_string()),
        }),
    }
}

/// Some time in a span; the earliest in the plainest run. The ends are drawn more often
/// than what lies between: that is where mistakes are.
pub(super) fn arrival(choices: &Choices, name: &str, span: Span, from: Timestamp) -> Timestamp {
    let wide = u64::try_from(span.to.saturating_sub(span.from).as_millis()).unwrap_or(u64::MAX);
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

pub(super) fn event(
    what: &Template,
    source: &str,
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
        source: source.to_owned(),
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

// ---- as it is written ---------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenAnswer {
    #[serde(rename = "type")]
    event_type: Option<String>,
    subject: Option<String>,
    #[serde(default)]
    extensions: BTreeMap<String, String>,
    #[serde(default)]
    data: Json,
    after: Option<String>,
    odds: Option<Json>,
    again: Option<Json>,
    refused: Option<String>,
}

pub(super) fn answers(written: Vec<WrittenAnswer>) -> Result<Vec<Answer>, String> {
    let mut left = Odds::ALWAYS.millionths();
    let mut answers = Vec::new();
    let silent = written.iter().filter(|answer| answer.odds.is_none()).count() as u64;
    let mut said = 0;
    for answer in &written {
        said += odds("odds", answer.odds.as_ref(), Odds::NEVER)?.millionths();
    }
    if said > left {
        return Err("odds: together they are more than 100".to_owned());
    }
    left -= said;
    for (index, answer) in written.into_iter().enumerate() {
        // Those that say nothing share what the others leave.
        let share = Odds::of_millionths(left / silent.max(1));
        let odds = odds("odds", answer.odds.as_ref(), share)?;
        let outcome = outcome(answer).map_err(|why| format!("[{index}]: {why}"))?;
        answers.push(Answer { odds, outcome });
    }
    Ok(answers)
}

fn outcome(answer: WrittenAnswer) -> Result<Outcome, String> {
    match (answer.event_type, answer.refused) {
        (Some(event_type), None) => {
            let (subject, extensions) = (answer.subject, answer.extensions);
            let what = Template { event_type, subject, extensions, data: answer.data };
            for place in what.places() {
                if !place.starts_with('/') && !["id", "key", "subject"].contains(&place.as_str()) {
                    return Err(format!(
                        "`${place}` is not known of a command; `$/pointer` is a part of its data, \
                         and there are $id, $key and $subject"
                    ));
                }
            }
            let after = span(answer.after.as_deref()).map_err(|why| format!("after: {why}"))?;
            let again = odds("again", answer.again.as_ref(), Odds::NEVER)?;
            Ok(Outcome::Event { what, after, again })
        }
        (None, Some(reason)) => Ok(Outcome::Refused(reason)),
        _ => Err("needs exactly one of `type` and `refused`".to_owned()),
    }
}

impl Template {
    pub(super) fn places(&self) -> Vec<String> {
        let texts = self.subject.iter().chain(self.extensions.values());
        let texts = texts.flat_map(|text| places(&Json::from(text.as_str())));
        texts.chain(places(&self.data)).collect()
    }
}
