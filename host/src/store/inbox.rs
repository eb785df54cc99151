//! Inbox deduplication in the database: the tables of [`Seen`].
//!
//! `seen` has the rows of the live generation, and of a frozen one until all its chunks
//! are in `seen_runs`. A run is complete when its head has its filter. So a crash between
//! any two commits loses nothing: [`load`] finds each hash in exactly the place from
//! which the next commit goes on.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, OptionalExtension as _};
use sagabox_engine::model::Position;
use sagabox_engine::store::Append;

use super::rows::{self, integer};
use super::seen::{self, Answer, Done, Hash, Index, Run, Seen, Sizes, Task};
use super::tables::each;
use super::trouble::{WriteError, damaged};

/// Chunks that one commit removes: each is a page.
const CHUNKS_REMOVED_MAX: usize = 128;

/// What became of the appends of a batch.
#[derive(Default)]
pub(super) struct Looked {
    /// Ascending.
    pub duplicates: Vec<Position>,
    pub added: Vec<(Position, Hash)>,
}

/// Reads what was seen. Runs come with their filters, so this does not grow with the log.
pub(super) fn load(connection: &Connection, sizes: Sizes) -> Result<Seen, WriteError> {
    let mut seen = Seen::new(sizes);
    let sql = "SELECT coalesce(max(chunk), 0) FROM seen_runs";
    seen.restore_numbers(connection.query_row(sql, (), |row| row.get(0))?);
    let mut in_runs = 0;
    let sql =
        "SELECT run, newest_at, last_position, fences, filter FROM seen_run_heads ORDER BY run";
    let mut heads = connection.prepare(sql)?;
    let mut heads = heads.query(())?;
    while let Some(head) = heads.next()? {
        let number: i64 = head.get(0)?;
        let (newest_at, last_position) = (natural(head.get(1)?)?, natural(head.get(2)?)?);
        if let Some(filter) = head.get::<_, Option<Vec<u8>>>(4)? {
            let fences: Vec<u8> = head.get(3)?;
            let index = Index::from_bytes(&fences, &filter)
                .ok_or_else(|| damaged(format!("run {number} of `seen_run_heads` is damaged")))?;
            seen.restore_run(Run { number, newest_at, last_position, index });
        } else {
            let hashes = rows_of(connection, in_runs, last_position)?;
            let sql = "SELECT count(*) FROM seen_runs WHERE chunk >= ?";
            let chunks =
                connection.query_row(sql, [seen::first_chunk(number)], |row| row.get(0))?;
            let written = usize::try_from(natural(chunks)?).map_err(damaged)?;
            seen.restore_frozen(number, (newest_at, last_position), hashes, written);
        }
        in_runs = last_position;
    }
    seen.restore_live(rows_of(connection, in_runs, u64::MAX)?);
    Ok(seen)
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
    let mut in_batch = HashSet::with_capacity(appends.len());
    let mut unsure: BTreeMap<i64, Vec<Hash>> = BTreeMap::new();
    for append in appends.iter().filter(|append| !append.redriven) {
        let hash = rows::identity(&append.event);
        if !in_batch.insert(hash) {
            looked.duplicates.push(append.position);
            continue;
        }
        match seen.look_up(hash) {
            Answer::Yes => {
                looked.duplicates.push(append.position);
                continue;
            }
            Answer::No => {}
            Answer::In(chunks) => {
                for chunk in chunks {
                    unsure.entry(chunk).or_default().push(hash);
                }
            }
        }
        looked.added.push((append.position, hash));
    }
    if !unsure.is_empty() {
        let found = find(connection, &unsure)?;
        let is_found = |(_, hash): &mut (Position, Hash)| found.contains(hash);
        looked
            .duplicates
            .extend(looked.added.extract_if(.., is_found).map(|(position, _)| position));
        looked.duplicates.sort_unstable();
    }
    Ok(looked)
}

fn find(
    connection: &Connection,
    unsure: &BTreeMap<i64, Vec<Hash>>,
) -> Result<HashSet<Hash>, WriteError> {
    let mut found = HashSet::new();
    let mut select = connection.prepare_cached("SELECT hashes FROM seen_runs WHERE chunk = ?")?;
    for (chunk, asked) in unsure {
        let hashes: Option<Vec<u8>> = select.query_row([chunk], |row| row.get(0)).optional()?;
        let hashes = hashes.ok_or_else(|| damaged("a chunk of `seen_runs` is missing"))?;
        found.extend(asked.iter().filter(|hash| seen::contains(&hashes, **hash)));
    }
    Ok(found)
}

/// Adds what is new, and does the part of the other work that is this commit's.
pub(super) fn write(
    connection: &Connection,
    seen: &Seen,
    added: &[(Position, Hash)],
    newest_at: u64,
) -> Result<Done, WriteError> {
    let Some((last, _)) = added.last() else { return Ok(Done::Nothing) };
    each(connection, "INSERT INTO seen (position, hash) VALUES (?, ?)", added, |row| {
        let (position, hash) = row;
        (integer(position.0), hash.to_be_bytes())
    })?;
    match seen.task(added.len()) {
        Task::Nothing => Ok(Done::Nothing),
        Task::Freeze { run } => {
            let sql = "INSERT INTO seen_run_heads (run, newest_at, last_position) VALUES (?, ?, ?)";
            let newest_at = seen.newest_at(newest_at);
            connection.execute(sql, (run, integer(newest_at), integer(last.0)))?;
            Ok(Done::Frozen { newest_at, last_position: last.0 })
        }
        Task::Write { chunks, complete } => {
            let written = chunks.len();
            let sql = "INSERT OR REPLACE INTO seen_runs (chunk, hashes) VALUES (?, ?)";
            each(connection, sql, chunks, |chunk| seen.chunk(chunk))?;
            if complete {
                let run = seen.newest_run();
                let (fences, filter) = run.index.to_bytes();
                let sql = "UPDATE seen_run_heads SET fences = ?, filter = ? WHERE run = ?";
                connection.execute(sql, (fences, filter, run.number))?;
            }
            Ok(Done::Written { chunks: written, complete })
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

/// Removes whole runs in which everything is older than a time, their chunks a few at
/// a time. Returns how many runs are to be forgotten, and how many rows went.
pub(super) fn forget(
    connection: &Connection,
    seen: &Seen,
    before: u64,
    rows_max: usize,
) -> Result<(usize, usize), WriteError> {
    let dropped = seen.older_than(before);
    let first_chunk = seen.first_chunk_after(dropped);
    let sql = "DELETE FROM seen_run_heads WHERE run < ?";
    connection.prepare_cached(sql)?.execute([seen::run_of(first_chunk)])?;
    let limit = rows_max.min(CHUNKS_REMOVED_MAX) as u64;
    let sql = "DELETE FROM seen_runs WHERE chunk IN \
               (SELECT chunk FROM seen_runs WHERE chunk < ? ORDER BY chunk LIMIT ?)";
    let removed = connection.prepare_cached(sql)?.execute((first_chunk, integer(limit)))?;
    Ok((dropped, removed))
}
