//! What an operator asks for a dead letter (redrive, skip, discard), why a stage refuses it, and
//! what both stages that own dead letters share: ids, the request, and the rule for reserved
//! attributes of an edited event.
//!
//! A request is answered in two steps: when the stage has accepted it, and when that is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tokio::sync::oneshot;

use crate::model::{DeadLetter, DeadLetterId, DeadLetterStatus, Event, reserved};
use crate::pure::parking::Refusal;

/// What an operator asks for a dead letter. The dead letter keeps who asked and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    /// What to do.
    pub action: Action,
    /// The person or program that asks.
    pub by: String,
    /// Why, in that person's words.
    pub reason: String,
}

/// What to do with a dead letter.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Process it again, then what waits behind it.
    Redrive {
        /// The event that takes its place; none if it is processed as it is.
        edited: Option<Box<Event>>,
    },
    /// Continue without it: what waits behind it is processed.
    Skip,
    /// Drop it, and everything that waits behind it.
    Discard,
}

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
    /// The store failed, or the engine recovers or stops. The caller can repeat the request.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
}

impl ResolveError {
    /// The error for a refusal by the rules of parking.
    pub fn refused(letter: &DeadLetter, refusal: Refusal) -> Self {
        let id = letter.id.0;
        match refusal {
            Refusal::NotOpen => Self::NotOpen { id, status: letter.status.as_str() },
            Refusal::NotFirst(first) => Self::NotFirst { id, first: first.0 },
            Refusal::Resuming => Self::Resuming,
            Refusal::Waiting => Self::Waiting(id),
        }
    }
}

/// Asks the stage that owns the dead letter's key.
pub(crate) struct ResolveRequest {
    /// As the store has it.
    pub letter: DeadLetter,
    pub resolution: Resolution,
    /// Answered with what resolves when the answer is durable.
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

impl DeadLetter {
    /// The event to try: the one that an operator put in its place, if one did.
    #[must_use]
    pub fn current(&self) -> &Arc<Event> {
        self.edited.as_ref().unwrap_or(&self.event)
    }

    /// Notes who asked for what.
    pub(crate) fn resolved(&mut self, status: DeadLetterStatus, resolution: Resolution) {
        self.status = status;
        self.resolved_by = Some(resolution.by);
        self.resolved_reason = Some(resolution.reason);
        if let Action::Redrive { edited: Some(event) } = resolution.action {
            self.edited = Some(Arc::from(event));
        }
    }
}

/// Adds a letter's newest version to changes: each letter is written once.
pub(crate) fn write_dead_letter(letters: &mut Vec<DeadLetter>, letter: DeadLetter) {
    letters.retain(|earlier| earlier.id != letter.id);
    letters.push(letter);
}

/// What the host has noted on an event stays when an operator edits it.
///
/// # Errors
/// Names the extension attribute that is not the operator's to change.
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
