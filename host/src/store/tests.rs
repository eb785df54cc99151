//! What a database file must be, and that SQLite and the store in memory answer alike.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use proptest::prelude::*;
use sagabox_engine::model::{
    BatchId, BatchItem, Event, Hops, InstanceCounts, InstanceStatus, Origin, Position, Timestamp,
};
use sagabox_engine::pure::identity::event_identity;
use sagabox_engine::seams::batches::{self, BatchItems};
use sagabox_engine::seams::store::alike::{Script, compare};
use sagabox_engine::seams::store::contract::{self, Stores};
use sagabox_engine::seams::store::memory::MemoryStore;
use sagabox_engine::seams::store::{Append, Batch, CommitError, Expire, Store};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::SqliteStore;
use super::answers::SqliteQueries;
use super::answers::batches::{NOTE, OUTCOMES, PENDING};
use super::answers::dead_letters::COUNT_OPEN;
use super::answers::due::{TIMERS, TIMERS_OF_INSTANCE};
use super::answers::listed;
use super::answers::waiting::{HELD, WAITING_MESSAGES};
use super::migrations::MIGRATIONS;
use super::query::condition::Condition;
use super::query::rows::{Age, FieldOrder, InstanceFilter};
use super::query::{self, Queries as _, QueryLimits};
use super::seen::Sizes;
use super::sqlite::{DEAD_LETTER, MESSAGES, PARKED_EVENTS};
use super::tables::{
    DEAD_LETTER_CLOSED, DEAD_LETTER_COMPENSATED, ITEM_CLOSED, ITEM_DONE, ITEM_SAID,
    PARKED_EVENT_GOES, PARKED_MESSAGE_GOES,
};

/// So small that few events go through freezing and merging.
const SMALL: Sizes =
    Sizes { generation: 8, bucket: 3, group: 2, fan_in: 4, filter_bytes_max: 16 << 10 };

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

/// Also while the file that it points to is still to be made.
#[cfg(unix)]
#[tokio::test]
async fn a_second_host_that_names_the_file_by_a_link_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink("store.db", &link).unwrap();
    let first = SqliteStore::open(link.to_str().unwrap()).await.unwrap();
    assert!(refused(&directory).await.contains("is in use by another Sagabox"));
    drop(first);
    let _first = open(&directory).await;
    let Err(error) = SqliteStore::open(link.to_str().unwrap()).await else {
        panic!("the link leads to a store in use")
    };
    assert!(error.to_string().contains("is in use by another Sagabox"), "{error}");
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
        hops: Hops::OUTSIDE,
        fires: None,
        redriven: false,
    }
}

/// Opened anew now and then: what counts is what is in the file.
#[tokio::test]
async fn sqlite_and_memory_answer_alike_over_random_batches() {
    for seed in 0..12 {
        let directory = tempfile::tempdir().unwrap();
        let (memory, mut script) = (MemoryStore::new(), Script::new(seed));
        let mut sqlite = open(&directory).await;
        for round in 0..40 {
            let batch = script.batch();
            let expected = memory.commit(&batch).await.unwrap();
            assert_eq!(sqlite.commit(&batch).await.unwrap(), expected, "seed {seed}, {round}");
            if round % 8 == 7 {
                drop(sqlite);
                sqlite = open(&directory).await;
                compare(&memory, &sqlite).await;
            }
        }
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
            let sizes = SMALL;
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
                        assert!(matches!(refused, Err(CommitError::Rejected(_))));
                    }
                    // The caller has gone, and the commit was made all the same.
                    2 => {
                        let ids: Vec<u64> = (0..150).filter(|id| !known.contains(id)).collect();
                        let dropped = only_events(position, &ids);
                        let mut commit = Box::pin(store.commit(&dropped));
                        let _ = futures::poll!(&mut commit);
                        drop(commit);
                        let recovered = store.recover().await.unwrap();
                        position += ids.len() as u64;
                        if !ids.is_empty() {
                            assert_eq!(recovered.position.0, position - 1);
                        }
                        known.extend(ids);
                    }
                    _ => {}
                }
            }
        });
    }
}

