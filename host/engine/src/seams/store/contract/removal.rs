//! What is removed, and what stays.

use std::sync::Arc;

use super::samples::{
    append, appends, claim, dead_letter, decision, finished, held, instance, lane, loaded, message,
    parked, plugin, plugin_progress, sink, sink_progress, timer,
};
use super::{ALL, EVERYTHING, Stores, Subject};
use crate::model::AgeMark;
use crate::model::{
    AgeTime, DeadLetter, DeadLetterId, DeadLetterStatus, DecisionRecord, InstanceStatus, Key,
    PluginName, Position, Sequence, Timestamp,
};
use crate::seams::store::{Append, Batch, Expire, FinishedInstance, Page};

pub(super) async fn finished_instances_come_oldest_first(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "finished").await;
    let instances = vec![
        finished("c", InstanceStatus::Completed, 5),
        finished("b", InstanceStatus::Ended, 5),
        finished("a", InstanceStatus::Running, 1),
        finished("d", InstanceStatus::Completed, 3),
        finished("e", InstanceStatus::Completed, 9),
    ];
    subject.commit(Batch { instances, ..Batch::default() }).await;
    let row = |key: &str, at, status| FinishedInstance {
        updated_at: Timestamp(at),
        key: Key::from(key),
        status,
    };
    let d = row("d", 3, InstanceStatus::Completed);
    let b = row("b", 5, InstanceStatus::Ended);
    let c = row("c", 5, InstanceStatus::Completed);
    let all = Position(99);
    for (place, until, after, limit, expected) in [
        (all, 5, None, ALL, vec![d.clone(), b.clone(), c.clone()]),
        (all, 9, None, 1, vec![d.clone()]),
        // The others have decided later events, so their dates do not count.
        (Position(4), 9, None, ALL, vec![d.clone()]),
        // A page can end between two instances with the same date.
        (all, 5, Some(&d), 1, vec![b.clone()]),
        (all, 5, Some(&b), ALL, vec![c.clone()]),
        (all, 5, Some(&c), ALL, vec![]),
    ] {
        let (store, until) = (subject.store(), Timestamp(until));
        let after = after.map(FinishedInstance::place);
        let after = after.as_ref();
        let found = insist!(store.read_finished_instances(&plugin(), place, until, after, limit));
        assert_eq!(found, expected, "{limit} until {until:?}, after {after:?}");
    }
    let (unknown, until) = (PluginName::from("unknown"), Timestamp(9));
    let found = insist!(subject.store().read_finished_instances(&unknown, all, until, None, 1));
    assert_eq!(found, []);
}

pub(super) async fn a_removed_instance_takes_its_claims_and_timers_along(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "removed").await;
    let batch = Batch {
        instances: vec![(plugin(), instance("o-1", 1)), (plugin(), instance("o-2", 1))],
        claims: vec![claim("i", "o-1", true), claim("i", "o-2", true)],
        timers_set: vec![timer("o-1", "t", 9), timer("o-2", "t", 9)],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let removed = vec![(plugin(), "o-1".into()), (plugin(), "unknown".into())];
    subject.commit(Batch { instances_removed: removed, ..Batch::default() }).await;
    let found = insist!(subject.store().load(&plugin(), &["o-1".into(), "i".into()]));
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].instance, found[0].claims.len()), (&instance("o-2", 1), 1));
    assert_eq!(insist!(subject.store().read_timers(None, EVERYTHING)), [timer("o-2", "t", 9)]);
    // Rows that were not removed would belong to the next instance of that key.
    let batch = Batch { instances: vec![(plugin(), instance("o-1", 2))], ..Batch::default() };
    subject.commit(batch).await;
    let found = insist!(subject.store().load(&plugin(), &["o-1".into(), "i".into()]));
    let claims = found.iter().map(|found| (found.instance.key.as_str(), found.claims.len()));
    assert_eq!(claims.collect::<Vec<_>>(), [("o-1", 0), ("o-2", 1)]);
    assert!(found[0].timers.is_empty());
}

