//! SQLite's errors in plain words: what is wrong, where, and what to do.

use std::path::Path;

use rustix::process::{Resource, getrlimit};
use sagabox_engine::seams::store::ReadError;
use thiserror::Error;

use super::open;

/// Source: SQLite's list of result codes; extended codes carry the primary one in their low byte.
/// A write that the system refused for another reason than a full disk.
const IO_WRITE: i32 = IO + 3 * 256;
const BUSY: i32 = 5;
const READ_ONLY: i32 = 8;
const IO: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANNOT_OPEN: i32 = 14;
const TOO_BIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const RANGE: i32 = 25;
const NO_DATABASE: i32 = 26;

/// On the connection that writes.
#[derive(Debug, Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A row is there, and not understood.
    #[error("{0}")]
    Damaged(String),
    /// A file of the store is not there.
    #[error("{0}")]
    Files(String),
}

/// An error that may be SQLite's own.
pub(super) trait Trouble: std::fmt::Display {
    /// The extended result code; none if the error does not come from SQLite itself.
    fn extended(&self) -> Option<i32>;

    /// The primary result code.
    fn code(&self) -> Option<i32> {
        self.extended().map(|code| code & 0xff)
    }
}

impl Trouble for sqlx::Error {
    fn extended(&self) -> Option<i32> {
        self.as_database_error()?.code()?.parse().ok()
    }
}

impl Trouble for WriteError {
    fn extended(&self) -> Option<i32> {
        match self {
            Self::Sqlite(rusqlite::Error::SqlInputError { error, .. }) => Some(error.extended_code),
            Self::Sqlite(error) => Some(error.sqlite_error()?.extended_code),
            Self::Damaged(_) | Self::Files(_) => None,
        }
    }
}

/// Whether the file could not grow: the disk is full, or the process must not write larger files.
pub(super) fn is_full(path: &Path, error: &impl Trouble) -> bool {
    error.code() == Some(FULL) || is_at_limit(path, error)
}

/// Whether a file of the store has the size that the process may write at most (`ulimit -f`). SQLite
/// knows a full disk, and takes the system's answer to such a write (`EFBIG`) for a broken one.
fn is_at_limit(path: &Path, error: &impl Trouble) -> bool {
    if error.extended() != Some(IO_WRITE) {
        return false;
    }
    let Some(limit) = getrlimit(Resource::Fsize).current else { return false };
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    [path, Path::new(&log)].into_iter().any(|file| {
        // A page that begins below the limit is not written in part.
        file.metadata().is_ok_and(|file| file.len() + u64::from(open::PAGE_BYTES) > limit)
    })
}

/// Whether the rows of a batch are at fault, and not the store: other rows can be written.
pub(super) fn is_of_rows(error: &impl Trouble) -> bool {
    match error.code() {
        Some(code) => matches!(code, TOO_BIG | CONSTRAINT | MISMATCH | RANGE),
        // SQLite has no type for a value, or a stored row that it changes is not understood.
        None => true,
    }
}

pub(super) fn plainly(path: &Path, error: &impl Trouble) -> String {
    let is_at_limit = is_at_limit(path, error);
    let path = path.display();
    if is_at_limit {
        return format!(
            "{path} has the largest size that this process may write; raise its limit for the size of \
             files (`ulimit -f`, LimitFSIZE of systemd) and work resumes"
        );
    }
    match error.code() {
        Some(FULL) => {
            format!("the disk is full, {path} cannot grow; free some space and work resumes")
        }
        Some(READ_ONLY) => format!(
            "{path} is read-only; make the file and its directory writable; the host then continues"
        ),
        Some(BUSY) => {
            format!("another program holds a lock on {path}; end its transaction and work resumes")
        }
        Some(IO) => format!(
            "the disk that holds {path} fails ({error}); look at the system's log, and restore a \
             backup if the disk is lost"
        ),
        Some(CORRUPT | NO_DATABASE) => format!(
            "{path} is damaged ({error}); stop the host, keep a copy of the file, and restore a backup"
        ),
        Some(CANNOT_OPEN) => format!(
            "{path} cannot be opened ({error}); check that the file and its directory \
             exist and are writable"
        ),
        _ => format!("{path}: {error}"),
    }
}

pub(super) fn unreadable(path: &Path, error: &impl Trouble) -> ReadError {
    ReadError(format!("the store cannot be read: {}", plainly(path, error)))
}

/// Where rows are decoded within a function that answers with SQLite's errors.
pub(super) fn undecodable(error: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::Decode(error.to_string().into())
}

/// The same on the connection that writes.
pub(super) fn damaged(error: impl std::fmt::Display) -> WriteError {
    WriteError::Damaged(error.to_string())
}
