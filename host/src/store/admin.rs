//! Read-only queries for people: instances, histories, dead letters, accounts.
//! On connections of their own, so that nobody who looks slows the engine down.

use std::collections::BTreeMap;

use sagabox_engine::model::{Counters, Cursor};
use sagabox_engine::store::ReadError;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Connection, SqliteConnection};

use super::SqliteStore;
use super::rows::{self, integer};

const CONNECTIONS: u32 = 2;
/// A stateless role has no instance to begin a history at: its decisions are looked
/// through backwards, this many at most.
const SCANNED_DECISIONS_MAX: i64 = 200_000;
/// Events that a plugin is behind are counted up to so many; beyond, the gaps that
/// duplicates left count as well. Whoever is far behind must not make looking slow.
const COUNTED_PENDING_MAX: u64 = 100_000;

#[derive(Clone)]
pub struct Admin {
    pub(super) pool: SqlitePool,
}

#[derive(Debug, Serialize)]
pub struct InstanceRow {
    pub key: String,
    pub status: String,
    /// Decisions so far.
    pub version: u64,
    pub started_at: u64,
    pub updated_at: u64,
}

/// All about one instance, or one key of a stateless role.
#[derive(Debug, Serialize)]
pub struct InstanceDetail {
    pub plugin: String,
    pub key: String,
    pub status: Option<String>,
    /// JSON if it is JSON, otherwise text.
    pub state: Option<Value>,
    pub state_version: Option<u64>,
    /// Additional keys.
    pub keys: Vec<String>,
    pub timers: Value,
    /// Whether it waits behind a dead letter.
    pub parked: bool,
    /// Newest first.
    pub history: Vec<HistoryRow>,
}

#[derive(Debug, Serialize)]
pub struct HistoryRow {
    pub position: u64,
    pub decided_at: u64,
    pub plugin_version: String,
    pub attempt: u64,
    pub event: Option<EventName>,
    pub summary: Box<RawValue>,
}

#[derive(Debug, Serialize)]
pub struct EventName {
    pub id: String,
    #[serde(rename = "type")]
    pub event_type: String,
}

#[derive(Debug, Serialize)]
pub struct DeadLetterRow {
    pub id: u64,
    /// `event` or `message`.
    pub kind: &'static str,
    pub plugin: String,
    pub key: Option<String>,
    pub position: u64,
    pub sink: Option<String>,
    pub reason: String,
    pub attempts: u64,
    pub plugin_version: String,
    pub at: u64,
    pub status: String,
    pub resolved_by: Option<String>,
    pub resolved_reason: Option<String>,
    pub event: Box<RawValue>,
    /// What an operator put in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited: Option<Box<RawValue>>,
}

#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    pub plugin: Option<String>,
    /// The version of the plugin that failed.
    pub plugin_version: Option<String>,
    pub status: Option<String>,
    pub sink: Option<String>,
    pub key: Option<String>,
    pub event_type: Option<String>,
    pub reason_contains: Option<String>,
    pub after: u64,
    pub limit: u32,
}

/// Guarantee 7 as numbers, from one snapshot.
#[derive(Debug, Serialize)]
pub struct Accounts {
    /// Events ever appended to the log.
    pub events: u64,
    pub plugins: Vec<PluginAccount>,
    pub sinks: Vec<SinkAccount>,
    /// Whether every sum adds up.
    pub balanced: bool,
}

/// `received = handled + ignored + held + parked + dead + discarded`, and
/// `pending` events of the log that the plugin has not settled yet; far behind, about so many.
#[derive(Debug, Serialize)]
pub struct PluginAccount {
    pub plugin: String,
    pub received: u64,
    pub handled: u64,
    pub ignored: u64,
    pub held: u64,
    pub parked: u64,
    pub dead: u64,
    pub discarded: u64,
    pub pending: u64,
    pub balanced: bool,
}

/// `messages = delivered + pending + parked + dead + discarded`.
#[derive(Debug, Serialize)]
pub struct SinkAccount {
    pub sink: String,
    pub messages: u64,
    pub delivered: u64,
    pub pending: u64,
    pub parked: u64,
    pub dead: u64,
    pub discarded: u64,
    pub balanced: bool,
}

impl Admin {
    /// # Errors
    /// If no connection can be made.
    pub async fn new(store: &SqliteStore) -> Result<Self, ReadError> {
        let pool = store.reading(CONNECTIONS).await.map_err(failed)?;
        Ok(Self { pool })
    }

