//! Retention: what is too old goes, a bounded number of rows with each commit.
//!
//! Everything is found from the low end of a primary key. What may not go yet (held,
//! parked) stays behind there; a sweep goes on behind it, and only a new sweep looks at
//! it again.

use std::collections::HashMap;

use sagabox_engine::model::{Cursor, PluginName, Timestamp};
use sagabox_engine::store::Expire;
use sqlx::{Row, SqliteConnection};

use super::rows::{self, integer};
use super::trouble::undecodable;

/// Events that something still waits for.
const WAITING: &str = "EXISTS (SELECT 1 FROM parked WHERE parked.position = old.position) OR \
     EXISTS (SELECT 1 FROM plugins CROSS JOIN held \
             WHERE held.plugin = plugins.plugin AND held.position = old.position)";

/// Where the sweep of each table goes on; zero: from the beginning.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Sweep {
    log: i64,
    decisions: i64,
    outbox: HashMap<String, i64>,
}

/// Returns how many rows went; none only if there are none to go.
pub(super) async fn step(
    writer: &mut SqliteConnection,
    sweep: &mut Sweep,
    expire: &Expire,
) -> Result<usize, sqlx::Error> {
    let (before, rows_max) = (expire.history_before, expire.rows_max);
    let Some(boundary) = boundary(writer, &expire.plugins, before).await? else { return Ok(0) };
    let mut removed = remove(writer, sweep, boundary, before, rows_max).await?;
    if removed == 0 && *sweep != Sweep::default() {
        *sweep = Sweep::default();
        removed = remove(writer, sweep, boundary, before, rows_max).await?;
    }
    Ok(removed)
}

async fn remove(
    writer: &mut SqliteConnection,
    sweep: &mut Sweep,
    boundary: i64,
    before: Timestamp,
    rows_max: usize,
) -> Result<usize, sqlx::Error> {
    let sql = format!(
        "DELETE FROM log WHERE position IN (SELECT position FROM log AS old \
         WHERE position > ?1 AND position <= ?2 AND received_at < ?3 AND NOT ({WAITING}) \
         ORDER BY position LIMIT ?4) RETURNING position"
    );
    let log = old_rows(writer, sql, &mut sweep.log, boundary, before, rows_max).await?;
    // Several rows can have one position: the next step begins at it again.
    let sql = format!(
        "DELETE FROM decisions WHERE (position, plugin, key) IN \
         (SELECT position, plugin, key FROM decisions AS old \
          WHERE position >= ?1 AND position <= ?2 AND decided_at < ?3 AND NOT ({WAITING}) \
          ORDER BY position LIMIT ?4) RETURNING position"
    );
    let decisions = old_rows(writer, sql, &mut sweep.decisions, boundary, before, rows_max).await?;
    let messages = sent(writer, &mut sweep.outbox, boundary, rows_max).await?;
    let sql = "DELETE FROM dead_letters WHERE id IN \
               (SELECT id FROM dead_letters WHERE status NOT IN ('open', 'redriving') AND at < ? \
                AND id < (SELECT max(id) FROM dead_letters) ORDER BY at, id LIMIT ?)";
    let query = sqlx::query(sql).bind(integer(before.0)).bind(integer(rows_max as u64));
    let letters = query.execute(writer).await?.rows_affected();
    Ok(log + decisions + messages + usize::try_from(letters).unwrap_or(usize::MAX))
}

