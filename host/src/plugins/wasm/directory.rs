//! Loads a directory of plugins: each file is loaded, or refused with its reason. A bad file never
//! keeps a good one from serving.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sagabox_engine::seams::handler::Handler;
use thiserror::Error;
use wasmtime::component::Component;

use super::bindings::{INTERFACES, Interface, PACKAGES, Program};
use super::cache::{self, Cache};
use super::compiler::{self, CompileError};
use super::component::{ComponentHandler, Instances, Introduction};
use super::limits::{Limits, TABLES};
use super::sandbox::Sandbox;
use super::surface::{self, Surface};
use super::{core_module, imports};
use crate::io::files::{self, Unreadable};
use crate::plugins::trust::{self, Pinned};

/// The extensions of a component's file: binary, or the text format.
pub(crate) const EXTENSIONS: [&str; 2] = ["wasm", TEXT];
const TEXT: &str = "wat";
/// Far more than a person writes by hand; reading the text takes ten times as much memory.
const TEXT_BYTES_MAX: usize = 4 << 20;
/// The most names in an error; a file may have any number.
const NAMED_MAX: usize = 10;

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
    /// The interfaces that the component imports, in the order of their names.
    pub imports: Vec<String>,
    component: Arc<ComponentHandler>,
}

impl LoadedPlugin {
    /// The entry that pins it in a lock file.
    #[must_use]
    pub fn pinned(&self, directory: &Path) -> Pinned {
        let (manifest, file) = (self.handler.manifest(), trust::name_in(directory, &self.path));
        Pinned::new(&file, manifest.name.as_str(), &manifest.version, &self.digest)
    }

    /// The linear memory of the largest free instance, in bytes.
    #[must_use]
    pub fn instance_bytes(&self) -> usize {
        self.component.instance_bytes()
    }

    /// How long it took to say what it is.
    #[must_use]
    pub fn introduction(&self) -> Introduction {
        self.component.introduction()
    }

    /// The same plugin in the state of a host that has just started.
    #[must_use]
    pub fn restarted(&self, instances: Instances) -> Arc<dyn Handler> {
        Arc::new(self.component.restarted(instances))
    }
}

pub struct Refused {
    pub path: PathBuf,
    pub reason: String,
    /// Further lines for people.
    pub details: Vec<String>,
}

impl Refused {
    fn new(path: PathBuf, unfit: &Unfit) -> Self {
        Self { path, reason: unfit.to_string(), details: unfit.details().to_vec() }
    }
}

/// Shows the reason, and behind it the further lines.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        self.details.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// Why a file cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// The reason may go without a change of the file, because its signature or the lock file may
    /// change.
    #[error("{0}")]
    Untrusted(String),
    #[error("{0}")]
    Broken(String),
    /// The call of `describe` did not return.
    #[error("{reason}")]
    Stopped {
        reason: String,
        /// What the plugin wrote, and where it was.
        details: Vec<String>,
    },
}

impl Unfit {
    /// Further lines for people.
    #[must_use]
    pub fn details(&self) -> &[String] {
        match self {
            Self::Untrusted(_) | Self::Broken(_) => &[],
            Self::Stopped { details, .. } => details,
        }
    }
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
        loading.add(path, directory, sandbox, configurations);
    }
    Ok(loading)
}

impl Loading {
    /// Adds a plugin even if another one has its name, because it is not to serve.
    pub fn add_apart(
        &mut self,
        path: PathBuf,
        home: &Path,
        sandbox: &Sandbox,
        configurations: &HashMap<String, String>,
    ) {
        match load_file(&path, home, sandbox, configurations) {
            Ok(plugins) => self.loaded.extend(plugins),
            Err(unfit) => self.refused.push(Refused::new(path, &unfit)),
        }
    }

    pub(super) fn add(
        &mut self,
        path: PathBuf,
        home: &Path,
        sandbox: &Sandbox,
        configurations: &HashMap<String, String>,
    ) {
        let names = self.loaded.iter();
        let names =
            names.map(|plugin| (plugin.handler.manifest().name.to_string(), plugin.path.clone()));
        let names = names.collect();
        let loaded = load_file(&path, home, sandbox, configurations);
        let outcome = loaded.and_then(|plugins| match taken(&plugins, &names) {
            Some(reason) => Err(Unfit::Broken(reason)),
            None => Ok(plugins),
        });
        match outcome {
            Ok(plugins) => self.loaded.extend(plugins),
            Err(unfit) => self.refused.push(Refused::new(path, &unfit)),
        }
    }
}

/// The content of a directory, by names alone: no file is opened. Hidden files are left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The files that a host takes for plugins, in the order of their names.
    pub components: Vec<PathBuf>,
    /// All other files, in the order of their names: signatures, lock files, and files that are not
    /// for a host at all.
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

/// Whether a host takes a file of this name for a plugin. The name decides and not the first bytes,
/// because a host must not open files that are not meant for it (see `files::open`).
#[must_use]
pub fn is_component(path: &Path) -> bool {
    path.extension().is_some_and(|own| EXTENSIONS.iter().any(|extension| own == *extension))
}

