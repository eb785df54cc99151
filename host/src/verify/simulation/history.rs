//! What a run came to: each decision that took effect, with what it was made on and what
//! it led to, read from what is stored at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;
use sagabox_engine::model::{
    DeadLetterSubject, DecisionRecord, DecisionSummary, Event, InstanceStatus, Key, KeyChange,
    MessageKind, Origin, PluginName, Position, Question, RecordedAnswer, RecordedTimer,
    RecordedValue, State, Timestamp, reserved,
};
use sagabox_engine::seams::store::memory::Tables;

use crate::decisions::json::Json;

/// Who decides: an instance, or a key of a plugin without instances.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who {
    pub plugin: PluginName,
    pub key: Key,
}

/// A decision that took effect.
#[derive(Clone, Debug)]
pub struct Deed {
    pub at: Timestamp,
    pub who: Who,
    pub event: Arc<Event>,
    pub attempt: u32,
    /// In the order in which they left.
    pub messages: Vec<(MessageKind, Arc<Event>)>,
    pub timers: Vec<RecordedTimer>,
    pub keys: Vec<KeyChange>,
    pub completes: bool,
    pub state: Option<State>,
    pub answers: Vec<RecordedAnswer>,
}

/// An event that a plugin could not handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub at: Timestamp,
    pub plugin: PluginName,
    pub key: Option<Key>,
    pub event: Arc<Event>,
    pub reason: String,
}

/// What an instance was at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub completed: bool,
    pub state: Json,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    /// In the order of their times; those of one instance in the order in which they were made.
    pub deeds: Vec<Deed>,
    pub failed: Vec<Failed>,
    /// Of process managers.
    pub ends: BTreeMap<Who, End>,
    /// Events that came and that no instance decided, in their order.
    pub unused: Vec<(Timestamp, Arc<Event>)>,
}

impl History {
    #[must_use]
    pub fn of(tables: &Tables) -> Self {
        let deeds = deeds(tables);
        let used: BTreeSet<Position> = tables.decisions.keys().map(|row| row.0).collect();
        let unused = tables.log.values().filter(|entry| !used.contains(&entry.position));
        let failed = tables.dead_letters.values();
        let failed = failed.filter(|dead_letter| dead_letter.subject == DeadLetterSubject::Event);
        let ends = tables.instances.iter().map(|((plugin, key), instance)| {
            let who = Who { plugin: plugin.clone(), key: key.clone() };
            let state = instance.state.as_ref().map(|state| json_of(&state.data));
            let completed = instance.status == InstanceStatus::Completed;
            (who, End { completed, state: state.unwrap_or(Json::Null) })
        });
        Self {
            ends: ends.collect(),
            unused: unused.map(|entry| (entry.received_at, Arc::clone(&entry.event))).collect(),
            failed: failed
                .map(|dead_letter| Failed {
                    at: dead_letter.at,
                    plugin: dead_letter.plugin.clone(),
                    key: dead_letter.key.clone(),
                    event: Arc::clone(&dead_letter.event),
                    reason: dead_letter.reason.clone(),
                })
                .collect(),
            deeds,
        }
    }
}

/// What took effect, in the order of their times; those of one instance in the order in which they
/// were made.
pub(crate) fn deeds(tables: &Tables) -> Vec<Deed> {
    let messages = tables.messages.values().map(|message| &message.event);
    // A sender's event can have the id of a message.
    let emitted = tables.log.values().filter(|entry| entry.hops.origin() == Origin::Host);
    let events = messages.chain(emitted.map(|entry| &entry.event));
    let sent: HashMap<&str, &Arc<Event>> = events.map(|event| (event.id.as_str(), event)).collect();
    let records = chains(tables).into_par_iter();
    let mut deeds: Vec<Deed> = records.filter_map(|record| deed(record, tables, &sent)).collect();
    // A stable sort: what an instance decided stays in its order.
    deeds.par_sort_by_key(|deed| deed.at);
    deeds
}

/// All decisions; those of an instance as its chain has them.
fn chains(tables: &Tables) -> Vec<&DecisionRecord> {
    let mut all = Vec::new();
    for ((plugin, key), instance) in &tables.instances {
        let mut chain = Vec::new();
        let mut next = Some(instance.decided);
        while let Some(position) = next {
            let record = tables.decisions.get(&(position, plugin.clone(), key.clone()));
            next = record.and_then(|record| record.previous);
            chain.extend(record);
        }
        all.extend(chain.into_iter().rev());
    }
    let is_chained = |record: &&DecisionRecord| {
        tables.instances.contains_key(&(record.plugin.clone(), record.key.clone()))
    };
    all.extend(tables.decisions.values().filter(|record| !is_chained(record)));
    all
}

fn deed(
    record: &DecisionRecord,
    tables: &Tables,
    sent: &HashMap<&str, &Arc<Event>>,
) -> Option<Deed> {
    let event = &tables.log.get(&record.position)?.event;
    let summary = DecisionSummary::from_json(&record.summary).ok()?;
    let messages = summary.messages.iter().filter_map(|message| {
        sent.get(message.id.as_str()).map(|event| (message.kind, Arc::clone(event)))
    });
    Some(Deed {
        at: record.decided_at,
        who: Who { plugin: record.plugin.clone(), key: record.key.clone() },
        event: Arc::clone(event),
        attempt: record.attempt,
        messages: messages.collect(),
        timers: summary.timers,
        keys: summary.keys,
        completes: summary.complete,
        state: record.state.clone(),
        answers: summary.answers,
    })
}

/// An event as people call it.
#[must_use]
pub(crate) fn name_of(event: &Event) -> String {
    match (event.event_type.as_str(), &event.subject) {
        (reserved::TIMER_FIRED, Some(timer)) => format!("timer `{timer}`"),
        (reserved::COMMAND_UNDELIVERABLE, Some(command)) => format!("undeliverable {command}"),
        (event_type, _) => event_type.to_owned(),
    }
}

/// JSON if it is JSON, otherwise its text.
#[must_use]
pub(crate) fn json_of(data: &[u8]) -> Json {
    match data.is_empty() {
        true => Json::Null,
        false => {
            Json::parse(data).unwrap_or_else(|_| String::from_utf8_lossy(data).into_owned().into())
        }
    }
}

/// A question as a scenario has it: a lookup and its key, with the answer.
#[must_use]
pub(crate) fn looked_up(answered: &RecordedAnswer) -> Option<(&str, &str, Json)> {
    let Question::Lookup { name, key } = &answered.question else { return None };
    let answer = match &answered.answer {
        // What is no text cannot be part of a scenario.
        RecordedValue::Found { data, .. } if std::str::from_utf8(data).is_ok() => json_of(data),
        _ => Json::Null,
    };
    Some((name, key, answer))
}
