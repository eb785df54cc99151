//! From bytes that came over a network to a plugin among others.

use std::path::Path;

use anyhow::Context as _;

use super::Pulled;
use super::registry::Artifact;
use crate::config::Settings;
use crate::plugin::{self, LoadedPlugin, Sandbox};
use crate::trust::{self, LockFile, LockRule, Pinned, Policy};

/// # Errors
/// If a host would refuse it, or it cannot be written.
pub fn place(
    artifact: &Artifact,
    directory: &Path,
    file: &str,
    settings: &Settings,
) -> anyhow::Result<Pulled> {
    let path = directory.join(file);
    let (bytes, source) = (&artifact.bytes, &artifact.source);
    let trust = &settings.sandbox.trust;
    // One that came in another way may lie there already.
    let there = || std::fs::read_to_string(trust::beside(&path)).ok();
    let signature = artifact.signature.clone().or_else(there);
    let signed = trust.verify(bytes, signature.as_deref(), source);
    let plugins = signed.and_then(|()| load(&path, bytes, settings));
    let plugins = plugins.map_err(|reason| anyhow::anyhow!("a host refuses {source}: {reason}"))?;
    let before = LockFile::read(directory).map_err(anyhow::Error::msg)?;
    let own = plugins.iter().map(|plugin| pinned(plugin, file, source)).collect();
    let lock = match before {
        Some(lock) => Some(lock.with(file, own)),
        None if trust.lock == LockRule::Demanded || is_alone(directory, &path) => {
            Some(LockFile::new(own))
        }
        None => None,
    };
    let writing = || format!("write {}", path.display());
    std::fs::create_dir_all(directory).with_context(writing)?;
    // One right after the other: a host that follows the directory waits longer than this
    // takes, and finds the three together.
    if let Some(signature) = &artifact.signature {
        let name = trust::beside(Path::new(file));
        trust::put(directory, &name.to_string_lossy(), signature.as_bytes())
            .with_context(writing)?;
    }
    trust::put(directory, file, bytes).with_context(writing)?;
    if let Some(lock) = &lock {
        lock.write(directory).with_context(|| format!("write {}", trust::FILE))?;
    }
    Ok(Pulled {
        digest: plugin::digest(bytes),
        source: source.clone(),
        plugins: plugins.iter().map(|plugin| plugin.handler.manifest().clone()).collect(),
        is_signed: signature.is_some() && !trust.keys.is_empty(),
        is_pinned: lock.is_some(),
        path,
    })
}

fn load(path: &Path, bytes: &[u8], settings: &Settings) -> Result<Vec<LoadedPlugin>, String> {
    // It is judged already, and will be pinned.
    let trust = Policy::default();
    let sandbox = Sandbox::new(plugin::Settings { trust, ..settings.sandbox.clone() });
    let sandbox = sandbox.map_err(|error| format!("{error:#}"))?;
    plugin::load(path, bytes, &sandbox, &settings.configurations())
        .map_err(|unfit| unfit.to_string())
}

fn pinned(plugin: &LoadedPlugin, file: &str, source: &str) -> Pinned {
    let manifest = plugin.handler.manifest();
    let pinned = Pinned::new(file, manifest.name.as_str(), &manifest.version, &plugin.digest);
    pinned.pulled_from(source)
}

/// A lock file that comes by itself must not take out what was there before it.
fn is_alone(directory: &Path, path: &Path) -> bool {
    let files = plugin::files(directory).unwrap_or_default();
    files.iter().all(|file| file == path || trust::is_companion(file))
}
