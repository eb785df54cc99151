//! SEAM Lookup: what answers a handler's questions to the outside. Implemented
//! over HTTP and tables, and by the simulator. (Streams of the log are answered
//! by the engine itself.)

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{AnswerValue, Failure, PluginName};

#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// Answers one question of a plugin. May be slow: only the asking key waits.
    ///
    /// # Errors
    /// `Permanent` if the lookup is not configured or not granted to the plugin;
    /// `Transient` if it did not answer, or not in time.
    async fn ask(
        &self,
        plugin: &PluginName,
        name: &str,
        key: &str,
    ) -> Result<AnswerValue, Unanswered>;
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    pub failure: Failure,
    /// Try again, but not before this, as the other side asks.
    pub retry_after: Option<Duration>,
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self { failure, retry_after: None }
    }
}
