//! Plugins in Rust: a core module for `wasm32-unknown-unknown`, built by cargo in one of the ways
//! that the machine may offer.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::clean;
use super::sources::{self, Notes, Package};
use super::{BuildError, Language, Project};

const TARGET: &str = "wasm32-unknown-unknown";
const INSTALL: &str = "  rustup target add wasm32-unknown-unknown\n  or, on Debian: apt-get install \
                       --no-install-recommends rustc-web cargo-web rust-web-src lld-19";

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

/// Builds the core module.
pub(super) fn build(project: &Project) -> Result<Vec<u8>, BuildError> {
    let (source, target) = (&project.folder, &project.target);
    let route = route()?;
    let io = |error| BuildError::Io(target.clone(), error);
    let _claim = sources::claim(target).map_err(io)?;
    let packages = local_packages(source, route)?;
    let mut notes = Notes::read(target);
    forget(&notes.changed(&packages), source, target, route)?;
    let notes = notes.with(&packages);
    let module = compile(source, target, route)?;
    notes.write(target).map_err(io)?;
    std::fs::read(&module).map_err(|error| BuildError::Io(module, error))
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
    Err(BuildError::NoToolchain {
        language: Language::Rust,
        missing: format!("Rust cannot compile to {TARGET} here"),
        install: INSTALL,
    })
}

fn debian_linker() -> Option<&'static str> {
    DEBIAN_LINKERS.into_iter().find(|linker| Path::new(linker).exists())
}

/// Cargo with the settings of this route.
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

/// Returns the output if the command succeeded.
fn run(mut cargo: Command, source: &Path) -> Result<Vec<u8>, BuildError> {
    let output = cargo.output().map_err(|error| BuildError::Io(source.into(), error))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(BuildError::Failed {
            source_dir: source.into(),
            program: "cargo",
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

/// The plugin, and the packages that it needs and whose sources are on this machine.
fn local_packages(source: &Path, route: Route) -> Result<Vec<Package>, BuildError> {
    let mut cargo = cargo(source, route);
    cargo.args(["metadata", "--format-version=1"]);
    let printed = run(cargo, source)?;
    sources::packages(&printed).map_err(|error| BuildError::Failed {
        source_dir: source.into(),
        program: "cargo",
        output: format!("the output of `cargo metadata` is invalid: {error}"),
    })
}

/// Makes cargo build these packages again, even if it takes them to be up to date.
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
                // The standard library is built from source, which only nightly compilers offer
                // without this variable.
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

/// The wasm file that cargo reports for the package in `source`.
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
