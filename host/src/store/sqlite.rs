//! The store on SQLite. Each table is written by one statement a batch, over the
//! rows as one JSON array (`json_each`): the cost of a commit is the number of its
//! statements, not of its rows.
//!
//! One connection writes; reads have their own and see the last commit.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use sagabox_engine::model::{
    Counters, Cursor, DeadLetter, DeadLetterId, DeadLetterSubject, Held, Instance, Key, LogEntry,
    Message, PluginName, Position, Sequence, SinkName, Timestamp,
};
use sagabox_engine::store::{
    Append, Batch, CommitError, Committed, Loaded, MessageLane, PluginProgress, ReadError,
    Recovered, RecoveredPlugin, RecoveredSink, SinkProgress, Store, TimerRow,
};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::Mutex;

use super::insert::Insert;
use super::letters;
use super::open::{self, OpenError};
use super::rows::json as json_rows;
use super::rows::{self, encode, integer};

/// Connections for the engine's reads: recovery and readers that are behind.
const READERS: u32 = 2;

pub struct SqliteStore {
    /// None between a commit of unknown outcome and the recovery after it.
    writer: Mutex<Option<SqliteConnection>>,
    readers: SqlitePool,
    options: SqliteConnectOptions,
    subjects_indexed: Mutex<bool>,
    /// Keeps other hosts away.
    _lock: File,
}

impl SqliteStore {
    /// Opens or creates the database; see [`OpenError`] for what is refused.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        let path = open::path_of(url)?;
        let lock = open::lock(&path)?;
        let options = open::prepare(&path).await?;
        let io = |error: sqlx::Error| OpenError::Io { path: path.clone(), why: error.to_string() };
        let writer = options.connect().await.map_err(io)?;
        let readers = readers(&options, READERS).await.map_err(io)?;
        Ok(Self {
            writer: Mutex::new(Some(writer)),
            readers,
            options,
            subjects_indexed: Mutex::new(false),
            _lock: lock,
        })
    }

    /// Connections for others who read.
    pub(super) async fn reading(&self, connections: u32) -> Result<SqlitePool, sqlx::Error> {
        readers(&self.options, connections).await
    }

    async fn rows(
        &self,
        query: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<Vec<SqliteRow>, ReadError> {
        query.fetch_all(&self.readers).await.map_err(unreadable)
    }

    /// Only enrichers read streams; without them the log does without this index.
    async fn index_subjects(&self) -> Result<(), ReadError> {
        let mut indexed = self.subjects_indexed.lock().await;
        if !*indexed {
            let mut writer = self.writer.lock().await;
            let writer = writer.as_mut().ok_or_else(|| ReadError("the store recovers".into()))?;
            let sql = "CREATE INDEX IF NOT EXISTS log_subject ON log (subject, position) \
                       WHERE subject IS NOT NULL";
            sqlx::query(sql).execute(writer).await.map_err(unreadable)?;
            *indexed = true;
        }
        Ok(())
    }
}

async fn readers(options: &SqliteConnectOptions, count: u32) -> Result<SqlitePool, sqlx::Error> {
    // Not `read_only`: the last connection to close a WAL database must be able to tidy up.
    let options = options.clone().pragma("query_only", "1").pragma("cache_size", "-8192");
    SqlitePoolOptions::new().max_connections(count).connect_with(options).await
}

fn unreadable(error: sqlx::Error) -> ReadError {
    ReadError(format!("the store cannot be read: {error}"))
}

