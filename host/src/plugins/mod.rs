//! Plugins: their components in the sandbox, where they come from, who may serve, and how they
//! are replaced while the host runs.

pub mod pull;
pub mod reload;
pub mod trust;
pub mod wasm;
