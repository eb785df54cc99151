//! The store on SQLite: opening it, and its reads. `writer.rs` commits, `recover.rs`
//! recovers.
//!
//! One connection writes; reads have their own and see the last commit. What belongs
//! together is read in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use sagabox_engine::model::{
    DeadLetter, DeadLetterId, Event, Held, Key, LogEntry, Message, Origin, PluginName, Position,
    Sequence, SinkName, Timer, TimerPlace, TimerRef, Timestamp,
};
use sagabox_engine::pure::identity::event_identity;
use sagabox_engine::seams::store::{
    Batch, CommitError, Committed, DecidedEvent, FinishedInstance, Page, PluginProgress, ReadError,
    Recovered, RecoveredPlugin, Store, StoredInstance, StoredInstances, StreamPage, TimerRow,
};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow,
};
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection, Transaction};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Mutex;

use super::files::{self, FileId};
use super::id_spans::Tails;
use super::open::{self, Claim, OpenError};
use super::recover::{partly_decided, recover};
use super::rows::{self, integer, texts};
use super::seen::Sizes;
use super::writer::Writer;
use super::{dead_letters, trouble};

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Connections for the engine's reads: recovery and readers that are behind.
const READERS: u32 = 2;

/// What waits for one key. By the key's index, and then row by row: `CROSS JOIN` fixes that order.
pub(super) const PARKED_EVENTS: &str = "SELECT log.position, received_at, event, hops FROM parked CROSS JOIN log USING (position) \
     WHERE plugin = ? AND key = ? AND parked.position > ? ORDER BY parked.position LIMIT ?";
pub(super) const MESSAGES: &str = "SELECT * FROM outbox WHERE sink = ? \
    AND sequence IN (SELECT value FROM json_each(?)) ORDER BY sequence";
pub(super) const DEAD_LETTER: &str = "SELECT * FROM dead_letters WHERE id = ?";

pub struct SqliteStore {
    /// None between a commit of unknown outcome and the recovery after it.
    writer: Mutex<Option<Writer>>,
    readers: SqlitePool,
    /// Where the newest events and messages are, by their ids.
    pub(super) ids: Tails,
    pub(super) options: SqliteConnectOptions,
    sizes: Sizes,
    path: PathBuf,
    /// The file that was opened.
    database: (PathBuf, FileId),
    _claim: Claim,
}

