//! The table `decisions`: how a record is written and read back.

use rusqlite::Connection;
use sagabox_engine::model::{DecisionRecord, Position, Timestamp};
use sagabox_engine::seams::store::ReadError;
use sqlx::sqlite::SqliteRow;

use super::rows::{self, encode, integer};
use super::tables::each;
use super::trouble::WriteError;

pub(super) fn write(writer: &Connection, decisions: &[DecisionRecord]) -> Result<(), WriteError> {
    let sql = "INSERT INTO decisions (position, plugin, key, previous, decided_at, \
               plugin_version, attempt, state_version, state, summary) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    each(writer, sql, decisions, |decision| {
        let state = decision.state.as_ref();
        (
            integer(decision.position.0),
            decision.plugin.as_str(),
            decision.key.as_str(),
            decision.previous.map(|previous| integer(previous.0)),
            integer(decision.decided_at.0),
            &*decision.plugin_version,
            decision.attempt,
            state.map(|state| state.version),
            state.map(|state| encode(&state.data)),
            decision.summary.as_str(),
        )
    })
}

pub(super) fn record(row: &SqliteRow) -> Result<DecisionRecord, ReadError> {
    Ok(DecisionRecord {
        position: Position(rows::number(row, "position")?),
        plugin: rows::text(row, "plugin")?.into(),
        key: rows::text(row, "key")?.into(),
        previous: rows::position(row, "previous")?,
        decided_at: Timestamp(rows::number(row, "decided_at")?),
        plugin_version: rows::text(row, "plugin_version")?.into(),
        attempt: u32::try_from(rows::number(row, "attempt")?).map_err(rows::damaged)?,
        state: rows::state(row)?,
        summary: rows::text(row, "summary")?,
    })
}