    /// Instances in the order of their keys.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn instances(
        &self,
        plugin: &str,
        status: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<InstanceRow>, ReadError> {
        let sql = "SELECT key, status, version, started_at, updated_at FROM instances \
                   WHERE plugin = ?1 AND key > ?2 AND (?3 IS NULL OR status = ?3) \
                   ORDER BY key LIMIT ?4";
        let query = sqlx::query(sql)
            .bind(plugin.to_owned())
            .bind(after.unwrap_or_default().to_owned())
            .bind(status.map(ToOwned::to_owned))
            .bind(limit);
        let found = query.fetch_all(&self.pool).await.map_err(failed)?;
        found.iter().map(instance_row).collect()
    }

    /// How many instances a plugin has, by status.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn instance_counts(&self, plugin: &str) -> Result<BTreeMap<String, u64>, ReadError> {
        let sql = "SELECT status, count(*) AS n FROM instances WHERE plugin = ? GROUP BY status";
        let query = sqlx::query(sql).bind(plugin.to_owned());
        let found = query.fetch_all(&self.pool).await.map_err(failed)?;
        found.iter().map(|row| Ok((rows::text(row, "status")?, rows::number(row, "n")?))).collect()
    }

    /// One instance with its history; none if nothing was ever decided under the key.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn instance(
        &self,
        plugin: &str,
        key: &str,
        history: u32,
    ) -> Result<Option<InstanceDetail>, ReadError> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        let query = sqlx::query("SELECT * FROM instances WHERE plugin = ? AND key = ?")
            .bind(plugin.to_owned())
            .bind(key.to_owned());
        let row = query.fetch_optional(&mut *connection).await.map_err(failed)?;
        let query = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM dead_letters WHERE status IN ('open', 'redriving') AND sink IS NULL \
             AND plugin = ? AND key = ?) AS parked",
        )
        .bind(plugin.to_owned())
        .bind(key.to_owned());
        let parked = query.fetch_one(&mut *connection).await.map_err(failed)?;
        let parked = rows::number(&parked, "parked")? == 1;
        let Some(row) = row else {
            let history = scan(&mut connection, plugin, key, history).await?;
            let known = parked || !history.is_empty();
            return Ok(known.then(|| InstanceDetail {
                plugin: plugin.to_owned(),
                key: key.to_owned(),
                status: None,
                state: None,
                state_version: None,
                keys: Vec::new(),
                timers: Value::Object(serde_json::Map::default()),
                parked,
                history,
            }));
        };
        let instance = rows::instance(&row)?;
        let history = chain(&mut connection, plugin, key, instance.decided.0, history).await?;
        let readable = |data: &[u8]| {
            serde_json::from_slice(data)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(data).into_owned()))
        };
        Ok(Some(InstanceDetail {
            plugin: plugin.to_owned(),
            key: key.to_owned(),
            status: Some(instance.status.as_str().to_owned()),
            state: instance.state.as_ref().map(|state| readable(&state.data)),
            state_version: instance.state.as_ref().map(|state| u64::from(state.version)),
            keys: instance.claims.iter().map(ToString::to_string).collect(),
            timers: serde_json::to_value(&instance.timers).unwrap_or(Value::Null),
            parked,
            history,
        }))
    }

    /// Dead letters in the order in which they came.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetterRow>, ReadError> {
        let sql = "SELECT * FROM dead_letters WHERE id > ?1 AND (?2 IS NULL OR plugin = ?2) \
                   AND (?3 IS NULL OR status = ?3) AND (?4 IS NULL OR sink = ?4) \
                   AND (?5 IS NULL OR key = ?5) AND (?6 IS NULL OR event ->> 'type' = ?6) \
                   AND (?7 IS NULL OR instr(reason, ?7) > 0) \
                   AND (?9 IS NULL OR plugin_version = ?9) ORDER BY id LIMIT ?8";
        let query = sqlx::query(sql)
            .bind(integer(filter.after))
            .bind(filter.plugin.clone())
            .bind(filter.status.clone())
            .bind(filter.sink.clone())
            .bind(filter.key.clone())
            .bind(filter.event_type.clone())
            .bind(filter.reason_contains.clone())
            .bind(filter.limit)
            .bind(filter.plugin_version.clone());
        let found = query.fetch_all(&self.pool).await.map_err(failed)?;
        found.iter().map(letter_row).collect()
    }

    /// # Errors
    /// If the store cannot be read.
    pub async fn accounts(&self) -> Result<Accounts, ReadError> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        // One snapshot: what is committed while we count does not show.
        let mut snapshot = connection.begin().await.map_err(failed)?;
        let events = count(&mut snapshot, "SELECT events AS n FROM totals").await?;
        let plugins = sqlx::query("SELECT * FROM plugins ORDER BY plugin");
        let plugins = plugins.fetch_all(&mut *snapshot).await.map_err(failed)?;
        let mut accounts =
            Accounts { events, plugins: Vec::new(), sinks: Vec::new(), balanced: true };
        for row in &plugins {
            accounts.plugins.push(plugin_account(&mut snapshot, row).await?);
        }
        let sql = "SELECT sink, messages AS n FROM outbox_totals";
        let sinks = sqlx::query(sql).fetch_all(&mut *snapshot).await.map_err(failed)?;
        for row in &sinks {
            accounts.sinks.push(sink_account(&mut snapshot, row).await?);
        }
        accounts.balanced = accounts.plugins.iter().all(|account| account.balanced)
            && accounts.sinks.iter().all(|account| account.balanced);
        Ok(accounts)
    }
}