/// Of events up to this position the identities need not be kept.
fn forget_up_to(position: u64) -> Batch {
    let expire = Expire {
        plugins: Vec::new(),
        seen_to: Position(position),
        history_to: Position(0),
        history_before: Timestamp(0),
        mark: None,
        marks_removed: Vec::new(),
        rows_max: 3,
    };
    Batch { expire: Some(expire), ..Batch::default() }
}

async fn count(store: &SqliteStore, sql: &'static str) -> i64 {
    let mut connection = store.reading(1).await.unwrap().acquire().await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut *connection).await.unwrap()
}

/// One event with each commit, in small generations: forgotten between any two steps of
/// freezing, with a restart between any two commits in turn.
#[tokio::test]
async fn old_identities_go_and_young_ones_stay_over_restarts() {
    const AGE: u64 = 20;
    const COUNT: u64 = 120;
    for restart_every in [1, 3, 7, COUNT] {
        let directory = tempfile::tempdir().unwrap();
        let url = path(&directory).display().to_string();
        let mut store = SqliteStore::open_with(&url, SMALL).await.unwrap();
        for id in 1..=COUNT {
            // A duplicate of one that is just young enough, beside the new one.
            let young = id.saturating_sub(AGE - 1).max(1);
            let committed = store.commit(&only_events(2 * id, &[id, young])).await.unwrap();
            let duplicate = Position(2 * id + 1);
            assert_eq!(committed.duplicates, [duplicate], "{young}, beside {id}");
            store.commit(&forget_up_to(2 * id.saturating_sub(AGE))).await.unwrap();
            if id % restart_every == 0 {
                drop(store);
                store = SqliteStore::open_with(&url, SMALL).await.unwrap();
            }
        }
        let young: Vec<u64> = (COUNT - AGE + 1..=COUNT).collect();
        let first = 2 * COUNT + 2;
        let committed = store.commit(&only_events(first, &young)).await.unwrap();
        assert_eq!(committed.duplicates.len(), young.len());
        let first = first + young.len() as u64;
        let committed = store.commit(&only_events(first, &[1, 2, 3])).await.unwrap();
        assert_eq!(committed.duplicates, [], "what is old is forgotten");
        // Otherwise there would be some forty buckets in some fifteen runs.
        let buckets = count(&store, "SELECT count(*) FROM seen_buckets").await;
        assert!((1..20).contains(&buckets), "{buckets} buckets, restarts every {restart_every}");
        let heads = count(&store, "SELECT count(*) FROM seen_run_heads").await;
        assert!((1..8).contains(&heads), "{heads} runs, restarts every {restart_every}");
    }
}

#[tokio::test]
async fn the_identities_of_an_older_file_are_still_known() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(path(&directory)).create_if_missing(true);
    let mut old = options.connect().await.unwrap();
    sqlx::raw_sql(include_str!("migrations/0001_start.sql")).execute(&mut old).await.unwrap();
    for position in 1..=20 {
        let [high, low] = halves(event_identity(Origin::Outside, &event(position, b"{}")));
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
    let accounts =
        SqliteQueries::new(&store, QueryLimits::default()).await.unwrap().accounts().await.unwrap();
    assert_eq!(accounts.events, 21);
}

