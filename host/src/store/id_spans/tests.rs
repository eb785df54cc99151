//! What a search reads, however much has just come, and that the rows of spans come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sagabox_engine::model::{Position, Timestamp};
use sagabox_engine::seams::store::contract::{append, message, plugin_progress, sink_progress};
use sagabox_engine::seams::store::{Append, Batch, Expire, Store as _};

use super::SPAN;
use crate::store::SqliteStore;
use crate::store::answers::found::{self, Looks};
use crate::store::query::QueryLimits;
use crate::store::query::found::Found;

const SINK: &str = "queue:Do";

async fn open(directory: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(directory.path().join("store.db").to_str().unwrap()).await.unwrap()
}

/// Events `e-1` and so on, and messages `e-101` and so on.
fn batch(places: std::ops::RangeInclusive<u64>) -> Batch {
    Batch {
        appends: places.clone().map(|place| append(place, place)).collect(),
        messages: places.map(|place| message(place, "k", 1)).collect(),
        ..Batch::default()
    }
}

/// What is found, and how many steps of its programs SQLite took.
async fn find(store: &SqliteStore, text: &str) -> (Vec<Found>, usize) {
    let pool = store.reading(1).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let steps = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&steps);
    connection.lock_handle().await.unwrap().set_progress_handler(1, move || {
        counted.fetch_add(1, Ordering::Relaxed);
        true
    });
    let time = QueryLimits::default().scan_time;
    let looks = Looks { sees: &|_| true, room: 10, time };
    let found = found::find(&mut connection, &store.ids, text, &looks).await.unwrap();
    (found, steps.load(Ordering::Relaxed))
}

/// Right after the commits: nothing has prepared anything since.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_after_a_burst_reads_few_rows() {
    const EVENTS: u64 = 12 * SPAN - 1;
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    for first in (1..=EVENTS).step_by(1_000) {
        store.commit(&batch(first..=EVENTS.min(first + 999))).await.unwrap();
    }
    for (text, expected) in [
        ("e-7".to_owned(), 1),
        (format!("e-{}", 6 * SPAN), 2),
        (format!("e-{EVENTS}"), 2),
        (format!("e-{}", EVENTS + 100), 1),
        ("nothing".to_owned(), 0),
    ] {
        let (found, steps) = find(&store, &text).await;
        assert_eq!(found.len(), expected, "{text}: {found:?}");
        // Looking at each event of one span alone takes some ten thousand.
        assert!(steps < 2_000, "{text}: {steps} steps");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_version_has_left_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    store.commit(&batch(1..=3 * SPAN)).await.unwrap();
    rows_are(&store, 6, Some("DELETE FROM id_spans WHERE first > 0"));
    drop(store);
    let store = open(&directory).await;
    rows_are(&store, 6, None);
    for text in ["e-7".to_owned(), format!("e-{SPAN}"), format!("e-{}", 3 * SPAN)] {
        assert!(!find(&store, &text).await.0.is_empty(), "{text}");
    }
}

/// Checks how many rows of spans there are, and then changes them as no host does.
fn rows_are(store: &SqliteStore, expected: i64, change: Option<&'static str>) {
    let connection = crate::store::open::writing(store.path()).unwrap();
    let count = "SELECT count(*) FROM id_spans";
    let count: i64 = connection.query_row(count, (), |row| row.get(0)).unwrap();
    assert_eq!(count, expected);
    if let Some(change) = change {
        connection.execute(change, ()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_removes_takes_its_spans_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let end = 2 * SPAN + 1;
    let mut plugin = plugin_progress("orders", end);
    plugin.cursor.settled = end;
    let all =
        Batch { plugins: vec![plugin], sinks: vec![sink_progress(SINK, end)], ..batch(1..=end) };
    store.commit(&all).await.unwrap();
    rows_are(&store, 4, None);
    let expire = Expire {
        plugins: Vec::new(),
        seen_to: Position(0),
        history_to: Position(SPAN + 1),
        history_before: Timestamp(0),
        mark: None,
        marks_removed: Vec::new(),
        rows_max: 1_000,
    };
    for _ in 0..20 {
        let expire = Some(expire.clone());
        store.commit(&Batch { expire, ..Batch::default() }).await.unwrap();
    }
    // Of the outbox all goes, because all of it was sent by the first event.
    rows_are(&store, 1, None);
    let (found, _) = find(&store, &format!("e-{}", SPAN + 2)).await;
    assert!(matches!(&found[..], [Found::Event { .. }]), "{found:?}");
    let again = Append { redriven: true, ..append(end + 1, 1) };
    store.commit(&Batch { appends: vec![again], ..Batch::default() }).await.unwrap();
    assert_eq!(find(&store, "e-1").await.0.len(), 1);
}
