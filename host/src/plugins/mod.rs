//! Plugins: their components in the sandbox, where they come from, who may serve, and how they
//! are replaced while the host runs.

pub mod factory;
mod preflight;
pub mod pull;
pub mod reload;
pub mod rollout;
pub mod status;
pub mod trust;
pub mod wasm;
mod watch;
