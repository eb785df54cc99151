//! The causes of open dead letters, counted in an index that has nothing else.

use sagabox_engine::model::{DeadLetterId, Timestamp};
use sagabox_engine::seams::store::ReadError;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::failed;
use crate::store::query::QueryLimits;
use crate::store::query::rows::{CauseFilter, CausePage, CauseRow, Page};
use crate::store::rows::{self, integer};

/// Open dead letters, in the order of their groups.
const DEAD_LETTERS: &str = "dead_letters INDEXED BY dead_letters_causes WHERE status = 'open'";
const GROUP: &str = "plugin, plugin_version, cause, sink";

pub(super) async fn list(
    pool: &SqlitePool,
    filter: &CauseFilter,
    limits: &QueryLimits,
) -> Result<CausePage, ReadError> {
    // SQLite sorts the rows of an inner query once more, so one with a limit is slow: it is for
    // hosts with too many dead letters.
    let which = if filter.plugin.is_some() { "plugin = ?1" } else { "?1 IS NULL" };
    let is_exact = has_at_most(pool, which, filter, limits.counted_dead_letters).await?;
    let of = match is_exact {
        true => format!("{DEAD_LETTERS} AND {which} AND ?2 > 0"),
        false => format!("(SELECT {GROUP}, id, at FROM {DEAD_LETTERS} AND {which} LIMIT ?2)"),
    };
    let sql = format!(
        "SELECT {GROUP}, count(*) AS found, min(at) AS oldest, max(at) AS newest, \
         max(id) AS example FROM {of} GROUP BY {GROUP} ORDER BY found DESC, {GROUP} \
         LIMIT ?3 OFFSET ?4"
    );
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(filter.plugin.clone())
        .bind(integer(limits.counted_dead_letters))
        .bind(filter.limit.saturating_add(1))
        .bind(integer(filter.after));
    let found = query.fetch_all(pool).await.map_err(failed)?;
    let causes: Result<Vec<_>, ReadError> = found.iter().map(cause).collect();
    let end = filter.after.saturating_add(filter.limit.into());
    Ok(CausePage { causes: Page::of(causes?, filter.limit, |_: &CauseRow| end), is_exact })
}

async fn has_at_most(
    pool: &SqlitePool,
    which: &str,
    filter: &CauseFilter,
    most: u64,
) -> Result<bool, ReadError> {
    let sql = format!(
        "SELECT count(*) AS n FROM (SELECT 1 FROM {DEAD_LETTERS} AND {which} LIMIT ?2 + 1)"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(filter.plugin.clone()).bind(integer(most));
    Ok(rows::number(&query.fetch_one(pool).await.map_err(failed)?, "n")? <= most)
}

fn cause(row: &SqliteRow) -> Result<CauseRow, ReadError> {
    Ok(CauseRow {
        plugin: rows::text(row, "plugin")?,
        plugin_version: rows::text(row, "plugin_version")?,
        sink: rows::optional(row, "sink")?,
        cause: rows::text(row, "cause")?,
        dead_letters: rows::number(row, "found")?,
        oldest: Timestamp(rows::number(row, "oldest")?),
        newest: Timestamp(rows::number(row, "newest")?),
        example: DeadLetterId(rows::number(row, "example")?),
    })
}