pub(super) fn failed(error: sqlx::Error) -> ReadError {
    ReadError(format!("the store cannot be read: {error}"))
}

async fn count(connection: &mut SqliteConnection, sql: &'static str) -> Result<u64, ReadError> {
    let row = sqlx::query(sql).fetch_one(connection).await.map_err(failed)?;
    rows::number(&row, "n")
}

async fn count_of(
    connection: &mut SqliteConnection,
    sql: &'static str,
    of: &str,
) -> Result<u64, ReadError> {
    let query = sqlx::query(sql).bind(of.to_owned());
    rows::number(&query.fetch_one(connection).await.map_err(failed)?, "n")
}

async fn plugin_account(
    connection: &mut SqliteConnection,
    row: &SqliteRow,
) -> Result<PluginAccount, ReadError> {
    let plugin = rows::text(row, "plugin")?;
    let counters: Counters = rows::parsed(row, "counters")?;
    let cursor: Cursor = rows::parsed(row, "cursor")?;
    let held = count_of(
        connection,
        "SELECT count(DISTINCT position) AS n FROM held WHERE plugin = ? AND reached = '[]'",
        &plugin,
    )
    .await?;
    let sql = "SELECT count(*) AS n FROM parked WHERE plugin = ?";
    let parked = count_of(connection, sql, &plugin).await?;
    let sql = "SELECT count(*) AS n FROM dead_letters \
               WHERE plugin = ? AND sink IS NULL AND status IN ('open', 'redriving')";
    let dead = count_of(connection, sql, &plugin).await?;
    let after = behind(connection, cursor.settled, COUNTED_PENDING_MAX).await?;
    let mut ahead = 0;
    for span in &cursor.ahead {
        let query = sqlx::query("SELECT count(*) AS n FROM log WHERE position BETWEEN ? AND ?");
        let query = query.bind(integer(span.first)).bind(integer(span.last));
        let row = query.fetch_one(&mut *connection).await.map_err(failed)?;
        ahead += rows::number(&row, "n")?;
    }
    let settled = counters.handled
        + counters.ignored()
        + held
        + parked
        + dead
        + counters.discarded
        + counters.requeued;
    Ok(PluginAccount {
        plugin,
        received: counters.received,
        handled: counters.handled,
        ignored: counters.ignored(),
        held,
        parked,
        dead,
        discarded: counters.discarded,
        pending: after.saturating_sub(ahead),
        balanced: settled == counters.received,
    })
}

/// Events after a position.
pub(super) async fn behind(
    connection: &mut SqliteConnection,
    settled: u64,
    counted_max: u64,
) -> Result<u64, ReadError> {
    let sql = "SELECT count(*) AS n, (SELECT coalesce(max(position), 0) FROM log) AS last \
               FROM (SELECT 1 FROM log WHERE position > ? LIMIT ?)";
    let query = sqlx::query(sql).bind(integer(settled)).bind(integer(counted_max));
    let row = query.fetch_one(connection).await.map_err(failed)?;
    let (counted, last) = (rows::number(&row, "n")?, rows::number(&row, "last")?);
    Ok(if counted < counted_max { counted } else { last.saturating_sub(settled).max(counted) })
}

