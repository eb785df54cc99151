//! Compares the operator's notes with what is stored and delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeBounds as _};
use std::sync::Arc;

use serde_json::Value;

use super::LASTING;
use super::operator::{Deed, Notes, What, is_of_same_lane};
use super::plugins::{JOBS, REPORTER};
use crate::model::{
    DeadLetter, DeadLetterStatus, DeadLetterSubject, DecisionRecord, Event, InstanceStatus, Key,
    Message, PluginName, Position, Sequence, SinkName, Timestamp, reserved,
};
use crate::pure::identity;
use crate::seams::store::memory::Tables;
use crate::sim::ledger;

pub(super) fn place(dead_letter: &DeadLetter) -> u64 {
    match &dead_letter.subject {
        DeadLetterSubject::Event => dead_letter.position.0,
        DeadLetterSubject::Message { sequence, .. } => sequence.0,
    }
}

pub(super) fn check(
    sent: &[Event],
    notes: &Notes,
    tables: &Tables,
    delivered: &[Arc<Message>],
) -> Result<(), String> {
    ledger::claims_are_those_of_the_instances(tables)?;
    ended_instances_do_not_run(notes, tables)?;
    let all = tables.clone().with_removed();
    ledger::sums_add_up(&all)?;
    // Those that were removed are not counted any more.
    ledger::instances_are_counted(tables)?;
    ledger::sinks_add_up(&all)?;
    each_event_is_decided_once(&all)?;
    deeds_hold(notes, &all, delivered)?;
    what_is_for_one_instance_reaches_no_later_one(&all)?;
    who_handles_a_refusal_resolves_it(notes, &all, delivered)?;
    nothing_is_dropped_that_was_not_asked_for(sent, notes, &all)?;
    keys_begin_again(notes, &all)?;
    instances_decide_in_order(tables, &all)?;
    streams_are_whole(&all)?;
    messages_leave_in_order(&all, delivered)
}

fn row(plugin: &PluginName, key: &Key, position: Position) -> (Position, PluginName, Key) {
    (position, plugin.clone(), key.clone())
}

/// The position at which an event first came into the log, not one to which it was redriven.
fn position_of(all: &Tables, id: &str) -> Option<Position> {
    all.log.values().find(|entry| entry.event.id == id).map(|entry| entry.position)
}

fn each_event_is_decided_once(all: &Tables) -> Result<(), String> {
    let mut decided = BTreeSet::new();
    for decision in all.decisions.values() {
        let id = &all.log[&decision.position].event.id;
        if !decided.insert((&decision.plugin, &decision.key, id)) {
            return Err(format!("guarantee 2: {} decided {id} twice", decision.key));
        }
    }
    Ok(())
}

/// Every action that was acknowledged has taken effect, and nothing has undone it.
fn deeds_hold(notes: &Notes, all: &Tables, delivered: &[Arc<Message>]) -> Result<(), String> {
    for deed in notes.deeds.iter().filter(|deed| deed.answered.is_some()) {
        let Deed { dead_letter, what, waiting, .. } = deed;
        let status = all.dead_letters.get(&dead_letter.id).map(|dead_letter| dead_letter.status);
        let expected = match what {
            What::Skip => Some(DeadLetterStatus::Skipped),
            What::Discard => Some(DeadLetterStatus::Discarded),
            What::Move(_) => Some(DeadLetterStatus::Redriven),
            What::Redrive => status,
        };
        if status != expected {
            return Err(format!("dead letter {} is {status:?}, after {what:?}", dead_letter.id.0));
        }
        let mut gone = match what {
            What::Discard => {
                let stays = dead_letters_between(deed, all).into_iter().next().unwrap_or(u64::MAX);
                waiting.range(..stays).copied().collect()
            }
            What::Skip | What::Move(_) | What::Redrive => BTreeSet::new(),
        };
        if *what != What::Redrive {
            gone.insert(place(dead_letter));
        }
        let Some(key) = &dead_letter.key else { continue };
        for place in gone {
            let found = match &dead_letter.subject {
                DeadLetterSubject::Event => {
                    all.decisions.contains_key(&row(&dead_letter.plugin, key, Position(place)))
                }
                DeadLetterSubject::Message { sink, .. } => delivered.iter().any(|m| {
                    m.sink == *sink && m.sequence.0 == place && m.plugin == dead_letter.plugin
                }),
            };
            if found {
                return Err(format!(
                    "{what:?} of dead letter {}: {place} went on",
                    dead_letter.id.0
                ));
            }
        }
    }
    Ok(())
}

