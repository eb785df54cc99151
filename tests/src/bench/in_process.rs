//! What Sagabox's throughput is compared with: an outbox as it is written by hand,
//! inside the service whose events these are.
//!
//! Both ways do the least that the pattern asks for: the event, the state if there is
//! one, and the outbox row in one transaction, then the outbox read in batches, handed
//! over, and marked. There is no HTTP, no deduplication, no plugin, no lease: the
//! comparison favours them.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use super::report::rate;
use super::shapes::Shape;

/// As many as the relay in many a hand-written outbox reads at a time.
const PUBLISHED_AT_A_TIME: i64 = 100;
const DATABASE: &str = "by-hand.db";

#[derive(Clone, Copy)]
pub struct Way {
    pub shape: Shape,
    pub events: usize,
    /// Events of a transaction, written by one statement for each table; none writes
    /// one event a transaction and one statement a row.
    pub batch: Option<usize>,
}

/// Events per second, until the last is written and marked as published.
///
/// # Errors
/// If the database cannot be opened or written.
pub async fn measure(way: Way) -> Result<f64> {
    let folder = TempDir::new()?;
    let mut db = open(&folder).await?;
    let events: Vec<Row> = (0..way.events).map(|n| Row::new(&way.shape, n)).collect();
    let start = Instant::now();
    match way.batch {
        None => row_by_row(&mut db, &events, way.shape.has_state).await?,
        Some(batch) => batched(&mut db, &events, way.shape.has_state, batch).await?,
    }
    let elapsed = start.elapsed();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox WHERE published = 0")
        .fetch_one(&mut db)
        .await?;
    ensure!(left == 0, "{left} messages were left unpublished");
    db.close().await?;
    let bytes = std::fs::metadata(folder.path().join(DATABASE))?.len();
    ensure!(bytes > 0, "nothing is on the disk: a database in memory is no comparison");
    Ok(rate(way.events, elapsed))
}

/// What is written of an event. Its data serves as the command and as the state.
struct Row {
    id: String,
    instance: String,
    event: String,
    data: String,
}

impl Row {
    fn new(shape: &Shape, n: usize) -> Self {
        let event = (shape.event)("e", n);
        Self {
            id: event["id"].to_string(),
            instance: event["subject"].to_string(),
            event: event.to_string(),
            data: event["data"].to_string(),
        }
    }
}

async fn open(folder: &TempDir) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join(DATABASE))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut db = SqliteConnection::connect_with(&options).await?;
    for statement in [
        "CREATE TABLE events (position INTEGER PRIMARY KEY, id TEXT NOT NULL, event TEXT NOT NULL)",
        "CREATE TABLE outbox (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL, command TEXT NOT NULL,
            published INTEGER NOT NULL DEFAULT 0)",
        "CREATE TABLE instances (key TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID",
        "CREATE INDEX outbox_unpublished ON outbox (sequence) WHERE published = 0",
    ] {
        sqlx::query(statement).execute(&mut db).await?;
    }
    Ok(db)
}

async fn row_by_row(db: &mut SqliteConnection, events: &[Row], has_state: bool) -> Result<()> {
    for row in events {
        let mut tx = db.begin().await?;
        sqlx::query("INSERT INTO events (id, event) VALUES (?, ?)")
            .bind(&row.id)
            .bind(&row.event)
            .execute(&mut *tx)
            .await?;
        if has_state {
            sqlx::query("INSERT OR REPLACE INTO instances (key, state) VALUES (?, ?)")
                .bind(&row.instance)
                .bind(&row.data)
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("INSERT INTO outbox (id, command) VALUES (?, ?)")
            .bind(&row.id)
            .bind(&row.data)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    }
    loop {
        let sequences = unpublished(db, PUBLISHED_AT_A_TIME).await?;
        if sequences.is_empty() {
            return Ok(());
        }
        let mut tx = db.begin().await?;
        for sequence in sequences {
            sqlx::query("UPDATE outbox SET published = 1 WHERE sequence = ?")
                .bind(sequence)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
    }
}

async fn batched(
    db: &mut SqliteConnection,
    events: &[Row],
    has_state: bool,
    batch: usize,
) -> Result<()> {
    for events in events.chunks(batch) {
        let rows = |pair: fn(&Row) -> [&String; 2]| {
            json!(events.iter().map(pair).collect::<Vec<_>>()).to_string()
        };
        let mut tx = db.begin().await?;
        sqlx::query(
            "INSERT INTO events (id, event)
             SELECT value ->> 0, value ->> 1 FROM json_each(?)",
        )
        .bind(rows(|row| [&row.id, &row.event]))
        .execute(&mut *tx)
        .await?;
        if has_state {
            sqlx::query(
                "INSERT OR REPLACE INTO instances (key, state)
                 SELECT value ->> 0, value ->> 1 FROM json_each(?)",
            )
            .bind(rows(|row| [&row.instance, &row.data]))
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query(
            "INSERT INTO outbox (id, command)
             SELECT value ->> 0, value ->> 1 FROM json_each(?)",
        )
        .bind(rows(|row| [&row.id, &row.data]))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        publish_batch(db, batch).await?;
    }
    Ok(())
}

async fn publish_batch(db: &mut SqliteConnection, batch: usize) -> Result<()> {
    let sequences = unpublished(db, i64::try_from(batch)?).await?;
    sqlx::query(
        "UPDATE outbox SET published = 1 WHERE sequence IN (SELECT value FROM json_each(?))",
    )
    .bind(json!(sequences).to_string())
    .execute(db)
    .await?;
    Ok(())
}

/// Reads what a relay would hand over: the commands too, not only their numbers.
async fn unpublished(db: &mut SqliteConnection, limit: i64) -> Result<Vec<i64>> {
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT sequence, id, command FROM outbox WHERE published = 0 ORDER BY sequence LIMIT ?",
    )
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(sequence, _, _)| sequence).collect())
}

#[cfg(test)]
mod tests {
    use super::super::shapes::{PROCESS_MANAGER, SAGA};
    use super::*;

    #[tokio::test]
    async fn both_ways_publish_every_event() {
        for shape in [SAGA, PROCESS_MANAGER] {
            for batch in [None, Some(7)] {
                assert!(measure(Way { shape, events: 20, batch }).await.unwrap() > 0.0);
            }
        }
    }
}
