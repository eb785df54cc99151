//! The items of batches in the store in memory.

use async_trait::async_trait;

use super::memory::{MemoryStore, Tables};
use crate::model::{BatchId, BatchItem, BatchItemId, ItemNote, ItemOutcome};
use crate::seams::batches::BatchItems;
use crate::seams::store::{Batch, ReadError};

/// An item and its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemRow {
    /// The item.
    pub item: BatchItem,
    /// Its outcome.
    pub outcome: ItemOutcome,
    /// Why; empty if the outcome needs no reason.
    pub reason: String,
}

impl MemoryStore {
    /// Adds pending items to a batch.
    pub fn add_items(&self, batch: BatchId, items: &[BatchItem]) {
        let mut tables = self.lock();
        for item in items {
            let (id, item) = (BatchItemId { batch, item: item.item }, item.clone());
            let row = ItemRow { item, outcome: ItemOutcome::Pending, reason: String::new() };
            tables.batch_items.insert(id, row);
        }
    }
}

impl Tables {
    /// What a commit says of items: its dead letters, and those that are done with it.
    pub(super) fn write_items(&mut self, batch: &Batch) {
        for dead_letter in &batch.dead_letters {
            if let Some((item, outcome)) = dead_letter.item_outcome() {
                let reason = match outcome {
                    ItemOutcome::Failed => dead_letter.reason.as_str(),
                    _ => "",
                };
                self.set_item(item, |before| !before.is_final(), outcome, reason);
            }
        }
        for closing in &batch.dead_letters_closed {
            let dead_letter = self.dead_letters.get(&closing.id);
            if let Some(batch) = dead_letter.and_then(|dead_letter| dead_letter.batch) {
                let item = BatchItemId { batch, item: closing.id.0 };
                let is_meant = |before| before == ItemOutcome::InProgress;
                self.set_item(item, is_meant, ItemOutcome::Changed, &closing.reason);
            }
        }
        for item in &batch.items_done {
            let is_meant = |before| before == ItemOutcome::Pending;
            self.set_item(*item, is_meant, ItemOutcome::Done, "");
        }
    }

    fn set_item(
        &mut self,
        item: BatchItemId,
        is_meant: impl Fn(ItemOutcome) -> bool,
        outcome: ItemOutcome,
        reason: &str,
    ) {
        if let Some(row) = self.batch_items.get_mut(&item).filter(|row| is_meant(row.outcome)) {
            row.outcome = outcome;
            reason.clone_into(&mut row.reason);
        }
    }
}

#[async_trait]
impl BatchItems for MemoryStore {
    async fn with_outcome(
        &self,
        batch: BatchId,
        outcome: ItemOutcome,
        after: u64,
        limit: usize,
    ) -> Result<Vec<BatchItem>, ReadError> {
        let tables = self.lock();
        let from = BatchItemId { batch, item: after + 1 };
        let to = BatchItemId { batch, item: u64::MAX };
        let rows = tables.batch_items.range(from..=to).map(|(_, row)| row);
        let found = rows.filter(|row| row.outcome == outcome).take(limit);
        Ok(found.map(|row| row.item.clone()).collect())
    }

    async fn outcomes(
        &self,
        batch: BatchId,
        items: &[u64],
    ) -> Result<Vec<(u64, ItemOutcome)>, ReadError> {
        let tables = self.lock();
        let row = |item| tables.batch_items.get(&BatchItemId { batch, item });
        let found = items.iter().filter_map(|item| Some((*item, row(*item)?.outcome)));
        let mut found: Vec<_> = found.collect();
        found.sort_unstable();
        Ok(found)
    }

    async fn note(&self, batch: BatchId, notes: &[ItemNote]) -> Result<(), ReadError> {
        let mut tables = self.lock();
        for ItemNote { item, outcome, reason } in notes {
            let id = BatchItemId { batch, item: *item };
            tables.set_item(id, |before| before == ItemOutcome::Pending, *outcome, reason);
        }
        Ok(())
    }

    async fn remark(&self, _: BatchId, _: Option<&str>) -> Result<(), ReadError> {
        Ok(())
    }
}
