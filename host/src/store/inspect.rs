//! What can be said of a store's files from outside, beside a running host and without a change:
//! whose they are, who can read them, and whether the disk has room.
//!
//! It opens no connection to the database. In the process of a host that would cost SQLite's
//! locks, so only commands that run beside a host call it.

use std::fs::TryLockError;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::open::{self, OpenError, WAL, with_suffix};

/// The files of a store.
#[derive(Debug)]
pub struct Inspection {
    /// The database.
    pub path: PathBuf,
    /// None if there is no database yet.
    pub found: Option<Found>,
    /// Bytes that an unprivileged process can still write in the store's directory.
    pub free_bytes: u64,
}

/// A database that exists.
#[derive(Debug)]
pub struct Found {
    /// The size of the database and its log.
    pub bytes: u64,
    /// The permission bits of the database.
    pub mode: u32,
    /// Whether a process has it open.
    pub is_in_use: bool,
}

/// Looks at the files of a store. Takes the URLs that [`super::connect::connect`] takes.
///
/// # Errors
/// If the URL names no store, the file is not a store that this version can open, or the
/// operating system does not say.
pub fn inspect(url: &str) -> Result<Inspection, OpenError> {
    let path = open::path_of(url)?;
    open::check_header(&path)?;
    let io = |error: std::io::Error| OpenError::Io { path: path.clone(), why: error.to_string() };
    let found = match std::fs::metadata(&path) {
        Ok(metadata) => {
            let log = std::fs::metadata(with_suffix(&path, WAL)).map_or(0, |log| log.len());
            let mode = metadata.permissions().mode() & 0o777;
            let is_in_use = is_in_use(&path).map_err(io)?;
            Some(Found { bytes: metadata.len() + log, mode, is_in_use })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(io(error)),
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let disk = rustix::fs::statvfs(directory).map_err(|error| io(error.into()))?;
    Ok(Inspection { found, free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize), path })
}

/// A host holds the lock file for as long as it runs.
fn is_in_use(path: &Path) -> std::io::Result<bool> {
    let name = with_suffix(&path.canonicalize()?, open::LOCK);
    let file = match std::fs::File::open(&name) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(path: &Path) -> String {
        format!("sqlite:{}", path.display())
    }

    #[tokio::test]
    async fn a_store_is_found_and_known_to_be_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let nothing = inspect(&url(&path)).unwrap();
        assert!(nothing.found.is_none() && nothing.free_bytes > 0);
        assert!(!path.exists(), "looking creates nothing");

        let store = super::super::SqliteStore::open(&url(&path)).await.unwrap();
        let open = inspect(&url(&path)).unwrap().found.unwrap();
        assert!(open.is_in_use && open.bytes > 0);
        assert_eq!(open.mode, 0o600);
        drop(store);
    }

    #[test]
    fn a_file_of_another_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        std::fs::write(&path, "not a database").unwrap();
        assert!(matches!(inspect(&url(&path)), Err(OpenError::Foreign { .. })));
    }
}
