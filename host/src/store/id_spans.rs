//! Finds events and messages by their ids, without an index that each of them must be put into.
//!
//! An index in the order of ids would cost each commit a page for each event. Instead the log and
//! each outbox are divided into spans, and a span that is complete gets one row with the sorted
//! hashes of its ids, some time later. Who looks for an id looks at the hashes of all spans, at a
//! few bytes for each event, and reads the events of those spans alone that may have it, and of
//! the end that has no rows yet.

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::open;
use super::rows::integer;
use super::trouble::{self, WriteError};

/// Events in one span: its row has 16 KiB.
pub(super) const SPAN: u64 = 4096;
/// Bytes of a hash. Of 256 spans, one in a thousand has an id's hash by accident, and is read for
/// nothing.
pub(super) const HASH_BYTES: usize = 4;
/// The name of the log among the sinks.
pub(super) const LOG: &str = "";

/// What has ids, in an order.
pub(super) struct Rows {
    pub sink: String,
    /// The rows of places from `?1` to `?2`, of the sink `?3`.
    pub events: &'static str,
}

impl Rows {
    pub(super) fn of(sink: &str) -> Self {
        let events = match sink {
            LOG => {
                "SELECT position AS place, event FROM log \
                 WHERE position BETWEEN ?1 AND ?2 AND ?3 = ''"
            }
            _ => {
                "SELECT sequence AS place, event FROM outbox \
                 WHERE sequence BETWEEN ?1 AND ?2 AND sink = ?3"
            }
        };
        Self { sink: sink.to_owned(), events }
    }

    /// The first and the last place; none if there are none.
    fn ends(&self, connection: &Connection) -> Result<Option<(u64, u64)>, WriteError> {
        let sql = match self.sink.as_str() {
            LOG => "SELECT min(position), (SELECT max(position) FROM log) FROM log WHERE ?1 = ''",
            _ => {
                "SELECT min(sequence), (SELECT max(sequence) FROM outbox WHERE sink = ?1) \
                 FROM outbox WHERE sink = ?1"
            }
        };
        let ends: (Option<i64>, Option<i64>) =
            connection.query_row(sql, [&self.sink], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let number = |place: Option<i64>| place.and_then(|place| u64::try_from(place).ok());
        Ok(number(ends.0).zip(number(ends.1)))
    }
}

#[derive(Deserialize)]
struct Identified<'e> {
    #[serde(borrow)]
    id: Cow<'e, str>,
}

/// The id of an event in the form in which it is stored.
pub(super) fn id_of(event: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Identified<'_>>(event).ok().map(|identified| identified.id)
}

pub(super) fn hash(id: &str) -> [u8; HASH_BYTES] {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(&Sha256::digest(id.as_bytes())[..HASH_BYTES]);
    hash
}

/// Whether a span may have an id with this hash.
pub(super) fn may_have(hashes: &[u8], hash: [u8; HASH_BYTES]) -> bool {
    hashes.as_chunks::<HASH_BYTES>().0.binary_search(&hash).is_ok()
}

/// Writes rows of spans that are complete, for about so long, and removes those of spans that are
/// gone. False if spans are left.
pub(super) fn write(path: &Path, time: Duration) -> Result<bool, WriteError> {
    let begun = Instant::now();
    let connection = open::writing(path)?;
    let mut select = connection.prepare("SELECT sink FROM outbox_totals ORDER BY sink")?;
    let sinks: Vec<String> =
        select.query_map([], |row| row.get(0))?.collect::<Result<_, rusqlite::Error>>()?;
    for sink in std::iter::once(LOG).chain(sinks.iter().map(String::as_str)) {
        if !write_rows(&connection, &Rows::of(sink), begun, time)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn write_rows(
    connection: &Connection,
    rows: &Rows,
    begun: Instant,
    time: Duration,
) -> Result<bool, WriteError> {
    let Some((first, last)) = rows.ends(connection)? else { return Ok(true) };
    let begin = first / SPAN * SPAN;
    let sql = "DELETE FROM id_spans WHERE sink = ? AND first < ?";
    connection.prepare_cached(sql)?.execute((&rows.sink, integer(begin)))?;
    let sql = "SELECT max(first) FROM id_spans WHERE sink = ?";
    let newest: Option<i64> = connection
        .prepare_cached(sql)?
        .query_row([&rows.sink], |row| row.get(0))
        .optional()?
        .flatten();
    let after = newest.and_then(|first| u64::try_from(first).ok()).map(|first| first + SPAN);
    let mut next = after.unwrap_or(begin).max(begin);
    // Places are given in order, so no row comes into a span that has a later one behind it.
    while next + SPAN <= last {
        if begun.elapsed() >= time {
            return Ok(false);
        }
        let hashes = hashes(connection, rows, next)?;
        let sql = "INSERT OR REPLACE INTO id_spans (sink, first, hashes) VALUES (?, ?, ?)";
        connection.prepare_cached(sql)?.execute((&rows.sink, integer(next), hashes))?;
        next += SPAN;
    }
    Ok(true)
}

fn hashes(connection: &Connection, rows: &Rows, first: u64) -> Result<Vec<u8>, WriteError> {
    let mut select = connection.prepare_cached(rows.events)?;
    let mut found = select.query((integer(first), integer(first + SPAN - 1), &rows.sink))?;
    let mut hashes = Vec::new();
    while let Some(row) = found.next()? {
        let event = row.get_ref("event")?.as_str().map_err(trouble::damaged)?;
        // What has no id that can be read is found by its place alone.
        hashes.extend(id_of(event).map(|id| hash(&id)));
    }
    hashes.sort_unstable();
    Ok(hashes.concat())
}
