//! What a text names, by the indexes that are there for other reasons, and by the spans of ids.

use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use sagabox_engine::model::Timestamp;
use sagabox_engine::seams::store::ReadError;
use serde_json::value::RawValue;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::failed;
use crate::decisions::recorded::Messages;
use crate::store::dead_letters;
use crate::store::id_spans::{self, Hash, LOG, Tails};
use crate::store::query::QueryLimits;
use crate::store::query::found::{EventTrace, Found, Sees, TracedKey};
use crate::store::rows::{self, integer};

/// Events and messages that one search reads at most: all with the same hash as the id. By accident
/// some ten among a hundred million have it; a sender can choose ids that do.
const CANDIDATES_MAX: usize = 1024;

/// How a search looks.
pub(in crate::store) struct Looks<'l> {
    /// What the caller sees; nothing else takes up its room.
    pub sees: &'l Sees<'l>,
    pub room: usize,
    pub time: Duration,
}

pub(in crate::store) async fn find(
    connection: &mut SqliteConnection,
    tails: &Tails,
    text: &str,
    looks: &Looks<'_>,
) -> Result<Vec<Found>, ReadError> {
    let mut found = Vec::new();
    if let Ok(number) = text.parse::<u64>() {
        found.extend(dead_letter(connection, number).await?);
        found.extend(event_at(connection, number).await?);
    }
    keys(connection, text, looks, &mut found).await?;
    found.retain(looks.sees);
    identified(connection, tails, text, looks, &mut found).await?;
    found.truncate(looks.room);
    Ok(found)
}

/// Keys of every plugin: a look into each table's own order.
async fn keys(
    connection: &mut SqliteConnection,
    text: &str,
    looks: &Looks<'_>,
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
        let claims = bound(sql)
            .bind(integer(looks.room as u64))
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
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

/// Events and messages with this id: those of the log first, each the newest first.
async fn identified(
    connection: &mut SqliteConnection,
    tails: &Tails,
    id: &str,
    looks: &Looks<'_>,
    found: &mut Vec<Found>,
) -> Result<(), ReadError> {
    let begun = Instant::now();
    let mut read = 0;
    for (sink, places) in places(connection, tails, &[id]).await? {
        for (place, _) in places {
            if found.len() >= looks.room || read >= CANDIDATES_MAX {
                return Ok(());
            }
            if begun.elapsed() >= looks.time {
                return Ok(());
            }
            read += 1;
            if event_of(connection, &sink, place).await?.is_some_and(|event| has(&event, id)) {
                found.extend(
                    at(connection, &sink, place).await?.filter(|found| (looks.sees)(found)),
                );
            }
        }
    }
    Ok(())
}

/// Where events and messages may be that have these ids: of each sink (the log is the first) the
/// places, the highest first, each with the index of the id whose hash is there.
async fn places(
    connection: &mut SqliteConnection,
    tails: &Tails,
    ids: &[&str],
) -> Result<Vec<(String, Vec<(u64, usize)>)>, ReadError> {
    let hashes: Vec<Hash> = ids.iter().map(|id| id_spans::hash(id)).collect();
    let sql = "SELECT sink FROM outbox_totals ORDER BY sink";
    let sinks = sqlx::query(sql).fetch_all(&mut *connection).await.map_err(failed)?;
    let mut all = vec![LOG.to_owned()];
    for row in &sinks {
        all.push(rows::text(row, "sink")?);
    }
    let mut found = Vec::new();
    for sink in all {
        let mut places = Vec::new();
        // The tail comes first: what a commit moves from it meanwhile is in a row of a span then.
        for (index, hash) in hashes.iter().enumerate() {
            places.extend(tails.places(&sink, *hash).into_iter().map(|place| (place, index)));
        }
        let sql = "SELECT first, entries FROM id_spans WHERE sink = ?";
        let query = sqlx::query(sql).bind(sink.clone());
        // Row by row: together they may be large.
        let mut rows = query.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let first = rows::number(&row, "first")?;
            let entries: &[u8] = row.try_get("entries").map_err(rows::damaged)?;
            for (index, hash) in hashes.iter().enumerate() {
                let same = id_spans::places(first, entries, *hash);
                places.extend(same.map(|place| (place, index)));
            }
        }
        places.sort_unstable_by(|one, other| other.cmp(one));
        places.dedup();
        found.push((sink, places));
    }
    Ok(found)
}

/// Whether the stored event has this id.
fn has(event: &str, id: &str) -> bool {
    id_spans::id_of(event).is_some_and(|own| own == id)
}

/// The event or message at a place, as it is stored.
async fn event_of(
    connection: &mut SqliteConnection,
    sink: &str,
    place: u64,
) -> Result<Option<String>, ReadError> {
    let sql = match sink {
        LOG => "SELECT event FROM log WHERE position = ? AND ? = ''",
        _ => "SELECT event FROM outbox WHERE sequence = ? AND sink = ?",
    };
    let query = sqlx::query(sql).bind(integer(place)).bind(sink.to_owned());
    let row = query.fetch_optional(connection).await.map_err(failed)?;
    row.as_ref().map(|row| rows::text(row, "event")).transpose()
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
    tails: &Tails,
    ids: &[String],
    limits: &QueryLimits,
) -> Result<Messages, ReadError> {
    let begun = Instant::now();
    let mut messages = Messages::default();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for (sink, places) in places(connection, tails, &ids).await? {
        for (place, index) in places {
            if begun.elapsed() >= limits.scan_time {
                return Ok(messages);
            }
            let id = ids[index];
            if messages.get(id).is_some() {
                continue;
            }
            let event = event_of(connection, &sink, place).await?;
            if let Some(event) = event.filter(|event| has(event, id)) {
                messages.insert(id.to_owned(), event.into());
            }
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
