//! The fields of instances: written in the transaction of the decision, and read back for people.
//!
//! An instance has one row with all of its fields, and one row for each value in the order of the
//! values. A decision writes only the values that it changes. A plugin that declares no fields has
//! no rows, and its commits run no statement for them.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use sagabox_engine::model::{Key, PluginName};
use sagabox_engine::seams::store::{FieldsRow, ReadError};
use serde_json::value::RawValue;
use sqlx::SqliteConnection;

use super::open;
use super::query::rows::FilledFields;
use super::query::value::Value;
use super::rows::{self, damaged, integer};
use super::tables::each;
use super::trouble::WriteError;

const READ: &str = "SELECT fields FROM instance_fields WHERE plugin = ? AND key = ?";

/// The values of a JSON object of fields, by their names. What has no place in the order of values
/// is left out.
pub(super) fn values(object: &str) -> Result<BTreeMap<String, Value>, serde_json::Error> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(object)?;
    let value = |(name, text): (String, &RawValue)| Some((name, Value::parse(text.get())?));
    Ok(members.into_iter().filter_map(value).collect())
}

pub(super) fn write(writer: &Connection, fields: &[FieldsRow]) -> Result<(), WriteError> {
    let mut changed = Vec::new();
    for row in fields {
        let before = before(writer, &row.plugin, &row.key)?;
        if before.as_ref() == Some(&row.values) {
            continue;
        }
        let before = before.as_deref().map_or_else(BTreeMap::new, keys);
        index(writer, row, &before, &keys(&row.values))?;
        changed.push(row);
    }
    let sql = "INSERT OR REPLACE INTO instance_fields (plugin, key, fields) VALUES (?, ?, ?)";
    each(writer, sql, changed, |row| (row.plugin.as_str(), row.key.as_str(), row.values.as_str()))
}

/// The instances begin anew, or are gone.
pub(super) fn remove(writer: &Connection, removed: &[(PluginName, Key)]) -> Result<(), WriteError> {
    for (plugin, key) in removed {
        let Some(before) = before(writer, plugin, key)? else { continue };
        let row = FieldsRow { plugin: plugin.clone(), key: key.clone(), values: String::new() };
        index(writer, &row, &keys(&before), &BTreeMap::new())?;
        let sql = "DELETE FROM instance_fields WHERE plugin = ? AND key = ?";
        writer.prepare_cached(sql)?.execute((plugin.as_str(), key.as_str()))?;
    }
    Ok(())
}

/// Writes the fields of instances that have made as many decisions as is said, in a transaction of
/// its own.
pub(super) fn fill(
    path: &Path,
    plugin: &PluginName,
    rows: Vec<FilledFields>,
) -> Result<(), WriteError> {
    let mut connection = open::writing(path)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sql = "SELECT 1 FROM instances WHERE plugin = ? AND key = ? AND version = ?";
    for row in rows {
        let params = (plugin.as_str(), row.key.as_str(), integer(row.version));
        if !transaction.prepare_cached(sql)?.exists(params)? {
            continue;
        }
        let (key, values) = (Key::from(row.key), row.values);
        write(&transaction, &[FieldsRow { plugin: plugin.clone(), key, values }])?;
    }
    transaction.commit()?;
    Ok(())
}

/// What is known of an instance; none if its plugin declared no fields when it decided.
pub(super) async fn of(
    connection: &mut SqliteConnection,
    (plugin, key): (&str, &str),
) -> Result<Option<Box<RawValue>>, ReadError> {
    let query = sqlx::query(READ).bind(plugin.to_owned()).bind(key.to_owned());
    let row = query.fetch_optional(connection).await;
    let row = row.map_err(|error| ReadError(format!("the store cannot be read: {error}")))?;
    row.map(|row| raw(rows::text(&row, "fields")?)).transpose()
}

pub(super) fn raw(fields: String) -> Result<Box<RawValue>, ReadError> {
    RawValue::from_string(fields).map_err(damaged)
}

fn before(
    writer: &Connection,
    plugin: &PluginName,
    key: &Key,
) -> Result<Option<String>, WriteError> {
    let mut select = writer.prepare_cached(READ)?;
    Ok(select.query_row((plugin.as_str(), key.as_str()), |row| row.get(0)).optional()?)
}

/// The keys of the values in their order. A row that is damaged has none: what it left in the order
/// is looked at again for each instance that is found by it.
fn keys(object: &str) -> BTreeMap<String, Vec<u8>> {
    let values = values(object).unwrap_or_default();
    values.into_iter().map(|(name, value)| (name, value.order_key())).collect()
}

fn index(
    writer: &Connection,
    row: &FieldsRow,
    before: &BTreeMap<String, Vec<u8>>,
    after: &BTreeMap<String, Vec<u8>>,
) -> Result<(), WriteError> {
    let (plugin, key) = (row.plugin.as_str(), row.key.as_str());
    let only = |these: &BTreeMap<String, Vec<u8>>, those: &BTreeMap<String, Vec<u8>>| {
        let differ = |(name, value): &(&String, &Vec<u8>)| those.get(*name) != Some(value);
        let own = these.iter().filter(differ);
        own.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
    };
    let sql = "DELETE FROM field_values WHERE plugin = ? AND field = ? AND value = ? AND key = ?";
    each(writer, sql, only(before, after), |(name, value)| (plugin, name, value, key))?;
    let sql = "INSERT OR IGNORE INTO field_values (plugin, field, value, key) VALUES (?, ?, ?, ?)";
    each(writer, sql, only(after, before), |(name, value)| (plugin, name, value, key))
}
