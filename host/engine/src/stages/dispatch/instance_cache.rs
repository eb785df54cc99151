//! Pure: the instances that are in memory. These are all instances of the plugin, while they fit;
//! otherwise those that were used last, and the dispatcher reads the others from the store.
//!
//! An instance in memory may be ahead of the store, so it wins over one that is loaded. That is
//! right only if no instance leaves memory between the start and the end of a load: a caller that
//! loads must not sweep meanwhile. For the same reason, an instance that was removed leaves a mark
//! until no load can return it.
//!
//! Claims and timers are changed in place, so the cost of a change does not depend on the number
//! that an instance has.

mod stored_keys;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::model::{Instance, InstanceStatus, Key, Timer, TimerName};
use crate::pure::hash::HashMap;
use crate::seams::store::StoredInstance;

use stored_keys::StoredKeys;

/// The bytes of an instance beside its state and its keys: maps, nodes, counters.
const INSTANCE_BYTES: usize = 400;
/// The bytes of an additional key, of a known key, and of a timer.
const ENTRY_BYTES: usize = 120;

pub(super) struct InstanceCache {
    instances: HashMap<Key, CachedInstance>,
    /// The claims of the instances in memory.
    claimers: HashMap<Key, BTreeSet<Key>>,
    /// Keys whose instances are all in memory, and when they were used last. None: all instances
    /// are in memory, so every key is known.
    known: Option<HashMap<Key, u64>>,
    /// The keys that certainly have no instance, while not all instances are in memory.
    stored_keys: StoredKeys,
    /// Keys of removed instances, with the number of the commit that removes them, in its order.
    removed: VecDeque<(u64, Key)>,
    bytes: usize,
    bytes_max: usize,
    /// The number of bytes at which a sweep pays off.
    sweep_at: usize,
    /// Counts the uses of instances.
    time: u64,
}

#[derive(Default)]
struct CachedInstance {
    /// None if it was removed.
    instance: Option<Arc<Instance>>,
    claims: BTreeSet<Key>,
    timers: BTreeMap<TimerName, Timer>,
    bytes: usize,
    used: u64,
    /// The number of the commit with which the store has this version.
    commit: u64,
}

impl InstanceCache {
    /// `complete`: the caller is about to insert all stored instances.
    pub(super) fn new(bytes_max: usize, complete: bool) -> Self {
        Self {
            instances: HashMap::default(),
            claimers: HashMap::default(),
            known: (!complete).then(HashMap::default),
            stored_keys: StoredKeys::new(complete),
            removed: VecDeque::new(),
            bytes: 0,
            bytes_max,
            sweep_at: bytes_max,
            time: 0,
        }
    }

    pub(super) fn get(&mut self, key: &Key) -> Option<&Arc<Instance>> {
        self.time += 1;
        let cached = self.instances.get_mut(key)?;
        cached.used = self.time;
        cached.instance.as_ref()
    }

    /// The instances that an event with this key reaches. The key must be known.
    pub(super) fn reached_by(&self, key: &Key) -> Vec<Key> {
        let mut instances = Vec::new();
        if self.instances.get(key).is_some_and(|cached| cached.instance.is_some()) {
            instances.push(key.clone());
        }
        instances.extend(self.claimers.get(key).into_iter().flatten().cloned());
        instances
    }

    /// The additional keys of an instance in memory.
    pub(super) fn claims_of(&self, instance: &Key) -> Option<&BTreeSet<Key>> {
        self.instances.get(instance).map(|cached| &cached.claims)
    }

    pub(super) fn timer(&self, instance: &Key, name: &TimerName) -> Option<&Timer> {
        self.instances.get(instance)?.timers.get(name)
    }

    /// Whether all instances that an event with this key reaches are in memory.
    pub(super) fn is_known(&mut self, key: &Key) -> bool {
        self.time += 1;
        let Some(known) = &mut self.known else { return true };
        if let Some(used) = known.get_mut(key) {
            *used = self.time;
            return true;
        }
        let is_absent = self.stored_keys.is_absent(key);
        if is_absent {
            // As if the store had answered, so that an instance which the event starts is known,
            // too.
            self.insert_known(key);
        }
        is_absent
    }

    /// Notes keys that the store has, as instances' own or as their claims. Returns whether the
    /// cache can make use of more.
    pub(super) fn insert_stored_keys(&mut self, keys: &[Key]) -> bool {
        keys.iter().for_each(|key| self.stored_keys.insert(key));
        !self.stored_keys.is_overfull()
    }