/// The reason for which none of a file's plugins is loaded, if one of their names is taken: half of
/// a component would surprise its author more than none.
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
    home: &Path,
    sandbox: &Sandbox,
    configurations: &HashMap<String, String>,
) -> Result<Vec<LoadedPlugin>, Unfit> {
    let bytes =
        files::bytes(path, sandbox.settings.component_bytes).map_err(|error| unreadable(&error))?;
    load((path, home), &bytes, sandbox, configurations)
}

/// The reason for which a component's file is not read, with the limit that an operator can change.
#[must_use]
pub fn unreadable(error: &Unreadable) -> String {
    match error {
        Unreadable::TooLarge { .. } => format!("{error} (limit component_bytes)"),
        error => error.to_string(),
    }
}

/// The plugins of a file with this content. The lock file in `home` counts.
///
/// Cheap checks come first, because the author of a file decides how long compiling it takes.
///
/// # Errors
/// Says why it cannot serve.
pub fn load(
    (path, home): (&Path, &Path),
    bytes: &[u8],
    sandbox: &Sandbox,
    configurations: &HashMap<String, String>,
) -> Result<Vec<LoadedPlugin>, Unfit> {
    let digest = crate::decisions::digest::digest(bytes);
    sandbox.settings.trust.check(path, home, bytes, &digest).map_err(Unfit::Untrusted)?;
    load_trusted(path, bytes, digest, sandbox, configurations)
}

/// The plugins of a component that a store kept, under the name of its file.
///
/// The component was admitted when it decided. A store can have come from elsewhere since, so a
/// signature is checked again if the settings require one. The lock file says which components may
/// serve, and this one does not serve.
///
/// # Errors
/// Says why it cannot be called.
pub fn load_kept(
    (file, signature): (&str, Option<&str>),
    bytes: &[u8],
    sandbox: &Sandbox,
    configurations: &HashMap<String, String>,
) -> Result<Vec<LoadedPlugin>, Unfit> {
    sandbox.settings.trust.verify(bytes, signature, file).map_err(Unfit::Untrusted)?;
    let digest = crate::decisions::digest::digest(bytes);
    load_trusted(Path::new(file), bytes, digest, sandbox, configurations)
}

fn load_trusted(
    path: &Path,
    bytes: &[u8],
    digest: String,
    sandbox: &Sandbox,
    configurations: &HashMap<String, String>,
) -> Result<Vec<LoadedPlugin>, Unfit> {
    let made = match path.extension().is_some_and(|own| own == TEXT) {
        true => Some(binary(bytes)?),
        false => None,
    };
    let code = made.as_deref().unwrap_or(bytes);
    check_format(code)?;
    check_surface(code, sandbox)?;
    let component = compiled(sandbox, &digest, code)?;
    let (interfaces, imports) = interfaces(&component, sandbox)?;
    let mut plugins = Vec::new();
    for interface in interfaces {
        let program = Program::new(interface, &component).map_err(|error| {
            let world = interface.role.as_str();
            format!("does not fit the world `{world}` of {PACKAGES}: {error:#}")
        })?;
        let configuration =
            |name: &str| configurations.get(name).cloned().unwrap_or_else(|| "{}".to_owned());
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let component = ComponentHandler::new(sandbox, program, &file, configuration)?;
        let component = Arc::new(component);
        plugins.push(LoadedPlugin {
            path: path.to_owned(),
            digest: digest.clone(),
            imports: imports.clone(),
            handler: Arc::clone(&component) as Arc<dyn Handler>,
            component,
        });
    }
    Ok(plugins)
}

/// The binary form of a file in the text format.
fn binary(text: &[u8]) -> Result<Vec<u8>, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("has more than {TEXT_BYTES_MAX} bytes of text; write it as binary"));
    }
    let text = std::str::from_utf8(text).map_err(|_| "is not text in UTF-8".to_owned())?;
    wat::parse_str(text).map_err(|error| format!("is not WebAssembly in the text format: {error}"))
}

/// The component from the cache, or compiled now.
fn compiled(sandbox: &Sandbox, digest: &str, code: &[u8]) -> Result<Component, String> {
    let (engine, settings) = (&sandbox.engine, &sandbox.settings);
    let limits = &settings.compile;
    let known = |cache: &Cache| match cache.load(engine, digest) {
        Some(component) => Some(Ok(component)),
        None => cache.refusal(engine, digest, limits).map(Err),
    };
    if let Some(known) = sandbox.cache().and_then(known) {
        return known;
    }
    // Another process may be compiling the same file.
    let claim = sandbox.cache().and_then(|cache| cache.claim(engine, digest, limits.time));
    if let Some(known) = sandbox.cache().filter(|_| claim.is_some()).and_then(known) {
        return known;
    }
    let compiled = compiler::compile(engine, settings, code);
    let code = compiled.map_err(|error| {
        if let (Some(cache), true) = (sandbox.cache(), error.is_limit()) {
            cache.refuse(engine, digest, limits, &error.to_string());
        }
        match error {
            CompileError::Invalid(text) => invalid(&text),
            other => other.to_string(),
        }
    })?;
    let component = cache::made(engine, &code).map_err(|error| invalid(&format!("{error:#}")))?;
    // A cache that cannot be written costs time at the next start, and nothing else.
    if let Some(Err(error)) = sandbox.cache().map(|cache| cache.save(engine, digest, &code)) {
        tracing::debug!(%error, %digest, "storing the compiled component failed");
    }
    Ok(component)
}

