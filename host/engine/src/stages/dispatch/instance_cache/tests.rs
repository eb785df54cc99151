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
        trace: None,
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
fn the_mark_of_the_last_removal_outlasts_that_of_the_one_before() {
    let key = Key::from("a");
    let mut instance_cache = InstanceCache::new(0, false);
    instance_cache.write(over("a", 1), 1);
    assert!(instance_cache.remove_finished(&key, 1, 2));
    instance_cache.write(over("a", 2), 2);
    assert!(instance_cache.remove_finished(&key, 2, 3));
    instance_cache.forget_removed(2);
    // The store has the second instance until commit 3 removes it.
    instance_cache.insert_loaded(loaded(over("a", 2), &[]));
    assert!(instance_cache.reached_by(&key).is_empty());
    instance_cache.forget_removed(3);
    assert_eq!(instance_cache.instances.len(), 0);
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
    assert!(!instance_cache.is_known(&"idle".into()));
}

#[test]
fn the_store_is_not_asked_about_a_key_that_no_instance_ever_had() {
    let fresh = Key::from("never seen");
    let mut after_sweep = InstanceCache::new(0, true);
    after_sweep.write(instance("a", 1), 1);
    after_sweep.claim(&"a".into(), "i".into());
    after_sweep.sweep(1, |_| false);
    assert!(after_sweep.is_known(&fresh));
    assert!(!after_sweep.is_known(&"a".into()) && !after_sweep.is_known(&"i".into()));

    let mut after_start = InstanceCache::new(1 << 20, false);
    assert!(after_start.insert_stored_keys(&["a".into(), "i".into()]));
    assert!(!after_start.is_known(&fresh), "not all keys are inserted");
    after_start.complete_stored_keys();
    assert!(after_start.is_known(&fresh));
    assert!(!after_start.is_known(&"a".into()) && !after_start.is_known(&"i".into()));
    after_start.write(instance(fresh.as_str(), 1), 1);
    assert!(after_start.is_known(&fresh), "the instance that its event started is here");
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

/// What the store would have, and what memory must answer in the same way for a known key.
#[derive(Clone, Debug)]
enum Step {
    Write {
        key: u8,
        claims: BTreeSet<u8>,
    },
    /// The instance is finished: it has no claims any more.
    Finish(u8),
    Use(u8),
    Commit,
    Remove(u8),
    Forget,
    Sweep(BTreeSet<u8>),
    /// The next keys of the store are read, this many.
    Scan(usize),
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
        2 => (1..4_usize).prop_map(Step::Scan),
    ]
}

fn name(key: u8) -> Key {
    format!("k{key}").as_str().into()
}

/// Whole instances, as the store has them or will have them.
type Instances = BTreeMap<Key, StoredInstance>;

/// The cache, the store behind it, and what memory and store together must say.
struct Compared {
    instance_cache: InstanceCache,
    /// What is committed.
    stored: Instances,
    /// What is written, committed or not.
    truth: Instances,
    /// How far the scan of the store's keys is, and whether it is over.
    scanned: Option<Key>,
    is_scanned: bool,
    commit: u64,
    version: u64,
}

impl Compared {
    fn new(at_start: BTreeMap<u8, BTreeSet<u8>>, complete: bool) -> Self {
        let mut instance_cache = InstanceCache::new(0, complete);
        let instances = at_start.into_iter().map(|(key, claims)| {
            let claims = claims.into_iter().map(name).collect();
            let instance = instance(name(key).as_str(), 0);
            (name(key), StoredInstance { instance, claims, timers: BTreeMap::new() })
        });
        let stored: Instances = instances.collect();
        if complete {
            stored.values().for_each(|i| instance_cache.insert_loaded(i.clone()));
        }
        let (truth, is_scanned) = (stored.clone(), complete);
        let (scanned, commit, version) = (None, 1, 0);
        Self { instance_cache, stored, truth, scanned, is_scanned, commit, version }
    }

