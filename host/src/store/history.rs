//! What a store has on record, as `sagabox replay` and `backtest` read it: one snapshot, never written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::StreamExt as _;
use sagabox_engine::model::{Event, Hops, State, Timestamp, reserved};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Row, SqliteConnection};

use super::open::APPLICATION_ID;
use crate::decisions::recorded::Messages;

/// What a store is called in a directory of its own.
const FILE: &str = "sagabox.db";

/// A store, opened for reading; one snapshot for as long as it is open.
pub struct History {
    connection: SqliteConnection,
}

/// A decision, with the inputs that are its own.
pub struct Record {
    pub position: u64,
    pub key: String,
    pub previous: Option<u64>,
    pub decided_at: Timestamp,
    pub plugin_version: String,
    pub attempt: u32,
    /// The state that it wrote.
    pub wrote: Option<State>,
    pub summary: String,
    /// The event as JSON; none if it is no longer in the log, or was not asked for.
    pub event: Option<String>,
    pub hops: Hops,
}

/// An event of the log.
pub struct LogRow {
    pub position: u64,
    pub received_at: Timestamp,
    /// As JSON.
    pub event: String,
    /// None if a sender sent it; see `Hops`.
    pub hops: u32,
}

impl History {
    /// Takes what `run --store` takes, or a directory with a `sagabox.db` in it.
    ///
    /// # Errors
    /// If there is no store, or it is none of ours.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let path = path_of(url);
        anyhow::ensure!(path.is_file(), "no store found at {}", path.display());
        let options = SqliteConnectOptions::new().filename(&path).read_only(true);
        let options = options.disable_statement_logging();
        let opening = || format!("open the store {}", path.display());
        let mut connection = options.connect().await.with_context(opening)?;
        let id: i64 =
            scalar(&mut connection, "PRAGMA application_id").await.with_context(opening)?;
        anyhow::ensure!(
            id == i64::from(APPLICATION_ID),
            "{} is not a database of Sagabox",
            path.display()
        );
        sqlx::query("BEGIN").execute(&mut connection).await.with_context(opening)?;
        Ok(Self { connection })
    }

    /// Calls `each` for every decision of the plugin, in the order of positions. The
    /// events of those before `since` are not read.
    ///
    /// # Errors
    /// If the store cannot be read, or `each` fails.
    pub async fn decisions(
        &mut self,
        plugin: &str,
        key: Option<&str>,
        since: Timestamp,
        mut each: impl FnMut(Record) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let sql = "SELECT d.position, d.key, d.previous, d.decided_at, d.plugin_version, d.attempt, \
                   d.state_version, d.state, d.summary, l.event, l.hops FROM decisions d \
                   LEFT JOIN log l ON l.position = d.position AND d.decided_at >= ?3 \
                   WHERE d.plugin = ?1 AND (?2 IS NULL OR d.key = ?2) ORDER BY d.position, d.key";
        let query = sqlx::query(sql).bind(plugin).bind(key).bind(since.0.cast_signed());
        let mut rows = query.fetch(&mut self.connection);
        while let Some(row) = rows.next().await {
            each(record(&row.context("read the decisions")?)?)?;
        }
        Ok(())
    }

    /// Calls `each` for every event of the log, in the order of positions.
    ///
    /// # Errors
    /// If the store cannot be read, or `each` fails.
    pub async fn log(
        &mut self,
        mut each: impl FnMut(LogRow) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let sql = "SELECT position, received_at, event, hops FROM log ORDER BY position";
        let mut rows = sqlx::query(sql).fetch(&mut self.connection);
        while let Some(row) = rows.next().await {
            let row = row.context("read the log")?;
            each(LogRow {
                position: number(row.try_get("position")?)?,
                received_at: Timestamp(number(row.try_get("received_at")?)?),
                event: row.try_get("event")?,
                hops: row.try_get("hops")?,
            })?;
        }
        Ok(())
    }

    /// Every message of the plugin that is still kept: in the outbox if it left, in the
    /// log if it stayed.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn messages(&mut self, plugin: &str) -> anyhow::Result<Messages> {
        let mut messages = Messages::default();
        let outbox = "SELECT event FROM outbox WHERE plugin = ?1";
        // Found as text, and looked at below: SQLite does not read all that is JSON.
        let log = "SELECT event FROM log WHERE hops > 0 AND instr(event, ?1) > 0";
        let source = sagabox_engine::pure::identity::source(&plugin.into());
        let mut named = String::from("\"source\":");
        sagabox_engine::model::json::write(&mut named, &source);
        for (sql, bound) in [(outbox, plugin), (log, &named)] {
            let mut rows = sqlx::query(sql).bind(bound).fetch(&mut self.connection);
            while let Some(row) = rows.next().await {
                let text: String = row.context("read the messages")?.try_get(0)?;
                let event = Event::read(text.as_bytes()).context("read the messages")?;
                if event.source == source && !event.event_type.starts_with(reserved::PREFIX) {
                    messages.insert(event.id, text.into());
                }
            }
        }
        Ok(messages)
    }

    /// Events that an operator put in place of dead ones, by the letter.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn edited(&mut self, plugin: &str) -> anyhow::Result<HashMap<u64, String>> {
        let sql = "SELECT id, edited FROM dead_letters WHERE plugin = ? AND edited IS NOT NULL";
        let rows = sqlx::query(sql).bind(plugin).fetch_all(&mut self.connection).await;
        let rows = rows.context("read the dead letters")?;
        let pair = |row: &SqliteRow| anyhow::Ok((number(row.try_get(0)?)?, row.try_get(1)?));
        rows.iter().map(pair).collect()
    }

    /// The events of a subject before a position, as a handler was given them.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn stream(&mut self, subject: &str, before: u64) -> anyhow::Result<Vec<Arc<Event>>> {
        let sql = "SELECT event FROM log WHERE subject = ? AND position < ? ORDER BY position";
        let query = sqlx::query(sql).bind(subject).bind(before.cast_signed());
        let rows = query.fetch_all(&mut self.connection).await.context("read a stream")?;
        let event = |row: &SqliteRow| {
            let text: String = row.try_get(0)?;
            anyhow::Ok(Arc::new(Event::read(text.as_bytes())?))
        };
        rows.iter().map(event).collect()
    }
}