/// The pool checks sizes when a component is compiled, and does not know the names of our limits.
fn invalid(error: &str) -> String {
    let text = format!("is not a valid component: {error}");
    if !text.contains("pooling allocator") {
        return text;
    }
    let limit = if text.contains("table") { "table_elements" } else { "memory_bytes" };
    format!("{text} (limit {limit})")
}

/// Says which format a file has before wasmtime does, in words for the operator who put it there.
fn check_format(bytes: &[u8]) -> Result<(), String> {
    // Source: the binary formats of WebAssembly (version 1, layer 0) and of the component model (13, layer 1).
    match bytes {
        [] => Err("is empty".to_owned()),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] if core_module::has_world(bytes) => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(format!(
            "is a core WebAssembly module that exports no role; a plugin exports the \
                 functions of {} or another handler of {PACKAGES}, such as `{}#describe`",
            INTERFACES[0].name, INTERFACES[0].name
        )),
        [0, b'a', b's', b'm', ..] => {
            Err("is WebAssembly of a version that is not known here".to_owned())
        }
        _ => Err("is not a WebAssembly component".to_owned()),
    }
}

/// Checks what is known before anything is compiled.
fn check_surface(bytes: &[u8], sandbox: &Sandbox) -> Result<(), String> {
    let Some(surface) = surface::surface(bytes) else { return Ok(()) };
    check_sizes(&surface, &sandbox.widest_limits())?;
    let (Surface { imports, exports, .. }, strict) = (surface, sandbox.settings.strict);
    if core_module::has_world(bytes) {
        // Its functions are named after their interface. Its imports are checked when it is made a
        // component.
        let plays = |interface: &str| exports.iter().any(|export| export.contains(interface));
        return match INTERFACES.iter().any(|interface| plays(interface.name)) {
            true => Ok(()),
            false => Err(no_role(&exports)),
        };
    }
    imports.iter().try_for_each(|import| imports::check(import, strict))?;
    match INTERFACES.iter().any(|interface| exports.iter().any(|export| export == interface.name)) {
        true => Ok(()),
        false => Err(no_role(&exports)),
    }
}

fn check_sizes(surface: &Surface, limits: &Limits) -> Result<(), String> {
    let over = |found: u64, limit: usize| u64::try_from(limit).is_ok_and(|limit| found > limit);
    if over(surface.memory_bytes, limits.memory_bytes) {
        return Err(format!(
            "has a memory of {} bytes at its start; at most {} are accepted (limit memory_bytes)",
            surface.memory_bytes, limits.memory_bytes
        ));
    }
    if over(surface.table_elements, limits.table_elements) {
        return Err(format!(
            "has a table of {} elements at its start; at most {} are accepted (limit table_elements)",
            surface.table_elements, limits.table_elements
        ));
    }
    match surface.tables > TABLES as usize {
        true => Err(format!(
            "has a module with {} tables; at most {TABLES} are accepted",
            surface.tables
        )),
        false => Ok(()),
    }
}

/// The interfaces with which the component plays its roles, and its imports, all of which are
/// allowed.
fn interfaces(
    component: &Component,
    sandbox: &Sandbox,
) -> Result<(Vec<&'static Interface>, Vec<String>), String> {
    let component_type = component.component_type();
    let imports = component_type.imports(&sandbox.engine);
    let mut imports: Vec<String> = imports.map(|(name, _)| name.to_owned()).collect();
    imports.iter().try_for_each(|import| imports::check(import, sandbox.settings.strict))?;
    imports.sort();
    let exports: Vec<String> =
        component_type.exports(&sandbox.engine).map(|(name, _)| name.to_owned()).collect();
    let is_exported =
        |interface: &&Interface| exports.iter().any(|export| export == interface.name);
    let played: Vec<_> = INTERFACES.iter().filter(is_exported).collect();
    match played.is_empty() {
        true => Err(no_role(&exports)),
        false => Ok((played, imports)),
    }
}

fn no_role(exports: &[String]) -> String {
    let shown = &exports[..exports.len().min(NAMED_MAX)];
    let what = match exports.len() - shown.len() {
        0 if exports.is_empty() => "nothing".to_owned(),
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    };
    format!(
        "plays no role: it exports {what}; a plugin exports a handler of the worlds saga, \
         process-manager, reactor or enricher of {PACKAGES}"
    )
}
