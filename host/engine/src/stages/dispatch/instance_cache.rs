//! Pure: the instances that are in memory. All instances of the plugin, while they fit; otherwise
//! those that were used last, and the store is asked about keys of which nothing is known here.
//!
//! What is in memory may be ahead of the store, so it wins over what is loaded. That is right only
//! if nothing leaves memory between the start and the end of a load: a caller that loads must not
//! sweep meanwhile. For the same reason, an instance that was removed leaves a mark until no load
//! can bring it back.
//!
//! Claims and timers are changed in place, so one change costs the same however many an instance
//! has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::model::{Instance, Key, Timer, TimerName};
use crate::pure::hash::HashMap;
use crate::seams::store::StoredInstance;

/// What an instance takes beside its state and its keys: maps, nodes, counters.
const INSTANCE_BYTES: usize = 400;
/// The same for an additional key, of a known key, and of a timer.
const ENTRY_BYTES: usize = 120;

pub(super) struct InstanceCache {
    instances: HashMap<Key, CachedInstance>,
    /// The claims of the instances that are here.
    claimers: HashMap<Key, BTreeSet<Key>>,
    /// Keys whose instances are all here, and when they were used last. None: all
    /// instances are here, so every key is known.
    known: Option<HashMap<Key, u64>>,
    /// Keys of instances that were removed, with the commit of the removal, in its order.
    removed: VecDeque<(u64, Key)>,
    bytes: usize,
    bytes_max: usize,
    /// Beyond it, a sweep is worth its while.
    sweep_at: usize,
    /// Counts uses.
    time: u64,
}

#[derive(Default)]
struct CachedInstance {
    /// None: it was removed.
    instance: Option<Arc<Instance>>,
    claims: BTreeSet<Key>,
    timers: BTreeMap<TimerName, Timer>,
    bytes: usize,
    used: u64,
    /// Counts the commits: with this one, the store has it as it is here.
    commit: u64,
}

