//! The contract of [`BatchItems`] and of what a store writes with its commits, clause by clause, as
//! tests for every implementation.

use std::sync::Arc;

use async_trait::async_trait;

use super::BatchItems;
use crate::model::{
    BatchId, BatchItem, BatchItemId, DeadLetter, DeadLetterId, DeadLetterStatus, ItemNote,
    ItemOutcome, Position,
};
use crate::seams::store::contract::{dead_letter, undelivered};
use crate::seams::store::{Batch, Closing, Store};

const BATCH: BatchId = BatchId(7);
const ALL: usize = 1_000;

/// A new, empty store, and the items in it.
#[async_trait]
pub trait Opened: Send + Sync {
    /// The store.
    fn store(&self) -> &dyn Store;
    /// Its items.
    fn items(&self) -> &dyn BatchItems;
    /// Adds pending items to a batch.
    async fn add(&self, batch: BatchId, items: &[BatchItem]);
}

/// The item for a dead letter.
#[must_use]
pub fn item_of(dead_letter: &DeadLetter) -> BatchItem {
    let sink = match &dead_letter.subject {
        crate::model::DeadLetterSubject::Event => None,
        crate::model::DeadLetterSubject::Message { sink, .. } => Some(sink.clone()),
    };
    let (plugin, key) = (dead_letter.plugin.clone(), dead_letter.key.clone());
    BatchItem { item: dead_letter.id.0, plugin, sink, key, started: None }
}

/// The item for an instance.
#[must_use]
pub fn instance(item: u64, key: &str) -> BatchItem {
    let plugin = "orders".into();
    BatchItem { item, plugin, sink: None, key: Some(key.into()), started: Some(Position(item)) }
}

/// Tests every clause, each on a new store.
pub async fn all<O: Opened>(open: impl AsyncFn() -> O) {
    items_are_read_by_their_outcome_and_in_order(&open().await).await;
    an_outcome_is_written_with_the_dead_letter(&open().await).await;
    an_outcome_that_is_final_stays(&open().await).await;
    a_dead_letter_that_others_close_is_a_changed_item(&open().await).await;
    an_item_is_done_with_the_commit_of_its_event(&open().await).await;
    notes_are_for_pending_items(&open().await).await;
}

async fn commit(opened: &impl Opened, batch: Batch) {
    opened.store().commit(&batch).await.expect("a store without faults commits");
}

async fn with(opened: &impl Opened, outcome: ItemOutcome) -> Vec<u64> {
    let items = opened.items().with_outcome(BATCH, outcome, 0, ALL).await.unwrap();
    items.into_iter().map(|item| item.item).collect()
}

/// Commits a dead letter as the batch has it.
async fn write(opened: &impl Opened, id: u64, status: DeadLetterStatus, batch: Option<BatchId>) {
    let dead_letter = DeadLetter { status, batch, ..dead_letter(id, Some("a"), id) };
    let dead_letters = vec![Arc::new(dead_letter)];
    commit(opened, Batch { dead_letters, ..Batch::default() }).await;
}

async fn items_are_read_by_their_outcome_and_in_order(opened: &impl Opened) {
    let message = item_of(&undelivered(3, 9, "m"));
    let items =
        [item_of(&dead_letter(1, Some("a"), 1)), item_of(&dead_letter(2, None, 2)), message];
    opened.add(BATCH, &items).await;
    opened.add(BatchId(8), &[instance(1, "a"), instance(2, "b")]).await;
    let pending = ItemOutcome::Pending;
    let read = opened.items().with_outcome(BATCH, pending, 0, ALL).await.unwrap();
    assert_eq!(read, items);
    let read = opened.items().with_outcome(BATCH, pending, 1, 1).await.unwrap();
    assert_eq!(read, items[1..2]);
    let read = opened.items().with_outcome(BatchId(8), pending, 1, ALL).await.unwrap();
    assert_eq!(read, [instance(2, "b")]);
    let read = opened.items().outcomes(BATCH, &[1, 3, 4]).await.unwrap();
    assert_eq!(read, [(1, pending), (3, pending)], "item 4 does not exist");
}

