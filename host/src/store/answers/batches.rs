//! Batches and their items in SQLite: small writes beside the commits.

use std::num::NonZeroU32;

use async_trait::async_trait;
use sagabox_engine::model::{
    BatchAction, BatchId, BatchItem, ItemNote, ItemOutcome, Key, PluginName, Position, SinkName,
    Timestamp,
};
use sagabox_engine::seams::batches::BatchItems;
use sagabox_engine::seams::store::ReadError;
use serde_json::value::RawValue;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Sqlite};

use super::SqliteStore;
use crate::store::query::batches::{
    BatchFilter, BatchRecords, BatchRow, BatchStatus, Change, ItemCounts, ItemFilter, ItemRow,
    NewBatch, Selected, Start,
};
use crate::store::query::rows::Page;
use crate::store::rows::{self, damaged, integer, texts};

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

pub(in crate::store) const PENDING: &str = "SELECT * FROM batch_items INDEXED BY batch_items_outcome \
     WHERE batch = ? AND outcome = ? AND item > ? ORDER BY item LIMIT ?";
pub(in crate::store) const OUTCOMES: &str = "SELECT item, outcome FROM batch_items \
     WHERE batch = ? AND item IN (SELECT value FROM json_each(?)) ORDER BY item";
// The list finds the rows by their numbers: the index of outcomes, which the plus keeps out, and the
// join alone would read all rows of the batch.
pub(in crate::store) const NOTE: &str = "UPDATE batch_items \
     SET outcome = note.value ->> 1, reason = note.value ->> 2 FROM json_each(?2) AS note \
     WHERE batch = ?1 AND item IN (SELECT value ->> 0 FROM json_each(?2)) \
       AND item = note.value ->> 0 AND +outcome = 'pending'";
const ADD_DEAD_LETTERS: &str = "INSERT OR IGNORE INTO batch_items (batch, item, plugin, sink, key) \
     SELECT ?1, id, plugin, sink, key FROM dead_letters \
     WHERE id IN (SELECT value FROM json_each(?2)) AND status = 'open' \
       AND id <= (SELECT newest FROM batches WHERE id = ?1) ORDER BY id";
const EXPIRE_ITEMS: &str = "DELETE FROM batch_items WHERE (batch, item) IN \
     (SELECT batch, item FROM batches CROSS JOIN batch_items ON batch = id \
      WHERE finished_at < ? LIMIT ?)";
const EXPIRE: &str = "DELETE FROM batches WHERE finished_at < ? \
     AND NOT EXISTS (SELECT 1 FROM batch_items WHERE batch = id)";
/// A draft has no items.
const EXPIRE_DRAFTS: &str = "DELETE FROM batches WHERE id IN \
     (SELECT id FROM batches WHERE status = 'draft' AND created_at < ? LIMIT ?)";
/// The last position that was given to an event. Retention may have removed the event, and then
/// every plugin has settled it.
const LAST_POSITION: &str = "max(coalesce((SELECT max(position) FROM log), 0), \
     coalesce((SELECT max(cursor ->> 'settled') FROM plugins), 0))";

impl SqliteStore {
    /// Runs one statement; returns how many rows it changed.
    pub(super) async fn change(&self, query: Query<'_>) -> Result<u64, ReadError> {
        let mut connection = self.beside().await?;
        let done = query.execute(&mut connection).await;
        let done = done.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await?;
        Ok(done.rows_affected())
    }

    pub(super) async fn found(&self, query: Query<'_>) -> Result<Vec<SqliteRow>, ReadError> {
        let mut connection = self.beside().await?;
        let found = query.fetch_all(&mut connection).await;
        let found = found.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await?;
        Ok(found)
    }

