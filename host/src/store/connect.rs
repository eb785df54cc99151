//! Opens a store by its URL, for each side that uses it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sagabox_engine::seams::store::{ReadError, Store};

use super::answers::SqliteQueries;
use super::answers::snapshot::SqliteSnapshot;
use super::open::{self, OpenError};
use super::query::access::AccessRecords;
use super::query::batches::BatchRecords;
use super::query::instance_file::FileSnapshot;
use super::query::views::ViewRecords;
use super::query::{PluginRecords, Queries, QueryLimits, Snapshot};
use super::sqlite::SqliteStore;
use crate::io::files;

/// One open store, seen from each side that uses it. It is closed when the last of them is dropped.
pub struct ConnectedStore {
    /// For the engine.
    pub engine: Arc<dyn Store>,
    /// For the API, the plugin factory and the command line.
    pub queries: Arc<dyn Queries>,
    /// For the plugin factory.
    pub plugin_records: Arc<dyn PluginRecords>,
    /// For the API: tokens and the audit log.
    pub access_records: Arc<dyn AccessRecords>,
    /// For the batches of operators.
    pub batch_records: Arc<dyn BatchRecords>,
    /// For the API: saved views.
    pub view_records: Arc<dyn ViewRecords>,
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
        access_records: Arc::clone(&store) as Arc<dyn AccessRecords>,
        batch_records: Arc::clone(&store) as Arc<dyn BatchRecords>,
        view_records: Arc::clone(&store) as Arc<dyn ViewRecords>,
        engine: store,
    })
}

/// The file beside a store in which its first start leaves the administrator's token. None if the
/// URL is not that of a store.
pub fn token_file(url: &str) -> Option<PathBuf> {
    open::path_of(url).ok().map(|path| open::with_suffix(&path, files::TOKEN))
}

/// Opens what a store has on record. Takes what [`connect`] takes, the directory of a store's file,
/// or the file of an instance.
///
/// # Errors
/// If there is no store, it is none of ours, or it cannot be read.
pub async fn snapshot(url: &str) -> Result<Box<dyn Snapshot>, ReadError> {
    if let Some(file) = FileSnapshot::open(Path::new(url))? {
        return Ok(Box::new(file));
    }
    Ok(Box::new(SqliteSnapshot::open(url).await?))
}