impl SqliteStore {
    /// Opens or creates the database; see [`OpenError`] for what is refused.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_with(url, Sizes::default()).await
    }

    pub(super) async fn open_with(url: &str, sizes: Sizes) -> Result<Self, OpenError> {
        let path = open::path_of(url)?;
        let claim = open::claim(&path)?;
        let options = open::prepare(&path).await?;
        let io = |error: sqlx::Error| OpenError::Io { path: path.clone(), why: error.to_string() };
        let ids = Tails::default();
        let writer = blocking(|| Writer::connect(&path, sizes, ids.clone()))
            .map_err(|error| OpenError::Io { path: path.clone(), why: error.to_string() })?;
        let readers = readers(&options, READERS).await.map_err(io)?;
        let database = writer.files.database().clone();
        let writer = Mutex::new(Some(writer));
        Ok(Self { writer, readers, ids, options, sizes, path, database, _claim: claim })
    }

    /// Connections for others who read.
    pub(super) async fn reading(&self, connections: u32) -> Result<SqlitePool, sqlx::Error> {
        readers(&self.options, connections).await
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Connections beside the writing one could not be made.
    pub(super) fn not_opened(&self, error: &sqlx::Error) -> OpenError {
        OpenError::Io { path: self.path.clone(), why: error.to_string() }
    }

    pub(super) fn unreadable(&self, error: &sqlx::Error) -> ReadError {
        trouble::unreadable(&self.path, error)
    }

    /// Instances with their claims and timers, in the same transaction.
    async fn with_what_they_have(
        &self,
        reader: &mut SqliteConnection,
        plugin: &PluginName,
        instances: &[SqliteRow],
    ) -> Result<Vec<StoredInstance>, ReadError> {
        let mut loaded: BTreeMap<Key, StoredInstance> = BTreeMap::new();
        for row in instances {
            let instance = Arc::new(rows::instance(row)?);
            let (claims, timers) = (BTreeSet::new(), BTreeMap::new());
            loaded.insert(instance.key.clone(), StoredInstance { instance, claims, timers });
        }
        if loaded.is_empty() {
            return Ok(Vec::new());
        }
        let (keys, value) = texts(loaded.keys());
        let sql = format!(
            "SELECT instance, key FROM claims \
             WHERE plugin = ?1 AND instance IN (SELECT {value} FROM json_each(?2))"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(plugin.as_str().to_owned());
        let query = query.bind(keys.clone());
        for row in self.rows_in(reader, query).await? {
            if let Some(loaded) = loaded.get_mut(&Key::from(rows::text(&row, "instance")?)) {
                loaded.claims.insert(rows::text(&row, "key")?.into());
            }
        }
        let sql = format!(
            "SELECT * FROM timers \
             WHERE plugin = ?1 AND instance IN (SELECT {value} FROM json_each(?2))"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(plugin.as_str().to_owned()).bind(keys);
        for row in self.rows_in(reader, query).await? {
            let TimerRow { timer, .. } = rows::timer(&row)?;
            if let Some(loaded) = loaded.get_mut(&timer.instance) {
                let TimerRef { name, due, set_by, .. } = timer;
                loaded.timers.insert(name, Timer { due, set_by });
            }
        }
        Ok(loaded.into_values().collect())
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, ReadError> {
        self.readers.begin().await.map_err(|error| self.unreadable(&error))
    }

    async fn rows(&self, query: Query<'_>) -> Result<Vec<SqliteRow>, ReadError> {
        query.fetch_all(&self.readers).await.map_err(|error| self.unreadable(&error))
    }

    /// Row by row, so that one row at most is in memory beyond the page.
    async fn within<T>(
        &self,
        query: Query<'_>,
        page: Page,
        parse: impl Fn(&SqliteRow) -> Result<T, ReadError>,
        bytes: impl Fn(&T) -> usize,
    ) -> Result<Vec<T>, ReadError> {
        let mut rows = query.fetch(&self.readers);
        let (mut found, mut read) = (Vec::new(), 0);
        while let Some(row) = rows.try_next().await.map_err(|error| self.unreadable(&error))? {
            let row = parse(&row)?;
            read += bytes(&row);
            if read > page.bytes && !found.is_empty() {
                break;
            }
            found.push(row);
        }
        Ok(found)
    }

    /// Within a transaction.
    async fn rows_in(
        &self,
        reader: &mut SqliteConnection,
        query: Query<'_>,
    ) -> Result<Vec<SqliteRow>, ReadError> {
        query.fetch_all(reader).await.map_err(|error| self.unreadable(&error))
    }
}

async fn readers(options: &SqliteConnectOptions, count: u32) -> Result<SqlitePool, sqlx::Error> {
    // Not `read_only`: the last connection to close a WAL database must be able to tidy up.
    let options = options.clone().pragma("query_only", "1").pragma("cache_size", "-8192");
    SqlitePoolOptions::new().max_connections(count).connect_with(options).await
}

#[async_trait]
impl Store for SqliteStore {
    async fn recover(&self) -> Result<Recovered, ReadError> {
        let mut writer = self.writer.lock().await;
        if writer.is_none() {
            // What this path leads to now may be another store.
            files::check(&self.database).map_err(ReadError)?;
            let connected = blocking(|| Writer::connect(&self.path, self.sizes, self.ids.clone()));
            let connected = connected.map_err(|error| trouble::unreadable(&self.path, &error))?;
            *writer = Some(connected);
        }
        drop(writer);
        let mut reader = self.begin().await?;
        recover(&mut reader).await.map_err(|error| self.unreadable(&error))
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, CommitError> {
        let mut writer = self.writer.lock().await;
        let Some(connected) = writer.as_mut() else {
            return Err(CommitError::Unknown("an earlier commit was interrupted".to_owned()));
        };
        let committed = blocking(|| connected.commit(&self.path, batch));
        if matches!(committed, Err(CommitError::Unknown(_))) {
            *writer = None;
        }
        committed
    }

    async fn read_log(&self, after: Position, page: Page) -> Result<Vec<LogEntry>, ReadError> {
        // The sizes come first: SQLite knows them without reading the events.
        let sql = "WITH sizes AS \
                     (SELECT position, octet_length(event) AS bytes FROM log \
                      WHERE position > ?1 ORDER BY position LIMIT ?2), \
                   sums AS \
                     (SELECT position, sum(bytes) OVER (ORDER BY position) - bytes AS before, \
                             bytes FROM sizes) \
                   SELECT position, received_at, event, hops FROM log WHERE position > ?1 \
                     AND position <= (SELECT max(position) FROM sums \
                                      WHERE before = 0 OR before + bytes <= ?3) \
                   ORDER BY position";
        let query = sqlx::query(sql).bind(integer(after.0)).bind(limit_of(page.rows));
        let query = query.bind(limit_of(page.bytes));
        self.rows(query).await?.iter().map(rows::log_entry).collect()
    }

    async fn read_stream(
        &self,
        subject: &str,
        after: Position,
        before: Position,
        page: Page,
    ) -> Result<StreamPage, ReadError> {
        let sql = "WITH sizes AS \
                     (SELECT position, octet_length(event) AS bytes FROM log \
                      WHERE subject = ?4 AND position > ?1 AND position < ?5 \
                      ORDER BY position LIMIT ?2), \
                   sums AS \
                     (SELECT position, sum(bytes) OVER (ORDER BY position) - bytes AS before, \
                             bytes FROM sizes) \
                   SELECT position, received_at, event, hops FROM log \
                   WHERE subject = ?4 AND position > ?1 \
                     AND position <= (SELECT max(position) FROM sums \
                                      WHERE before = 0 OR before + bytes <= ?3) \
                   ORDER BY position";
        let query = sqlx::query(sql)
            .bind(integer(after.0))
            .bind(limit_of(page.rows))
            .bind(limit_of(page.bytes))
            .bind(subject.to_owned())
            .bind(integer(before.0));
        let mut reader = self.begin().await?;
        let entries = self.rows_in(&mut reader, query).await?;
        let entries = entries.iter().map(rows::log_entry).collect::<Result<_, ReadError>>()?;
        let sql = "SELECT EXISTS (SELECT 1 FROM streams_shortened WHERE subject = ?) AS shortened";
        let query = sqlx::query(sql).bind(rows::subject(subject));
        let shortened = self.rows_in(&mut reader, query).await?;
        let is_shortened =
            shortened.first().map_or(Ok(0), |row| rows::number(row, "shortened"))? == 1;
        Ok(StreamPage { entries, is_shortened })
    }

    async fn load(
        &self,
        plugin: &PluginName,
        keys: &[Key],
    ) -> Result<Vec<StoredInstance>, ReadError> {
        let (keys, value) = texts(keys);
        let sql = format!(
            "SELECT * FROM instances WHERE plugin = ?1 AND key IN \
             (SELECT {value} FROM json_each(?2) UNION SELECT instance FROM claims \
              WHERE plugin = ?1 AND key IN (SELECT {value} FROM json_each(?2))) ORDER BY key"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(plugin.as_str().to_owned()).bind(keys);
        let mut reader = self.begin().await?;
        let instances = self.rows_in(&mut reader, query).await?;
        self.with_what_they_have(&mut reader, plugin, &instances).await
    }

    async fn load_all(
        &self,
        plugin: &PluginName,
        limit: usize,
    ) -> Result<Option<StoredInstances>, ReadError> {
        // Not all are counted: what matters is whether there are more, not how many.
        let sql = "SELECT (SELECT count(*) FROM (SELECT 1 FROM instances WHERE plugin = ?1 LIMIT ?2)) \
                        + (SELECT count(*) FROM (SELECT 1 FROM held WHERE plugin = ?1 LIMIT ?2)) AS n";
        let query = sqlx::query(sql)
            .bind(plugin.as_str().to_owned())
            .bind(limit_of(limit.saturating_add(1)));
        let mut reader = self.begin().await?;
        let count = self.rows_in(&mut reader, query).await?;
        let count = count.first().map_or(Ok(0), |row| rows::number(row, "n"))?;
        if count > limit as u64 {
            return Ok(None);
        }
        let sql = "SELECT * FROM instances WHERE plugin = ? ORDER BY key";
        let query = sqlx::query(sql).bind(plugin.as_str().to_owned());
        let instances = self.rows_in(&mut reader, query).await?;
        let instances = self.with_what_they_have(&mut reader, plugin, &instances).await?;
        let sql = "SELECT held.*, log.received_at, log.event, log.hops FROM held JOIN log USING (position) \
                   WHERE plugin = ? ORDER BY position, key";
        let query = sqlx::query(sql).bind(plugin.as_str().to_owned());
        let held = self.rows_in(&mut reader, query).await?;
        let held: Result<Vec<Held>, ReadError> =
            held.iter().map(|row| rows::held(row, plugin)).collect();
        Ok(Some(StoredInstances { instances, held: held? }))
    }

    async fn read_keys(
        &self,
        plugin: &PluginName,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, ReadError> {
        // Both tables are in this order, so SQLite merges them and reads no more than a page.
        let is_later = if after.is_some() { ">" } else { ">=" };
        let sql = format!(
            "SELECT key FROM instances WHERE plugin = ?1 AND key {is_later} ?2 UNION \
             SELECT key FROM claims WHERE plugin = ?1 AND key {is_later} ?2 ORDER BY key LIMIT ?3"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(plugin.as_str().to_owned())
            .bind(after.map_or("", Key::as_str).to_owned())
            .bind(limit_of(limit));
        let keys = self.rows(query).await?;
        keys.iter().map(|row| Ok(Key::from(rows::text(row, "key")?.as_str()))).collect()
    }

    async fn read_decided(
        &self,
        plugin: &PluginName,
        key: &Key,
        from: Position,
        limit: usize,
    ) -> Result<Vec<DecidedEvent>, ReadError> {
        let sql = "WITH RECURSIVE chain (place, position, previous, decided_at) AS ( \
                       SELECT 1, position, previous, decided_at FROM decisions \
                       WHERE position = ?3 AND plugin = ?1 AND key = ?2 \
                   UNION ALL \
                       SELECT place + 1, decisions.position, decisions.previous, \
                              decisions.decided_at \
                       FROM chain CROSS JOIN decisions \
                       WHERE decisions.position = chain.previous AND plugin = ?1 AND key = ?2 \
                       LIMIT ?4) \
                   SELECT chain.*, log.received_at, log.event, log.hops, \
                          (SELECT json_group_array(key ORDER BY key) FROM decisions \
                           WHERE position = chain.position AND plugin = ?1) AS deciders \
                   FROM chain LEFT JOIN log USING (position) ORDER BY place";
        let query = sqlx::query(sql)
            .bind(plugin.as_str().to_owned())
            .bind(key.as_str().to_owned())
            .bind(integer(from.0))
            .bind(limit_of(limit));
        self.rows(query).await?.iter().map(rows::decided_event).collect()
    }

    async fn read_outbox(
        &self,
        sink: &SinkName,
        after: Sequence,
        page: Page,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        let sql = "SELECT * FROM outbox WHERE sink = ? AND sequence > ? ORDER BY sequence LIMIT ?";
        let query = sqlx::query(sql)
            .bind(sink.as_str().to_owned())
            .bind(integer(after.0))
            .bind(limit_of(page.rows));
        let bytes = |message: &Arc<Message>| message.event.bytes();
        self.within(query, page, rows::message, bytes).await
    }

    async fn read_timers(
        &self,
        after: Option<&TimerPlace>,
        page: Page,
    ) -> Result<Vec<TimerRow>, ReadError> {
        let sql = "SELECT * FROM timers WHERE fired = 0 AND (due, plugin, instance, name) > (?, ?, ?, ?) \
                   ORDER BY due, plugin, instance, name LIMIT ?";
        let name = |of: fn(&TimerPlace) -> &str| after.map_or("", of).to_owned();
        let query = sqlx::query(sql)
            .bind(after.map_or(-1, |place| integer(place.due.0)))
            .bind(name(|place| place.plugin.as_str()))
            .bind(name(|place| place.instance.as_str()))
            .bind(name(|place| place.name.as_str()))
            .bind(limit_of(page.rows));
        let (mut timers, mut bytes) = (Vec::new(), 0);
        let mut rows = query.fetch(&self.readers);
        while let Some(row) = rows.try_next().await.map_err(|error| self.unreadable(&error))? {
            let row = rows::timer(&row)?;
            bytes += row.data.len().max(1);
            if bytes > page.bytes && !timers.is_empty() {
                break;
            }
            timers.push(row);
        }
        Ok(timers)
    }

    async fn read_parked(
        &self,
        plugin: &PluginName,
        key: &Key,
        after: Position,
        page: Page,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let query = sqlx::query(PARKED_EVENTS)
            .bind(plugin.as_str().to_owned())
            .bind(key.as_str().to_owned())
            .bind(integer(after.0))
            .bind(limit_of(page.rows));
        let bytes = |entry: &LogEntry| entry.event.bytes();
        self.within(query, page, rows::log_entry, bytes).await
    }

    async fn read_messages(
        &self,
        sink: &SinkName,
        sequences: &[Sequence],
        bytes: usize,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        let numbers: Vec<String> = sequences.iter().map(|one| one.0.to_string()).collect();
        let query = sqlx::query(MESSAGES)
            .bind(sink.as_str().to_owned())
            .bind(format!("[{}]", numbers.join(",")));
        let page = Page { rows: sequences.len(), bytes };
        self.within(query, page, rows::message, |message| message.event.bytes()).await
    }

    async fn read_expired_holds(
        &self,
        plugin: &PluginName,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Held>, ReadError> {
        let sql = "SELECT held.*, log.received_at, log.event, log.hops FROM held JOIN log USING (position) \
                   WHERE plugin = ? AND until <= ? ORDER BY until, position, key LIMIT ?";
        let query = sqlx::query(sql)
            .bind(plugin.as_str().to_owned())
            .bind(integer(until.0))
            .bind(limit_of(limit));
        self.rows(query).await?.iter().map(|row| rows::held(row, plugin)).collect()
    }

    async fn read_finished_instances(
        &self,
        plugin: &PluginName,
        place: Position,
        until: Timestamp,
        after: Option<&(Timestamp, Key)>,
        limit: usize,
    ) -> Result<Vec<FinishedInstance>, ReadError> {
        let sql = "SELECT updated_at, key, status FROM instances \
                   WHERE plugin = ?1 AND status <> 'running' AND updated_at <= ?2 AND place <= ?6 \
                     AND (updated_at, key) > (?3, ?4) ORDER BY updated_at, key LIMIT ?5";
        let (after_time, after_key) = after.map_or((-1, ""), |(t, k)| (integer(t.0), k.as_str()));
        let query = sqlx::query(sql)
            .bind(plugin.as_str().to_owned())
            .bind(integer(until.0))
            .bind(after_time)
            .bind(after_key.to_owned())
            .bind(limit_of(limit))
            .bind(integer(place.0));
        let rows = self.rows(query).await?;
        let row = |row: &SqliteRow| {
            Ok(FinishedInstance {
                updated_at: Timestamp(rows::number(row, "updated_at")?),
                key: rows::text(row, "key")?.into(),
                status: rows::instance_status(row)?,
            })
        };
        rows.iter().map(row).collect()
    }

    async fn read_plugin(&self, plugin: &PluginName) -> Result<Option<RecoveredPlugin>, ReadError> {
        let query = sqlx::query("SELECT * FROM plugins WHERE plugin = ?");
        let mut reader = self.begin().await?;
        let found = self.rows_in(&mut reader, query.bind(plugin.as_str().to_owned())).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let parked = dead_letters::parked(&mut reader).await;
        let (mut events, _) = parked.map_err(|error| self.unreadable(&error))?;
        let parked = events.remove(plugin).unwrap_or_default().into_values().collect();
        let partly_decided = partly_decided(&mut reader).await;
        let mut partly_decided = partly_decided.map_err(|error| self.unreadable(&error))?;
        let partly_decided = partly_decided.remove(plugin).unwrap_or_default();
        let (cursor, counters) = (rows::parsed(row, "cursor")?, rows::parsed(row, "counters")?);
        let progress = PluginProgress { plugin: plugin.clone(), cursor, counters };
        Ok(Some(RecoveredPlugin { progress, partly_decided, parked }))
    }

    /// In `seen`, which has the newest identities: some hundred thousand rows at most.
    async fn read_accepted(
        &self,
        events: &[Arc<Event>],
    ) -> Result<Vec<Option<Arc<Event>>>, ReadError> {
        let hash = |event: &Arc<Event>| format!("{:032x}", event_identity(Origin::Outside, event));
        let hashes: Vec<String> = events.iter().map(hash).collect();
        let sql = "SELECT lower(hex(seen.hash)) AS hash, log.event FROM seen JOIN log USING (position) \
                   WHERE seen.hash IN (SELECT unhex(value) FROM json_each(?))";
        let query = sqlx::query(sql).bind(rows::json(&hashes));
        let mut accepted = BTreeMap::new();
        for row in self.rows(query).await? {
            accepted.insert(rows::text(&row, "hash")?, rows::event(&row)?);
        }
        Ok(hashes.iter().map(|hash| accepted.get(hash).cloned()).collect())
    }

    async fn read_dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, ReadError> {
        let query = sqlx::query(DEAD_LETTER).bind(integer(id.0));
        self.rows(query).await?.first().map(dead_letters::dead_letter).transpose()
    }
}

/// SQLite is called on this very thread: to hand a commit to another one and to be woken by
/// it takes longer than a small commit itself. The runtime's other tasks go on elsewhere.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
