//! The states that a candidate is tried on.

use futures::TryStreamExt as _;
use sagabox_engine::model::State;
use sagabox_engine::seams::store::ReadError;
use sqlx::SqliteConnection;

use super::{StatePage, failed, rows};

pub(super) async fn live(
    connection: &mut SqliteConnection,
    plugin: &str,
    after: &str,
    page: StatePage,
) -> Result<Vec<(String, State)>, ReadError> {
    let sql = "SELECT key, state, state_version FROM instances \
               WHERE plugin = ?1 AND key > ?2 AND status = 'running' \
               AND state IS NOT NULL ORDER BY key";
    let query = sqlx::query(sql).bind(plugin.to_owned()).bind(after.to_owned());
    let mut found = query.fetch(connection);
    let (mut states, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.try_next().await.map_err(failed)? {
        let state = rows::state(&row)?;
        let state = state.ok_or_else(|| rows::damaged("a state without its data"))?;
        let key = rows::text(&row, "key")?;
        bytes += key.len() + state.data.len();
        states.push((key, state));
        if states.len() >= page.states || bytes >= page.bytes {
            break;
        }
    }
    Ok(states)
}
