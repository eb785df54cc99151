//! Lists of instances: in the order of their keys or of a field, as far as a condition holds.
//!
//! A list is a walk over rows in their order, a step at a time, that keeps those that are asked
//! for. So it needs an index for the order alone, and its cost is what it looks at. The order of a
//! field is walked in two parts: instances that have a value, then those that have none.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::TryStreamExt as _;
use sagabox_engine::model::Timestamp;
use sagabox_engine::seams::store::ReadError;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::failed;
use crate::store::fields;
use crate::store::query::QueryLimits;
use crate::store::query::place::Place;
use crate::store::query::rows::{CountedPage, InstanceFilter, InstanceRow, Page};
use crate::store::rows;

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
        if started.elapsed() >= limits.scan_time {
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
    let started = Instant::now();
    let filter = InstanceFilter { order: None, ..filter.clone() };
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut place = begin(&filter)?;
    loop {
        let step = step(pool, &filter, &place, limits.scan_rows, usize::MAX).await?;
        for (_, row) in step.rows {
            *counts.entry(row.status.as_str()).or_default() += 1;
        }
        let Some(next) = step.next else { return Ok(CountedPage { counts, next: None }) };
        if started.elapsed() >= limits.scan_time {
            return Ok(CountedPage { counts, next: Some(next.to_string()) });
        }
        place = next;
    }
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
    let is_descending = filter.order.as_ref().is_some_and(|order| order.is_descending);
    let query = sqlx::query(AssertSqlSafe(sql(place, is_descending)));
    let query = query.bind(filter.plugin.clone()).bind(scan_rows);
    let query = match place {
        Place::Key(key) | Place::Without(key) => query.bind(key.clone()),
        Place::Value(value, key) => {
            let field = filter.order.as_ref().map(|order| order.field.clone());
            query.bind(key.clone()).bind(field).bind(value.clone())
        }
    };
    let mut found = query.fetch(pool);
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
        // The end of this part.
        let has_more = matches!(place, Place::Value(..));
        step.next = has_more.then(|| Place::Without(String::new()));
    }
    Ok(step)
}

/// ?1 is the plugin, ?2 the number of rows, ?3 the key of the place, ?4 the field, ?5 the value.
/// `CROSS JOIN` fixes the order of the tables.
fn sql(place: &Place, is_descending: bool) -> String {
    let columns = "i.key, i.status, i.version, i.started_at, i.updated_at, f.fields";
    let fields = "LEFT JOIN instance_fields f ON f.plugin = i.plugin AND f.key = i.key";
    match place {
        Place::Key(_) | Place::Without(_) => format!(
            "SELECT {columns} FROM instances i {fields} \
             WHERE i.plugin = ?1 AND i.key > ?3 ORDER BY i.key LIMIT ?2"
        ),
        Place::Value(..) => {
            let (than, way) = if is_descending { ("<", "DESC") } else { (">", "ASC") };
            format!(
                "SELECT {columns}, v.value FROM field_values v CROSS JOIN instances i \
                   ON i.plugin = v.plugin AND i.key = v.key {fields} \
                 WHERE v.plugin = ?1 AND v.field = ?4 AND (v.value, v.key) {than} (?5, ?3) \
                 ORDER BY v.value {way}, v.key {way} LIMIT ?2"
            )
        }
    }
}

fn place_of(part: &Place, row: &SqliteRow) -> Result<Place, ReadError> {
    let key = rows::text(row, "key")?;
    Ok(match part {
        Place::Key(_) => Place::Key(key),
        Place::Without(_) => Place::Without(key),
        Place::Value(..) => Place::Value(rows::bytes(row, "value")?, key),
    })
}

/// Whether a row is asked for. Its fields are read only if they matter.
fn selects(filter: &InstanceFilter, part: &Place, row: &InstanceRow) -> Result<bool, ReadError> {
    if filter.status.is_some_and(|status| status != row.status) {
        return Ok(false);
    }
    let without = match part {
        Place::Without(_) => filter.order.as_ref(),
        Place::Key(_) | Place::Value(..) => None,
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
