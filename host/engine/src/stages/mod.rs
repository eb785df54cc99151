//! The stages. Each runs as a task (or, for the shards, as threads) of its own, owns its state, and
//! talks through channels and the structures of [`crate::changes`]. Only [`crate::engine`] connects
//! them.

pub(crate) mod commit;
pub(crate) mod dispatch;
pub(crate) mod housekeeping;
pub(crate) mod reads;
pub(crate) mod shard;
pub(crate) mod sinks;
pub(crate) mod timers;
