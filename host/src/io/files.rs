//! Files: reading them, replacing them as a whole, noticing that they have changed, and naming
//! the line of a mistake.

mod reading;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(crate) use reading::{
    BYTE_ORDER_MARK, StoreGuard, TOKEN, Unreadable, bytes, guard_store, is_of_store, open, text,
};

/// The most bytes of a file that people write: a configuration, a lock file, a scenario. Some
/// thousand times the size of a long one.
pub(crate) const TEXT_BYTES_MAX: usize = 8 << 20;

/// Replaces a file by renaming a new one. A reader sees either the old or the new content. If
/// the disk is full, the old one stays.
///
/// # Errors
/// If it cannot be written; then nothing has changed.
pub(crate) fn put(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    // The name is hidden, so that a host does not take the file for a plugin.
    let mut builder = tempfile::Builder::new();
    builder.prefix(".put-");
    #[cfg(unix)]
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    // A temporary file is readable by its owner alone. This one becomes a permanent file.
    #[cfg(unix)]
    builder.permissions(readable);
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(directory.join(name)).map_err(|error| error.error)?;
    Ok(())
}

/// Removes a file, if it is there.
///
/// # Errors
/// If it exists and cannot be removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The text of a file; none if the file does not exist.
///
/// # Errors
/// If it exists and cannot be read. The error names the file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, String> {
    match text(path, TEXT_BYTES_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(format!("{} {error}", path.display())),
    }
}

/// The path with a suffix: `a.wasm.toml` for `a.wasm`.
#[must_use]
pub(crate) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// The metadata by which a change of a file is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: (u64, i64, i64),
}

impl Stamp {
    /// # Errors
    /// If it is not a regular file, or its metadata cannot be read.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt as _;

        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            // The time of change is included, because tools that copy files set the time of
            // modification.
            #[cfg(unix)]
            inode: (metadata.ino(), metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// The number of the line that has a place in a text, counting from 1.
#[must_use]
pub(crate) fn line_of(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|&byte| byte == b'\n').count() + 1
}

/// The mistake in one of the host's TOML files, as `:line: what`, to follow the file's name.
#[must_use]
pub(crate) fn fault(text: &str, error: &toml::de::Error) -> String {
    let line = line_of(text, error.span().map_or(0, |span| span.start));
    // The parser's message may have several lines; the first one names the mistake.
    format!(":{line}: {}", error.message().lines().next().unwrap_or_default())
}