    /// Notes that all keys were inserted that the store had when the cache was created.
    pub(super) fn complete_stored_keys(&mut self) {
        self.stored_keys.complete();
    }

    /// Inserts an instance from the store, unless it is in memory already.
    pub(super) fn insert_loaded(&mut self, loaded: StoredInstance) {
        let StoredInstance { instance, claims, timers } = loaded;
        let key = instance.key.clone();
        if self.instances.contains_key(&key) {
            return;
        }
        self.write(instance, 0);
        for claimed in claims {
            self.claim(&key, claimed);
        }
        for (name, timer) in timers {
            self.set_timer(&key, name, timer);
        }
    }

    /// Notes that all instances with this key, as their own or among their claims, are in memory
    /// now.
    pub(super) fn insert_known(&mut self, key: &Key) {
        self.time += 1;
        if let Some(known) = &mut self.known
            && known.insert(key.clone(), self.time).is_none()
        {
            self.bytes += known_bytes(key);
        }
    }

    /// The instance as it is now, and the commit that brings it to the store, with all that
    /// is changed of its claims and timers until then. Returns the status that it had.
    pub(super) fn write(&mut self, instance: Arc<Instance>, commit: u64) -> Option<InstanceStatus> {
        self.time += 1;
        let cached = match self.instances.get_mut(&instance.key) {
            Some(cached) => cached,
            None => {
                // While all instances are in memory, a sweep inserts their keys.
                if self.known.is_some() {
                    self.stored_keys.insert(&instance.key);
                }
                self.instances.entry(instance.key.clone()).or_default()
            }
        };
        let before = cached.instance.as_ref().map_or(cached.bytes, |before| bytes(before));
        let now = bytes(&instance);
        cached.bytes = cached.bytes + now - before;
        self.bytes = self.bytes + now - before;
        (cached.used, cached.commit) = (self.time, commit);
        cached.instance.replace(instance).map(|before| before.status)
    }

    /// Returns false if the instance had the key already.
    pub(super) fn claim(&mut self, instance: &Key, claimed: Key) -> bool {
        let Some(cached) = self.instances.get_mut(instance) else { return false };
        if !cached.claims.insert(claimed.clone()) {
            return false;
        }
        cached.bytes += claim_bytes(&claimed);
        self.bytes += claim_bytes(&claimed);
        if self.known.is_some() {
            self.stored_keys.insert(&claimed);
        }
        self.claimers.entry(claimed).or_default().insert(instance.clone());
        true
    }

    /// Returns false if the instance did not have the key.
    pub(super) fn release(&mut self, instance: &Key, claimed: &Key) -> bool {
        let Some(cached) = self.instances.get_mut(instance) else { return false };
        if !cached.claims.remove(claimed) {
            return false;
        }
        cached.bytes -= claim_bytes(claimed);
        self.bytes -= claim_bytes(claimed);
        self.unclaim(claimed, instance);
        true
    }

    pub(super) fn set_timer(&mut self, instance: &Key, name: TimerName, timer: Timer) {
        let Some(cached) = self.instances.get_mut(instance) else { return };
        if cached.timers.insert(name, timer).is_none() {
            cached.bytes += ENTRY_BYTES;
            self.bytes += ENTRY_BYTES;
        }
    }

    /// Returns false if the timer was not set.
    pub(super) fn clear_timer(&mut self, instance: &Key, name: &TimerName) -> bool {
        let Some(cached) = self.instances.get_mut(instance) else { return false };
        let was_set = cached.timers.remove(name).is_some();
        if was_set {
            cached.bytes -= ENTRY_BYTES;
            self.bytes -= ENTRY_BYTES;
        }
        was_set
    }

    /// Removes the claims and timers of a finished instance, and returns them.
    pub(super) fn release_all(&mut self, instance: &Key) -> (BTreeSet<Key>, Vec<TimerName>) {
        let Some(cached) = self.instances.get_mut(instance) else { return Default::default() };
        let claims = std::mem::take(&mut cached.claims);
        let timers = std::mem::take(&mut cached.timers);
        let freed = timers.len() * ENTRY_BYTES + claims.iter().map(claim_bytes).sum::<usize>();
        cached.bytes -= freed;
        self.bytes -= freed;
        for claimed in &claims {
            self.unclaim(claimed, instance);
        }
        (claims, timers.into_keys().collect())
    }

