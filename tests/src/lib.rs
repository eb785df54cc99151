//! What the black-box tests and the benchmark share.
//!
//! Everything here looks at Sagabox from outside: the real binary is started as
//! a process, spoken to over HTTP, killed and started again. Nothing in this
//! package knows the engine, the store or wasmtime's side of a plugin, so that
//! a test here survives any rewrite of them.

pub mod bench;
pub mod client;
pub mod command;
pub mod dist;
pub mod events;
pub mod example;
pub mod exposition;
pub mod host;
pub mod hot;
pub mod lookup;
pub mod mutants;
pub mod otlp;
pub mod paths;
pub mod registry;
pub mod sink;
pub mod vendored;
pub mod wait;
