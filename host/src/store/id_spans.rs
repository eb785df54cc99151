//! Where events and messages are, by their ids, without an index that each of them must be put into.
//!
//! An index in the order of ids would cost each commit a page for each event. Instead the log and
//! each outbox are divided into spans. The commit that begins the next span writes one row for the
//! complete one: the hash and the place of each of its ids, in the order of the hashes. Memory has
//! those of the span that is not complete, a *tail* for the log and for each outbox. A search for an
//! id reads the rows of all spans, at a few bytes for each event, and of the events those alone whose
//! hash is the id's: it never depends on what is prepared later.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, OptionalExtension as _};
use sagabox_engine::lock;
use sagabox_engine::model::Position;
use sagabox_engine::seams::store::{Append, Batch};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::rows::integer;
use super::trouble::{self, WriteError};

#[cfg(test)]
mod tests;

/// Places in one span: its row has 20 KiB.
pub(super) const SPAN: u64 = 4096;
/// Bytes of a hash. One span in 4096 has another id with the same hash, whose event is read for
/// nothing.
const HASH_BYTES: usize = 3;
/// A hash, and the place after the beginning of the span: both with the highest byte first, so that
/// entries are in the order of their hashes.
const ENTRY_BYTES: usize = HASH_BYTES + 2;
/// The name of the log among the sinks.
pub(super) const LOG: &str = "";

pub(super) type Hash = [u8; HASH_BYTES];
type Entry = [u8; ENTRY_BYTES];

pub(super) fn hash(id: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(&Sha256::digest(id.as_bytes())[..HASH_BYTES]);
    hash
}

/// The beginning of the span of a place.
fn beginning(place: u64) -> u64 {
    place - place % SPAN
}

fn entry(place: u64, id: &str) -> Entry {
    let mut entry = Entry::default();
    entry[..HASH_BYTES].copy_from_slice(&hash(id));
    let [.., high, low] = (place % SPAN).to_be_bytes();
    entry[HASH_BYTES..].copy_from_slice(&[high, low]);
    entry
}

fn place(first: u64, entry: Entry) -> u64 {
    first + u64::from(u16::from_be_bytes([entry[HASH_BYTES], entry[HASH_BYTES + 1]]))
}

/// The places of a span with this hash, by its row.
pub(super) fn places(first: u64, row: &[u8], hash: Hash) -> impl Iterator<Item = u64> {
    let entries = row.as_chunks::<ENTRY_BYTES>().0;
    let from = entries.partition_point(|entry| entry[..HASH_BYTES] < hash[..]);
    let same = entries[from..].iter().take_while(move |entry| entry[..HASH_BYTES] == hash);
    same.map(move |entry| place(first, *entry))
}

/// The span of the log or of an outbox that is not complete: its row is not written yet.
#[derive(Clone, Debug, Default)]
struct Tail {
    first: u64,
    /// In no order.
    entries: Vec<Entry>,
}

/// The tails of the log and of each outbox. The connection that writes changes them, and searches
/// read them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tails(Arc<Mutex<HashMap<String, Tail>>>);

/// What a commit adds to the tails once it is durable.
#[derive(Default)]
pub(super) struct Added(Vec<(String, Tail)>);

/// Places with their ids, in the order of the places.
type Ids<'i> = Vec<(u64, &'i str)>;

impl Tails {
    /// Reads what is not complete, and completes what another version of the host has left.
    pub(super) fn load(&self, connection: &Connection) -> Result<(), WriteError> {
        let mut select = connection.prepare("SELECT sink FROM outbox_totals ORDER BY sink")?;
        let sinks = select.query_map([], |row| row.get(0))?;
        let sinks: Vec<String> = sinks.collect::<Result<_, rusqlite::Error>>()?;
        let mut tails = HashMap::new();
        for sink in std::iter::once(LOG.to_owned()).chain(sinks) {
            let tail = rest(connection, &sink)?;
            tails.insert(sink, tail);
        }
        *lock(&self.0) = tails;
        Ok(())
    }

    /// The places that are not in a row yet and have this hash.
    pub(super) fn places(&self, sink: &str, hash: Hash) -> Vec<u64> {
        let tails = lock(&self.0);
        let Some(Tail { first, entries }) = tails.get(sink) else { return Vec::new() };
        let same = entries.iter().filter(|entry| entry[..HASH_BYTES] == hash);
        same.map(|entry| place(*first, *entry)).collect()
    }

    /// Writes the rows of the spans that a batch completes.
    pub(super) fn write(
        &self,
        connection: &Connection,
        batch: &Batch,
        duplicates: &[Position],
    ) -> Result<Added, WriteError> {
        let is_new = |append: &&Append| duplicates.binary_search(&append.position).is_err();
        let log = batch.appends.iter().filter(is_new);
        let log = log.map(|append| (append.position.0, append.event.id.as_str())).collect();
        let mut all: BTreeMap<&str, Ids<'_>> = BTreeMap::from([(LOG, log)]);
        for message in &batch.messages {
            let ids = all.entry(message.sink.as_str()).or_default();
            ids.push((message.sequence.0, &message.event.id));
        }
        let mut added = Vec::new();
        for (sink, ids) in all {
            let tail = self.with(connection, sink, &ids)?;
            added.extend(tail.map(|tail| (sink.to_owned(), tail)));
        }
        Ok(Added(added))
    }