    fn apply(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Write { key, claims } => self.start_or_write(&name(key), claims),
            Step::Finish(key) => {
                let key = name(key);
                self.load(&key);
                self.version += 1;
                self.write(loaded(over(key.as_str(), self.version), &[]));
            }
            Step::Use(key) => return self.check_reached(&name(key)),
            Step::Commit => {
                self.stored.clone_from(&self.truth);
                self.commit += 1;
            }
            Step::Remove(key) => self.remove_as_housekeeping(&name(key)),
            Step::Forget => self.instance_cache.forget_removed(self.commit - 1),
            Step::Scan(limit) => self.scan(limit),
            Step::Sweep(used) => {
                let used: BTreeSet<Key> = used.into_iter().map(name).collect();
                self.instance_cache.sweep(self.commit - 1, |key| used.contains(key));
            }
        }
        Ok(())
    }

    /// Loads what the dispatcher would load before it routes.
    fn load(&mut self, key: &Key) {
        if !self.instance_cache.is_known(key) {
            let has = |i: &&StoredInstance| i.instance.key == *key || i.claims.contains(key);
            let loaded = self.stored.values().filter(has);
            loaded.for_each(|i| self.instance_cache.insert_loaded(i.clone()));
            self.instance_cache.insert_known(key);
        }
    }

    fn start_or_write(&mut self, key: &Key, claims: BTreeSet<u8>) {
        self.load(key);
        self.version += 1;
        // A finished instance stays finished until it is removed.
        if self.truth.get(key).is_none_or(|i| i.instance.status.is_running()) {
            let claims = claims.into_iter().map(name).filter(|claim| claim != key).collect();
            let instance = instance(key.as_str(), self.version);
            self.write(StoredInstance { instance, claims, timers: BTreeMap::new() });
        }
    }

    fn write(&mut self, written: StoredInstance) {
        let key = written.instance.key.clone();
        self.instance_cache.write(Arc::clone(&written.instance), self.commit);
        let before = self.instance_cache.claims_of(&key).cloned().unwrap_or_default();
        for released in before.difference(&written.claims) {
            self.instance_cache.release(&key, released);
        }
        for claimed in written.claims.difference(&before) {
            self.instance_cache.claim(&key, claimed.clone());
        }
        self.truth.insert(key, written);
    }

    /// An event of this key reaches the instances that it would if all were in memory.
    fn check_reached(&mut self, key: &Key) -> Result<(), TestCaseError> {
        self.load(key);
        let reached: BTreeSet<Key> = self.instance_cache.reached_by(key).into_iter().collect();
        let has = |i: &&StoredInstance| i.instance.key == *key || i.claims.contains(key);
        let expected: BTreeSet<Key> =
            self.truth.values().filter(has).map(|i| i.instance.key.clone()).collect();
        prop_assert_eq!(&reached, &expected);
        for instance in reached {
            let expected = self.truth.get(&instance).map(|i| &i.instance);
            prop_assert_eq!(self.instance_cache.get(&instance), expected);
        }
        Ok(())
    }

    /// Housekeeping finds an instance that is over in the store, and removes it.
    fn remove_as_housekeeping(&mut self, key: &Key) {
        if self.stored.get(key).is_some_and(|i| !i.instance.status.is_running())
            && self.instance_cache.remove_finished(key, self.commit - 1, self.commit)
        {
            self.truth.remove(key);
        }
    }

    /// Reads the next page of the store's keys, as the dispatcher does.
    fn scan(&mut self, limit: usize) {
        if self.is_scanned {
            return;
        }
        let after = self.scanned.take();
        let keys = self.stored.values().flat_map(|i| i.claims.iter().chain([&i.instance.key]));
        let later: BTreeSet<&Key> =
            keys.filter(|key| after.as_ref().is_none_or(|a| *key > a)).collect();
        let page: Vec<Key> = later.into_iter().take(limit).cloned().collect();
        self.instance_cache.insert_stored_keys(&page);
        match page.last() {
            Some(last) if page.len() == limit => self.scanned = Some(last.clone()),
            _ => {
                self.is_scanned = true;
                self.instance_cache.complete_stored_keys();
            }
        }
    }

    fn check_bytes(&self) -> Result<(), TestCaseError> {
        let of = self.instance_cache.instances.values().map(|cached| {
            let claims = cached.claims.iter().map(claim_bytes).sum::<usize>();
            cached.instance.as_ref().map_or(cached.bytes, |i| bytes(i) + claims)
        });
        let known = self.instance_cache.known.iter().flatten().map(|(key, _)| known_bytes(key));
        prop_assert_eq!(self.instance_cache.bytes, of.sum::<usize>() + known.sum::<usize>());
        Ok(())
    }
}

proptest! {
    #![proptest_config(crate::properties::many_cases())]

    #[test]
    fn a_known_key_reaches_whom_it_would_if_all_were_here(
        at_start in proptest::collection::btree_map(
            0..6_u8,
            proptest::collection::btree_set(6..9_u8, 0..2),
            0..5,
        ),
        steps in proptest::collection::vec(step(), 0..60),
        complete: bool,
    ) {
        let mut compared = Compared::new(at_start, complete);
        for step in steps {
            compared.apply(step)?;
            compared.check_bytes()?;
        }
    }
}
