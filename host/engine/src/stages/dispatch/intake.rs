//! Pure: the part of the log that is read and not routed yet. It waits, in chunks and in order,
//! until all instances that its events may reach are in memory; the next chunks are read and loaded
//! meanwhile.
//!
//! The memory is bounded: the number of chunks; their events, by the caller; and the instances that
//! one chunk loads, by the memory that earlier ones took.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;

use crate::changes::readers::Reader;
use crate::model::{Key, LogEntry, Position, Subscription};
use crate::seams::store::StoredInstance;

/// Chunks that wait for their instances.
const CHUNKS_MAX: usize = 4;
/// The most keys in one read of instances.
pub(super) const LOAD_MAX: usize = 1_024;
/// The bytes that the instances of one read should take; several reads are in progress at a time.
const LOAD_BYTES: usize = 16 << 20;
/// Keys in the first read, when the size of states is not known: even the largest states fit into
/// the limit then.
const LOAD_KEYS_FIRST: usize = 16;

/// How the plugin takes an event.
pub(super) enum Interest {
    None,
    /// The event was accepted while the plugin was not served.
    Missed,
    /// The plugin takes the type, but not from this source.
    OtherSource,
    /// The plugin decides it, at these keys.
    Keys(Arc<Subscription>, Arc<[Key]>),
    /// The plugin takes it, but the event has no key, for this reason.
    NoKey(String),
}

/// All instances that the store has for some keys.
pub(super) struct Found {
    pub(super) keys: Vec<Key>,
    pub(super) instances: Vec<StoredInstance>,
}

/// Entries of the log that are not routed yet.
pub(super) struct Chunk {
    pub(super) entries: Vec<(LogEntry, Interest)>,
    /// The position up to which the log is read with this chunk.
    pub(super) end: Position,
    /// The bytes of the entries.
    bytes: usize,
    is_loading: bool,
}

pub(super) struct Intake {
    reader: Arc<Reader>,
    /// Events up to this position were accepted while the plugin was not served.
    missed_to: Position,
    /// The position up to which the log is read.
    read_to: Position,
    /// The position up to which the log is routed.
    place: Position,
    /// The entries between these two.
    chunks: VecDeque<Chunk>,
    /// How many instances a chunk may load, and whether the last one was cut for that reason.
    load_keys: usize,
    is_cut: bool,
    /// The loads, in the order of the chunks that wait for them.
    loads: FuturesOrdered<BoxFuture<'static, Found>>,
    /// The keys that are being loaded.
    loading: BTreeSet<Key>,
}

impl Intake {
    pub(super) fn new(reader: Arc<Reader>, missed_to: Position, start: Position) -> Self {
        Self {
            reader,
            missed_to,
            read_to: start,
            place: start,
            chunks: VecDeque::new(),
            load_keys: LOAD_KEYS_FIRST,
            is_cut: false,
            loads: FuturesOrdered::new(),
            loading: BTreeSet::new(),
        }
    }

    /// The reader that wakes the dispatcher when there is more to read, and the position from which
    /// on.
    pub(super) fn tail(&self) -> (Arc<Reader>, Position) {
        (Arc::clone(&self.reader), self.read_to)
    }

    /// The position up to which the log is routed.
    pub(super) fn place(&self) -> Position {
        self.place
    }

    pub(super) fn routed_to(&mut self, place: Position) {
        self.place = place;
    }

    pub(super) fn is_missed(&self, position: Position) -> bool {
        position <= self.missed_to
    }

    /// Whether no entry waits to be routed.
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether another chunk may be read.
    pub(super) fn has_room(&self) -> bool {
        self.chunks.len() < CHUNKS_MAX
    }

