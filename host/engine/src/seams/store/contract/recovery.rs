//! What a new process recovers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::samples::{
    appends, claim, dead_letter, decision, entry, held, instance, lane, limit, loaded, message,
    parked, pause, plugin, plugin_progress, sink, sink_progress, timer, undelivered, wait,
};
use super::{ALL, EVERYTHING, MARKER, Stores, Subject};
use crate::model::{
    DeadLetter, DeadLetterId, DeadLetterStatus, Key, Position, Sequence, Span, Timer, TimerName,
    Wait,
};
use crate::seams::store::{Batch, Recovered, StoredInstance};

pub(super) async fn what_is_committed_is_there_after_a_restart(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "restart").await;
    let row = instance("o-1", 1);
    let batch = Batch {
        instances: vec![(plugin(), Arc::clone(&row))],
        claims: vec![claim("i-1", "o-1", true)],
        timers_set: vec![timer("o-1", "t", 9)],
        decisions: vec![decision(1, "o-1")],
        messages: vec![message(1, "o-1", 1)],
        held: vec![held(2, "i-2", 50)],
        parked: vec![parked(3, "o-3")],
        parked_messages: vec![(lane("o-1"), Sequence(1))],
        dead_letters: vec![Arc::new(dead_letter(1, Some("o-3"), 3))],
        plugins: vec![plugin_progress("orders", 3)],
        ..appends(1..=5)
    };
    subject.commit(batch).await;
    for _ in 0..2 {
        subject.restart().await;
        let store = subject.store();
        let log = insist!(store.read_log(Position(0), EVERYTHING));
        assert_eq!(log, (1..=5).map(entry).collect::<Vec<_>>());
        let found = insist!(store.load(&plugin(), &["i-1".into(), "i-2".into()]));
        let timer_of = (TimerName::from("t"), timer("o-1", "t", 9).timer);
        let timer_of = (timer_of.0, Timer { due: timer_of.1.due, set_by: timer_of.1.set_by });
        let timers = BTreeMap::from([timer_of]);
        assert_eq!(found, [StoredInstance { timers, ..loaded(&row, &["i-1"]) }]);
        let all = insist!(store.load_all(&plugin(), ALL)).expect("they are few");
        assert_eq!((all.instances, all.held), (found, vec![held(2, "i-2", 50)]));
        let outbox = insist!(store.read_outbox(&sink(), Sequence(0), EVERYTHING));
        assert_eq!(outbox, [message(1, "o-1", 1)]);
        assert_eq!(insist!(store.read_timers(None, EVERYTHING)), [timer("o-1", "t", 9)]);
        let dead_letter_read = insist!(store.read_dead_letter(DeadLetterId(1)));
        assert_eq!(dead_letter_read, Some(dead_letter(1, Some("o-3"), 3)));
    }
}

pub(super) async fn recovery_returns_the_highest_places(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "recovery").await;
    let recovered = insist!(subject.store().recover());
    assert_eq!((recovered.position, recovered.dead_letter), (Position(0), DeadLetterId(0)));
    assert_eq!((recovered.plugins, recovered.sinks), (Vec::new(), Vec::new()));

    let mut ahead = plugin_progress("orders", 2);
    ahead.cursor.ahead = vec![Span { first: 4, last: 9 }];
    ahead.counters.received = 5;
    let batch = Batch {
        messages: vec![message(3, "o-1", 1)],
        dead_letters: vec![Arc::new(dead_letter(7, None, 1))],
        plugins: vec![ahead.clone()],
        sinks: vec![sink_progress("shop", 6)],
        ..appends([1, 2])
    };
    subject.commit(batch).await;
    let recovered = insist!(subject.store().recover());
    assert_eq!((recovered.position, recovered.dead_letter), (Position(9), DeadLetterId(7)));
    assert_eq!(recovered.plugins.len(), 1);
    assert_eq!(recovered.plugins[0].progress, ahead);
    let last: Vec<_> =
        recovered.sinks.iter().map(|sink| (sink.progress.sink.as_str(), sink.last.0)).collect();
    assert_eq!(last, [(MARKER, 1), ("queue:Do", 3), ("shop", 6)]);
    subject.commit(appends([10])).await;
    assert_eq!(insist!(subject.store().recover()).position, Position(10));
}

