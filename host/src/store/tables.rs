//! A batch's rows, table by table. Those that are many go by [`Insert`]; of the others
//! a statement takes all as one JSON array (`json_each`): the cost of a commit is the
//! number of its statements, not of its rows.

use std::collections::BTreeMap;

use sagabox_engine::model::{Counters, Cursor, DeadLetter, DeadLetterSubject, Position, SinkName};
use sagabox_engine::store::{Append, Batch};
use serde_json::json;
use sqlx::SqliteConnection;

use super::insert::Insert;
use super::rows::json as json_rows;
use super::rows::{self, encode, integer};

/// The appends that are no duplicates, and the timers that have fired.
pub(super) async fn write_log(
    writer: &mut SqliteConnection,
    batch: &Batch,
    duplicates: &[Position],
) -> Result<(), sqlx::Error> {
    const LOG: Insert = Insert {
        head: "INSERT INTO log (position, received_at, subject, event)",
        columns: 4,
        tail: "",
    };
    let is_duplicate = |position| duplicates.binary_search(position).is_ok();
    let entries: Vec<&Append> =
        batch.appends.iter().filter(|append| !is_duplicate(&append.position)).collect();
    LOG.run(writer, &entries, |query, append| {
        query
            .bind(integer(append.position.0))
            .bind(integer(append.received_at.0))
            .bind(append.event.subject.clone())
            .bind(append.event.to_json())
    })
    .await?;
    if !entries.is_empty() {
        let query = sqlx::query("UPDATE totals SET events = events + ?");
        query.bind(integer(entries.len() as u64)).execute(&mut *writer).await?;
    }
    let fired: Vec<_> = batch.appends.iter().filter_map(|append| append.fires.as_ref()).collect();
    let fired: Vec<_> =
        fired.iter().map(|t| (&t.plugin, &t.instance, &t.name, t.due, t.set_by)).collect();
    over(
        writer,
        "DELETE FROM timers WHERE (plugin, instance, name, due, set_by) IN \
         (SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?))",
        &fired,
    )
    .await?;
    Ok(())
}

pub(super) async fn write_instances(
    writer: &mut SqliteConnection,
    batch: &Batch,
) -> Result<(), sqlx::Error> {
    const INSTANCES: Insert = Insert {
        head: "INSERT OR REPLACE INTO instances (plugin, key, status, state_version, state, \
               claims, timers, decided, version, started_at, updated_at)",
        columns: 11,
        tail: "",
    };
    INSTANCES
        .run(writer, &batch.instances, |query, (plugin, instance)| {
            let state = instance.state.as_ref();
            query
                .bind(plugin.to_string())
                .bind(instance.key.to_string())
                .bind(instance.status.as_str())
                .bind(state.map(|state| state.version))
                .bind(state.map(|state| encode(&state.data)))
                .bind(json_rows(&instance.claims))
                .bind(json_rows(&instance.timers))
                .bind(integer(instance.decided.0))
                .bind(integer(instance.version))
                .bind(integer(instance.started_at.0))
                .bind(integer(instance.updated_at.0))
        })
        .await?;
    remove_instances(writer, batch).await?;
    let (claimed, released): (Vec<_>, Vec<_>) =
        batch.claims.iter().partition(|claim| claim.claimed);
    let named =
        |claims: Vec<&sagabox_engine::store::ClaimChange>| -> Vec<(String, String, String)> {
            let names = |c: &sagabox_engine::store::ClaimChange| {
                (c.plugin.to_string(), c.key.to_string(), c.instance.to_string())
            };
            claims.into_iter().map(names).collect()
        };
    over(
        writer,
        "INSERT OR IGNORE INTO claims (plugin, key, instance) \
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)",
        &named(claimed),
    )
    .await?;
    over(
        writer,
        "DELETE FROM claims WHERE (plugin, key, instance) IN \
         (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
        &named(released),
    )
    .await?;
    over(
        writer,
        "DELETE FROM timers WHERE (plugin, instance, name) IN \
         (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
        &batch.timers_cleared,
    )
    .await?;
    let set: Vec<_> = batch
        .timers_set
        .iter()
        .map(|row| {
            let timer = &row.timer;
            (
                &timer.plugin,
                &timer.instance,
                &timer.name,
                timer.due,
                timer.set_by,
                encode(&row.data),
            )
        })
        .collect();
    over(
        writer,
        "INSERT OR REPLACE INTO timers (plugin, instance, name, due, set_by, data) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 \
         FROM json_each(?)",
        &set,
    )
    .await?;
    Ok(())
}

