//! A batch's rows, table by table.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, Params};
use sagabox_engine::model::{
    ControlId, DeadLetter, DeadLetterStatus, DeadLetterSubject, Instance, ItemOutcome, Key,
    PluginName, Position, SinkName, Trace, Wait,
};
use sagabox_engine::seams::store::{self, Append, Batch, Closing, UNTAKEN_TYPES_MAX};

use super::cause::cause;
use super::fields;
use super::rows::json as json_rows;
use super::rows::{self, encode, integer};
use super::trouble::WriteError;

pub(super) const PARKED_EVENT_GOES: &str =
    "DELETE FROM parked WHERE plugin = ? AND key = ? AND position = ?";
pub(super) const PARKED_MESSAGE_GOES: &str =
    "DELETE FROM parked_messages WHERE sink = ? AND sequence = ?";
pub(super) const DEAD_LETTER_CLOSED: &str =
    "UPDATE dead_letters SET status = ?, resolved_by = ?, resolved_reason = ? WHERE id = ?";
pub(super) const DEAD_LETTER_COMPENSATED: &str = "INSERT INTO compensated (sink, letters) \
     SELECT sink, 1 FROM dead_letters WHERE id = ? AND sink IS NOT NULL \
     ON CONFLICT DO UPDATE SET letters = letters + 1";

pub(super) const ITEM_SAID: &str = "UPDATE batch_items SET outcome = ?, reason = ? \
     WHERE batch = ? AND item = ? AND outcome IN ('pending', 'in-progress')";
pub(super) const ITEM_CLOSED: &str = "UPDATE batch_items SET outcome = 'changed', reason = ?1 \
     WHERE batch = (SELECT batch FROM dead_letters WHERE id = ?2) AND item = ?2 \
       AND outcome = 'in-progress'";
pub(super) const ITEM_DONE: &str = "UPDATE batch_items SET outcome = 'done' \
     WHERE batch = ? AND item = ? AND outcome = 'pending'";

const INSTANCE: &str = "INSERT OR REPLACE INTO instances (plugin, key, status, state_version, \
     state, decided, place, version, started_at, updated_at, started, traceparent) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
/// Of an instance that runs: a new one, or one that ran before. It changes no column of the index of
/// running instances, so only their first decision costs a row of it.
const INSTANCE_RUNS: &str = "INSERT INTO instances (plugin, key, status, state_version, \
     state, decided, place, version, started_at, updated_at, started, traceparent) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
     ON CONFLICT (plugin, key) DO UPDATE SET state_version = excluded.state_version, \
       state = excluded.state, decided = excluded.decided, place = excluded.place, \
       version = excluded.version, updated_at = excluded.updated_at, \
       started = excluded.started, traceparent = excluded.traceparent \
     WHERE status = 'running' AND started_at = excluded.started_at";

/// Runs a statement for each row. `params` gives a row's values, in the order of the columns.
pub(super) fn each<R, P: Params>(
    writer: &Connection,
    sql: &str,
    rows: impl IntoIterator<Item = R>,
    params: impl Fn(R) -> P,
) -> Result<(), WriteError> {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let mut statement = writer.prepare_cached(sql)?;
    for row in rows {
        statement.execute(params(row))?;
    }
    Ok(())
}

