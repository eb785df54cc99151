//! Inbox deduplication in the database: the tables of [`Seen`].
//!
//! `seen` has the rows of the live generation, and of a frozen one until it is a complete run.
//! `seen_run_heads` names the runs; their hashes lie in `seen_buckets`, their filters in
//! `seen_filters`. A run is written in the order of its rows, and what a merge has moved is
//! removed in the same commit. So a crash between any two commits loses nothing: [`load`]
//! finds each hash in exactly the place from which the next commit goes on.

use std::collections::HashSet;
use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _};
use sagabox_engine::model::Position;
use sagabox_engine::pure::filter::Filter;
use sagabox_engine::pure::identity::event_identity;
use sagabox_engine::seams::store::Append;

use super::rows::integer;
use super::seen::{self, Done, Hash, Head, Seen, Sizes, Task, Write};
use super::tables::each;
use super::trouble::{WriteError, damaged};

#[cfg(test)]
mod tests;

const INSERT_FILTER: &str = "INSERT OR REPLACE INTO seen_filters (row, filter) VALUES (?, ?)";
/// Rows of `seen_buckets` that one commit forgets: each is a page.
const BUCKETS_FORGOTTEN_MAX: usize = 128;
/// Rows of `seen_filters`: each is eight pages.
const FILTERS_FORGOTTEN_MAX: usize = 16;

/// What became of the appends of a batch.
#[derive(Default)]
pub(super) struct Looked {
    /// Ascending.
    pub duplicates: Vec<Position>,
    pub added: Vec<(Position, Hash)>,
}

/// Reads what was seen: the newest hashes, and the filters of all others, whose memory is bounded.
/// A filter that is missing is made of its buckets, and stored.
pub(super) fn load(connection: &Connection, sizes: Sizes) -> Result<Seen, WriteError> {
    let mut seen = Seen::new(sizes);
    let heads = heads(connection)?;
    let complete = heads.iter().filter(|(_, is_complete)| *is_complete);
    let in_runs = complete.map(|(head, _)| head.last_position).max().unwrap_or(0);
    for (head, is_complete) in &heads {
        if *is_complete {
            seen.restore_run(*head);
            continue;
        }
        let frozen = match head.level {
            0 => Some(rows_of(connection, in_runs, head.last_position)?),
            _ => None,
        };
        seen.restore_build(*head, written(connection, head.number)?, frozen);
    }
    for (head, _) in &heads {
        load_filters(connection, &mut seen, head.number)?;
    }
    for (run, group, rows) in seen.without_filter() {
        let hashes = buckets(connection, &rows)?;
        each(connection, INSERT_FILTER, seen.make_filter(run, group, &hashes), |row| row)?;
    }
    let oldest: Option<i64> =
        connection.query_row("SELECT min(position) FROM seen", (), |row| row.get(0))?;
    if oldest.is_some_and(|oldest| oldest <= integer(in_runs)) {
        seen.restore_trim(in_runs);
    }
    let last = heads.iter().map(|(head, _)| head.last_position).max().unwrap_or(0);
    seen.restore_live(rows_of(connection, last, u64::MAX)?);
    let known = heads.iter().map(|(head, _)| head.number).collect();
    garbage(connection, &known)?.into_iter().for_each(|run| seen.restore_garbage(run));
    Ok(seen)
}

/// Oldest first, each with whether all of it is written.
fn heads(connection: &Connection) -> Result<Vec<(Head, bool)>, WriteError> {
    let sql = "SELECT run, level, hashes, last_position, merged_into, is_complete \
               FROM seen_run_heads ORDER BY last_position, run";
    let mut select = connection.prepare(sql)?;
    let mut rows = select.query(())?;
    let mut heads = Vec::new();
    while let Some(row) = rows.next()? {
        let head = Head {
            number: row.get(0)?,
            level: row.get(1)?,
            hashes: natural(row.get(2)?)?,
            last_position: natural(row.get(3)?)?,
            merged_into: row.get(4)?,
        };
        heads.push((head, row.get(5)?));
    }
    Ok(heads)
}

/// How many buckets of a run are written: it begins with its first, and leaves none out.
fn written(connection: &Connection, run: i64) -> Result<u64, WriteError> {
    let sql = "SELECT max(row) FROM seen_buckets WHERE row >= ? AND row < ?";
    let (first, end) = (seen::first_row(run), seen::first_row(run + 1));
    let last: Option<i64> = connection.query_row(sql, (first, end), |row| row.get(0))?;
    last.map_or(Ok(0), |last| natural(last - first + 1))
}

fn load_filters(connection: &Connection, seen: &mut Seen, run: i64) -> Result<(), WriteError> {
    let sql = "SELECT row, filter FROM seen_filters WHERE row >= ? AND row < ? ORDER BY row";
    let mut select = connection.prepare_cached(sql)?;
    let first = seen::first_row(run);
    let mut rows = select.query((first, seen::first_row(run + 1)))?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let filter = Filter::from_bytes(row.get_ref(1)?.as_blob().map_err(damaged)?)
            .ok_or_else(|| damaged(format!("row {number} of `seen_filters` is damaged")))?;
        seen.restore_filter(run, natural(number - first)?, filter);
    }
    Ok(())
}

