//! Pure: the instances that are in memory. All of them, while they fit; else those
//! used last, and the store is asked about keys of which nothing is known here.
//!
//! What is in memory may be ahead of the store, so it wins over what is loaded.
//! That is only right if nothing leaves memory between a load's begin and its end:
//! whoever loads must not sweep meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::hash::HashMap;
use crate::model::{Instance, Key};

/// What an instance takes beside its state and its keys: maps, nodes, counters.
const INSTANCE_BYTES: usize = 400;
/// The same for an additional key, of a known key, and of a timer.
const ENTRY_BYTES: usize = 120;

pub(super) struct Residents {
    instances: HashMap<Key, Resident>,
    /// The claims of the instances that are here.
    claimers: HashMap<Key, BTreeSet<Key>>,
    /// Keys whose instances are all here, and when they were used last. None: all
    /// instances are here, so every key is known.
    known: Option<HashMap<Key, u64>>,
    bytes: usize,
    bytes_max: usize,
    /// Beyond it, a sweep is worth its while.
    sweep_at: usize,
    /// Counts uses.
    time: u64,
}

struct Resident {
    instance: Arc<Instance>,
    used: u64,
    /// Counts the commits: with this one, the store has it as it is here.
    commit: u64,
}

impl Residents {
    /// `complete`: all instances that are stored are about to be inserted.
    pub(super) fn new(bytes_max: usize, complete: bool) -> Self {
        Self {
            instances: HashMap::default(),
            claimers: HashMap::default(),
            known: (!complete).then(HashMap::default),
            bytes: 0,
            bytes_max,
            sweep_at: bytes_max,
            time: 0,
        }
    }

    pub(super) fn get(&mut self, key: &Key) -> Option<&Arc<Instance>> {
        self.time += 1;
        let resident = self.instances.get_mut(key)?;
        resident.used = self.time;
        Some(&resident.instance)
    }

