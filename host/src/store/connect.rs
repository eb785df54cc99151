//! Opens a store by its URL, for each side that uses it.

use std::sync::Arc;

use sagabox_engine::seams::store::{ReadError, Store};

use super::answers::SqliteQueries;
use super::answers::snapshot::SqliteSnapshot;
use super::open::OpenError;
use super::query::{PluginRecords, Queries, QueryLimits, Snapshot};
use super::sqlite::SqliteStore;

/// One open store, seen from each side that uses it. It is closed when the last of them is dropped.
pub struct ConnectedStore {
    /// For the engine.
    pub engine: Arc<dyn Store>,
    /// For the API, the plugin factory and the command line.
    pub queries: Arc<dyn Queries>,
    /// For the plugin factory.
    pub plugin_records: Arc<dyn PluginRecords>,
}

/// Opens or creates the store.
///
/// # Errors
/// See [`OpenError`].
pub async fn connect(url: &str) -> Result<ConnectedStore, OpenError> {
    connect_with(url, QueryLimits::default()).await
}

pub(super) async fn connect_with(
    url: &str,
    limits: QueryLimits,
) -> Result<ConnectedStore, OpenError> {
    let store = Arc::new(SqliteStore::open(url).await?);
    let queries = SqliteQueries::new(&store, limits).await;
    let queries = queries.map_err(|error| store.not_opened(&error))?;
    Ok(ConnectedStore {
        queries: Arc::new(queries),
        plugin_records: Arc::clone(&store) as Arc<dyn PluginRecords>,
        engine: store,
    })
}

/// Opens what a store has on record. Takes what [`connect`] takes, or the directory of a store's
/// file.
///
/// # Errors
/// If there is no store, it is none of ours, or it cannot be read.
pub async fn snapshot(url: &str) -> Result<Box<dyn Snapshot>, ReadError> {
    Ok(Box::new(SqliteSnapshot::open(url).await?))
}
