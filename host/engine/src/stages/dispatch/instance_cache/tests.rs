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

/// A scan of the store's keys, as the dispatcher does one.
struct Scan {
    after: Option<Key>,
    is_over: bool,
}

/// Reads the next page of keys.
fn scan(instance_cache: &mut InstanceCache, stored: &Instances, scan: &mut Scan, limit: usize) {
    if scan.is_over {
        return;
    }
    let after = scan.after.take();
    let keys = stored.values().flat_map(|i| i.claims.iter().chain([&i.instance.key]));
    let later: BTreeSet<&Key> =
        keys.filter(|key| after.as_ref().is_none_or(|a| *key > a)).collect();
    let page: Vec<Key> = later.into_iter().take(limit).cloned().collect();
    instance_cache.insert_stored_keys(&page);
    match page.last() {
        Some(last) if page.len() == limit => scan.after = Some(last.clone()),
        _ => {
            scan.is_over = true;
            instance_cache.complete_stored_keys();
        }
    }
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
        at_start in proptest::collection::btree_map(
            0..6_u8,
            proptest::collection::btree_set(6..9_u8, 0..2),
            0..5,
        ),
        steps in proptest::collection::vec(step(), 0..60),
        complete: bool,
    ) {
        let mut instance_cache = InstanceCache::new(0, complete);
        let instances = at_start.into_iter().map(|(key, claims)| {
            let claims = claims.into_iter().map(name).collect();
            let instance = instance(name(key).as_str(), 0);
            (name(key), StoredInstance { instance, claims, timers: BTreeMap::new() })
        });
        let mut stored: Instances = instances.collect();
        if complete {
            stored.values().for_each(|i| instance_cache.insert_loaded(i.clone()));
        }
        let mut truth = stored.clone();
        let mut keys = Scan { after: None, is_over: complete };
        let (mut commit, mut version) = (1, 0);
        for step in steps {
            match step {
                Step::Write { key, claims } => {
                    version += 1;
                    let key = name(key);
                    load(&mut instance_cache, &stored, &key);
                    // A finished instance stays finished until it is removed.
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
                Step::Scan(limit) => scan(&mut instance_cache, &stored, &mut keys, limit),
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
