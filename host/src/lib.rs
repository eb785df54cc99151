//! Sagabox: adapters around the engine, and the command line.
pub mod store;
