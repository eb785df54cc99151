//! Plugins: their components in the sandbox, their sources, the trust in them, and how they are
//! replaced while the host runs.

pub mod again;
pub mod build;
pub mod factory;
mod fields;
mod follower;
mod keeping;
mod preflight;
pub mod pull;
pub mod readable;
pub mod reload;
pub mod rollout;
pub mod status;
pub mod topology;
pub mod trust;
pub mod wasm;
mod watch;