    /// Removes a finished instance, whether it is in memory or not. Returns false if the store does
    /// not have this version yet, or if the instance is not finished.
    pub(super) fn remove_finished(&mut self, key: &Key, durable: u64, commit: u64) -> bool {
        let is_removable = |cached: &CachedInstance| {
            let finished = cached.instance.as_ref().is_some_and(|i| !i.status.is_running());
            finished && cached.commit <= durable
        };
        if self.instances.get(key).is_some_and(|cached| !is_removable(cached)) {
            return false;
        }
        self.release_all(key);
        self.time += 1;
        let cached = self.instances.entry(key.clone()).or_default();
        self.bytes -= cached.bytes;
        *cached = CachedInstance {
            bytes: known_bytes(key),
            used: self.time,
            commit,
            ..CachedInstance::default()
        };
        self.bytes += cached.bytes;
        self.removed.push_back((commit, key.clone()));
        true
    }

    /// Forgets the marks of instances that the store has removed. No load may be in progress.
    pub(super) fn forget_removed(&mut self, durable: u64) {
        while let Some((_, key)) = self.removed.pop_front_if(|(commit, _)| *commit <= durable) {
            // A key may have been removed, used again and removed again: the mark that is there is
            // that of the last removal.
            let is_durable_mark =
                |cached: &CachedInstance| cached.instance.is_none() && cached.commit <= durable;
            if self.instances.get(&key).is_some_and(is_durable_mark)
                && let Some(mark) = self.instances.remove(&key)
            {
                self.bytes -= mark.bytes;
            }
        }
    }

    fn unclaim(&mut self, claimed: &Key, instance: &Key) {
        if let Some(claimers) = self.claimers.get_mut(claimed) {
            claimers.remove(instance);
            if claimers.is_empty() {
                self.claimers.remove(claimed);
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes > self.sweep_at
    }

    /// Evicts the instances that were not used for the longest time, down to seven eighths of the
    /// limit. It keeps those of which the store does not have this version yet, and those that are
    /// about to be used.
    pub(super) fn sweep(&mut self, durable: u64, is_used: impl Fn(&Key) -> bool) {
        let target = self.bytes_max - self.bytes_max / 8;
        if self.known.is_none() && self.bytes > target {
            let keys = self.instances.keys().chain(self.claimers.keys());
            keys.for_each(|key| self.stored_keys.insert(key));
        }
        while self.bytes > target {
            let idle = self
                .instances
                .iter()
                .filter(|(key, cached)| cached.commit <= durable && !is_used(key));
            let idle = idle.map(|(key, cached)| (cached.used, key.clone()));
            let mut oldest: Vec<(u64, Key)> = idle.collect();
            let known = self.known.get_or_insert_default();
            let mut limit = oldest.iter().map(|(used, _)| *used).max().unwrap_or(u64::MAX);
            let quarter = oldest.len() / 4;
            if quarter > 0 {
                limit = oldest.select_nth_unstable_by_key(quarter, |(used, _)| *used).1.0;
                oldest.truncate(quarter);
            }
            let before = self.bytes;
            known.retain(|key, used| {
                let stays = *used > limit;
                if !stays {
                    self.bytes -= known_bytes(key);
                }
                stays
            });
            for (_, key) in &oldest {
                self.remove(key);
            }
            if self.bytes == before {
                break;
            }
        }
        // If most instances are in use, the next attempt waits until it may find more.
        self.sweep_at = self.bytes_max.max(self.bytes + self.bytes_max / 8);
    }

    fn remove(&mut self, key: &Key) {
        let Some(cached) = self.instances.remove(key) else { return };
        self.bytes -= cached.bytes;
        for claimed in &cached.claims {
            self.unclaim(claimed, key);
            self.forget(claimed);
        }
        self.forget(key);
    }

    fn forget(&mut self, key: &Key) {
        if let Some(known) = &mut self.known
            && known.remove(key).is_some()
        {
            self.bytes -= known_bytes(key);
        }
    }
}

/// The bytes of an instance without its claims and timers.
fn bytes(instance: &Instance) -> usize {
    let state = instance.state.as_ref().map_or(0, |state| state.data.len());
    INSTANCE_BYTES + 2 * instance.key.as_str().len() + state
}

fn claim_bytes(claimed: &Key) -> usize {
    ENTRY_BYTES + 2 * claimed.as_str().len()
}

fn known_bytes(key: &Key) -> usize {
    ENTRY_BYTES + key.as_str().len()
}

#[cfg(test)]
mod tests;
