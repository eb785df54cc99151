//! `sagabox build`: a plugin's source becomes a component.
//!
//! A core module for `wasm32-unknown-unknown` is built by cargo, by whichever
//! route the machine has; `wit-component` makes a component of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

use super::core_module;
use super::sources::{self, Notes, Package};
use crate::io::files;

const TARGET: &str = "wasm32-unknown-unknown";

#[derive(Debug, Error)]
pub enum BuildError {
    #[error("{0} has no Cargo.toml: only plugins in Rust can be built so far")]
    NotRust(PathBuf),
    #[error(
        "this machine cannot compile Rust to WebAssembly. Either run `rustup target add {TARGET}`, \
         or, on Debian: apt-get install --no-install-recommends rustc-web cargo-web rust-web-src lld-19"
    )]
    NoToolchain,
    #[error("building {source_dir} failed; cargo says:\n{output}")]
    Cargo { source_dir: PathBuf, output: String },
    #[error(
        "{source_dir} builds no library for wasm: set `crate-type = [\"cdylib\", \"rlib\"]` under [lib]"
    )]
    NoLibrary { source_dir: PathBuf },
    #[error("{0} names no package: a plugin is one, with `name` under [package]")]
    NoPackage(PathBuf),
    #[error("{source_dir} cannot become a component: {reason}")]
    Component { source_dir: PathBuf, reason: String },
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
}

/// How this machine compiles to wasm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// The toolchain has the target's standard library.
    Target,
    /// Debian's compiler with its own sources of the standard library.
    Debian,
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_LINKERS: [&str; 3] =
    ["/usr/bin/wasm-ld-19", "/usr/bin/wasm-ld-20", "/usr/bin/wasm-ld"];

/// Builds the plugin in `source` and writes `<out>/<package name>.wasm`.
///
/// `target` is cargo's folder for intermediate files; several plugins can share one.
///
/// # Errors
/// See [`BuildError`].
pub fn build(source: &Path, out: &Path, target: &Path) -> Result<PathBuf, BuildError> {
    let source = source.canonicalize().map_err(|error| BuildError::Io(source.into(), error))?;
    if !source.join("Cargo.toml").is_file() {
        return Err(BuildError::NotRust(source));
    }
    // Cargo runs in the plugin's folder, and would take a relative path from there.
    let target =
        std::path::absolute(target).map_err(|error| BuildError::Io(target.into(), error))?;
    let route = route()?;
    let io = |error| BuildError::Io(target.clone(), error);
    let _claim = sources::claim(&target).map_err(io)?;
    let packages = local_packages(&source, route)?;
    let mut notes = Notes::read(&target);
    forget(&notes.changed(&packages), &source, &target, route)?;
    let notes = notes.with(&packages);
    let module = compile(&source, &target, route)?;
    notes.write(&target).map_err(io)?;
    let bytes = std::fs::read(&module).map_err(|error| BuildError::Io(module.clone(), error))?;
    let component = core_module::componentize(&bytes).map_err(|error| BuildError::Component {
        source_dir: source.clone(),
        reason: format!("{error:#}"),
    })?;
    std::fs::create_dir_all(out).map_err(|error| BuildError::Io(out.into(), error))?;
    let file = out.join(format!("{}.wasm", package_name(&source)?));
    write_if_changed(&file, &component)?;
    Ok(file)
}

/// Not the module's: cargo names that after the library, with `-` made `_`.
fn package_name(source: &Path) -> Result<String, BuildError> {
    let manifest = source.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest);
    let text = text.map_err(|error| BuildError::Io(manifest.clone(), error))?;
    let table = text.parse::<toml::Table>().ok();
    let name = table.as_ref().and_then(|table| table.get("package")?.get("name")?.as_str());
    name.map(str::to_owned).ok_or(BuildError::NoPackage(manifest))
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

