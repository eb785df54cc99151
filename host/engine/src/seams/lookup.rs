//! SEAM Lookup: answers a handler's questions to the outside. HTTP and tables implement it, and
//! the simulator. The engine itself answers questions for streams of the log.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::model::{AnswerValue, Failure, PluginName};

/// Answers questions by the name of a configured lookup. Calls may overlap.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// Answers one question of a plugin: the value that the lookup `name` has for `key`. It may
    /// be slow, because only the asking key waits. The engine drops the future when it ends, or
    /// when the answer takes longer than its limit.
    ///
    /// # Errors
    /// See [`Unanswered`].
    async fn ask(
        &self,
        plugin: &PluginName,
        name: &str,
        key: &str,
    ) -> Result<AnswerValue, Unanswered>;
}

/// Why a question has no answer, by what the host must do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// Nothing was asked: the lookup is not configured, or not granted to the plugin. The
    /// event becomes a dead letter.
    #[error("{0}")]
    NotGranted(String),
    /// The lookup answered, and this question never has an answer: the event becomes a dead
    /// letter.
    #[error("{0}")]
    Permanent(String),
    /// This question failed, and may succeed later: it is retried, not before `retry_after`
    /// if that is given, and the attempt counts. Whether other questions fail too is unknown.
    #[error("{reason}")]
    Transient {
        /// Why the question failed, for people.
        reason: String,
        /// The pause that the lookup asked for; none if it asked for none.
        retry_after: Option<Duration>,
    },
    /// The lookup is in trouble, whatever the question is: it cannot be reached, its address
    /// or credentials are wrong, or it asks for a pause. The event waits; the attempt counts
    /// only if the lookup answers other questions meanwhile.
    #[error("{reason}")]
    Unavailable {
        /// What is wrong with the lookup, for people.
        reason: String,
        /// The pause that the lookup asked for; none if it asked for none.
        retry_after: Option<Duration>,
    },
}

impl Unanswered {
    /// The same error, with the question's subject in front of its reason.
    #[must_use]
    pub fn about(self, what: &str) -> Self {
        let about = |reason: String| format!("{what}: {reason}");
        match self {
            Self::NotGranted(reason) => Self::NotGranted(about(reason)),
            Self::Permanent(reason) => Self::Permanent(about(reason)),
            Self::Transient { reason, retry_after } => {
                Self::Transient { reason: about(reason), retry_after }
            }
            Self::Unavailable { reason, retry_after } => {
                Self::Unavailable { reason: about(reason), retry_after }
            }
        }
    }
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Permanent(reason) => Self::Permanent(reason),
            Failure::Transient(reason) => Self::Transient { reason, retry_after: None },
        }
    }
}
