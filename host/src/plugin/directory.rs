//! A directory of plugins: each file is loaded, or refused with its reason. One
//! bad file never keeps a good one from serving.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sagabox_engine::handler::Handler;
use thiserror::Error;
use wasmtime::component::Component;

use super::component::{ComponentHandler, Instances};
use super::sandbox::Sandbox;
use super::v0_1::{IMPORTS, Program, ROLES};
use super::wasi;
use super::{cache, core_module};
use crate::files::{self, Unreadable};
use crate::trust::{self, Pinned};

/// A folder of the plugin directory, with versions that are tried beside those that serve.
pub const CANDIDATES: &str = "candidates";
/// Of a component's file: binary, or the text format.
pub const EXTENSIONS: [&str; 2] = ["wasm", "wat"];

#[derive(Default)]
pub struct Loading {
    pub loaded: Vec<LoadedPlugin>,
    pub refused: Vec<Refused>,
}

/// A component in one of its roles.
pub struct LoadedPlugin {
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub digest: String,
    pub handler: Arc<dyn Handler>,
    component: Arc<ComponentHandler>,
}

impl LoadedPlugin {
    /// As the lock file of a directory pins it.
    #[must_use]
    pub fn pinned(&self, directory: &Path) -> Pinned {
        let (manifest, file) = (self.handler.manifest(), trust::name_in(directory, &self.path));
        Pinned::new(&file, manifest.name.as_str(), &manifest.version, &self.digest)
    }

    /// The same plugin as a host has it that was just started.
    #[must_use]
    pub fn restarted(&self, instances: Instances) -> Arc<dyn Handler> {
        Arc::new(self.component.restarted(instances))
    }
}

pub struct Refused {
    pub path: PathBuf,
    pub reason: String,
}

/// Why a file cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// May pass without a change of the file: its signature or the lock file may change.
    #[error("{0}")]
    Untrusted(String),
    #[error("{0}")]
    Broken(String),
}

impl From<String> for Unfit {
    fn from(reason: String) -> Self {
        Self::Broken(reason)
    }
}

/// Loads every plugin of the directory, in the order of the files' names.
///
/// `configurations` holds each plugin's section as JSON.
///
/// # Errors
/// If the directory cannot be read.
pub fn load_directory(
    directory: &Path,
    sandbox: &Sandbox,
    configurations: &HashMap<String, String>,
) -> anyhow::Result<Loading> {
    let listing = list(directory)
        .with_context(|| format!("cannot read the plugin directory {}", directory.display()))?;
    let mut loading = Loading::default();
    for path in listing.components {
        loading.add(path, sandbox, configurations);
    }
    Ok(loading)
}

impl Loading {
    /// Also if another has its name: it is not to serve.
    pub fn add_apart(
        &mut self,
        path: PathBuf,
        sandbox: &Sandbox,
        configurations: &HashMap<String, String>,
    ) {
        match load_file(&path, sandbox, configurations) {
            Ok(plugins) => self.loaded.extend(plugins),
            Err(unfit) => self.refused.push(Refused { path, reason: unfit.to_string() }),
        }
    }

    pub(super) fn add(
        &mut self,
        path: PathBuf,
        sandbox: &Sandbox,
        configurations: &HashMap<String, String>,
    ) {
        let names = self.loaded.iter();
        let names =
            names.map(|plugin| (plugin.handler.manifest().name.to_string(), plugin.path.clone()));
        let names = names.collect();
        let loaded = load_file(&path, sandbox, configurations).map_err(|unfit| unfit.to_string());
        let outcome = loaded.and_then(|plugins| match taken(&plugins, &names) {
            Some(reason) => Err(reason),
            None => Ok(plugins),
        });
        match outcome {
            Ok(plugins) => self.loaded.extend(plugins),
            Err(reason) => self.refused.push(Refused { path, reason }),
        }
    }
}

/// What lies in a directory, by names alone: nothing is opened. Hidden files are left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Files that a host takes for plugins, in the order of their names.
    pub components: Vec<PathBuf>,
    /// All others, in the order of their names: signatures, lock files, and what is not for a
    /// host at all.
    pub others: Vec<PathBuf>,
}

/// # Errors
/// If the directory cannot be read.
pub fn list(directory: &Path) -> std::io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden || !path.is_file() {
            continue;
        }
        match is_component(&path) {
            true => listing.components.push(path),
            false => listing.others.push(path),
        }
    }
    listing.components.sort();
    listing.others.sort();
    Ok(listing)
}

/// Whether a host takes a file of this name for a plugin. Its name says so and not its first
/// bytes, because a host must not open what is not meant for it (see `files::open`).
#[must_use]
pub fn is_component(path: &Path) -> bool {
    path.extension().is_some_and(|own| EXTENSIONS.iter().any(|extension| own == *extension))
}

/// Why none of a file's plugins is loaded, if one of their names is taken: half of
/// a component at work would surprise its author more than none.
#[must_use]
pub fn taken(plugins: &[LoadedPlugin], names: &BTreeMap<String, PathBuf>) -> Option<String> {
    let mut own = BTreeSet::new();
    plugins.iter().find_map(|plugin| {
        let manifest = plugin.handler.manifest();
        let name = manifest.name.as_str();
        if let Some(first) = names.get(name) {
            return Some(format!(
                "its name `{name}` (as {}) is taken by {}; a name stands for one plugin",
                manifest.role.as_str(),
                first.display()
            ));
        }
        let twice = !own.insert(name);
        twice.then(|| format!("two of its roles have the name `{name}`; each needs its own"))
    })
}