async fn sink_account(
    connection: &mut SqliteConnection,
    row: &SqliteRow,
) -> Result<SinkAccount, ReadError> {
    let sink = rows::text(row, "sink")?;
    let messages = rows::number(row, "n")?;
    let query = sqlx::query("SELECT * FROM sinks WHERE sink = ?").bind(sink.clone());
    let progress = query.fetch_optional(&mut *connection).await.map_err(failed)?;
    let counters: Counters = match &progress {
        Some(row) => rows::parsed(row, "counters")?,
        None => Counters::default(),
    };
    let sql = "SELECT count(*) AS n FROM parked_messages WHERE sink = ?";
    let parked = count_of(connection, sql, &sink).await?;
    let sql =
        "SELECT count(*) AS n FROM dead_letters WHERE sink = ? AND status IN ('open', 'redriving')";
    let dead = count_of(connection, sql, &sink).await?;
    // What was put in, less what was settled. So neither side is counted row by row, and
    // rows that are too old can go.
    let pending = messages.saturating_sub(counters.received);
    let delivered = counters.handled;
    let settled = delivered + parked + dead + counters.discarded;
    Ok(SinkAccount {
        sink,
        messages,
        delivered,
        pending,
        parked,
        dead,
        discarded: counters.discarded,
        balanced: settled == counters.received && counters.received <= messages,
    })
}

fn instance_row(row: &SqliteRow) -> Result<InstanceRow, ReadError> {
    Ok(InstanceRow {
        key: rows::text(row, "key")?,
        status: rows::text(row, "status")?,
        version: rows::number(row, "version")?,
        started_at: rows::number(row, "started_at")?,
        updated_at: rows::number(row, "updated_at")?,
    })
}

fn letter_row(row: &SqliteRow) -> Result<DeadLetterRow, ReadError> {
    let sink = rows::optional(row, "sink")?;
    Ok(DeadLetterRow {
        id: rows::number(row, "id")?,
        kind: if sink.is_some() { "message" } else { "event" },
        plugin: rows::text(row, "plugin")?,
        key: rows::optional(row, "key")?,
        position: rows::number(row, "position")?,
        sink,
        reason: rows::text(row, "reason")?,
        attempts: rows::number(row, "attempts")?,
        plugin_version: rows::text(row, "plugin_version")?,
        at: rows::number(row, "at")?,
        status: rows::text(row, "status")?,
        resolved_by: rows::optional(row, "resolved_by")?,
        resolved_reason: rows::optional(row, "resolved_reason")?,
        event: RawValue::from_string(rows::text(row, "event")?).map_err(rows::damaged)?,
        edited: rows::optional(row, "edited")?
            .map(|text| RawValue::from_string(text).map_err(rows::damaged))
            .transpose()?,
    })
}

/// From decision to decision, backwards.
async fn chain(
    connection: &mut SqliteConnection,
    plugin: &str,
    key: &str,
    newest: u64,
    limit: u32,
) -> Result<Vec<HistoryRow>, ReadError> {
    let mut history = Vec::new();
    let mut next = Some(newest);
    while let Some(position) = next
        && history.len() < limit as usize
    {
        let sql = "SELECT decisions.*, log.event FROM decisions LEFT JOIN log USING (position) \
                   WHERE decisions.position = ? AND plugin = ? AND key = ?";
        let query =
            sqlx::query(sql).bind(integer(position)).bind(plugin.to_owned()).bind(key.to_owned());
        let Some(row) = query.fetch_optional(&mut *connection).await.map_err(failed)? else {
            break;
        };
        let previous: Option<i64> = sqlx::Row::try_get(&row, "previous").map_err(rows::damaged)?;
        next = previous.and_then(|previous| u64::try_from(previous).ok());
        history.push(history_row(&row)?);
    }
    Ok(history)
}

async fn scan(
    connection: &mut SqliteConnection,
    plugin: &str,
    key: &str,
    limit: u32,
) -> Result<Vec<HistoryRow>, ReadError> {
    let sql = "SELECT recent.*, log.event FROM \
               (SELECT * FROM decisions ORDER BY position DESC LIMIT ?) AS recent \
               LEFT JOIN log ON log.position = recent.position \
               WHERE plugin = ? AND key = ? ORDER BY recent.position DESC LIMIT ?";
    let query = sqlx::query(sql)
        .bind(SCANNED_DECISIONS_MAX)
        .bind(plugin.to_owned())
        .bind(key.to_owned())
        .bind(limit);
    let found = query.fetch_all(connection).await.map_err(failed)?;
    found.iter().map(history_row).collect()
}

fn history_row(row: &SqliteRow) -> Result<HistoryRow, ReadError> {
    let event = match rows::optional(row, "event")? {
        None => None,
        Some(_) => {
            let event = rows::event(row)?;
            Some(EventName { id: event.id.clone(), event_type: event.event_type.clone() })
        }
    };
    Ok(HistoryRow {
        position: rows::number(row, "position")?,
        decided_at: rows::number(row, "decided_at")?,
        plugin_version: rows::text(row, "plugin_version")?,
        attempt: rows::number(row, "attempt")?,
        event,
        summary: RawValue::from_string(rows::text(row, "summary")?).map_err(rows::damaged)?,
    })
}
