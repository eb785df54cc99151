//! Opening a database file: whose is it, which version, and is it free?
//!
//! A file of another program or of a newer version is refused before anything
//! is written to it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::OpenFlags;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};
use thiserror::Error;

use super::files::id;
use super::migrations::MIGRATIONS;
use crate::io::files::{self, StoreGuard, Unreadable};

/// "SAGB": distinguishes our files from other programs' (`PRAGMA application_id`).
pub(super) const APPLICATION_ID: u32 = 0x5341_4742;
/// Larger than SQLite's default of 4,096: outbox rows of two kilobytes need no overflow page.
pub(super) const PAGE_BYTES: u32 = 8_192;
/// Pages in the log before they are copied to the database, 64 MiB: each copy costs two flushes.
const CHECKPOINT_PAGES: u32 = 8_192;
const CACHE_KIB: u32 = 32_768;
/// More than a commit has.
const STATEMENTS: usize = 64;
/// Only backups and shells can hold the file; they are quick.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Behind the name of a database.
pub(super) const WAL: &str = "-wal";
pub(super) const LOCK: &str = ".lock";
/// Files of a plugin directory, in which a store may lie.
const OTHERS: [&str; 3] = ["wasm", "wat", "minisig"];
const PINS: &str = "sagabox.lock";

/// Why a store cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("the store `{0}` is invalid: use a path, or sqlite:PATH")]
    Url(String),
    #[error(
        "{path} is not a database of Sagabox: {why}; nothing was changed. Give another path with --store"
    )]
    Foreign { path: PathBuf, why: String },
    #[error(
        "{path} was written by a newer Sagabox (version {found} of the store, this one knows up to {known}); \
         nothing was changed. Use the newer binary, or another path with --store"
    )]
    Newer { path: PathBuf, found: u32, known: usize },
    #[error(
        "{0} is in use by another Sagabox; stop that one first, or give another path with --store"
    )]
    InUse(PathBuf),
    #[error(
        "{0} cannot be the name of a store: `.wasm` and `.wat` are plugins, `.minisig` signatures, \
         and `sagabox.lock` is a lock file of plugins. Give another path with --store"
    )]
    Name(PathBuf),
    #[error(
        "{0} has several names (hard links), and no log beside this one: what was committed last \
         may lie in the `-wal` file beside another of its names. Open it by the name under which \
         it was open last, or remove all names but that"
    )]
    OtherNames(PathBuf),
    #[error("cannot open {path}: {why}")]
    Io { path: PathBuf, why: String },
}

/// Takes `sqlite:PATH`, `sqlite://PATH` or a plain path.
pub(super) fn path_of(url: &str) -> Result<PathBuf, OpenError> {
    let path = match url.split_once(':') {
        Some(("sqlite", rest)) => rest.strip_prefix("//").unwrap_or(rest),
        Some((scheme, _)) if url.contains("://") || scheme == "postgres" => {
            return Err(OpenError::Url(url.to_owned()));
        }
        _ => url,
    };
    if path.is_empty() {
        return Err(OpenError::Url(url.to_owned()));
    }
    let path = PathBuf::from(path);
    let is_other = path.extension().is_some_and(|own| OTHERS.iter().any(|other| own == *other));
    match is_other || with_suffix(&path, LOCK).file_name() == Some(PINS.as_ref()) {
        true => Err(OpenError::Name(path)),
        false => Ok(path),
    }
}

/// A store that belongs to this process, for as long as this exists: no other host and no
/// `restore` gets it, and nothing but SQLite opens its files here.
#[derive(Debug)]
pub(super) struct Claim {
    _lock: File,
    _guard: StoreGuard,
}

/// Makes the file, if it is not there.
///
/// # Errors
/// See [`OpenError`].
pub(super) fn claim(path: &Path) -> Result<Claim, OpenError> {
    let io = |error: std::io::Error| OpenError::Io { path: path.into(), why: error.to_string() };
    let lock = lock(path)?;
    check_header(path)?;
    let real = canonical(path).map_err(io)?;
    check_names(&real)?;
    match private().write(true).create_new(true).open(&real) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(io(error)),
        _ => {}
    }
    Ok(Claim { _lock: lock, _guard: files::guard_store(&real) })
}

/// Keeps a second host, and `restore`, away for as long as it exists, by whatever path either
/// names the file.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |error: std::io::Error| OpenError::Io { path: path.into(), why: error.to_string() };
    let name = with_suffix(&canonical(path).map_err(io)?, LOCK);
    let mut options = private();
    options.create(true).truncate(false).write(true);
    loop {
        let file = options.open(&name).map_err(io)?;
        match file.try_lock() {
            // It may have been removed in between; then it keeps nothing away.
            Ok(()) if !is_named(&file, &name) => {}
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.into())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
    }
}

