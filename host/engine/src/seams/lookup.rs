//! SEAM Lookup: what answers a handler's questions to the outside. Implemented
//! over HTTP and tables, and by the simulator. (Streams of the log are answered
//! by the engine itself.)

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::model::{AnswerValue, Failure, PluginName};

#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// Answers one question of a plugin. May be slow: only the asking key waits. The future
    /// is dropped when the engine ends, or when the answer takes too long.
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
    Transient { reason: String, retry_after: Option<Duration> },
    /// The lookup is in trouble, whatever the question is: it cannot be reached, its address
    /// or credentials are wrong, or it asks for a pause. The event waits; the attempt counts
    /// only if the lookup answers other questions meanwhile.
    #[error("{reason}")]
    Unavailable { reason: String, retry_after: Option<Duration> },
}

impl Unanswered {
    /// The same, with what the question was about.
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