impl InstanceCache {
    /// `complete`: all instances that are stored are about to be inserted.
    pub(super) fn new(bytes_max: usize, complete: bool) -> Self {
        Self {
            instances: HashMap::default(),
            claimers: HashMap::default(),
            known: (!complete).then(HashMap::default),
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

    /// The additional keys of an instance that is here.
    pub(super) fn claims_of(&self, instance: &Key) -> Option<&BTreeSet<Key>> {
        self.instances.get(instance).map(|cached| &cached.claims)
    }

    pub(super) fn timer(&self, instance: &Key, name: &TimerName) -> Option<&Timer> {
        self.instances.get(instance)?.timers.get(name)
    }

    /// Whether all instances that an event with this key reaches are here.
    pub(super) fn is_known(&mut self, key: &Key) -> bool {
        self.time += 1;
        match &mut self.known {
            None => true,
            Some(known) => known.get_mut(key).map(|used| *used = self.time).is_some(),
        }
    }

    /// Takes an instance from the store, unless it is here already.
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

    /// All instances with this key, as their own or among their claims, are here now.
    pub(super) fn insert_known(&mut self, key: &Key) {
        self.time += 1;
        if let Some(known) = &mut self.known
            && known.insert(key.clone(), self.time).is_none()
        {
            self.bytes += known_bytes(key);
        }
    }

    /// The instance as it is now, and the commit that brings it to the store, with all that
    /// is changed of its claims and timers until then.
    pub(super) fn write(&mut self, instance: Arc<Instance>, commit: u64) {
        self.time += 1;
        let cached = match self.instances.get_mut(&instance.key) {
            Some(cached) => cached,
            None => self.instances.entry(instance.key.clone()).or_default(),
        };
        let before = cached.instance.as_ref().map_or(cached.bytes, |before| bytes(before));
        let now = bytes(&instance);
        cached.bytes = cached.bytes + now - before;
        self.bytes = self.bytes + now - before;
        (cached.used, cached.commit) = (self.time, commit);
        cached.instance = Some(instance);
    }

    /// False if the instance had the key already.
    pub(super) fn claim(&mut self, instance: &Key, claimed: Key) -> bool {
        let Some(cached) = self.instances.get_mut(instance) else { return false };
        if !cached.claims.insert(claimed.clone()) {
            return false;
        }
        cached.bytes += claim_bytes(&claimed);
        self.bytes += claim_bytes(&claimed);
        self.claimers.entry(claimed).or_default().insert(instance.clone());
        true
    }

    /// False if the instance did not have the key.
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

    /// False if it was not set.
    pub(super) fn clear_timer(&mut self, instance: &Key, name: &TimerName) -> bool {
        let Some(cached) = self.instances.get_mut(instance) else { return false };
        let was_set = cached.timers.remove(name).is_some();
        if was_set {
            cached.bytes -= ENTRY_BYTES;
            self.bytes -= ENTRY_BYTES;
        }
        was_set
    }

    /// What an instance has that is over: its claims and timers are no longer.
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

    /// Removes an instance that is over, here or not. False if the store does not have it as
    /// it is here, or if it is not over.
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

    /// Forgets instances that the store has removed. No load may be under way.
    pub(super) fn forget_removed(&mut self, durable: u64) {
        while let Some((_, key)) = self.removed.pop_front_if(|(commit, _)| *commit <= durable) {
            let is_mark = |cached: &CachedInstance| cached.instance.is_none();
            if self.instances.get(&key).is_some_and(is_mark)
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

    /// Lets go of those that were not used for the longest time, down to seven eighths
    /// of the limit. Those stay that the store does not have as they are here, and those
    /// that somebody is about to use.
    pub(super) fn sweep(&mut self, durable: u64, is_used: impl Fn(&Key) -> bool) {
        let target = self.bytes_max - self.bytes_max / 8;
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
        // If most are in use, the next attempt waits until it may find more.
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

/// Without its claims and timers.
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
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{InstanceStatus, Position, State, Timestamp};

    fn instance(key: &str, version: u64) -> Arc<Instance> {
        Arc::new(Instance {
            key: key.into(),
            status: InstanceStatus::Running,
            started: Position(1),
            state: Some(State { version: 1, data: Bytes::from(vec![0; 100]) }),
            decided: Position(version),
            place: Position(version),
            version,
            started_at: Timestamp(0),
            updated_at: Timestamp(0),
        })
    }

    fn over(key: &str, version: u64) -> Arc<Instance> {
        let status = InstanceStatus::Completed;
        Arc::new(Instance { status, ..Instance::clone(&instance(key, version)) })
    }

    fn loaded(instance: Arc<Instance>, claims: &[&str]) -> StoredInstance {
        let claims = claims.iter().map(|claim| Key::from(*claim)).collect();
        StoredInstance { instance, claims, timers: BTreeMap::new() }
    }

    #[test]
    fn what_is_here_wins_over_what_is_loaded() {
        let mut instance_cache = InstanceCache::new(1 << 20, false);
        instance_cache.write(instance("a", 2), 1);
        instance_cache.claim(&"a".into(), "new".into());
        instance_cache.insert_loaded(loaded(instance("a", 1), &["old"]));
        instance_cache.insert_known(&"old".into());
        assert_eq!(instance_cache.get(&"a".into()).map(|a| a.version), Some(2));
        assert!(instance_cache.reached_by(&"old".into()).is_empty());
        assert_eq!(instance_cache.reached_by(&"new".into()), ["a".into()]);
    }

    #[test]
    fn what_is_removed_does_not_come_back_by_a_load() {
        let key = Key::from("a");
        for complete in [true, false] {
            let mut instance_cache = InstanceCache::new(1 << 20, complete);
            instance_cache.write(over("a", 1), 1);
            assert!(!instance_cache.remove_finished(&key, 0, 2), "the store does not have it so");
            assert!(instance_cache.remove_finished(&key, 1, 2));
            instance_cache.forget_removed(1);
            instance_cache.insert_loaded(loaded(over("a", 1), &["i"]));
            assert_eq!(instance_cache.get(&key), None);
            assert!(instance_cache.reached_by(&key).is_empty());
            instance_cache.write(instance("a", 3), 3);
            assert!(!instance_cache.remove_finished(&key, 3, 4), "it runs");
            instance_cache.forget_removed(3);
            assert_eq!(instance_cache.reached_by(&key), std::slice::from_ref(&key));
        }
    }

    #[test]
    fn nothing_is_kept_of_what_is_removed() {
        let mut instance_cache = InstanceCache::new(1 << 20, true);
        for key in ["here", "elsewhere"] {
            if key == "here" {
                instance_cache.write(over(key, 1), 1);
            }
            assert!(instance_cache.remove_finished(&key.into(), 1, 2));
        }
        instance_cache.forget_removed(2);
        assert_eq!((instance_cache.bytes, instance_cache.instances.len()), (0, 0));
    }

    #[test]
    fn those_in_use_or_not_yet_stored_stay() {
        let mut instance_cache = InstanceCache::new(0, true);
        for (key, commit) in [("used", 1), ("ahead", 3), ("idle", 2)] {
            instance_cache.write(instance(key, 1), commit);
        }
        assert!(instance_cache.is_known(&"never seen".into()));
        instance_cache.sweep(2, |key| key.as_str() == "used");
        assert!(instance_cache.get(&"used".into()).is_some());
        assert!(instance_cache.get(&"ahead".into()).is_some());
        assert!(instance_cache.get(&"idle".into()).is_none());
        assert!(!instance_cache.is_known(&"never seen".into()));
        assert!(!instance_cache.is_known(&"idle".into()));
    }

    #[test]
    fn those_used_last_stay() {
        let mut instance_cache = InstanceCache::new(64 << 10, true);
        let key = |n: usize| Key::from(format!("k{n}").as_str());
        for n in 0..1_000 {
            instance_cache.write(instance(key(n).as_str(), 1), 1);
            instance_cache.get(&key(0));
            if instance_cache.is_full() {
                instance_cache.sweep(1, |_| false);
            }
        }
        assert!(instance_cache.bytes <= 64 << 10);
        assert!(instance_cache.get(&key(0)).is_some());
        assert!(instance_cache.get(&key(1)).is_none());
        assert!(instance_cache.get(&key(999)).is_some());
    }

    /// What the store would hold, and what memory must answer alike for a known key.
    #[derive(Clone, Debug)]
    enum Step {
        Write {
            key: u8,
            claims: BTreeSet<u8>,
        },
        /// It is over: nothing claims any more.
        Finish(u8),
        Use(u8),
        Commit,
        Remove(u8),
        Forget,
        Sweep(BTreeSet<u8>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let keys = || proptest::collection::btree_set(0..6_u8, 0..3);
        prop_oneof![
            2 => (0..6_u8, keys()).prop_map(|(key, claims)| Step::Write { key, claims }),
            1 => (0..6_u8).prop_map(Step::Finish),
            2 => (0..6_u8).prop_map(Step::Use),
            1 => Just(Step::Commit),
            1 => (0..6_u8).prop_map(Step::Remove),
            1 => Just(Step::Forget),
            1 => keys().prop_map(Step::Sweep),
        ]
    }

    fn name(key: u8) -> Key {
        format!("k{key}").as_str().into()
    }

    /// Whole instances, as the store has them or will have them.
    type Instances = BTreeMap<Key, StoredInstance>;

    /// Loads what the dispatcher would load before it routes.
    fn load(instance_cache: &mut InstanceCache, stored: &Instances, key: &Key) {
        if !instance_cache.is_known(key) {
            let has = |i: &&StoredInstance| i.instance.key == *key || i.claims.contains(key);
            stored.values().filter(has).for_each(|i| instance_cache.insert_loaded(i.clone()));
            instance_cache.insert_known(key);
        }
    }

    fn write(
        instance_cache: &mut InstanceCache,
        truth: &mut Instances,
        written: StoredInstance,
        commit: u64,
    ) {
        let key = written.instance.key.clone();
        instance_cache.write(Arc::clone(&written.instance), commit);
        let before = instance_cache.claims_of(&key).cloned().unwrap_or_default();
        for released in before.difference(&written.claims) {
            instance_cache.release(&key, released);
        }
        for claimed in written.claims.difference(&before) {
            instance_cache.claim(&key, claimed.clone());
        }
        truth.insert(key, written);
    }

    proptest! {
        #[test]
        fn a_known_key_reaches_whom_it_would_if_all_were_here(
            steps in proptest::collection::vec(step(), 0..60),
            complete: bool,
        ) {
            let mut instance_cache = InstanceCache::new(0, complete);
            let (mut truth, mut stored) = (Instances::new(), Instances::new());
            let (mut commit, mut version) = (1, 0);
            for step in steps {
                match step {
                    Step::Write { key, claims } => {
                        version += 1;
                        let key = name(key);
                        load(&mut instance_cache, &stored, &key);
                        // What is over stays over, until it is removed.
                        if truth.get(&key).is_none_or(|i| i.instance.status.is_running()) {
                            let claims = claims.into_iter().map(name).filter(|claim| *claim != key);
                            let instance = instance(key.as_str(), version);
                            let claims = claims.collect();
                            let written = StoredInstance { instance, claims, timers: BTreeMap::new() };
                            write(&mut instance_cache, &mut truth, written, commit);
                        }
                    }
                    Step::Finish(key) => {
                        version += 1;
                        let key = name(key);
                        load(&mut instance_cache, &stored, &key);
                        let written = loaded(over(key.as_str(), version), &[]);
                        write(&mut instance_cache, &mut truth, written, commit);
                    }
                    Step::Use(key) => {
                        let key = name(key);
                        load(&mut instance_cache, &stored, &key);
                        let reached: BTreeSet<Key> = instance_cache.reached_by(&key).into_iter().collect();
                        let has = |i: &&StoredInstance| i.instance.key == key || i.claims.contains(&key);
                        let expected: BTreeSet<Key> =
                            truth.values().filter(has).map(|i| i.instance.key.clone()).collect();
                        prop_assert_eq!(&reached, &expected);
                        for instance in reached {
                            let expected = truth.get(&instance).map(|i| &i.instance);
                            prop_assert_eq!(instance_cache.get(&instance), expected);
                        }
                    }
                    Step::Commit => {
                        stored.clone_from(&truth);
                        commit += 1;
                    }
                    Step::Remove(key) => {
                        let key = name(key);
                        // Housekeeping found it in the store.
                        if stored.get(&key).is_some_and(|i| !i.instance.status.is_running())
                            && instance_cache.remove_finished(&key, commit - 1, commit)
                        {
                            truth.remove(&key);
                        }
                    }
                    Step::Forget => instance_cache.forget_removed(commit - 1),
                    Step::Sweep(used) => {
                        let used: BTreeSet<Key> = used.into_iter().map(name).collect();
                        instance_cache.sweep(commit - 1, |key| used.contains(key));
                    }
                }
                let of = instance_cache.instances.values().map(|cached| {
                    let claims = cached.claims.iter().map(claim_bytes).sum::<usize>();
                    cached.instance.as_ref().map_or(cached.bytes, |i| bytes(i) + claims)
                });
                let known = instance_cache.known.iter().flatten().map(|(key, _)| known_bytes(key));
                prop_assert_eq!(instance_cache.bytes, of.sum::<usize>() + known.sum::<usize>());
            }
        }
    }
}