pub(super) async fn an_instance_is_removed_and_begins_anew_in_one_commit(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "anew").await;
    let batch = Batch {
        instances: vec![finished("o-1", InstanceStatus::Ended, 1)],
        claims: vec![claim("i", "o-1", true)],
        timers_set: vec![timer("o-1", "t", 9)],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let anew = instance("o-1", 2);
    let batch = Batch {
        instances: vec![(plugin(), Arc::clone(&anew))],
        instances_removed: vec![(plugin(), "o-1".into())],
        claims: vec![claim("j", "o-1", true)],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let found = insist!(subject.store().load(&plugin(), &["o-1".into(), "i".into(), "j".into()]));
    assert_eq!(found, [loaded(&anew, &["j"])]);
}

pub(super) async fn a_stream_says_that_it_was_shortened(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "shortened").await;
    // The events with these ids are of the streams s-2, s-1, s-0.
    subject.commit(appends([2, 4, 6, 8])).await;
    let batch = Batch { plugins: vec![plugin_progress("orders", 8)], ..expire(1, ALL) };
    subject.commit(batch).await;
    let limit = Page { rows: ALL, bytes: usize::MAX };
    for (history_before, shortened) in [(2, vec![]), (5, vec!["s-1", "s-2"])] {
        subject.commit(expire(history_before, ALL)).await;
        subject.restart().await;
        for name in ["s-0", "s-1", "s-2", "never"] {
            let read = subject.store();
            let page = insist!(read.read_stream(name, Position(0), Position(99), limit));
            assert_eq!(page.is_shortened, shortened.contains(&name), "{name}");
        }
    }
}

/// The date of a sample is its position in the log.
pub(super) fn expire(history_before: u64, rows_max: usize) -> Batch {
    expire_both(history_before - 1, history_before, rows_max)
}

fn expire_both(history_to: u64, history_before: u64, rows_max: usize) -> Batch {
    let expire = Some(Expire {
        plugins: vec![plugin()],
        seen_to: Position(0),
        history_to: Position(history_to),
        history_before: Timestamp(history_before),
        mark: None,
        marks_removed: Vec::new(),
        rows_max,
    });
    Batch { expire, ..Batch::default() }
}

pub(super) async fn what_is_too_old_goes(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "old").await;
    let resolved = |id| {
        Arc::new(DeadLetter {
            status: DeadLetterStatus::Discarded,
            ..dead_letter(id, Some("a"), id)
        })
    };
    let batch = Batch {
        decisions: (1..=9).map(|place| decision(place, "a")).collect(),
        messages: (1..=9).map(|sequence| message(sequence, "a", sequence)).collect(),
        dead_letters: (1..=9).map(resolved).collect(),
        plugins: vec![plugin_progress("orders", 8), plugin_progress("others", 6)],
        sinks: vec![sink_progress("queue:Do", 5)],
        ..appends(1..=9)
    };
    subject.commit(batch).await;
    // One commit removes two rows of each of the four tables.
    let step = subject.commit(expire(8, 2)).await;
    assert!(step.is_none_or(|step| step.expired == 8));
    // In the end, position 6 of the log and the decisions, message 5, and dead letter 7 are
    // removed, and all before them.
    while subject.commit(expire(8, 2)).await.is_none_or(|step| step.expired > 0) {}
    subject.restart().await;
    assert_eq!(subject.positions().await, [7, 8, 9]);
    let outbox = insist!(subject.store().read_outbox(&sink(), Sequence(0), EVERYTHING));
    assert_eq!(outbox.iter().map(|m| m.sequence.0).collect::<Vec<_>>(), [6, 7, 8, 9]);
    for (id, is_there) in [(1, false), (7, false), (8, true), (9, true)] {
        let dead_letter = insist!(subject.store().read_dead_letter(DeadLetterId(id)));
        assert_eq!(dead_letter.is_some(), is_there, "{id}");
    }
    // Positions, sequences and ids are never given again, also if all rows are removed.
    while subject.commit(expire(99, ALL)).await.is_none_or(|step| step.expired > 0) {}
    let recovered = insist!(subject.store().recover());
    assert_eq!((recovered.position, recovered.dead_letter), (Position(9), DeadLetterId(9)));
    let ours = recovered.sinks.iter().find(|s| s.progress.sink == sink()).expect("it has messages");
    assert_eq!(ours.last, Sequence(9));
    let again = subject.commit(Batch { appends: vec![append(10, 1)], ..Batch::default() }).await;
    assert!(again.is_none_or(|again| again.duplicates == [Position(10)]), "it is still known");
}

