//! SQLite's errors in plain words: what is wrong, where, and what to do.

use std::path::Path;

use sagabox_engine::store::ReadError;
use sqlx::Error;

/// Source: SQLite's list of result codes; extended codes carry the primary one in their low byte.
const BUSY: i32 = 5;
const READ_ONLY: i32 = 8;
const IO: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANNOT_OPEN: i32 = 14;
const NO_DATABASE: i32 = 26;

/// None if the error does not come from SQLite itself.
fn code(error: &Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|code| code & 0xff)
}

pub(super) fn is_full(error: &Error) -> bool {
    code(error) == Some(FULL)
}

/// Whether SQLite itself answered: otherwise its thread is gone, or the row is not understood.
pub(super) fn is_answer(error: &Error) -> bool {
    code(error).is_some()
}

pub(super) fn plainly(path: &Path, error: &Error) -> String {
    let path = path.display();
    match code(error) {
        Some(FULL) => {
            format!("the disk is full, {path} cannot grow; free some space and work resumes")
        }
        Some(READ_ONLY) => format!(
            "{path} is read-only; make the file and its directory writable and work resumes"
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
            "{path} cannot be opened ({error}); see that the file and its directory are there and \
             can be written"
        ),
        _ => format!("{path}: {error}"),
    }
}

pub(super) fn unreadable(path: &Path, error: &Error) -> ReadError {
    ReadError(format!("the store cannot be read: {}", plainly(path, error)))
}

/// Where rows are decoded within a function that answers with SQLite's errors.
pub(super) fn undecodable(error: impl std::fmt::Display) -> Error {
    Error::Decode(error.to_string().into())
}
