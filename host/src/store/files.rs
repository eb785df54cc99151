//! The files of a store that is open. A commit to files that no longer have their names is
//! lost: the next host finds others there, or none. So each commit looks once more before it
//! is acknowledged.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::open::{WAL, with_suffix};

/// Device and inode.
pub(super) type FileId = (u64, u64);

pub(super) fn id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// The database and its log, as they were opened. They are looked at by their names alone:
/// to close a descriptor of theirs would give up SQLite's locks.
#[derive(Debug)]
pub(super) struct Files {
    database: (PathBuf, FileId),
    log: (PathBuf, FileId),
}

impl Files {
    /// Of a database that has a connection in WAL mode.
    ///
    /// # Errors
    /// If one of the files is not there.
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        // SQLite has the log beside the file itself, also if it is opened by a link.
        let path = path.canonicalize()?;
        let named = |name: PathBuf| std::fs::metadata(&name).map(|found| (name, id(&found)));
        Ok(Self { log: named(with_suffix(&path, WAL))?, database: named(path)? })
    }

    /// The database alone: its log goes with its last connection.
    pub(crate) fn database(&self) -> &(PathBuf, FileId) {
        &self.database
    }

    /// # Errors
    /// Says which file has lost its name.
    pub(crate) fn check(&self) -> Result<(), String> {
        check(&self.database).and_then(|()| check(&self.log))
    }
}

/// # Errors
/// Says that the file has lost its name.
pub(super) fn check((name, opened): &(PathBuf, FileId)) -> Result<(), String> {
    let what = match std::fs::metadata(name) {
        Ok(metadata) if id(&metadata) == *opened => return Ok(()),
        Ok(_) => "was replaced by another file",
        Err(error) if error.kind() == ErrorKind::NotFound => "was moved or removed",
        // That says nothing about the file.
        Err(_) => return Ok(()),
    };
    Err(format!("{} {what} while this host ran", name.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_loses_its_name_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (database, log) = (folder.path().join("a.db"), folder.path().join("a.db-wal"));
        fs::write(&database, "d").unwrap();
        assert!(Files::of(&database).is_err());
        fs::write(&log, "w").unwrap();
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&database, &link).unwrap();
        let files = Files::of(&link).unwrap();
        assert_eq!(files.check(), Ok(()));
        for name in [&database, &log] {
            let aside = folder.path().join("aside");
            fs::rename(name, &aside).unwrap();
            let said = files.check().unwrap_err();
            assert!(said.contains("was moved or removed"), "{said}");
            fs::write(name, "other").unwrap();
            let said = files.check().unwrap_err();
            assert!(said.contains("was replaced by another file"), "{said}");
            fs::rename(&aside, name).unwrap();
            assert_eq!(files.check(), Ok(()));
        }
    }
}
