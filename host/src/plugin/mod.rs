//! Plugins: wasm components that play roles. The only module that knows wasmtime.

mod build;
mod cache;
mod component;
mod directory;
mod manifest;
mod sandbox;
mod v0_1;

pub use build::{BuildError, build};
pub use directory::{LoadedPlugin, Loading, Refused, load_directory};
pub use sandbox::{Limits, Sandbox};
