//! Where compiled components are kept: a host has a folder beside its plugins, and commands share
//! one in the user's cache. `SAGABOX_CACHE` names another folder for both, or switches the cache
//! off.

use std::io;
use std::path::PathBuf;

use tempfile::TempDir;

use super::cache::Cache;
use crate::io::user_cache;

/// Its value is a folder, or `off`.
pub const VARIABLE: &str = "SAGABOX_CACHE";
const OFF: &str = "off";
/// The subfolder of the named or usual folder. It becomes private, and a folder that a user names
/// may contain other files.
const FOLDER: &str = "components";
/// The plugins of a host, with their candidates and some earlier versions.
const HOST_BYTES_MAX: u64 = 1 << 30;
/// The plugins of all projects of a user. A plugin in Python takes 60 MB, one in Rust 0.2 MB.
const USER_BYTES_MAX: u64 = 4 << 30;

/// Whether and where compiled components are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheSettings {
    /// None: each component is compiled when it is loaded.
    pub folder: Option<PathBuf>,
    pub bytes_max: u64,
    /// Whether a component that exceeded the limits of compiling is refused without another
    /// attempt. A host that starts again must not spend the whole limit each time. A command tries
    /// again, because its user may have freed memory on the machine.
    pub keeps_refusals: bool,
}

/// The content of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheContent {
    pub components: usize,
    pub bytes: u64,
}

impl CacheSettings {
    /// The settings of a host, whose folder is `usual` unless the environment names another one.
    #[must_use]
    pub fn of_host(usual: PathBuf) -> Self {
        let folder = chosen(Some(usual.clone()));
        // A host must not remove the entries of commands.
        let is_own = folder.as_ref() == Some(&usual);
        let bytes_max = if is_own { HOST_BYTES_MAX } else { USER_BYTES_MAX };
        Self { folder, bytes_max, keeps_refusals: true }
    }

    /// The settings of commands.
    #[must_use]
    pub fn of_user() -> Self {
        let folder = chosen(user_cache::folder(FOLDER));
        Self { folder, bytes_max: USER_BYTES_MAX, keeps_refusals: false }
    }

    /// The same if its folder can be used; otherwise with a temporary folder that is removed with
    /// the second value. For a command that loads a component more than once.
    ///
    /// # Errors
    /// If a temporary folder is needed and cannot be made.
    pub fn or_temporary(&self) -> io::Result<(Self, Option<TempDir>)> {
        if let Some(folder) = &self.folder
            && Cache::open(folder, self).is_ok()
        {
            return Ok((self.clone(), None));
        }
        let temporary = tempfile::tempdir()?;
        let folder = Some(temporary.path().join(FOLDER));
        Ok((Self { folder, ..Self::of_user() }, Some(temporary)))
    }

    /// The content of the folder; none if it does not exist yet.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn content(&self) -> io::Result<Option<CacheContent>> {
        let Some(folder) = self.folder.as_ref().filter(|folder| folder.exists()) else {
            return Ok(None);
        };
        let (components, bytes) = Cache::open(folder, self)?.content()?;
        Ok(Some(CacheContent { components, bytes }))
    }
}

/// The folder that the environment names, or otherwise the usual one.
fn chosen(usual: Option<PathBuf>) -> Option<PathBuf> {
    match user_cache::variable_path(VARIABLE) {
        Some(path) if path.as_os_str() == OFF => None,
        Some(path) => Some(path.join(FOLDER)),
        None => usual,
    }
}
