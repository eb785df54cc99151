//! What the engine needs from outside, as traits. Each seam has its contract as documentation,
//! an implementation in memory, a decorator that injects faults, and a suite of tests that every
//! implementation passes.

pub mod batches;
pub mod handler;
pub mod lookup;
pub mod store;
pub mod transport;
