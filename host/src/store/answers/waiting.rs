//! What waits at one key, from the tables that are in the order of keys, and from the beginning of
//! what each sink has not settled.

use sagabox_engine::model::{Cursor, Timestamp};
use sagabox_engine::seams::store::ReadError;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::accounts::behind;
use super::failed;
use crate::store::query::QueryLimits;
use crate::store::query::waiting::{
    HeldEvent, Retry, Waiting, WaitingDeadLetter, WaitingMessage, WaitingTimer,
};
use crate::store::rows::{self, integer};

/// Of each list: who wants to know why needs no more.
const ROWS_MAX: u32 = 20;
/// Messages of a sink that are looked at for those of the key: some milliseconds of work.
const MESSAGES_SCANNED: u64 = 20_000;
/// Parked events are counted up to so many.
const COUNTED_MAX: u32 = 1_000;

/// The messages of a sink that wait at a key. Behind the cursor are those alone that wait longer:
/// parked, or with a pause. Their places are few numbers, and what the messages have is megabytes:
/// it is read of the first places alone. `CROSS JOIN` says that the places come first: SQLite would
/// go through all of the sink's outbox for them.
pub(in crate::store) const WAITING_MESSAGES: &str = "SELECT o.sequence, o.event, p.sequence IS NOT NULL AS parked, \
        w.place, w.attempt, w.since, w.until, w.reason \
    FROM (SELECT sequence AS first FROM outbox WHERE sink = ?1 AND sequence > ?4 \
            AND sequence <= ?5 AND plugin = ?2 AND key = ?3 \
          UNION SELECT sequence FROM parked_messages \
            WHERE sink = ?1 AND plugin = ?2 AND key = ?3 \
          UNION SELECT place FROM message_waits \
            WHERE sink = ?1 AND plugin = ?2 AND key = ?3 \
          ORDER BY first LIMIT ?6) \
    CROSS JOIN outbox o ON o.sink = ?1 AND o.sequence = first \
    LEFT JOIN parked_messages p ON p.sink = ?1 AND p.sequence = o.sequence \
    LEFT JOIN message_waits w ON w.sink = ?1 AND w.place = o.sequence \
    ORDER BY o.sequence";

/// The events that are held for a key. Without the name of the index, SQLite goes through all that
/// the plugin holds.
pub(in crate::store) const HELD: &str = "SELECT position, until FROM held INDEXED BY held_key \
    WHERE plugin = ?1 AND key = ?2 AND reached = '[]' ORDER BY position LIMIT ?3";

/// A plugin and a key of it.
pub(super) type Of<'k> = (&'k str, &'k str);

pub(super) async fn waiting(
    connection: &mut SqliteConnection,
    of: Of<'_>,
    limits: &QueryLimits,
) -> Result<Waiting, ReadError> {
    let status = all(connection, of, "SELECT status FROM instances WHERE plugin = ?1 AND key = ?2");
    let status = status.await?.first().map(rows::instance_status).transpose()?;
    let dead_letters = "SELECT id, sink, position, event_type, reason, at, status = 'redriving' AS again \
         FROM dead_letters WHERE status IN ('open', 'redriving') AND plugin = ?1 AND key = ?2 \
         ORDER BY id LIMIT ?3";
    let parked = "SELECT count(*) AS n FROM \
         (SELECT 1 FROM parked WHERE plugin = ?1 AND key = ?2 LIMIT ?4)";
    let retry = "SELECT * FROM waits WHERE plugin = ?1 AND key = ?2";
    let timers = "SELECT name, due, fired FROM timers WHERE plugin = ?1 AND instance = ?2 \
         ORDER BY due, name LIMIT ?3";
    let parked = all(connection, of, parked).await?;
    let mut waiting = Waiting {
        status,
        dead_letters: each(&all(connection, of, dead_letters).await?, dead_letter)?,
        parked: parked.first().map(|row| rows::number(row, "n")).transpose()?.unwrap_or_default(),
        retry: all(connection, of, retry).await?.first().map(wait).transpose()?,
        held: each(&all(connection, of, HELD).await?, held_event)?,
        timers: each(&all(connection, of, timers).await?, timer)?,
        messages: Vec::new(),
        behind: 0,
    };
    for (sink, cursor) in cursors(connection).await? {
        let (own, _) = messages(connection, of, (&sink, &cursor), ROWS_MAX).await?;
        waiting.messages.extend(own);
    }
    let sql = "SELECT cursor FROM plugins WHERE plugin = ?1 AND ?2 = ?2";
    if let Some(row) = all(connection, of, sql).await?.first() {
        let cursor: Cursor = rows::parsed(row, "cursor")?;
        waiting.behind = behind(connection, cursor.settled, limits.counted_pending).await?;
    }
    Ok(waiting)
}

