//! Inbox deduplication in the database: the tables of [`Seen`].
//!
//! `seen` has the rows of the live generation, and of a frozen one until all its chunks
//! are in `seen_runs`. A run is complete when its head has its filter. So a crash between
//! any two commits loses nothing: [`load`] finds each hash in exactly the place from
//! which the next commit goes on.

use std::collections::{BTreeMap, HashSet};

use sagabox_engine::model::Position;
use sagabox_engine::store::Append;
use sqlx::{Row, SqliteConnection};

use super::insert::Insert;
use super::rows::{self, integer};
use super::seen::{self, Answer, Done, Hash, Index, Run, Seen, Sizes, Task};
use super::trouble::undecodable;

/// Chunks read by one statement, half a megabyte: a file that is sent again asks for a
/// chunk with each of its events.
const CHUNKS_READ_MAX: usize = 64;
/// Rows read by one statement while loading: they come as one text.
const ROWS_READ_MAX: i64 = 65_536;
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
pub(super) async fn load(
    connection: &mut SqliteConnection,
    sizes: Sizes,
) -> Result<Seen, sqlx::Error> {
    let mut seen = Seen::new(sizes);
    let sql = "SELECT coalesce(max(chunk), 0) AS chunk FROM seen_runs";
    let highest: i64 = sqlx::query(sql).fetch_one(&mut *connection).await?.try_get("chunk")?;
    seen.restore_numbers(highest);
    let mut in_runs = 0;
    let heads = sqlx::query("SELECT * FROM seen_run_heads ORDER BY run");
    for head in heads.fetch_all(&mut *connection).await? {
        let number: i64 = head.try_get("run")?;
        let newest_at = rows::number(&head, "newest_at").map_err(undecodable)?;
        let last_position = rows::number(&head, "last_position").map_err(undecodable)?;
        if let Some(filter) = head.try_get::<Option<Vec<u8>>, _>("filter")? {
            let fences: Vec<u8> = head.try_get("fences")?;
            let index = Index::from_bytes(&fences, &filter).ok_or_else(|| {
                undecodable(format!("run {number} of `seen_run_heads` is damaged"))
            })?;
            seen.restore_run(Run { number, newest_at, last_position, index });
        } else {
            let hashes = rows_of(connection, in_runs, last_position).await?;
            let sql = "SELECT count(*) AS n FROM seen_runs WHERE chunk >= ?";
            let query = sqlx::query(sql).bind(seen::first_chunk(number));
            let written = rows::number(&query.fetch_one(&mut *connection).await?, "n");
            let written = usize::try_from(written.map_err(undecodable)?).map_err(undecodable)?;
            seen.restore_frozen(number, (newest_at, last_position), hashes, written);
        }
        in_runs = last_position;
    }
    seen.restore_live(rows_of(connection, in_runs, u64::MAX).await?);
    Ok(seen)
}

/// The hashes between two positions (the first exclusive). As one text for many rows:
/// a quarter of a million rows one by one would be felt at each start.
async fn rows_of(
    connection: &mut SqliteConnection,
    after: u64,
    until: u64,
) -> Result<Vec<Hash>, sqlx::Error> {
    let sql = "SELECT max(position) AS last, group_concat(hex(hash), '') AS hashes FROM \
               (SELECT position, hash FROM seen WHERE position > ? AND position <= ? \
                ORDER BY position LIMIT ?)";
    let mut hashes = Vec::new();
    let mut after = integer(after);
    loop {
        let query = sqlx::query(sql).bind(after).bind(integer(until)).bind(ROWS_READ_MAX);
        let row = query.fetch_one(&mut *connection).await?;
        let Some(last) = row.try_get("last")? else { return Ok(hashes) };
        after = last;
        let text: String = row.try_get("hashes")?;
        for digits in text.as_bytes().chunks(2 * size_of::<Hash>()) {
            let digits = str::from_utf8(digits).map_err(undecodable)?;
            hashes.push(Hash::from_str_radix(digits, 16).map_err(undecodable)?);
        }
    }
}

/// Which appends were seen before, exactly, whether in earlier batches or in this one.
pub(super) async fn look_up(
    connection: &mut SqliteConnection,
    seen: &Seen,
    appends: &[Append],
) -> Result<Looked, sqlx::Error> {
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
        let found = find(connection, &unsure).await?;
        let is_found = |(_, hash): &mut (Position, Hash)| found.contains(hash);
        looked
            .duplicates
            .extend(looked.added.extract_if(.., is_found).map(|(position, _)| position));
        looked.duplicates.sort_unstable();
    }
    Ok(looked)
}