/// The appends that are no duplicates, and the timers that have fired.
pub(super) fn write_log(
    writer: &Connection,
    batch: &Batch,
    duplicates: &[Position],
) -> Result<(), WriteError> {
    let is_duplicate = |position: &Position| duplicates.binary_search(position).is_ok();
    let entries = || batch.appends.iter().filter(|append| !is_duplicate(&append.position));
    let sql =
        "INSERT INTO log (position, received_at, subject, event, hops) VALUES (?, ?, ?, ?, ?)";
    each(writer, sql, entries(), |append| {
        let Append { position, received_at, event, hops, .. } = append;
        let (place, subject) = (integer(position.0), event.stream());
        (place, integer(received_at.0), subject, event.to_json(), hops.0)
    })?;
    let count = (batch.appends.len() - duplicates.len()) as u64;
    let counted = (count > 0).then_some(integer(count));
    each(writer, "UPDATE totals SET events = events + ?", counted, |count| [count])?;
    write_untaken(writer, batch, is_duplicate)?;
    let sql = "UPDATE timers SET fired = 1 \
               WHERE plugin = ? AND instance = ? AND name = ? AND due = ? AND set_by = ?";
    let fired = batch.appends.iter().filter_map(|append| append.fires.as_ref());
    each(writer, sql, fired.chain(&batch.timers_fired), |timer| {
        let names = (timer.plugin.as_str(), timer.instance.as_str(), timer.name.as_str());
        (names.0, names.1, names.2, integer(timer.due.0), integer(timer.set_by.0))
    })
}

fn write_untaken(
    writer: &Connection,
    batch: &Batch,
    is_duplicate: impl Fn(&Position) -> bool,
) -> Result<(), WriteError> {
    let sql = "INSERT INTO untaken (type, events, last_at) \
               SELECT CASE WHEN EXISTS (SELECT 1 FROM untaken WHERE type = ?1) \
                             OR (SELECT count(*) FROM untaken WHERE type <> '') < ?4 \
                      THEN ?1 ELSE '' END, ?2, ?3 WHERE true \
               ON CONFLICT DO UPDATE SET events = events + excluded.events, \
                                         last_at = excluded.last_at";
    let counts = store::untaken(batch, |position| is_duplicate(&position));
    each(writer, sql, counts, |(event_type, (count, last_at))| {
        (event_type, integer(count), integer(last_at.0), integer(UNTAKEN_TYPES_MAX as u64))
    })
}

pub(super) fn write_instances(writer: &Connection, batch: &Batch) -> Result<(), WriteError> {
    remove_instances(writer, &batch.instances_removed)?;
    write_over(writer, &batch.instances)?;
    fields::write(writer, &batch.fields)?;
    let (claimed, released): (Vec<_>, Vec<_>) =
        batch.claims.iter().partition(|claim| claim.claimed);
    let sql = "INSERT OR IGNORE INTO claims (plugin, key, instance) VALUES (?, ?, ?)";
    each(writer, sql, claimed, |c| (c.plugin.as_str(), c.key.as_str(), c.instance.as_str()))?;
    let sql = "DELETE FROM claims WHERE plugin = ? AND key = ? AND instance = ?";
    each(writer, sql, released, |c| (c.plugin.as_str(), c.key.as_str(), c.instance.as_str()))?;
    let sql = "DELETE FROM timers WHERE plugin = ? AND instance = ? AND name = ?";
    each(writer, sql, &batch.timers_cleared, |(plugin, instance, name)| {
        (plugin.as_str(), instance.as_str(), name.as_str())
    })?;
    let sql = "INSERT OR REPLACE INTO timers (plugin, instance, name, due, set_by, data, hops, fired, trace) \
               VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)";
    each(writer, sql, &batch.timers_set, |row| {
        let timer = &row.timer;
        (
            timer.plugin.as_str(),
            timer.instance.as_str(),
            timer.name.as_str(),
            integer(timer.due.0),
            integer(timer.set_by.0),
            encode(&row.data),
            row.hops.0,
            row.trace.as_deref().map(Trace::to_text),
        )
    })
}

/// Without their claims and timers.
fn write_over(
    writer: &Connection,
    instances: &[(PluginName, Arc<Instance>)],
) -> Result<(), WriteError> {
    if instances.is_empty() {
        return Ok(());
    }
    let mut runs = writer.prepare_cached(INSTANCE_RUNS)?;
    let mut any = writer.prepare_cached(INSTANCE)?;
    for (plugin, instance) in instances {
        let is_written =
            instance.status.is_running() && runs.execute(instance_row(plugin, instance))? == 1;
        if !is_written {
            any.execute(instance_row(plugin, instance))?;
        }
    }
    Ok(())
}

