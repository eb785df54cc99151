//! What a text names, by the indexes that are there for other reasons, and by the spans of ids.

use std::time::Instant;

use sagabox_engine::model::{Timestamp, json};
use sagabox_engine::seams::store::ReadError;
use serde_json::value::RawValue;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::failed;
use crate::decisions::recorded::Messages;
use crate::store::dead_letters;
use crate::store::id_spans::{self, LOG, Rows, SPAN};
use crate::store::query::QueryLimits;
use crate::store::query::found::{EventTrace, Found, TracedKey};
use crate::store::rows::{self, integer};

pub(super) async fn find(
    connection: &mut SqliteConnection,
    text: &str,
    limit: u32,
    limits: &QueryLimits,
) -> Result<Vec<Found>, ReadError> {
    let mut found = Vec::new();
    if let Ok(number) = text.parse::<u64>() {
        found.extend(dead_letter(connection, number).await?);
        found.extend(event_at(connection, number).await?);
    }
    keys(connection, text, limit, &mut found).await?;
    let room = (limit as usize).saturating_sub(found.len());
    identified(connection, text, room, limits, &mut found).await?;
    found.truncate(limit as usize);
    Ok(found)
}

/// Keys of every plugin: a look into each table's own order.
async fn keys(
    connection: &mut SqliteConnection,
    text: &str,
    limit: u32,
    found: &mut Vec<Found>,
) -> Result<(), ReadError> {
    let sql = "SELECT plugin FROM plugins ORDER BY plugin";
    let plugins = sqlx::query(sql).fetch_all(&mut *connection).await.map_err(failed)?;
    for row in &plugins {
        let plugin = rows::text(row, "plugin")?;
        let bound = |sql: &'static str| sqlx::query(sql).bind(plugin.clone()).bind(text.to_owned());
        let sql = "SELECT status FROM instances WHERE plugin = ? AND key = ?";
        let row = bound(sql).fetch_optional(&mut *connection).await.map_err(failed)?;
        let has_instance = row.is_some();
        if let Some(row) = row {
            let status = rows::instance_status(&row)?;
            found.push(Found::Instance { plugin: plugin.clone(), key: text.to_owned(), status });
        }
        let sql = "SELECT instance FROM claims WHERE plugin = ? AND key = ? AND instance <> key \
                   ORDER BY instance LIMIT ?";
        let claims = bound(sql).bind(limit).fetch_all(&mut *connection).await.map_err(failed)?;
        for row in &claims {
            let instance = rows::text(row, "instance")?;
            let key = text.to_owned();
            found.push(Found::Claim { plugin: plugin.clone(), key, instance });
        }
        let sql = "SELECT EXISTS (SELECT 1 FROM dead_letters WHERE status IN ('open', 'redriving') \
                     AND plugin = ?1 AND key = ?2) \
                   OR EXISTS (SELECT 1 FROM waits WHERE plugin = ?1 AND key = ?2) \
                   OR EXISTS (SELECT 1 FROM parked WHERE plugin = ?1 AND key = ?2) \
                   OR EXISTS (SELECT 1 FROM held WHERE plugin = ?1 AND key = ?2) AS n";
        let row = bound(sql).fetch_one(&mut *connection).await.map_err(failed)?;
        if !has_instance && rows::number(&row, "n")? == 1 {
            found.push(Found::Key { plugin: plugin.clone(), key: text.to_owned() });
        }
    }
    Ok(())
}

async fn dead_letter(
    connection: &mut SqliteConnection,
    id: u64,
) -> Result<Option<Found>, ReadError> {
    let sql = "SELECT plugin, key, status FROM dead_letters WHERE id = ?";
    let query = sqlx::query(sql).bind(integer(id));
    let row = query.fetch_optional(connection).await.map_err(failed)?;
    let dead_letter = |row: SqliteRow| -> Result<Found, ReadError> {
        Ok(Found::DeadLetter {
            id,
            plugin: rows::text(&row, "plugin")?,
            key: rows::optional(&row, "key")?,
            status: dead_letters::status(&row)?,
        })
    };
    row.map(dead_letter).transpose()
}