/// Plain words for what an operator can mend.
fn plainly(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        Some("13") => "the disk is full; free some space and work resumes".to_owned(),
        Some("8") => "the database file is read-only".to_owned(),
        _ => error.to_string(),
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn recover(&self) -> Result<Recovered, ReadError> {
        // A new connection: the old one may stand in the middle of a transaction.
        let mut writer = self.writer.lock().await;
        *writer = None;
        *writer = Some(self.options.connect().await.map_err(unreadable)?);
        drop(writer);

        let plugins = self.rows(sqlx::query("SELECT * FROM plugins ORDER BY plugin")).await?;
        let sinks = self.rows(sqlx::query("SELECT * FROM sinks ORDER BY sink")).await?;
        let mut reader = self.readers.acquire().await.map_err(unreadable)?;
        let (mut events, mut messages) = letters::parked(&mut reader).await.map_err(unreadable)?;
        drop(reader);
        let mut recovered = Recovered::default();
        for row in &plugins {
            let plugin: PluginName = rows::text(row, "plugin")?.into();
            let cursor = rows::parsed(row, "cursor")?;
            let counters = rows::parsed(row, "counters")?;
            let parked = events.remove(&plugin).unwrap_or_default().into_values().collect();
            let progress = PluginProgress { plugin, cursor, counters };
            recovered.plugins.push(RecoveredPlugin { progress, parked });
        }
        let mut known: BTreeSet<SinkName> = BTreeSet::new();
        for row in &sinks {
            let sink: SinkName = rows::text(row, "sink")?.into();
            let cursor = rows::parsed(row, "cursor")?;
            let counters = rows::parsed(row, "counters")?;
            known.insert(sink.clone());
            let progress = SinkProgress { sink, cursor, counters };
            recovered.sinks.push(RecoveredSink { progress, last: Sequence(0), parked: Vec::new() });
        }
        for sink in self.sinks_with_messages().await? {
            if !known.contains(&sink) {
                let progress =
                    SinkProgress { sink, cursor: Cursor::default(), counters: Counters::default() };
                let sink = RecoveredSink { progress, last: Sequence(0), parked: Vec::new() };
                recovered.sinks.push(sink);
            }
        }
        recovered.sinks.sort_by(|a, b| a.progress.sink.cmp(&b.progress.sink));
        for sink in &mut recovered.sinks {
            let query =
                sqlx::query("SELECT coalesce(max(sequence), 0) AS n FROM outbox WHERE sink = ?")
                    .bind(sink.progress.sink.as_str());
            let row = query.fetch_one(&self.readers).await.map_err(unreadable)?;
            let highest = sink.progress.cursor.highest().max(rows::number(&row, "n")?);
            sink.last = Sequence(highest);
            let parked = messages.remove(&sink.progress.sink).unwrap_or_default();
            sink.parked = parked.into_values().collect();
        }
        let query = sqlx::query(
            "SELECT (SELECT coalesce(max(position), 0) FROM log) AS position, \
                    (SELECT coalesce(max(id), 0) FROM dead_letters) AS letter",
        );
        let row = query.fetch_one(&self.readers).await.map_err(unreadable)?;
        let cursors = recovered.plugins.iter().map(|plugin| plugin.progress.cursor.highest()).max();
        let position = rows::number(&row, "position")?.max(cursors.unwrap_or(0));
        recovered.position = Position(position);
        recovered.dead_letter = DeadLetterId(rows::number(&row, "letter")?);
        Ok(recovered)
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, CommitError> {
        let mut guard = self.writer.lock().await;
        // Taken out: if this future is dropped half-way, the connection is not used again.
        let Some(mut writer) = guard.take() else {
            return Err(CommitError::Unknown("an earlier commit was interrupted".to_owned()));
        };
        match write(&mut writer, batch).await {
            Ok(committed) => match sqlx::query("COMMIT").execute(&mut writer).await {
                Ok(_) => {
                    *guard = Some(writer);
                    Ok(committed)
                }
                Err(error) => Err(CommitError::Unknown(plainly(&error))),
            },
            Err(error) => match sqlx::query("ROLLBACK").execute(&mut writer).await {
                Ok(_) => {
                    *guard = Some(writer);
                    Err(CommitError::NotCommitted(plainly(&error)))
                }
                // SQLite rolls back by itself when the disk is full: then this says "no transaction".
                Err(_) if is_full(&error) => {
                    *guard = Some(writer);
                    Err(CommitError::NotCommitted(plainly(&error)))
                }
                Err(second) => Err(CommitError::Unknown(format!("{error}; {second}"))),
            },
        }
    }

    async fn read_log(&self, after: Position, limit: usize) -> Result<Vec<LogEntry>, ReadError> {
        let sql = "SELECT position, received_at, event FROM log WHERE position > ? ORDER BY position LIMIT ?";
        let query = sqlx::query(sql).bind(integer(after.0)).bind(limit_of(limit));
        self.rows(query).await?.iter().map(rows::log_entry).collect()
    }

    async fn read_stream(
        &self,
        subject: &str,
        after: Position,
        before: Position,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ReadError> {
        self.index_subjects().await?;
        let sql = "SELECT position, received_at, event FROM log \
                   WHERE subject = ? AND position > ? AND position < ? ORDER BY position LIMIT ?";
        let query = sqlx::query(sql)
            .bind(subject.to_owned())
            .bind(integer(after.0))
            .bind(integer(before.0))
            .bind(limit_of(limit));
        self.rows(query).await?.iter().map(rows::log_entry).collect()
    }

    async fn load(&self, plugin: &PluginName, keys: &[Key]) -> Result<Loaded, ReadError> {
        let keys = json_rows(keys);
        let sql = "SELECT * FROM instances WHERE plugin = ?1 AND key IN \
                   (SELECT value FROM json_each(?2) UNION SELECT instance FROM claims \
                    WHERE plugin = ?1 AND key IN (SELECT value FROM json_each(?2))) ORDER BY key";
        let query = sqlx::query(sql).bind(plugin.as_str().to_owned()).bind(keys.clone());
        let instances = self.rows(query).await?;
        let sql = "SELECT held.*, log.received_at, log.event FROM held JOIN log USING (position) \
                   WHERE plugin = ?1 AND key IN (SELECT value FROM json_each(?2)) \
                   ORDER BY position, key";
        let query = sqlx::query(sql).bind(plugin.as_str().to_owned()).bind(keys);
        loaded(plugin, &instances, &self.rows(query).await?)
    }

    async fn load_all(
        &self,
        plugin: &PluginName,
        limit: usize,
    ) -> Result<Option<Loaded>, ReadError> {
        // Not `count(*)`: what matters is whether there are more, not how many.
        let sql = "SELECT (SELECT count(*) FROM (SELECT 1 FROM instances WHERE plugin = ?1 LIMIT ?2)) \
                        + (SELECT count(*) FROM (SELECT 1 FROM held WHERE plugin = ?1 LIMIT ?2)) AS n";
        let query = sqlx::query(sql)
            .bind(plugin.as_str().to_owned())
            .bind(limit_of(limit.saturating_add(1)));
        let row = query.fetch_one(&self.readers).await.map_err(unreadable)?;
        if rows::number(&row, "n")? > limit as u64 {
            return Ok(None);
        }
        let sql = "SELECT * FROM instances WHERE plugin = ? ORDER BY key";
        let instances = self.rows(sqlx::query(sql).bind(plugin.as_str().to_owned())).await?;
        let sql = "SELECT held.*, log.received_at, log.event FROM held JOIN log USING (position) \
                   WHERE plugin = ? ORDER BY position, key";
        let held = self.rows(sqlx::query(sql).bind(plugin.as_str().to_owned())).await?;
        loaded(plugin, &instances, &held).map(Some)
    }

    async fn read_outbox(
        &self,
        sink: &SinkName,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        let sql = "SELECT * FROM outbox WHERE sink = ? AND sequence > ? ORDER BY sequence LIMIT ?";
        let query = sqlx::query(sql)
            .bind(sink.as_str().to_owned())
            .bind(integer(after.0))
            .bind(limit_of(limit));
        self.rows(query).await?.iter().map(rows::message).collect()
    }

    async fn read_timers(
        &self,
        due_until: Timestamp,
        limit: usize,
    ) -> Result<Vec<TimerRow>, ReadError> {
        let sql =
            "SELECT * FROM timers WHERE due <= ? ORDER BY due, plugin, instance, name LIMIT ?";
        let query = sqlx::query(sql).bind(integer(due_until.0)).bind(limit_of(limit));
        self.rows(query).await?.iter().map(rows::timer).collect()
    }

    async fn read_parked(
        &self,
        plugin: &PluginName,
        key: &Key,
        after: Position,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let sql = "SELECT position, received_at, event FROM parked JOIN log USING (position) \
                   WHERE plugin = ? AND key = ? AND position > ? ORDER BY position LIMIT ?";
        let query = sqlx::query(sql)
            .bind(plugin.as_str().to_owned())
            .bind(key.as_str().to_owned())
            .bind(integer(after.0))
            .bind(limit_of(limit));
        self.rows(query).await?.iter().map(rows::log_entry).collect()
    }

    async fn read_parked_messages(
        &self,
        lane: &MessageLane,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        let sql = "SELECT outbox.* FROM parked_messages JOIN outbox USING (sink, sequence) \
                   WHERE parked_messages.sink = ? AND parked_messages.plugin = ? \
                     AND parked_messages.key = ? AND sequence > ? ORDER BY sequence LIMIT ?";
        let query = sqlx::query(sql)
            .bind(lane.sink.as_str().to_owned())
            .bind(lane.plugin.as_str().to_owned())
            .bind(lane.key.as_str().to_owned())
            .bind(integer(after.0))
            .bind(limit_of(limit));
        self.rows(query).await?.iter().map(rows::message).collect()
    }

    async fn read_expired_holds(
        &self,
        plugin: &PluginName,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Held>, ReadError> {
        let sql = "SELECT held.*, log.received_at, log.event FROM held JOIN log USING (position) \
                   WHERE plugin = ? AND until <= ? ORDER BY until, position, key LIMIT ?";
        let query = sqlx::query(sql)
            .bind(plugin.as_str().to_owned())
            .bind(integer(until.0))
            .bind(limit_of(limit));
        self.rows(query).await?.iter().map(|row| rows::held(row, plugin)).collect()
    }

    async fn read_plugin(&self, plugin: &PluginName) -> Result<Option<RecoveredPlugin>, ReadError> {
        let query = sqlx::query("SELECT * FROM plugins WHERE plugin = ?").bind(plugin.as_str());
        let found = self.rows(query).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let mut reader = self.readers.acquire().await.map_err(unreadable)?;
        let (mut events, _) = letters::parked(&mut reader).await.map_err(unreadable)?;
        let parked = events.remove(plugin).unwrap_or_default().into_values().collect();
        let (cursor, counters) = (rows::parsed(row, "cursor")?, rows::parsed(row, "counters")?);
        let progress = PluginProgress { plugin: plugin.clone(), cursor, counters };
        Ok(Some(RecoveredPlugin { progress, parked }))
    }

    async fn read_dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, ReadError> {
        let query = sqlx::query("SELECT * FROM dead_letters WHERE id = ?").bind(integer(id.0));
        self.rows(query).await?.first().map(letters::dead_letter).transpose()
    }
}

impl SqliteStore {
    /// Without looking at every message: jumps from sink to sink in the primary key.
    async fn sinks_with_messages(&self) -> Result<Vec<SinkName>, ReadError> {
        let mut sinks: Vec<SinkName> = Vec::new();
        loop {
            let last = sinks.last().map_or("", SinkName::as_str).to_owned();
            let query = sqlx::query("SELECT sink FROM outbox WHERE sink > ? ORDER BY sink LIMIT 1");
            match self.rows(query.bind(last)).await?.first() {
                Some(row) => sinks.push(rows::text(row, "sink")?.into()),
                None => return Ok(sinks),
            }
        }
    }
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn is_full(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some("13")
}

fn loaded(
    plugin: &PluginName,
    instances: &[SqliteRow],
    held: &[SqliteRow],
) -> Result<Loaded, ReadError> {
    let instances: Result<Vec<Arc<Instance>>, ReadError> =
        instances.iter().map(|row| rows::instance(row).map(Arc::new)).collect();
    let held: Result<Vec<Held>, ReadError> =
        held.iter().map(|row| rows::held(row, plugin)).collect();
    Ok(Loaded { instances: instances?, held: held? })
}

/// Runs one statement over rows, if there are any.
async fn over(
    writer: &mut SqliteConnection,
    sql: &'static str,
    rows: &[impl serde::Serialize],
) -> Result<u64, sqlx::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    Ok(sqlx::query(sql).bind(json_rows(rows)).execute(writer).await?.rows_affected())
}

/// Everything but the COMMIT.
async fn write(writer: &mut SqliteConnection, batch: &Batch) -> Result<Committed, sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *writer).await?;
    let committed = append(writer, batch).await?;
    write_instances(writer, batch).await?;
    write_decisions(writer, batch).await?;
    write_waiting(writer, batch).await?;
    write_progress(writer, batch).await?;
    Ok(committed)
}

async fn append(writer: &mut SqliteConnection, batch: &Batch) -> Result<Committed, sqlx::Error> {
    let mut committed = Committed::default();
    if batch.appends.is_empty() {
        return Ok(committed);
    }
    let identities: Vec<(i64, i64, u64)> = batch
        .appends
        .iter()
        .filter(|append| !append.redriven)
        .map(|append| {
            let (high, low) = rows::identity(&append.event);
            (high, low, append.position.0)
        })
        .collect();
    const SEEN: Insert = Insert {
        head: "INSERT INTO seen (hash_high, hash_low, position)",
        columns: 3,
        tail: "ON CONFLICT DO NOTHING",
    };
    let fresh = SEEN
        .run(writer, &identities, |query, (high, low, position)| {
            query.bind(*high).bind(*low).bind(integer(*position))
        })
        .await?;
    if fresh < identities.len() as u64 {
        let sql = "SELECT rows.value ->> 2 AS position FROM json_each(?) AS rows LEFT JOIN seen \
                   ON seen.hash_high = rows.value ->> 0 AND seen.hash_low = rows.value ->> 1 \
                   WHERE seen.position IS NOT rows.value ->> 2 ORDER BY 1";
        for row in sqlx::query(sql).bind(json_rows(&identities)).fetch_all(&mut *writer).await? {
            let position = rows::number(&row, "position")
                .map_err(|error| sqlx::Error::Decode(error.to_string().into()))?;
            committed.duplicates.push(Position(position));
        }
    }
    let is_duplicate = |position| committed.duplicates.binary_search(position).is_ok();
    let entries: Vec<&Append> =
        batch.appends.iter().filter(|append| !is_duplicate(&append.position)).collect();
    const LOG: Insert = Insert {
        head: "INSERT INTO log (position, received_at, subject, event)",
        columns: 4,
        tail: "",
    };
    LOG.run(writer, &entries, |query, append| {
        query
            .bind(integer(append.position.0))
            .bind(integer(append.received_at.0))
            .bind(append.event.subject.clone())
            .bind(append.event.to_json())
    })
    .await?;
    let fired: Vec<_> = batch.appends.iter().filter_map(|append| append.fires.as_ref()).collect();
    let fired: Vec<_> =
        fired.iter().map(|t| (&t.plugin, &t.instance, &t.name, t.due, t.set_by)).collect();
    over(
        writer,
        "DELETE FROM timers WHERE (plugin, instance, name, due, set_by) IN \
         (SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?))",
        &fired,
    )
    .await?;
    Ok(committed)
}

async fn write_instances(writer: &mut SqliteConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    const INSTANCES: Insert = Insert {
        head: "INSERT OR REPLACE INTO instances (plugin, key, status, state_version, state, \
               claims, timers, decided, version, started_at, updated_at)",
        columns: 11,
        tail: "",
    };
    INSTANCES
        .run(writer, &batch.instances, |query, (plugin, instance)| {
            let state = instance.state.as_ref();
            query
                .bind(plugin.to_string())
                .bind(instance.key.to_string())
                .bind(instance.status.as_str())
                .bind(state.map(|state| state.version))
                .bind(state.map(|state| encode(&state.data)))
                .bind(json_rows(&instance.claims))
                .bind(json_rows(&instance.timers))
                .bind(integer(instance.decided.0))
                .bind(integer(instance.version))
                .bind(integer(instance.started_at.0))
                .bind(integer(instance.updated_at.0))
        })
        .await?;
    let (claimed, released): (Vec<_>, Vec<_>) =
        batch.claims.iter().partition(|claim| claim.claimed);
    let named =
        |claims: Vec<&sagabox_engine::store::ClaimChange>| -> Vec<(String, String, String)> {
            let names = |c: &sagabox_engine::store::ClaimChange| {
                (c.plugin.to_string(), c.key.to_string(), c.instance.to_string())
            };
            claims.into_iter().map(names).collect()
        };
    over(
        writer,
        "INSERT OR IGNORE INTO claims (plugin, key, instance) \
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)",
        &named(claimed),
    )
    .await?;
    over(
        writer,
        "DELETE FROM claims WHERE (plugin, key, instance) IN \
         (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
        &named(released),
    )
    .await?;
    over(
        writer,
        "DELETE FROM timers WHERE (plugin, instance, name) IN \
         (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
        &batch.timers_cleared,
    )
    .await?;
    let set: Vec<_> = batch
        .timers_set
        .iter()
        .map(|row| {
            let timer = &row.timer;
            (
                &timer.plugin,
                &timer.instance,
                &timer.name,
                timer.due,
                timer.set_by,
                encode(&row.data),
            )
        })
        .collect();
    over(
        writer,
        "INSERT OR REPLACE INTO timers (plugin, instance, name, due, set_by, data) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 \
         FROM json_each(?)",
        &set,
    )
    .await?;
    Ok(())
}

async fn write_decisions(writer: &mut SqliteConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    const DECISIONS: Insert = Insert {
        head: "INSERT INTO decisions (position, plugin, key, previous, decided_at, \
               plugin_version, attempt, state_version, state, summary)",
        columns: 10,
        tail: "",
    };
    DECISIONS
        .run(writer, &batch.decisions, |query, decision| {
            let state = decision.state.as_ref();
            query
                .bind(integer(decision.position.0))
                .bind(decision.plugin.to_string())
                .bind(decision.key.to_string())
                .bind(decision.previous.map(|previous| integer(previous.0)))
                .bind(integer(decision.decided_at.0))
                .bind(decision.plugin_version.to_string())
                .bind(decision.attempt)
                .bind(state.map(|state| state.version))
                .bind(state.map(|state| encode(&state.data)))
                .bind(decision.summary.clone())
        })
        .await?;
    const OUTBOX: Insert = Insert {
        head: "INSERT INTO outbox (sink, sequence, kind, plugin, key, cause, event)",
        columns: 7,
        tail: "",
    };
    OUTBOX
        .run(writer, &batch.messages, |query, message| {
            query
                .bind(message.sink.to_string())
                .bind(integer(message.sequence.0))
                .bind(rows::kind(message.kind))
                .bind(message.plugin.to_string())
                .bind(message.key.to_string())
                .bind(integer(message.cause.0))
                .bind(message.event.to_json())
        })
        .await?;
    Ok(())
}

/// What is held, parked or dead.
async fn write_waiting(writer: &mut SqliteConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    over(
        writer,
        "DELETE FROM held WHERE (plugin, key, position) IN \
         (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
        &batch.held_removed,
    )
    .await?;
    let held: Vec<_> = batch
        .held
        .iter()
        .map(|held| {
            let reached = serde_json::to_string(&held.reached).unwrap_or_default();
            (&held.plugin, held.entry.position, &held.key, held.until, reached)
        })
        .collect();
    over(
        writer,
        "INSERT OR REPLACE INTO held (plugin, position, key, until, reached) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?)",
        &held,
    )
    .await?;
    over(
        writer,
        "DELETE FROM parked WHERE (plugin, key, position) IN \
         (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
        &batch.parked_removed,
    )
    .await?;
    let parked: Vec<_> =
        batch.parked.iter().map(|row| (&row.plugin, &row.key, row.entry.position)).collect();
    over(
        writer,
        "INSERT OR REPLACE INTO parked (plugin, key, position) \
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)",
        &parked,
    )
    .await?;
    over(
        writer,
        "DELETE FROM parked_messages WHERE (sink, sequence) IN \
         (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
        &batch.parked_messages_removed,
    )
    .await?;
    let parked: Vec<_> = batch
        .parked_messages
        .iter()
        .map(|(lane, sequence)| (&lane.sink, sequence, &lane.plugin, &lane.key))
        .collect();
    over(
        writer,
        "INSERT OR REPLACE INTO parked_messages (sink, sequence, plugin, key) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)",
        &parked,
    )
    .await?;
    let letters: Vec<_> = batch.dead_letters.iter().map(|letter| letter_row(letter)).collect();
    over(
        writer,
        "INSERT OR REPLACE INTO dead_letters (id, sink, sequence, plugin, key, position, reason, \
                     attempts, plugin_version, at, status, resolved_by, resolved_reason, event, \
                     edited, message_kind) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
                value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, \
                value ->> 12, value ->> 13, value ->> 14, value ->> 15 FROM json_each(?)",
        &letters,
    )
    .await?;
    Ok(())
}

/// One value for each column.
fn letter_row(letter: &DeadLetter) -> [serde_json::Value; 16] {
    let (sink, sequence, kind) = match &letter.subject {
        DeadLetterSubject::Event => (None, None, None),
        DeadLetterSubject::Message { sink, sequence, kind } => {
            (Some(sink), Some(sequence), Some(rows::kind(*kind)))
        }
    };
    [
        json!(letter.id),
        json!(sink),
        json!(sequence),
        json!(letter.plugin),
        json!(letter.key),
        json!(letter.position),
        json!(letter.reason),
        json!(letter.attempts),
        json!(letter.plugin_version),
        json!(letter.at),
        json!(letter.status.as_str()),
        json!(letter.resolved_by),
        json!(letter.resolved_reason),
        json!(letter.event.to_json()),
        json!(letter.edited.as_ref().map(|event| event.to_json())),
        json!(kind),
    ]
}

async fn write_progress(writer: &mut SqliteConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    let progress = |cursor: &Cursor, counters: &Counters| {
        let text = |value: serde_json::Result<String>| value.unwrap_or_default();
        (text(serde_json::to_string(cursor)), text(serde_json::to_string(counters)))
    };
    let plugins: Vec<_> = batch
        .plugins
        .iter()
        .map(|row| {
            let (cursor, counters) = progress(&row.cursor, &row.counters);
            (&row.plugin, cursor, counters)
        })
        .collect();
    over(
        writer,
        "INSERT OR REPLACE INTO plugins (plugin, cursor, counters) \
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)",
        &plugins,
    )
    .await?;
    let sinks: Vec<_> = batch
        .sinks
        .iter()
        .map(|row| {
            let (cursor, counters) = progress(&row.cursor, &row.counters);
            (&row.sink, cursor, counters)
        })
        .collect();
    over(
        writer,
        "INSERT OR REPLACE INTO sinks (sink, cursor, counters) \
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)",
        &sinks,
    )
    .await?;
    Ok(())
}
