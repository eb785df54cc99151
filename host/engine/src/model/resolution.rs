//! What an operator does about a dead letter.

use std::sync::Arc;

use super::{BatchId, DeadLetter, DeadLetterStatus, DeadLetterSubject, Event};

/// What an operator asks for a dead letter. The dead letter keeps who asked and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    /// What to do.
    pub action: Action,
    /// The person or program that asks.
    pub by: String,
    /// Why, in that person's words.
    pub reason: String,
    /// The batch that the action is part of; none for a single one.
    pub batch: Option<BatchId>,
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

impl DeadLetter {
    /// The event or message to process: the one that an operator put in its place, if one did.
    #[must_use]
    pub fn current(&self) -> &Arc<Event> {
        self.edited.as_ref().unwrap_or(&self.event)
    }

    /// Its place in what its stage reads: the event's position in the log, or the message's
    /// sequence in its sink's outbox.
    #[must_use]
    pub fn place(&self) -> u64 {
        match &self.subject {
            DeadLetterSubject::Message { sequence, .. } => sequence.0,
            DeadLetterSubject::Event => self.position.0,
        }
    }

    /// Sets the dead letter's status, and notes who asked for it and why.
    pub(crate) fn resolved(&mut self, status: DeadLetterStatus, resolution: Resolution) {
        self.status = status;
        self.batch = resolution.batch;
        self.resolved_by = Some(resolution.by);
        self.resolved_reason = Some(resolution.reason);
        if let Action::Redrive { edited: Some(event) } = resolution.action {
            self.edited = Some(Arc::from(event));
        }
    }
}