/// As the first version of the store kept them.
/// What resolving a dead letter reads and writes is found by all that is known of it: nothing is
/// looked through, however much lies in the log, in the outbox, or behind other dead letters.
#[tokio::test]
async fn resolving_a_dead_letter_looks_at_its_own_rows_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let pool = store.reading(1).await.unwrap();
    let dead_letter = "SEARCH dead_letters USING INTEGER PRIMARY KEY (rowid=?)";
    let expected: [(&'static str, &[&str]); 7] = [
        (DEAD_LETTER, &[dead_letter]),
        (
            PARKED_EVENTS,
            &[
                "SEARCH parked USING PRIMARY KEY (plugin=? AND key=? AND position>?)",
                "SEARCH log USING INTEGER PRIMARY KEY (rowid=?)",
            ],
        ),
        (MESSAGES, &["SEARCH outbox USING PRIMARY KEY (sink=? AND sequence=?)"]),
        (
            PARKED_EVENT_GOES,
            &["SEARCH parked USING PRIMARY KEY (plugin=? AND key=? AND position=?)"],
        ),
        (
            PARKED_MESSAGE_GOES,
            &["SEARCH parked_messages USING PRIMARY KEY (sink=? AND sequence=?)"],
        ),
        (DEAD_LETTER_CLOSED, &[dead_letter]),
        (DEAD_LETTER_COMPENSATED, &[dead_letter]),
    ];
    for (sql, plan) in expected {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = sqlx::query(explain).fetch_all(&pool).await.unwrap();
        let found = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, "detail"));
        // How a table is read. The list of what is asked for is no table.
        let is_read = |line: &String| line.starts_with("SEARCH ") || line.starts_with("SCAN ");
        let found = found.filter(|line| is_read(line) && !line.contains("json_each"));
        assert_eq!(found.collect::<Vec<_>>(), plan, "{sql}");
    }
}

/// Why a key waits is read at the places of the key, however many messages and events wait.
#[tokio::test]
async fn what_waits_at_a_key_is_found_by_its_places() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let pool = store.reading(1).await.unwrap();
    let expected: [(&str, &[&str]); 2] = [
        (
            WAITING_MESSAGES,
            &[
                "SEARCH outbox USING PRIMARY KEY (sink=? AND sequence>? AND sequence<?)",
                "SEARCH parked_messages USING PRIMARY KEY (sink=?)",
                "SEARCH message_waits USING PRIMARY KEY (sink=?)",
                "SCAN (subquery-3)",
                "SEARCH o USING PRIMARY KEY (sink=? AND sequence=?)",
                "SEARCH p USING PRIMARY KEY (sink=? AND sequence=?) LEFT-JOIN",
                "SEARCH w USING PRIMARY KEY (sink=? AND place=?) LEFT-JOIN",
            ],
        ),
        (HELD, &["SEARCH held USING INDEX held_key (plugin=? AND key=?)"]),
    ];
    for (sql, plan) in expected {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = sqlx::query(explain).fetch_all(&pool).await.unwrap();
        let found = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, "detail"));
        let is_read = |line: &String| line.starts_with("SEARCH ") || line.starts_with("SCAN ");
        assert_eq!(found.filter(is_read).collect::<Vec<_>>(), plan, "{sql}");
    }
}

fn halves(hash: u128) -> [i64; 2] {
    let bytes = hash.to_be_bytes();
    [0, 8].map(|at| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()))
}

/// What a batch reads and writes of its items is found by their numbers, however many batches and
/// dead letters there are. What is counted is counted in an index.
#[tokio::test]
async fn a_batch_looks_at_its_own_items_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let pool = store.reading(1).await.unwrap();
    let item = "SEARCH batch_items USING PRIMARY KEY (batch=? AND item=?)";
    let expected: [(&'static str, &[&str]); 7] = [
        (
            PENDING,
            &[
                "SEARCH batch_items USING INDEX batch_items_outcome (batch=? AND outcome=? AND item>?)",
            ],
        ),
        (OUTCOMES, &[item]),
        (NOTE, &[item]),
        (ITEM_SAID, &[item]),
        (ITEM_CLOSED, &[item, "SEARCH dead_letters USING INTEGER PRIMARY KEY (rowid=?)"]),
        (ITEM_DONE, &[item]),
        (COUNT_OPEN, &["SCAN dead_letters USING COVERING INDEX dead_letters_open"]),
    ];
    for (sql, plan) in expected {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = sqlx::query(explain).fetch_all(&pool).await.unwrap();
        let found = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, "detail"));
        let is_read = |line: &String| line.starts_with("SEARCH ") || line.starts_with("SCAN ");
        let found = found.filter(|line| is_read(line) && !line.contains("json_each"));
        let found = found.filter(|line| !line.contains("note"));
        assert_eq!(found.collect::<Vec<_>>(), plan, "{sql}");
    }
}