    /// The number of events that wait to be routed, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let events = self.chunks.iter().map(|chunk| chunk.entries.len()).sum();
        (events, self.chunks.iter().map(|chunk| chunk.bytes).sum())
    }

    /// How many entries are worth reading: those that do not fit into a chunk are read again.
    pub(super) fn rows(&self, rows_max: usize) -> usize {
        match self.is_cut {
            true => rows_max.min(2 * self.load_keys),
            false => rows_max,
        }
    }

    /// Makes a chunk of the first entries, which go up to `end`: of as many as need few enough
    /// instances. Returns it with the keys that must be read from the store.
    pub(super) fn cut(
        &mut self,
        entries: Vec<LogEntry>,
        end: Position,
        interest: impl Fn(&Self, &LogEntry) -> Interest,
        mut is_known: impl FnMut(&Key) -> bool,
    ) -> (Chunk, Vec<Key>) {
        let (count, mut missing) = (entries.len(), Vec::new());
        let mut chunk =
            Chunk { entries: Vec::with_capacity(count), bytes: 0, end, is_loading: false };
        for entry in entries {
            if missing.len() >= self.load_keys {
                break;
            }
            let interest = interest(self, &entry);
            if let Interest::Keys(_, keys) = &interest {
                for key in keys.iter() {
                    if !is_known(key) && self.loading.insert(key.clone()) {
                        missing.push(key.clone());
                    }
                }
            }
            chunk.bytes += entry.event.bytes();
            chunk.entries.push((entry, interest));
        }
        self.is_cut = chunk.entries.len() < count;
        if let Some((last, _)) = chunk.entries.last().filter(|_| self.is_cut) {
            chunk.end = last.position;
        }
        chunk.is_loading = !missing.is_empty();
        self.read_to = chunk.end;
        (chunk, missing)
    }

    /// Adds a chunk that waits for its instances, or behind another chunk. Returns it if it can be
    /// routed at once.
    pub(super) fn push(&mut self, chunk: Chunk) -> Option<Chunk> {
        if chunk.is_loading || !self.chunks.is_empty() {
            self.chunks.push_back(chunk);
            return None;
        }
        Some(chunk)
    }

    pub(super) fn load(&mut self, load: BoxFuture<'static, Found>) {
        self.loads.push_back(load);
    }

    pub(super) fn is_loading(&self) -> bool {
        !self.loads.is_empty()
    }

    pub(super) async fn loaded(&mut self) -> Option<Found> {
        self.loads.next().await
    }

    /// The first load has ended: the chunk that waited for it can be routed when its turn comes.
    pub(super) fn end_load(&mut self, found: &Found) {
        let state =
            |loaded: &StoredInstance| loaded.instance.state.as_ref().map_or(0, |s| s.data.len());
        let bytes = found.instances.iter().map(state).sum();
        self.load_keys = load_keys(self.load_keys, found.keys.len(), bytes);
        if let Some(chunk) = self.chunks.iter_mut().find(|chunk| chunk.is_loading) {
            chunk.is_loading = false;
        }
    }

    /// Notes that a key is known now.
    pub(super) fn forget(&mut self, key: &Key) {
        self.loading.remove(key);
    }

    /// Returns the next chunk that can be routed.
    pub(super) fn next(&mut self) -> Option<Chunk> {
        self.chunks.pop_front_if(|chunk| !chunk.is_loading)
    }

    /// Reads the entries that are not routed again, because another version of the plugin, which
    /// takes these types, may take them in another way.
    pub(super) fn begin_again(&mut self, types: BTreeSet<String>, head: impl FnOnce() -> u64) {
        self.chunks.clear();
        self.loads = FuturesOrdered::new();
        self.loading.clear();
        self.read_to = self.place;
        self.reader.subscribe(types, head);
    }
}

