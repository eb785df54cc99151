//! Files: how they are read, how they come whole, how one sees that they have changed, and
//! where in them something is wrong.

mod reading;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(crate) use reading::{StoreGuard, Unreadable, bytes, guard_store, is_of_store, open, text};

/// Of a file that people write: a configuration, a lock file, a scenario. Some thousand
/// times what a long one has.
pub(crate) const TEXT_BYTES_MAX: usize = 8 << 20;

/// What some editors put before UTF-8. It is no part of the text.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Puts a file in the place of another, by rename: whoever looks sees the old one or the
/// new one, and a disk that is full leaves the old one.
///
/// # Errors
/// If it cannot be written; then nothing has changed.
pub(crate) fn put(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    // Hidden, so that a host takes it for no plugin.
    let mut builder = tempfile::Builder::new();
    builder.prefix(".put-");
    #[cfg(unix)]
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    // A temporary file is its owner's alone; this one is no longer temporary.
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
/// If it is there and stays.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// None if there is no such file.
///
/// # Errors
/// If it is there and cannot be read; names the file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, String> {
    match text(path, TEXT_BYTES_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(format!("{} {error}", path.display())),
    }
}

/// `a.wasm.toml` for `a.wasm`.
#[must_use]
pub(crate) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// Whatever changes when a file does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: (u64, i64, i64),
}

impl Stamp {
    /// # Errors
    /// If it is no file, or cannot be looked at.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt as _;
        Ok(Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            // The time of change as well: tools that copy set the time of modification.
            #[cfg(unix)]
            inode: (metadata.ino(), metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// The line that holds a place in a text, from 1.
#[must_use]
pub(crate) fn line_of(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|&byte| byte == b'\n').count() + 1
}

/// What is wrong with a file of ours in TOML: `:line: what`, to stand behind its name.
#[must_use]
pub(crate) fn fault(text: &str, error: &toml::de::Error) -> String {
    let line = line_of(text, error.span().map_or(0, |span| span.start));
    // The parser's message may have several lines; the first says what it is.
    format!(":{line}: {}", error.message().lines().next().unwrap_or_default())
}
