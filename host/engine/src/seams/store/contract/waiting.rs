//! What waits: messages, parked events, dead letters.

use std::sync::Arc;

use super::samples::{
    appends, dead_letter, entry, event, lane, message, parked, plugin, plugin_progress, sink,
    sink_progress, undelivered,
};
use super::{ALL, Stores, Subject};
use crate::model::{DeadLetter, DeadLetterId, DeadLetterStatus, Message, Position, Sequence};
use crate::seams::store::{Batch, Closing, Page};

pub(super) async fn an_outbox_is_read_in_order_and_in_pieces(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "outbox").await;
    let messages = [1, 2, 5].map(|sequence| message(sequence, "o-1", 1)).to_vec();
    let other = Message { sink: "zoo".into(), ..Message::clone(&message(3, "o-1", 1)) };
    subject.commit(Batch { messages, ..Batch::default() }).await;
    subject.commit(Batch { messages: vec![Arc::new(other)], ..Batch::default() }).await;
    let read = insist!(subject.store().read_outbox(&sink(), Sequence(1), rows(1)));
    assert_eq!(read, [message(2, "o-1", 1)]);
    let read = insist!(subject.store().read_outbox(&sink(), Sequence(2), rows(ALL)));
    assert_eq!(read, [message(5, "o-1", 1)]);
    // The first row comes, also if it does not fit.
    let tiny = Page { rows: ALL, bytes: 1 };
    assert_eq!(insist!(subject.store().read_outbox(&sink(), Sequence(0), tiny)).len(), 1);
}

pub(super) async fn parked_events_and_messages_come_in_order(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "waiting").await;
    let batch = Batch {
        messages: (1..=4).map(|sequence| message(sequence, "m", 1)).collect(),
        parked: vec![parked(3, "a"), parked(1, "a"), parked(2, "b"), parked(4, "a")],
        parked_messages: [4, 1, 3].map(|sequence| (lane("m"), Sequence(sequence))).to_vec(),
        ..appends(1..=4)
    };
    subject.commit(batch).await;
    let read = insist!(subject.store().read_parked(&plugin(), &"a".into(), Position(1), rows(1)));
    assert_eq!(read, [entry(3)]);
    let batch = Batch {
        parked_removed: vec![(plugin(), "a".into(), Position(3))],
        parked_messages_removed: vec![(sink(), Sequence(3))],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let read = insist!(subject.store().read_parked(&plugin(), &"a".into(), Position(0), rows(ALL)));
    assert_eq!(read, [entry(1), entry(4)]);
    let recovered = insist!(subject.store().recover());
    let ours = recovered.sinks.iter().find(|s| s.progress.sink == sink()).expect("it has messages");
    assert_eq!(ours.parked[0].waiting, [1, 4]);
}

fn rows(rows: usize) -> Page {
    Page { rows, bytes: usize::MAX }
}

pub(super) async fn what_is_parked_is_read_in_portions_of_bytes(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "portions").await;
    let batch =
        Batch { parked: (1..=4).map(|place| parked(place, "a")).collect(), ..appends(1..=4) };
    subject.commit(batch).await;
    for (bytes, expected) in [(0, vec![2]), (1, vec![2]), (usize::MAX, vec![2, 3, 4])] {
        let page = Page { rows: ALL, bytes };
        let read = insist!(subject.store().read_parked(&plugin(), &"a".into(), Position(1), page));
        let read: Vec<u64> = read.iter().map(|entry| entry.position.0).collect();
        assert_eq!(read, expected, "{bytes} bytes of events");
    }
}

pub(super) async fn messages_are_read_by_their_sequences(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "sequences").await;
    let messages = [1, 2, 4, 5, 9].map(|sequence| message(sequence, "m", 1)).to_vec();
    let other = Message { sink: "zoo".into(), ..Message::clone(&message(4, "m", 1)) };
    subject.commit(Batch { messages, ..Batch::default() }).await;
    subject.commit(Batch { messages: vec![Arc::new(other)], ..Batch::default() }).await;
    for (bytes, expected) in [(0, vec![2]), (1, vec![2]), (usize::MAX, vec![2, 4, 9])] {
        // Sequence 3 does not exist.
        let asked = [2, 3, 4, 9].map(Sequence);
        let read = insist!(subject.store().read_messages(&sink(), &asked, bytes));
        let expected: Vec<_> = expected.into_iter().map(|place| message(place, "m", 1)).collect();
        assert_eq!(read, expected, "{bytes} bytes of messages");
    }
    assert_eq!(insist!(subject.store().read_messages(&sink(), &[], 1)), []);
}