/// How many keys the next read may have, given the number of keys and bytes of the last one.
fn load_keys(before: usize, keys: usize, bytes: usize) -> usize {
    let fits = LOAD_BYTES / (bytes / keys.max(1)).max(1);
    fits.min(2 * before).clamp(1, LOAD_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::readers::Readers;
    use crate::model::{Absent, Correlation, Effect, Event, Hops, Source, Timestamp};

    fn intake() -> Intake {
        let reader = Readers::default().register("p".into(), BTreeSet::new(), || 0);
        Intake::new(reader, Position(2), Position(0))
    }

    fn entries(places: std::ops::RangeInclusive<u64>) -> Vec<LogEntry> {
        let event = |place: u64| Event {
            id: place.to_string(),
            source: "/test".to_owned(),
            event_type: "E".to_owned(),
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: Vec::new(),
            data: bytes::Bytes::new(),
        };
        let entry = |place| LogEntry {
            position: Position(place),
            received_at: Timestamp(place),
            event: Arc::new(event(place)),
            hops: Hops::OUTSIDE,
        };
        places.map(entry).collect()
    }

    /// Each event names a key of its own.
    fn interest(_: &Intake, entry: &LogEntry) -> Interest {
        let subscription = Subscription {
            event_type: "E".to_owned(),
            source: Source::Any,
            key: Correlation::Subject,
            effect: Effect::Handle,
            absent: Absent::Ignore,
        };
        Interest::Keys(Arc::new(subscription), [Key::from(&*entry.event.id)].into())
    }

    fn read(intake: &mut Intake, first: u64, last: u64, is_known: bool) -> (Option<Chunk>, usize) {
        let (chunk, missing) =
            intake.cut(entries(first..=last), Position(last), interest, |_| is_known);
        (intake.push(chunk), missing.len())
    }

    fn found(intake: &mut Intake, keys: usize) {
        let keys = (0..keys).map(|n| Key::from(n.to_string().as_str())).collect();
        intake.end_load(&Found { keys, instances: Vec::new() });
    }

    #[test]
    fn a_chunk_asks_for_few_instances_and_the_rest_is_read_again() {
        let mut intake = intake();
        let (routed, missing) = read(&mut intake, 1, 40, false);
        assert!(routed.is_none(), "it waits for its instances");
        assert_eq!((missing, intake.tail().1), (LOAD_KEYS_FIRST, Position(16)));
        assert_eq!(intake.rows(1_000), 2 * LOAD_KEYS_FIRST);
        let (_, missing) = read(&mut intake, 17, 20, false);
        assert_eq!((missing, intake.tail().1, intake.rows(1_000)), (4, Position(20), 1_000));
        assert_eq!(intake.waiting().0, 20);
    }

    #[test]
    fn chunks_are_routed_in_their_order_whichever_is_loaded() {
        let mut intake = intake();
        assert!(read(&mut intake, 1, 2, false).0.is_none());
        assert!(read(&mut intake, 3, 4, true).0.is_none(), "it waits behind the first");
        assert!(intake.next().is_none());
        found(&mut intake, 2);
        assert_eq!(intake.next().map(|chunk| chunk.end), Some(Position(2)));
        assert_eq!(intake.next().map(|chunk| chunk.end), Some(Position(4)));
        assert!(intake.is_empty());
        assert!(read(&mut intake, 5, 6, true).0.is_some(), "nothing is before it");
    }

    #[test]
    fn a_key_is_asked_about_once_until_it_is_known() {
        let mut intake = intake();
        assert_eq!(read(&mut intake, 1, 1, false).1, 1);
        assert_eq!(read(&mut intake, 1, 1, false).1, 0, "it is being loaded");
        intake.forget(&"1".into());
        assert_eq!(read(&mut intake, 1, 1, false).1, 1);
    }

    #[test]
    fn another_version_reads_again_from_what_is_routed() {
        let mut intake = intake();
        intake.routed_to(Position(3));
        read(&mut intake, 4, 9, false);
        intake.begin_again(BTreeSet::new(), || 9);
        assert!(intake.is_empty() && !intake.is_loading());
        assert_eq!((intake.place(), intake.tail().1), (Position(3), Position(3)));
        assert_eq!(read(&mut intake, 4, 9, false).1, 6, "the store is asked again");
        assert!(intake.is_missed(Position(2)) && !intake.is_missed(Position(3)));
    }

    #[test]
    fn large_states_are_asked_for_in_small_portions() {
        for state in [0, 100, 10_000, 100_000, 1 << 20, 1 << 30] {
            let mut keys = LOAD_KEYS_FIRST;
            let mut most = 0;
            for _ in 0..20 {
                most = most.max(keys.saturating_mul(state));
                keys = load_keys(keys, keys, keys.saturating_mul(state));
            }
            let bound = LOAD_BYTES.max(LOAD_KEYS_FIRST * state);
            assert!(most <= bound, "{state} bytes each: {most}");
            let expected = LOAD_BYTES / state.max(1);
            assert_eq!(keys, expected.clamp(1, LOAD_MAX), "{state} bytes each");
        }
        // One state is suddenly larger; then they are small again.
        assert_eq!(load_keys(LOAD_MAX, LOAD_MAX, LOAD_MAX << 20), 16);
        assert_eq!(load_keys(16, 16, 0), 32);
    }
}
