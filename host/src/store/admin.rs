//! Read-only queries for people: instances, histories, dead letters, accounts.
//! On connections of their own, so that nobody who looks slows the engine down.

use std::collections::BTreeMap;
use std::time::Duration;

use sagabox_engine::model::{Counters, Cursor};
use sagabox_engine::seams::store::ReadError;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Connection, SqliteConnection};

use super::SqliteStore;
use super::dead_letters;
use super::lists::{PAGE_BYTES, Page};
use super::recover;
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
    pub(super) scan: Scan,
}

/// How long one request looks for what it lists. What comes then is a page that has less than
/// was asked for, and says where to go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    /// Rows that are looked at between two looks at the time.
    pub rows: u32,
    pub time: Duration,
}

impl Default for Scan {
    fn default() -> Self {
        Self { rows: 5_000, time: Duration::from_secs(2) }
    }
}

/// All about one instance, or one key of a stateless role.
#[derive(Debug, Serialize)]
pub struct InstanceDetail {
    pub plugin: String,
    pub key: String,
    pub status: Option<String>,
    /// As it is if it is JSON, otherwise as a string.
    pub state: Option<Box<RawValue>>,
    pub state_version: Option<u64>,
    /// Additional keys.
    pub keys: Vec<String>,
    pub timers: Value,
    /// Whether it waits behind a dead letter.
    pub parked: bool,
    /// The next attempt at its first event, if it waits for that for longer than a moment.
    pub wait: Option<WaitDetail>,
    /// Newest first.
    pub history: Vec<HistoryRow>,
    /// The last position of this page, if there are more.
    pub next: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct WaitDetail {
    pub position: u64,
    /// The number of the next attempt.
    pub attempt: u32,
    /// Milliseconds since 1970.
    pub since: u64,
    pub until: u64,
    /// Why the last attempt failed.
    pub reason: String,
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

/// Guarantee 7 as numbers, from one snapshot.
#[derive(Debug, Serialize)]
pub struct Accounts {
    /// Events ever appended to the log.
    pub events: u64,
    pub plugins: Vec<PluginAccount>,
    pub sinks: Vec<SinkAccount>,
    /// Events of senders that no plugin took when they came, by type.
    pub untaken: Vec<UntakenAccount>,
    /// Duplicates with other content than the event that was accepted under their source and
    /// id, since the host started, as far as they were compared.
    pub differing_duplicates: u64,
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
    /// The ignored ones by the rule that ignored them, without those that ignored none.
    pub ignored_because: BTreeMap<&'static str, u64>,
    pub held: u64,
    pub parked: u64,
    pub dead: u64,
    pub discarded: u64,
    pub pending: u64,
    pub balanced: bool,
}

/// `messages = delivered + pending + parked + dead + discarded + compensated`.
#[derive(Debug, Serialize)]
pub struct SinkAccount {
    pub sink: String,
    pub messages: u64,
    pub delivered: u64,
    pub pending: u64,
    pub parked: u64,
    pub dead: u64,
    pub discarded: u64,
    /// Refused commands whose plugin has handled the refusal.
    pub compensated: u64,
    pub balanced: bool,
}

#[derive(Debug, Serialize)]
pub struct UntakenAccount {
    /// Empty: all types beyond the first hundred.
    #[serde(rename = "type")]
    pub event_type: String,
    pub events: u64,
    pub last_at: u64,
}

impl Admin {
    /// # Errors
    /// If no connection can be made.
    pub async fn new(store: &SqliteStore) -> Result<Self, ReadError> {
        let pool = store.reading(CONNECTIONS).await.map_err(failed)?;
        Ok(Self { pool, scan: Scan::default() })
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

    /// One instance with a page of its history, of what was decided before the decision at
    /// `after`; none if nothing was ever decided under the key.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn instance(
        &self,
        plugin: &str,
        key: &str,
        after: Option<u64>,
        limit: u32,
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
        let sql = "SELECT * FROM waits WHERE plugin = ? AND key = ?";
        let query = sqlx::query(sql).bind(plugin.to_owned()).bind(key.to_owned());
        let wait = query.fetch_optional(&mut *connection).await.map_err(failed)?;
        let wait = wait.as_ref().map(dead_letters::wait).transpose()?.map(|wait| WaitDetail {
            position: wait.place,
            attempt: wait.attempt,
            since: wait.since.0,
            until: wait.until.0,
            reason: wait.reason,
        });
        let Some(row) = row else {
            let scanned = scan(&mut connection, (plugin, key), after, limit).await?;
            let Page { rows: history, next } = scanned;
            let known = parked || wait.is_some() || after.is_some() || !history.is_empty();
            return Ok(known.then(|| InstanceDetail {
                plugin: plugin.to_owned(),
                key: key.to_owned(),
                status: None,
                state: None,
                state_version: None,
                keys: Vec::new(),
                timers: Value::Object(serde_json::Map::default()),
                parked,
                wait,
                history,
                next,
            }));
        };
        let instance = rows::instance(&row)?;
        let of = (plugin, key);
        let newest = match after {
            None => Some(instance.decided.0),
            Some(after) => match decision(&mut connection, of, after).await? {
                Some(row) => previous(&row)?,
                None => None,
            },
        };
        let keys = claims(&mut connection, plugin, key).await?;
        let timers = timers(&mut connection, plugin, key).await?;
        let Page { rows: history, next } = chain(&mut connection, of, newest, limit).await?;
        Ok(Some(InstanceDetail {
            plugin: plugin.to_owned(),
            key: key.to_owned(),
            status: Some(instance.status.as_str().to_owned()),
            state: instance.state.as_ref().map(|state| readable(&state.data)).transpose()?,
            state_version: instance.state.as_ref().map(|state| u64::from(state.version)),
            keys,
            timers,
            parked,
            wait,
            history,
            next,
        }))
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
        let untaken = recover::untaken(&mut snapshot).await.map_err(failed)?;
        let untaken = untaken.into_iter().map(|row| UntakenAccount {
            event_type: row.event_type,
            events: row.count,
            last_at: row.last_at.0,
        });
        let mut accounts = Accounts {
            events,
            plugins: Vec::new(),
            sinks: Vec::new(),
            untaken: untaken.collect(),
            differing_duplicates: 0,
            balanced: true,
        };
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
        ignored_because: ignored_because(&counters),
        held,
        parked,
        dead,
        discarded: counters.discarded,
        pending: after.saturating_sub(ahead),
        balanced: settled == counters.received,
    })
}

/// See [`Counters`] for what each means.
fn ignored_because(counters: &Counters) -> BTreeMap<&'static str, u64> {
    let all = [
        ("absent", counters.ignored_absent),
        ("started", counters.ignored_started),
        ("completed", counters.ignored_completed),
        ("unclaimed", counters.ignored_unclaimed),
        ("superseded", counters.ignored_superseded),
        ("missed", counters.ignored_missed),
        ("source", counters.ignored_source),
    ];
    all.into_iter().filter(|(_, count)| *count > 0).collect()
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
    let sql = "SELECT coalesce(max(letters), 0) AS n FROM compensated WHERE sink = ?";
    let compensated = count_of(connection, sql, &sink).await?;
    // What was put in, less what was settled. So neither side is counted row by row, and
    // rows that are too old can go.
    let pending = messages.saturating_sub(counters.received);
    let delivered = counters.handled;
    let settled = delivered + parked + dead + counters.discarded + compensated;
    Ok(SinkAccount {
        sink,
        messages,
        delivered,
        pending,
        parked,
        dead,
        discarded: counters.discarded,
        compensated,
        balanced: settled == counters.received && counters.received <= messages,
    })
}

