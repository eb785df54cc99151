//! What a candidate must know of a plugin's instances before it may serve.

use sagabox_engine::model::State;
use sagabox_engine::store::ReadError;

use super::admin::{Admin, failed};
use super::rows::{self, integer};

/// As for histories of stateless roles: no more decisions are looked through.
const SCANNED_POSITIONS_MAX: u64 = 200_000;

impl Admin {
    /// Keys and states of running instances whose state has another version, in the order
    /// of the keys.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn live_states(
        &self,
        plugin: &str,
        version: u32,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, State)>, ReadError> {
        let sql = "SELECT key, state, state_version FROM instances \
                   WHERE plugin = ?1 AND key > ?2 AND status = 'running' \
                   AND state IS NOT NULL AND state_version <> ?3 ORDER BY key LIMIT ?4";
        let query = sqlx::query(sql)
            .bind(plugin.to_owned())
            .bind(after.to_owned())
            .bind(i64::from(version))
            .bind(limit);
        let found = query.fetch_all(&self.pool).await.map_err(failed)?;
        let states = found.iter().map(|row| {
            let state = rows::state(row)?;
            let state = state.ok_or_else(|| rows::damaged("a state without its data"))?;
            Ok((rows::text(row, "key")?, state))
        });
        states.collect()
    }

    /// The version of the plugin, and of its states, that decided last; none if that is
    /// long ago.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn last_version(&self, plugin: &str) -> Result<Option<(String, u64)>, ReadError> {
        let sql = "SELECT plugin_version, state_version FROM decisions WHERE plugin = ?1 \
                   AND position > (SELECT coalesce(max(position), 0) FROM decisions) - ?2 \
                   AND state_version IS NOT NULL ORDER BY position DESC LIMIT 1";
        let query = sqlx::query(sql).bind(plugin.to_owned()).bind(integer(SCANNED_POSITIONS_MAX));
        let found = query.fetch_optional(&self.pool).await.map_err(failed)?;
        let version =
            |row| Ok((rows::text(row, "plugin_version")?, rows::number(row, "state_version")?));
        found.as_ref().map(version).transpose()
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
