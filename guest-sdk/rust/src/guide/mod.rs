//! How to write a plugin: a section for each subject, with an example that runs.

pub mod claims;
pub mod configuration;
pub mod exactness;
pub mod failures;
pub mod handlers;
pub mod logging;
pub mod manifest;
pub mod processes;
pub mod questions;
pub mod roles;
pub mod tests;
pub mod timers;
pub mod types;
pub mod versions;
