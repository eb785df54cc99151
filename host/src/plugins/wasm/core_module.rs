//! A core module becomes a component: what Rust, C, C++, Zig and Go compile to, with
//! their world in a custom section.
//!
//! Toolchains that know only WASI preview 1 get an adapter of our own instead of the
//! usual one, which allocates in the guest before its runtime has started (Go traps)
//! and imports files. Ours needs no memory, and imports of WASI 0.2 only what is
//! answered from the call; what a module does not use, its component does not import.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub(super) const ADAPTER: &str = include_str!("preview1/adapter.wat");
const ADAPTER_WORLD: &str = include_str!("preview1/adapter.wit");
const TYPES: &str = include_str!("../../../../wit/0.1/types.wit");
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Where bindings generators leave the world; its name goes on behind this.
const WORLD_SECTION: &[u8] = b"component-type";
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Whether this is a core module that says what it imports and exports.
pub(crate) fn has_world(bytes: &[u8]) -> bool {
    bytes.starts_with(CORE_MODULE)
        && bytes.windows(WORLD_SECTION.len()).any(|window| window == WORLD_SECTION)
}

/// # Errors
/// If the module does not keep to its world, or imports something else.
pub(crate) fn componentize(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default().validate(true).module(module)?;
    // The text is parsed only for those who need it.
    if module.windows(PREVIEW1.len()).any(|window| window == PREVIEW1.as_bytes()) {
        encoder = encoder.adapter(PREVIEW1, &adapter()?)?;
    }
    encoder.encode()
}

fn adapter() -> anyhow::Result<Vec<u8>> {
    let mut adapter = wat::parse_str(ADAPTER)?;
    let mut resolve = Resolve::default();
    resolve.push_str("types.wit", TYPES)?;
    let package = resolve.push_str("adapter.wit", ADAPTER_WORLD)?;
    let world = resolve.select_world(&[package], Some("adapter"))?;
    embed_component_metadata(&mut adapter, &resolve, world, StringEncoding::UTF8)?;
    Ok(adapter)
}
