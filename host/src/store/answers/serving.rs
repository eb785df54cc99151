//! Which file of each plugin serves: what has been tried on all states need not be tried on
//! them again at the next start. And the index that streams are found by.

use async_trait::async_trait;
use sagabox_engine::seams::store::ReadError;
use sqlx::{ConnectOptions as _, Connection as _};

use super::SqliteStore;
use super::rows;
use crate::store::query::PluginRecords;

#[async_trait]
impl PluginRecords for SqliteStore {
    async fn served_last(&self, plugin: &str) -> Result<Option<String>, ReadError> {
        let failed = |error: sqlx::Error| self.unreadable(&error);
        let mut connection = self.options.connect().await.map_err(failed)?;
        let query = sqlx::query("SELECT digest FROM serving WHERE plugin = ?").bind(plugin);
        let row = query.fetch_optional(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        row.map(|row| rows::text(&row, "digest")).transpose()
    }

    async fn note_serving(&self, plugin: &str, digest: Option<&str>) -> Result<(), ReadError> {
        if self.served_last(plugin).await?.as_deref() == digest {
            return Ok(());
        }
        let failed = |error: sqlx::Error| self.unreadable(&error);
        let mut connection = self.options.connect().await.map_err(failed)?;
        let query = match digest {
            Some(digest) => {
                sqlx::query("INSERT OR REPLACE INTO serving (plugin, digest) VALUES (?, ?)")
                    .bind(plugin)
                    .bind(digest)
            }
            None => sqlx::query("DELETE FROM serving WHERE plugin = ?").bind(plugin),
        };
        query.execute(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)
    }

    /// Not every store has this index: it lies in the order of subjects, so that once it has
    /// outgrown the cache each event dirties a page of its own.
    async fn index_subjects(&self) -> Result<(), ReadError> {
        let sql = "CREATE INDEX IF NOT EXISTS log_subject ON log (subject, position) \
                   WHERE subject IS NOT NULL";
        let failed = |error: sqlx::Error| self.unreadable(&error);
        let mut connection = self.options.connect().await.map_err(failed)?;
        sqlx::query(sql).execute(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)
    }
}