    /// What one tail has more with these ids, or the tail that takes its place.
    fn with(
        &self,
        connection: &Connection,
        sink: &str,
        ids: &Ids<'_>,
    ) -> Result<Option<Tail>, WriteError> {
        let mut spans: BTreeMap<u64, Vec<Entry>> = BTreeMap::new();
        for same in ids.chunk_by(|(one, _), (next, _)| one / SPAN == next / SPAN) {
            let entries = same.iter().map(|(place, id)| entry(*place, id));
            spans.entry(beginning(same[0].0)).or_default().extend(entries);
        }
        let Some((&newest, _)) = spans.last_key_value() else { return Ok(None) };
        let mut first = newest;
        if let Some(tail) = lock(&self.0).get(sink) {
            first = newest.max(tail.first);
            if tail.first < first {
                spans.entry(tail.first).or_default().extend(&tail.entries);
            }
        }
        let entries = spans.remove(&first).unwrap_or_default();
        for (first, entries) in spans {
            complete(connection, sink, first, entries)?;
        }
        Ok(Some(Tail { first, entries }))
    }

    /// Takes over what a commit has made durable.
    pub(super) fn apply(&self, Added(added): Added) {
        let mut tails = lock(&self.0);
        for (sink, added) in added {
            let tail = tails.entry(sink).or_default();
            match tail.first == added.first {
                true => tail.entries.extend(added.entries),
                false => *tail = added,
            }
        }
    }
}

/// Writes the row of a span, also if it has one: places are given in order, but nothing here
/// depends on it.
fn complete(
    connection: &Connection,
    sink: &str,
    first: u64,
    mut entries: Vec<Entry>,
) -> Result<(), WriteError> {
    if entries.is_empty() {
        return Ok(());
    }
    let sql = "SELECT entries FROM id_spans WHERE sink = ? AND first = ?";
    let mut select = connection.prepare_cached(sql)?;
    let row: Option<Vec<u8>> =
        select.query_row((sink, integer(first)), |row| row.get(0)).optional()?;
    entries.extend(row.unwrap_or_default().as_chunks::<ENTRY_BYTES>().0);
    entries.sort_unstable();
    let sql = "INSERT OR REPLACE INTO id_spans (sink, first, entries) VALUES (?, ?, ?)";
    connection.prepare_cached(sql)?.execute((sink, integer(first), entries.as_flattened()))?;
    Ok(())
}

/// Writes the rows of the complete spans that have none, and returns the one that is not complete.
fn rest(connection: &Connection, sink: &str) -> Result<Tail, WriteError> {
    let sql = "SELECT max(first) FROM id_spans WHERE sink = ?";
    let newest: Option<i64> = connection.query_row(sql, [sink], |row| row.get(0))?;
    let after = newest.and_then(|first| u64::try_from(first).ok()).map(|first| first + SPAN);
    let sql = match sink {
        LOG => "SELECT position, event FROM log WHERE position >= ?1 AND ?2 = '' ORDER BY position",
        _ => {
            "SELECT sequence, event FROM outbox WHERE sequence >= ?1 AND sink = ?2 \
             ORDER BY sequence"
        }
    };
    let mut select = connection.prepare(sql)?;
    let mut rows = select.query((integer(after.unwrap_or_default()), sink))?;
    let mut tail = Tail { first: after.unwrap_or_default(), entries: Vec::new() };
    while let Some(row) = rows.next()? {
        let place = u64::try_from(row.get::<_, i64>(0)?).map_err(trouble::damaged)?;
        let first = beginning(place);
        if first != tail.first {
            complete(connection, sink, tail.first, std::mem::take(&mut tail.entries))?;
            tail.first = first;
        }
        let event = row.get_ref(1)?.as_str().map_err(trouble::damaged)?;
        // What has no id that can be read is found by its place alone.
        tail.entries.extend(id_of(event).map(|id| entry(place, &id)));
    }
    Ok(tail)
}

/// Removes the rows of spans of which nothing is left.
pub(super) fn expire(connection: &Connection) -> Result<(), WriteError> {
    let sql = "DELETE FROM id_spans WHERE sink = '' AND first <= \
                 coalesce((SELECT min(position) FROM log), 9223372036854775807) - ?1";
    connection.prepare_cached(sql)?.execute([integer(SPAN)])?;
    let sql = "DELETE FROM id_spans WHERE sink = ?2 AND first <= \
                 coalesce((SELECT min(sequence) FROM outbox WHERE sink = ?2), 9223372036854775807) - ?1";
    let mut delete = connection.prepare_cached(sql)?;
    let mut select = connection.prepare_cached("SELECT sink FROM outbox_totals")?;
    let mut sinks = select.query(())?;
    while let Some(row) = sinks.next()? {
        delete.execute((integer(SPAN), row.get_ref(0)?.as_str().map_err(trouble::damaged)?))?;
    }
    Ok(())
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