/// The places of later dead letters of the same key that came after the action was noted and
/// before it was answered. What is behind such a dead letter waits for that one.
fn dead_letters_between(deed: &Deed, all: &Tables) -> BTreeSet<u64> {
    let last = deed.answered.map_or(deed.newest, |answered| answered.newest);
    let newer = (Bound::Excluded(deed.newest), Bound::Included(last.max(deed.newest)));
    let newer = all.dead_letters.iter().filter(|(id, _)| newer.contains(id));
    let same = newer.filter(|(_, other)| is_of_same_lane(&deed.dead_letter, other));
    let places = same.map(|(_, other)| place(other));
    places.filter(|other| *other > place(&deed.dead_letter)).collect()
}

/// Whether an action may have asked that an instance or lane does not decide an event.
fn is_given_up(notes: &Notes, plugin: &str, key: &str, id: &str, position: Position) -> bool {
    notes.deeds.iter().any(|deed| {
        let Deed { dead_letter, what, answered, .. } = deed;
        if dead_letter.plugin.as_str() != plugin || dead_letter.subject != DeadLetterSubject::Event
        {
            return false;
        }
        if dead_letter.event.id == id && *what != What::Redrive {
            return true;
        }
        let until = answered.map_or(Position(u64::MAX), |answered| answered.head);
        let of_key = dead_letter.key.as_ref().is_some_and(|of| of.as_str() == key);
        *what == What::Discard && of_key && dead_letter.position < position && position <= until
    })
}

/// Every event for an instance that runs for ever, or for a lane, is decided there.
fn nothing_is_dropped_that_was_not_asked_for(
    sent: &[Event],
    notes: &Notes,
    all: &Tables,
) -> Result<(), String> {
    for event in sent.iter().filter(|event| event.event_type == "touch") {
        let data: Value = serde_json::from_slice(&event.data).unwrap_or_default();
        let key = data["key"].as_str().unwrap_or_default();
        let Some(position) = position_of(all, &event.id) else {
            return Err(format!("guarantee 1: {} is not in the log", event.id));
        };
        for plugin in [JOBS, REPORTER] {
            let decided = row(&plugin.into(), &key.into(), position);
            if LASTING.contains(&key)
                && !all.decisions.contains_key(&decided)
                && !is_given_up(notes, plugin, key, &event.id, position)
            {
                return Err(format!("guarantee 7: {plugin} has lost {} of {key}", event.id));
            }
        }
    }
    for deed in notes.deeds.iter().filter(|deed| deed.answered.is_some()) {
        let Deed { dead_letter, what: What::Move(to), .. } = deed else { continue };
        let id = &dead_letter.event.id;
        let is_there = |d: &&crate::model::DecisionRecord| {
            d.plugin == dead_letter.plugin
                && d.key.as_str() == to
                && all.log[&d.position].event.id == *id
        };
        let mut copies = all.log.values().filter(|entry| entry.event.id == *id);
        let last = copies.next_back().map_or(Position(0), |entry| entry.position);
        let others = |deed: &&Deed| {
            deed.dead_letter.id != dead_letter.id && deed.dead_letter.event.id == *id
        };
        let again = notes.deeds.iter().filter(others).any(|deed| deed.what != What::Redrive);
        if dead_letter.event.event_type == "touch"
            && all.decisions.values().filter(is_there).count() == 0
            && !again
            && !is_given_up(notes, dead_letter.plugin.as_str(), to, "", last)
        {
            return Err(format!("guarantee 7: {id} was moved to {to}, and is lost"));
        }
    }
    Ok(())
}

