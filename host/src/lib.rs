//! Sagabox: adapters around the engine, and the command line.

pub mod access;
mod alerts;
pub mod api;
pub mod batches;
pub mod cli;
pub mod config;
mod decisions;
pub mod host;
pub mod io;
mod mcp;
mod pages;
pub mod plugins;
#[doc(hidden)]
pub mod round_trip;
pub mod store;
mod telemetry;
pub mod verify;
