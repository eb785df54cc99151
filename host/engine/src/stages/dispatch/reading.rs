//! Reads the log into the dispatcher, in chunks and in order. A chunk is routed when all instances
//! that its events may reach are in memory; the next chunks are read and loaded meanwhile.
//!
//! What may wait here is bounded in events and in bytes. No instance leaves memory while a chunk
//! waits, so what was known when a chunk was read is known when it is routed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::changes::tail::Next;
use crate::model::{Key, LogEntry, Position, Subscription, Timestamp, reserved};
use crate::pure::correlate::correlate;
use crate::seams::store::{Page, ReadError, StoredInstance};
use crate::stages::detached::detached;

use super::instance_cache::InstanceCache;
use super::{Dirty, Dispatcher, FLIGHT_BYTES_MAX, FLIGHTS_MAX, is_for_instance};

/// Chunks that wait for their instances.
const CHUNKS_MAX: usize = 4;
/// Keys in one question to the store.
const LOAD_MAX: usize = 1_024;
/// What the instances may take of memory that one question brings; there are some at a time.
const LOAD_BYTES: usize = 16 << 20;
/// Keys in the first question, when the size of states is not known: it brings no more than
/// that if they are as large as they may be.
pub(super) const LOAD_KEYS_FIRST: usize = 16;
/// What one read takes of memory, unless a single event takes more.
const READ_BYTES_MAX: usize = 8 << 20;
const READ_RETRY: Duration = Duration::from_millis(200);
/// A start loads all instances of a plugin if there are no more than one for so many
/// bytes of its share of memory: then no event ever waits for the store. A state can be that large.
const BYTES_PER_INSTANCE: usize = 65_536;

/// Entries of the log that are not routed yet.
pub(super) struct Chunk {
    entries: Vec<(LogEntry, Interest)>,
    /// What the entries take of memory.
    bytes: usize,
    /// The log is read up to here with it.
    end: Position,
    is_loading: bool,
}

/// What the plugin has to do with an event.
pub(super) enum Interest {
    None,
    /// It came while the plugin was away.
    Missed,
    /// It decides it, at these keys.
    Keys(Arc<Subscription>, Arc<[Key]>),
    /// It would, but the event has no key, for this reason.
    NoKey(String),
}

/// All that the store has of some keys.
pub(super) struct Found {
    pub(super) keys: Vec<Key>,
    pub(super) instances: Vec<StoredInstance>,
}

impl Dispatcher {
    /// Takes up what the last run left: instances, as far as they fit, and held events
    /// that instances claimed without having decided them.
    pub(super) async fn restore(&mut self) -> Result<(), ReadError> {
        let (store, plugin) = (Arc::clone(&self.context.store), self.plugin.clone());
        let bytes_max = self.context.instance_bytes_max;
        let all = store.load_all(&plugin, bytes_max / BYTES_PER_INSTANCE).await?;
        self.instance_cache = InstanceCache::new(bytes_max, all.is_some());
        let held = match all {
            Some(all) => {
                all.instances.into_iter().for_each(|i| self.instance_cache.insert_loaded(i));
                all.held
            }
            None => {
                let held = store.read_expired_holds(&plugin, Timestamp::MAX, usize::MAX).await?;
                let keys: BTreeSet<Key> = held.iter().map(|held| held.key.clone()).collect();
                let keys: Vec<Key> = keys.into_iter().collect();
                for keys in keys.chunks(LOAD_MAX) {
                    let instances = store.load(&plugin, keys).await?;
                    self.take_in(Found { keys: keys.to_vec(), instances });
                }
                held
            }
        };
        self.restore_holds(held);
        Ok(())
    }

    /// Whether more of the log may be read.
    pub(super) fn has_room(&self) -> bool {
        let waiting: usize = self.chunks.iter().map(|chunk| chunk.entries.len()).sum();
        let waiting_bytes: usize = self.chunks.iter().map(|chunk| chunk.bytes).sum();
        self.flights.len() + waiting < FLIGHTS_MAX
            && self.flight_bytes + waiting_bytes < FLIGHT_BYTES_MAX
            && self.chunks.len() < CHUNKS_MAX
            && !self.instance_cache.is_full()
    }

    /// Lets instances go if there are too many. Not while chunks or claims wait: what was
    /// known when they were read must still be here when they are routed.
    pub(super) fn make_room(&mut self) {
        if !self.chunks.is_empty() || !self.look_backs.is_empty() {
            return;
        }
        self.count_durable();
        self.instance_cache.forget_removed(self.durable);
        if !self.instance_cache.is_full() {
            return;
        }
        let (lanes, parking, claimers) = (&self.lanes, &self.parking, self.holds.claimers_ahead());
        let is_used =
            |key: &Key| lanes.contains(key) || parking.is_reading(key) || claimers.contains(key);
        self.instance_cache.sweep(self.durable, is_used);
    }

    pub(super) async fn read(&mut self) {
        let rows = match self.is_careful() {
            true => 1,
            // What does not fit is read again.
            false if self.is_cut => self.context.entries_read_max.min(2 * self.load_keys),
            false => self.context.entries_read_max,
        };
        let page = Page { rows, bytes: READ_BYTES_MAX };
        let (entries, end) = match self.context.log.read(self.read_to.0, page) {
            Next::Caught => return,
            Next::Entries(entries, end) => (entries, Position(end)),
            Next::Behind => {
                let head = Position(self.context.log.head());
                match self.context.store.read_log(self.read_to, page).await {
                    Ok(entries) => {
                        let end = entries.last().map_or(head, |last| last.position);
                        (entries, end)
                    }
                    Err(error) => {
                        tracing::warn!(
                            plugin = %self.plugin, %error,
                            "reading the log failed; retrying"
                        );
                        tokio::time::sleep(READ_RETRY).await;
                        return;
                    }
                }
            }
        };
        let (chunk, missing) = self.chunk(entries, end);
        self.read_to = chunk.end;
        if chunk.is_loading {
            self.load(missing);
        }
        if chunk.is_loading || !self.chunks.is_empty() {
            return self.chunks.push_back(chunk);
        }
        self.route(chunk);
    }

