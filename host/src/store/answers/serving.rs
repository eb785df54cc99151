//! Which file of each plugin serves: what has been tried on all states need not be tried on
//! them again at the next start. And what is prepared for it: the index that streams are found by,
//! and the fields of instances that have not decided under it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use async_trait::async_trait;
use sagabox_engine::model::PluginName;
use sagabox_engine::seams::store::ReadError;
use sqlx::{ConnectOptions as _, Connection as _};

use super::SqliteStore;
use super::rows;
use crate::store::query::PluginRecords;
use crate::store::query::component::{ComponentUse, PackedComponent};
use crate::store::query::rows::FilledFields;
use crate::store::trouble::{self, WriteError};
use crate::store::{components, fields};

impl SqliteStore {
    /// Writes with a connection of its own, on a thread that may wait for the disk.
    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Path) -> Result<T, WriteError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let path = self.path().to_owned();
        let written = tokio::task::spawn_blocking(move || {
            write(&path).map_err(|error| {
                let why = trouble::plainly(&path, &error);
                ReadError(format!("the store cannot be written: {why}"))
            })
        });
        written.await.map_err(|error| ReadError(format!("write to the store: {error}")))?
    }
}

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

    async fn fields_filled(&self, plugin: &str) -> Result<Option<String>, ReadError> {
        let failed = |error: sqlx::Error| self.unreadable(&error);
        let mut connection = self.options.connect().await.map_err(failed)?;
        let query = sqlx::query("SELECT digest FROM fields_filled WHERE plugin = ?").bind(plugin);
        let row = query.fetch_optional(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        row.map(|row| rows::text(&row, "digest")).transpose()
    }

    async fn note_fields_filled(&self, plugin: &str, digest: &str) -> Result<(), ReadError> {
        let failed = |error: sqlx::Error| self.unreadable(&error);
        let mut connection = self.options.connect().await.map_err(failed)?;
        let sql = "INSERT OR REPLACE INTO fields_filled (plugin, digest) VALUES (?, ?)";
        let query = sqlx::query(sql).bind(plugin).bind(digest);
        query.execute(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)
    }

    async fn fill_fields(&self, plugin: &str, rows: Vec<FilledFields>) -> Result<(), ReadError> {
        let plugin = PluginName::from(plugin);
        self.write(move |path| fields::fill(path, &plugin, rows)).await
    }

    async fn begin_use(
        &self,
        of: &ComponentUse,
        component: Option<PackedComponent>,
    ) -> Result<bool, ReadError> {
        let of = of.clone();
        self.write(move |path| components::begin_use(path, &of, component.as_ref())).await
    }

    async fn end_other_uses(
        &self,
        in_use: &BTreeMap<String, BTreeSet<String>>,
    ) -> Result<(), ReadError> {
        let in_use = in_use.clone();
        self.write(move |path| components::end_other_uses(path, &in_use)).await
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