fn route() -> Result<Route, BuildError> {
    let printed = clean("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    if let Ok(printed) = printed
        && printed.status.success()
        && Path::new(String::from_utf8_lossy(&printed.stdout).trim()).is_dir()
    {
        return Ok(Route::Target);
    }
    let sources = clean(DEBIAN_RUSTC).args(["--print", "sysroot"]).output();
    let has_sources = sources.is_ok_and(|printed| {
        let sysroot = String::from_utf8_lossy(&printed.stdout).trim().to_owned();
        Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml").exists()
    });
    if has_sources && Path::new(DEBIAN_CARGO).exists() && debian_linker().is_some() {
        return Ok(Route::Debian);
    }
    Err(BuildError::NoToolchain)
}

fn debian_linker() -> Option<&'static str> {
    DEBIAN_LINKERS.into_iter().find(|linker| Path::new(linker).exists())
}

/// A command without what a surrounding cargo leaves in the environment.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let inherited =
            name.starts_with("CARGO") && name != "CARGO_HOME" && name != "CARGO_NET_OFFLINE";
        if inherited
            || name.starts_with("RUSTC")
            || name == "RUSTFLAGS"
            || name == "RUSTUP_TOOLCHAIN"
        {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// Cargo, as this route needs it.
fn cargo(source: &Path, route: Route) -> Command {
    let mut cargo = match route {
        Route::Target => clean("cargo"),
        Route::Debian => {
            let mut cargo = clean(DEBIAN_CARGO);
            cargo.env("RUSTC", DEBIAN_RUSTC);
            cargo
        }
    };
    cargo.current_dir(source);
    cargo
}

/// What it printed, if all went well.
fn run(mut cargo: Command, source: &Path) -> Result<Vec<u8>, BuildError> {
    let output = cargo.output().map_err(|error| BuildError::Io(source.into(), error))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(BuildError::Cargo {
            source_dir: source.into(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

/// The plugin, and what it needs that lies on this machine.
fn local_packages(source: &Path, route: Route) -> Result<Vec<Package>, BuildError> {
    let mut cargo = cargo(source, route);
    cargo.args(["metadata", "--format-version=1"]);
    let printed = run(cargo, source)?;
    sources::packages(&printed).map_err(|error| BuildError::Cargo {
        source_dir: source.into(),
        output: format!("the output of `cargo metadata` is invalid: {error}"),
    })
}

/// Has cargo build these anew, whatever it takes for built already.
fn forget(
    packages: &[&Package],
    source: &Path,
    target: &Path,
    route: Route,
) -> Result<(), BuildError> {
    if packages.is_empty() {
        return Ok(());
    }
    let mut cargo = cargo(source, route);
    cargo.args(["clean", "--release", "--target", TARGET, "--target-dir"]).arg(target);
    for package in packages {
        cargo.args(["-p", &package.spec()]);
    }
    run(cargo, source).map(drop)
}

fn compile(source: &Path, target: &Path, route: Route) -> Result<PathBuf, BuildError> {
    let mut cargo = cargo(source, route);
    match route {
        Route::Target => {}
        Route::Debian => {
            cargo
                // The standard library is built from source, which only nightly compilers offer unasked.
                .env("RUSTC_BOOTSTRAP", "1")
                .env(
                    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
                    debian_linker().unwrap_or_default(),
                )
                .arg("-Zbuild-std=std,panic_abort");
        }
    }
    cargo
        .args(["build", "--release", "--message-format=json-render-diagnostics"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(target);
    let printed = run(cargo, source)?;
    module_of(&printed, source).ok_or_else(|| BuildError::NoLibrary { source_dir: source.into() })
}

/// The wasm file that cargo says it made of the package in `source`.
fn module_of(messages: &[u8], source: &Path) -> Option<PathBuf> {
    let manifest = source.join("Cargo.toml");
    String::from_utf8_lossy(messages).lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        if message["reason"] != "compiler-artifact"
            || Path::new(message["manifest_path"].as_str()?) != manifest
        {
            return None;
        }
        let files = message["filenames"].as_array()?.iter().filter_map(|file| file.as_str());
        files.map(PathBuf::from).find(|file| file.extension().is_some_and(|e| e == "wasm"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_named_after_its_package() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("Cargo.toml");
        std::fs::write(&manifest, "[package]\nname = 'a_b-c'\n[lib]\nname = 'other'").unwrap();
        assert_eq!(package_name(folder.path()).unwrap(), "a_b-c");
        std::fs::write(&manifest, "[workspace]").unwrap();
        let error = package_name(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("names no package: a plugin is one, with `name` under [package]"));
    }
}
