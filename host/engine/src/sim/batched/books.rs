//! Compares the operator's notes with the store: each item was acted on once, and nothing else was.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    BatchAction, BatchId, BatchItem, BatchItemId, DeadLetter, DeadLetterId, DeadLetterStatus,
    DeadLetterSubject, ItemOutcome, Key, Position, reserved,
};
use crate::seams::store::memory::Tables;
use crate::sim::ledger;

/// What the operator knows. It survives crashes of the host.
#[derive(Default)]
pub(super) struct Notes {
    /// The batches that were started, and those of them that are over.
    pub started: BTreeMap<BatchId, BatchAction>,
    pub over: BTreeSet<BatchId>,
    pub ignores: BTreeSet<BatchId>,
    /// How often the operator asked for an action on a dead letter by hand.
    pub by_hand: BTreeMap<DeadLetterId, u32>,
}

pub(super) fn check(notes: &Notes, tables: &Tables) -> Result<(), String> {
    ledger::claims_are_those_of_the_instances(tables)?;
    ledger::sums_add_up(tables)?;
    ledger::instances_are_counted(tables)?;
    ledger::sinks_add_up(tables)?;
    let mut decided = BTreeSet::new();
    for decision in tables.decisions.values() {
        let id = &tables.log[&decision.position].event.id;
        if !decided.insert((&decision.key, id)) {
            return Err(format!("guarantee 2: {} decided {id} twice", decision.key));
        }
    }
    for dead_letter in tables.dead_letters.values() {
        dead_letter_was_acted_on_once(notes, tables, dead_letter)?;
    }
    for (id, row) in &tables.batch_items {
        match notes.started[&id.batch].is_of_instances() {
            true => instance_was_asked_once(notes, tables, *id, &row.item, row.outcome)?,
            false => item_says_what_became_of_the_dead_letter(notes, tables, *id, row.outcome)?,
        }
    }
    nothing_else_was_asked(notes, tables)
}

/// The batches that acted on a dead letter: the item has the outcome of an action.
fn acted_on(notes: &Notes, tables: &Tables, dead_letter: DeadLetterId) -> Vec<BatchId> {
    let acted = [ItemOutcome::Done, ItemOutcome::Failed];
    let batches = notes.started.iter().filter(|(_, action)| !action.is_of_instances());
    let row = |batch| tables.batch_items.get(&BatchItemId { batch, item: dead_letter.0 });
    let acted = |batch: &BatchId| row(*batch).is_some_and(|row| acted.contains(&row.outcome));
    batches.map(|(batch, _)| *batch).filter(acted).collect()
}

/// A redrive that fails adds an attempt. So more attempts than actions are one action too many.
fn dead_letter_was_acted_on_once(
    notes: &Notes,
    tables: &Tables,
    dead_letter: &DeadLetter,
) -> Result<(), String> {
    let batches = acted_on(notes, tables, dead_letter.id);
    let by_hand = notes.by_hand.get(&dead_letter.id).copied().unwrap_or_default();
    let most = 1 + by_hand as usize + batches.len();
    let DeadLetter { id, attempts, status, batch, .. } = dead_letter;
    if *attempts as usize > most {
        return Err(format!(
            "dead letter {} failed {attempts} times, after {by_hand} redrives by hand and {batches:?}",
            id.0
        ));
    }
    if *status != DeadLetterStatus::Open && batches.is_empty() && by_hand == 0 {
        let is_given_up = dead_letter.resolved_by.as_deref() == Some("operator") && batch.is_none();
        if !(is_given_up && *status == DeadLetterStatus::Discarded) {
            return Err(format!("dead letter {} is {status:?}, and no item", id.0));
        }
    }
    if batch.is_some_and(|batch| !batches.contains(&batch)) {
        let item = batch.map(|batch| BatchItemId { batch, item: id.0 });
        let outcome = item.and_then(|item| tables.batch_items.get(&item)).map(|row| row.outcome);
        if outcome != Some(ItemOutcome::Changed) {
            return Err(format!("dead letter {} names {batch:?}, where it is {outcome:?}", id.0));
        }
    }
    Ok(())
}

