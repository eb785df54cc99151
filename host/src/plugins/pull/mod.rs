//! Downloads components from OCI registries. Source of the layout: "Wasm OCI Artifacts" of the
//! CNCF's runtime group: a manifest with the configuration's type
//! `application/vnd.wasm.config.v0+json` and one layer of `application/wasm`.
//!
//! A download is checked by its digests, and with the checks of a host. Only then it is put among
//! the plugins, as a whole.

mod credentials;
mod place;
mod registry;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use oci_client::Reference;
use sagabox_engine::model::Manifest;

use crate::io::files;
use crate::plugins::trust::{self, LockFile};
use crate::plugins::wasm;
use registry::{Artifact, Registry};

/// A component that was put among the plugins.
pub struct Pulled {
    pub path: PathBuf,
    /// SHA-256 of the component.
    pub digest: String,
    /// The reference, with the digest of the artifact's manifest.
    pub source: String,
    pub plugins: Vec<Manifest>,
    pub is_signed: bool,
    pub is_pinned: bool,
}

/// How the client connects to registries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether to use HTTP without TLS. Registries on this machine are always reached without
    /// TLS.
    pub plain_http: bool,
}

/// Reads a reference: `REGISTRY/REPOSITORY` with `:TAG` or `@sha256:DIGEST`, with or without
/// `oci://`.
///
/// # Errors
/// If the text is not a reference.
pub fn reference(text: &str) -> Result<Reference, String> {
    text.strip_prefix("oci://").unwrap_or(text).parse().map_err(|error| {
        format!("`{text}` is not a reference such as registry.example/sagas/order:1.2.0: {error}")
    })
}

/// # Errors
/// If it is not a plain name of a file that a host takes for a plugin.
pub fn check_name(file: &str) -> Result<(), String> {
    let is_plain = Path::new(file).file_name() == Some(file.as_ref()) && !file.starts_with('.');
    match is_plain && wasm::is_component(Path::new(file)) {
        true => Ok(()),
        false => Err(not_a_name(file)),
    }
}

/// Checks the name of a file that the lock file pins: of a plugin or of a candidate.
fn check_pinned(file: &str) -> Result<(), String> {
    let in_folder = file.strip_prefix(trust::CANDIDATES).and_then(|rest| rest.strip_prefix('/'));
    check_name(in_folder.unwrap_or(file)).map_err(|_| not_a_name(file))
}

fn not_a_name(file: &str) -> String {
    format!("`{file}` is not a name for a component file; use NAME.wasm")
}

/// The default name of the file.
#[must_use]
pub fn file_name(reference: &Reference) -> String {
    let repository = reference.repository();
    format!("{}.wasm", repository.rsplit('/').next().unwrap_or(repository))
}

/// The settings with which the host of the directory will load the component.
#[derive(Clone)]
pub struct AsHost {
    pub sandbox: wasm::Settings,
    /// Each plugin's own settings, as JSON.
    pub configurations: HashMap<String, String>,
}

/// Pulls a component into a directory of plugins, as a file of this name.
///
/// # Errors
/// If the registry does not have it, if its digest differs, or if a host would refuse it. Then
/// nothing in the directory has changed.
pub async fn pull(
    reference: &Reference,
    (directory, file): (&Path, &str),
    host: &AsHost,
    options: Options,
) -> anyhow::Result<Pulled> {
    let artifact = fetch(reference, options).await?;
    place(artifact, directory, file, host).await
}

/// The outcome for a file that the lock file pins.
pub enum Restored {
    Pulled(Pulled),
    /// The file has the pinned digest.
    Unchanged(PathBuf),
    /// The file does not have the pinned digest, and the lock file does not name its source.
    Unknown(PathBuf),
}

/// Pulls the pinned files that are missing or have another digest.
///
/// # Errors
/// As `pull`, and if the digest of a download is not the pinned one.
pub async fn restore(
    directory: &Path,
    host: &AsHost,
    options: Options,
) -> anyhow::Result<Vec<Restored>> {
    let lock = LockFile::read(directory).map_err(anyhow::Error::msg)?;
    let lock = lock.with_context(|| {
        format!("no lock file found in {}; give the reference of a component", directory.display())
    })?;
    let mut restored: Vec<Restored> = Vec::new();
    let mut last = None;
    // One file may have several plugins, whose entries are next to each other.
    for pinned in lock.plugins() {
        if last.replace(&pinned.file) == Some(&pinned.file) {
            continue;
        }
        check_pinned(&pinned.file).map_err(|why| anyhow::anyhow!("the lock file: {why}"))?;
        let path = directory.join(&pinned.file);
        let read = files::bytes(&path, host.sandbox.component_bytes);
        let is_there = read.is_ok_and(|bytes| pinned.is(&crate::decisions::digest::digest(&bytes)));
        restored.push(match (&pinned.source, is_there) {
            (_, true) => Restored::Unchanged(path),
            (None, false) => Restored::Unknown(path),
            (Some(source), false) => {
                let reference = reference(source).map_err(anyhow::Error::msg)?;
                let artifact = fetch(&reference, options).await?;
                let digest = crate::decisions::digest::digest(&artifact.bytes);
                anyhow::ensure!(
                    pinned.is(&digest),
                    "{source} holds sha256:{digest}, and the lock file pins another for {}",
                    pinned.file
                );
                Restored::Pulled(place(artifact, directory, &pinned.file, host).await?)
            }
        });
    }
    Ok(restored)
}

async fn place(
    artifact: Artifact,
    directory: &Path,
    file: &str,
    host: &AsHost,
) -> anyhow::Result<Pulled> {
    let (directory, file, host) = (directory.to_owned(), file.to_owned(), host.clone());
    // Compiling a component takes seconds of pure computation.
    tokio::task::spawn_blocking(move || place::place(&artifact, &directory, &file, &host)).await?
}

async fn fetch(reference: &Reference, options: Options) -> anyhow::Result<Artifact> {
    let registry = Registry::of(reference, options.plain_http).await?;
    registry.fetch(reference).await.with_context(|| format!("pull {reference}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_as_the_repository() {
        let named = |text| file_name(&reference(text).unwrap());
        assert_eq!(named("oci://registry.example/sagas/order:1.2.0"), "order.wasm");
        assert_eq!(named("localhost:5000/order"), "order.wasm");
        assert!(
            reference("Registry.example/Sagas")
                .unwrap_err()
                .starts_with("`Registry.example/Sagas` is no")
        );
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        for name in ["", ".", "..", "../a.wasm", "a/b.wasm", "/a.wasm", "a.wasm/", ".a.wasm"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["sagabox.lock", "a.wasm.minisig", "sagabox.db", "a"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert_eq!(check_name("a.wasm"), Ok(()));
    }
}
