//! Appending to the log, and reading it.

use std::sync::Arc;

use super::removal::expire;
use super::samples::{append, appends, event};
use super::{ALL, EVERYTHING, Stores, Subject};
use crate::model::{Event, Hops, Position, Timestamp, reserved};
use crate::seams::store::{
    Append, Batch, Committed, Page, StreamPage, UNTAKEN_TYPE_BYTES_MAX, UNTAKEN_TYPES_MAX, Untaken,
};

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

/// A sender may choose any source and id, also those of an event of the host, and also a pair
/// that gives the same text as another pair if the two are written one after the other.
pub(super) async fn an_event_is_known_by_its_origin_source_and_id(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "origins").await;
    let named = |source: &str, id: &str, hops| {
        let event =
            Event { source: source.to_owned(), id: id.to_owned(), ..Event::clone(&event(1)) };
        (Arc::new(event), Hops(hops))
    };
    let events = [
        named("/sagabox/orders", "e", 0),
        named("/sagabox/orders", "e", 2),
        named("a", "b\0c", 0),
        named("a\0b", "c", 0),
        named("a", "bc", 0),
        named("ab", "c", 0),
    ];
    let all = |first: u64| {
        let appends = (first..).zip(&events).map(|(place, (event, hops))| Append {
            event: Arc::clone(event),
            hops: *hops,
            ..append(place, 1)
        });
        Batch { appends: appends.collect(), ..Batch::default() }
    };
    subject.commit(all(1)).await;
    let log = insist!(subject.store().read_log(Position(0), EVERYTHING));
    let read: Vec<_> = log.into_iter().map(|entry| (entry.event, entry.hops)).collect();
    assert_eq!(read, events);
    subject.restart().await;
    // The number of hops is not part of an event's identity.
    let mut again = all(11);
    again.appends[1].hops = Hops(9);
    let again = subject.commit(again).await;
    let places: Vec<Position> = (11..=16).map(Position).collect();
    assert!(again.is_none_or(|again| again.duplicates == places));
    assert_eq!(subject.positions().await, (1..=6).collect::<Vec<_>>());
}

/// The store may know the identities of older events for longer.
pub(super) async fn a_young_event_is_known_for_its_whole_time(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "young").await;
    // The dates do not count.
    let dated = |place: u64, id, at| Append { received_at: Timestamp(at), ..append(place, id) };
    let appends = (1..=9).map(|place| dated(place, place, 10 - place)).collect();
    subject.commit(Batch { appends, ..Batch::default() }).await;
    for _ in 0..3 {
        let mut batch = expire(1, ALL);
        batch.expire.as_mut().expect("just made").seen_to = Position(4);
        subject.commit(batch).await;
    }
    subject.restart().await;
    let appends = (5..=9).map(|id| dated(id + 5, id, 100)).collect();
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
    // The redriven append did not record the identity 9, so its first ordinary append is not a
    // duplicate.
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
        let entries = insist!(subject.store().read_log(after, rows(2)));
        assert!(entries.len() <= 2);
        if entries.is_empty() {
            break;
        }
        read.extend(entries.iter().map(|entry| entry.position.0));
    }
    assert_eq!(read, [1, 2, 5, 7, 8]);
}

/// Three events of a kilobyte, one of ten, and three again.
pub(super) async fn a_page_ends_before_it_has_too_many_bytes(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "bytes").await;
    let appends = (1..=7).map(|place| {
        let mut append = append(place, 2 + 6 * place);
        let mut event = Event::clone(&append.event);
        event.data = vec![b'x'; if place == 4 { 10_000 } else { 1_000 }].into();
        append.event = event.into();
        append
    });
    subject.commit(Batch { appends: appends.collect(), ..Batch::default() }).await;
    // The contract does not say how many bytes a row takes besides its data. It is less than a
    // kilobyte.
    for (after, bytes, expected) in
        [(0, 1, 1..=1), (0, 4_001, 2..=3), (2, 8_000, 1..=1), (3, 8_000, 1..=1), (0, 99_000, 7..=7)]
    {
        let (after, page) = (Position(after), Page { rows: ALL, bytes });
        let log = insist!(subject.store().read_log(after, page));
        let stream = insist!(subject.store().read_stream("s-2", after, Position(99), page));
        for entries in [log, stream.entries] {
            assert!(expected.contains(&entries.len()), "{} after {after}", entries.len());
            let places: Vec<u64> = entries.iter().map(|entry| entry.position.0).collect();
            assert_eq!(places, (after.0 + 1..).take(entries.len()).collect::<Vec<_>>());
        }
    }
}

fn rows(rows: usize) -> Page {
    Page { rows, bytes: usize::MAX }
}

