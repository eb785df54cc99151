//! What a database file must be, and that SQLite and the store in memory answer alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use sagabox_engine::model::{
    Counters, Cursor, DeadLetter, DeadLetterId, DeadLetterStatus, DeadLetterSubject,
    DecisionRecord, Event, Held, Instance, InstanceStatus, Key, LogEntry, Message, MessageKind,
    Parked, PluginName, Position, Sequence, SinkName, Span, State, Timer, TimerRef, Timestamp,
};
use sagabox_engine::store::memory::MemoryStore;
use sagabox_engine::store::{
    Append, Batch, ClaimChange, CommitError, MessageLane, PluginProgress, SinkProgress, Store,
    TimerRow,
};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::SqliteStore;
use super::seen::Sizes;

fn path(directory: &tempfile::TempDir) -> std::path::PathBuf {
    directory.path().join("store.db")
}

async fn open(directory: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(path(directory).to_str().unwrap()).await.unwrap()
}

/// The message of the refusal; the file must be as it was.
async fn refused(directory: &tempfile::TempDir) -> String {
    let before = std::fs::read(path(directory)).unwrap();
    let url = format!("sqlite:{}", path(directory).display());
    let Err(error) = SqliteStore::open(&url).await else { panic!("it was not refused") };
    assert!(before == std::fs::read(path(directory)).unwrap(), "the file was changed");
    error.to_string().replace(&directory.path().display().to_string(), "…")
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_untouched() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(path(&directory), "dear diary").unwrap();
    assert_eq!(
        refused(&directory).await,
        "…/store.db is not a database of Sagabox: it is not an SQLite file; nothing was changed. \
         Give another path with --store"
    );
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(path(&directory)).create_if_missing(true);
    let mut theirs = options.connect().await.unwrap();
    sqlx::query("CREATE TABLE songs (title TEXT)").execute(&mut theirs).await.unwrap();
    sqlx::Connection::close(theirs).await.unwrap();
    assert!(refused(&directory).await.contains("it belongs to another program"));
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_untouched() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(&directory).await);
    let options = SqliteConnectOptions::new().filename(path(&directory));
    let mut newer = options.connect().await.unwrap();
    sqlx::query("PRAGMA user_version = 99").execute(&mut newer).await.unwrap();
    sqlx::Connection::close(newer).await.unwrap();
    assert!(refused(&directory).await.contains("was written by a newer Sagabox (version 99"));
}

#[tokio::test]
async fn a_second_host_on_the_same_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(&directory).await;
    assert!(refused(&directory).await.contains("is in use by another Sagabox"));
    drop(first);
    drop(open(&directory).await);
}

fn event(id: u64, data: &'static [u8]) -> Arc<Event> {
    Arc::new(Event {
        id: format!("e-{id}"),
        source: "/tests".to_owned(),
        event_type: "happened".to_owned(),
        subject: id.is_multiple_of(2).then(|| format!("s-{}", id % 3)),
        time: None,
        datacontenttype: (data.first() == Some(&0)).then(|| "application/octet-stream".to_owned()),
        dataschema: None,
        extensions: vec![("tenant".to_owned(), "ä \"b\"".to_owned())],
        data: Bytes::from_static(data),
    })
}

fn append(position: u64, id: u64, data: &'static [u8]) -> Append {
    let received_at = Timestamp(1_000 + position);
    Append {
        position: Position(position),
        received_at,
        event: event(id, data),
        fires: None,
        redriven: false,
    }
}

fn entry(append: &Append) -> LogEntry {
    let Append { position, received_at, event, .. } = append.clone();
    LogEntry { position, received_at, event }
}

fn plugin() -> PluginName {
    "orders".into()
}

fn timer(name: &str, due: u64) -> TimerRow {
    let timer = TimerRef {
        plugin: plugin(),
        instance: "o-1".into(),
        name: name.into(),
        due: Timestamp(due),
        set_by: Position(1),
    };
    TimerRow { timer, data: Bytes::from_static(b"\xff\x00") }
}

fn letter(id: u64, subject: DeadLetterSubject, append: &Append) -> Arc<DeadLetter> {
    Arc::new(DeadLetter {
        id: DeadLetterId(id),
        subject,
        plugin: plugin(),
        key: Some("o-2".into()),
        position: append.position,
        reason: "it's 'quoted'".to_owned(),
        attempts: 3,
        plugin_version: "1.0.0".into(),
        at: Timestamp(5),
        status: DeadLetterStatus::Open,
        resolved_by: None,
        resolved_reason: None,
        event: Arc::clone(&append.event),
        edited: None,
    })
}

