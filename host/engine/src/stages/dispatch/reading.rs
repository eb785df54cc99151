//! Reads the log into the dispatcher, in chunks and in order, and routes each chunk when all
//! instances that its events may reach are in memory (`intake.rs`).
//!
//! No instance leaves memory while a chunk waits, so a key that was known when a chunk was read is
//! known when it is routed.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::changes::tail::Next;
use crate::model::{Key, LogEntry, Position, Timestamp, reserved};
use crate::pure::correlate::correlate;
use crate::pure::retry::READ_RETRY;
use crate::seams::store::{Page, ReadError};
use crate::stages::reads::{detached, until_read};

use super::flights::Flights;
use super::instance_cache::InstanceCache;
use super::intake::{Chunk, Found, Intake, Interest, LOAD_MAX};
use super::versions::PluginVersions;
use super::{Dispatcher, FLIGHT_BYTES_MAX, FLIGHTS_MAX, is_for_instance};

/// The most bytes of one read, unless a single event is larger.
const READ_BYTES_MAX: usize = 8 << 20;
/// At the start all instances of a plugin are loaded if there is no more than one for this many
/// bytes of the plugin's share of memory, because a state can be that large. Then no event ever
/// waits for the store.
const BYTES_PER_INSTANCE: usize = 65_536;

impl Dispatcher {
    /// Restores what the last run left: the instances, as far as they fit, and the held events that
    /// instances claimed and have not decided.
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
                self.begin_key_scan();
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
        let (waiting, waiting_bytes) = self.intake.waiting();
        self.flights.len() + waiting < FLIGHTS_MAX
            && self.flights.bytes() + waiting_bytes < FLIGHT_BYTES_MAX
            && self.intake.has_room()
            && !self.instance_cache.is_full()
    }

    /// Evicts instances if there are too many. Not while chunks or claims wait: the instances that
    /// were in memory when they were read must still be there when they are routed.
    pub(super) fn make_room(&mut self) {
        if !self.intake.is_empty() || !self.look_backs.is_empty() {
            return;
        }
        let durable = self.output.durable();
        self.instance_cache.forget_removed(durable);
        if !self.instance_cache.is_full() {
            return;
        }
        let (lanes, dead_letters) = (&self.lanes, &self.dead_letters);
        let claimers = self.holds.claimers_ahead();
        let is_used = |key: &Key| {
            lanes.contains(key) || dead_letters.is_reading(key) || claimers.contains(key)
        };
        self.instance_cache.sweep(durable, is_used);
    }

    pub(super) async fn read(&mut self) {
        let rows = match self.is_careful() {
            true => 1,
            false => self.intake.rows(self.context.entries_read_max),
        };
        let page = Page { rows, bytes: READ_BYTES_MAX };
        let (_, read_to) = self.intake.tail();
        let (entries, end) = match self.context.log.read(read_to.0, page) {
            Next::Caught => return,
            Next::Entries(entries, end) => (entries, Position(end)),
            Next::Behind => {
                let head = Position(self.context.log.head());
                match self.context.store.read_log(read_to, page).await {
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
        let Self { intake, versions, flights, instance_cache, .. } = self;
        let (chunk, missing) = intake.cut(
            entries,
            end,
            |intake, entry| interest(intake, versions, flights, entry),
            |key| !versions.has_instances() || instance_cache.is_known(key),
        );
        if !missing.is_empty() {
            self.load(missing);
        }
        if let Some(chunk) = self.intake.push(chunk) {
            self.route(chunk);
        }
    }

    fn load(&mut self, keys: Vec<Key>) {
        let (store, plugin) = (Arc::clone(&self.context.store), self.plugin.clone());
        self.intake.load(detached(async move {
            let instances = until_read(
                || store.load(&plugin, &keys),
                |error| tracing::warn!(%plugin, %error, "reading instances failed; retrying"),
            );
            let instances = instances.await;
            Found { keys, instances }
        }));
    }

    pub(super) fn on_found(&mut self, found: Found) {
        self.intake.end_load(&found);
        self.take_in(found);
        while let Some(chunk) = self.intake.next() {
            self.route(chunk);
        }
    }

    pub(super) fn take_in(&mut self, found: Found) {
        let Found { keys, instances } = found;
        for instance in instances {
            self.instance_cache.insert_loaded(instance);
        }
        for key in keys {
            self.intake.forget(&key);
            self.instance_cache.insert_known(&key);
        }
    }

    fn route(&mut self, chunk: Chunk) {
        for (entry, interest) in chunk.entries {
            self.skip_to(entry.position);
            self.intake.routed_to(entry.position);
            let date = entry.received_at;
            self.holds.accepted(entry.position, date);
            if !self.flights.was_settled(entry.position) {
                self.on_entry(entry, interest);
            }
            self.decide_claims(date);
        }
        self.skip_to(chunk.end.next());
        self.intake.routed_to(chunk.end);
    }

    /// Skips the positions between the place and `next`, which hold nothing: duplicates left gaps.
    fn skip_to(&mut self, next: Position) {
        let (first, last) = (self.intake.place().0 + 1, next.0.saturating_sub(1));
        if self.flights.skip(first, last) {
            self.output.cursor_moved();
        }
    }
}

/// How the plugin takes an event.
fn interest(
    intake: &Intake,
    versions: &PluginVersions,
    flights: &Flights,
    entry: &LogEntry,
) -> Interest {
    if flights.was_settled(entry.position) {
        return Interest::None;
    }
    let Some(subscription) = versions.subscription(&entry.event) else {
        return match versions.of_type(&entry.event.event_type) {
            Some(_) => Interest::OtherSource,
            None => Interest::None,
        };
    };
    let addressee = entry.event.extension(reserved::EXTENSION_PLUGIN);
    let is_addressed = is_for_instance(subscription) || addressee.is_some();
    if is_addressed && addressee != Some(versions.plugin().as_str()) {
        return Interest::None;
    }
    // Events that are addressed to this plugin, such as its timers, reach it in any case.
    if !is_addressed && intake.is_missed(entry.position) {
        return Interest::Missed;
    }
    match correlate(&entry.event, &subscription.key) {
        Ok(keys) => Interest::Keys(Arc::clone(subscription), keys.into()),
        Err(reason) => Interest::NoKey(reason),
    }
}