/// The runs with rows and without a head.
fn garbage(connection: &Connection, known: &HashSet<i64>) -> Result<Vec<i64>, WriteError> {
    let mut found = Vec::new();
    for sql in [
        "SELECT min(row) FROM seen_buckets WHERE row >= ?",
        "SELECT min(row) FROM seen_filters WHERE row >= ?",
    ] {
        let mut next = connection.prepare(sql)?;
        let mut from = 0;
        while let Some(row) = next.query_row([from], |row| row.get::<_, Option<i64>>(0))? {
            let run = seen::run_of(row);
            from = seen::first_row(run + 1);
            if !known.contains(&run) {
                found.push(run);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The hashes between two positions (the first exclusive).
fn rows_of(connection: &Connection, after: u64, until: u64) -> Result<Vec<Hash>, WriteError> {
    let sql = "SELECT hash FROM seen WHERE position > ? AND position <= ? ORDER BY position";
    let mut rows = connection.prepare_cached(sql)?;
    let mut rows = rows.query((integer(after), integer(until)))?;
    let mut hashes = Vec::new();
    while let Some(row) = rows.next()? {
        hashes.push(Hash::from_be_bytes(row.get(0)?));
    }
    Ok(hashes)
}

/// The hashes in these buckets, in the order of the buckets.
fn buckets(connection: &Connection, rows: &Range<i64>) -> Result<Vec<Hash>, WriteError> {
    let sql = "SELECT row, hashes FROM seen_buckets WHERE row >= ? AND row < ? ORDER BY row";
    let mut select = connection.prepare_cached(sql)?;
    let mut found = select.query((rows.start, rows.end))?;
    let mut hashes = Vec::new();
    while let Some(row) = found.next()? {
        let bucket = seen::hashes_of(row.get_ref(1)?.as_blob().map_err(damaged)?);
        let number: i64 = row.get(0)?;
        hashes.extend(bucket.ok_or_else(|| damaged(format!("row {number} of `seen_buckets`")))?);
    }
    Ok(hashes)
}

fn natural(number: i64) -> Result<u64, WriteError> {
    u64::try_from(number).map_err(damaged)
}

/// Which appends were seen before, exactly, whether in earlier batches or in this one.
pub(super) fn look_up(
    connection: &Connection,
    seen: &Seen,
    appends: &[Append],
) -> Result<Looked, WriteError> {
    let mut looked = Looked::default();
    let mut in_batch =
        HashSet::with_capacity_and_hasher(appends.len(), foldhash::fast::RandomState::default());
    let mut asked = Vec::with_capacity(appends.len());
    for append in appends.iter().filter(|append| !append.redriven) {
        let hash = event_identity(append.hops.origin(), &append.event);
        match in_batch.insert(hash) {
            true => asked.push((append.position, hash)),
            false => looked.duplicates.push(append.position),
        }
    }
    let hashes: Vec<Hash> = asked.iter().map(|(_, hash)| *hash).collect();
    let seen::Looked { seen: mut is_seen, mut perhaps } = seen.look_up(&hashes);
    perhaps.sort_unstable();
    let mut select = connection.prepare_cached("SELECT hashes FROM seen_buckets WHERE row = ?")?;
    for same in perhaps.chunk_by(|(row, _), (next, _)| row == next) {
        let (row, _) = same[0];
        let bucket: Option<Vec<u8>> = select.query_row([row], |row| row.get(0)).optional()?;
        let missing = || damaged(format!("row {row} of `seen_buckets` is missing"));
        let bucket = bucket.ok_or_else(missing)?;
        for (_, index) in same {
            is_seen[*index] |= seen::contains(&bucket, hashes[*index]);
        }
    }
    for ((position, hash), is_seen) in asked.into_iter().zip(is_seen) {
        match is_seen {
            true => looked.duplicates.push(position),
            false => looked.added.push((position, hash)),
        }
    }
    looked.duplicates.sort_unstable();
    Ok(looked)
}

/// Adds what is new, and does the part of the other work that is this commit's.
pub(super) fn write(
    connection: &Connection,
    seen: &Seen,
    added: &[(Position, Hash)],
) -> Result<Vec<Done>, WriteError> {
    let Some((last, _)) = added.last() else { return Ok(Vec::new()) };
    each(connection, "INSERT INTO seen (position, hash) VALUES (?, ?)", added, |row| {
        let (position, hash) = row;
        (integer(position.0), hash.to_be_bytes())
    })?;
    let freeze = |run| seen.frozen_head(run, added.len(), last.0);
    let tasks = seen.tasks(added.len()).into_iter();
    tasks.map(|task| perform(connection, seen, task, freeze)).collect()
}

fn perform(
    connection: &Connection,
    seen: &Seen,
    task: Task,
    freeze: impl Fn(i64) -> Head,
) -> Result<Done, WriteError> {
    match task {
        Task::Freeze(run) => {
            let head = freeze(run);
            insert_head(connection, &head)?;
            Ok(Done::Frozen(head))
        }
        Task::Merge { output, inputs } => {
            insert_head(connection, &output)?;
            let sql = "UPDATE seen_run_heads SET merged_into = ? WHERE run = ?";
            each(connection, sql, &inputs, |run| (output.number, run))?;
            Ok(Done::Merging { output, inputs })
        }
        Task::Write(write) => {
            let hashes = write_on(connection, seen, &write)?;
            Ok(Done::Written { write, hashes })
        }
        Task::Trim { until, rows } => {
            let sql = "DELETE FROM seen WHERE position IN \
                       (SELECT position FROM seen WHERE position <= ? ORDER BY position LIMIT ?)";
            let mut delete = connection.prepare_cached(sql)?;
            let removed = delete.execute((integer(until), integer(rows as u64)))?;
            Ok(Done::Trimmed { all: removed < rows })
        }
    }
}

fn insert_head(connection: &Connection, head: &Head) -> Result<(), WriteError> {
    let sql = "INSERT INTO seen_run_heads \
               (run, level, hashes, last_position, merged_into, is_complete) \
               VALUES (?, ?, ?, ?, NULL, 0)";
    let Head { number, level, hashes, last_position, merged_into: _ } = *head;
    let row = (number, level, integer(hashes), integer(last_position));
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// Writes the next buckets of a run, and removes from its inputs what it has now.
fn write_on(connection: &Connection, seen: &Seen, write: &Write) -> Result<Vec<Hash>, WriteError> {
    let hashes = match seen.frozen_hashes(write) {
        Some(hashes) => hashes,
        None => {
            let mut hashes = Vec::new();
            for rows in seen.inputs(write) {
                hashes.extend(buckets(connection, &rows)?);
            }
            seen.only(write, &mut hashes);
            hashes
        }
    };
    let sql = "INSERT OR REPLACE INTO seen_buckets (row, hashes) VALUES (?, ?)";
    each(connection, sql, seen.buckets(write, &hashes), |row| row)?;
    each(connection, INSERT_FILTER, seen.filters(write), |row| row)?;
    for rows in seen.outdated(write) {
        remove(connection, &rows.buckets, &rows.filters)?;
    }
    if write.completes {
        let sql = "UPDATE seen_run_heads SET is_complete = 1 WHERE run = ?";
        connection.prepare_cached(sql)?.execute([write.run])?;
        let sql = "DELETE FROM seen_run_heads WHERE merged_into = ?";
        connection.prepare_cached(sql)?.execute([write.run])?;
    }
    Ok(hashes)
}

fn remove(
    connection: &Connection,
    buckets: &Range<i64>,
    filters: &Range<i64>,
) -> Result<(), WriteError> {
    let sql = "DELETE FROM seen_buckets WHERE row >= ? AND row < ?";
    connection.prepare_cached(sql)?.execute((buckets.start, buckets.end))?;
    if !filters.is_empty() {
        let sql = "DELETE FROM seen_filters WHERE row >= ? AND row < ?";
        connection.prepare_cached(sql)?.execute((filters.start, filters.end))?;
    }
    Ok(())
}

/// What a commit has forgotten, for [`Seen::forget`].
#[derive(Default)]
pub(super) struct Forgotten {
    pub runs: Vec<i64>,
    /// How many of the forgotten runs have no row any more.
    pub cleared: usize,
    /// Rows that went.
    pub rows: usize,
}

/// Removes whole runs in which nothing is after a position, their rows a few at a time.
pub(super) fn forget(
    connection: &Connection,
    seen: &Seen,
    position: Position,
    rows_max: usize,
) -> Result<Forgotten, WriteError> {
    let mut forgotten = Forgotten { runs: seen.up_to(position.0), ..Forgotten::default() };
    each(connection, "DELETE FROM seen_run_heads WHERE run = ?", &forgotten.runs, |run| [run])?;
    let tables = [
        (
            "DELETE FROM seen_filters WHERE row IN (SELECT row FROM seen_filters \
             WHERE row >= ? AND row < ? ORDER BY row LIMIT ?)",
            rows_max.min(FILTERS_FORGOTTEN_MAX),
        ),
        (
            "DELETE FROM seen_buckets WHERE row IN (SELECT row FROM seen_buckets \
             WHERE row >= ? AND row < ? ORDER BY row LIMIT ?)",
            rows_max.min(BUCKETS_FORGOTTEN_MAX),
        ),
    ];
    for run in seen.garbage().iter().chain(&forgotten.runs) {
        let (first, end) = (seen::first_row(*run), seen::first_row(run + 1));
        let mut is_cleared = true;
        for (sql, max) in tables {
            let mut delete = connection.prepare_cached(sql)?;
            let removed = delete.execute((first, end, integer(max as u64)))?;
            forgotten.rows += removed;
            is_cleared &= removed < max;
        }
        if !is_cleared {
            break;
        }
        forgotten.cleared += 1;
    }
    Ok(forgotten)
}