pub(super) async fn a_dead_letter_is_closed_unread(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "closed").await;
    let (first, second) = (dead_letter(1, Some("a"), 1), dead_letter(2, Some("a"), 2));
    let batch = Batch { dead_letters: vec![Arc::new(first.clone())], ..appends(1..=2) };
    subject.commit(batch).await;
    let close = |id| Closing {
        id: DeadLetterId(id),
        status: DeadLetterStatus::Discarded,
        by: "ada".to_owned(),
        reason: "it is over".to_owned(),
    };
    let batch = Batch {
        dead_letters: vec![Arc::new(second.clone())],
        // The last one does not exist.
        dead_letters_closed: vec![close(1), close(2), close(3)],
        plugins: vec![plugin_progress("orders", 2)],
        ..Batch::default()
    };
    subject.commit(batch).await;
    for dead_letter in [first, second] {
        let closed = DeadLetter {
            status: DeadLetterStatus::Discarded,
            resolved_by: Some("ada".to_owned()),
            resolved_reason: Some("it is over".to_owned()),
            ..dead_letter
        };
        assert_eq!(insist!(subject.store().read_dead_letter(closed.id)), Some(closed));
    }
    assert_eq!(insist!(subject.store().read_dead_letter(DeadLetterId(3))), None);
    assert!(insist!(subject.store().recover()).plugins[0].parked.is_empty());
}

pub(super) async fn a_compensated_dead_letter_counts_for_its_sink(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "compensated").await;
    let (event, refused) = (dead_letter(1, Some("a"), 1), undelivered(2, 3, "m"));
    let batch = Batch {
        messages: vec![message(3, "m", 1)],
        dead_letters: vec![Arc::new(event), Arc::new(refused.clone())],
        sinks: vec![sink_progress(sink().as_str(), 3)],
        ..appends(1..=2)
    };
    subject.commit(batch).await;
    let close = |id, status| Closing {
        id: DeadLetterId(id),
        status,
        by: "orders".to_owned(),
        reason: "handled".to_owned(),
    };
    let batch = Batch {
        dead_letters_closed: vec![
            close(1, DeadLetterStatus::Discarded),
            close(2, DeadLetterStatus::Compensated),
            // This dead letter does not exist.
            close(9, DeadLetterStatus::Compensated),
        ],
        dead_letters_noted: vec![(DeadLetterId(2), "and more".to_owned())],
        ..Batch::default()
    };
    subject.commit(batch).await;
    // Writing the sink's progress does not change the count.
    let sinks = vec![sink_progress(sink().as_str(), 4)];
    subject.commit(Batch { sinks, ..Batch::default() }).await;
    let noted = format!("{}; and more", refused.reason);
    let closed = DeadLetter {
        status: DeadLetterStatus::Compensated,
        resolved_by: Some("orders".to_owned()),
        resolved_reason: Some("handled".to_owned()),
        reason: noted,
        ..refused
    };
    assert_eq!(insist!(subject.store().read_dead_letter(DeadLetterId(2))), Some(closed));
    let recovered = insist!(subject.store().recover());
    let ours = recovered.sinks.iter().find(|s| s.progress.sink == sink()).expect("it has messages");
    assert_eq!((ours.compensated, ours.parked.len()), (1, 0));
}

pub(super) async fn a_dead_letter_is_written_over(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "dead letters").await;
    let first = undelivered(1, 4, "o-1");
    let batch = Batch { dead_letters: vec![Arc::new(first.clone())], ..Batch::default() };
    subject.commit(batch).await;
    assert_eq!(insist!(subject.store().read_dead_letter(DeadLetterId(1))), Some(first.clone()));
    let resolved = DeadLetter {
        status: DeadLetterStatus::Redriven,
        resolved_by: Some("ada".to_owned()),
        resolved_reason: Some("the sink is back".to_owned()),
        edited: Some(event(77)),
        ..first
    };
    let batch = Batch { dead_letters: vec![Arc::new(resolved.clone())], ..Batch::default() };
    subject.commit(batch).await;
    assert_eq!(insist!(subject.store().read_dead_letter(DeadLetterId(1))), Some(resolved));
    assert_eq!(insist!(subject.store().read_dead_letter(DeadLetterId(2))), None);
}
