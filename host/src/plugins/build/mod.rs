//! `sagabox build`: a plugin's source becomes a component.
//!
//! The project file says which language it is. The language's own tools compile it, or the builder
//! in its SDK; the result is a component, or a core module that `wasm` turns into one. Missing
//! tools are fetched by the language's package manager (`toolchain.rs`).

mod c;
mod go;
mod language;
mod process;
mod python;
mod rust;
mod sdk;
mod sources;
mod toolchain;
mod typescript;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use language::Language;
pub use sdk::{file_url, find as find_sdk, marker as sdk_marker, named as named_sdk};

use self::sources::{Notes, Package};
use super::wasm;
use crate::io::files;

/// Files at the root of a project that a build may write itself.
pub const WRITTEN: [&str; 3] = ["Cargo.lock", "package-lock.json", "go.sum"];

#[derive(Debug, Error)]
pub enum BuildError {
    #[error(
        "{0} is no plugin project: it has no Cargo.toml (Rust), package.json (TypeScript, \
         JavaScript), pyproject.toml (Python), go.mod (Go), and no Makefile with C or C++ sources"
    )]
    NoProject(PathBuf),
    #[error(
        "this machine cannot build plugins in {language}: {missing}. Install what is missing:\n{install}"
    )]
    NoToolchain { language: Language, missing: String, install: &'static str },
    #[error("building {source_dir} failed; {program} says:\n{output}")]
    Failed { source_dir: PathBuf, program: &'static str, output: String },
    #[error("fetching {what} failed; {program} says:\n{output}")]
    NotFetched { what: String, program: &'static str, output: String },
    #[error(
        "{source_dir} builds no library for wasm: set `crate-type = [\"cdylib\", \"rlib\"]` under [lib]"
    )]
    NoLibrary { source_dir: PathBuf },
    #[error("{file} names no plugin: {expected}")]
    NoName { file: PathBuf, expected: &'static str },
    #[error("{source_dir} needs the SDK for {language}, which is not found: {hint}")]
    NoSdk { source_dir: PathBuf, language: Language, hint: &'static str },
    #[error("{source_dir} cannot become a component: {reason}")]
    Component { source_dir: PathBuf, reason: String },
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
}

/// A build of one project.
struct Project {
    folder: PathBuf,
    name: String,
    /// The folder for intermediate files. Several projects share it.
    target: PathBuf,
}

/// Builds the plugin in `source` and writes `<out>/<project name>.wasm`.
///
/// `target` is the folder for intermediate files; several plugins can share one.
///
/// # Errors
/// See [`BuildError`].
pub fn component(source: &Path, out: &Path, target: &Path) -> Result<PathBuf, BuildError> {
    let folder = source.canonicalize().map_err(|error| BuildError::Io(source.into(), error))?;
    let language = Language::of(&folder).ok_or_else(|| BuildError::NoProject(folder.clone()))?;
    let name = language.project_name(&folder)?;
    // Compilers run in the project's folder, and would take a relative path from there.
    let target =
        std::path::absolute(target).map_err(|error| BuildError::Io(target.into(), error))?;
    let project = Project { folder, name, target };
    let bytes = match language {
        Language::Rust => rust::build(&project)?,
        Language::TypeScript => project.build_once(language, typescript::build)?,
        Language::Python => project.build_once(language, python::build)?,
        Language::Go => project.build_once(language, go::build)?,
        Language::C => project.build_once(language, c::build)?,
    };
    let component = match wasm::has_world(&bytes) {
        true => wasm::componentize(&bytes).map_err(|error| BuildError::Component {
            source_dir: project.folder.clone(),
            reason: format!("{error:#}"),
        })?,
        false => bytes,
    };
    std::fs::create_dir_all(out).map_err(|error| BuildError::Io(out.into(), error))?;
    let file = out.join(format!("{}.wasm", project.name));
    write_if_changed(&file, &component)?;
    Ok(file)
}

/// The folders in which one project's builder works.
struct Work<'p> {
    project: &'p Project,
    /// For the intermediate files of this project alone.
    folder: PathBuf,
    /// The file that the builder writes.
    module: PathBuf,
    sdk: PathBuf,
}

impl Project {
    /// Builds the project unless the last build was of the same sources, SDK and tools. Cargo finds
    /// that out itself; the other builders take seconds each time.
    fn build_once(
        &self,
        language: Language,
        build: impl FnOnce(&Work<'_>) -> Result<(), BuildError>,
    ) -> Result<Vec<u8>, BuildError> {
        let sdk = sdk::of_project(language, &self.folder)?;
        let place = crate::decisions::digest::digest(self.folder.as_os_str().as_encoded_bytes());
        let own = format!("{}-{}", self.name, &place[..12]);
        let folder = self.target.join(language.name()).join(own);
        let io = |error| BuildError::Io(folder.clone(), error);
        let _claim = sources::claim(&folder).map_err(io)?;
        let version = toolchain::versions(language);
        let package = |name: &str, folder: &Path| Package {
            name: name.to_owned(),
            version: version.clone(),
            folder: folder.to_owned(),
        };
        let packages = [package("project", &self.folder), package("sdk", &sdk)];
        let mut notes = Notes::read(&folder);
        let changed = notes.changed(&packages).len();
        let work =
            Work { project: self, module: folder.join("built.wasm"), folder: folder.clone(), sdk };
        let read = |work: &Work<'_>| {
            std::fs::read(&work.module).map_err(|error| BuildError::Io(work.module.clone(), error))
        };
        if changed == 0
            && let Ok(bytes) = read(&work)
        {
            return Ok(bytes);
        }
        // A builder may write a source into the project, such as a lock file. The notes are those
        // from before the build, so that a file that changes during the build is built again.
        let notes = notes.with(&packages);
        std::fs::remove_file(&work.module).or_else(ignore_absent).map_err(io)?;
        build(&work)?;
        let bytes = read(&work)?;
        notes.write(&folder).map_err(io)?;
        Ok(bytes)
    }
}

fn ignore_absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// By rename: a host that watches the folder never sees half a file.
fn write_if_changed(file: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    if std::fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let (folder, name) = (file.parent(), file.file_name().unwrap_or_default());
    files::put(folder.unwrap_or(Path::new("")), &name.to_string_lossy(), bytes)
        .map_err(|error| BuildError::Io(file.to_owned(), error))
}
