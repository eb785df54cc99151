//! Lists of instances: in the order of their keys, of a field or of their age, as far as a condition
//! holds.
//!
//! A list is a walk over rows in their order, a step at a time, that keeps those that are asked
//! for. So it needs an index for the order alone, and its cost is what it looks at. The order of a
//! field is walked in two parts: instances that have a value, then those that have none. The order
//! of age is, too: instances that run, then the others.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::TryStreamExt as _;
use sagabox_engine::model::{InstanceStatus, Timestamp};
use sagabox_engine::seams::store::ReadError;
use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Sqlite};

use super::failed;
use super::instances::counts;
use crate::store::fields;
use crate::store::query::QueryLimits;
use crate::store::query::place::{Order, Place};
use crate::store::query::rows::{CountedPage, FieldOrder, InstanceFilter, InstanceRow, Page};
use crate::store::rows::{self, integer};

type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// What a step of the walk found.
struct Step {
    rows: Vec<(Place, InstanceRow)>,
    /// Where it ended; none if there is no more.
    next: Option<Place>,
}

pub(super) async fn list(
    pool: &SqlitePool,
    filter: &InstanceFilter,
    limits: &QueryLimits,
) -> Result<Page<InstanceRow, String>, ReadError> {
    let (started, limit) = (Instant::now(), filter.limit as usize);
    let scan_time = filter.scan_time.unwrap_or(limits.scan_time);
    let (mut rows, mut bytes, mut last, mut place) = (Vec::new(), 0, None, begin(filter)?);
    loop {
        let room = limit + 1 - rows.len();
        let step = step(pool, filter, &place, limits.scan_rows, room).await?;
        for (place, row) in step.rows {
            bytes += bytes_of(&row);
            if rows.len() == limit || bytes > limits.page_bytes && !rows.is_empty() {
                return Ok(Page { rows, next: last });
            }
            rows.push(row);
            last = Some(place.to_string());
        }
        let Some(next) = step.next else { return Ok(Page { rows, next: None }) };
        if started.elapsed() >= scan_time {
            return Ok(Page { rows, next: Some(next.to_string()) });
        }
        place = next;
    }
}

pub(super) async fn count(
    pool: &SqlitePool,
    filter: &InstanceFilter,
    limits: &QueryLimits,
) -> Result<CountedPage, ReadError> {
    if let Some(counts) = without_rows(pool, filter).await? {
        return Ok(CountedPage { counts, next: None });
    }
    let started = Instant::now();
    let scan_time = filter.scan_time.unwrap_or(limits.scan_time);
    let filter = InstanceFilter { field_order: None, ..filter.clone() };
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut place = begin(&filter)?;
    let mut room = if filter.limit == 0 { usize::MAX } else { filter.limit as usize };
    loop {
        let step = step(pool, &filter, &place, limits.scan_rows, room).await?;
        room -= step.rows.len();
        for (_, row) in step.rows {
            *counts.entry(row.status.as_str()).or_default() += 1;
        }
        let Some(next) = step.next else { return Ok(CountedPage { counts, next: None }) };
        if room == 0 || started.elapsed() >= scan_time {
            return Ok(CountedPage { counts, next: Some(next.to_string()) });
        }
        place = next;
    }
}

/// The counts that are kept, if they are what is asked for.
async fn without_rows(
    pool: &SqlitePool,
    filter: &InstanceFilter,
) -> Result<Option<BTreeMap<&'static str, u64>>, ReadError> {
    if filter.condition.is_some() || filter.age.is_given() || filter.after.is_some() {
        return Ok(None);
    }
    let mut connection = pool.acquire().await.map_err(failed)?;
    let mut counts = counts(&mut connection, &filter.plugin).await?;
    counts.retain(|status, _| filter.status.is_none_or(|own| own.as_str() == *status));
    Ok(Some(counts))
}

fn begin(filter: &InstanceFilter) -> Result<Place, ReadError> {
    filter.place().ok_or_else(|| ReadError("`after` is no place in this list".to_owned()))
}

