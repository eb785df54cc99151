//! Instances: how many there are, and one with its history.

use std::collections::BTreeMap;

use sagabox_engine::model::{
    Counters, Instance, InstanceStatus, Key, Position, Timer, TimerName, Timestamp,
};
use sagabox_engine::seams::store::ReadError;
use serde_json::value::RawValue;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::failed;
use super::snapshot::recorded;
use crate::store::query::QueryLimits;
use crate::store::query::rows::{
    EventName, HistoryRow, InstanceDetail, Page, RecordedDecision, WaitDetail,
};
use crate::store::rows::{self, integer};
use crate::store::{dead_letters, decisions, fields};

/// A plugin and a key of it.
type Of<'k> = (&'k str, &'k str);

pub(super) async fn counts(
    connection: &mut SqliteConnection,
    plugin: &str,
) -> Result<BTreeMap<&'static str, u64>, ReadError> {
    let query = sqlx::query("SELECT counters FROM plugins WHERE plugin = ?");
    let row = query.bind(plugin.to_owned()).fetch_optional(connection).await.map_err(failed)?;
    let Some(row) = row else { return Ok(BTreeMap::new()) };
    let Counters { instances, .. } = rows::parsed(&row, "counters")?;
    let counts = InstanceStatus::ALL.map(|status| (status.as_str(), instances.of(status)));
    Ok(counts.into_iter().filter(|(_, count)| *count > 0).collect())
}

pub(super) async fn detail(
    connection: &mut SqliteConnection,
    of: Of<'_>,
    after: Option<u64>,
    limit: u32,
    limits: &QueryLimits,
) -> Result<Option<InstanceDetail>, ReadError> {
    let query = sqlx::query("SELECT * FROM instances WHERE plugin = ? AND key = ?");
    let query = query.bind(of.0.to_owned()).bind(of.1.to_owned());
    let row = query.fetch_optional(&mut *connection).await.map_err(failed)?;
    let instance = row.as_ref().map(rows::instance).transpose()?;
    let parked = is_parked(connection, of).await?;
    let wait = wait(connection, of).await?;
    let history = match &instance {
        Some(instance) => {
            let newest = newest(connection, of, instance, after).await?;
            chain(connection, of, newest, limit, limits.page_bytes).await?
        }
        None => scan(connection, of, after, limit, limits.scanned_decisions).await?,
    };
    let is_known = instance.is_some()
        || parked
        || wait.is_some()
        || after.is_some()
        || !history.rows.is_empty();
    if !is_known {
        return Ok(None);
    }
    let (keys, timers) = match &instance {
        Some(_) => (claims(connection, of).await?, timers(connection, of).await?),
        None => (Vec::new(), BTreeMap::new()),
    };
    let state = instance.as_ref().and_then(|instance| instance.state.as_ref());
    let fields = match &instance {
        Some(_) => fields::of(connection, of).await?,
        None => None,
    };
    Ok(Some(InstanceDetail {
        payloads_hidden: false,
        plugin: of.0.to_owned(),
        key: of.1.to_owned(),
        status: instance.as_ref().map(|instance| instance.status),
        summary: None,
        fields,
        state: state.map(|state| readable(&state.data)).transpose()?,
        state_version: state.map(|state| state.version),
        keys,
        timers,
        parked,
        wait,
        paused: None,
        history: history.rows,
        next: history.next,
    }))
}

async fn is_parked(connection: &mut SqliteConnection, of: Of<'_>) -> Result<bool, ReadError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM dead_letters WHERE status IN ('open', 'redriving') \
               AND sink IS NULL AND plugin = ? AND key = ?) AS parked";
    let query = sqlx::query(sql).bind(of.0.to_owned()).bind(of.1.to_owned());
    let row = query.fetch_one(connection).await.map_err(failed)?;
    Ok(rows::number(&row, "parked")? == 1)
}

async fn wait(
    connection: &mut SqliteConnection,
    of: Of<'_>,
) -> Result<Option<WaitDetail>, ReadError> {
    let query = sqlx::query("SELECT * FROM waits WHERE plugin = ? AND key = ?");
    let query = query.bind(of.0.to_owned()).bind(of.1.to_owned());
    let row = query.fetch_optional(connection).await.map_err(failed)?;
    Ok(row.as_ref().map(dead_letters::wait).transpose()?.map(|wait| WaitDetail {
        position: Position(wait.place),
        attempt: wait.attempt,
        since: wait.since,
        until: wait.until,
        reason: wait.reason,
    }))
}

/// The additional keys of an instance.
async fn claims(connection: &mut SqliteConnection, of: Of<'_>) -> Result<Vec<Key>, ReadError> {
    let sql = "SELECT key FROM claims WHERE plugin = ? AND instance = ? ORDER BY key";
    let query = sqlx::query(sql).bind(of.0.to_owned()).bind(of.1.to_owned());
    let found = query.fetch_all(connection).await.map_err(failed)?;
    found.iter().map(|row| Ok(rows::text(row, "key")?.into())).collect()
}

async fn timers(
    connection: &mut SqliteConnection,
    of: Of<'_>,
) -> Result<BTreeMap<TimerName, Timer>, ReadError> {
    let sql = "SELECT name, due, set_by FROM timers WHERE plugin = ? AND instance = ?";
    let query = sqlx::query(sql).bind(of.0.to_owned()).bind(of.1.to_owned());
    let found = query.fetch_all(connection).await.map_err(failed)?;
    let timer = |row: &SqliteRow| {
        let due = Timestamp(rows::number(row, "due")?);
        let set_by = Position(rows::number(row, "set_by")?);
        Ok((rows::text(row, "name")?.into(), Timer { due, set_by }))
    };
    found.iter().map(timer).collect()
}