async fn decision(
    connection: &mut SqliteConnection,
    (plugin, key): (&str, &str),
    position: u64,
) -> Result<Option<SqliteRow>, ReadError> {
    let sql = "SELECT decisions.*, log.event FROM decisions LEFT JOIN log USING (position) \
               WHERE decisions.position = ? AND plugin = ? AND key = ?";
    let query =
        sqlx::query(sql).bind(integer(position)).bind(plugin.to_owned()).bind(key.to_owned());
    query.fetch_optional(connection).await.map_err(failed)
}

fn previous(row: &SqliteRow) -> Result<Option<u64>, ReadError> {
    let previous: Option<i64> = sqlx::Row::try_get(row, "previous").map_err(rows::damaged)?;
    Ok(previous.and_then(|previous| u64::try_from(previous).ok()))
}

/// The additional keys of an instance.
async fn claims(
    connection: &mut SqliteConnection,
    plugin: &str,
    instance: &str,
) -> Result<Vec<String>, ReadError> {
    let sql = "SELECT key FROM claims WHERE plugin = ? AND instance = ? ORDER BY key";
    let query = sqlx::query(sql).bind(plugin.to_owned()).bind(instance.to_owned());
    let found = query.fetch_all(connection).await.map_err(failed)?;
    found.iter().map(|row| rows::text(row, "key")).collect()
}

