//! A folder that only this user can write to: the cache of compiled components contains machine
//! code that is run, so a user who can write there decides what runs, whatever is signed or pinned.
//!
//! Owner and mode are checked on open descriptors and not by names, and files are opened relative
//! to the folder's descriptor: a user who can rename entries in the folder above cannot put another
//! folder in its place between the check and the use.

use std::ffi::CStr;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

/// The prefix of a file's name until it is complete.
const PARTIAL: &str = ".partial-";
/// The prefix of a file whose holder is making an entry.
const CLAIM: &str = ".claim-";
/// An older file with one of these prefixes was left by a process that ended.
const PARTIAL_AGE_MAX: Duration = Duration::from_secs(3_600);
/// The file's time is when it was used last, to the day.
const USE_PRECISION: Duration = Duration::from_secs(24 * 3_600);
/// How often a process checks whether another one has made the entry that both need. Making one
/// takes seconds.
const CLAIM_POLL: Duration = Duration::from_millis(20);

pub(crate) struct PrivateFolder {
    folder: OwnedFd,
}

/// A file in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub name: String,
    pub bytes: u64,
    pub used_at: SystemTime,
}

/// Makes processes that need the same entry wait until it is dropped.
pub(crate) struct Claim<'f> {
    folder: &'f PrivateFolder,
    name: String,
    /// Locked for as long as it is open.
    _file: File,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // Waiting processes see by its inode that this is no longer the file to lock.
        let _ = self.folder.remove(&self.name);
    }
}

impl PrivateFolder {
    /// Creates the folder if it does not exist, and makes it accessible to its owner alone.
    ///
    /// # Errors
    /// If it belongs to another user, or is no folder.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&folder)?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other(format!(
                "it belongs to another user (uid {}); remove it, or give it to the user of this process",
                stat.st_uid
            )));
        }
        if Mode::from_raw_mode(stat.st_mode).bits() & 0o777 != 0o700 {
            rustix::fs::fchmod(&folder, Mode::RWXU)?;
        }
        Ok(Self { folder })
    }

    /// Returns none if there is no file of this name, if it is not this user's alone, or if it is
    /// larger.
    pub(crate) fn read(&self, name: &str, bytes_max: u64) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, name, flags, Mode::empty()).ok()?;
        let mut file = File::from(file);
        let metadata = file.metadata().ok()?;
        // The folder may have been open to others when the file was written.
        let is_own = metadata.is_file()
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && metadata.mode() & 0o022 == 0
            && metadata.nlink() == 1;
        if !is_own || metadata.len() > bytes_max {
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).ok()?);
        io::Read::by_ref(&mut file).take(bytes_max).read_to_end(&mut bytes).ok()?;
        let used = metadata.modified().ok().and_then(|at| at.elapsed().ok());
        if used.is_some_and(|ago| ago > USE_PRECISION) {
            // It does no harm if an entry counts as used for longer, or not.
            let _ = file.set_modified(SystemTime::now());
        }
        Some(bytes)
    }

    /// Writes by rename, so that another process never reads an incomplete file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        static WRITES: AtomicU64 = AtomicU64::new(0);
        // Threads and processes may write the same entry at the same time.
        let number = WRITES.fetch_add(1, Ordering::Relaxed);
        let partial = format!("{PARTIAL}{}-{number}-{name}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.folder, &*partial, flags | OFlags::CLOEXEC, mode)?;
        let mut file = File::from(file);
        let written = parts.iter().try_for_each(|part| file.write_all(part));
        let placed = written
            .and_then(|()| Ok(rustix::fs::renameat(&self.folder, &*partial, &self.folder, name)?));
        if placed.is_err() {
            let _ = self.remove(&partial);
        }
        placed
    }

    /// Waits while another thread or process holds the claim on this name. Returns none after
    /// `patience`, or where files cannot be locked: then the work is done twice.
    pub(crate) fn claim(&self, name: &str, patience: Duration) -> Option<Claim<'_>> {
        let name = format!("{CLAIM}{name}");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let until = Instant::now() + patience;
        loop {
            let mode = Mode::RUSR | Mode::WUSR;
            let file = File::from(rustix::fs::openat(&self.folder, &*name, flags, mode).ok()?);
            match file.try_lock() {
                Ok(()) if self.is_at(&file, &name) => {
                    return Some(Claim { folder: self, name, _file: file });
                }
                // The last holder has removed it since it was opened.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(CLAIM_POLL);
                }
                Err(_) => return None,
            }
        }
    }

    fn is_at(&self, file: &File, name: &str) -> bool {
        let place = rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW);
        let open = rustix::fs::fstat(file);
        matches!((place, open), (Ok(place), Ok(open)) if place.st_ino == open.st_ino)
    }

    /// # Errors
    /// If the file exists and cannot be removed.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// The files in the folder, except claims and files that are being written. Those that ended
    /// processes have left are removed.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn entries(&self) -> io::Result<Vec<Entry>> {
        let now = SystemTime::now();
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            let entry = entry?;
            let Some(name) = text(entry.file_name()) else { continue };
            let Ok(stat) = rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                continue;
            }
            let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
            let used_at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            if name.starts_with(PARTIAL) || name.starts_with(CLAIM) {
                if now.duration_since(used_at).is_ok_and(|age| age > PARTIAL_AGE_MAX) {
                    self.remove(name)?;
                }
                continue;
            }
            let bytes = u64::try_from(stat.st_size).unwrap_or_default();
            entries.push(Entry { name: name.to_owned(), bytes, used_at });
        }
        Ok(entries)
    }
}

fn text(name: &CStr) -> Option<&str> {
    name.to_str().ok()
}
