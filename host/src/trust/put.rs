//! Files that come whole.

use std::io::{self, Write as _};
use std::path::Path;

/// Puts a file in the place of another, by rename: whoever looks sees the old one or the
/// new one, and a disk that is full leaves the old one.
///
/// # Errors
/// If it cannot be written; then nothing has changed.
pub fn put(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
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