/// A list is walked in an index of its order, and never sorted, whatever it selects.
#[tokio::test]
async fn a_list_of_instances_reads_an_index_in_its_order() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let pool = store.reading(1).await.unwrap();
    let all = || InstanceFilter { plugin: "orders".to_owned(), ..InstanceFilter::default() };
    let of = |status| InstanceFilter { status: Some(status), ..all() };
    let order = |is_descending| {
        let order = FieldOrder { field: "due".to_owned(), is_descending };
        InstanceFilter { field_order: Some(order), ..all() }
    };
    let condition = |text: &str| Some(Condition::parse(text).unwrap());
    let age = Age { updated_before: Some(Timestamp(5)), ..Age::default() };
    let ended = "SEARCH i USING INDEX instances_ended (plugin=? AND (updated_at,key)>(?,?) \
                 AND updated_at<?)";
    let field = "SEARCH v USING PRIMARY KEY (plugin=? AND field=? AND (value,key)>(?,?) \
                 AND value<?)";
    for (filter, expected) in [
        (all(), "SEARCH i USING PRIMARY KEY (plugin=? AND key>?)"),
        (
            of(InstanceStatus::Running),
            "SEARCH i USING INDEX instances_running (plugin=? AND (started_at,key)>(?,?) \
             AND started_at<?)",
        ),
        (
            of(InstanceStatus::Completed),
            "SEARCH i USING INDEX instances_finished (plugin=? AND (updated_at,key)>(?,?) \
             AND updated_at<?)",
        ),
        (InstanceFilter { age, ..of(InstanceStatus::Ended) }, ended),
        (order(false), field),
        (InstanceFilter { condition: condition("due > 5"), ..order(false) }, field),
        (
            order(true),
            "SEARCH v USING PRIMARY KEY (plugin=? AND field=? AND value>? AND (value,key)<(?,?))",
        ),
        (
            InstanceFilter { condition: condition("paid > 1 and due = 5"), ..all() },
            "SEARCH v USING PRIMARY KEY (plugin=? AND field=? AND value=? AND key>?)",
        ),
    ] {
        let explain = format!("EXPLAIN QUERY PLAN {}", listed::sql(&filter));
        let rows = sqlx::query(sqlx::AssertSqlSafe(explain)).fetch_all(&pool).await.unwrap();
        let plan = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, "detail"));
        let plan: Vec<_> = plan.collect();
        assert_eq!(plan[0].replace("COVERING ", ""), expected, "{plan:?}");
        let is_fine = |line: &String| line.starts_with("SEARCH ");
        assert!(plan.iter().all(is_fine), "{filter:?}: {plan:?}");
    }
}

/// The first is walked, the second sorted: an instance has few.
#[tokio::test]
async fn a_list_of_timers_reads_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let pool = store.reading(1).await.unwrap();
    for (sql, expected) in [
        (TIMERS, "SEARCH timers USING INDEX timers_due ((due,plugin,instance,name)>(?,?,?,?))"),
        (TIMERS_OF_INSTANCE, "SEARCH timers USING PRIMARY KEY (plugin=? AND instance=?)"),
    ] {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = sqlx::query(explain).fetch_all(&pool).await.unwrap();
        assert_eq!(sqlx::Row::get::<String, _>(&rows[0], "detail"), expected);
    }
}