/// SQLite finds the log by the database's name. Under another name it would begin a log anew,
/// and what is in the other one would be lost. A file without a log may have been closed well,
/// or have its log elsewhere: nothing shows which.
fn check_names(real: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(metadata) = std::fs::metadata(real) else { return Ok(()) };
    match metadata.nlink() > 1 && metadata.len() > 0 && !with_suffix(real, WAL).exists() {
        true => Err(OpenError::OtherNames(real.into())),
        false => Ok(()),
    }
}

fn is_named(file: &File, name: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(name)) {
        (Ok(own), Ok(there)) => id(&own) == id(&there),
        _ => false,
    }
}

/// What is made is its owner's alone, whatever the umask: it holds all that was ever sent.
/// SQLite gives its companions the mode of the database.
pub(super) fn private() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Also of a file that is still to be made, perhaps where a link to it points.
fn canonical(path: &Path) -> std::io::Result<PathBuf> {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == ErrorKind::NotFound => {
            let here = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            match path.read_link() {
                Ok(target) => canonical(&here.join(target)),
                Err(_) => Ok(here.canonicalize()?.join(name)),
            }
        }
        (found, ..) => found,
    }
}

/// Looks at the file's first bytes, without SQLite: that alone certainly changes nothing.
pub(super) fn check_header(path: &Path) -> Result<(), OpenError> {
    let io = |error: std::io::Error| OpenError::Io { path: path.into(), why: error.to_string() };
    let mut header = Vec::new();
    match files::open(path) {
        Ok(file) => file.take(100).read_to_end(&mut header).map_err(io)?,
        Err(error) if error.is_missing() => return Ok(()),
        // It was looked at when it was opened, and to look again would cost its locks.
        Err(Unreadable::OfStore) => return Ok(()),
        Err(error) => return Err(OpenError::Io { path: path.into(), why: error.to_string() }),
    };
    if header.is_empty() {
        return Ok(());
    }
    let foreign = |why: &str| OpenError::Foreign { path: path.into(), why: why.to_owned() };
    if header.len() < 100 || !header.starts_with(b"SQLite format 3\0") {
        return Err(foreign("it is not an SQLite file"));
    }
    // Source: SQLite file format, section 1.3: user version at 60, application id at 68.
    let number = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    if number(68) != APPLICATION_ID {
        return Err(foreign("it belongs to another program"));
    }
    let found = number(60);
    if found as usize > MIGRATIONS.len() {
        return Err(OpenError::Newer { path: path.into(), found, known: MIGRATIONS.len() });
    }
    Ok(())
}

/// Makes the file ours and brings it to this version. Returns what later connections use.
pub(super) async fn prepare(path: &Path) -> Result<SqliteConnectOptions, OpenError> {
    let io = |error: sqlx::Error| OpenError::Io { path: path.into(), why: error.to_string() };
    let base = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(PAGE_BYTES)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let mut connection = base.connect().await.map_err(io)?;
    let version = version(&mut connection).await.map_err(io)?;
    if version > MIGRATIONS.len() {
        let found = u32::try_from(version).unwrap_or(u32::MAX);
        return Err(OpenError::Newer { path: path.into(), found, known: MIGRATIONS.len() });
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        migrate(&mut connection, index + 1, migration).await.map_err(io)?;
    }
    connection.close().await.map_err(io)?;
    Ok(base
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("temp_store", "memory"))
}

/// The connection that writes; see `writer.rs` for why it is not one of sqlx's.
pub(super) fn writing(path: &Path) -> rusqlite::Result<rusqlite::Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rusqlite::Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // Guarantee 1: a commit survives the loss of power.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -i64::from(CACHE_KIB))?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

async fn version(connection: &mut SqliteConnection) -> Result<usize, sqlx::Error> {
    let row = sqlx::query("PRAGMA user_version").fetch_one(connection).await?;
    Ok(usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX))
}

/// One transaction: the file is of the old version, or of the new.
async fn migrate(
    connection: &mut SqliteConnection,
    version: usize,
    sql: &'static str,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(sql).execute(&mut *transaction).await?;
    let mark =
        format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};");
    sqlx::raw_sql(sqlx::AssertSqlSafe(mark)).execute(&mut *transaction).await?;
    transaction.commit().await
}
