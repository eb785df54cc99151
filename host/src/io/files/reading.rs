//! Reads files that people and programs provide: bounded in size, regular files only, and never
//! a file of a store that is open in this process.
//!
//! SQLite's locks are POSIX locks, which belong to a process: when the process closes *any*
//! descriptor of a file, it loses all its locks of that file. The next process that opens the
//! store then finds no lock and deletes the log, with events that were acknowledged. Opening and
//! closing the file is enough, so a check of its first bytes comes too late. Therefore all code
//! that reads a file by a path reads it here: the file's device and inode are compared before it
//! is opened, on a handle that does not affect locks.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use thiserror::Error;

use crate::io::locks::lock;

/// The suffixes of the files that SQLite and the host keep beside a database.
const STORE_COMPANIONS: [&str; 5] = ["-wal", "-shm", "-journal", ".lock", TOKEN];
/// Behind the name of a store: the file of its administrator's token.
pub(crate) const TOKEN: &str = ".token";

/// The stores that are open in this process.
static STORES: Mutex<Vec<Weak<PathBuf>>> = Mutex::new(Vec::new());

/// The byte order mark, which some editors put before UTF-8. It is not part of the text.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file is not read.
#[derive(Debug, Error)]
pub enum Unreadable {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is not a regular file")]
    Irregular,
    #[error(
        "is a file of the store that this host has open, under another name; it is not read. \
         Remove this name"
    )]
    OfStore,
    /// The number of bytes too many is left out, so that a file that grows gives the same
    /// message.
    #[error("has more than {max} bytes")]
    TooLarge { max: usize },
    #[error("is not text in UTF-8")]
    NotText,
}

impl Unreadable {
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// Whether only a change of the file makes it readable.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Io(error) => error.kind() == io::ErrorKind::PermissionDenied,
            _ => true,
        }
    }
}

/// While this exists, no file of the store is read here.
#[derive(Debug)]
pub(crate) struct StoreGuard(#[allow(dead_code, reason = "it is held, never read")] Arc<PathBuf>);

/// From now on, no file of the store at `path` is read here. `path` has no links in it.
#[must_use]
pub(crate) fn guard_store(path: &Path) -> StoreGuard {
    let path = Arc::new(path.to_owned());
    let mut stores = stores();
    stores.retain(|store| store.strong_count() > 0);
    stores.push(Arc::downgrade(&path));
    StoreGuard(path)
}

fn stores() -> MutexGuard<'static, Vec<Weak<PathBuf>>> {
    lock(&STORES)
}

/// Whether `path` names a file of a store that is open in this process: by any name of that
/// file, or because SQLite would create a file of this name.
#[must_use]
pub(crate) fn is_of_store(path: &Path) -> bool {
    if std::fs::metadata(path).is_ok_and(|metadata| is_identified(&metadata)) {
        return true;
    }
    let Some(name) = path.file_name() else { return false };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new(".")).canonicalize();
    folder.is_ok_and(|folder| store_files().any(|file| file == folder.join(name)))
}

fn store_files() -> impl Iterator<Item = PathBuf> {
    let stores: Vec<Arc<PathBuf>> = stores().iter().filter_map(Weak::upgrade).collect();
    stores.into_iter().flat_map(|store| {
        let companions = STORE_COMPANIONS.map(|suffix| {
            let mut name = store.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        });
        companions.into_iter().chain([store.to_path_buf()])
    })
}

#[cfg(unix)]
fn is_identified(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let own = (metadata.dev(), metadata.ino());
    store_files()
        .filter_map(|file| std::fs::metadata(file).ok())
        .any(|file| (file.dev(), file.ino()) == own)
}

#[cfg(not(unix))]
fn is_identified(_metadata: &Metadata) -> bool {
    false
}

/// Opens a regular file for reading.
///
/// # Errors
/// If it is not a regular file, belongs to a store that is open in this process, or cannot be
/// opened.
pub(crate) fn open(path: &Path) -> Result<File, Unreadable> {
    let handle = Handle::of(path)?;
    let metadata = handle.metadata(path)?;
    if !metadata.is_file() {
        return Err(Unreadable::Irregular);
    }
    if is_identified(&metadata) {
        return Err(Unreadable::OfStore);
    }
    Ok(handle.open(path)?)
}