/// With their claims and timers. The claims are found by the instance's own list: the
/// table is ordered by key.
async fn remove_instances(writer: &mut SqliteConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    over(
        writer,
        "DELETE FROM claims WHERE (plugin, key, instance) IN \
         (SELECT instances.plugin, claim.value, instances.key \
          FROM json_each(?) AS removed \
          JOIN instances ON instances.plugin = removed.value ->> 0 \
                        AND instances.key = removed.value ->> 1 \
          JOIN json_each(instances.claims) AS claim)",
        &batch.instances_removed,
    )
    .await?;
    over(
        writer,
        "DELETE FROM timers WHERE (plugin, instance) IN \
         (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
        &batch.instances_removed,
    )
    .await?;
    over(
        writer,
        "DELETE FROM instances WHERE (plugin, key) IN \
         (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
        &batch.instances_removed,
    )
    .await?;
    Ok(())
}

pub(super) async fn write_decisions(
    writer: &mut SqliteConnection,
    batch: &Batch,
) -> Result<(), sqlx::Error> {
    const DECISIONS: Insert = Insert {
        head: "INSERT INTO decisions (position, plugin, key, previous, decided_at, \
               plugin_version, attempt, state_version, state, summary)",
        columns: 10,
        tail: "",
    };
    DECISIONS
        .run(writer, &batch.decisions, |query, decision| {
            let state = decision.state.as_ref();
            query
                .bind(integer(decision.position.0))
                .bind(decision.plugin.to_string())
                .bind(decision.key.to_string())
                .bind(decision.previous.map(|previous| integer(previous.0)))
                .bind(integer(decision.decided_at.0))
                .bind(decision.plugin_version.to_string())
                .bind(decision.attempt)
                .bind(state.map(|state| state.version))
                .bind(state.map(|state| encode(&state.data)))
                .bind(decision.summary.clone())
        })
        .await?;
    const OUTBOX: Insert = Insert {
        head: "INSERT INTO outbox (sink, sequence, kind, plugin, key, cause, event)",
        columns: 7,
        tail: "",
    };
    OUTBOX
        .run(writer, &batch.messages, |query, message| {
            query
                .bind(message.sink.to_string())
                .bind(integer(message.sequence.0))
                .bind(rows::kind(message.kind))
                .bind(message.plugin.to_string())
                .bind(message.key.to_string())
                .bind(integer(message.cause.0))
                .bind(message.event.to_json())
        })
        .await?;
    let mut sinks: BTreeMap<&SinkName, u64> = BTreeMap::new();
    for message in &batch.messages {
        *sinks.entry(&message.sink).or_default() += 1;
    }
    let sinks: Vec<_> = sinks.into_iter().collect();
    const TOTALS: Insert = Insert {
        head: "INSERT INTO outbox_totals (sink, messages)",
        columns: 2,
        tail: "ON CONFLICT DO UPDATE SET messages = messages + excluded.messages",
    };
    TOTALS
        .run(writer, &sinks, |query, (sink, messages)| {
            query.bind(sink.to_string()).bind(integer(*messages))
        })
        .await?;
    Ok(())
}

