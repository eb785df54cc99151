//! Appending to the log, and reading it.

use std::sync::Arc;

use super::removal::expire;
use super::samples::{append, appends};
use super::{ALL, Stores, Subject};
use crate::model::{Position, Timestamp, reserved};
use crate::store::{Append, Batch, Committed, Limit, StreamPage};

pub(super) async fn an_event_that_was_there_is_a_duplicate(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "duplicates").await;
    let named = |committed: Option<Committed>, expected: &[u64]| {
        let expected: Vec<Position> = expected.iter().copied().map(Position).collect();
        committed.is_none_or(|committed| committed.duplicates == expected)
    };
    assert!(named(subject.commit(appends([1, 2])).await, &[]));
    let again =
        Batch { appends: vec![append(3, 1), append(4, 4), append(5, 4)], ..Batch::default() };
    assert!(named(subject.commit(again).await, &[3, 5]));
    subject.restart().await;
    let again =
        Batch { appends: vec![append(6, 4), append(7, 2), append(8, 8)], ..Batch::default() };
    assert!(named(subject.commit(again).await, &[6, 7]));
    assert_eq!(subject.positions().await, [1, 2, 4, 8]);
}

/// What is older may be known for longer: forgetting is the store's affair.
pub(super) async fn a_young_event_is_known_for_its_whole_time(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "young").await;
    let received = |place: u64, id, at| Append { received_at: Timestamp(at), ..append(place, id) };
    let appends = (1..=9).map(|place| received(place, place, 10 * place)).collect();
    subject.commit(Batch { appends, ..Batch::default() }).await;
    for _ in 0..3 {
        let mut batch = expire(0, ALL);
        batch.expire.as_mut().expect("just made").seen_before = Timestamp(50);
        subject.commit(batch).await;
    }
    subject.restart().await;
    let appends = (5..=9).map(|id| received(id + 5, id, 100)).collect();
    let again = subject.commit(Batch { appends, ..Batch::default() }).await;
    assert!(
        again.is_none_or(|again| again.duplicates == (10..=14).map(Position).collect::<Vec<_>>())
    );
    assert_eq!(subject.positions().await, (1..=9).collect::<Vec<_>>());
}

pub(super) async fn a_redriven_event_is_written_whatever_was_there(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "redriven").await;
    subject.commit(appends([1])).await;
    let redriven = |place, id| Append { redriven: true, ..append(place, id) };
    let batch =
        Batch { appends: vec![redriven(2, 1), redriven(3, 9), append(4, 1)], ..Batch::default() };
    subject.commit(batch).await;
    subject.restart().await;
    // Of 9 no trace was left: its first ordinary append is none of a duplicate.
    subject.commit(Batch { appends: vec![append(5, 9), append(6, 9)], ..Batch::default() }).await;
    assert_eq!(subject.positions().await, [1, 2, 3, 5]);
}

pub(super) async fn the_log_is_read_in_order_and_in_pieces(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "log").await;
    subject.commit(appends([1, 2, 5])).await;
    subject.commit(appends([7, 8])).await;
    let mut read = Vec::new();
    loop {
        let after = Position(read.last().copied().unwrap_or(0));
        let entries = insist!(subject.store().read_log(after, 2));
        assert!(entries.len() <= 2);
        if entries.is_empty() {
            break;
        }
        read.extend(entries.iter().map(|entry| entry.position.0));
    }
    assert_eq!(read, [1, 2, 5, 7, 8]);
}

pub(super) async fn a_stream_is_read_between_two_positions(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "stream").await;
    // Subject s-2 have those that are even and leave 2 when divided by 3.
    subject.commit(appends(1..=20)).await;
    for (after, before, limit, expected) in [
        (0, 99, ALL, vec![2, 8, 14, 20]),
        (2, 20, ALL, vec![8, 14]),
        (0, 99, 2, vec![2, 8]),
        (8, 9, ALL, vec![]),
        (9, 3, ALL, vec![]),
    ] {
        let (after, before) = (Position(after), Position(before));
        let limit = Limit { rows: limit, bytes: usize::MAX };
        let page = insist!(subject.store().read_stream("s-2", after, before, limit));
        let read: Vec<u64> = page.entries.iter().map(|entry| entry.position.0).collect();
        assert_eq!(read, expected, "between {after} and {before}");
        assert!(!page.is_shortened);
    }
    let all = (Position(0), Position(99));
    let limit = Limit { rows: ALL, bytes: 1 };
    let page = insist!(subject.store().read_stream("s-2", all.0, all.1, limit));
    assert!(page.entries.len() < 4, "it ends with the first that has data");
    let nobody = insist!(subject.store().read_stream("nobody", all.0, all.1, limit));
    assert_eq!(nobody, StreamPage { entries: Vec::new(), is_shortened: false });
}

pub(super) async fn what_is_for_one_plugin_is_in_no_stream(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "addressed").await;
    let mut addressed = append(2, 14);
    let name = reserved::EXTENSION_PLUGIN.to_owned();
    Arc::make_mut(&mut addressed.event).extensions.push((name, "orders".to_owned()));
    let appends = vec![append(1, 8), addressed, append(3, 20)];
    subject.commit(Batch { appends, ..Batch::default() }).await;
    let limit = Limit { rows: ALL, bytes: usize::MAX };
    let page = insist!(subject.store().read_stream("s-2", Position(0), Position(99), limit));
    let read: Vec<u64> = page.entries.iter().map(|entry| entry.position.0).collect();
    assert_eq!(read, [1, 3]);
    assert_eq!(subject.positions().await, [1, 2, 3], "it is in the log");
}
