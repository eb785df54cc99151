//! Sagabox: adapters around the engine, and the command line.

pub mod check;
pub mod cli;
mod client;
pub mod cloudevents;
pub mod config;
mod durations;
mod figures;
mod files;
pub mod host;
pub mod hot;
pub mod http;
mod json;
pub mod lookup;
pub mod plugin;
mod printable;
pub mod pull;
pub mod replay;
#[doc(hidden)]
pub mod round_trip;
pub mod scenario;
pub mod secrets;
pub mod simulation;
pub mod store;
pub mod transport;
pub mod trust;
