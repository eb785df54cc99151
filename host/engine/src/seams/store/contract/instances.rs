//! Instances, the events held for them, and their timers.

use std::sync::Arc;

use super::samples::{
    append, appends, claim, decision, entry, held, instance, lane, loaded, message, parked, plugin,
    sink, timer,
};
use super::{ALL, EVERYTHING, Stores, Subject};
use crate::model::{DecisionRecord, Held, Key, PluginName, Position, Sequence, Timestamp};
use crate::seams::store::{Append, Batch, Page, TimerRow};

pub(super) async fn instances_are_found_by_every_key(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "instances").await;
    let rows = [instance("o-1", 1), instance("o-2", 1)];
    let other = (PluginName::from("others"), instance("i-1", 1));
    let [first, second] = rows.clone().map(|row| (plugin(), row));
    let batch = Batch {
        instances: vec![second, first, other],
        claims: vec![
            claim("i-1", "o-1", true),
            claim("i-2", "o-1", true),
            claim("i-2", "o-2", true),
            claim("i-3", "o-1", true),
        ],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let release = Batch { claims: vec![claim("i-3", "o-1", false)], ..Batch::default() };
    subject.commit(release).await;
    let (one, two) = (loaded(&rows[0], &["i-1", "i-2"]), loaded(&rows[1], &["i-2"]));
    for (keys, expected) in [
        (vec!["o-1"], vec![&one]),
        (vec!["i-1"], vec![&one]),
        (vec!["i-2"], vec![&one, &two]),
        (vec!["o-2", "i-1", "i-2", "o-1", "i-1"], vec![&one, &two]),
        (vec!["i-3", "unknown"], vec![]),
        (vec![], vec![]),
    ] {
        let named: Vec<Key> = keys.iter().map(|key| Key::from(*key)).collect();
        let found = insist!(subject.store().load(&plugin(), &named));
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{keys:?}");
    }
    let changed = instance("o-1", 2);
    let batch = Batch {
        instances: vec![(plugin(), Arc::clone(&changed))],
        claims: vec![claim("i-1", "o-1", false)],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let found = insist!(subject.store().load(&plugin(), &["o-1".into()]));
    assert_eq!(found, [loaded(&changed, &["i-2"])], "written over, but for its claims");
}

pub(super) async fn an_instance_has_the_timers_that_it_has_not_decided(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "timers-of").await;
    let batch = Batch {
        instances: vec![(plugin(), instance("o-1", 1)), (plugin(), instance("o-2", 1))],
        timers_set: ["a", "b", "c"].map(|name| timer("o-1", name, 9)).to_vec(),
        ..Batch::default()
    };
    subject.commit(batch).await;
    let fires = |place, row: TimerRow| Append { fires: Some(row.timer), ..append(place, place) };
    // One fires as an event, the other as a dead letter; one that was replaced does not.
    let batch = Batch {
        appends: vec![fires(1, timer("o-1", "a", 9))],
        timers_fired: vec![timer("o-1", "b", 9).timer, timer("o-1", "c", 8).timer],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let mut names = Vec::new();
    // A timer is loaded whether it has fired or not, until it is set anew or cleared.
    let again = timer("o-1", "b", 99);
    let steps = [
        Batch::default(),
        Batch { timers_set: vec![again.clone()], ..Batch::default() },
        Batch { timers_cleared: vec![(plugin(), "o-1".into(), "a".into())], ..Batch::default() },
    ];
    for batch in steps {
        subject.commit(batch).await;
        for loaded in [
            insist!(subject.store().load(&plugin(), &["o-1".into(), "o-2".into()])),
            insist!(subject.store().load_all(&plugin(), ALL)).expect("they are few").instances,
        ] {
            let found = loaded.into_iter().map(|loaded| {
                let timers = loaded.timers.into_iter();
                timers.map(|(name, timer)| (name.to_string(), timer.due.0)).collect::<Vec<_>>()
            });
            names.push(found.collect::<Vec<_>>());
        }
    }
    let named = |timers: &[(&str, u64)]| {
        timers.iter().map(|(name, due)| ((*name).to_owned(), *due)).collect::<Vec<_>>()
    };
    let expected = [
        named(&[("a", 9), ("b", 9), ("c", 9)]),
        named(&[("a", 9), ("b", 99), ("c", 9)]),
        named(&[("b", 99), ("c", 9)]),
    ];
    let expected =
        expected.into_iter().flat_map(|timers| [[timers.clone(), vec![]], [timers, vec![]]]);
    assert_eq!(names, expected.map(Vec::from).collect::<Vec<_>>());
    let left = insist!(subject.store().read_timers(None, EVERYTHING));
    assert_eq!(left, [timer("o-1", "c", 9), again]);
}

/// Keys come from senders, and may have any character.
pub(super) async fn keys_are_compared_whole(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "whole-keys").await;
    let keys = ["n", "n\0", "n\0o", "\0", "\u{1}\u{7f}\u{2028}", "\"'\\", "%_", " n", "N"];
    let claim_of = |key: &str| format!("claim {key}");
    let batch = Batch {
        instances: keys.iter().map(|key| (plugin(), instance(key, 1))).collect(),
        claims: keys.iter().map(|key| claim(&claim_of(key), key, true)).collect(),
        held: (1..).zip(keys).map(|(place, key)| held(place, key, 50)).collect(),
        parked: (1..).zip(keys).map(|(place, key)| parked(place, key)).collect(),
        messages: (1..).zip(keys).map(|(sequence, key)| message(sequence, key, 1)).collect(),
        parked_messages: (1..).zip(keys).map(|(place, key)| (lane(key), Sequence(place))).collect(),
        ..appends(1..=9)
    };
    subject.commit(batch).await;
    let held_rows = insist!(subject.store().read_expired_holds(&plugin(), Timestamp(99), ALL));
    assert_eq!(held_rows, (1..).zip(keys).map(|(n, key)| held(n, key, 50)).collect::<Vec<_>>());
    for (place, key) in (1..).zip(keys) {
        let store = subject.store();
        let row = loaded(&instance(key, 1), &[&claim_of(key)]);
        assert_eq!(insist!(store.load(&plugin(), &[key.into()])), std::slice::from_ref(&row));
        assert_eq!(insist!(store.load(&plugin(), &[claim_of(key).into()])), [row], "by its claim");
        let read = insist!(store.read_parked(&plugin(), &key.into(), Position(0), EVERYTHING));
        assert_eq!(read, [entry(place)]);
        let read = insist!(store.read_messages(&sink(), &[Sequence(place)], usize::MAX));
        assert_eq!(read, [message(place, key, 1)]);
    }
    let timers_set = keys.iter().map(|key| timer(key, "t", 5)).collect();
    subject.commit(Batch { timers_set, ..Batch::default() }).await;
    let removed = keys[1..].iter().map(|key| (plugin(), Key::from(*key))).collect();
    subject.commit(Batch { instances_removed: removed, ..Batch::default() }).await;
    assert_eq!(insist!(subject.store().read_timers(None, EVERYTHING)), [timer("n", "t", 5)]);
    // The claims were removed too. Otherwise they would belong to the next instance of the key.
    let again = keys[1..].iter().map(|key| (plugin(), instance(key, 2))).collect();
    subject.commit(Batch { instances: again, ..Batch::default() }).await;
    let claims: Vec<Key> = keys.iter().map(|key| claim_of(key).into()).collect();
    let found = insist!(subject.store().load(&plugin(), &claims));
    assert_eq!(
        found.iter().map(|found| &found.instance.key).collect::<Vec<_>>(),
        [&Key::from("n")]
    );
}