fn item_says_what_became_of_the_dead_letter(
    notes: &Notes,
    tables: &Tables,
    id: BatchItemId,
    outcome: ItemOutcome,
) -> Result<(), String> {
    let dead_letter = &tables.dead_letters[&DeadLetterId(id.item)];
    if dead_letter.batch != Some(id.batch) {
        return Ok(());
    }
    let expected = match (notes.started[&id.batch], outcome) {
        (_, ItemOutcome::Failed) => DeadLetterStatus::Open,
        (BatchAction::Redrive, ItemOutcome::Done) => DeadLetterStatus::Redriven,
        (BatchAction::Skip, ItemOutcome::Done) => DeadLetterStatus::Skipped,
        (_, ItemOutcome::Done | ItemOutcome::Changed) => DeadLetterStatus::Discarded,
        (_, outcome) => return Err(format!("item {id:?} is {outcome:?} at the end")),
    };
    // An operator who ends an instance discards its open dead letters.
    let is_given_up = dead_letter.status == DeadLetterStatus::Discarded;
    match dead_letter.status == expected || outcome == ItemOutcome::Failed && is_given_up {
        true => Ok(()),
        false => {
            Err(format!("item {id:?} is {outcome:?}, and its dead letter {:?}", dead_letter.status))
        }
    }
}

/// The requests in the log, by the instance that they are for.
fn requests(tables: &Tables) -> BTreeMap<(Key, Position), usize> {
    let mut requests = BTreeMap::new();
    for entry in tables.log.values() {
        let event = &entry.event;
        let types = [reserved::INSTANCE_CANCELLED, reserved::INSTANCE_ENDED];
        if types.contains(&event.event_type.as_str()) {
            let extension = |name| event.extension(name).unwrap_or_default();
            let key = Key::from(extension(reserved::EXTENSION_INSTANCE));
            let started = extension(reserved::EXTENSION_STARTED).parse().unwrap_or_default();
            *requests.entry((key, Position(started))).or_default() += 1;
        }
    }
    requests
}

/// How many batches say that they asked an instance.
fn asked(notes: &Notes, tables: &Tables, key: &Key, started: Position) -> usize {
    let rows = tables.batch_items.iter();
    let of_instances = rows.filter(|(id, _)| notes.started[&id.batch].is_of_instances());
    let done = of_instances.filter(|(_, row)| row.outcome == ItemOutcome::Done);
    done.filter(|(_, row)| row.item.key.as_ref() == Some(key) && row.item.started == Some(started))
        .count()
}

fn instance_was_asked_once(
    notes: &Notes,
    tables: &Tables,
    id: BatchItemId,
    item: &BatchItem,
    outcome: ItemOutcome,
) -> Result<(), String> {
    let (key, started) = (item.key.clone().expect("it has one"), item.started.expect("it has one"));
    let found = requests(tables).get(&(key.clone(), started)).copied().unwrap_or_default();
    let expected = asked(notes, tables, &key, started);
    match outcome.is_final() && found == expected {
        true => Ok(()),
        false => Err(format!(
            "item {id:?}, instance `{key}`, is {outcome:?}: {found} requests of {expected} batches"
        )),
    }
}

fn nothing_else_was_asked(notes: &Notes, tables: &Tables) -> Result<(), String> {
    for ((key, started), found) in requests(tables) {
        let expected = asked(notes, tables, &key, started);
        if found != expected {
            return Err(format!("`{key}` was asked {found} times by {expected} batches"));
        }
    }
    for dead_letter in tables.dead_letters.values() {
        if let DeadLetterSubject::Message { .. } = &dead_letter.subject
            && dead_letter.resolved_by.is_some()
            && dead_letter.batch.is_none()
            && !notes.by_hand.contains_key(&dead_letter.id)
        {
            return Err(format!("dead letter {} was resolved by no one", dead_letter.id.0));
        }
    }
    Ok(())
}
