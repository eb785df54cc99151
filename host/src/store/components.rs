//! The components that have decided something. Each is kept once, for as long as decisions of it
//! are.
//!
//! They are written beside the commits, before the first decision of a version, and removed by
//! housekeeping: a component that decides no more goes when the log has no decision left from
//! before it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use sagabox_engine::model::Timestamp;
use sagabox_engine::seams::store::ReadError;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::query::component::{ComponentUse, KeptComponent, PackedComponent};
use super::rows::{self, damaged, integer};
use super::trouble::WriteError;
use super::{open, tables};

const KEPT: &str = "SELECT u.plugin, u.version, u.digest, c.file, c.size, u.since_at, \
            u.until IS NULL AS is_active \
     FROM component_uses u JOIN components c ON c.digest = u.digest \
     WHERE ?1 IS NULL OR u.plugin = ?1 ORDER BY u.plugin, u.since_at, u.digest";

/// Notes that a component decides from now on. False if it is neither kept nor given.
pub(super) fn begin_use(
    path: &Path,
    of: &ComponentUse,
    component: Option<&PackedComponent>,
) -> Result<bool, WriteError> {
    let mut connection = open::writing(path)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(PackedComponent { digest, file, signature, size, packed }) = component {
        let sql = "INSERT OR IGNORE INTO components (digest, file, size, signature, packed) \
                   VALUES (?, ?, ?, ?, ?)";
        transaction.execute(sql, (digest, file, integer(*size), signature, packed))?;
    }
    let sql = "SELECT 1 FROM components WHERE digest = ?";
    if !transaction.prepare(sql)?.exists([&of.digest])? {
        return Ok(false);
    }
    // One that began before is not written again: each start of a host would be a commit.
    let sql = "SELECT 1 FROM component_uses \
               WHERE plugin = ? AND digest = ? AND version = ? AND until IS NULL";
    let mut is_new = false;
    for (plugin, version) in &of.plugins {
        if transaction.prepare_cached(sql)?.exists((plugin, &of.digest, version))? {
            continue;
        }
        is_new = true;
        let sql = "INSERT OR REPLACE INTO component_uses (plugin, digest, version, since_at, until) \
                   VALUES (?, ?, ?, ?, NULL)";
        transaction.execute(sql, (plugin, &of.digest, version, integer(of.at.0)))?;
    }
    if is_new || component.is_some() {
        transaction.commit()?;
    }
    Ok(true)
}

/// Notes which components decide, by plugin; all others decide no more.
pub(super) fn end_other_uses(
    path: &Path,
    in_use: &BTreeMap<String, BTreeSet<String>>,
) -> Result<(), WriteError> {
    let mut connection = open::writing(path)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut select =
        transaction.prepare("SELECT plugin, digest FROM component_uses WHERE until IS NULL")?;
    let active = select.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let active: Vec<(String, String)> = active.collect::<Result<_, _>>()?;
    drop(select);
    let is_over = |(plugin, digest): &&(String, String)| {
        !in_use.get(plugin).is_some_and(|digests| digests.contains(digest))
    };
    let over: Vec<_> = active.iter().filter(is_over).collect();
    if over.is_empty() {
        return Ok(());
    }
    let sql = "SELECT max(coalesce((SELECT max(position) FROM log), 0), \
                          coalesce((SELECT max(position) FROM decisions), 0))";
    let last: i64 = transaction.query_row(sql, (), |row| row.get(0))?;
    let sql = "UPDATE component_uses SET until = ? WHERE plugin = ? AND digest = ?";
    tables::each(&transaction, sql, over, |(plugin, digest)| (last, plugin, digest))?;
    transaction.commit()?;
    Ok(())
}

/// Removes one component whose decisions are gone, up to a position that all plugins have settled.
/// Returns how many rows went.
pub(super) fn expire(writer: &Connection, boundary: i64) -> Result<usize, WriteError> {
    let sql = "DELETE FROM component_uses WHERE until <= ?1 \
               AND until < coalesce((SELECT min(position) FROM decisions), until + 1)";
    let uses = writer.prepare_cached(sql)?.execute([boundary])?;
    // One of them frees thousands of pages.
    let sql = "SELECT digest FROM components \
               WHERE digest NOT IN (SELECT digest FROM component_uses) LIMIT 1";
    let mut select = writer.prepare_cached(sql)?;
    let unused: Option<String> = select.query_row((), |row| row.get(0)).optional()?;
    let Some(digest) = unused else { return Ok(uses) };
    let sql = "DELETE FROM components WHERE digest = ?";
    Ok(uses + writer.prepare_cached(sql)?.execute([digest])?)
}

/// What is kept of a plugin, or of all: by plugin, the oldest first.
pub(super) async fn kept(
    connection: &mut SqliteConnection,
    plugin: Option<&str>,
) -> Result<Vec<KeptComponent>, ReadError> {
    let query = sqlx::query(KEPT).bind(plugin.map(str::to_owned));
    let found = query.fetch_all(connection).await.map_err(unreadable)?;
    let kept = |row: &SqliteRow| {
        Ok(KeptComponent {
            plugin: rows::text(row, "plugin")?,
            version: rows::text(row, "version")?,
            digest: rows::text(row, "digest")?,
            file: rows::text(row, "file")?,
            bytes: rows::number(row, "size")?,
            since: Timestamp(rows::number(row, "since_at")?),
            is_active: rows::number(row, "is_active")? == 1,
        })
    };
    found.iter().map(kept).collect()
}

pub(super) async fn component(
    connection: &mut SqliteConnection,
    digest: &str,
) -> Result<Option<PackedComponent>, ReadError> {
    let query = sqlx::query("SELECT * FROM components WHERE digest = ?").bind(digest.to_owned());
    let row = query.fetch_optional(connection).await.map_err(unreadable)?;
    let packed = |row: SqliteRow| {
        Ok(PackedComponent {
            digest: rows::text(&row, "digest")?,
            file: rows::text(&row, "file")?,
            signature: rows::optional(&row, "signature")?,
            size: rows::number(&row, "size")?,
            packed: rows::bytes(&row, "packed")?,
        })
    };
    row.map(packed).transpose().map_err(|error: ReadError| damaged(error))
}

fn unreadable(error: sqlx::Error) -> ReadError {
    ReadError(format!("the store cannot be read: {error}"))
}