async fn all(
    connection: &mut SqliteConnection,
    of: Of<'_>,
    sql: &str,
) -> Result<Vec<SqliteRow>, ReadError> {
    let query = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .bind(of.0.to_owned())
        .bind(of.1.to_owned())
        .bind(ROWS_MAX)
        .bind(COUNTED_MAX);
    query.fetch_all(connection).await.map_err(failed)
}

fn each<T>(
    found: &[SqliteRow],
    read: impl Fn(&SqliteRow) -> Result<T, ReadError>,
) -> Result<Vec<T>, ReadError> {
    found.iter().map(read).collect()
}

/// What each sink that has an outbox has settled of it.
pub(super) async fn cursors(
    connection: &mut SqliteConnection,
) -> Result<Vec<(String, Cursor)>, ReadError> {
    let sql = "SELECT o.sink, s.cursor FROM outbox_totals o LEFT JOIN sinks s USING (sink) \
               ORDER BY o.sink";
    let found = sqlx::query(sql).fetch_all(connection).await.map_err(failed)?;
    let cursor = |row: &SqliteRow| -> Result<Cursor, ReadError> {
        let text = rows::optional(row, "cursor")?;
        text.map_or_else(|| Ok(Cursor::default()), |_| rows::parsed(row, "cursor"))
    };
    found.iter().map(|row| Ok((rows::text(row, "sink")?, cursor(row)?))).collect()
}

/// Those of the key among the first that the sink has not settled, and whether there are no others.
pub(super) async fn messages(
    connection: &mut SqliteConnection,
    of: Of<'_>,
    (sink, cursor): (&str, &Cursor),
    rows_max: u32,
) -> Result<(Vec<WaitingMessage>, bool), ReadError> {
    let end = cursor.settled.saturating_add(MESSAGES_SCANNED);
    let is_settled = |sequence: u64| {
        cursor.ahead.iter().any(|span| (span.first..=span.last).contains(&sequence))
    };
    let query = sqlx::query(WAITING_MESSAGES)
        .bind(sink.to_owned())
        .bind(of.0.to_owned())
        .bind(of.1.to_owned())
        .bind(integer(cursor.settled))
        .bind(integer(end))
        .bind(rows_max);
    let found = query.fetch_all(&mut *connection).await.map_err(failed)?;
    let sql = "SELECT coalesce(max(sequence), 0) AS n FROM outbox WHERE sink = ?";
    let last = super::count(connection, sql, Some(sink)).await?;
    let is_whole = last <= end && found.len() < rows_max as usize;
    let mut messages = Vec::new();
    for row in found {
        let sequence = rows::number(&row, "sequence")?;
        let is_parked = rows::number(&row, "parked")? == 1;
        let place: Option<i64> = row.try_get("place").map_err(rows::damaged)?;
        let retry = place.map(|_| wait(&row)).transpose()?;
        if is_settled(sequence) && !is_parked && retry.is_none() {
            continue;
        }
        let event = rows::event(&row)?;
        let (id, message_type) = (event.id.clone(), event.event_type.clone());
        messages.push(WaitingMessage {
            sink: sink.to_owned(),
            sequence,
            id,
            message_type,
            is_parked,
            retry,
        });
    }
    Ok((messages, is_whole))
}

fn dead_letter(row: &SqliteRow) -> Result<WaitingDeadLetter, ReadError> {
    Ok(WaitingDeadLetter {
        id: rows::number(row, "id")?,
        sink: rows::optional(row, "sink")?,
        position: rows::number(row, "position")?,
        event_type: rows::optional(row, "event_type")?,
        reason: rows::text(row, "reason")?,
        at: Timestamp(rows::number(row, "at")?),
        is_redriving: rows::number(row, "again")? == 1,
    })
}

fn wait(row: &SqliteRow) -> Result<Retry, ReadError> {
    Ok(Retry {
        place: rows::number(row, "place")?,
        attempt: u32::try_from(rows::number(row, "attempt")?).map_err(rows::damaged)?,
        since: Timestamp(rows::number(row, "since")?),
        until: Timestamp(rows::number(row, "until")?),
        reason: rows::text(row, "reason")?,
    })
}

fn held_event(row: &SqliteRow) -> Result<HeldEvent, ReadError> {
    let until = Timestamp(rows::number(row, "until")?);
    Ok(HeldEvent { position: rows::number(row, "position")?, until })
}

fn timer(row: &SqliteRow) -> Result<WaitingTimer, ReadError> {
    Ok(WaitingTimer {
        name: rows::text(row, "name")?,
        due: Timestamp(rows::number(row, "due")?),
        has_fired: rows::number(row, "fired")? == 1,
    })
}