/// The highest position that every plugin has settled, with all up to it received before
/// a time. None if one that is loaded has no progress yet.
async fn boundary(
    writer: &mut SqliteConnection,
    loaded: &[PluginName],
    before: Timestamp,
) -> Result<Option<i64>, sqlx::Error> {
    let sql = "SELECT (SELECT min(cursor ->> 'settled') FROM plugins) AS settled, \
                      (SELECT count(*) FROM json_each(?) \
                       WHERE value NOT IN (SELECT plugin FROM plugins)) AS newcomers, \
                      (SELECT coalesce(min(position), 1) FROM log) AS first, \
                      (SELECT coalesce(max(position), 0) FROM log) AS last";
    let row = sqlx::query(sql).bind(rows::json(loaded)).fetch_one(&mut *writer).await?;
    if row.try_get::<i64, _>("newcomers")? > 0 {
        return Ok(None);
    }
    let Some(settled) = row.try_get::<Option<i64>, _>("settled")? else { return Ok(None) };
    let (mut low, mut high): (i64, i64) = (row.try_get("first")?, row.try_get("last")?);
    let mut first_young = None;
    // Times ascend with positions: the first that is too young is found by halving.
    while low <= high {
        let middle = low + (high - low) / 2;
        let sql = "SELECT position, received_at FROM log WHERE position >= ? \
                   ORDER BY position LIMIT 1";
        let row = sqlx::query(sql).bind(middle).fetch_one(&mut *writer).await?;
        let position: i64 = row.try_get("position")?;
        if row.try_get::<i64, _>("received_at")? < integer(before.0) {
            low = position + 1;
        } else {
            first_young = Some(position);
            high = middle - 1;
        }
    }
    Ok(Some(first_young.map_or(settled, |position| settled.min(position - 1))))
}

async fn old_rows(
    writer: &mut SqliteConnection,
    sql: String,
    from: &mut i64,
    boundary: i64,
    before: Timestamp,
    rows_max: usize,
) -> Result<usize, sqlx::Error> {
    let query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(*from)
        .bind(boundary)
        .bind(integer(before.0))
        .bind(integer(rows_max as u64));
    let removed = query.fetch_all(writer).await?;
    *from = 0;
    if removed.len() >= rows_max {
        for row in &removed {
            *from = (*from).max(row.try_get("position")?);
        }
    }
    Ok(removed.len())
}

/// Of each sink, up to the first message whose event stays.
async fn sent(
    writer: &mut SqliteConnection,
    sweep: &mut HashMap<String, i64>,
    boundary: i64,
    rows_max: usize,
) -> Result<usize, sqlx::Error> {
    let mut removed = 0;
    for sink in sqlx::query("SELECT sink, cursor FROM sinks").fetch_all(&mut *writer).await? {
        let name = rows::text(&sink, "sink").map_err(undecodable)?;
        let cursor: Cursor = rows::parsed(&sink, "cursor").map_err(undecodable)?;
        let mut from = sweep.remove(&name).unwrap_or(0);
        let mut old = Vec::new();
        while removed + old.len() < rows_max {
            let sql = "SELECT sequence, cause, EXISTS (SELECT 1 FROM parked_messages AS parked \
                              WHERE parked.sink = outbox.sink \
                                AND parked.sequence = outbox.sequence) AS parked \
                       FROM outbox WHERE sink = ? AND sequence > ? AND sequence <= ? \
                       ORDER BY sequence LIMIT ?";
            let limit = rows_max - removed - old.len();
            let query = sqlx::query(sql)
                .bind(name.clone())
                .bind(from)
                .bind(integer(cursor.settled))
                .bind(integer(limit as u64));
            let found = query.fetch_all(&mut *writer).await?;
            let is_end = found.len() < limit;
            let found = found.iter().map(|row| {
                Ok((row.try_get("sequence")?, row.try_get("cause")?, row.try_get("parked")?))
            });
            let found: Vec<(i64, i64, bool)> = found.collect::<Result<_, sqlx::Error>>()?;
            let count = found.len();
            let ours: Vec<_> =
                found.into_iter().take_while(|(_, cause, _)| *cause <= boundary).collect();
            old.extend(ours.iter().filter(|(.., parked)| !parked).map(|(sequence, ..)| *sequence));
            if is_end || ours.len() < count {
                from = 0;
                break;
            }
            from = ours.last().map_or(0, |(sequence, ..)| *sequence);
        }
        if from > 0 {
            sweep.insert(name.clone(), from);
        }
        let sql = "DELETE FROM outbox WHERE sink = ? \
                   AND sequence IN (SELECT value FROM json_each(?))";
        let query = sqlx::query(sql).bind(name).bind(rows::json(&old));
        query.execute(&mut *writer).await?;
        removed += old.len();
    }
    Ok(removed)
}