pub(super) async fn a_stream_is_read_between_two_positions(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "stream").await;
    // Events with subject s-2 are even and leave the remainder 2 when divided by 3.
    subject.commit(appends(1..=20)).await;
    for (after, before, limit, expected) in [
        (0, 99, ALL, vec![2, 8, 14, 20]),
        (2, 20, ALL, vec![8, 14]),
        (0, 99, 2, vec![2, 8]),
        (8, 9, ALL, vec![]),
        (9, 3, ALL, vec![]),
    ] {
        let (after, before) = (Position(after), Position(before));
        let page = insist!(subject.store().read_stream("s-2", after, before, rows(limit)));
        let read: Vec<u64> = page.entries.iter().map(|entry| entry.position.0).collect();
        assert_eq!(read, expected, "between {after} and {before}");
        assert!(!page.is_shortened);
    }
    let unknown =
        insist!(subject.store().read_stream("unknown", Position(0), Position(99), rows(ALL)));
    assert_eq!(unknown, StreamPage { entries: Vec::new(), is_shortened: false });
}

pub(super) async fn what_is_for_one_plugin_is_in_no_stream(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "addressed").await;
    let mut addressed = append(2, 14);
    let name = reserved::EXTENSION_PLUGIN.to_owned();
    Arc::make_mut(&mut addressed.event).extensions.push((name, "orders".to_owned()));
    let appends = vec![append(1, 8), addressed, append(3, 20)];
    subject.commit(Batch { appends, ..Batch::default() }).await;
    let page = insist!(subject.store().read_stream("s-2", Position(0), Position(99), rows(ALL)));
    let read: Vec<u64> = page.entries.iter().map(|entry| entry.position.0).collect();
    assert_eq!(read, [1, 3]);
    assert_eq!(subject.positions().await, [1, 2, 3], "it is in the log");
}

pub(super) async fn events_that_no_plugin_takes_are_counted_by_type(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "untaken").await;
    let sent = |position: u64, id: u64, event_type: &str| {
        let append = append(position, id);
        let event_type = event_type.to_owned();
        let event = Arc::new(Event { event_type, ..Event::clone(&append.event) });
        Append { event, hops: Hops::OUTSIDE, ..append }
    };
    let own = Append { hops: Hops::FIRST, ..sent(5, 5, "odd") };
    let batch = Batch {
        // The second "odd" is a duplicate, and the host's own event does not count.
        appends: vec![sent(1, 1, "odd"), sent(2, 2, "even"), sent(3, 1, "odd"), own],
        untaken: ["odd".to_owned()].into(),
        ..Batch::default()
    };
    subject.commit(batch).await;
    let batch = Batch {
        appends: vec![sent(6, 6, "even"), sent(7, 7, "odd")],
        untaken: ["odd".to_owned(), "even".to_owned()].into(),
        ..Batch::default()
    };
    subject.commit(batch).await;
    let row = |event_type: &str, count, last_at| Untaken {
        event_type: event_type.to_owned(),
        count,
        last_at: Timestamp(last_at),
    };
    let found = insist!(subject.store().recover()).untaken;
    assert_eq!(found, [row("even", 1, 6), row("odd", 2, 7)]);

    let long = "x".repeat(UNTAKEN_TYPE_BYTES_MAX + 1);
    let many: Vec<String> = (0..UNTAKEN_TYPES_MAX).map(|n| format!("t-{n:03}")).collect();
    let types = many.iter().chain([&long]);
    let appends = (10..).zip(types).map(|(place, name)| sent(place, place, name)).collect();
    let untaken = many.iter().cloned().chain([long.clone()]).collect();
    subject.commit(Batch { appends, untaken, ..Batch::default() }).await;
    let found = insist!(subject.store().recover()).untaken;
    assert_eq!(found.len(), UNTAKEN_TYPES_MAX + 1, "the others are one");
    assert_eq!((found[0].event_type.as_str(), found[0].count), ("", 3));
    assert_eq!(found.iter().map(|row| row.count).sum::<u64>(), 3 + 101);
}

pub(super) async fn an_accepted_event_is_found_by_its_identity(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "accepted").await;
    let mut batch = appends(1..=3);
    batch.appends.iter_mut().for_each(|append| append.hops = Hops::OUTSIDE);
    // A sender's event is never compared with an event of the host.
    batch.appends.push(Append { hops: Hops::FIRST, ..append(4, 4) });
    subject.commit(batch).await;
    let again = |id| Arc::new(Event { data: "other".into(), ..Event::clone(&event(id)) });
    let asked = [again(2), again(9), again(4), again(1)];
    let found = insist!(subject.store().read_accepted(&asked));
    assert_eq!(found, [Some(event(2)), None, None, Some(event(1))]);
    assert_eq!(insist!(subject.store().read_accepted(&[])), []);
}