/// The timers of an instance: those that are set, and those that have fired and wait for it.
async fn timers(
    connection: &mut SqliteConnection,
    plugin: &str,
    instance: &str,
) -> Result<Value, ReadError> {
    let sql =
        "SELECT name, due, set_by FROM timers WHERE plugin = ? AND instance = ? ORDER BY name";
    let query = sqlx::query(sql).bind(plugin.to_owned()).bind(instance.to_owned());
    let mut timers = serde_json::Map::new();
    for row in query.fetch_all(connection).await.map_err(failed)? {
        let (due, set_by) = (rows::number(&row, "due")?, rows::number(&row, "set_by")?);
        timers.insert(rows::text(&row, "name")?, json!({"due": due, "set_by": set_by}));
    }
    Ok(Value::Object(timers))
}

/// From decision to decision, backwards.
async fn chain(
    connection: &mut SqliteConnection,
    of: (&str, &str),
    newest: Option<u64>,
    limit: u32,
) -> Result<Page<HistoryRow, u64>, ReadError> {
    let mut page = Page { rows: Vec::new(), next: None };
    let mut next = newest;
    let mut bytes = 0;
    while let Some(position) = next {
        // Older decisions may have been removed: then this is the end.
        let Some(row) = decision(connection, of, position).await? else { break };
        next = previous(&row)?;
        let row = history_row(&row)?;
        bytes += row.summary.get().len() as u64;
        if page.rows.len() == limit as usize || bytes > PAGE_BYTES && !page.rows.is_empty() {
            page.next = page.rows.last().map(|last: &HistoryRow| last.position);
            break;
        }
        page.rows.push(row);
    }
    Ok(page)
}

async fn scan(
    connection: &mut SqliteConnection,
    (plugin, key): (&str, &str),
    after: Option<u64>,
    limit: u32,
) -> Result<Page<HistoryRow, u64>, ReadError> {
    let sql = "SELECT recent.*, log.event FROM \
               (SELECT * FROM decisions WHERE position < ? ORDER BY position DESC LIMIT ?) \
               AS recent LEFT JOIN log ON log.position = recent.position \
               WHERE plugin = ? AND key = ? ORDER BY recent.position DESC LIMIT ?";
    let query = sqlx::query(sql)
        .bind(integer(after.unwrap_or(u64::MAX)))
        .bind(SCANNED_DECISIONS_MAX)
        .bind(plugin.to_owned())
        .bind(key.to_owned())
        .bind(limit + 1);
    let found = query.fetch_all(connection).await.map_err(failed)?;
    let rows: Result<Vec<_>, ReadError> = found.iter().map(history_row).collect();
    Ok(Page::of(rows?, limit, |row| row.position))
}

/// As it is if it is JSON, otherwise as a string.
fn readable(data: &[u8]) -> Result<Box<RawValue>, ReadError> {
    let text = String::from_utf8_lossy(data).into_owned();
    match serde_json::from_slice::<&RawValue>(data) {
        Ok(json) => Ok(json.to_owned()),
        Err(_) => serde_json::value::to_raw_value(&text).map_err(rows::damaged),
    }
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
