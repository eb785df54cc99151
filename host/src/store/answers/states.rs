//! The states that a candidate is tried on, and that fields are filled from.

use futures::TryStreamExt as _;
use sagabox_engine::model::State;
use sagabox_engine::seams::store::ReadError;
use sqlx::SqliteConnection;

use super::{StatePage, failed, rows};
use crate::store::query::rows::StateRow;

const LIVE: &str = "SELECT key, version, state, state_version FROM instances \
     WHERE plugin = ?1 AND key > ?2 AND status = 'running' AND state IS NOT NULL ORDER BY key";
const ALL: &str = "SELECT key, version, state, state_version FROM instances \
     WHERE plugin = ?1 AND key > ?2 AND state IS NOT NULL ORDER BY key";

pub(super) async fn live(
    connection: &mut SqliteConnection,
    plugin: &str,
    after: &str,
    page: StatePage,
) -> Result<Vec<(String, State)>, ReadError> {
    let found = portion(connection, LIVE, (plugin, after), page).await?;
    Ok(found.into_iter().map(|row| (row.key, row.state)).collect())
}

pub(super) async fn all(
    connection: &mut SqliteConnection,
    plugin: &str,
    after: &str,
    page: StatePage,
) -> Result<Vec<StateRow>, ReadError> {
    portion(connection, ALL, (plugin, after), page).await
}

async fn portion(
    connection: &mut SqliteConnection,
    sql: &'static str,
    (plugin, after): (&str, &str),
    page: StatePage,
) -> Result<Vec<StateRow>, ReadError> {
    let query = sqlx::query(sql).bind(plugin.to_owned()).bind(after.to_owned());
    let mut found = query.fetch(connection);
    let (mut states, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.try_next().await.map_err(failed)? {
        let state = rows::state(&row)?;
        let state = state.ok_or_else(|| rows::damaged("a state without its data"))?;
        let key = rows::text(&row, "key")?;
        bytes += key.len() + state.data.len();
        states.push(StateRow { key, version: rows::number(&row, "version")?, state });
        if states.len() >= page.states || bytes >= page.bytes {
            break;
        }
    }
    Ok(states)
}