/// An event that was accepted after an instance was removed does not reach that instance.
fn keys_begin_again(notes: &Notes, all: &Tables) -> Result<(), String> {
    let jobs = PluginName::from(JOBS);
    for id in &notes.starts {
        let Some(position) = position_of(all, id) else { continue };
        if !all.decisions.keys().any(|(at, plugin, _)| *at == position && *plugin == jobs) {
            return Err(format!("{id} began nothing, and there was no instance"));
        }
    }
    for id in &notes.orphans {
        let dead_letter = |dead_letter: &&Arc<DeadLetter>| {
            dead_letter.event.id == *id && dead_letter.plugin == jobs
        };
        if position_of(all, id).is_some() && !all.dead_letters.values().any(|l| dead_letter(&l)) {
            return Err(format!(
                "guarantee 7: {id} needs an instance, has none, and is no dead letter"
            ));
        }
    }
    Ok(())
}

/// An event that the host made for one instance, because of its command or because of an
/// operator's request, is not decided by a later instance of the same key.
fn what_is_for_one_instance_reaches_no_later_one(all: &Tables) -> Result<(), String> {
    for decision in all.decisions.values() {
        let event = &all.log[&decision.position].event;
        let is_meant = |earlier: &DecisionRecord| match event.event_type.as_str() {
            reserved::COMMAND_UNDELIVERABLE => {
                refused_command(event, all).is_none_or(|m| m.cause == earlier.position)
            }
            reserved::INSTANCE_ENDED => {
                let said_at =
                    event.time.as_deref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
                let said_at = said_at.map_or(0, jiff::Timestamp::as_millisecond);
                let said_at = Timestamp(said_at.unsigned_abs());
                let DecisionRecord { plugin, key, position, .. } = earlier;
                let ended = reserved::INSTANCE_ENDED;
                let id = identity::operator_event_id(ended, plugin, key, *position, said_at);
                event.id == id
            }
            _ => true,
        };
        let mut next = decision.previous;
        let earlier = std::iter::from_fn(|| {
            let earlier = all.decisions.get(&row(&decision.plugin, &decision.key, next?))?;
            next = earlier.previous;
            Some(earlier)
        });
        let is_of_host = [reserved::COMMAND_UNDELIVERABLE, reserved::INSTANCE_ENDED]
            .contains(&event.event_type.as_str());
        if is_of_host && decision.plugin.as_str() == JOBS && !earlier.into_iter().any(is_meant) {
            let (key, position) = (&decision.key, decision.position);
            return Err(format!(
                "{} at {position} is for an earlier instance of {key}",
                event.event_type
            ));
        }
    }
    Ok(())
}

fn refused_command<'t>(event: &Event, all: &'t Tables) -> Option<&'t Arc<Message>> {
    let data: Value = serde_json::from_slice(&event.data).ok()?;
    let id = data["id"].as_str()?;
    all.messages.values().find(|message| message.event.id == id)
}