/// Looks at some rows. It ends early with the row that leaves no room.
async fn step(
    pool: &SqlitePool,
    filter: &InstanceFilter,
    place: &Place,
    scan_rows: u32,
    room: usize,
) -> Result<Step, ReadError> {
    let mut found = query(filter, place, scan_rows).fetch(pool);
    let mut step = Step { rows: Vec::new(), next: None };
    let mut looked = 0;
    while let Some(row) = found.try_next().await.map_err(failed)? {
        let next = place_of(place, &row)?;
        looked += 1;
        step.next = Some(next.clone());
        let row = instance_row(&row)?;
        if selects(filter, place, &row)? {
            step.rows.push((next, row));
            if step.rows.len() == room {
                return Ok(step);
            }
        }
    }
    if looked < scan_rows {
        step.next = next_part(filter, place);
    }
    Ok(step)
}

/// Where the part behind the one of a place begins, if there is one.
fn next_part(filter: &InstanceFilter, place: &Place) -> Option<Place> {
    match (place, filter.order()) {
        (Place::Running(..), _) if filter.has_finished() => Some(Place::first_finished(filter)),
        (Place::Value(..), Order::Field(FieldOrder { field, .. })) => {
            // A condition with bounds holds for no instance that has no value.
            let range = filter.condition.as_ref().and_then(|own| own.range(field));
            range.is_none().then(|| Place::Without(String::new()))
        }
        _ => None,
    }
}

const COLUMNS: &str = "i.key, i.status, i.version, i.started_at, i.updated_at, f.fields";
const FIELDS: &str = "LEFT JOIN instance_fields f ON f.plugin = i.plugin AND f.key = i.key";

/// The rows behind a place. ?1 is the plugin, ?2 the number of rows, ?3 the key of the place; what
/// comes after these is of the part.
fn query(filter: &InstanceFilter, place: &Place, scan_rows: u32) -> Query {
    let common = |sql: String, key: &String| {
        let query = sqlx::query(AssertSqlSafe(sql));
        query.bind(filter.plugin.clone()).bind(scan_rows).bind(key.clone())
    };
    match (place, filter.order()) {
        (Place::Running(time, key) | Place::Finished(time, key), _) => {
            let is_running = matches!(place, Place::Running(..));
            common(of_age(filter, is_running), key)
                .bind(integer(*time))
                .bind(end(filter, is_running))
        }
        (Place::Value(value, key), Order::Field(FieldOrder { field, is_descending })) => {
            let range = filter.condition.as_ref().and_then(|own| own.range(field));
            let (low, high) = range.unwrap_or_else(|| (Vec::new(), vec![0xff]));
            let end = if *is_descending { low } else { high };
            let query = common(of_field(*is_descending), key).bind(field.clone());
            query.bind(value.clone()).bind(end)
        }
        (Place::Key(key) | Place::Without(key) | Place::Value(_, key), order) => {
            let equal = filter.condition.as_ref().and_then(|own| own.equal());
            match equal.filter(|_| order == Order::Key) {
                None => common(of_key(), key),
                Some((field, value)) => {
                    common(of_value(), key).bind(field.to_owned()).bind(value.order_key())
                }
            }
        }
    }
}

/// The statement for the first rows of a list.
#[cfg(test)]
pub(in crate::store) fn sql(filter: &InstanceFilter) -> String {
    use sqlx::Execute as _;
    query(filter, &Place::first(filter), 1).sql().as_str().to_owned()
}

fn of_key() -> String {
    format!(
        "SELECT {COLUMNS} FROM instances i {FIELDS} \
         WHERE i.plugin = ?1 AND i.key > ?3 ORDER BY i.key LIMIT ?2"
    )
}

/// ?4 is the field, ?5 the value. `CROSS JOIN` fixes the order of the tables.
fn of_value() -> String {
    format!(
        "SELECT {COLUMNS} FROM field_values v CROSS JOIN instances i \
           ON i.plugin = v.plugin AND i.key = v.key {FIELDS} \
         WHERE v.plugin = ?1 AND v.field = ?4 AND v.value = ?5 AND v.key > ?3 \
         ORDER BY v.key LIMIT ?2"
    )
}