fn path_of(url: &str) -> PathBuf {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = Path::new(path.strip_prefix("//").unwrap_or(path));
    if path.is_dir() { path.join(FILE) } else { path.to_owned() }
}

async fn scalar(connection: &mut SqliteConnection, sql: &'static str) -> anyhow::Result<i64> {
    Ok(sqlx::query(sql).fetch_one(connection).await?.try_get(0)?)
}

fn record(row: &SqliteRow) -> anyhow::Result<Record> {
    let state: Option<String> = row.try_get("state")?;
    let version: Option<i64> = row.try_get("state_version")?;
    let wrote = match (state, version) {
        (Some(state), Some(version)) => {
            Some(State { version: u32::try_from(version)?, data: decode(&state)? })
        }
        _ => None,
    };
    let previous: Option<i64> = row.try_get("previous")?;
    Ok(Record {
        position: number(row.try_get("position")?)?,
        key: row.try_get("key")?,
        previous: previous.map(number).transpose()?,
        decided_at: Timestamp(number(row.try_get("decided_at")?)?),
        plugin_version: row.try_get("plugin_version")?,
        attempt: u32::try_from(row.try_get::<i64, _>("attempt")?)?,
        wrote,
        summary: row.try_get("summary")?,
        event: row.try_get("event")?,
        hops: Hops(row.try_get::<Option<u32>, _>("hops")?.unwrap_or_default()),
    })
}

fn number(number: i64) -> anyhow::Result<u64> {
    u64::try_from(number).context("a row of the store cannot be read: a negative number")
}

/// `t` and the text, or `b` and base64, as `store` writes it.
fn decode(text: &str) -> anyhow::Result<Bytes> {
    match text.split_at_checked(1) {
        Some(("t", text)) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Some(("b", encoded)) => Ok(BASE64.decode(encoded)?.into()),
        _ => anyhow::bail!("a row of the store cannot be read: data without its encoding"),
    }
}
