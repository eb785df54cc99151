//! The stages that deliver: a relay for each configured sink, or a queue for workers. Both keep
//! their messages in the same lanes.

pub(crate) mod lanes;
mod leases;
pub(crate) mod queue;
pub(crate) mod relay;
mod spans;
