//! Plugins: wasm components that play roles. The only module that knows wasmtime.

mod bindings;
mod build;
mod cache;
mod call_state;
mod compiler;
mod component;
mod core_module;
mod directory;
mod folder;
mod inspect;
mod limits;
mod log;
mod manifest;
mod optional;
mod reply;
mod sandbox;
mod sources;
mod surface;
mod wasi;

pub use build::{BuildError, build};
pub use compiler::{
    ARGUMENT as COMPILE_ARGUMENT, CompileLimits, child as compile_child, compile_in_children,
};
pub use component::Instances;
pub use directory::{
    CANDIDATES, Listing, LoadedPlugin, Loading, Refused, Unfit, is_component, list, load,
    load_directory, load_kept, taken, unreadable,
};
pub use inspect::load_path;
pub(crate) use limits::call_limits;
pub use limits::{
    COMPONENT_BYTES, Limits, MEMORY_BYTES_MAX, Millis, STACK_BYTES, STACK_BYTES_MAX, Said,
};
pub use sandbox::{Sandbox, Settings};

#[cfg(test)]
mod tests;
