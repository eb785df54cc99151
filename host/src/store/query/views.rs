//! SEAM Views: filters of lists of instances that people have saved. Rare, small writes beside the
//! commits.

use async_trait::async_trait;
use sagabox_engine::model::Timestamp;
use sagabox_engine::seams::store::ReadError;

/// A saved view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewRow {
    pub id: u64,
    pub view: View,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub name: String,
    /// The only plugin that it lists.
    pub plugin: String,
    /// The filter, as a JSON object.
    pub filter: String,
    /// Who saved it, so that it stays the same for one caller and belongs to no other.
    pub owner: String,
    /// The same for people.
    pub saved_by: String,
    pub saved_at: Timestamp,
}

/// The views of a store.
#[async_trait]
pub trait ViewRecords: Send + Sync + 'static {
    /// Saves a view over the one of the same owner and name, and returns its id. None if it would be
    /// a new one beyond `most`.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn save_view(&self, view: &View, most: u64) -> Result<Option<u64>, ReadError>;

    /// All views, in the order of their names, and of their ids among equal ones.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn views(&self) -> Result<Vec<ViewRow>, ReadError>;

    /// Deletes a view. False if there is none with this id.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn delete_view(&self, id: u64) -> Result<bool, ReadError>;
}
