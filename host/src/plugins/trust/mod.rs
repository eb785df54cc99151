//! Decides which components may serve: those that a trusted key has signed and that the lock
//! file pins, as far as the settings require either.
//!
//! `wasm::load` alone applies this, before anything of the file is compiled, and to the bytes that
//! are loaded. A signature says who made a component; the lock file says which versions the
//! operator wants here. This module knows files and keys, not components.

mod lock;
mod signature;

use std::path::{Path, PathBuf};

pub use lock::{FILE, LockFile, Pinned};
pub use signature::{Key, beside};

/// A folder of the plugin directory, with versions that are tried beside those that serve. The lock
/// file of the directory pins them too.
pub const CANDIDATES: &str = "candidates";

/// What a component must have to serve. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The keys, of which one must have signed the component. Empty: no signature is needed.
    pub keys: Vec<Key>,
    pub lock: LockRule,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LockRule {
    /// No lock file is read. For tools that read components which need not be trusted yet.
    #[default]
    Ignored,
    /// The lock file applies if it exists.
    WhenThere,
    /// Without a lock file, no component serves.
    Demanded,
}

impl Policy {
    /// # Errors
    /// Says why a file with this content must not serve, and what the operator can do.
    pub fn check(
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

    /// Checks that the lock file in `home` has this digest, if the settings require a lock file.
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

    /// Checks the signature of a component that is not among the plugins yet.
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

/// Whether a file is not a component, but a companion of the components beside it.
#[must_use]
pub fn is_companion(path: &Path) -> bool {
    is_lock(path) || signature::is_signature(path)
}

/// The directory whose lock file applies to a component that is read alone. Code that reads a
/// whole directory uses that directory.
///
/// A candidate is pinned in the directory above, like the plugin that it may become. A plugin
/// directory may itself be called `candidates`; then it has its own lock file.
#[must_use]
pub fn home_of(component: &Path) -> PathBuf {
    let folder = component.parent().unwrap_or(Path::new(""));
    let named = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let real = named.canonicalize();
    let name = real.as_deref().unwrap_or(folder).file_name();
    match name.is_some_and(|name| name == CANDIDATES) && !folder.join(FILE).exists() {
        true => match folder.parent().filter(|_| folder.file_name().is_some()) {
            Some(parent) => parent.to_owned(),
            None => named.join(".."),
        },
        false => folder.to_owned(),
    }
}

/// The name of a component in the lock file of a directory.
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
