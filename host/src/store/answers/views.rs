//! Saved views in SQLite.

use async_trait::async_trait;
use sagabox_engine::model::Timestamp;
use sagabox_engine::seams::store::ReadError;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use crate::store::query::views::{View, ViewRecords, ViewRow};
use crate::store::rows::{self, integer};

/// The view of an owner and name keeps its id.
const SAVE: &str = "INSERT INTO views (name, plugin, filter, owner, saved_by, saved_at) \
     SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE (SELECT count(*) FROM views) < ?7 \
       OR EXISTS (SELECT 1 FROM views WHERE owner = ?4 AND name = ?1) \
     ON CONFLICT (owner, name) DO UPDATE SET plugin = excluded.plugin, \
       filter = excluded.filter, saved_by = excluded.saved_by, saved_at = excluded.saved_at \
     RETURNING id";

#[async_trait]
impl ViewRecords for SqliteStore {
    async fn save_view(&self, view: &View, most: u64) -> Result<Option<u64>, ReadError> {
        let query = sqlx::query(SAVE)
            .bind(view.name.clone())
            .bind(view.plugin.clone())
            .bind(view.filter.clone())
            .bind(view.owner.clone())
            .bind(view.saved_by.clone())
            .bind(integer(view.saved_at.0))
            .bind(integer(most));
        self.found(query).await?.first().map(|row| rows::number(row, "id")).transpose()
    }

    async fn views(&self) -> Result<Vec<ViewRow>, ReadError> {
        let query = sqlx::query("SELECT * FROM views ORDER BY name, id");
        self.found(query).await?.iter().map(view_row).collect()
    }

    async fn delete_view(&self, id: u64) -> Result<bool, ReadError> {
        let query = sqlx::query("DELETE FROM views WHERE id = ?").bind(integer(id));
        Ok(self.change(query).await? == 1)
    }
}

fn view_row(row: &SqliteRow) -> Result<ViewRow, ReadError> {
    let text = |column| rows::text(row, column);
    Ok(ViewRow {
        id: rows::number(row, "id")?,
        view: View {
            name: text("name")?,
            plugin: text("plugin")?,
            filter: text("filter")?,
            owner: text("owner")?,
            saved_by: text("saved_by")?,
            saved_at: Timestamp(rows::number(row, "saved_at")?),
        },
    })
}
