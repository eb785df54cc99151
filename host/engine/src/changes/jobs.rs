//! The calls of handlers that a dispatcher hands to the shards, and the results that come back.
//!
//! Each call carries the generation of the version that it is made on, so that the dispatcher can
//! distinguish a result of the version that serves from a result of an earlier one.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::model::{Failure, Key, PluginName, Position};
use crate::seams::handler::{Call, Handler, Reply};

/// Calls are handed over in groups, because waking a thread costs more than a call; in small ones,
/// so that all threads have some.
pub(crate) const GROUP_MAX: usize = 32;

/// One call to make.
pub(crate) struct Job {
    pub position: Position,
    pub key: Key,
    /// The generation of the version that is called. It returns with the result.
    pub generation: u32,
    pub call: Call,
}

/// The result of a call.
pub(crate) struct JobResult {
    pub position: Position,
    pub key: Key,
    pub generation: u32,
    pub reply: Result<Reply, Failure>,
    /// What the handler logged in the call, as `Handler::handle_with_log` describes it.
    pub log: String,
    /// The call, with a migrated state if the state was of another version.
    pub call: Call,
}

/// Whose calls wait in one queue. A canary has a queue of its own, so that its calls do not delay
/// those of the serving version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Caller {
    pub plugin: PluginName,
    pub is_canary: bool,
}

/// A group of calls to one handler, and the channel for the results.
pub(crate) struct Group {
    pub caller: Caller,
    pub handler: Arc<dyn Handler>,
    pub jobs: Vec<Job>,
    pub results: mpsc::UnboundedSender<Vec<JobResult>>,
}