fn instance_row<'r>(plugin: &'r PluginName, instance: &'r Instance) -> impl Params + 'r {
    let state = instance.state.as_ref();
    (
        plugin.as_str(),
        instance.key.as_str(),
        instance.status.as_str(),
        state.map(|state| state.version),
        state.map(|state| encode(&state.data)),
        integer(instance.decided.0),
        integer(instance.place.0),
        integer(instance.version),
        integer(instance.started_at.0),
        integer(instance.updated_at.0),
        integer(instance.started.0),
        instance.trace.as_deref().map(|trace| trace.to_traceparent()),
    )
}

/// With their fields, claims and timers.
fn remove_instances(writer: &Connection, removed: &[(PluginName, Key)]) -> Result<(), WriteError> {
    fields::remove(writer, removed)?;
    for sql in [
        "DELETE FROM claims WHERE plugin = ? AND instance = ?",
        "DELETE FROM timers WHERE plugin = ? AND instance = ?",
        "DELETE FROM instances WHERE plugin = ? AND key = ?",
    ] {
        each(writer, sql, removed, |(plugin, key)| (plugin.as_str(), key.as_str()))?;
    }
    Ok(())
}

pub(super) fn write_messages(writer: &Connection, batch: &Batch) -> Result<(), WriteError> {
    let sql = "INSERT INTO outbox (sink, sequence, kind, plugin, key, cause, event, hops, instance) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    each(writer, sql, &batch.messages, |message| {
        (
            message.sink.as_str(),
            integer(message.sequence.0),
            rows::kind(message.kind),
            message.plugin.as_str(),
            message.key.as_str(),
            integer(message.cause.0),
            message.event.to_json(),
            message.hops.0,
            message.instance.map(|started| integer(started.0)),
        )
    })?;
    let mut sinks: BTreeMap<&SinkName, u64> = BTreeMap::new();
    for message in &batch.messages {
        *sinks.entry(&message.sink).or_default() += 1;
    }
    let sql = "INSERT INTO outbox_totals (sink, messages) VALUES (?, ?) \
               ON CONFLICT DO UPDATE SET messages = messages + excluded.messages";
    each(writer, sql, sinks, |(sink, messages)| (sink.as_str(), integer(messages)))
}

/// What is held, parked or dead.
pub(super) fn write_waiting(writer: &Connection, batch: &Batch) -> Result<(), WriteError> {
    write_held(writer, batch)?;
    write_parked(writer, batch)?;
    write_waits(writer, batch)?;
    write_dead_letters(writer, batch)?;
    write_items(writer, batch)
}

fn write_held(writer: &Connection, batch: &Batch) -> Result<(), WriteError> {
    let sql = "DELETE FROM held WHERE plugin = ? AND key = ? AND position = ?";
    each(writer, sql, &batch.held_removed, |(plugin, key, position)| {
        (plugin.as_str(), key.as_str(), integer(position.0))
    })?;
    let sql = "INSERT OR REPLACE INTO held (plugin, position, key, until, reached, due) \
               VALUES (?, ?, ?, ?, ?, ?)";
    each(writer, sql, &batch.held, |held| {
        (
            held.plugin.as_str(),
            integer(held.entry.position.0),
            held.key.as_str(),
            integer(held.until.0),
            json_rows(&held.reached),
            held.due.as_ref().map(json_rows),
        )
    })
}