/// ?4 is the field, ?5 the value of the place, ?6 the last value.
fn of_field(is_descending: bool) -> String {
    let (than, until, way) = if is_descending { ("<", ">=", "DESC") } else { (">", "<=", "ASC") };
    format!(
        "SELECT {COLUMNS}, v.value FROM field_values v CROSS JOIN instances i \
           ON i.plugin = v.plugin AND i.key = v.key {FIELDS} \
         WHERE v.plugin = ?1 AND v.field = ?4 AND (v.value, v.key) {than} (?5, ?3) \
           AND v.value {until} ?6 \
         ORDER BY v.value {way}, v.key {way} LIMIT ?2"
    )
}

/// ?4 is the time of the place, ?5 the time before which the part ends.
fn of_age(filter: &InstanceFilter, is_running: bool) -> String {
    let (index, status, time) = match filter.status {
        _ if is_running => ("instances_running", "= 'running'", "started_at"),
        Some(InstanceStatus::Ended) => ("instances_ended", "= 'ended'", "updated_at"),
        _ => ("instances_finished", "<> 'running'", "updated_at"),
    };
    format!(
        "SELECT {COLUMNS} FROM instances i INDEXED BY {index} {FIELDS} \
         WHERE i.plugin = ?1 AND i.status {status} AND (i.{time}, i.key) > (?4, ?3) \
           AND i.{time} < ?5 ORDER BY i.{time}, i.key LIMIT ?2"
    )
}

/// The time before which a part of the order of age ends.
fn end(filter: &InstanceFilter, is_running: bool) -> i64 {
    let age = &filter.age;
    let before = [age.started_before.filter(|_| is_running), age.updated_before];
    before.into_iter().flatten().min().map_or(i64::MAX, |time| integer(time.0))
}

fn place_of(part: &Place, row: &SqliteRow) -> Result<Place, ReadError> {
    let key = rows::text(row, "key")?;
    Ok(match part {
        Place::Key(_) => Place::Key(key),
        Place::Without(_) => Place::Without(key),
        Place::Value(..) => Place::Value(rows::bytes(row, "value")?, key),
        Place::Running(..) => Place::Running(rows::number(row, "started_at")?, key),
        Place::Finished(..) => Place::Finished(rows::number(row, "updated_at")?, key),
    })
}

/// Whether a row is asked for. Its fields are read only if they matter.
fn selects(filter: &InstanceFilter, part: &Place, row: &InstanceRow) -> Result<bool, ReadError> {
    let is_of_status = filter.status.is_none_or(|status| status == row.status);
    if !is_of_status || !filter.age.selects(row.started_at, row.updated_at) {
        return Ok(false);
    }
    let without = match part {
        Place::Without(_) => filter.field_order.as_ref(),
        _ => None,
    };
    if without.is_none() && filter.condition.is_none() {
        return Ok(true);
    }
    let object = row.fields.as_ref().map_or("{}", |fields| fields.get());
    let values = fields::values(object).map_err(rows::damaged)?;
    if without.is_some_and(|order| values.contains_key(&order.field)) {
        return Ok(false);
    }
    let holds = filter.condition.as_ref().map(|own| own.holds(&|name: &str| values.get(name)));
    Ok(holds.unwrap_or(true))
}

fn bytes_of(row: &InstanceRow) -> u64 {
    (row.key.as_str().len() + row.fields.as_ref().map_or(0, |fields| fields.get().len())) as u64
}

fn instance_row(row: &SqliteRow) -> Result<InstanceRow, ReadError> {
    Ok(InstanceRow {
        key: rows::text(row, "key")?.into(),
        status: rows::instance_status(row)?,
        version: rows::number(row, "version")?,
        started_at: Timestamp(rows::number(row, "started_at")?),
        updated_at: Timestamp(rows::number(row, "updated_at")?),
        fields: rows::optional(row, "fields")?.map(fields::raw).transpose()?,
        summary: None,
    })
}
