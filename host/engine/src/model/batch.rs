//! Batches: one action of an operator on many dead letters or instances. Its items are fixed when
//! it starts, and each of them is acted on once.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{DeadLetter, DeadLetterId, DeadLetterStatus, Key, PluginName, Position, SinkName};

/// The number of a batch. The first is 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BatchId(pub u64);

/// An item of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchItemId {
    /// The batch.
    pub batch: BatchId,
    /// The item's number within the batch. That of a dead letter is the dead letter's id.
    pub item: u64,
}

/// What a batch does with each of its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchAction {
    /// Redrives dead letters.
    Redrive,
    /// Skips dead letters.
    Skip,
    /// Discards dead letters, with everything that waits behind them.
    Discard,
    /// Asks instances to come to an end.
    Cancel,
    /// Ends instances without their plugin.
    End,
}

impl BatchAction {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Redrive, Self::Skip, Self::Discard, Self::Cancel, Self::End];

    /// As text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Skip => "skip",
            Self::Discard => "discard",
            Self::Cancel => "cancel",
            Self::End => "end",
        }
    }

    /// Whether its items are instances. Otherwise they are dead letters.
    #[must_use]
    pub fn is_of_instances(self) -> bool {
        matches!(self, Self::Cancel | Self::End)
    }
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemOutcome {
    /// The batch has not acted on it.
    Pending,
    /// The batch redrives the dead letter, and the redrive has not ended.
    InProgress,
    /// The action has taken effect: the dead letter is redriven, skipped or discarded, or the
    /// request to the instance is in the log.
    Done,
    /// The dead letter was redriven and failed again. The batch does not redrive it once more.
    Failed,
    /// The item was gone, or no longer what the batch selected, before the batch acted on it.
    Changed,
    /// The item is as it was, and the action is not possible.
    Refused,
}

impl ItemOutcome {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::InProgress, Self::Done, Self::Failed, Self::Changed, Self::Refused];

    /// As text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in-progress",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Changed => "changed",
            Self::Refused => "refused",
        }
    }

    /// Whether it does not change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::InProgress)
    }
}

/// A batch that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedBatch {
    /// Its number.
    pub id: BatchId,
    /// What it does.
    pub action: BatchAction,
    /// The person or program that started it.
    pub by: String,
    /// Why, in that person's words.
    pub reason: String,
    /// The most items that it begins in a second.
    pub rate_per_second: NonZeroU32,
    /// It begins at its full rate, and does not stop if the first items fail again.
    pub ignore_failures: bool,
}

/// An item of a batch, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchItem {
    /// Its number within the batch.
    pub item: u64,
    /// The plugin of the dead letter or instance.
    pub plugin: PluginName,
    /// The sink of a message's dead letter; none otherwise.
    pub sink: Option<SinkName>,
    /// The key of the instance, lane or message; none for a dead letter without a key.
    pub key: Option<Key>,
    /// The position at which the instance began, so that no later one of its key is meant; none for
    /// a dead letter.
    pub started: Option<Position>,
}

/// The outcome of an item that the batch could not act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemNote {
    /// The item's number within the batch.
    pub item: u64,
    /// Its outcome.
    pub outcome: ItemOutcome,
    /// Why.
    pub reason: String,
}

impl DeadLetter {
    /// What the dead letter says of the item of the batch that has resolved it last. A store that
    /// writes the dead letter writes this with it.
    #[must_use]
    pub fn item_outcome(&self) -> Option<(BatchItemId, ItemOutcome)> {
        let outcome = match self.status {
            DeadLetterStatus::Open => ItemOutcome::Failed,
            DeadLetterStatus::Redriving => ItemOutcome::InProgress,
            DeadLetterStatus::Redriven
            | DeadLetterStatus::Skipped
            | DeadLetterStatus::Discarded => ItemOutcome::Done,
            DeadLetterStatus::Compensated => ItemOutcome::Changed,
        };
        self.batch.map(|batch| (BatchItemId { batch, item: self.id.0 }, outcome))
    }
}

impl BatchItem {
    /// The dead letter that it is; none if it is an instance.
    #[must_use]
    pub fn dead_letter(&self) -> Option<DeadLetterId> {
        self.started.is_none().then_some(DeadLetterId(self.item))
    }
}