/// The wall clock was ahead for positions 1 to 3, and behind for 7 to 9.
pub(super) async fn what_is_old_is_said_by_position_and_not_by_date(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "dates").await;
    let wrong = |place: u64| Timestamp(if place < 4 { 1_000 } else { place % 7 });
    let append = |place| Append { received_at: wrong(place), ..append(place, place) };
    let decision = |place| DecisionRecord { decided_at: wrong(place), ..decision(place, "a") };
    let resolved = |id| {
        let dead_letter = dead_letter(id, Some("a"), id);
        Arc::new(DeadLetter { status: DeadLetterStatus::Skipped, at: wrong(id), ..dead_letter })
    };
    let batch = Batch {
        appends: (1..=9).map(append).collect(),
        decisions: (1..=9).map(decision).collect(),
        dead_letters: (1..=9).map(resolved).collect(),
        plugins: vec![plugin_progress("orders", 9)],
        ..Batch::default()
    };
    subject.commit(batch).await;
    while subject.commit(expire_both(6, 500, ALL)).await.is_none_or(|step| step.expired > 0) {}
    assert_eq!(subject.positions().await, [7, 8, 9]);
    // A dead letter with a later date stays, because it may be younger.
    for (id, is_there) in [(1, true), (4, false), (6, false), (7, true), (9, true)] {
        let dead_letter = insist!(subject.store().read_dead_letter(DeadLetterId(id)));
        assert_eq!(dead_letter.is_some(), is_there, "{id}");
    }
}

pub(super) async fn age_marks_are_kept_until_they_are_removed(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "marks").await;
    let mark = |at, position| AgeMark {
        at: AgeTime(at),
        position: Position(position),
        wall: Timestamp(7 * at),
    };
    for (set, removed) in [(mark(5, 1), vec![]), (mark(9, 2), vec![]), (mark(9, 3), vec![5, 6])] {
        let mut batch = expire(1, ALL);
        let expire = batch.expire.as_mut().expect("just made");
        expire.mark = Some(set);
        expire.marks_removed = removed.into_iter().map(AgeTime).collect();
        subject.commit(batch).await;
        subject.restart().await;
    }
    assert_eq!(insist!(subject.store().recover()).age_marks, [mark(9, 3)]);
}

pub(super) async fn what_is_needed_stays(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "needed").await;
    subject.commit(appends(1..=6)).await;
    subject.commit(expire(99, ALL)).await;
    assert_eq!(subject.positions().await.len(), 6, "no plugin has read anything");
    let batch = Batch {
        messages: (1..=3).map(|sequence| message(sequence, "m", sequence)).collect(),
        held: vec![held(2, "k", 500)],
        parked: vec![parked(4, "a")],
        parked_messages: vec![(lane("m"), Sequence(2))],
        dead_letters: vec![
            Arc::new(dead_letter(1, Some("a"), 3)),
            Arc::new(dead_letter(2, None, 3)),
        ],
        plugins: vec![plugin_progress("orders", 6)],
        sinks: vec![sink_progress("queue:Do", 3)],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let mut too_early = expire(99, ALL);
    let loaded = too_early.expire.as_mut().map(|expire| &mut expire.plugins);
    loaded.expect("just made").push("newcomer".into());
    subject.commit(too_early).await;
    assert_eq!(subject.positions().await.len(), 6, "a plugin has not read anything yet");
    // The rows are removed also one by one, and again after the end was reached.
    for rows_max in [1, 1, 1, 1, 1, 1, 1, ALL, 1] {
        subject.commit(expire(99, rows_max)).await;
    }
    assert_eq!(subject.positions().await, [2, 4]);
    let outbox = insist!(subject.store().read_outbox(&sink(), Sequence(0), EVERYTHING));
    assert_eq!(outbox, [message(2, "m", 2)]);
    assert!(insist!(subject.store().read_dead_letter(DeadLetterId(1))).is_some());
    let release = Batch {
        held_removed: vec![(plugin(), "k".into(), Position(2))],
        parked_removed: vec![(plugin(), "a".into(), Position(4))],
        parked_messages_removed: vec![(sink(), Sequence(2))],
        ..expire(99, ALL)
    };
    subject.commit(release).await;
    assert!(subject.positions().await.is_empty());
    assert_eq!(insist!(subject.store().read_outbox(&sink(), Sequence(0), EVERYTHING)), []);
}