pub(super) async fn all_instances_are_loaded_or_none(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "load-all").await;
    let batch = Batch {
        instances: vec![(plugin(), instance("b", 1)), (plugin(), instance("a", 1))],
        claims: vec![claim("k", "a", true)],
        held: vec![held(1, "k", 5)],
        ..appends([1])
    };
    subject.commit(batch).await;
    let all = insist!(subject.store().load_all(&plugin(), 3)).expect("three are not too many");
    let rows = [instance("a", 1), instance("b", 1)];
    let instances = vec![loaded(&rows[0], &["k"]), loaded(&rows[1], &[])];
    assert_eq!((all.instances, all.held), (instances, vec![held(1, "k", 5)]));
    assert_eq!(insist!(subject.store().load_all(&plugin(), 2)), None);
}

pub(super) async fn keys_of_instances_are_listed_once_and_in_order(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "read-keys").await;
    let other = PluginName::from("others");
    let batch = Batch {
        instances: vec![
            (plugin(), instance("b", 1)),
            (plugin(), instance("a", 1)),
            (other, instance("c", 1)),
        ],
        claims: vec![claim("b", "a", true), claim("\u{fffd}", "a", true), claim("z", "b", true)],
        ..appends([1])
    };
    subject.commit(batch).await;
    let keys = |keys: &[&str]| keys.iter().map(|key| Key::from(*key)).collect::<Vec<_>>();
    let store = subject.store();
    assert_eq!(insist!(store.read_keys(&plugin(), None, ALL)), keys(&["a", "b", "z", "\u{fffd}"]));
    assert_eq!(insist!(store.read_keys(&plugin(), None, 3)), keys(&["a", "b", "z"]));
    let after = Key::from("b");
    assert_eq!(insist!(store.read_keys(&plugin(), Some(&after), 1)), keys(&["z"]));
    let gone = Batch {
        instances_removed: vec![(plugin(), "b".into())],
        claims: vec![claim("b", "a", false)],
        ..Batch::default()
    };
    subject.commit(gone).await;
    assert_eq!(insist!(subject.store().read_keys(&plugin(), None, ALL)), keys(&["a", "\u{fffd}"]));
}

