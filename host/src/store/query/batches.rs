//! What a store keeps of the batches of operators: the batches themselves and their items. Small
//! writes beside the commits; the outcomes of what a batch did are written by the commits.

use std::num::NonZeroU32;

use async_trait::async_trait;
use sagabox_engine::model::{
    BatchAction, BatchId, DeadLetterId, ItemOutcome, Key, PluginName, Position, SinkName,
    StartedBatch, Timestamp,
};
use sagabox_engine::seams::batches::BatchItems;
use sagabox_engine::seams::store::ReadError;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::rows::Page;
use super::shapes::ItemOutcomeName;

/// The status of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BatchStatus {
    /// It was counted. It does nothing before it is started.
    Draft,
    /// It was started, and its items are being written down.
    Preparing,
    Running,
    /// By an operator, or because the first items failed again.
    Paused,
    /// Every item has its outcome.
    Done,
    /// The items that are pending stay as they are.
    Cancelled,
}

impl BatchStatus {
    pub const ALL: [Self; 6] =
        [Self::Draft, Self::Preparing, Self::Running, Self::Paused, Self::Done, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A batch that does nothing yet.
#[derive(Clone, Debug)]
pub struct NewBatch {
    pub action: BatchAction,
    /// A JSON object that says what selects its items.
    pub selection: String,
    /// The only plugin that it is about; none for all.
    pub plugin: Option<String>,
    pub by: String,
    pub counted: u64,
    /// Whether all were counted, or at least so many are there.
    pub is_exact: bool,
    pub created_at: Timestamp,
}

/// How a batch is started, or goes on.
#[derive(Clone, Debug)]
pub struct Start {
    pub by: String,
    pub reason: String,
    pub rate_per_second: NonZeroU32,
    pub ignore_failures: bool,
    pub at: Timestamp,
}

/// A batch as it is stored.
#[derive(Debug)]
pub struct BatchRow {
    pub id: BatchId,
    pub action: BatchAction,
    pub status: BatchStatus,
    pub selection: Box<RawValue>,
    pub plugin: Option<String>,
    /// Who started it; of a draft, who made it.
    pub by: String,
    /// Empty: it was not started.
    pub reason: String,
    pub rate_per_second: NonZeroU32,
    pub ignore_failures: bool,
    /// Of a draft.
    pub counted: u64,
    pub is_exact: bool,
    /// What came later is not selected: the newest dead letter, or the last position.
    pub newest: u64,
    /// How far its items are written; none before the first.
    pub prepared_to: Option<String>,
    pub counts: ItemCounts,
    /// Why it stopped by itself.
    pub note: Option<String>,
    /// What it waits for.
    pub remark: Option<String>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

/// How many items have each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemCounts {
    pub pending: u64,
    pub in_progress: u64,
    pub done: u64,
    pub failed: u64,
    pub changed: u64,
    pub refused: u64,
}

/// Which batches a list has, newest first. What is given must hold.
#[derive(Clone, Debug, Default)]
pub struct BatchFilter {
    pub status: Option<BatchStatus>,
    pub plugin: Option<String>,
    /// The only plugins whose batches the caller may see; none for all.
    pub plugins: Option<Vec<String>>,
    /// The page begins with the next older one.
    pub before: Option<u64>,
    pub limit: u32,
}

/// Which items of a batch a list has, in the order of their numbers.
#[derive(Clone, Debug)]
pub struct ItemFilter {
    pub batch: BatchId,
    pub outcome: Option<ItemOutcome>,
    pub after: u64,
    pub limit: u32,
}

/// An item as people read it.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = BatchItem)]
pub struct ItemRow {
    /// Its number within the batch.
    pub item: u64,
    /// None if it is an instance.
    #[schema(value_type = Option<u64>)]
    pub dead_letter: Option<DeadLetterId>,
    #[schema(value_type = String)]
    pub plugin: PluginName,
    /// The sink of a message.
    #[schema(value_type = Option<String>)]
    pub sink: Option<SinkName>,
    #[schema(value_type = Option<String>)]
    pub key: Option<Key>,
    #[schema(value_type = ItemOutcomeName)]
    pub outcome: ItemOutcome,
    /// Why it failed again, changed or was refused.
    pub reason: Option<String>,
}

/// Items to write down.
#[derive(Clone, Debug)]
pub enum Selected {
    DeadLetters(Vec<u64>),
    /// Keys of instances of a plugin.
    Instances(PluginName, Vec<Key>),
}

/// A change of a batch's status.
#[derive(Clone, Debug)]
pub struct Change {
    pub to: BatchStatus,
    /// Why it stopped by itself; none if it did not.
    pub note: Option<String>,
    /// Set if it is over.
    pub finished_at: Option<Timestamp>,
}

#[async_trait]
pub trait BatchRecords: BatchItems {
    /// Adds a draft.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn add_batch(&self, batch: &NewBatch) -> Result<BatchId, ReadError>;

    /// A batch; none if there is none with this number.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn batch(&self, id: BatchId) -> Result<Option<BatchRow>, ReadError>;

    /// The newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn batches(&self, filter: &BatchFilter) -> Result<Page<BatchRow, u64>, ReadError>;

    /// Those that are being prepared or that run, in the order of their numbers.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn batches_under_way(&self) -> Result<Vec<BatchRow>, ReadError>;

    /// Starts a draft: what comes into the store from now on is none of its items. False if it is
    /// no draft.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn start_batch(&self, id: BatchId, start: &Start) -> Result<bool, ReadError>;

    /// Lets a paused batch run. False if it is not paused.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn resume_batch(&self, id: BatchId, start: &Start) -> Result<bool, ReadError>;

    /// Writes down items, in the order of their places, and how far they are written; none: these
    /// are the last, and the batch runs. Of dead letters, those are written that are open and were
    /// there when the batch was started; of instances, those that run and were there.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn add_items(
        &self,
        id: BatchId,
        selected: &Selected,
        prepared_to: Option<&str>,
    ) -> Result<(), ReadError>;

    /// Changes the status of a batch that has one of these. False if it has another.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn change_batch(
        &self,
        id: BatchId,
        from: &[BatchStatus],
        change: &Change,
    ) -> Result<bool, ReadError>;

    /// Items of a batch.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn batch_items(&self, filter: &ItemFilter) -> Result<Page<ItemRow, u64>, ReadError>;

    /// Removes at most so many items of batches that were finished before a time, batches that
    /// have none left, and at most so many drafts that were made before it. Returns how many items
    /// and batches.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn expire_batches(&self, before: Timestamp, rows_max: u32) -> Result<u64, ReadError>;
}

impl BatchRow {
    /// The batch as the engine runs it.
    #[must_use]
    pub fn started(&self) -> StartedBatch {
        StartedBatch {
            id: self.id,
            action: self.action,
            by: self.by.clone(),
            reason: self.reason.clone(),
            rate_per_second: self.rate_per_second,
            ignore_failures: self.ignore_failures,
        }
    }
}

impl ItemCounts {
    /// All items.
    #[must_use]
    pub fn sum(self) -> u64 {
        let Self { pending, in_progress, done, failed, changed, refused } = self;
        pending + in_progress + done + failed + changed + refused
    }
}

impl ItemRow {
    pub(in crate::store) fn new(
        item: u64,
        of: (PluginName, Option<SinkName>, Option<Key>),
        started: Option<Position>,
        said: (ItemOutcome, Option<String>),
    ) -> Self {
        let dead_letter = started.is_none().then_some(DeadLetterId(item));
        let ((plugin, sink, key), (outcome, reason)) = (of, said);
        Self { item, dead_letter, plugin, sink, key, outcome, reason }
    }
}
