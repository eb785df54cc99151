//! `wasi:sockets` without a network. Some runtimes link it although their programs do not use it;
//! Python's does. So a component may import it, and every request is denied:
//!
//! - a function that can return an error code returns `access-denied`;
//! - no socket and no other resource of these interfaces ever exists, except the handle of the
//!   network itself, which gives access to nothing;
//! - a function that needs such a resource ends the call.

use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{LinkerInstance, Resource, ResourceType, Val};
use wasmtime::{Engine, StoreContextMut};

use super::call_state::CallState;
use super::wasi::stopped;

/// All these interfaces, without versions.
pub(super) const INTERFACES: [&str; 7] = [
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// The resources that these interfaces define themselves.
const RESOURCES: [(&str, &str); 6] = [
    ("network", "wasi:sockets/network"),
    ("tcp-socket", "wasi:sockets/tcp"),
    ("udp-socket", "wasi:sockets/udp"),
    ("incoming-datagram-stream", "wasi:sockets/udp"),
    ("outgoing-datagram-stream", "wasi:sockets/udp"),
    ("resolve-address-stream", "wasi:sockets/ip-name-lookup"),
];

const DENIED: &str = "access-denied";

/// The only resource of which there is a handle.
struct Network;
/// A resource that is never created.
struct Never;

/// Whether the import, a name without its version, is one of these interfaces.
pub(super) fn is_denied(name: &str) -> bool {
    INTERFACES.contains(&name)
}

/// Defines the part of an interface that the component imports.
pub(super) fn define(
    interface: &mut LinkerInstance<'_, CallState>,
    name: &str,
    item: &ComponentItem,
    engine: &Engine,
) -> wasmtime::Result<()> {
    let ComponentItem::ComponentInstance(imported) = item else { return Ok(()) };
    for (own, owner) in RESOURCES.iter().filter(|(_, owner)| *owner == name) {
        match *owner {
            "wasi:sockets/network" => {
                interface.resource(own, ResourceType::host::<Network>(), |_, _| Ok(()))?;
            }
            _ => interface.resource(own, ResourceType::host::<Never>(), |_, _| Ok(()))?,
        }
    }
    for (function, item) in imported.exports(engine) {
        let ComponentItem::ComponentFunc(function_type) = item.ty else { continue };
        if name == "wasi:sockets/instance-network" {
            interface.func_wrap(function, |_: StoreContextMut<'_, CallState>, (): ()| {
                Ok((Resource::<Network>::new_own(0),))
            })?;
        } else if can_be_denied(&function_type) {
            interface.func_new(function, |mut store, _, parameters, results| {
                // Drops what was lent for the call.
                for parameter in parameters {
                    if let Val::Resource(resource) = parameter {
                        resource.resource_drop(&mut store)?;
                    }
                }
                if let Some(result) = results.first_mut() {
                    *result = Val::Result(Err(Some(Box::new(Val::Enum(DENIED.to_owned())))));
                }
                Ok(())
            })?;
        } else {
            interface.func_new(function, |_, _, _, _| Err(stopped("there is no network")))?;
        }
    }
    Ok(())
}

fn can_be_denied(function: &ComponentFunc) -> bool {
    let Some(Type::Result(result)) = function.results().next() else { return false };
    match result.err() {
        Some(Type::Enum(code)) => code.names().any(|name| name == DENIED),
        _ => false,
    }
}
