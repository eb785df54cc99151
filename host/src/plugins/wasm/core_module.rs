//! Turns a core module into a component. Rust, C, C++, Zig and Go compile to core modules. The
//! module's world is in a custom section that a bindings generator has written; otherwise its
//! exports show its roles, because they are named after the functions of their interfaces.
//!
//! Toolchains that know only WASI preview 1 get our own adapter instead of the usual one, which
//! allocates in the guest before its runtime has started (Go traps) and imports files. Ours needs
//! no memory, and imports only the part of WASI 0.2 that is answered from the call; a component
//! does not import what its module does not use.

use std::collections::BTreeSet;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap};

use super::surface::surface;

pub(super) const ADAPTER: &str = include_str!("preview1/adapter.wat");
const ADAPTER_WORLD: &str = include_str!("preview1/adapter.wit");
/// The prefix of our interfaces' names.
const OWN: &str = "sagabox:plugin/";
const PREVIEW1: &str = "wasi_snapshot_preview1";
/// The package with the interfaces of all roles.
const PACKAGE: [(&str, &str); 5] = [
    ("types.wit", include_str!("../../../../wit/0.1/types.wit")),
    ("saga.wit", include_str!("../../../../wit/0.1/saga.wit")),
    ("process-manager.wit", include_str!("../../../../wit/0.1/process-manager.wit")),
    ("reactor.wit", include_str!("../../../../wit/0.1/reactor.wit")),
    ("enricher.wit", include_str!("../../../../wit/0.1/enricher.wit")),
];

/// The section in which bindings generators write the world; its name continues behind this.
const WORLD_SECTION: &[u8] = b"component-type";
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Whether this is a core module that names its imports and exports, and can therefore become a
/// component.
pub(crate) fn has_world(bytes: &[u8]) -> bool {
    bytes.starts_with(CORE_MODULE) && (has_section(bytes) || !interfaces(bytes).is_empty())
}

fn has_section(module: &[u8]) -> bool {
    contains(module, WORLD_SECTION)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The interfaces of our package whose functions the module exports.
fn interfaces(module: &[u8]) -> BTreeSet<String> {
    let exports = surface(module).map(|surface| surface.exports).unwrap_or_default();
    let interface = |export: &String| {
        let (interface, _) = export.split_once('#')?;
        interface.starts_with(OWN).then(|| interface.to_owned())
    };
    exports.iter().filter_map(interface).collect()
}

/// # Errors
/// If the module does not keep to its world, or imports something else.
pub(crate) fn componentize(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let named = match has_section(module) {
        true => None,
        false => Some(with_world(module)?),
    };
    let module = named.as_deref().unwrap_or(module);
    let mut encoder = ComponentEncoder::default().validate(true).module(module)?;
    // The text is parsed only for modules that need it.
    if contains(module, PREVIEW1.as_bytes()) {
        encoder = encoder.adapter(PREVIEW1, &adapter()?)?;
    }
    encoder.encode()
}

/// The module with the world that its exports name.
fn with_world(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let exports: String =
        interfaces(module).iter().map(|interface| format!("  export {interface};\n")).collect();
    let world = format!(
        "package sagabox:module;\nworld module {{\n  import {OWN}logging@0.1.0;\n{exports}}}\n"
    );
    let mut module = module.to_vec();
    embed(&mut module, &world, "module")?;
    Ok(module)
}

fn adapter() -> anyhow::Result<Vec<u8>> {
    let mut adapter = wat::parse_str(ADAPTER)?;
    embed(&mut adapter, ADAPTER_WORLD, "adapter")?;
    Ok(adapter)
}

fn embed(module: &mut Vec<u8>, world: &str, name: &str) -> anyhow::Result<()> {
    let mut resolve = Resolve::default();
    let mut sources = SourceMap::default();
    for (file, text) in PACKAGE {
        sources.push_str(file, text);
    }
    let parsed = sources.parse().map_err(|(_, error)| anyhow::anyhow!("{error}"))?;
    resolve.push_group(parsed)?;
    let package = resolve.push_str("world.wit", world)?;
    let world = resolve.select_world(&[package], Some(name))?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two roles, whose functions are never called here.
    const NAMED: &str = r#"(module
        (import "sagabox:plugin/logging@0.1.0" "log" (func (param i32 i32 i32)))
        (func (export "sagabox:plugin/saga-handler@0.1.0#describe") (result i32) unreachable)
        (func (export "sagabox:plugin/saga-handler@0.1.0#handle") (param i32) (result i32) unreachable)
        (func (export "sagabox:plugin/enricher-handler@0.1.0#describe") (result i32) unreachable)
        (func (export "sagabox:plugin/enricher-handler@0.1.0#enrich") (param i32) (result i32) unreachable)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (memory (export "memory") 1))"#;

    #[test]
    fn exports_that_are_named_after_roles_are_a_world() {
        let module = wat::parse_str(NAMED).unwrap();
        assert!(has_world(&module));
        let component = componentize(&module).unwrap_or_else(|error| panic!("{error:#}"));
        let surface = surface(&component).unwrap();
        let exports =
            ["sagabox:plugin/saga-handler@0.1.0", "sagabox:plugin/enricher-handler@0.1.0"];
        assert!(
            exports.iter().all(|export| surface.exports.iter().any(|own| own == export)),
            "{surface:?}"
        );
    }

    #[test]
    fn a_function_that_is_missing_or_has_another_type_is_named() {
        for (from, to, expected) in [
            ("saga-handler@0.1.0#handle", "saga-handler@0.1.0#handel", "handle"),
            ("#describe\") (result i32)", "#describe\") (result i64)", "describe"),
        ] {
            let module = wat::parse_str(NAMED.replacen(from, to, 1)).unwrap();
            let error = format!("{:#}", componentize(&module).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_module_without_a_role_has_no_world() {
        let module = wat::parse_str(r#"(module (func (export "handle")))"#).unwrap();
        assert!(!has_world(&module) && !has_world(b"") && !has_world(b"\0asm\x0d\0\x01\0"));
    }
}
