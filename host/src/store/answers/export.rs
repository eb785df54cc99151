//! Whole instances, for other programs.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::TryStreamExt as _;
use sagabox_engine::model::{Key, State, json};
use sagabox_engine::seams::store::ReadError;
use serde_json::value::RawValue;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::{failed, listed};
use crate::store::query::QueryLimits;
use crate::store::query::rows::{
    Content, ExportedInstance, ExportedTimer, InstanceFilter, InstanceRow, Page,
};
use crate::store::rows;

/// Those that a list has, in the order of their keys. A page ends before its states are too large.
pub(super) async fn export(
    pool: &SqlitePool,
    filter: &InstanceFilter,
    limits: &QueryLimits,
) -> Result<Page<ExportedInstance, String>, ReadError> {
    let filter = InstanceFilter { field_order: None, is_by_key: true, ..filter.clone() };
    let Page { rows: mut listed, mut next } = listed::list(pool, &filter, limits).await?;
    let plugin = filter.plugin.as_str();
    let states = states(pool, plugin, &keys(&listed), limits.page_bytes).await?;
    // What has no state read comes with the next page; what is gone since then, with none.
    if let Some((last, _)) = states.last_key_value() {
        let read = listed.partition_point(|row| row.key <= *last);
        if states.len() < listed.len() && read < listed.len() {
            next = Some(last.to_string());
            listed.truncate(read);
        }
    }
    let keys = keys(&listed);
    let mut claims = claims(pool, plugin, &keys).await?;
    let mut timers = timers(pool, plugin, &keys).await?;
    let exported = listed.into_iter().filter_map(|row| {
        let state = states.get(&row.key)?;
        let InstanceRow { key, status, version, started_at, updated_at, fields, .. } = row;
        Some(ExportedInstance {
            status,
            version,
            started_at,
            updated_at,
            fields,
            state_version: state.as_ref().map(|state| state.version),
            state: state.as_ref().map(|state| content(&state.data)),
            keys: claims.remove(&key).unwrap_or_default(),
            timers: timers.remove(&key).unwrap_or_default(),
            key,
        })
    });
    Ok(Page { rows: exported.collect(), next })
}

/// One instance. What it reads is not of one moment, which its version shows.
pub(super) async fn whole(
    pool: &SqlitePool,
    (plugin, key): (&str, &str),
) -> Result<Option<ExportedInstance>, ReadError> {
    let query = sqlx::query("SELECT * FROM instances WHERE plugin = ? AND key = ?");
    let query = query.bind(plugin.to_owned()).bind(key.to_owned());
    let Some(row) = query.fetch_optional(pool).await.map_err(failed)? else { return Ok(None) };
    let instance = rows::instance(&row)?;
    let keys = [instance.key.clone()];
    Ok(Some(ExportedInstance {
        status: instance.status,
        version: instance.version,
        started_at: instance.started_at,
        updated_at: instance.updated_at,
        fields: None,
        state_version: instance.state.as_ref().map(|state| state.version),
        state: instance.state.as_ref().map(|state| content(&state.data)),
        keys: claims(pool, plugin, &keys).await?.remove(&instance.key).unwrap_or_default(),
        timers: timers(pool, plugin, &keys).await?.remove(&instance.key).unwrap_or_default(),
        key: instance.key,
    }))
}

fn keys(listed: &[InstanceRow]) -> Vec<Key> {
    listed.iter().map(|row| row.key.clone()).collect()
}

/// The first of them that fit, in the order of their keys.
async fn states(
    pool: &SqlitePool,
    plugin: &str,
    keys: &[Key],
    bytes_max: u64,
) -> Result<BTreeMap<Key, Option<State>>, ReadError> {
    let (keys, value) = rows::texts(keys);
    let sql = format!(
        "SELECT key, state, state_version FROM instances \
         WHERE plugin = ?1 AND key IN (SELECT {value} FROM json_each(?2)) ORDER BY key"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(plugin.to_owned()).bind(keys);
    let mut found = query.fetch(pool);
    let (mut states, mut bytes) = (BTreeMap::new(), 0);
    while let Some(row) = found.try_next().await.map_err(failed)? {
        let state = rows::state(&row)?;
        bytes += state.as_ref().map_or(0, |state| state.data.len() as u64);
        if bytes > bytes_max && !states.is_empty() {
            break;
        }
        states.insert(Key::from(rows::text(&row, "key")?), state);
    }
    Ok(states)
}

async fn claims(
    pool: &SqlitePool,
    plugin: &str,
    keys: &[Key],
) -> Result<HashMap<Key, Vec<Key>>, ReadError> {
    let mut all: HashMap<Key, Vec<Key>> = HashMap::new();
    for row in of_instances(pool, "claims", "key", plugin, keys).await? {
        let claimed = rows::text(&row, "key")?.into();
        all.entry(rows::text(&row, "instance")?.into()).or_default().push(claimed);
    }
    Ok(all)
}

async fn timers(
    pool: &SqlitePool,
    plugin: &str,
    keys: &[Key],
) -> Result<HashMap<Key, Vec<ExportedTimer>>, ReadError> {
    let mut all: HashMap<Key, Vec<ExportedTimer>> = HashMap::new();
    for row in of_instances(pool, "timers", "name", plugin, keys).await? {
        let timer = rows::timer(&row)?;
        all.entry(timer.timer.instance).or_default().push(ExportedTimer {
            name: timer.timer.name,
            due: timer.timer.due,
            set_by: timer.timer.set_by,
            data: (!timer.data.is_empty()).then(|| content(&timer.data)),
        });
    }
    Ok(all)
}

/// The rows of a table that belong to instances, in an order of their own.
async fn of_instances(
    pool: &SqlitePool,
    table: &'static str,
    order: &'static str,
    plugin: &str,
    keys: &[Key],
) -> Result<Vec<SqliteRow>, ReadError> {
    let (keys, value) = rows::texts(keys);
    let sql = format!(
        "SELECT * FROM {table} WHERE plugin = ?1 \
         AND instance IN (SELECT {value} FROM json_each(?2)) ORDER BY instance, {order}"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(plugin.to_owned()).bind(keys);
    query.fetch_all(pool).await.map_err(failed)
}

/// Byte by byte: as it is if it is JSON on one line, otherwise in base64.
fn content(data: &[u8]) -> Content {
    let line = json::embeddable(data).filter(|text| !text.contains(['\n', '\r']));
    let raw = line.and_then(|text| RawValue::from_string(text.to_owned()).ok());
    raw.map_or_else(|| Content::Base64(BASE64.encode(data)), Content::Json)
}