/// Two batches that touch every table; the second repeats an event, and changes rows.
fn batches() -> [Batch; 2] {
    let (first, second) = (append(1, 1, b"{\"a\" : 1}"), append(2, 2, b"\x00\xff"));
    let sink = SinkName::from("queue:Do");
    let instance = Arc::new(Instance {
        key: "o-1".into(),
        status: InstanceStatus::Running,
        state: Some(State { version: 2, data: Bytes::from_static(b"\xfe state") }),
        claims: BTreeSet::from(["i-1".into(), "i-2".into()]),
        timers: BTreeMap::from([("soon".into(), Timer { due: Timestamp(9), set_by: Position(1) })]),
        decided: Position(1),
        version: 1,
        started_at: Timestamp(1),
        updated_at: Timestamp(2),
    });
    let claim = |key: &str, claimed| ClaimChange {
        plugin: plugin(),
        key: key.into(),
        instance: "o-1".into(),
        claimed,
    };
    let held = |key: &str, reached: &[&str]| Held {
        plugin: plugin(),
        key: key.into(),
        entry: entry(&second),
        until: Timestamp(50),
        reached: reached.iter().map(|key| Key::from(*key)).collect(),
    };
    let message = |sequence| {
        Arc::new(Message {
            sink: sink.clone(),
            sequence: Sequence(sequence),
            kind: MessageKind::Command,
            plugin: plugin(),
            key: "o-1".into(),
            cause: Position(1),
            event: event(100 + sequence, b"{}"),
        })
    };
    let ahead = vec![Span { first: 4, last: 9 }];
    let cursor = Cursor { settled: 2, ahead, partly: vec![(3, vec!["o-1".into()])] };
    let counters = Counters { received: 5, handled: 2, ..Counters::default() };
    let lane = MessageLane { sink: sink.clone(), plugin: plugin(), key: "o-2".into() };
    let dead_message = DeadLetterSubject::Message {
        sink: sink.clone(),
        sequence: Sequence(1),
        kind: sagabox_engine::model::MessageKind::Event,
    };
    let decision = DecisionRecord {
        position: Position(1),
        plugin: plugin(),
        key: "o-1".into(),
        previous: None,
        decided_at: Timestamp(3),
        plugin_version: "1.0.0".into(),
        attempt: 1,
        state: None,
        summary: "{}".to_owned(),
    };
    let one = Batch {
        appends: vec![first.clone(), second.clone()],
        instances: vec![(plugin(), Arc::clone(&instance))],
        claims: vec![claim("i-1", true), claim("i-2", true)],
        timers_set: vec![timer("soon", 9), timer("later", 99), timer("never", 999)],
        decisions: vec![decision],
        messages: vec![message(1), message(2)],
        held: vec![held("i-8", &[]), held("i-9", &[])],
        parked: vec![Parked { plugin: plugin(), key: "o-2".into(), entry: entry(&first) }],
        parked_messages: vec![(lane, Sequence(2))],
        dead_letters: vec![
            letter(1, DeadLetterSubject::Event, &first),
            letter(2, dead_message, &second),
        ],
        plugins: vec![PluginProgress { plugin: plugin(), cursor: cursor.clone(), counters }],
        sinks: vec![SinkProgress { sink, cursor, counters }],
        ..Batch::default()
    };
    let fired = Append { fires: Some(timer("soon", 9).timer), ..append(5, 5, b"") };
    let stale = Append { fires: Some(timer("later", 98).timer), ..append(6, 6, b"null") };
    let redriven = Append { redriven: true, ..append(7, 1, b"once more") };
    let two = Batch {
        appends: vec![append(3, 1, b"again"), append(4, 4, b"{}"), fired, stale, redriven],
        claims: vec![claim("i-2", false)],
        timers_cleared: vec![(plugin(), "o-1".into(), "never".into())],
        held: vec![held("i-8", &["o-1"])],
        held_removed: vec![(plugin(), "i-9".into(), Position(2))],
        ..Batch::default()
    };
    [one, two]
}

#[tokio::test]
async fn sqlite_and_memory_answer_alike_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStore::new();
    for batch in batches() {
        // Opened anew for each batch: what counts is what is in the file.
        let sqlite = open(&directory).await;
        let expected = memory.commit(&batch).await.unwrap();
        assert_eq!(sqlite.commit(&batch).await.unwrap(), expected);
        drop(sqlite);
        compare(&memory, &open(&directory).await).await;
    }
    assert_eq!(memory.snapshot().timers.len(), 1, "of three one fired and one was cleared");
}

