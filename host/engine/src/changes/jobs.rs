//! The calls of handlers that a dispatcher hands to the shards, and the results that come back.
//!
//! Each call carries the generation of the version that it is made on, so that the dispatcher can
//! tell a result of the version that serves from a result of an earlier one.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::model::{Failure, Key, PluginName, Position};
use crate::seams::handler::{Call, Handler, Reply};

/// Calls travel in groups, because waking a thread costs more than a call; in
/// small ones, so that all threads have some.
pub(crate) const GROUP_MAX: usize = 32;

/// One call to make.
pub(crate) struct Job {
    pub position: Position,
    pub key: Key,
    /// Which of the plugin's versions is called; comes back with the result.
    pub generation: u32,
    pub call: Call,
}

/// What came of it.
pub(crate) struct JobResult {
    pub position: Position,
    pub key: Key,
    pub generation: u32,
    pub reply: Result<Reply, Failure>,
    /// What the handler logged in the call, as `Handler::handle_with_log` describes it.
    pub log: String,
    /// With a migrated state, if the state was of another version.
    pub call: Call,
}

/// Whose calls wait in one queue. A canary's have one of their own, so that they do not
/// hold back those of the version beside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Caller {
    pub plugin: PluginName,
    pub is_canary: bool,
}

/// A group of calls to one handler, and where the results go.
pub(crate) struct Group {
    pub caller: Caller,
    pub handler: Arc<dyn Handler>,
    pub jobs: Vec<Job>,
    pub results: mpsc::UnboundedSender<Vec<JobResult>>,
}
