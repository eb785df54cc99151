//! Which file of each plugin serves: what has been tried on all states need not be tried on
//! them again at the next start.

use sagabox_engine::seams::store::ReadError;
use sqlx::{ConnectOptions as _, Connection as _};

use super::rows;
use super::sqlite::SqliteStore;

impl SqliteStore {
    /// The digest of the file that serves this plugin since it was tried on all live states;
    /// none if there was none, or if others have written states since.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn served_last(&self, plugin: &str) -> Result<Option<String>, ReadError> {
        let failed = |error: sqlx::Error| self.unreadable(&error);
        let mut connection = self.options.connect().await.map_err(failed)?;
        let query = sqlx::query("SELECT digest FROM serving WHERE plugin = ?").bind(plugin);
        let row = query.fetch_optional(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        row.map(|row| rows::text(&row, "digest")).transpose()
    }

    /// Notes it, or that none does. Rare, and small: beside the commits, which wait for it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn note_serving(&self, plugin: &str, digest: Option<&str>) -> Result<(), ReadError> {
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
}