async fn find(
    connection: &mut SqliteConnection,
    unsure: &BTreeMap<i64, Vec<Hash>>,
) -> Result<HashSet<Hash>, sqlx::Error> {
    let chunks: Vec<i64> = unsure.keys().copied().collect();
    let mut found = HashSet::new();
    for chunks in chunks.chunks(CHUNKS_READ_MAX) {
        let sql = "SELECT chunk, hashes FROM seen_runs \
                   WHERE chunk IN (SELECT value FROM json_each(?))";
        let rows = sqlx::query(sql).bind(rows::json(chunks)).fetch_all(&mut *connection).await?;
        if rows.len() < chunks.len() {
            return Err(undecodable("a chunk of `seen_runs` is missing"));
        }
        for row in rows {
            let (chunk, hashes): (i64, Vec<u8>) = (row.try_get("chunk")?, row.try_get("hashes")?);
            let asked = unsure.get(&chunk).into_iter().flatten();
            found.extend(asked.filter(|hash| seen::contains(&hashes, **hash)));
        }
    }
    Ok(found)
}

/// Adds what is new, and does the part of the other work that is this commit's.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    seen: &Seen,
    added: &[(Position, Hash)],
    newest_at: u64,
) -> Result<Done, sqlx::Error> {
    const SEEN: Insert = Insert { head: "INSERT INTO seen (position, hash)", columns: 2, tail: "" };
    const CHUNKS: Insert =
        Insert { head: "INSERT OR REPLACE INTO seen_runs (chunk, hashes)", columns: 2, tail: "" };
    let Some((last, _)) = added.last() else { return Ok(Done::Nothing) };
    SEEN.run(connection, added, |query, (position, hash)| {
        query.bind(integer(position.0)).bind(hash.to_be_bytes().to_vec())
    })
    .await?;
    match seen.task(added.len()) {
        Task::Nothing => Ok(Done::Nothing),
        Task::Freeze { run } => {
            let sql = "INSERT INTO seen_run_heads (run, newest_at, last_position) VALUES (?, ?, ?)";
            let newest_at = seen.newest_at(newest_at);
            let query = sqlx::query(sql).bind(run).bind(integer(newest_at)).bind(integer(last.0));
            query.execute(connection).await?;
            Ok(Done::Frozen { newest_at, last_position: last.0 })
        }
        Task::Write { chunks, complete } => {
            let written = chunks.len();
            let chunks: Vec<_> = chunks.map(|chunk| seen.chunk(chunk)).collect();
            CHUNKS
                .run(connection, &chunks, |query, (chunk, hashes)| {
                    query.bind(*chunk).bind(hashes.clone())
                })
                .await?;
            if complete {
                let run = seen.newest_run();
                let (fences, filter) = run.index.to_bytes();
                let sql = "UPDATE seen_run_heads SET fences = ?, filter = ? WHERE run = ?";
                let query = sqlx::query(sql).bind(fences).bind(filter).bind(run.number);
                query.execute(connection).await?;
            }
            Ok(Done::Written { chunks: written, complete })
        }
        Task::Trim { until, rows } => {
            let sql = "DELETE FROM seen WHERE position IN \
                       (SELECT position FROM seen WHERE position <= ? ORDER BY position LIMIT ?)";
            let rows = rows as u64;
            let query = sqlx::query(sql).bind(integer(until)).bind(integer(rows));
            let removed = query.execute(connection).await?.rows_affected();
            Ok(Done::Trimmed { all: removed < rows })
        }
    }
}

/// Removes whole runs in which everything is older than a time, their chunks a few at
/// a time. Returns how many runs are to be forgotten, and how many rows went.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    seen: &Seen,
    before: u64,
    rows_max: usize,
) -> Result<(usize, usize), sqlx::Error> {
    let dropped = seen.older_than(before);
    let first_chunk = seen.first_chunk_after(dropped);
    let query = sqlx::query("DELETE FROM seen_run_heads WHERE run < ?");
    query.bind(seen::run_of(first_chunk)).execute(&mut *connection).await?;
    let limit = rows_max.min(CHUNKS_REMOVED_MAX) as u64;
    let sql = "DELETE FROM seen_runs WHERE chunk IN \
               (SELECT chunk FROM seen_runs WHERE chunk < ? ORDER BY chunk LIMIT ?)";
    let query = sqlx::query(sql).bind(first_chunk).bind(integer(limit));
    let removed = query.execute(connection).await?.rows_affected();
    Ok((dropped, usize::try_from(removed).unwrap_or(usize::MAX)))
}