    async fn add(
        &self,
        connection: &mut SqliteConnection,
        id: BatchId,
        selected: &Selected,
    ) -> Result<(), sqlx::Error> {
        match selected {
            Selected::DeadLetters(ids) => {
                let query = sqlx::query(ADD_DEAD_LETTERS).bind(integer(id.0)).bind(rows::json(ids));
                query.execute(connection).await?;
            }
            Selected::Instances(plugin, keys) => {
                let (keys, value) = texts(keys);
                let sql = format!(
                    "INSERT INTO batch_items (batch, item, plugin, key, started) \
                     SELECT ?1, row_number() OVER (ORDER BY key) \
                            + coalesce((SELECT max(item) FROM batch_items WHERE batch = ?1), 0), \
                            plugin, key, started FROM instances \
                     WHERE plugin = ?2 AND key IN (SELECT {value} FROM json_each(?3)) \
                       AND status = 'running' \
                       AND started <= (SELECT newest FROM batches WHERE id = ?1)"
                );
                let query = sqlx::query(AssertSqlSafe(sql)).bind(integer(id.0));
                let query = query.bind(plugin.as_str().to_owned()).bind(keys);
                query.execute(connection).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl BatchItems for SqliteStore {
    async fn with_outcome(
        &self,
        batch: BatchId,
        outcome: ItemOutcome,
        after: u64,
        limit: usize,
    ) -> Result<Vec<BatchItem>, ReadError> {
        let query = sqlx::query(PENDING)
            .bind(integer(batch.0))
            .bind(outcome.as_str())
            .bind(integer(after))
            .bind(integer(limit as u64));
        self.found(query).await?.iter().map(item).collect()
    }

    async fn outcomes(
        &self,
        batch: BatchId,
        items: &[u64],
    ) -> Result<Vec<(u64, ItemOutcome)>, ReadError> {
        let query = sqlx::query(OUTCOMES).bind(integer(batch.0)).bind(rows::json(items));
        let found = self.found(query).await?;
        found.iter().map(|row| Ok((rows::number(row, "item")?, outcome(row)?))).collect()
    }

    async fn note(&self, batch: BatchId, notes: &[ItemNote]) -> Result<(), ReadError> {
        let note = |note: &ItemNote| (note.item, note.outcome.as_str(), note.reason.clone());
        let notes: Vec<_> = notes.iter().map(note).collect();
        let query = sqlx::query(NOTE).bind(integer(batch.0)).bind(rows::json(&notes));
        self.change(query).await.map(|_| ())
    }

    async fn remark(&self, batch: BatchId, remark: Option<&str>) -> Result<(), ReadError> {
        let query = sqlx::query("UPDATE batches SET remark = ? WHERE id = ?");
        self.change(query.bind(remark.map(str::to_owned)).bind(integer(batch.0))).await.map(|_| ())
    }
}

#[async_trait]
impl BatchRecords for SqliteStore {
    async fn add_batch(&self, new: &NewBatch) -> Result<BatchId, ReadError> {
        let sql = "INSERT INTO batches (action, status, selection, plugin, by, reason, \
                   rate_per_second, ignore_failures, counted, is_exact, created_at) \
                   VALUES (?, 'draft', ?, ?, ?, '', 1, 0, ?, ?, ?) RETURNING id";
        let query = sqlx::query(sql)
            .bind(new.action.as_str())
            .bind(new.selection.clone())
            .bind(new.plugin.clone())
            .bind(new.by.clone())
            .bind(integer(new.counted))
            .bind(new.is_exact)
            .bind(integer(new.created_at.0));
        let found = self.found(query).await?;
        let row = found.first().ok_or_else(|| damaged("a batch without a number"))?;
        rows::number(row, "id").map(BatchId)
    }

    async fn batch(&self, id: BatchId) -> Result<Option<BatchRow>, ReadError> {
        let query = sqlx::query("SELECT * FROM batches WHERE id = ?").bind(integer(id.0));
        self.found(query).await?.first().map(batch_row).transpose()
    }

    async fn batches(&self, filter: &BatchFilter) -> Result<Page<BatchRow, u64>, ReadError> {
        let sql = "SELECT * FROM batches WHERE (?1 IS NULL OR id < ?1) \
                   AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR plugin = ?3) \
                   AND (?4 IS NULL OR plugin IN (SELECT value FROM json_each(?4))) \
                   ORDER BY id DESC LIMIT ?5";
        let query = sqlx::query(sql)
            .bind(filter.before.map(integer))
            .bind(filter.status.map(BatchStatus::as_str))
            .bind(filter.plugin.clone())
            .bind(filter.plugins.as_ref().map(rows::json))
            .bind(filter.limit.saturating_add(1));
        let found = self.found(query).await?;
        let rows: Result<Vec<_>, ReadError> = found.iter().map(batch_row).collect();
        Ok(Page::of(rows?, filter.limit, |row: &BatchRow| row.id.0))
    }

    async fn batches_under_way(&self) -> Result<Vec<BatchRow>, ReadError> {
        let sql = "SELECT * FROM batches WHERE status IN ('preparing', 'running') ORDER BY id";
        self.found(sqlx::query(sql)).await?.iter().map(batch_row).collect()
    }

    async fn start_batch(&self, id: BatchId, start: &Start) -> Result<bool, ReadError> {
        let sql = format!(
            "UPDATE batches SET status = 'preparing', by = ?2, reason = ?3, \
               rate_per_second = ?4, ignore_failures = ?5, started_at = ?6, \
               newest = CASE WHEN action IN ('cancel', 'end') THEN {LAST_POSITION} \
                 ELSE (SELECT coalesce(max(id), 0) FROM dead_letters) END \
             WHERE id = ?1 AND status = 'draft'"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(integer(id.0));
        Ok(self.change(with(query, start).bind(integer(start.at.0))).await? == 1)
    }

    async fn resume_batch(&self, id: BatchId, start: &Start) -> Result<bool, ReadError> {
        // It may have been paused before all of its items were written.
        let sql = "UPDATE batches SET by = ?2, reason = ?3, rate_per_second = ?4, \
                     ignore_failures = ?5, note = NULL, \
                     status = iif(is_prepared, 'running', 'preparing') \
                   WHERE id = ?1 AND status = 'paused'";
        let query = sqlx::query(sql).bind(integer(id.0));
        Ok(self.change(with(query, start)).await? == 1)
    }

    async fn add_items(
        &self,
        id: BatchId,
        selected: &Selected,
        prepared_to: Option<&str>,
    ) -> Result<(), ReadError> {
        let mut connection = self.beside().await?;
        let written = async {
            // The writing lock is taken at once: a transaction that began to read cannot take it
            // after another one has written.
            let mut writing = connection.begin_with("BEGIN IMMEDIATE").await?;
            self.add(&mut writing, id, selected).await?;
            let sql = "UPDATE batches SET prepared_to = ?2, is_prepared = ?2 IS NULL, \
                         status = iif(?2 IS NULL, 'running', status) \
                       WHERE id = ?1 AND status = 'preparing'";
            let query = sqlx::query(sql).bind(integer(id.0)).bind(prepared_to.map(str::to_owned));
            query.execute(&mut *writing).await?;
            writing.commit().await
        };
        written.await.map_err(|error| self.unreadable(&error))?;
        self.done(connection).await
    }

    async fn change_batch(
        &self,
        id: BatchId,
        from: &[BatchStatus],
        change: &Change,
    ) -> Result<bool, ReadError> {
        let sql = "UPDATE batches SET status = ?2, note = ?3, finished_at = ?4, remark = NULL \
                   WHERE id = ?1 AND status IN (SELECT value FROM json_each(?5))";
        let from: Vec<&str> = from.iter().map(|status| status.as_str()).collect();
        let query = sqlx::query(sql)
            .bind(integer(id.0))
            .bind(change.to.as_str())
            .bind(change.note.clone())
            .bind(change.finished_at.map(|at| integer(at.0)))
            .bind(rows::json(&from));
        Ok(self.change(query).await? == 1)
    }

    async fn batch_items(&self, filter: &ItemFilter) -> Result<Page<ItemRow, u64>, ReadError> {
        let sql = match filter.outcome {
            Some(_) => PENDING,
            None => {
                "SELECT * FROM batch_items WHERE batch = ?1 AND item > ?3 ORDER BY item LIMIT ?4"
            }
        };
        let query = sqlx::query(sql)
            .bind(integer(filter.batch.0))
            .bind(filter.outcome.map(ItemOutcome::as_str))
            .bind(integer(filter.after))
            .bind(filter.limit.saturating_add(1));
        let found = self.found(query).await?;
        let rows: Result<Vec<_>, ReadError> = found.iter().map(item_row).collect();
        Ok(Page::of(rows?, filter.limit, |row: &ItemRow| row.item))
    }

    async fn expire_batches(&self, before: Timestamp, rows_max: u32) -> Result<u64, ReadError> {
        let query = sqlx::query(EXPIRE_ITEMS).bind(integer(before.0)).bind(rows_max);
        let items = self.change(query).await?;
        let batches = self.change(sqlx::query(EXPIRE).bind(integer(before.0))).await?;
        let query = sqlx::query(EXPIRE_DRAFTS).bind(integer(before.0)).bind(rows_max);
        let drafts = self.change(query).await?;
        Ok(items + batches + drafts)
    }
}

/// Parameters ?2 to ?5.
fn with<'q>(query: Query<'q>, start: &Start) -> Query<'q> {
    query
        .bind(start.by.clone())
        .bind(start.reason.clone())
        .bind(start.rate_per_second.get())
        .bind(start.ignore_failures)
}

fn batch_row(row: &SqliteRow) -> Result<BatchRow, ReadError> {
    let number = |column| rows::number(row, column);
    let time = |column| Ok(rows::optional_number(row, column)?.map(Timestamp));
    let is_set = |column| Ok(number(column)? == 1);
    let rate = u32::try_from(number("rate_per_second")?).ok().and_then(NonZeroU32::new);
    let (action, status) = (rows::text(row, "action")?, rows::text(row, "status")?);
    let unknown = |what: &str| damaged(format!("unknown `{what}` of a batch"));
    Ok(BatchRow {
        id: BatchId(number("id")?),
        action: BatchAction::ALL
            .into_iter()
            .find(|known| known.as_str() == action)
            .ok_or_else(|| unknown(&action))?,
        status: BatchStatus::ALL
            .into_iter()
            .find(|known| known.as_str() == status)
            .ok_or_else(|| unknown(&status))?,
        selection: RawValue::from_string(rows::text(row, "selection")?).map_err(damaged)?,
        plugin: rows::optional(row, "plugin")?,
        by: rows::text(row, "by")?,
        reason: rows::text(row, "reason")?,
        rate_per_second: rate.ok_or_else(|| damaged("a batch without a rate"))?,
        ignore_failures: is_set("ignore_failures")?,
        counted: number("counted")?,
        is_exact: is_set("is_exact")?,
        newest: number("newest")?,
        prepared_to: rows::optional(row, "prepared_to")?,
        counts: ItemCounts {
            pending: number("pending")?,
            in_progress: number("in_progress")?,
            done: number("done")?,
            failed: number("failed")?,
            changed: number("changed")?,
            refused: number("refused")?,
        },
        note: rows::optional(row, "note")?,
        remark: rows::optional(row, "remark")?,
        created_at: Timestamp(number("created_at")?),
        started_at: time("started_at")?,
        finished_at: time("finished_at")?,
    })
}

fn outcome(row: &SqliteRow) -> Result<ItemOutcome, ReadError> {
    let text = rows::text(row, "outcome")?;
    let found = ItemOutcome::ALL.into_iter().find(|outcome| outcome.as_str() == text);
    found.ok_or_else(|| damaged(format!("unknown outcome `{text}`")))
}

fn of(row: &SqliteRow) -> Result<(PluginName, Option<SinkName>, Option<Key>), ReadError> {
    let optional = |column| rows::optional(row, column);
    let plugin = rows::text(row, "plugin")?.into();
    Ok((plugin, optional("sink")?.map(Into::into), optional("key")?.map(Into::into)))
}

fn item(row: &SqliteRow) -> Result<BatchItem, ReadError> {
    let (plugin, sink, key) = of(row)?;
    let started = rows::optional_number(row, "started")?.map(Position);
    Ok(BatchItem { item: rows::number(row, "item")?, plugin, sink, key, started })
}

fn item_row(row: &SqliteRow) -> Result<ItemRow, ReadError> {
    let started = rows::optional_number(row, "started")?.map(Position);
    let said = (outcome(row)?, rows::optional(row, "reason")?);
    Ok(ItemRow::new(rows::number(row, "item")?, of(row)?, started, said))
}
