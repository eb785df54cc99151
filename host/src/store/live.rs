//! What a candidate must know of a plugin's instances before it may serve.

use futures::TryStreamExt as _;
use sagabox_engine::model::State;
use sagabox_engine::seams::store::ReadError;

use super::admin::{Admin, failed};
use super::rows;

/// How much is read at once: what is full first ends the page. It has one state at least.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub states: usize,
    /// Of states and keys.
    pub bytes: usize,
}

impl Admin {
    /// Keys and states of running instances, in the order of the keys.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn live_states(
        &self,
        plugin: &str,
        after: &str,
        page: Page,
    ) -> Result<Vec<(String, State)>, ReadError> {
        let sql = "SELECT key, state, state_version FROM instances \
                   WHERE plugin = ?1 AND key > ?2 AND status = 'running' \
                   AND state IS NOT NULL ORDER BY key";
        let query = sqlx::query(sql).bind(plugin.to_owned()).bind(after.to_owned());
        let mut found = query.fetch(&self.pool);
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

    /// Whether the plugin has, or had, instances.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn has_instances(&self, plugin: &str) -> Result<bool, ReadError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM instances WHERE plugin = ?) AS has";
        let query = sqlx::query(sql).bind(plugin.to_owned());
        let row = query.fetch_one(&self.pool).await.map_err(failed)?;
        Ok(rows::number(&row, "has")? == 1)
    }
}