/// The order is that of the decisions, not of the positions: a held event is decided after later
/// ones.
pub(super) async fn decisions_are_followed_back(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "decided").await;
    let decision = |place, key, previous: Option<u64>| DecisionRecord {
        previous: previous.map(Position),
        ..decision(place, key)
    };
    let batch = Batch {
        decisions: vec![
            decision(1, "a", None),
            decision(2, "a", Some(3)),
            decision(3, "a", Some(1)),
            decision(3, "b", None),
            decision(4, "b", Some(3)),
            // Its event was removed from the log.
            decision(9, "a", Some(2)),
        ],
        ..appends(1..=4)
    };
    subject.commit(batch).await;
    subject.restart().await;
    for (key, from, limit, expected) in [
        ("a", 9, ALL, vec![9, 2, 3, 1]),
        ("a", 2, 2, vec![2, 3]),
        ("b", 4, ALL, vec![4, 3]),
        ("b", 9, ALL, vec![]),
    ] {
        let (store, key) = (subject.store(), Key::from(key));
        let found = insist!(store.read_decided(&plugin(), &key, Position(from), limit));
        let places: Vec<u64> = found.iter().map(|event| event.position.0).collect();
        assert_eq!(places, expected, "{key} from {from}");
        for event in found {
            let position = event.position;
            assert_eq!(event.decided_at, Timestamp(position.0));
            let deciders = match position.0 {
                3 => vec!["a", "b"],
                4 => vec!["b"],
                _ => vec!["a"],
            };
            assert_eq!(event.deciders, deciders.into_iter().map(Key::from).collect::<Vec<_>>());
            assert_eq!(event.entry, (position.0 <= 4).then(|| entry(position.0)));
        }
    }
}

