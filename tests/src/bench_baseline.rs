//! What Sagabox's throughput is compared with: an outbox as it is written by hand.
//!
//! Both ways do the least that the pattern asks for: the event and its outbox row in
//! one transaction, then the outbox read in batches, handed over, and marked. There
//! is no HTTP, no deduplication, no plugin, no lease: the comparison favours them.

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::events::cart_finalized;

/// As many as the relay in many a hand-written outbox reads at a time.
const PUBLISHED_AT_A_TIME: i64 = 100;

#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub events: usize,
    /// Events of a transaction, written by one statement for each table; none writes
    /// one event a transaction and one statement a row.
    pub batch: Option<usize>,
}

/// Events per second, until the last is written and marked as published.
pub async fn measure(way: Way) -> Result<f64> {
    let folder = TempDir::new()?;
    let mut db = open(&folder).await?;
    let events: Vec<(String, String, String)> = (0..way.events)
        .map(|n| {
            let event = cart_finalized(&format!("e-{n}"), &format!("cart-{n}"));
            (format!("e-{n}"), event.to_string(), event["data"].to_string())
        })
        .collect();
    let start = Instant::now();
    match way.batch {
        None => row_by_row(&mut db, &events).await?,
        Some(batch) => batched(&mut db, &events, batch).await?,
    }
    let elapsed = start.elapsed();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox WHERE published = 0")
        .fetch_one(&mut db)
        .await?;
    ensure!(left == 0, "{left} messages were left unpublished");
    db.close().await?;
    Ok(rate(way.events, elapsed))
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown to three digits")]
fn rate(events: usize, elapsed: Duration) -> f64 {
    events as f64 / elapsed.as_secs_f64()
}

async fn open(folder: &TempDir) -> Result<SqliteConnection> {
    let path = folder.path().join("by-hand.db");
    let options = SqliteConnectOptions::from_str("sqlite::memory:")?
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut db = SqliteConnection::connect_with(&options).await?;
    for statement in [
        "CREATE TABLE events (position INTEGER PRIMARY KEY, id TEXT NOT NULL, event TEXT NOT NULL)",
        "CREATE TABLE outbox (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL, command TEXT NOT NULL,
            published INTEGER NOT NULL DEFAULT 0)",
        "CREATE INDEX outbox_unpublished ON outbox (sequence) WHERE published = 0",
    ] {
        sqlx::query(statement).execute(&mut db).await?;
    }
    Ok(db)
}

async fn row_by_row(db: &mut SqliteConnection, events: &[(String, String, String)]) -> Result<()> {
    for (id, event, command) in events {
        let mut tx = db.begin().await?;
        sqlx::query("INSERT INTO events (id, event) VALUES (?, ?)")
            .bind(id)
            .bind(event)
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO outbox (id, command) VALUES (?, ?)")
            .bind(id)
            .bind(command)
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
    events: &[(String, String, String)],
    batch: usize,
) -> Result<()> {
    for events in events.chunks(batch) {
        let rows = |value: fn(&(String, String, String)) -> &String| {
            json!(events.iter().map(|row| [&row.0, value(row)]).collect::<Vec<_>>()).to_string()
        };
        let mut tx = db.begin().await?;
        sqlx::query(
            "INSERT INTO events (id, event)
             SELECT value ->> 0, value ->> 1 FROM json_each(?)",
        )
        .bind(rows(|row| &row.1))
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO outbox (id, command)
             SELECT value ->> 0, value ->> 1 FROM json_each(?)",
        )
        .bind(rows(|row| &row.2))
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
    use super::*;

    #[tokio::test]
    async fn both_ways_publish_every_event() {
        for batch in [None, Some(7)] {
            assert!(measure(Way { events: 20, batch }).await.unwrap() > 0.0);
        }
    }
}