pub(super) async fn recovery_returns_who_has_decided_an_event_in_part(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "partly").await;
    let row = |place, key: &str| (plugin(), Position(place), key.into());
    let known = |recovered: &Recovered| -> Vec<(u64, Vec<String>)> {
        let events = recovered.plugins[0].partly_decided.iter();
        let keys = |keys: &[Key]| keys.iter().map(Key::to_string).collect();
        events.map(|(position, of)| (position.0, keys(of))).collect()
    };
    let batch = Batch {
        plugins: vec![plugin_progress("orders", 1)],
        partly_decided: vec![row(3, "b"), row(2, "a"), ("other".into(), Position(2), "c".into())],
        ..appends(1..=5)
    };
    subject.commit(batch).await;
    let batch = Batch {
        // The first is there already.
        partly_decided: vec![row(3, "b"), row(3, "a"), row(4, "a")],
        // The last one never was.
        partly_decided_removed: vec![(plugin(), Position(2)), (plugin(), Position(5))],
        ..Batch::default()
    };
    subject.commit(batch).await;
    subject.restart().await;
    let recovered = insist!(subject.store().recover());
    let expected = [(3, vec!["a".to_owned(), "b".to_owned()]), (4, vec!["a".to_owned()])];
    assert_eq!(known(&recovered), expected);
    let read = insist!(subject.store().read_plugin(&plugin()));
    assert_eq!(read.as_ref(), Some(&recovered.plugins[0]));
    // The host goes on with another plugin: its rows are its own.
    let batch = Batch {
        plugins: vec![plugin_progress("other", 1)],
        partly_decided_removed: vec![(plugin(), Position(3)), (plugin(), Position(4))],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let recovered = insist!(subject.store().recover());
    assert_eq!(known(&recovered), []);
    let other = BTreeMap::from([(Position(2), vec![Key::from("c")])]);
    assert_eq!(recovered.plugins[1].partly_decided, other);
}

/// Id, place, and whether it is redriven.
type ParkedBehind = (u64, u64, bool);

pub(super) async fn recovery_returns_what_is_parked(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "parked").await;
    let redriving =
        DeadLetter { status: DeadLetterStatus::Redriving, ..dead_letter(2, Some("b"), 2) };
    let resolved = DeadLetter { status: DeadLetterStatus::Skipped, ..dead_letter(3, Some("d"), 3) };
    let dead_letters = [
        dead_letter(1, Some("c"), 4),
        redriving,
        resolved,
        dead_letter(4, None, 1),
        dead_letter(5, Some("c"), 1),
        // A message of a sink that has made no progress.
        undelivered(6, 1, "m"),
    ];
    let batch = Batch {
        messages: (1..=3).map(|sequence| message(sequence, "m", 1)).collect(),
        parked: vec![parked(2, "c"), parked(3, "c"), parked(3, "a")],
        parked_messages: vec![(lane("m"), Sequence(2)), (lane("m"), Sequence(3))],
        dead_letters: dead_letters.into_iter().map(Arc::new).collect(),
        plugins: vec![plugin_progress("orders", 4)],
        ..appends(1..=4)
    };
    subject.commit(batch).await;
    let recovered = insist!(subject.store().recover());
    let parked: Vec<(&str, Vec<ParkedBehind>, Vec<u64>)> = recovered.plugins[0]
        .parked
        .iter()
        .map(|parked| {
            let dead_letters =
                parked.dead_letters.iter().map(|l| (l.id.0, l.place, l.redriving)).collect();
            (parked.key.as_str(), dead_letters, parked.waiting.clone())
        })
        .collect();
    let expected = vec![
        ("a", vec![], vec![3]),
        ("b", vec![(2, 2, true)], vec![]),
        ("c", vec![(5, 1, false), (1, 4, false)], vec![2, 3]),
    ];
    assert_eq!(parked, expected);
    let ours = recovered.sinks.iter().find(|s| s.progress.sink == sink()).expect("it has messages");
    assert_eq!(ours.parked.len(), 1);
    let ours = &ours.parked[0];
    assert_eq!((&ours.key, ours.waiting.as_slice()), (&lane("m"), [2, 3].as_slice()));
}