/// What is held, parked or dead.
pub(super) async fn write_waiting(
    writer: &mut SqliteConnection,
    batch: &Batch,
) -> Result<(), sqlx::Error> {
    over(
        writer,
        "DELETE FROM held WHERE (plugin, key, position) IN \
         (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
        &batch.held_removed,
    )
    .await?;
    let held: Vec<_> = batch
        .held
        .iter()
        .map(|held| {
            let reached = serde_json::to_string(&held.reached).unwrap_or_default();
            (&held.plugin, held.entry.position, &held.key, held.until, reached)
        })
        .collect();
    over(
        writer,
        "INSERT OR REPLACE INTO held (plugin, position, key, until, reached) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?)",
        &held,
    )
    .await?;
    over(
        writer,
        "DELETE FROM parked WHERE (plugin, key, position) IN \
         (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
        &batch.parked_removed,
    )
    .await?;
    let parked: Vec<_> =
        batch.parked.iter().map(|row| (&row.plugin, &row.key, row.entry.position)).collect();
    over(
        writer,
        "INSERT OR REPLACE INTO parked (plugin, key, position) \
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)",
        &parked,
    )
    .await?;
    over(
        writer,
        "DELETE FROM parked_messages WHERE (sink, sequence) IN \
         (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
        &batch.parked_messages_removed,
    )
    .await?;
    let parked: Vec<_> = batch
        .parked_messages
        .iter()
        .map(|(lane, sequence)| (&lane.sink, sequence, &lane.plugin, &lane.key))
        .collect();
    over(
        writer,
        "INSERT OR REPLACE INTO parked_messages (sink, sequence, plugin, key) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)",
        &parked,
    )
    .await?;
    let letters: Vec<_> = batch.dead_letters.iter().map(|letter| letter_row(letter)).collect();
    over(
        writer,
        "INSERT OR REPLACE INTO dead_letters (id, sink, sequence, plugin, key, position, reason, \
                     attempts, plugin_version, at, status, resolved_by, resolved_reason, event, \
                     edited, message_kind) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
                value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, \
                value ->> 12, value ->> 13, value ->> 14, value ->> 15 FROM json_each(?)",
        &letters,
    )
    .await?;
    Ok(())
}

/// One value for each column.
fn letter_row(letter: &DeadLetter) -> [serde_json::Value; 16] {
    let (sink, sequence, kind) = match &letter.subject {
        DeadLetterSubject::Event => (None, None, None),
        DeadLetterSubject::Message { sink, sequence, kind } => {
            (Some(sink), Some(sequence), Some(rows::kind(*kind)))
        }
    };
    [
        json!(letter.id),
        json!(sink),
        json!(sequence),
        json!(letter.plugin),
        json!(letter.key),
        json!(letter.position),
        json!(letter.reason),
        json!(letter.attempts),
        json!(letter.plugin_version),
        json!(letter.at),
        json!(letter.status.as_str()),
        json!(letter.resolved_by),
        json!(letter.resolved_reason),
        json!(letter.event.to_json()),
        json!(letter.edited.as_ref().map(|event| event.to_json())),
        json!(kind),
    ]
}

pub(super) async fn write_progress(
    writer: &mut SqliteConnection,
    batch: &Batch,
) -> Result<(), sqlx::Error> {
    let progress = |cursor: &Cursor, counters: &Counters| {
        let text = |value: serde_json::Result<String>| value.unwrap_or_default();
        (text(serde_json::to_string(cursor)), text(serde_json::to_string(counters)))
    };
    let plugins: Vec<_> = batch
        .plugins
        .iter()
        .map(|row| {
            let (cursor, counters) = progress(&row.cursor, &row.counters);
            (&row.plugin, cursor, counters)
        })
        .collect();
    over(
        writer,
        "INSERT OR REPLACE INTO plugins (plugin, cursor, counters) \
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)",
        &plugins,
    )
    .await?;
    let sinks: Vec<_> = batch
        .sinks
        .iter()
        .map(|row| {
            let (cursor, counters) = progress(&row.cursor, &row.counters);
            (&row.sink, cursor, counters)
        })
        .collect();
    over(
        writer,
        "INSERT OR REPLACE INTO sinks (sink, cursor, counters) \
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)",
        &sinks,
    )
    .await?;
    Ok(())
}

/// Runs one statement over rows, if there are any.
async fn over(
    writer: &mut SqliteConnection,
    sql: &'static str,
    rows: &[impl serde::Serialize],
) -> Result<u64, sqlx::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    Ok(sqlx::query(sql).bind(json_rows(rows)).execute(writer).await?.rows_affected())
}