fn load_file(
    path: &Path,
    sandbox: &Sandbox,
    configurations: &HashMap<String, String>,
) -> Result<Vec<LoadedPlugin>, Unfit> {
    let bytes =
        files::bytes(path, sandbox.settings.component_bytes).map_err(|error| unreadable(&error))?;
    load(path, &bytes, sandbox, configurations)
}

/// Why a component's file is not read, with the limit that a person can change.
#[must_use]
pub fn unreadable(error: &Unreadable) -> String {
    match error {
        Unreadable::TooLarge { .. } => format!("{error} (limit component_bytes)"),
        error => error.to_string(),
    }
}

/// The plugins of a file with this content.
///
/// # Errors
/// Says why it cannot serve.
pub fn load(
    path: &Path,
    bytes: &[u8],
    sandbox: &Sandbox,
    configurations: &HashMap<String, String>,
) -> Result<Vec<LoadedPlugin>, Unfit> {
    let digest = cache::digest(bytes);
    sandbox.settings.trust.judge(path, bytes, &digest).map_err(Unfit::Untrusted)?;
    check_format(bytes)?;
    let made = match core_module::has_world(bytes) {
        true => Some(core_module::componentize(bytes).map_err(|error| {
            format!("is a core module of which no component can be made: {error:#}")
        })?),
        false => None,
    };
    let code = made.as_deref().unwrap_or(bytes);
    let component = cache::compile(&sandbox.engine, code, sandbox.settings.cache.as_deref())
        .map_err(|error| invalid(&error))?;
    let roles = roles(&component, sandbox)?;
    let mut plugins = Vec::new();
    for role in roles {
        let program = Program::new(role, &component).map_err(|error| {
            format!("does not fit the world `{}` of sagabox:plugin@0.1.0: {error:#}", role.as_str())
        })?;
        let configuration =
            |name: &str| configurations.get(name).cloned().unwrap_or_else(|| "{}".to_owned());
        let component = Arc::new(ComponentHandler::new(sandbox, program, configuration)?);
        plugins.push(LoadedPlugin {
            path: path.to_owned(),
            digest: digest.clone(),
            handler: Arc::clone(&component) as Arc<dyn Handler>,
            component,
        });
    }
    Ok(plugins)
}

/// The pool checks sizes when a component is compiled, and knows nothing of our names.
fn invalid(error: &wasmtime::Error) -> String {
    let text = format!("is not a valid component: {error:#}");
    if !text.contains("pooling allocator") {
        return text;
    }
    let limit = if text.contains("table") { "table_elements" } else { "memory_bytes" };
    format!("{text} (limit {limit})")
}

/// Tells what a file is before wasmtime does, in the words of the one who put it there.
fn check_format(bytes: &[u8]) -> Result<(), String> {
    // Source: the binary formats of WebAssembly (version 1, layer 0) and of the component model (13, layer 1).
    match bytes {
        [] => Err("is empty".to_owned()),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] if core_module::has_world(bytes) => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(
            "is a core WebAssembly module that does not say which world it is of; generate its \
             bindings with wit-bindgen, or build it with `sagabox build`"
                .to_owned(),
        ),
        [0, b'a', b's', b'm', ..] => {
            Err("is WebAssembly of a version that is not known here".to_owned())
        }
        _ => Err("is not a WebAssembly component".to_owned()),
    }
}

fn check_import(import: &str, strict: bool) -> Result<(), String> {
    let answered = wasi::is_answered(import);
    if IMPORTS.contains(&import) || (answered && !strict) {
        return Ok(());
    }
    let may = match strict {
        true => format!("a plugin may import {} alone", IMPORTS[0]),
        false => {
            format!("a plugin may import {}, and of WASI 0.2 {}", IMPORTS[0], wasi::answered())
        }
    };
    let why = match answered {
        true => "which `strict` forbids",
        false => "which no plugin gets",
    };
    Err(format!("imports `{import}`, {why}; {may}"))
}

/// The roles that the component plays, by its exports; and it imports nothing else than it may.
fn roles(
    component: &Component,
    sandbox: &Sandbox,
) -> Result<Vec<sagabox_engine::model::Role>, String> {
    let component_type = component.component_type();
    for (import, _) in component_type.imports(&sandbox.engine) {
        check_import(import, sandbox.settings.strict)?;
    }
    let exports: Vec<String> =
        component_type.exports(&sandbox.engine).map(|(name, _)| name.to_owned()).collect();
    let roles: Vec<_> = ROLES
        .iter()
        .filter(|(_, interface)| exports.iter().any(|export| export == interface))
        .map(|(role, _)| *role)
        .collect();
    if roles.is_empty() {
        let exports = match exports.as_slice() {
            [] => "nothing".to_owned(),
            exports => exports.join(", "),
        };
        return Err(format!(
            "plays no role: it exports {exports}; a plugin exports a handler of the worlds saga, \
             process-manager, reactor or enricher of sagabox:plugin@0.1.0"
        ));
    }
    Ok(roles)
}