/// A handle on a file that is not opened (`O_PATH`): closing it removes no lock. The file that
/// is opened later is the one that was checked, whatever happens to the name in between.
#[cfg(target_os = "linux")]
struct Handle(File);

#[cfg(target_os = "linux")]
impl Handle {
    fn of(path: &Path) -> io::Result<Self> {
        use rustix::fs::{Mode, OFlags};
        let found = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self(File::from(found)))
    }

    fn metadata(&self, _path: &Path) -> io::Result<Metadata> {
        self.0.metadata()
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        use std::os::fd::AsRawFd as _;
        let found = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        match File::open(found) {
            // Without /proc, the file is opened by its name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::open(path),
            opened => opened,
        }
    }
}

/// On other systems, the name is checked and then opened.
#[cfg(not(target_os = "linux"))]
struct Handle;

#[cfg(not(target_os = "linux"))]
impl Handle {
    fn of(_path: &Path) -> io::Result<Self> {
        Ok(Self)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        std::fs::metadata(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }
}

/// The content of a file, if it has at most `max` bytes.
///
/// # Errors
/// If it has more, or cannot be read.
pub(crate) fn bytes(path: &Path, max: usize) -> Result<Vec<u8>, Unreadable> {
    let file = open(path)?;
    let said = file.metadata()?.len();
    let Some(said) = usize::try_from(said).ok().filter(|said| *said <= max) else {
        return Err(Unreadable::TooLarge { max });
    };
    let mut bytes = Vec::with_capacity(said);
    // The file may grow meanwhile, and some special files do not report their size.
    file.take((max as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() <= max {
        true => Ok(bytes),
        false => Err(Unreadable::TooLarge { max }),
    }
}

/// The same as text, without a byte order mark before it.
///
/// # Errors
/// As `bytes`, and if it is not UTF-8.
pub(crate) fn text(path: &Path, max: usize) -> Result<String, Unreadable> {
    let mut bytes = bytes(path, max)?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    String::from_utf8(bytes).map_err(|_| Unreadable::NotText)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn no_file_of_an_open_store_is_opened_by_any_name() {
        let folder = TempDir::new().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let store = root.join("s.db");
        for suffix in ["", "-wal", "-shm", ".lock"] {
            fs::write(root.join(format!("s.db{suffix}")), "x").unwrap();
        }
        let links: Vec<PathBuf> = ["", "-wal", "-shm", ".lock"]
            .into_iter()
            .flat_map(|suffix| {
                let (hard, soft) = (format!("hard{suffix}.wasm"), format!("soft{suffix}.wasm"));
                let file = root.join(format!("s.db{suffix}"));
                fs::hard_link(&file, root.join(&hard)).unwrap();
                symlink(&file, root.join(&soft)).unwrap();
                [root.join(hard), root.join(soft), file]
            })
            .collect();
        let guard = guard_store(&store);
        for path in &links {
            assert!(matches!(open(path), Err(Unreadable::OfStore)), "{}", path.display());
            assert!(is_of_store(path), "{}", path.display());
        }
        assert!(is_of_store(&root.join("s.db-journal")), "SQLite would make it");
        assert!(!is_of_store(&root.join("s.db-other")));
        drop(guard);
        for path in &links {
            assert_eq!(bytes(path, 1).unwrap(), b"x", "{}", path.display());
            assert!(!is_of_store(path));
        }
    }

    #[test]
    fn only_regular_files_up_to_a_size_are_read() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "12345").unwrap();
        assert_eq!(text(&path, 5).unwrap(), "12345");
        let error = bytes(&path, 4).unwrap_err().to_string();
        assert_eq!(error, "has more than 4 bytes");
        // This file reports zero bytes and never ends.
        symlink("/dev/zero", folder.path().join("zero")).unwrap();
        for odd in [folder.path().to_owned(), folder.path().join("zero")] {
            assert!(matches!(bytes(&odd, 4), Err(Unreadable::Irregular)), "{}", odd.display());
        }
        assert!(bytes(&folder.path().join("b"), 4).unwrap_err().is_missing());
        fs::write(&path, [0xff]).unwrap();
        assert!(matches!(text(&path, 5), Err(Unreadable::NotText)));
    }
}