async fn event_at(
    connection: &mut SqliteConnection,
    position: u64,
) -> Result<Option<Found>, ReadError> {
    let query = sqlx::query("SELECT * FROM log WHERE position = ?").bind(integer(position));
    let row = query.fetch_optional(connection).await.map_err(failed)?;
    row.as_ref().map(event).transpose()
}

fn event(row: &SqliteRow) -> Result<Found, ReadError> {
    let entry = rows::log_entry(row)?;
    Ok(Found::Event {
        position: entry.position.0,
        id: entry.event.id.clone(),
        event_type: entry.event.event_type.clone(),
        source: entry.event.source.clone(),
        received_at: entry.received_at,
    })
}

/// Events and messages with this id, the newest first.
async fn identified(
    connection: &mut SqliteConnection,
    id: &str,
    room: usize,
    limits: &QueryLimits,
    found: &mut Vec<Found>,
) -> Result<(), ReadError> {
    let begun = Instant::now();
    let room = room + found.len();
    let sql = "SELECT sink FROM outbox_totals ORDER BY sink";
    let sinks = sqlx::query(sql).fetch_all(&mut *connection).await.map_err(failed)?;
    let mut all = vec![LOG.to_owned()];
    for row in &sinks {
        all.push(rows::text(row, "sink")?);
    }
    for sink in all {
        let rows = Rows::of(&sink);
        for (first, last) in spans(connection, &rows, id).await? {
            if found.len() >= room || begun.elapsed() >= limits.scan_time {
                return Ok(());
            }
            for place in places(connection, &rows, (first, last), id).await? {
                found.extend(at(connection, &sink, place).await?);
            }
        }
    }
    Ok(())
}

/// The spans that may have the id, the newest first: the end that has no rows yet is one of them.
async fn spans(
    connection: &mut SqliteConnection,
    rows: &Rows,
    id: &str,
) -> Result<Vec<(u64, u64)>, ReadError> {
    let hash = id_spans::hash(id);
    let sql = "SELECT first, hashes FROM id_spans WHERE sink = ? ORDER BY first DESC";
    let query = sqlx::query(sql).bind(rows.sink.clone());
    let found = query.fetch_all(connection).await.map_err(failed)?;
    let mut spans = Vec::new();
    let mut end = 0;
    for row in &found {
        let first = rows::number(row, "first")?;
        end = end.max(first + SPAN);
        let hashes: &[u8] = row.try_get("hashes").map_err(rows::damaged)?;
        if id_spans::may_have(hashes, hash) {
            spans.push((first, first + SPAN - 1));
        }
    }
    spans.insert(0, (end, u64::MAX));
    Ok(spans)
}

/// The places of a span whose events have the id, the newest first.
async fn places(
    connection: &mut SqliteConnection,
    of: &Rows,
    (first, last): (u64, u64),
    id: &str,
) -> Result<Vec<u64>, ReadError> {
    // The events are written by the host: an id has one form in them.
    let mut written = "\"id\":".to_owned();
    json::write(&mut written, id);
    let sql =
        format!("SELECT * FROM ({}) WHERE instr(event, ?4) > 0 ORDER BY place DESC", of.events);
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(integer(first))
        .bind(integer(last))
        .bind(of.sink.clone())
        .bind(written);
    let mut places = Vec::new();
    for row in query.fetch_all(connection).await.map_err(failed)? {
        if id_spans::id_of(&rows::text(&row, "event")?).is_some_and(|own| own == id) {
            places.push(rows::number(&row, "place")?);
        }
    }
    Ok(places)
}