/// By key.
type Waits = Vec<(String, Vec<Wait>)>;

pub(super) async fn recovery_returns_who_waits_for_an_attempt(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "waits").await;
    let batch = Batch {
        messages: (1..=3).map(|sequence| message(sequence, "m", 1)).collect(),
        parked: vec![parked(2, "a"), parked(3, "b")],
        parked_messages: vec![(lane("m"), Sequence(2))],
        waits: vec![
            (plugin(), "a".into(), wait(2)),
            (plugin(), "b".into(), wait(3)),
            ("other".into(), "a".into(), wait(4)),
        ],
        message_waits: vec![(lane("m"), wait(3)), (lane("m"), wait(2)), (lane("n"), wait(4))],
        plugins: vec![plugin_progress("orders", 4)],
        ..appends(1..=4)
    };
    subject.commit(batch).await;
    let waits = |recovered: &Recovered| -> (Waits, Waits) {
        let events = recovered.plugins[0].parked.iter();
        let events = events.map(|parked| (parked.key.to_string(), parked.waits.clone()));
        let ours = recovered.sinks.iter().find(|ours| ours.progress.sink == sink());
        let messages = ours.into_iter().flat_map(|ours| &ours.parked);
        let messages = messages.map(|parked| (parked.key.key.to_string(), parked.waits.clone()));
        (events.collect(), messages.collect())
    };
    let row = |key: &str, places: &[u64]| {
        (key.to_owned(), places.iter().copied().map(wait).collect::<Vec<_>>())
    };
    let events = vec![row("a", &[2]), row("b", &[3])];
    let expected = (events, vec![row("m", &[2, 3]), row("n", &[4])]);
    assert_eq!(waits(&insist!(subject.store().recover())), expected);
    let later = Wait { attempt: 4, reason: "again".to_owned(), ..wait(2) };
    let batch = Batch {
        waits: vec![(plugin(), "a".into(), later.clone())],
        // The last one does not exist.
        waits_removed: vec![(plugin(), "b".into()), (plugin(), "c".into())],
        message_waits: vec![(lane("m"), later.clone())],
        message_waits_removed: [4, 5].map(|place| (sink(), Sequence(place))).to_vec(),
        ..Batch::default()
    };
    subject.commit(batch).await;
    let recovered = insist!(subject.store().recover());
    let (events, messages) = waits(&recovered);
    assert_eq!(events, [("a".to_owned(), vec![later.clone()]), row("b", &[])]);
    assert_eq!(messages, [("m".to_owned(), vec![later, wait(3)])]);
    let plugin = insist!(subject.store().read_plugin(&plugin()));
    assert_eq!(plugin.as_ref(), Some(&recovered.plugins[0]));
}

pub(super) async fn recovery_returns_the_controls(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "controls").await;
    let controls = vec![limit("Pay", 1), pause("b\0", 2), pause("a", 3), limit("Ship", 4)];
    subject.commit(Batch { controls, ..Batch::default() }).await;
    let batch = Batch {
        controls: vec![limit("Pay", 5), pause("c", 6)],
        // The last one does not exist.
        controls_removed: vec![pause("a", 0).id(), limit("a", 0).id()],
        ..Batch::default()
    };
    subject.commit(batch).await;
    subject.restart().await;
    let recovered = insist!(subject.store().recover());
    let expected = [pause("b\0", 2), pause("c", 6), limit("Pay", 5), limit("Ship", 4)];
    assert_eq!(recovered.controls, expected);
}
