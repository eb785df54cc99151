//! The one connection that writes, and what a failure on it means.
//!
//! It is driven without sqlx, which sends each statement to a thread of its own and
//! waits for the answer: of the time of a small commit that was most. Here a commit is
//! plain calls of SQLite on the committer's own thread, a row a statement, each prepared once.

use std::path::Path;

use rusqlite::Connection;
use sagabox_engine::seams::store::{Batch, CommitError, Committed, Expire};

use super::expire::{self, Sweep};
use super::files::Files;
use super::id_spans::{Added, Tails};
use super::inbox::Forgotten;
use super::open;
use super::seen::{Done, Hash, Seen, Sizes};
use super::trouble::{self, WriteError, plainly};
use super::{decisions, inbox, tables};

pub(super) struct Writer {
    connection: Connection,
    pub files: Files,
    seen: Seen,
    ids: Tails,
    sweep: Sweep,
}

/// What memory takes over once the transaction is committed.
struct Written {
    committed: Committed,
    added: Vec<Hash>,
    done: Vec<Done>,
    ids: Added,
    forgotten: Forgotten,
}

impl Writer {
    /// Waits until no other connection writes, then reads what was seen. So a commit
    /// of another process has landed before, or never will.
    pub(crate) fn connect(path: &Path, sizes: Sizes, ids: Tails) -> Result<Self, WriteError> {
        let connection = open::writing(path)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let seen = inbox::load(&connection, sizes)?;
        ids.load(&connection)?;
        connection.execute_batch("COMMIT")?;
        let files = Files::of(path).map_err(|error| WriteError::Files(error.to_string()))?;
        Ok(Self { connection, files, seen, ids, sweep: Sweep::default() })
    }

    /// After `Unknown` it must not be used again.
    pub(crate) fn commit(&mut self, path: &Path, batch: &Batch) -> Result<Committed, CommitError> {
        let committed = self.transact(path, batch);
        // Another store may have the name by now: it has nothing of this commit.
        self.files.check().map_err(CommitError::Fenced)?;
        committed
    }

    fn transact(&mut self, path: &Path, batch: &Batch) -> Result<Committed, CommitError> {
        if let Err(error) = self.run("BEGIN IMMEDIATE") {
            return Err(CommitError::NotCommitted(plainly(path, &error)));
        }
        let written = match self.write(batch) {
            Ok(written) => written,
            Err(error) => {
                // It has noted what is not removed now.
                self.sweep = Sweep::default();
                return Err(self.roll_back(path, &error, true));
            }
        };
        if let Err(error) = self.run("COMMIT") {
            // A full disk refuses the transaction's pages one after another, and the page
            // that makes them valid is the last. What is there is written over next time.
            let certain = trouble::is_full(path, &error);
            return Err(self.roll_back(path, &error, certain));
        }
        self.seen.apply(written.added.into_iter(), written.done);
        self.seen.forget(&written.forgotten.runs, written.forgotten.cleared);
        self.ids.apply(written.ids);
        Ok(written.committed)
    }

    fn run(&self, sql: &str) -> Result<(), WriteError> {
        self.connection.prepare_cached(sql)?.execute(())?;
        Ok(())
    }

    /// Everything but the COMMIT.
    fn write(&mut self, batch: &Batch) -> Result<Written, WriteError> {
        let writer = &self.connection;
        let looked = inbox::look_up(writer, &self.seen, &batch.appends)?;
        let done = inbox::write(writer, &self.seen, &looked.added)?;
        tables::write_log(writer, batch, &looked.duplicates)?;
        tables::write_instances(writer, batch)?;
        decisions::write(writer, &batch.decisions)?;
        tables::write_messages(writer, batch)?;
        let ids = self.ids.write(writer, batch, &looked.duplicates)?;
        tables::write_waiting(writer, batch)?;
        tables::write_progress(writer, batch)?;
        let (mut forgotten, mut expired) = (Forgotten::default(), 0);
        if let Some(expire) = &batch.expire {
            let Expire { seen_to, rows_max, .. } = expire;
            forgotten = inbox::forget(writer, &self.seen, *seen_to, *rows_max)?;
            expired = forgotten.rows + expire::step(writer, &mut self.sweep, expire)?;
        }
        Ok(Written {
            committed: Committed { duplicates: looked.duplicates, expired },
            added: looked.added.into_iter().map(|(_, hash)| hash).collect(),
            done,
            ids,
            forgotten,
        })
    }

    /// `certain`: if SQLite has rolled back by itself, as it does after the worst errors,
    /// then surely nothing is written.
    fn roll_back(&self, path: &Path, error: &WriteError, certain: bool) -> CommitError {
        let reason = plainly(path, error);
        let not_written = |reason| match trouble::is_of_rows(error) {
            true => CommitError::Rejected(reason),
            false => CommitError::NotCommitted(reason),
        };
        if self.connection.is_autocommit() {
            return match certain {
                true => not_written(reason),
                false => CommitError::Unknown(reason),
            };
        }
        match self.run("ROLLBACK") {
            Ok(()) => not_written(reason),
            Err(second) => CommitError::Unknown(format!("{reason}; {second}")),
        }
    }
}
