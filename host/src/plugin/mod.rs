//! Plugins: wasm components that play roles. The only module that knows wasmtime.

mod build;
mod cache;
mod component;
mod core_module;
mod directory;
mod inspect;
mod limits;
mod log;
mod manifest;
mod reply;
mod sandbox;
mod sources;
mod v0_1;
mod wasi;

pub use build::{BuildError, build};
pub use cache::digest;
pub use component::Instances;
pub use directory::{
    CANDIDATES, Listing, LoadedPlugin, Loading, Refused, Unfit, is_component, list, load,
    load_directory, taken, unreadable,
};
pub use inspect::{imports, load_path};
pub use limits::{COMPONENT_BYTES, Limits, MEMORY_BYTES_MAX, STACK_BYTES, STACK_BYTES_MAX};
pub use sandbox::{Sandbox, Settings};

#[cfg(test)]
mod tests;