async fn compare(a: &dyn Store, b: &dyn Store) {
    assert_eq!(a.recover().await, b.recover().await);
    let start = Position(0);
    assert_eq!(a.read_log(start, 99).await, b.read_log(start, 99).await);
    assert_eq!(a.read_log(Position(1), 1).await, b.read_log(Position(1), 1).await);
    let end = Position(5);
    assert_eq!(
        a.read_stream("s-2", start, end, 99).await,
        b.read_stream("s-2", start, end, 99).await
    );
    assert_eq!(a.load_all(&plugin(), 99).await, b.load_all(&plugin(), 99).await);
    assert_eq!(a.load_all(&plugin(), 1).await, b.load_all(&plugin(), 1).await);
    for key in ["o-1", "i-1", "i-2", "i-8", "i-9", "nobody"] {
        let keys = [Key::from(key)];
        assert_eq!(a.load(&plugin(), &keys).await, b.load(&plugin(), &keys).await, "{key}");
    }
    let sink = SinkName::from("queue:Do");
    let first = Sequence(0);
    assert_eq!(a.read_outbox(&sink, first, 99).await, b.read_outbox(&sink, first, 99).await);
    for due in [8, 9, 99, 9_999] {
        let due = Timestamp(due);
        assert_eq!(a.read_timers(due, 99).await, b.read_timers(due, 99).await);
    }
    let key = Key::from("o-2");
    assert_eq!(
        a.read_parked(&plugin(), &key, start, 99).await,
        b.read_parked(&plugin(), &key, start, 99).await
    );
    let lane = MessageLane { sink, plugin: plugin(), key };
    assert_eq!(
        a.read_parked_messages(&lane, first, 99).await,
        b.read_parked_messages(&lane, first, 99).await
    );
    for until in [49, 50] {
        let until = Timestamp(until);
        assert_eq!(
            a.read_expired_holds(&plugin(), until, 99).await,
            b.read_expired_holds(&plugin(), until, 99).await
        );
    }
    for id in 1..=3 {
        let id = DeadLetterId(id);
        assert_eq!(a.read_dead_letter(id).await, b.read_dead_letter(id).await);
    }
}

fn only_events(first: u64, ids: &[u64]) -> Batch {
    let appends = (first..).zip(ids).map(|(position, id)| append(position, *id, b"{}")).collect();
    Batch { appends, ..Batch::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// With generations so small that batches run through every step of freezing,
    /// and a restart, a lost commit or a refusal between any two of them.
    #[test]
    fn duplicates_are_found_exactly_over_generations_and_restarts(
        batches in prop::collection::vec(
            (prop::collection::vec(0..150_u64, 0..24), 0..5_u8), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let sizes = Sizes { generation: 8, chunk: 3, filter_bits: 4 };
            let url = path(&directory).display().to_string();
            let mut store = SqliteStore::open_with(&url, sizes).await.unwrap();
            let (mut known, mut position) = (BTreeSet::new(), 1);
            for (ids, then) in batches {
                let batch = only_events(position, &ids);
                let expected: Vec<Position> = batch
                    .appends
                    .iter()
                    .zip(&ids)
                    .filter(|(_, id)| !known.insert(**id))
                    .map(|(append, _)| append.position)
                    .collect();
                assert_eq!(store.commit(&batch).await.unwrap().duplicates, expected);
                position += ids.len() as u64;
                match then {
                    0 => {
                        drop(store);
                        store = SqliteStore::open_with(&url, sizes).await.unwrap();
                    }
                    // Refused: the same position again. Nothing of it may be remembered.
                    1 => {
                        let mut refused = only_events(position, &[1_000, 1_001]);
                        refused.appends[1].position = Position(position);
                        let refused = store.commit(&refused).await;
                        assert!(matches!(refused, Err(CommitError::NotCommitted(_))));
                    }
                    // Dropped half-way: it landed whole, or not at all.
                    2 => {
                        let ids: Vec<u64> = (0..150).filter(|id| !known.contains(id)).collect();
                        let dropped = only_events(position, &ids);
                        let mut commit = Box::pin(store.commit(&dropped));
                        let _ = futures::poll!(&mut commit);
                        tokio::task::yield_now().await;
                        let _ = futures::poll!(&mut commit);
                        drop(commit);
                        let recovered = store.recover().await.unwrap();
                        if recovered.position.0 >= position && !ids.is_empty() {
                            known.extend(ids);
                            position = recovered.position.0 + 1;
                        }
                    }
                    _ => {}
                }
            }
        });
    }
}

#[tokio::test]
async fn the_identities_of_an_older_file_are_still_known() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(path(&directory)).create_if_missing(true);
    let mut old = options.connect().await.unwrap();
    sqlx::raw_sql(include_str!("migrations/0001_start.sql")).execute(&mut old).await.unwrap();
    for position in 1..=20 {
        let [high, low] = halves(super::rows::identity(&event(position, b"{}")));
        let query = sqlx::query("INSERT INTO seen VALUES (?, ?, ?)").bind(high).bind(low);
        query.bind(super::rows::integer(position)).execute(&mut old).await.unwrap();
        let query = sqlx::query("INSERT INTO log VALUES (?, 1, NULL, '{}')");
        query.bind(super::rows::integer(position)).execute(&mut old).await.unwrap();
    }
    let mark = "PRAGMA application_id = 0x53414742; PRAGMA user_version = 1";
    sqlx::raw_sql(mark).execute(&mut old).await.unwrap();
    sqlx::Connection::close(old).await.unwrap();

    let store = open(&directory).await;
    let batch = only_events(21, &[20, 21, 1]);
    let committed = store.commit(&batch).await.unwrap();
    assert_eq!(committed.duplicates, [Position(21), Position(23)]);
    let accounts = super::admin::Admin::new(&store).await.unwrap().accounts().await.unwrap();
    assert_eq!(accounts.events, 21);
}

/// As the first version of the store kept them.
fn halves(hash: u128) -> [i64; 2] {
    let bytes = hash.to_be_bytes();
    [0, 8].map(|at| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()))
}
