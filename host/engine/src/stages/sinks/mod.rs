//! The stages that deliver: a relay for each sink, or a queue for its workers. Both keep their
//! messages in the same lanes.

pub(crate) mod lanes;
pub(crate) mod queue;
pub(crate) mod relay;