async fn an_outcome_is_written_with_the_dead_letter(opened: &impl Opened) {
    let statuses = [
        (DeadLetterStatus::Redriving, ItemOutcome::InProgress),
        (DeadLetterStatus::Redriven, ItemOutcome::Done),
        (DeadLetterStatus::Skipped, ItemOutcome::Done),
        (DeadLetterStatus::Discarded, ItemOutcome::Done),
        (DeadLetterStatus::Open, ItemOutcome::Failed),
    ];
    for (id, (status, expected)) in (1..).zip(statuses) {
        opened.add(BATCH, &[item_of(&dead_letter(id, Some("a"), id))]).await;
        write(opened, id, status, None).await;
        assert_eq!(with(opened, ItemOutcome::Pending).await, [id], "no batch is named");
        write(opened, id, status, Some(BATCH)).await;
        let read = opened.items().outcomes(BATCH, &[id]).await.unwrap();
        assert_eq!(read, [(id, expected)]);
    }
    write(opened, 9, DeadLetterStatus::Redriven, Some(BATCH)).await;
    assert_eq!(opened.items().outcomes(BATCH, &[9]).await.unwrap(), [], "it is none of its items");
    let stored = opened.store().read_dead_letter(DeadLetterId(1)).await.unwrap();
    assert_eq!(stored.and_then(|dead_letter| dead_letter.batch), Some(BATCH));
}

async fn an_outcome_that_is_final_stays(opened: &impl Opened) {
    opened.add(BATCH, &[item_of(&dead_letter(1, Some("a"), 1))]).await;
    let steps = [DeadLetterStatus::Redriving, DeadLetterStatus::Open, DeadLetterStatus::Redriving];
    for status in steps {
        write(opened, 1, status, Some(BATCH)).await;
    }
    assert_eq!(with(opened, ItemOutcome::Failed).await, [1]);
}

async fn a_dead_letter_that_others_close_is_a_changed_item(opened: &impl Opened) {
    let dead_letters = [1, 2, 3].map(|id| item_of(&dead_letter(id, Some("a"), id)));
    opened.add(BATCH, &dead_letters).await;
    write(opened, 1, DeadLetterStatus::Redriving, Some(BATCH)).await;
    write(opened, 2, DeadLetterStatus::Redriven, Some(BATCH)).await;
    write(opened, 3, DeadLetterStatus::Open, None).await;
    let close = |id| Closing {
        id: DeadLetterId(id),
        status: DeadLetterStatus::Discarded,
        by: "ada".to_owned(),
        reason: "it is over".to_owned(),
    };
    let dead_letters_closed = vec![close(1), close(2), close(3)];
    commit(opened, Batch { dead_letters_closed, ..Batch::default() }).await;
    assert_eq!(with(opened, ItemOutcome::Changed).await, [1]);
    assert_eq!(with(opened, ItemOutcome::Done).await, [2]);
    assert_eq!(with(opened, ItemOutcome::Pending).await, [3]);
}

async fn an_item_is_done_with_the_commit_of_its_event(opened: &impl Opened) {
    opened.add(BATCH, &[instance(1, "a"), instance(2, "b")]).await;
    let done = |item| BatchItemId { batch: BATCH, item };
    let items_done = vec![done(2), done(5)];
    commit(opened, Batch { items_done, ..Batch::default() }).await;
    assert_eq!(with(opened, ItemOutcome::Done).await, [2]);
    assert_eq!(with(opened, ItemOutcome::Pending).await, [1]);
}

async fn notes_are_for_pending_items(opened: &impl Opened) {
    let dead_letters = [1, 2].map(|id| item_of(&dead_letter(id, Some("a"), id)));
    opened.add(BATCH, &dead_letters).await;
    write(opened, 1, DeadLetterStatus::Redriving, Some(BATCH)).await;
    let note = |item| ItemNote {
        item,
        outcome: ItemOutcome::Changed,
        reason: format!("dead letter {item} is gone"),
    };
    opened.items().note(BATCH, &[note(1), note(2), note(3)]).await.unwrap();
    assert_eq!(with(opened, ItemOutcome::Changed).await, [2]);
    assert_eq!(with(opened, ItemOutcome::InProgress).await, [1]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seams::store::memory::MemoryStore;

    #[async_trait]
    impl Opened for MemoryStore {
        fn store(&self) -> &dyn Store {
            self
        }

        fn items(&self) -> &dyn BatchItems {
            self
        }

        async fn add(&self, batch: BatchId, items: &[BatchItem]) {
            self.add_items(batch, items);
        }
    }

    #[tokio::test]
    async fn the_store_in_memory_keeps_the_contract() {
        all(async || MemoryStore::new()).await;
    }
}
