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

/// What to do with a dead letter, by whom and why: both are kept with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    pub action: Action,
    pub by: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Try it again, then what waits behind it. With another event in its place,
    /// if one is given.
    Redrive { edited: Option<Box<Event>> },
    /// Go on without it: what waits behind it is handled.
    Skip,
    /// Drop it, and everything that waits behind it.
    Discard,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResolveError {
    #[error("dead letter {0} not found")]
    NotFound(u64),
    #[error("dead letter {id} is already {status}")]
    NotOpen { id: u64, status: &'static str },
    #[error("dead letter {first} of the same key is earlier; resolve {first} first, then {id}")]
    NotFirst { id: u64, first: u64 },
    #[error("events behind an earlier dead letter of the same key are being processed; retry")]
    Resuming,
    #[error(
        "something before dead letter {0} of the same key waits for its next attempt; resolve the \
         dead letter after that"
    )]
    Waiting(u64),
    #[error(
        "{0} is not loaded or configured, so it cannot process what waits for it; add it first"
    )]
    Unserved(String),
    #[error("the edited event cannot replace dead letter {id}: {reason}")]
    Edited { id: u64, reason: String },
    #[error("the store does not answer: {0}")]
    Unavailable(String),
}

impl ResolveError {
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

/// Asks the stage that owns a letter's key.
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