pub(super) async fn held_events_come_in_order_each_once(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "held").await;
    let rows = vec![held(2, "b", 30), held(1, "b", 20), held(1, "a", 20), held(3, "c", 10)];
    subject.commit(Batch { held: rows, ..appends(1..=3) }).await;
    let loaded = insist!(subject.store().load_all(&plugin(), ALL)).expect("they are few");
    assert_eq!(
        loaded.held,
        [held(1, "a", 20), held(1, "b", 20), held(2, "b", 30), held(3, "c", 10)]
    );
    let expired = insist!(subject.store().read_expired_holds(&plugin(), Timestamp(20), 2));
    assert_eq!(expired, [held(3, "c", 10), held(1, "a", 20)]);
    let due = Some(vec!["y".into()]);
    let changed = Held { reached: vec!["x".into()], due, ..held(3, "c", 40) };
    let batch = Batch {
        held: vec![changed.clone()],
        held_removed: vec![
            (plugin(), "a".into(), Position(1)),
            (plugin(), "z".into(), Position(9)),
        ],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let expired = insist!(subject.store().read_expired_holds(&plugin(), Timestamp(99), ALL));
    assert_eq!(expired, [held(1, "b", 20), held(2, "b", 30), changed]);
}

pub(super) async fn a_fired_timer_goes_if_it_is_still_the_one(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "fired").await;
    let set = vec![timer("o-1", "soon", 9), timer("o-1", "later", 99)];
    subject.commit(Batch { timers_set: set, ..Batch::default() }).await;
    let fires = |place, row: TimerRow| Append { fires: Some(row.timer), ..append(place, place) };
    let batch = Batch {
        // The second timer was replaced meanwhile.
        appends: vec![fires(1, timer("o-1", "soon", 9)), fires(2, timer("o-1", "later", 98))],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let left = insist!(subject.store().read_timers(None, EVERYTHING));
    assert_eq!(left, [timer("o-1", "later", 99)]);
    // A decision in the same commit sets it anew.
    let batch = Batch {
        appends: vec![fires(3, timer("o-1", "later", 99))],
        timers_set: vec![timer("o-1", "later", 500)],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let left = insist!(subject.store().read_timers(None, EVERYTHING));
    assert_eq!(left, [timer("o-1", "later", 500)]);
}

pub(super) async fn timers_come_by_their_time(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "timers").await;
    let set = vec![timer("b", "y", 5), timer("b", "x", 5), timer("a", "z", 5), timer("c", "w", 4)];
    subject.commit(Batch { timers_set: set, ..Batch::default() }).await;
    let read = insist!(subject.store().read_timers(None, Page { rows: 3, ..EVERYTHING }));
    assert_eq!(read, [timer("c", "w", 4), timer("a", "z", 5), timer("b", "x", 5)]);
    // Page by page, each timer comes once, whatever ends a page, also among timers of one time.
    let all = [timer("c", "w", 4), timer("a", "z", 5), timer("b", "x", 5), timer("b", "y", 5)];
    let bytes = all[0].data.len();
    for (rows, bytes) in [(1, ALL), (2, ALL), (3, ALL), (ALL, 0), (ALL, bytes), (ALL, 2 * bytes)] {
        let mut read: Vec<TimerRow> = Vec::new();
        loop {
            let after = read.last().map(|row| row.timer.place());
            let page = insist!(subject.store().read_timers(after.as_ref(), Page { rows, bytes }));
            assert!(page.len() <= rows.min((bytes / 2).max(1)), "{rows} of {bytes}");
            if page.is_empty() {
                break;
            }
            read.extend(page);
        }
        assert_eq!(read, all, "pages of {rows}, {bytes} bytes");
    }
    let cleared = vec![(plugin(), "c".into(), "w".into()), (plugin(), "c".into(), "none".into())];
    subject.commit(Batch { timers_cleared: cleared, ..Batch::default() }).await;
    assert_eq!(insist!(subject.store().read_timers(None, EVERYTHING)), all[1..]);
}
