//! SEAM `BatchItems`: what a batch of an operator acts on. Its items are written before it starts,
//! and each has one outcome.
//!
//! When a batch acts on an item, the store writes the outcome with the same commit (see
//! `dead_letters` and `items_done` of [`Batch`]). This seam writes only the outcomes of items on
//! which the batch could not act. A read that begins after a commit returned sees that commit.
//!
//! [`Batch`]: crate::seams::store::Batch

#[cfg(any(test, feature = "testing"))]
pub mod contract;

use async_trait::async_trait;

use crate::model::{BatchId, BatchItem, ItemNote, ItemOutcome};
use crate::seams::store::ReadError;

/// The items of all batches. Each call that failed may be repeated.
#[async_trait]
pub trait BatchItems: Send + Sync + 'static {
    /// Items of a batch that have this outcome and whose number is greater than `after`: at most
    /// `limit`, ascending.
    async fn with_outcome(
        &self,
        batch: BatchId,
        outcome: ItemOutcome,
        after: u64,
        limit: usize,
    ) -> Result<Vec<BatchItem>, ReadError>;

    /// The outcomes of these items, ascending by item. An item that is not known has none.
    async fn outcomes(
        &self,
        batch: BatchId,
        items: &[u64],
    ) -> Result<Vec<(u64, ItemOutcome)>, ReadError>;

    /// Writes the outcomes of items that are pending, all or none. One that is not pending stays as
    /// it is.
    async fn note(&self, batch: BatchId, notes: &[ItemNote]) -> Result<(), ReadError>;

    /// Writes what the batch waits for, for people; none if it waits for nothing.
    async fn remark(&self, batch: BatchId, remark: Option<&str>) -> Result<(), ReadError>;
}