    /// The instances that an event with this key reaches. The key must be known.
    pub(super) fn reached_by(&self, key: &Key) -> Vec<Key> {
        let mut instances = Vec::new();
        if self.instances.contains_key(key) {
            instances.push(key.clone());
        }
        instances.extend(self.claimers.get(key).into_iter().flatten().cloned());
        instances
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
    pub(super) fn insert_loaded(&mut self, instance: Arc<Instance>) {
        if !self.instances.contains_key(&instance.key) {
            self.write(instance, 0);
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

    /// The instance as it is now, and the commit that brings it to the store.
    pub(super) fn write(&mut self, instance: Arc<Instance>, commit: u64) {
        self.time += 1;
        let key = instance.key.clone();
        self.bytes += bytes(&instance);
        let resident = Resident { instance: Arc::clone(&instance), used: self.time, commit };
        let before = self.instances.insert(key.clone(), resident);
        if let Some(before) = before {
            self.bytes -= bytes(&before.instance);
            for released in before.instance.claims.difference(&instance.claims) {
                self.unclaim(released, &key);
            }
            for claimed in instance.claims.difference(&before.instance.claims) {
                self.claimers.entry(claimed.clone()).or_default().insert(key.clone());
            }
        } else {
            for claimed in &instance.claims {
                self.claimers.entry(claimed.clone()).or_default().insert(key.clone());
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
            let idle = |resident: &&Resident| {
                resident.commit <= durable && !is_used(&resident.instance.key)
            };
            let idle = self.instances.values().filter(idle);
            let idle = idle.map(|resident| (resident.used, resident.instance.key.clone()));
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
        let Some(resident) = self.instances.remove(key) else { return };
        self.bytes -= bytes(&resident.instance);
        for claimed in &resident.instance.claims {
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

fn bytes(instance: &Instance) -> usize {
    let claims = instance.claims.iter().map(|key| ENTRY_BYTES + 2 * key.as_str().len());
    let state = instance.state.as_ref().map_or(0, |state| state.data.len());
    INSTANCE_BYTES
        + 2 * instance.key.as_str().len()
        + state
        + claims.sum::<usize>()
        + instance.timers.len() * ENTRY_BYTES
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

    fn instance(key: &str, claims: &[&str], version: u64) -> Arc<Instance> {
        Arc::new(Instance {
            key: key.into(),
            status: InstanceStatus::Running,
            state: Some(State { version: 1, data: Bytes::from(vec![0; 100]) }),
            claims: claims.iter().map(|claim| Key::from(*claim)).collect(),
            timers: BTreeMap::new(),
            decided: Position(version),
            version,
            started_at: Timestamp(0),
            updated_at: Timestamp(0),
        })
    }

    #[test]
    fn what_is_here_wins_over_what_is_loaded() {
        let mut residents = Residents::new(1 << 20, false);
        residents.write(instance("a", &["new"], 2), 1);
        residents.insert_loaded(instance("a", &["old"], 1));
        residents.insert_known(&"old".into());
        assert_eq!(residents.get(&"a".into()).map(|a| a.version), Some(2));
        assert!(residents.reached_by(&"old".into()).is_empty());
        assert_eq!(residents.reached_by(&"new".into()), ["a".into()]);
    }

    #[test]
    fn those_in_use_or_not_yet_stored_stay() {
        let mut residents = Residents::new(0, true);
        for (key, commit) in [("used", 1), ("ahead", 3), ("idle", 2)] {
            residents.write(instance(key, &[], 1), commit);
        }
        assert!(residents.is_known(&"never seen".into()));
        residents.sweep(2, |key| key.as_str() == "used");
        assert!(residents.get(&"used".into()).is_some());
        assert!(residents.get(&"ahead".into()).is_some());
        assert!(residents.get(&"idle".into()).is_none());
        assert!(!residents.is_known(&"never seen".into()));
        assert!(!residents.is_known(&"idle".into()));
    }

    #[test]
    fn those_used_last_stay() {
        let mut residents = Residents::new(64 << 10, true);
        let key = |n: usize| Key::from(format!("k{n}").as_str());
        for n in 0..1_000 {
            residents.write(instance(key(n).as_str(), &[], 1), 1);
            residents.get(&key(0));
            if residents.is_full() {
                residents.sweep(1, |_| false);
            }
        }
        assert!(residents.bytes <= 64 << 10);
        assert!(residents.get(&key(0)).is_some());
        assert!(residents.get(&key(1)).is_none());
        assert!(residents.get(&key(999)).is_some());
    }

    /// What the store would hold, and what memory must answer alike for a known key.
    #[derive(Clone, Debug)]
    enum Step {
        Write { key: u8, claims: BTreeSet<u8> },
        Use(u8),
        Commit,
        Sweep(BTreeSet<u8>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let keys = || proptest::collection::btree_set(0..6_u8, 0..3);
        prop_oneof![
            (0..6_u8, keys()).prop_map(|(key, claims)| Step::Write { key, claims }),
            (0..6_u8).prop_map(Step::Use),
            Just(Step::Commit),
            keys().prop_map(Step::Sweep),
        ]
    }

    fn name(key: u8) -> Key {
        format!("k{key}").as_str().into()
    }

    proptest! {
        #[test]
        fn a_known_key_reaches_whom_it_would_if_all_were_here(
            steps in proptest::collection::vec(step(), 0..60),
            complete: bool,
        ) {
            let mut residents = Residents::new(0, complete);
            let mut truth: BTreeMap<Key, Arc<Instance>> = BTreeMap::new();
            let mut stored: BTreeMap<Key, Arc<Instance>> = BTreeMap::new();
            let (mut commit, mut version) = (1, 0);
            // Loads what the dispatcher would load before it routes.
            let load = |residents: &mut Residents, stored: &BTreeMap<Key, Arc<Instance>>, key: &Key| {
                if !residents.is_known(key) {
                    let found = stored.values().filter(|i| i.key == *key || i.claims.contains(key));
                    found.for_each(|instance| residents.insert_loaded(Arc::clone(instance)));
                    residents.insert_known(key);
                }
            };
            for step in steps {
                match step {
                    Step::Write { key, claims } => {
                        version += 1;
                        let key = name(key);
                        load(&mut residents, &stored, &key);
                        let claims = claims.into_iter().map(name).filter(|claim| *claim != key);
                        let mut written = Instance::clone(&instance(key.as_str(), &[], version));
                        written.claims = claims.collect();
                        let written = Arc::new(written);
                        residents.write(Arc::clone(&written), commit);
                        truth.insert(key, written);
                    }
                    Step::Use(key) => {
                        let key = name(key);
                        load(&mut residents, &stored, &key);
                        let reached: BTreeSet<Key> = residents.reached_by(&key).into_iter().collect();
                        let expected = truth.values().filter(|i| i.key == key || i.claims.contains(&key));
                        let expected: BTreeSet<Key> = expected.map(|i| i.key.clone()).collect();
                        prop_assert_eq!(&reached, &expected);
                        for instance in reached {
                            prop_assert_eq!(residents.get(&instance), truth.get(&instance));
                        }
                    }
                    Step::Commit => {
                        stored.clone_from(&truth);
                        commit += 1;
                    }
                    Step::Sweep(used) => {
                        let used: BTreeSet<Key> = used.into_iter().map(name).collect();
                        residents.sweep(commit - 1, |key| used.contains(key));
                    }
                }
                let of = |r: &Residents| r.instances.values().map(|r| bytes(&r.instance)).sum::<usize>();
                let known = residents.known.iter().flatten().map(|(key, _)| known_bytes(key));
                prop_assert_eq!(residents.bytes, of(&residents) + known.sum::<usize>());
            }
        }
    }
}
