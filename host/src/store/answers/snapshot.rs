//! A store file, opened for reading alone; one snapshot for as long as it is open.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use sagabox_engine::model::{DeadLetterId, Event, Hops, Timestamp, reserved};
use sagabox_engine::pure::identity;
use sagabox_engine::seams::store::ReadError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Row, SqliteConnection};

use super::failed;
use crate::decisions::recorded::Messages;
use crate::store::components;
use crate::store::decisions;
use crate::store::open::APPLICATION_ID;
use crate::store::query::component::{KeptComponent, PackedComponent};
use crate::store::query::rows::RecordedDecision;
use crate::store::query::{EachDecision, EachEvent, Snapshot};
use crate::store::rows::{self, integer};

/// What a store is called in a directory of its own.
const FILE: &str = "sagabox.db";

pub(in crate::store) struct SqliteSnapshot {
    connection: SqliteConnection,
}

impl SqliteSnapshot {
    /// Takes what `run --store` takes, or a directory with a `sagabox.db` in it.
    pub(in crate::store) async fn open(url: &str) -> Result<Self, ReadError> {
        let path = path_of(url);
        if !path.is_file() {
            return Err(ReadError(format!("no store found at {}", path.display())));
        }
        let options = SqliteConnectOptions::new().filename(&path).read_only(true);
        let options = options.disable_statement_logging();
        let failed =
            |error: sqlx::Error| ReadError(format!("open the store {}: {error}", path.display()));
        let mut connection = options.connect().await.map_err(failed)?;
        let row = sqlx::query("PRAGMA application_id").fetch_one(&mut connection).await;
        let id: i64 = row.and_then(|row| row.try_get(0)).map_err(failed)?;
        if id != i64::from(APPLICATION_ID) {
            return Err(ReadError(format!("{} is not a database of Sagabox", path.display())));
        }
        // A read begins the snapshot; `BEGIN` alone does not.
        for sql in ["BEGIN", "SELECT 1 FROM sqlite_schema LIMIT 1"] {
            sqlx::query(sql).execute(&mut connection).await.map_err(failed)?;
        }
        Ok(Self { connection })
    }
}

#[async_trait]
impl Snapshot for SqliteSnapshot {
    async fn decisions(
        &mut self,
        plugin: &str,
        key: Option<&str>,
        since: Timestamp,
        each: &mut EachDecision<'_>,
    ) -> Result<(), ReadError> {
        let sql = "SELECT d.*, l.event, l.hops FROM decisions d \
                   LEFT JOIN log l ON l.position = d.position AND d.decided_at >= ?3 \
                   WHERE d.plugin = ?1 AND (?2 IS NULL OR d.key = ?2) ORDER BY d.position, d.key";
        let query = sqlx::query(sql).bind(plugin.to_owned()).bind(key.map(str::to_owned));
        let mut found = query.bind(integer(since.0)).fetch(&mut self.connection);
        while let Some(row) = found.try_next().await.map_err(failed)? {
            if each(recorded(&row)?) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    async fn log(&mut self, each: &mut EachEvent<'_>) -> Result<(), ReadError> {
        let sql = "SELECT position, received_at, event, hops FROM log ORDER BY position";
        let mut found = sqlx::query(sql).fetch(&mut self.connection);
        while let Some(row) = found.try_next().await.map_err(failed)? {
            if each(rows::log_entry(&row)?) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    async fn messages(&mut self, plugin: &str) -> Result<Messages, ReadError> {
        let mut messages = Messages::default();
        let outbox = "SELECT event FROM outbox WHERE plugin = ?1";
        // Found as text, and looked at below: SQLite does not read all that is JSON.
        let log = "SELECT event FROM log WHERE hops > 0 AND instr(event, ?1) > 0";
        let source = identity::source(&plugin.into());
        let mut named = String::from("\"source\":");
        sagabox_engine::model::json::write(&mut named, &source);
        for (sql, bound) in [(outbox, plugin), (log, &named)] {
            let query = sqlx::query(sql).bind(bound.to_owned());
            let mut found = query.fetch(&mut self.connection);
            while let Some(row) = found.try_next().await.map_err(failed)? {
                let text = rows::text(&row, "event")?;
                let event = Event::read(text.as_bytes()).map_err(rows::damaged)?;
                if event.source == source && !event.event_type.starts_with(reserved::PREFIX) {
                    messages.insert(event.id, text.into());
                }
            }
        }
        Ok(messages)
    }

    async fn edited(&mut self, plugin: &str) -> Result<HashMap<DeadLetterId, String>, ReadError> {
        let sql = "SELECT id, edited FROM dead_letters WHERE plugin = ? AND edited IS NOT NULL";
        let query = sqlx::query(sql).bind(plugin.to_owned());
        let found = query.fetch_all(&mut self.connection).await.map_err(failed)?;
        let pair = |row| Ok((DeadLetterId(rows::number(row, "id")?), rows::text(row, "edited")?));
        found.iter().map(pair).collect()
    }

    async fn kept(&mut self, plugin: &str) -> Result<Vec<KeptComponent>, ReadError> {
        components::kept(&mut self.connection, Some(plugin)).await
    }

    async fn component(&mut self, digest: &str) -> Result<Option<PackedComponent>, ReadError> {
        components::component(&mut self.connection, digest).await
    }

    async fn stream(&mut self, subject: &str, before: u64) -> Result<Vec<Arc<Event>>, ReadError> {
        let sql = "SELECT event FROM log WHERE subject = ? AND position < ? ORDER BY position";
        let query = sqlx::query(sql).bind(subject.to_owned()).bind(integer(before));
        let found = query.fetch_all(&mut self.connection).await.map_err(failed)?;
        found.iter().map(rows::event).collect()
    }
}

fn path_of(url: &str) -> PathBuf {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = Path::new(path.strip_prefix("//").unwrap_or(path));
    if path.is_dir() { path.join(FILE) } else { path.to_owned() }
}

/// A row of `decisions` with the event and the hops of the log.
pub(super) fn recorded(row: &SqliteRow) -> Result<RecordedDecision, ReadError> {
    let hops: Option<u32> = row.try_get("hops").map_err(rows::damaged)?;
    Ok(RecordedDecision {
        record: decisions::record(row)?,
        event: rows::optional(row, "event")?,
        hops: Hops(hops.unwrap_or_default()),
    })
}
