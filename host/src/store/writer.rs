//! The one connection that writes, and what a failure on it means.

use std::path::Path;

use sagabox_engine::store::{Batch, CommitError, Committed, Expire};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use super::expire::{self, Sweep};
use super::seen::{Done, Hash, Seen, Sizes};
use super::trouble::{self, plainly};
use super::{inbox, tables};

pub(super) struct Writer {
    connection: SqliteConnection,
    seen: Seen,
    sweep: Sweep,
}

/// What memory takes over once the transaction is committed.
struct Written {
    committed: Committed,
    added: Vec<Hash>,
    /// When the newest of them was received.
    newest_at: u64,
    done: Done,
    runs_dropped: usize,
}

impl Writer {
    /// Waits until no other connection writes, then reads what was seen. So a commit
    /// that was abandoned half-way has landed before, or never will.
    pub async fn connect(
        options: &SqliteConnectOptions,
        sizes: Sizes,
    ) -> Result<Self, sqlx::Error> {
        let mut connection = options.connect().await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
        let seen = inbox::load(&mut connection, sizes).await?;
        sqlx::query("ROLLBACK").execute(&mut connection).await?;
        Ok(Self { connection, seen, sweep: Sweep::default() })
    }

    /// After `Unknown` it must not be used again.
    pub async fn commit(&mut self, path: &Path, batch: &Batch) -> Result<Committed, CommitError> {
        if let Err(error) = sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await {
            let reason = plainly(path, &error);
            // Nothing was written either way, but a connection without its thread is of no use.
            return Err(match trouble::is_answer(&error) {
                true => CommitError::NotCommitted(reason),
                false => CommitError::Unknown(reason),
            });
        }
        let written = match self.write(batch).await {
            Ok(written) => written,
            Err(error) => return Err(self.roll_back(path, &error, true).await),
        };
        if let Err(error) = sqlx::query("COMMIT").execute(&mut self.connection).await {
            // A full disk refuses the transaction's pages one after another, and the page
            // that makes them valid is the last. What is there is written over next time.
            let certain = trouble::is_full(&error);
            return Err(self.roll_back(path, &error, certain).await);
        }
        self.seen.apply(written.added, written.newest_at, &written.done);
        self.seen.forget(written.runs_dropped);
        Ok(written.committed)
    }

    /// Everything but the COMMIT.
    async fn write(&mut self, batch: &Batch) -> Result<Written, sqlx::Error> {
        let writer = &mut self.connection;
        let looked = inbox::look_up(writer, &self.seen, &batch.appends).await?;
        let received = batch.appends.iter().map(|append| append.received_at.0);
        let newest_at = received.max().unwrap_or(0);
        let done = inbox::write(writer, &self.seen, &looked.added, newest_at).await?;
        tables::write_log(writer, batch, &looked.duplicates).await?;
        tables::write_instances(writer, batch).await?;
        tables::write_decisions(writer, batch).await?;
        tables::write_waiting(writer, batch).await?;
        tables::write_progress(writer, batch).await?;
        let (mut runs_dropped, mut expired) = (0, 0);
        if let Some(expire) = &batch.expire {
            let Expire { seen_before, rows_max, .. } = expire;
            let chunks;
            (runs_dropped, chunks) =
                inbox::forget(writer, &self.seen, seen_before.0, *rows_max).await?;
            expired = chunks + expire::step(writer, &mut self.sweep, expire).await?;
        }
        Ok(Written {
            committed: Committed { duplicates: looked.duplicates, expired },
            added: looked.added.into_iter().map(|(_, hash)| hash).collect(),
            newest_at,
            done,
            runs_dropped,
        })
    }

    /// `certain`: if SQLite has rolled back by itself, as it does after the worst errors,
    /// then surely nothing is written.
    async fn roll_back(&mut self, path: &Path, error: &sqlx::Error, certain: bool) -> CommitError {
        let reason = plainly(path, error);
        match sqlx::query("ROLLBACK").execute(&mut self.connection).await {
            // The transaction was still open.
            Ok(_) => CommitError::NotCommitted(reason),
            // "No transaction is active."
            Err(second) if certain && trouble::is_answer(&second) => {
                CommitError::NotCommitted(reason)
            }
            Err(second) => CommitError::Unknown(format!("{reason}; {second}")),
        }
    }
}
