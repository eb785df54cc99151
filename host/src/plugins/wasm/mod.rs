//! Plugins: wasm components that play roles. The only module that knows wasmtime.

mod bindings;
mod cache;
mod call_state;
mod compiler;
mod component;
mod core_module;
mod directory;
mod features;
mod folder;
mod imports;
mod inspect;
mod kept;
mod limits;
mod lines;
mod log;
mod manifest;
mod optional;
mod output;
mod reply;
mod sandbox;
mod sockets;
mod surface;
mod used;
mod wasi;

pub use compiler::{
    ARGUMENT as COMPILE_ARGUMENT, CompileLimits, child as compile_child, compile_in_children,
};
pub use component::{Instances, Introduction};
pub(crate) use core_module::{componentize, has_world};
pub use directory::{
    Listing, LoadedPlugin, Loading, Refused, Unfit, is_component, list, load, load_directory,
    load_kept, taken, unreadable,
};
pub use imports::shown as shown_import;
pub use inspect::load_path;
pub use kept::{CacheContent, CacheSettings, VARIABLE as CACHE_VARIABLE};
pub(crate) use limits::call_limits;
pub use limits::{
    COMPONENT_BYTES, Limits, MEMORY_BYTES_MAX, Millis, STACK_BYTES, STACK_BYTES_MAX, Said,
};
pub use lines::{Line, RecentLines};
pub use log::TARGET as LOG_TARGET;
pub use sandbox::{Sandbox, Settings};

pub use used::LimitUse;

#[cfg(test)]
mod tests;