/// A command whose refusal its plugin handled has no open dead letter, unless the operator acted
/// on it, and is never delivered. A dead letter is compensated only if its plugin handled the
/// refusal.
fn who_handles_a_refusal_resolves_it(
    notes: &Notes,
    all: &Tables,
    delivered: &[Arc<Message>],
) -> Result<(), String> {
    let mut handled = BTreeSet::new();
    for decision in all.decisions.values() {
        let event = &all.log[&decision.position].event;
        if event.event_type == reserved::COMMAND_UNDELIVERABLE {
            handled.extend(refused_command(event, all).map(|m| (m.sink.clone(), m.sequence)));
        }
    }
    for dead_letter in all.dead_letters.values() {
        let DeadLetterSubject::Message { sink, sequence, .. } = &dead_letter.subject else {
            continue;
        };
        let is_handled = handled.contains(&(sink.clone(), *sequence));
        let is_compensated = dead_letter.status == DeadLetterStatus::Compensated;
        let is_taken_over = notes.deeds.iter().any(|deed| deed.dead_letter.id == dead_letter.id);
        let id = dead_letter.id.0;
        if is_compensated && !is_handled {
            return Err(format!(
                "dead letter {id} is compensated, and its refusal was not handled"
            ));
        }
        if is_handled && !is_compensated && !is_taken_over {
            return Err(format!(
                "the refusal of dead letter {id} was handled: {:?}",
                dead_letter.status
            ));
        }
        let mut taken = delivered.iter();
        if is_compensated && taken.any(|m| m.sink == *sink && m.sequence == *sequence) {
            return Err(format!("dead letter {id} is compensated, and was delivered"));
        }
    }
    Ok(())
}

fn ended_instances_do_not_run(notes: &Notes, tables: &Tables) -> Result<(), String> {
    for (key, started_at) in &notes.ended {
        let instance = tables.instances.get(&(PluginName::from(JOBS), key.clone()));
        let runs = |status| status == InstanceStatus::Running;
        if instance.is_some_and(|i| i.started_at == *started_at && runs(i.status)) {
            return Err(format!("{key} was ended, and runs"));
        }
    }
    Ok(())
}

/// Held events are left out: an instance decides them when it claims their keys.
fn instances_decide_in_order(tables: &Tables, all: &Tables) -> Result<(), String> {
    for ((plugin, key), instance) in &tables.instances {
        let mut next = Some(instance.decided);
        let mut last = u64::MAX;
        while let Some(position) = next {
            let decision = all.decisions.get(&row(plugin, key, position));
            let decision =
                decision.ok_or_else(|| format!("guarantee 3: {key} has none at {position}"))?;
            if all.log[&position].event.event_type != "item" {
                if position.0 >= last {
                    return Err(format!("guarantee 4: {key} decided {position} too early"));
                }
                last = position.0;
            }
            next = decision.previous;
        }
    }
    Ok(())
}

/// The answer to a question for a stream is each event of the subject, once, in order. Events
/// that the host made for one plugin are in no stream.
fn streams_are_whole(all: &Tables) -> Result<(), String> {
    let reported = all.messages.values().filter(|message| message.event.event_type == "reported");
    for message in reported {
        let data: Value = serde_json::from_slice(&message.event.data).unwrap_or_default();
        let reported: Vec<&str> =
            data["ids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let before = all.log.range(..message.cause).map(|(_, entry)| &entry.event);
        let stream = before.filter(|event| {
            event.subject.as_deref() == Some(message.key.as_str())
                && event.extension(reserved::EXTENSION_PLUGIN).is_none()
        });
        let stream: Vec<&str> = stream.map(|event| event.id.as_str()).collect();
        if reported != stream {
            let (key, cause) = (&message.key, message.cause);
            return Err(format!("at {cause}, the stream of {key} is {stream:?}, not {reported:?}"));
        }
    }
    Ok(())
}

fn messages_leave_in_order(all: &Tables, delivered: &[Arc<Message>]) -> Result<(), String> {
    let mut ids = BTreeSet::new();
    for message in all.messages.values() {
        if !ids.insert(&message.event.id) {
            return Err(format!("guarantee 5: two messages have the id {}", message.event.id));
        }
    }
    let mut last: BTreeMap<(&SinkName, &PluginName, &Key), Sequence> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for message in delivered.iter().filter(|message| seen.insert(&message.event.id)) {
        let lane = (&message.sink, &message.plugin, &message.key);
        let before = last.insert(lane, message.sequence);
        if before.is_some_and(|before| before > message.sequence) {
            return Err(format!("guarantee 4: {} left after its successor", message.event.id));
        }
    }
    Ok(())
}
