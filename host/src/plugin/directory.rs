//! A directory of plugins: each file is loaded, or refused with its reason. One
//! bad file never keeps a good one from serving.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sagabox_engine::handler::Handler;
use wasmtime::component::Component;

use super::cache;
use super::component::ComponentHandler;
use super::sandbox::Sandbox;
use super::v0_1::{IMPORTS, Program, ROLES};

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
}

pub struct Refused {
    pub path: PathBuf,
    pub reason: String,
}

/// Loads every file of the directory, except hidden ones, in the order of their names.
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
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot read the plugin directory {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_file() && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    let mut loading = Loading { loaded: Vec::new(), refused: Vec::new() };
    let mut names: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in paths {
        match load_file(&path, sandbox, configurations) {
            Err(reason) => loading.refused.push(Refused { path, reason }),
            Ok(plugins) => {
                for plugin in plugins {
                    let name = plugin.handler.manifest().name.to_string();
                    if let Some(first) = names.get(&name) {
                        let reason = format!(
                            "its name `{name}` is taken by {}; a name stands for one plugin",
                            first.display()
                        );
                        loading.refused.push(Refused { path: path.clone(), reason });
                    } else {
                        names.insert(name, path.clone());
                        loading.loaded.push(plugin);
                    }
                }
            }
        }
    }
    Ok(loading)
}

fn load_file(
    path: &Path,
    sandbox: &Sandbox,
    configurations: &HashMap<String, String>,
) -> Result<Vec<LoadedPlugin>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    check_format(&bytes)?;
    let component = cache::compile(&sandbox.engine, &bytes, sandbox.cache.as_deref())
        .map_err(|error| format!("is not a valid component: {error:#}"))?;
    let roles = roles(&component, sandbox)?;
    let digest = cache::digest(&bytes);
    let mut plugins = Vec::new();
    for role in roles {
        let program = Program::new(role, &component).map_err(|error| {
            format!("does not fit the world `{}` of sagabox:plugin@0.1.0: {error:#}", role.as_str())
        })?;
        let configuration =
            |name: &str| configurations.get(name).cloned().unwrap_or_else(|| "{}".to_owned());
        let handler = ComponentHandler::new(sandbox, program, configuration)?;
        plugins.push(LoadedPlugin {
            path: path.to_owned(),
            digest: digest.clone(),
            handler: Arc::new(handler),
        });
    }
    Ok(plugins)
}

/// Tells what a file is before wasmtime does, in the words of the one who put it there.
fn check_format(bytes: &[u8]) -> Result<(), String> {
    // Source: the binary formats of WebAssembly (version 1, layer 0) and of the component model (13, layer 1).
    match bytes {
        [] => Err("is empty".to_owned()),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(
            "is a core WebAssembly module, not a component; make a component of it with `sagabox build`"
                .to_owned(),
        ),
        [0, b'a', b's', b'm', ..] => {
            Err("is WebAssembly of a version that is not known here".to_owned())
        }
        _ => Err("is not a WebAssembly component".to_owned()),
    }
}

/// The roles that the component plays, by its exports; and it imports nothing else than it may.
fn roles(
    component: &Component,
    sandbox: &Sandbox,
) -> Result<Vec<sagabox_engine::model::Role>, String> {
    let component_type = component.component_type();
    for (import, _) in component_type.imports(&sandbox.engine) {
        if !IMPORTS.contains(&import) {
            return Err(format!(
                "imports `{import}`, which no plugin gets; a plugin may import {} alone",
                IMPORTS[0]
            ));
        }
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