    /// The first of some entries, which go up to `end`, that ask for few enough instances; and
    /// the keys of these.
    fn chunk(&mut self, entries: Vec<LogEntry>, end: Position) -> (Chunk, Vec<Key>) {
        let (count, mut missing) = (entries.len(), Vec::new());
        let mut chunk =
            Chunk { entries: Vec::with_capacity(count), bytes: 0, end, is_loading: false };
        for entry in entries {
            if missing.len() >= self.load_keys {
                break;
            }
            let interest = self.interest(&entry);
            self.note_missing(&interest, &mut missing);
            chunk.bytes += entry.event.bytes();
            chunk.entries.push((entry, interest));
        }
        self.is_cut = chunk.entries.len() < count;
        if let Some((last, _)) = chunk.entries.last().filter(|_| self.is_cut) {
            chunk.end = last.position;
        }
        chunk.is_loading = !missing.is_empty();
        (chunk, missing)
    }

    fn interest(&self, entry: &LogEntry) -> Interest {
        if self.recovered.contains(entry.position.0) {
            return Interest::None;
        }
        let Some(subscription) = self.subscription(&entry.event.event_type) else {
            return Interest::None;
        };
        let addressee = entry.event.extension(reserved::EXTENSION_PLUGIN);
        let is_addressed = is_for_instance(&subscription) || addressee.is_some();
        if is_addressed && addressee != Some(self.plugin.as_str()) {
            return Interest::None;
        }
        // What is for this plugin alone, such as its timers, it gets all the same.
        if !is_addressed && entry.position <= self.missed_to {
            return Interest::Missed;
        }
        match correlate(&entry.event, &subscription.key) {
            Ok(keys) => Interest::Keys(subscription, keys.into()),
            Err(reason) => Interest::NoKey(reason),
        }
    }

    /// Collects keys that the store must be asked about, and is not being asked about.
    fn note_missing(&mut self, interest: &Interest, missing: &mut Vec<Key>) {
        let Interest::Keys(_, keys) = interest else { return };
        for key in keys.iter() {
            if self.manifest.role.has_instances()
                && !self.instance_cache.is_known(key)
                && self.loading.insert(key.clone())
            {
                missing.push(key.clone());
            }
        }
    }

    fn load(&mut self, keys: Vec<Key>) {
        let (store, plugin) = (Arc::clone(&self.context.store), self.plugin.clone());
        self.loads.push_back(detached(async move {
            loop {
                match store.load(&plugin, &keys).await {
                    Ok(instances) => return Found { keys, instances },
                    Err(error) => {
                        tracing::warn!(%plugin, %error, "reading instances failed; retrying");
                        tokio::time::sleep(READ_RETRY).await;
                    }
                }
            }
        }));
    }

    pub(super) fn on_found(&mut self, found: Found) {
        let state =
            |loaded: &StoredInstance| loaded.instance.state.as_ref().map_or(0, |s| s.data.len());
        let bytes = found.instances.iter().map(state).sum();
        self.load_keys = load_keys(self.load_keys, found.keys.len(), bytes);
        self.take_in(found);
        if let Some(chunk) = self.chunks.iter_mut().find(|chunk| chunk.is_loading) {
            chunk.is_loading = false;
        }
        while let Some(chunk) = self.chunks.pop_front_if(|chunk| !chunk.is_loading) {
            self.route(chunk);
        }
    }

    pub(super) fn take_in(&mut self, found: Found) {
        let Found { keys, instances } = found;
        for instance in instances {
            self.instance_cache.insert_loaded(instance);
        }
        for key in keys {
            self.loading.remove(&key);
            self.instance_cache.insert_known(&key);
        }
    }

    fn route(&mut self, chunk: Chunk) {
        for (entry, interest) in chunk.entries {
            self.skip_to(entry.position);
            self.place = entry.position;
            let date = entry.received_at;
            self.holds.accepted(entry.position, date);
            if !self.recovered.contains(entry.position.0) {
                self.on_entry(entry, interest);
            }
            self.judge_claims(date);
        }
        self.skip_to(chunk.end.next());
        self.place = chunk.end;
    }

    /// Positions between the place and `next` hold nothing: duplicates left gaps.
    fn skip_to(&mut self, next: Position) {
        let (mut first, last) = (self.place.0 + 1, next.0.saturating_sub(1));
        while first <= last && first <= self.recovered.highest() {
            if !self.recovered.contains(first) {
                self.finish(Position(first));
            }
            first += 1;
        }
        if first <= last {
            self.watermark.finish_span(first, last);
            self.touch(Dirty::CursorOnly);
        }
    }
}

/// How many keys the next question may have, after one with so many brought so many bytes.
fn load_keys(before: usize, keys: usize, bytes: usize) -> usize {
    let fits = LOAD_BYTES / (bytes / keys.max(1)).max(1);
    fits.min(2 * before).clamp(1, LOAD_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // One that is suddenly larger, and small ones again.
        assert_eq!(load_keys(LOAD_MAX, LOAD_MAX, LOAD_MAX << 20), 16);
        assert_eq!(load_keys(16, 16, 0), 32);
    }
}
