//! Retention: what is too old goes, a bounded number of rows with each commit.
//!
//! Everything is found from the low end of a primary key. What may not go yet (held,
//! parked) stays behind there; a sweep goes on behind it, and only a new sweep looks at
//! it again.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, Params, params};
use sagabox_engine::model::AgeMark;
use sagabox_engine::model::{Cursor, PluginName};
use sagabox_engine::seams::store::Expire;

use super::rows::{self, integer};
use super::tables::each;
use super::trouble::{WriteError, damaged};
use super::{components, id_spans};

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
pub(super) fn step(
    writer: &Connection,
    sweep: &mut Sweep,
    expire: &Expire,
) -> Result<usize, WriteError> {
    write_marks(writer, expire)?;
    let Some(settled) = settled_by_all(writer, &expire.plugins)? else { return Ok(0) };
    let boundary = settled.min(integer(expire.history_to.0));
    let mut removed = remove(writer, sweep, boundary, expire)?;
    if removed == 0 && *sweep != Sweep::default() {
        *sweep = Sweep::default();
        removed = remove(writer, sweep, boundary, expire)?;
    }
    Ok(removed)
}

fn write_marks(writer: &Connection, expire: &Expire) -> Result<(), WriteError> {
    let sql = "DELETE FROM age_marks WHERE at = ?";
    each(writer, sql, &expire.marks_removed, |at| [integer(at.0)])?;
    let sql = "INSERT OR REPLACE INTO age_marks (at, position, wall) VALUES (?, ?, ?)";
    each(writer, sql, &expire.mark, |AgeMark { at, position, wall }| {
        (integer(at.0), integer(position.0), integer(wall.0))
    })
}

fn remove(
    writer: &Connection,
    sweep: &mut Sweep,
    boundary: i64,
    expire: &Expire,
) -> Result<usize, WriteError> {
    let Expire { history_to, history_before, rows_max, .. } = expire;
    let (before, limit) = (integer(history_before.0), integer(*rows_max as u64));
    let sql = format!(
        "DELETE FROM log WHERE position IN (SELECT position FROM log AS old \
         WHERE position > ? AND position <= ? AND NOT ({WAITING}) \
         ORDER BY position LIMIT ?) RETURNING position, subject"
    );
    let params = (sweep.log, boundary, limit);
    let (log, subjects) = old_rows(writer, &sql, params, &mut sweep.log, *rows_max)?;
    shorten(writer, subjects)?;
    // Several rows can have one position: the next step begins at it again.
    let sql = format!(
        "DELETE FROM decisions WHERE (position, plugin, key) IN \
         (SELECT position, plugin, key FROM decisions AS old \
          WHERE position >= ?1 AND position <= ?2 AND decided_at < ?3 AND NOT ({WAITING}) \
          ORDER BY position LIMIT ?4) RETURNING position, NULL"
    );
    let params = (sweep.decisions, boundary, before, limit);
    let (decisions, _) = old_rows(writer, &sql, params, &mut sweep.decisions, *rows_max)?;
    let messages = sent(writer, &mut sweep.outbox, boundary, *rows_max)?;
    if log + messages > 0 {
        id_spans::expire(writer)?;
    }
    let sql = "DELETE FROM dead_letters WHERE id IN \
               (SELECT id FROM dead_letters WHERE status NOT IN ('open', 'redriving') AND at < ? \
                AND position <= ? AND id < (SELECT max(id) FROM dead_letters) ORDER BY at, id LIMIT ?)";
    let mut delete = writer.prepare_cached(sql)?;
    let dead_letters = delete.execute((before, integer(history_to.0), limit))?;
    let components = components::expire(writer, boundary)?;
    Ok(log + decisions + messages + dead_letters + components)
}

/// The highest position up to which every plugin has settled all. None if one that is
/// loaded has no progress yet.
fn settled_by_all(writer: &Connection, loaded: &[PluginName]) -> Result<Option<i64>, WriteError> {
    let sql = "SELECT min(cursor ->> 'settled'), \
                      (SELECT count(*) FROM json_each(?) \
                       WHERE value NOT IN (SELECT plugin FROM plugins)) \
               FROM plugins";
    let mut select = writer.prepare_cached(sql)?;
    let row = select.query_row([rows::json(loaded)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (settled, newcomers): (Option<i64>, i64) = row;
    Ok(settled.filter(|_| newcomers == 0))
}

fn old_rows(
    writer: &Connection,
    sql: &str,
    params: impl Params,
    from: &mut i64,
    rows_max: usize,
) -> Result<(usize, BTreeSet<String>), WriteError> {
    let mut delete = writer.prepare_cached(sql)?;
    let removed = delete.query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let removed: Vec<(i64, Option<String>)> = removed.collect::<Result<_, _>>()?;
    let highest = removed.iter().map(|(position, _)| *position).max().unwrap_or(0);
    *from = if removed.len() >= rows_max { highest } else { 0 };
    let count = removed.len();
    Ok((count, removed.into_iter().filter_map(|(_, subject)| subject).collect()))
}

/// Notes of streams that events of them were removed. That is for ever: some ten bytes for
/// each subject that there was, of which the log had some hundred for each event.
fn shorten(writer: &Connection, subjects: BTreeSet<String>) -> Result<(), WriteError> {
    let sql = "INSERT OR IGNORE INTO streams_shortened (subject) VALUES (?)";
    let hashes: BTreeSet<i64> = subjects.iter().map(|subject| rows::subject(subject)).collect();
    each(writer, sql, hashes, |subject| [subject])
}

/// Of each sink, up to the first message whose event stays.
fn sent(
    writer: &Connection,
    sweep: &mut HashMap<String, i64>,
    boundary: i64,
    rows_max: usize,
) -> Result<usize, WriteError> {
    let mut removed = 0;
    for (sink, settled) in settled(writer)? {
        let mut from = sweep.remove(&sink).unwrap_or(0);
        let mut old = Vec::new();
        while removed + old.len() < rows_max {
            let sql = "SELECT sequence, cause, EXISTS (SELECT 1 FROM parked_messages AS parked \
                              WHERE parked.sink = outbox.sink \
                                AND parked.sequence = outbox.sequence) AS parked \
                       FROM outbox WHERE sink = ? AND sequence > ? AND sequence <= ? \
                       ORDER BY sequence LIMIT ?";
            let limit = rows_max - removed - old.len();
            let mut select = writer.prepare_cached(sql)?;
            let found = select
                .query_map(params![sink, from, integer(settled), integer(limit as u64)], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
            let found: Vec<(i64, i64, bool)> = found.collect::<Result<_, _>>()?;
            let (is_end, count) = (found.len() < limit, found.len());
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
            sweep.insert(sink.clone(), from);
        }
        let sql = "DELETE FROM outbox WHERE sink = ? AND sequence = ?";
        each(writer, sql, &old, |sequence| (&sink, sequence))?;
        removed += old.len();
    }
    Ok(removed)
}

/// The sinks, and up to where all of theirs is settled.
fn settled(writer: &Connection) -> Result<Vec<(String, u64)>, WriteError> {
    let mut select = writer.prepare_cached("SELECT sink, cursor FROM sinks")?;
    let mut rows = select.query(())?;
    let mut sinks = Vec::new();
    while let Some(row) = rows.next()? {
        let cursor: String = row.get(1)?;
        let cursor: Cursor = serde_json::from_str(&cursor).map_err(damaged)?;
        sinks.push((row.get(0)?, cursor.settled));
    }
    Ok(sinks)
}
