//! The stages. Each runs as a task of its own and owns its state; only [`crate::engine`]
//! connects them.

pub(crate) mod commit;
pub(crate) mod detached;
pub(crate) mod dispatch;
pub(crate) mod housekeeping;
pub(crate) mod shard;
pub(crate) mod sinks;
pub(crate) mod timers;
