//! Which components may serve: those that a trusted key has signed, and that the lock
//! file pins, as far as either is asked for.
//!
//! Judged in one place, `wasm::load`, before anything of the file is compiled, and on
//! the very bytes that are loaded. A signature says who made a component, the lock file
//! which versions somebody wanted here. Knows files and keys, not components.

mod lock;
mod signature;

use std::path::{Path, PathBuf};

use crate::plugins::wasm;

pub use lock::{FILE, LockFile, Pinned};
pub use signature::{Key, beside};

/// What is asked of a component. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// One of them must have signed the component. None: it needs no signature.
    pub keys: Vec<Key>,
    pub lock: LockRule,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LockRule {
    /// For tools that look at what may not be trusted yet.
    #[default]
    Ignored,
    /// A lock file beside the component counts.
    WhenThere,
    /// Without a lock file nothing serves.
    Demanded,
}

impl Policy {
    /// # Errors
    /// Says why a file with this content must not serve, and what would let it.
    pub fn judge(
        &self,
        path: &Path,
        home: &Path,
        bytes: &[u8],
        digest: &str,
    ) -> Result<(), String> {
        if !self.keys.is_empty() {
            signature::verify_beside(&self.keys, path, bytes)?;
        }
        self.pinned(path, home, digest)
    }

    /// Whether the lock file in `home` has this digest, if one is asked for.
    ///
    /// # Errors
    /// Says why the file is not pinned.
    pub fn pinned(&self, path: &Path, home: &Path, digest: &str) -> Result<(), String> {
        if self.lock == LockRule::Ignored {
            return Ok(());
        }
        match LockFile::read(home)? {
            Some(lock) => lock.admit(home, path, digest),
            None if self.lock == LockRule::WhenThere => Ok(()),
            None => Err(format!(
                "no {FILE} exists next to it, and `locked = true` under [plugins] \
                 requires one; `{}` creates it",
                lock::command(home)
            )),
        }
    }

    /// The signature of a component that is not among the plugins yet.
    ///
    /// # Errors
    /// Says why it must not serve.
    pub fn verify(&self, bytes: &[u8], signature: Option<&str>, name: &str) -> Result<(), String> {
        match (self.keys.as_slice(), signature) {
            ([], _) => Ok(()),
            (_, None) => Err(format!("{name} is not signed, and [plugins] has `keys`")),
            (keys, Some(signature)) => signature::verify(keys, bytes, signature, name),
        }
    }
}

/// Whether it is no component, but says something of those beside it.
#[must_use]
pub fn is_companion(path: &Path) -> bool {
    is_lock(path) || signature::is_signature(path)
}

/// The directory whose lock file counts for a component that is looked at by itself. Whoever
/// looks at a whole directory knows: it is that one.
///
/// A candidate is pinned like what it may become, by the directory above; but a directory of
/// plugins may have this name itself, and then has a lock file of its own.
#[must_use]
pub fn home_of(component: &Path) -> PathBuf {
    let folder = component.parent().unwrap_or(Path::new(""));
    let named = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let real = named.canonicalize();
    let name = real.as_deref().unwrap_or(folder).file_name();
    match name.is_some_and(|name| name == wasm::CANDIDATES) && !folder.join(FILE).exists() {
        true => match folder.parent().filter(|_| folder.file_name().is_some()) {
            Some(parent) => parent.to_owned(),
            None => named.join(".."),
        },
        false => folder.to_owned(),
    }
}

/// What the lock file of a directory calls a component.
#[must_use]
pub fn name_in(directory: &Path, component: &Path) -> String {
    component.strip_prefix(directory).unwrap_or(component).to_string_lossy().into_owned()
}

#[must_use]
pub fn is_lock(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == FILE)
}

#[cfg(test)]
mod tests;