/// Where a page of an instance's history begins.
async fn newest(
    connection: &mut SqliteConnection,
    of: Of<'_>,
    instance: &Instance,
    after: Option<u64>,
) -> Result<Option<Position>, ReadError> {
    let Some(after) = after else { return Ok(Some(instance.decided)) };
    let row = decision(connection, of, Position(after)).await?;
    row.map_or(Ok(None), |row| rows::position(&row, "previous"))
}

async fn decision(
    connection: &mut SqliteConnection,
    of: Of<'_>,
    position: Position,
) -> Result<Option<SqliteRow>, ReadError> {
    let sql = "SELECT decisions.*, log.event, log.hops FROM decisions LEFT JOIN log USING (position) \
               WHERE decisions.position = ? AND plugin = ? AND key = ?";
    let query = sqlx::query(sql).bind(integer(position.0));
    let query = query.bind(of.0.to_owned()).bind(of.1.to_owned());
    query.fetch_optional(connection).await.map_err(failed)
}

/// From decision to decision, backwards.
async fn chain(
    connection: &mut SqliteConnection,
    of: Of<'_>,
    newest: Option<Position>,
    limit: u32,
    bytes_max: u64,
) -> Result<Page<HistoryRow, Position>, ReadError> {
    let mut page = Page { rows: Vec::new(), next: None };
    let mut next = newest;
    let mut bytes = 0;
    while let Some(position) = next {
        // Older decisions may have been removed: then this is the end.
        let Some(row) = decision(connection, of, position).await? else { break };
        next = rows::position(&row, "previous")?;
        bytes += rows::text(&row, "summary")?.len() as u64;
        if page.rows.len() == limit as usize || bytes > bytes_max && !page.rows.is_empty() {
            page.next = page.rows.last().map(|last: &HistoryRow| last.position);
            break;
        }
        page.rows.push(history_row(&row)?);
    }
    Ok(page)
}

/// The decisions of an instance with their inputs, the newest first.
pub(super) async fn decisions(
    connection: &mut SqliteConnection,
    of: Of<'_>,
    after: Option<u64>,
    limit: u32,
    bytes_max: u64,
) -> Result<Page<RecordedDecision, u64>, ReadError> {
    let query = sqlx::query("SELECT * FROM instances WHERE plugin = ? AND key = ?");
    let query = query.bind(of.0.to_owned()).bind(of.1.to_owned());
    let row = query.fetch_optional(&mut *connection).await.map_err(failed)?;
    let mut page = Page { rows: Vec::new(), next: None };
    let Some(row) = row else { return Ok(page) };
    let mut next = newest(connection, of, &rows::instance(&row)?, after).await?;
    let mut bytes = 0;
    while let Some(position) = next {
        let Some(row) = decision(connection, of, position).await? else { break };
        let recorded = recorded(&row)?;
        next = recorded.record.previous;
        let state = recorded.record.state.as_ref().map_or(0, |state| state.data.len());
        let event = recorded.event.as_ref().map_or(0, String::len);
        bytes += (recorded.record.summary.len() + state + event) as u64;
        if page.rows.len() == limit as usize || bytes > bytes_max && !page.rows.is_empty() {
            page.next = page.rows.last().map(|last: &RecordedDecision| last.record.position.0);
            break;
        }
        page.rows.push(recorded);
    }
    Ok(page)
}

pub(super) async fn recorded_at(
    connection: &mut SqliteConnection,
    of: Of<'_>,
    position: u64,
) -> Result<Option<RecordedDecision>, ReadError> {
    let row = decision(connection, of, Position(position)).await?;
    row.as_ref().map(recorded).transpose()
}

async fn scan(
    connection: &mut SqliteConnection,
    of: Of<'_>,
    after: Option<u64>,
    limit: u32,
    scanned_max: u32,
) -> Result<Page<HistoryRow, Position>, ReadError> {
    let sql = "SELECT recent.*, log.event FROM \
               (SELECT * FROM decisions WHERE position < ? ORDER BY position DESC LIMIT ?) \
               AS recent LEFT JOIN log ON log.position = recent.position \
               WHERE plugin = ? AND key = ? ORDER BY recent.position DESC LIMIT ?";
    let query = sqlx::query(sql)
        .bind(integer(after.unwrap_or(u64::MAX)))
        .bind(scanned_max)
        .bind(of.0.to_owned())
        .bind(of.1.to_owned())
        .bind(limit.saturating_add(1));
    let found = query.fetch_all(connection).await.map_err(failed)?;
    let rows: Result<Vec<_>, ReadError> = found.iter().map(history_row).collect();
    Ok(Page::of(rows?, limit, |row| row.position))
}

/// As it is if it is JSON, otherwise as a string.
fn readable(data: &[u8]) -> Result<Box<RawValue>, ReadError> {
    match serde_json::from_slice::<&RawValue>(data) {
        Ok(json) => Ok(json.to_owned()),
        Err(_) => {
            let text = String::from_utf8_lossy(data);
            serde_json::value::to_raw_value(&text).map_err(rows::damaged)
        }
    }
}

fn history_row(row: &SqliteRow) -> Result<HistoryRow, ReadError> {
    let event = match rows::optional(row, "event")? {
        None => None,
        Some(text) => {
            let event = rows::parsed_event(&text)?;
            Some(EventName { id: event.id.clone(), event_type: event.event_type.clone() })
        }
    };
    HistoryRow::new(&decisions::record(row)?, event).map_err(rows::damaged)
}
