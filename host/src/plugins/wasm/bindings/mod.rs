//! The versions of the plugin interface that this host serves, behind one interface. The modules
//! above use only the engine's types. A further version is a file beside `v0_1.rs`, a variant of
//! each enum here, and its interfaces and imports in the lists.

mod v0_1;

use sagabox_engine::model::{Failure, Manifest, Role, State};
use sagabox_engine::seams::handler::{Call, Reply};
use wasmtime::Store;
use wasmtime::component::Component;

use super::call_state::CallState;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V0_1,
}

/// An interface of a handler. A component that exports it plays the role.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub role: Role,
    pub name: &'static str,
    version: Version,
}

/// The interfaces of all versions.
pub(crate) static INTERFACES: [Interface; 4] = v0_1::INTERFACES;

/// The imports that a component may have, of all versions.
pub(crate) const IMPORTS: [&str; 2] = v0_1::IMPORTS;

/// The packages that a plugin can be made for, as errors name them.
pub(crate) const PACKAGES: &str = "sagabox:plugin@0.1.0";

/// A component proven to play a role: its exports and imports have the world's types.
#[derive(Clone)]
pub(crate) enum Program {
    V0_1(v0_1::Program),
}

/// A running instance of it.
pub(crate) enum PluginInstance {
    V0_1(v0_1::PluginInstance),
}

impl Program {
    pub(crate) fn new(interface: &Interface, component: &Component) -> wasmtime::Result<Self> {
        match interface.version {
            Version::V0_1 => v0_1::Program::new(interface.role, component).map(Self::V0_1),
        }
    }

    pub(crate) fn start(&self, store: &mut Store<CallState>) -> wasmtime::Result<PluginInstance> {
        match self {
            Self::V0_1(program) => program.start(store).map(PluginInstance::V0_1),
        }
    }
}

impl PluginInstance {
    /// The manifest of the plugin, or the reason for which it cannot be understood.
    pub(crate) fn describe(
        &self,
        store: &mut Store<CallState>,
    ) -> wasmtime::Result<Result<Manifest, String>> {
        match self {
            Self::V0_1(instance) => instance.describe(store),
        }
    }

    pub(crate) fn handle(
        &self,
        store: &mut Store<CallState>,
        call: &Call,
        configuration: &str,
    ) -> wasmtime::Result<Result<Reply, Failure>> {
        match self {
            Self::V0_1(instance) => instance.handle(store, call, configuration),
        }
    }

    /// The state in the state version `to`, or the reason for which the plugin cannot read it.
    pub(crate) fn migrate(
        &self,
        store: &mut Store<CallState>,
        state: &State,
        to: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, String>> {
        match self {
            Self::V0_1(instance) => instance.migrate(store, state, to),
        }
    }
}
