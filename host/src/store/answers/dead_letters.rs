//! Lists of dead letters. A dead letter can have megabytes, so the sizes of a page come first.

use std::time::Instant;

use sagabox_engine::model::{DeadLetterId, DeadLetterStatus, Position, Timestamp};
use sagabox_engine::seams::store::ReadError;
use serde_json::value::RawValue;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::failed;
use crate::store::dead_letters;
use crate::store::query::QueryLimits;
use crate::store::query::rows::{
    Counted, DeadLetterFilter, DeadLetterKind, DeadLetterRow, LoggedLine, Page,
};
use crate::store::rows::{self, integer};

/// Of a page that is only counted: some milliseconds.
const COUNTED_PAGE: u32 = 5_000;
/// It reads the index alone.
pub(in crate::store) const COUNT_OPEN: &str = "SELECT count(*) AS n \
     FROM dead_letters INDEXED BY dead_letters_open WHERE status = 'open' \
     AND (?1 IS NULL OR plugin = ?1) AND (?2 IS NULL OR plugin_version = ?2) \
     AND (?3 IS NULL OR sink = ?3) AND (?4 IS NULL OR event_type = ?4) \
     AND (?5 IS NULL OR key = ?5) AND (?6 IS NULL OR cause = ?6)";

pub(super) async fn list(
    pool: &SqlitePool,
    filter: &DeadLetterFilter,
    limits: &QueryLimits,
) -> Result<Page<DeadLetterRow, u64>, ReadError> {
    let Page { rows: mut sizes, mut next } = sizes(pool, filter, limits).await?;
    let mut bytes = 0;
    let mut fits = |(_, size): &(u64, u64)| {
        bytes += size;
        bytes <= limits.page_bytes
    };
    let count = sizes.iter().take_while(|row| fits(row)).count().max(1);
    if count < sizes.len() {
        sizes.truncate(count);
        next = sizes.last().map(|(id, _)| *id);
    }
    let ids: Vec<u64> = sizes.iter().map(|(id, _)| *id).collect();
    let sql = "SELECT * FROM dead_letters WHERE id IN (SELECT value FROM json_each(?)) \
               ORDER BY id";
    let query = sqlx::query(sql).bind(rows::json(&ids));
    let found = query.fetch_all(pool).await.map_err(failed)?;
    let rows: Result<Vec<_>, ReadError> = found.iter().map(dead_letter_row).collect();
    Ok(Page { rows: rows?, next })
}

pub(super) async fn ids(
    pool: &SqlitePool,
    filter: &DeadLetterFilter,
    limits: &QueryLimits,
) -> Result<Page<u64, u64>, ReadError> {
    let Page { rows, next } = sizes(pool, filter, limits).await?;
    Ok(Page { rows: rows.into_iter().map(|(id, _)| id).collect(), next })
}

/// How many open ones the filter selects, without reading them if it selects by names alone.
pub(super) async fn count_open(
    pool: &SqlitePool,
    filter: &DeadLetterFilter,
    limits: &QueryLimits,
) -> Result<Counted, ReadError> {
    if filter.reason_contains.is_none() {
        let query = sqlx::query(COUNT_OPEN)
            .bind(filter.plugin.clone())
            .bind(filter.plugin_version.clone())
            .bind(filter.sink.clone())
            .bind(filter.event_type.clone())
            .bind(filter.key.clone())
            .bind(filter.cause.clone());
        let row = query.fetch_one(pool).await.map_err(failed)?;
        return Ok(Counted { count: rows::number(&row, "n")?, is_exact: true });
    }
    let (started, mut count, mut after) = (Instant::now(), 0, 0);
    loop {
        let status = Some(DeadLetterStatus::Open);
        let filter = DeadLetterFilter { status, after, limit: COUNTED_PAGE, ..filter.clone() };
        let page = sizes(pool, &filter, limits).await?;
        count += page.rows.len() as u64;
        let Some(next) = page.next else { return Ok(Counted { count, is_exact: true }) };
        if started.elapsed() >= limits.scan_time {
            return Ok(Counted { count, is_exact: false });
        }
        after = next;
    }
}

/// Id and bytes of each.
async fn sizes(
    pool: &SqlitePool,
    filter: &DeadLetterFilter,
    limits: &QueryLimits,
) -> Result<Page<(u64, u64), u64>, ReadError> {
    let (started, mut after, mut rows) = (Instant::now(), filter.after, Vec::new());
    loop {
        let end = match filter.ids {
            Some(_) => None,
            None if filter.is_one_cause() => None,
            None => look_to(pool, after, limits.scan_rows).await?,
        };
        rows.extend(sizes_between(pool, filter, after, end).await?);
        let Some(end) = end.filter(|_| rows.len() <= filter.limit as usize) else {
            return Ok(Page::of(rows, filter.limit, |(id, _): &(u64, u64)| *id));
        };
        if started.elapsed() >= limits.scan_time {
            return Ok(Page { rows, next: Some(end) });
        }
        after = end;
    }
}

