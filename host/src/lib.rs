//! The host: adapters around the engine, and the binary's commands.

mod cloudevents;
pub mod config;
pub mod http;
pub mod lookup;
pub mod transport;
