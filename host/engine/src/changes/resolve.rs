//! How an operator's resolution of a dead letter reaches the stage that owns it, why the stage
//! refuses it, and what both such stages share: the ids, and the rule for reserved attributes of an
//! edited event. What a resolution does is in `pure/dead_letters.rs`.
//!
//! A request is answered in two steps: when the stage has accepted it, and when that is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tokio::sync::oneshot;

use crate::model::{DeadLetter, DeadLetterId, Event, Resolution, reserved};
use crate::pure::parking::Refusal;

/// Why a dead letter is not resolved.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// No dead letter has this id.
    #[error("dead letter {0} not found")]
    NotFound(u64),
    /// The dead letter is resolved already, or is being redriven.
    #[error("dead letter {id} is already {status}")]
    NotOpen {
        /// Its id.
        id: u64,
        /// Its status.
        status: &'static str,
    },
    /// The batch has resolved the dead letter already, and does not do it twice.
    #[error("batch {batch} has already resolved dead letter {id}")]
    InBatch {
        /// Its id.
        id: u64,
        /// The number of the batch.
        batch: u64,
    },
    /// An earlier dead letter of the same key must be resolved first.
    #[error("dead letter {first} of the same key is earlier; resolve {first} first, then {id}")]
    NotFirst {
        /// The dead letter that was named.
        id: u64,
        /// The earlier one.
        first: u64,
    },
    /// Events behind an earlier dead letter of the same key are being processed. The caller can
    /// repeat the request.
    #[error("events behind an earlier dead letter of the same key are being processed; retry")]
    Resuming,
    /// An earlier event or message of the same key waits for its next attempt. The number is the
    /// dead letter's id.
    #[error(
        "something before dead letter {0} of the same key waits for its next attempt; resolve the \
         dead letter after that"
    )]
    Waiting(u64),
    /// The plugin or sink of the dead letter is not loaded or configured. The text names it.
    #[error(
        "{0} is not loaded or configured, so it cannot process what waits for it; add it first"
    )]
    Unserved(String),
    /// The edited event is not valid in the place of the original one.
    #[error("the edited event cannot replace dead letter {id}: {reason}")]
    Edited {
        /// The dead letter's id.
        id: u64,
        /// What is wrong with the edited event.
        reason: String,
    },
    /// The store cannot write what a redrive appends to the log.
    #[error("the event of dead letter {id} cannot be appended to the log again: {reason}")]
    Unwritable {
        /// The dead letter's id.
        id: u64,
        /// The store's reason.
        reason: String,
    },
    /// The store failed, or the engine recovers or stops. The caller can repeat the request.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
}

impl ResolveError {
    /// The error for a refusal by the rules of parking.
    pub fn refused(dead_letter: &DeadLetter, refusal: Refusal) -> Self {
        let id = dead_letter.id.0;
        match refusal {
            Refusal::NotOpen => Self::NotOpen { id, status: dead_letter.status.as_str() },
            Refusal::NotFirst(first) => Self::NotFirst { id, first: first.0 },
            Refusal::Resuming => Self::Resuming,
            Refusal::Waiting => Self::Waiting(id),
        }
    }

    /// Whether the same request is likely to succeed in a moment: dead letters of one key are
    /// resolved one after another. A wait for the next attempt may last for hours.
    #[must_use]
    pub fn is_soon_over(&self) -> bool {
        matches!(self, Self::NotFirst { .. } | Self::Resuming)
    }
}

/// Asks the stage that owns the dead letter's key.
pub(crate) struct ResolveRequest {
    /// The dead letter as the store has it.
    pub dead_letter: DeadLetter,
    pub resolution: Resolution,
    /// Answered with a receiver that resolves when the resolution is durable.
    pub reply: oneshot::Sender<Result<oneshot::Receiver<()>, ResolveError>>,
}

/// Gives dead letters their ids. Ids of commits that fail stay gaps.
#[derive(Debug)]
pub(crate) struct DeadLetterIds(AtomicU64);

impl DeadLetterIds {
    pub(crate) fn new(last: DeadLetterId) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(last.0)))
    }

    pub(crate) fn next(&self) -> DeadLetterId {
        DeadLetterId(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Adds the newest version of a dead letter to changes: each dead letter is written once.
pub(crate) fn write_dead_letter(dead_letters: &mut Vec<DeadLetter>, dead_letter: DeadLetter) {
    dead_letters.retain(|earlier| earlier.id != dead_letter.id);
    dead_letters.push(dead_letter);
}

/// Keeps the attributes that the host has set on an event when an operator edits it.
///
/// # Errors
/// Names the extension attribute that an operator must not change.
pub(crate) fn keep_reserved(original: &Event, edited: &mut Event) -> Result<(), String> {
    let is_reserved = |name: &str| name.starts_with(reserved::EXTENSIONS);
    for (name, value) in &edited.extensions {
        if is_reserved(name) && original.extension(name) != Some(value) {
            return Err(format!(
                "its extension attribute `{name}` is the host's own; leave it out"
            ));
        }
    }
    let noted = original.extensions.iter().filter(|(name, _)| is_reserved(name));
    let missing: Vec<_> = noted.filter(|(name, _)| edited.extension(name).is_none()).collect();
    edited.extensions.extend(missing.into_iter().cloned());
    Ok(())
}