/// Events and messages behind dead letters.
fn write_parked(writer: &Connection, batch: &Batch) -> Result<(), WriteError> {
    each(writer, PARKED_EVENT_GOES, &batch.parked_removed, |(plugin, key, position)| {
        (plugin.as_str(), key.as_str(), integer(position.0))
    })?;
    let sql = "INSERT OR REPLACE INTO parked (plugin, key, position) VALUES (?, ?, ?)";
    each(writer, sql, &batch.parked, |parked| {
        (parked.plugin.as_str(), parked.key.as_str(), integer(parked.entry.position.0))
    })?;
    each(writer, PARKED_MESSAGE_GOES, &batch.parked_messages_removed, |(sink, sequence)| {
        (sink.as_str(), integer(sequence.0))
    })?;
    let sql = "INSERT OR REPLACE INTO parked_messages (sink, sequence, plugin, key) \
               VALUES (?, ?, ?, ?)";
    each(writer, sql, &batch.parked_messages, |(lane, sequence)| {
        (lane.sink.as_str(), integer(sequence.0), lane.plugin.as_str(), lane.key.as_str())
    })
}

/// Pauses before the next attempt, of events and messages.
fn write_waits(writer: &Connection, batch: &Batch) -> Result<(), WriteError> {
    let sql = "DELETE FROM waits WHERE plugin = ? AND key = ?";
    each(writer, sql, &batch.waits_removed, |(plugin, key)| (plugin.as_str(), key.as_str()))?;
    let sql = "INSERT OR REPLACE INTO waits (plugin, key, place, attempt, since, until, reason) \
               VALUES (?, ?, ?, ?, ?, ?, ?)";
    each(writer, sql, &batch.waits, |(plugin, key, wait)| {
        let Wait { place, attempt, since, until, reason } = wait;
        let (since, until) = (integer(since.0), integer(until.0));
        (plugin.as_str(), key.as_str(), integer(*place), attempt, since, until, reason.as_str())
    })?;
    let sql = "DELETE FROM message_waits WHERE sink = ? AND place = ?";
    each(writer, sql, &batch.message_waits_removed, |(sink, sequence)| {
        (sink.as_str(), integer(sequence.0))
    })?;
    let sql = "INSERT OR REPLACE INTO message_waits (sink, place, plugin, key, attempt, since, \
               until, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    each(writer, sql, &batch.message_waits, |(lane, wait)| {
        (
            lane.sink.as_str(),
            integer(wait.place),
            lane.plugin.as_str(),
            lane.key.as_str(),
            wait.attempt,
            integer(wait.since.0),
            integer(wait.until.0),
            wait.reason.as_str(),
        )
    })
}

fn write_dead_letters(writer: &Connection, batch: &Batch) -> Result<(), WriteError> {
    let sql = "INSERT OR REPLACE INTO dead_letters (id, sink, sequence, plugin, key, position, \
               reason, attempts, plugin_version, at, status, resolved_by, resolved_reason, event, \
               edited, message_kind, event_type, hops, cause, batch, log) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    each(writer, sql, &batch.dead_letters, |dead_letter| dead_letter_row(dead_letter))?;
    each(writer, DEAD_LETTER_CLOSED, &batch.dead_letters_closed, |closing| {
        let Closing { id, status, by, reason } = closing;
        (status.as_str(), by.as_str(), reason.as_str(), integer(id.0))
    })?;
    let compensated = DeadLetterStatus::Compensated;
    let compensated =
        batch.dead_letters_closed.iter().filter(|closing| closing.status == compensated);
    each(writer, DEAD_LETTER_COMPENSATED, compensated, |closing| [integer(closing.id.0)])?;
    let sql = "UPDATE dead_letters SET reason = reason || '; ' || ? WHERE id = ?";
    each(writer, sql, &batch.dead_letters_noted, |(id, note)| (note.as_str(), integer(id.0)))
}

/// What the commit says of the items of operators' batches.
fn write_items(writer: &Connection, batch: &Batch) -> Result<(), WriteError> {
    let said = batch.dead_letters.iter().filter_map(|dead_letter| {
        let (item, outcome) = dead_letter.item_outcome()?;
        let reason = (outcome == ItemOutcome::Failed).then_some(dead_letter.reason.as_str());
        Some((item, outcome, reason))
    });
    each(writer, ITEM_SAID, said, |(of, outcome, reason)| {
        (outcome.as_str(), reason, integer(of.batch.0), integer(of.item))
    })?;
    each(writer, ITEM_CLOSED, &batch.dead_letters_closed, |closing| {
        (closing.reason.as_str(), integer(closing.id.0))
    })?;
    each(writer, ITEM_DONE, &batch.items_done, |of| (integer(of.batch.0), integer(of.item)))
}

