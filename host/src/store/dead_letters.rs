//! Dead letters as rows, and what a recovery must know of them.

use std::collections::BTreeMap;

use sagabox_engine::model::OpenDeadLetter;
use sagabox_engine::model::{
    BatchId, DeadLetter, DeadLetterId, DeadLetterStatus, DeadLetterSubject, Key, MessageKind,
    PluginName, Sequence, SinkName, Timestamp, Wait,
};
use sagabox_engine::seams::store::{MessageLane, ParkedKey, ReadError};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::rows;

/// By plugin, then by key.
pub(super) type ParkedEvents = BTreeMap<PluginName, BTreeMap<Key, ParkedKey<Key>>>;
/// By sink, then by ordering key.
pub(super) type ParkedMessages = BTreeMap<SinkName, BTreeMap<MessageLane, ParkedKey<MessageLane>>>;

/// All keys with unresolved dead letters, with something parked, or with a wait.
pub(super) async fn parked(
    connection: &mut SqliteConnection,
) -> Result<(ParkedEvents, ParkedMessages), sqlx::Error> {
    let decoding = |error: ReadError| sqlx::Error::Decode(error.to_string().into());
    let mut events = ParkedEvents::new();
    let mut messages = ParkedMessages::new();
    let sql = "SELECT id, plugin, key, sink, sequence, position, status FROM dead_letters \
               WHERE status IN ('open', 'redriving') AND key IS NOT NULL \
               ORDER BY coalesce(sequence, position)";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let (plugin, key, sink, dead_letter) = open_dead_letter(&row).map_err(decoding)?;
        match sink {
            None => entry(events.entry(plugin).or_default(), key).dead_letters.push(dead_letter),
            Some(sink) => {
                let lane = MessageLane { sink: sink.clone(), plugin, key };
                entry(messages.entry(sink).or_default(), lane).dead_letters.push(dead_letter);
            }
        }
    }
    // One row for each key, however much waits: the places are a list.
    let sql = "SELECT plugin, key, json_group_array(position ORDER BY position) AS places \
               FROM parked GROUP BY plugin, key";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let plugin = PluginName::from(rows::text(&row, "plugin").map_err(decoding)?);
        let key = Key::from(rows::text(&row, "key").map_err(decoding)?);
        let waiting = rows::parsed(&row, "places").map_err(decoding)?;
        entry(events.entry(plugin).or_default(), key).waiting = waiting;
    }
    let sql = "SELECT sink, plugin, key, json_group_array(sequence ORDER BY sequence) AS places \
               FROM parked_messages GROUP BY sink, plugin, key";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let lane = lane(&row).map_err(decoding)?;
        let waiting = rows::parsed(&row, "places").map_err(decoding)?;
        entry(messages.entry(lane.sink.clone()).or_default(), lane).waiting = waiting;
    }
    for row in sqlx::query("SELECT * FROM waits").fetch_all(&mut *connection).await? {
        let plugin = PluginName::from(rows::text(&row, "plugin").map_err(decoding)?);
        let key = Key::from(rows::text(&row, "key").map_err(decoding)?);
        let wait = wait(&row).map_err(decoding)?;
        entry(events.entry(plugin).or_default(), key).waits.push(wait);
    }
    let sql = "SELECT * FROM message_waits ORDER BY sink, place";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let (lane, wait) = (lane(&row).map_err(decoding)?, wait(&row).map_err(decoding)?);
        entry(messages.entry(lane.sink.clone()).or_default(), lane).waits.push(wait);
    }
    Ok((events, messages))
}

fn entry<K: Clone + Ord>(keys: &mut BTreeMap<K, ParkedKey<K>>, key: K) -> &mut ParkedKey<K> {
    let (dead_letters, waiting) = (Vec::new(), Vec::new());
    let fresh = ParkedKey { key: key.clone(), dead_letters, waiting, waits: Vec::new() };
    keys.entry(key).or_insert(fresh)
}

fn lane(row: &SqliteRow) -> Result<MessageLane, ReadError> {
    Ok(MessageLane {
        sink: rows::text(row, "sink")?.into(),
        plugin: rows::text(row, "plugin")?.into(),
        key: rows::text(row, "key")?.into(),
    })
}

pub(super) fn wait(row: &SqliteRow) -> Result<Wait, ReadError> {
    Ok(Wait {
        place: rows::number(row, "place")?,
        attempt: u32::try_from(rows::number(row, "attempt")?).unwrap_or(u32::MAX),
        since: Timestamp(rows::number(row, "since")?),
        until: Timestamp(rows::number(row, "until")?),
        reason: rows::text(row, "reason")?,
    })
}

fn open_dead_letter(
    row: &SqliteRow,
) -> Result<(PluginName, Key, Option<SinkName>, OpenDeadLetter), ReadError> {
    let sink = rows::optional(row, "sink")?.map(SinkName::from);
    let place = match &sink {
        None => rows::number(row, "position")?,
        Some(_) => rows::number(row, "sequence")?,
    };
    let dead_letter = OpenDeadLetter {
        id: DeadLetterId(rows::number(row, "id")?),
        place,
        redriving: status(row)? == DeadLetterStatus::Redriving,
    };
    Ok((rows::text(row, "plugin")?.into(), rows::text(row, "key")?.into(), sink, dead_letter))
}

pub(super) fn status(row: &SqliteRow) -> Result<DeadLetterStatus, ReadError> {
    match rows::text(row, "status")?.as_str() {
        "open" => Ok(DeadLetterStatus::Open),
        "redriving" => Ok(DeadLetterStatus::Redriving),
        "redriven" => Ok(DeadLetterStatus::Redriven),
        "skipped" => Ok(DeadLetterStatus::Skipped),
        "discarded" => Ok(DeadLetterStatus::Discarded),
        "compensated" => Ok(DeadLetterStatus::Compensated),
        other => Err(rows::damaged(format!("unknown status `{other}`"))),
    }
}

pub(super) fn dead_letter(row: &SqliteRow) -> Result<DeadLetter, ReadError> {
    let subject = match rows::optional(row, "sink")? {
        None => DeadLetterSubject::Event,
        Some(sink) => DeadLetterSubject::Message {
            sink: sink.into(),
            sequence: Sequence(rows::number(row, "sequence")?),
            // Dead letters of the first version did not keep it.
            kind: match rows::optional(row, "message_kind")?.as_deref() {
                Some("event") => MessageKind::Event,
                _ => MessageKind::Command,
            },
        },
    };
    Ok(DeadLetter {
        id: DeadLetterId(rows::number(row, "id")?),
        subject,
        plugin: rows::text(row, "plugin")?.into(),
        key: rows::optional(row, "key")?.map(Into::into),
        position: sagabox_engine::model::Position(rows::number(row, "position")?),
        reason: rows::text(row, "reason")?,
        log: rows::optional(row, "log")?.map(Into::into),
        attempts: u32::try_from(rows::number(row, "attempts")?).map_err(rows::damaged)?,
        plugin_version: rows::text(row, "plugin_version")?.into(),
        at: sagabox_engine::model::Timestamp(rows::number(row, "at")?),
        status: status(row)?,
        resolved_by: rows::optional(row, "resolved_by")?,
        resolved_reason: rows::optional(row, "resolved_reason")?,
        event: rows::event(row)?,
        hops: rows::hops(row)?,
        edited: rows::optional(row, "edited")?.map(|text| rows::parsed_event(&text)).transpose()?,
        batch: rows::optional_number(row, "batch")?.map(BatchId),
    })
}