async fn at(
    connection: &mut SqliteConnection,
    sink: &str,
    place: u64,
) -> Result<Option<Found>, ReadError> {
    if sink == LOG {
        return event_at(connection, place).await;
    }
    let query = sqlx::query("SELECT * FROM outbox WHERE sink = ? AND sequence = ?");
    let query = query.bind(sink.to_owned()).bind(integer(place));
    let row = query.fetch_optional(connection).await.map_err(failed)?;
    let Some(message) = row.as_ref().map(rows::message).transpose()? else { return Ok(None) };
    Ok(Some(Found::Message {
        id: message.event.id.clone(),
        message_type: message.event.event_type.clone(),
        sink: sink.to_owned(),
        sequence: place,
        plugin: message.plugin.to_string(),
        key: message.key.to_string(),
        cause: message.cause.0,
    }))
}

/// The messages with these ids.
pub(super) async fn messages(
    connection: &mut SqliteConnection,
    ids: &[String],
    limits: &QueryLimits,
) -> Result<Messages, ReadError> {
    let mut messages = Messages::default();
    for id in ids {
        let mut found = Vec::new();
        identified(connection, id, 1, limits, &mut found).await?;
        let (sql, sink, place) = match found.pop() {
            Some(Found::Message { sink, sequence, .. }) => {
                ("SELECT event FROM outbox WHERE sequence = ? AND sink = ?", sink, sequence)
            }
            Some(Found::Event { position, .. }) => {
                ("SELECT event FROM log WHERE position = ? AND ? = ''", String::new(), position)
            }
            _ => continue,
        };
        let query = sqlx::query(sql).bind(integer(place)).bind(sink);
        if let Some(row) = query.fetch_optional(&mut *connection).await.map_err(failed)? {
            messages.insert(id.clone(), rows::text(&row, "event")?.into());
        }
    }
    Ok(messages)
}

pub(super) async fn trace(
    connection: &mut SqliteConnection,
    position: u64,
) -> Result<Option<EventTrace>, ReadError> {
    let query = sqlx::query("SELECT * FROM log WHERE position = ?").bind(integer(position));
    let Some(row) = query.fetch_optional(&mut *connection).await.map_err(failed)? else {
        return Ok(None);
    };
    let event = RawValue::from_string(rows::text(&row, "event")?).map_err(rows::damaged)?;
    let received_at = Timestamp(rows::number(&row, "received_at")?);
    let traced = [
        "SELECT plugin, key, decided_at AS at FROM decisions WHERE position = ? ORDER BY plugin, key",
        "SELECT plugin, key, until AS at FROM plugins JOIN held USING (plugin) \
         WHERE held.position = ? ORDER BY plugin, key",
        "SELECT plugin, key, NULL AS at FROM parked WHERE position = ? ORDER BY plugin, key",
    ];
    let mut all = Vec::new();
    for sql in traced {
        let query = sqlx::query(sql).bind(integer(position));
        let found = query.fetch_all(&mut *connection).await.map_err(failed)?;
        all.push(found.iter().map(traced_key).collect::<Result<Vec<_>, _>>()?);
    }
    let [decided, held, parked] = <[_; 3]>::try_from(all).unwrap_or_default();
    let sql = "SELECT id FROM dead_letters WHERE position = ? AND sink IS NULL ORDER BY id";
    let query = sqlx::query(sql).bind(integer(position));
    let dead_letters = query.fetch_all(connection).await.map_err(failed)?;
    let dead_letters =
        dead_letters.iter().map(|row| rows::number(row, "id")).collect::<Result<_, _>>()?;
    let payloads_hidden = false;
    Ok(Some(EventTrace {
        position,
        received_at,
        event,
        payloads_hidden,
        decided,
        held,
        parked,
        dead_letters,
    }))
}

fn traced_key(row: &SqliteRow) -> Result<TracedKey, ReadError> {
    let at: Option<i64> = row.try_get("at").map_err(rows::damaged)?;
    let at = at.map(u64::try_from).transpose().map_err(rows::damaged)?.map(Timestamp);
    Ok(TracedKey { plugin: rows::text(row, "plugin")?, key: rows::text(row, "key")?, at })
}