/// One value for each column: more than a tuple of parameters can have.
fn dead_letter_row(dead_letter: &DeadLetter) -> impl Params {
    let text = |text: &str| Value::Text(text.to_owned());
    let optional = |value: Option<Value>| value.unwrap_or(Value::Null);
    let (sink, sequence, kind) = match &dead_letter.subject {
        DeadLetterSubject::Event => (Value::Null, Value::Null, Value::Null),
        DeadLetterSubject::Message { sink, sequence, kind } => {
            (text(sink.as_str()), integer(sequence.0).into(), text(rows::kind(*kind)))
        }
    };
    [
        integer(dead_letter.id.0).into(),
        sink,
        sequence,
        text(dead_letter.plugin.as_str()),
        optional(dead_letter.key.as_ref().map(|key| text(key.as_str()))),
        integer(dead_letter.position.0).into(),
        text(&dead_letter.reason),
        dead_letter.attempts.into(),
        text(&dead_letter.plugin_version),
        integer(dead_letter.at.0).into(),
        text(dead_letter.status.as_str()),
        optional(dead_letter.resolved_by.as_deref().map(text)),
        optional(dead_letter.resolved_reason.as_deref().map(text)),
        dead_letter.event.to_json().into(),
        optional(dead_letter.edited.as_ref().map(|event| event.to_json().into())),
        kind,
        text(&dead_letter.event.event_type),
        dead_letter.hops.0.into(),
        cause_of(dead_letter).into(),
        optional(dead_letter.batch.map(|batch| integer(batch.0).into())),
        optional(dead_letter.log.as_deref().map(text)),
    ]
}

fn cause_of(dead_letter: &DeadLetter) -> String {
    let DeadLetter { event, key, reason, .. } = dead_letter;
    let names = [key.as_ref().map(Key::as_str), Some(event.id.as_str()), event.subject.as_deref()];
    cause(reason, names.into_iter().flatten())
}

pub(super) fn write_progress(writer: &Connection, batch: &Batch) -> Result<(), WriteError> {
    let sql = "INSERT OR REPLACE INTO plugins (plugin, cursor, counters) VALUES (?, ?, ?)";
    each(writer, sql, &batch.plugins, |row| {
        (row.plugin.as_str(), json_rows(&row.cursor), json_rows(&row.counters))
    })?;
    let sql = "DELETE FROM partly_decided WHERE plugin = ? AND position = ?";
    each(writer, sql, &batch.partly_decided_removed, |(plugin, position)| {
        (plugin.as_str(), integer(position.0))
    })?;
    let sql = "INSERT OR IGNORE INTO partly_decided (plugin, position, key) VALUES (?, ?, ?)";
    each(writer, sql, &batch.partly_decided, |(plugin, position, key)| {
        (plugin.as_str(), integer(position.0), key.as_str())
    })?;
    let sql = "INSERT OR REPLACE INTO sinks (sink, cursor, counters) VALUES (?, ?, ?)";
    each(writer, sql, &batch.sinks, |row| {
        (row.sink.as_str(), json_rows(&row.cursor), json_rows(&row.counters))
    })?;
    let sql = "DELETE FROM controls WHERE kind = ? AND target = ?";
    each(writer, sql, &batch.controls_removed, |id| (id.kind.as_str(), json_rows(&id.target)))?;
    let sql = "INSERT OR REPLACE INTO controls (kind, target, control) VALUES (?, ?, ?)";
    each(writer, sql, &batch.controls, |control| {
        let ControlId { kind, target } = control.id();
        (kind.as_str(), json_rows(&target), json_rows(control))
    })
}