/// The dead letter up to which to look next; none: to the end.
async fn look_to(pool: &SqlitePool, after: u64, rows: u32) -> Result<Option<u64>, ReadError> {
    let sql = "SELECT id FROM dead_letters WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?";
    let query = sqlx::query(sql).bind(integer(after)).bind(rows - 1);
    let row = query.fetch_optional(pool).await.map_err(failed)?;
    row.map(|row| rows::number(&row, "id")).transpose()
}

async fn sizes_between(
    pool: &SqlitePool,
    filter: &DeadLetterFilter,
    after: u64,
    end: Option<u64>,
) -> Result<Vec<(u64, u64)>, ReadError> {
    // With an `OR` for the ids, too, SQLite would look at all dead letters for one of them.
    let among = match &filter.ids {
        Some(_) => "id IN (SELECT value FROM json_each(?1)) AND",
        None if filter.is_one_cause() => {
            "?1 IS NULL AND id IN (SELECT id FROM dead_letters INDEXED BY dead_letters_causes \
             WHERE status = 'open' AND plugin = ?3 AND plugin_version = ?4 AND cause = ?12 \
             AND (?6 IS NULL OR sink = ?6) AND id > ?2 ORDER BY id LIMIT ?10) AND"
        }
        None => "?1 IS NULL AND",
    };
    let sql = format!(
        "SELECT id, octet_length(event) + coalesce(octet_length(edited), 0) \
         + octet_length(reason) + coalesce(octet_length(log), 0) AS bytes FROM dead_letters WHERE {among} id > ?2 \
         AND (?11 IS NULL OR id <= ?11) \
         AND (?3 IS NULL OR plugin = ?3) AND (?4 IS NULL OR plugin_version = ?4) \
         AND (?5 IS NULL OR status = ?5) AND (?6 IS NULL OR sink = ?6) \
         AND (?7 IS NULL OR key = ?7) AND (?8 IS NULL OR event_type = ?8) \
         AND (?9 IS NULL OR instr(reason, ?9) > 0) AND (?12 IS NULL OR cause = ?12) \
         ORDER BY id LIMIT ?10"
    );
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(filter.ids.as_ref().map(rows::json))
        .bind(integer(after))
        .bind(filter.plugin.clone())
        .bind(filter.plugin_version.clone())
        .bind(filter.status.map(DeadLetterStatus::as_str))
        .bind(filter.sink.clone())
        .bind(filter.key.clone())
        .bind(filter.event_type.clone())
        .bind(filter.reason_contains.clone())
        .bind(filter.limit.saturating_add(1))
        .bind(end.map(integer))
        .bind(filter.cause.clone());
    let found = query.fetch_all(pool).await.map_err(failed)?;
    let row = |row| Ok((rows::number(row, "id")?, rows::number(row, "bytes")?));
    found.iter().map(row).collect()
}

fn dead_letter_row(row: &SqliteRow) -> Result<DeadLetterRow, ReadError> {
    let sink = rows::optional(row, "sink")?;
    let raw = |text: String| RawValue::from_string(text).map_err(rows::damaged);
    Ok(DeadLetterRow {
        payloads_hidden: false,
        id: DeadLetterId(rows::number(row, "id")?),
        kind: if sink.is_some() { DeadLetterKind::Message } else { DeadLetterKind::Event },
        plugin: rows::text(row, "plugin")?.into(),
        key: rows::optional(row, "key")?.map(Into::into),
        position: Position(rows::number(row, "position")?),
        sink: sink.map(Into::into),
        reason: rows::text(row, "reason")?,
        log: rows::optional(row, "log")?.map(|log| LoggedLine::of_log(&log)),
        cause: rows::text(row, "cause")?,
        attempts: u32::try_from(rows::number(row, "attempts")?).map_err(rows::damaged)?,
        plugin_version: rows::text(row, "plugin_version")?,
        at: Timestamp(rows::number(row, "at")?),
        status: dead_letters::status(row)?,
        resolved_by: rows::optional(row, "resolved_by")?,
        resolved_reason: rows::optional(row, "resolved_reason")?,
        batch: rows::optional_number(row, "batch")?,
        event: raw(rows::text(row, "event")?)?,
        edited: rows::optional(row, "edited")?.map(raw).transpose()?,
    })
}