#[tokio::test]
async fn the_instances_of_an_older_file_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(path(&directory)).create_if_missing(true);
    let mut old = options.connect().await.unwrap();
    let position = MIGRATIONS.iter().position(|sql| sql.contains("instances_running")).unwrap();
    for migration in &MIGRATIONS[..position] {
        sqlx::raw_sql(*migration).execute(&mut old).await.unwrap();
    }
    let instances = [("a", "running"), ("b", "running"), ("c", "ended"), ("d", "completed")];
    for (key, status) in instances.into_iter().chain([("e", "completed"), ("f", "completed")]) {
        let sql = "INSERT INTO instances (plugin, key, status, decided, version, started_at, \
                   updated_at) VALUES ('orders', ?, ?, 1, 1, 1, 1)";
        sqlx::query(sql).bind(key).bind(status).execute(&mut old).await.unwrap();
    }
    for (plugin, received) in [("orders", 6), ("none", 7)] {
        let mut progress = contract::plugin_progress(plugin, 6);
        progress.counters.received = received;
        let query = sqlx::query("INSERT INTO plugins VALUES (?, ?, ?)").bind(plugin);
        let query = query.bind(super::rows::json(&progress.cursor));
        let query = query.bind(super::rows::json(&progress.counters));
        query.execute(&mut old).await.unwrap();
    }
    let mark = format!("PRAGMA application_id = 0x53414742; PRAGMA user_version = {position}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(mark)).execute(&mut old).await.unwrap();
    sqlx::Connection::close(old).await.unwrap();
    let store = open(&directory).await;
    let counters = async |plugin: &str| {
        store.read_plugin(&plugin.into()).await.unwrap().unwrap().progress.counters
    };
    let expected = InstanceCounts { running: 2, completed: 3, ended: 1 };
    let orders = counters("orders").await;
    assert_eq!((orders.received, orders.instances), (6, expected));
    let none = counters("none").await;
    assert_eq!((none.received, none.instances), (7, InstanceCounts::default()));
    let queries = SqliteQueries::new(&store, QueryLimits::default()).await.unwrap();
    let counts = queries.instance_counts("orders").await.unwrap();
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [("completed", 3), ("ended", 1), ("running", 2)]
    );
}

/// A store that is gone with its directory.
struct Passing {
    directory: tempfile::TempDir,
    store: SqliteStore,
}

#[async_trait]
impl batches::contract::Opened for Passing {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn items(&self) -> &dyn BatchItems {
        &self.store
    }

    async fn add(&self, batch: BatchId, items: &[BatchItem]) {
        let options = SqliteConnectOptions::new().filename(path(&self.directory));
        let mut connection = options.connect().await.unwrap();
        for item in items {
            let sql = "INSERT INTO batch_items (batch, item, plugin, sink, key, started) \
                       VALUES (?, ?, ?, ?, ?, ?)";
            let query = sqlx::query(sql)
                .bind(super::rows::integer(batch.0))
                .bind(super::rows::integer(item.item))
                .bind(item.plugin.as_str().to_owned())
                .bind(item.sink.as_ref().map(|sink| sink.as_str().to_owned()))
                .bind(item.key.as_ref().map(|key| key.as_str().to_owned()))
                .bind(item.started.map(|started| super::rows::integer(started.0)));
            query.execute(&mut connection).await.unwrap();
        }
        sqlx::Connection::close(connection).await.unwrap();
    }
}

#[tokio::test]
async fn sqlite_keeps_the_contract_of_batches() {
    batches::contract::all(async || {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory).await;
        Passing { directory, store }
    })
    .await;
}

/// Files in one directory.
struct Files(tempfile::TempDir);

#[async_trait]
impl Stores for Files {
    async fn open(&self, name: &str) -> Box<dyn Store> {
        let url = self.0.path().join(name).display().to_string();
        let store = SqliteStore::open(&url).await.unwrap();
        Box::new(store)
    }
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    contract::all(&Files(tempfile::tempdir().unwrap())).await;
}

#[tokio::test]
async fn sqlite_answers_the_questions_of_the_host() {
    let directory = tempfile::tempdir().unwrap();
    query::contract::all(&|name| directory.path().join(name).display().to_string()).await;
}
