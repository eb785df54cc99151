//! Sagabox: adapters around the engine, and the command line.
pub mod plugin;
pub mod store;
