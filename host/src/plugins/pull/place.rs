//! Puts a downloaded component among the plugins.

use std::path::Path;

use anyhow::Context as _;

use super::registry::Artifact;
use super::{AsHost, Pulled};
use crate::io::files;
use crate::plugins::trust::{self, LockFile, LockRule, Policy};
use crate::plugins::wasm::{self, LoadedPlugin, Sandbox};

/// # Errors
/// If a host would refuse it, or it cannot be written.
pub(crate) fn place(
    artifact: &Artifact,
    directory: &Path,
    file: &str,
    host: &AsHost,
) -> anyhow::Result<Pulled> {
    let path = directory.join(file);
    let (bytes, source) = (&artifact.bytes, &artifact.source);
    let trust = &host.sandbox.trust;
    // A signature may be there already, from another source.
    let there = || files::text(&trust::beside(&path), files::TEXT_BYTES_MAX).ok();
    let signature = artifact.signature.clone().or_else(there);
    let signed = trust.verify(bytes, signature.as_deref(), source);
    let plugins = signed.and_then(|()| load(&path, bytes, host));
    let plugins = plugins.map_err(|reason| anyhow::anyhow!("a host refuses {source}: {reason}"))?;
    let home = &trust::home_of(&path);
    let before = LockFile::read(home).map_err(anyhow::Error::msg)?;
    let own = plugins.iter().map(|plugin| plugin.pinned(home).pulled_from(source)).collect();
    let lock = match before {
        Some(lock) => Some(lock.with(&trust::name_in(home, &path), own)),
        None if trust.lock == LockRule::Demanded || is_alone(home, &path) => {
            Some(LockFile::new(own))
        }
        None => None,
    };
    let writing = || format!("write {}", path.display());
    let (folder, name) = (path.parent().unwrap_or(directory), Path::new(file).file_name());
    let name = name.unwrap_or_default().to_string_lossy();
    std::fs::create_dir_all(folder).with_context(writing)?;
    // The three files are written at once, in less time than a host waits between two looks, so
    // the host finds them together.
    if let Some(signature) = &artifact.signature {
        let beside = trust::beside(Path::new(&*name));
        files::put(folder, &beside.to_string_lossy(), signature.as_bytes())
            .with_context(writing)?;
    }
    files::put(folder, &name, bytes).with_context(writing)?;
    if let Some(lock) = &lock {
        lock.write(home).with_context(|| format!("write {}", trust::FILE))?;
    }
    Ok(Pulled {
        digest: crate::decisions::digest::digest(bytes),
        source: source.clone(),
        plugins: plugins.iter().map(|plugin| plugin.handler.manifest().clone()).collect(),
        is_signed: signature.is_some() && !trust.keys.is_empty(),
        is_pinned: lock.is_some(),
        path,
    })
}

fn load(path: &Path, bytes: &[u8], host: &AsHost) -> Result<Vec<LoadedPlugin>, String> {
    // The component is checked already, and will be pinned.
    let trust = Policy::default();
    let sandbox = Sandbox::new(wasm::Settings { trust, ..host.sandbox.clone() });
    let sandbox = sandbox.map_err(|error| format!("{error:#}"))?;
    wasm::load((path, &trust::home_of(path)), bytes, &sandbox, &host.configurations)
        .map_err(|unfit| unfit.to_string())
}

/// Whether the directory has no other component. A new lock file would make a host refuse the
/// components that are already there.
fn is_alone(directory: &Path, path: &Path) -> bool {
    let listing = wasm::list(directory).unwrap_or_default();
    listing.components.iter().all(|file| file == path)
}
