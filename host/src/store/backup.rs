//! Copies of a store: taken beside a running host, checked, and put back.
//!
//! A backup is a whole store in one file. It appears under its name only when it is
//! complete, checked and on the disk.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use thiserror::Error;

use super::migrations;
use super::open::{self, OpenError};
use super::trouble::plainly;
use crate::io::files;

/// Why nothing was backed up or restored. What was there is as it was.
#[derive(Debug, Error)]
pub enum BackupError {
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("{0} already exists and is not overwritten; choose another name")]
    TargetExists(PathBuf),
    #[error(
        "{0} already exists; nothing was changed. Choose another path with --store, or \
         move it aside with --force"
    )]
    StoreExists(PathBuf),
    #[error("{0} not found")]
    Missing(PathBuf),
    #[error("{path} is damaged: {why}; nothing was changed. Use another backup")]
    Damaged { path: PathBuf, why: String },
    #[error(
        "{path} is a store that is in use or was not closed: its last events are in \
         {log}. Nothing was changed. Use `sagabox backup` to copy it, also while a host \
         runs"
    )]
    NotClosed { path: PathBuf, log: PathBuf },
    #[error("{0}")]
    Failed(String),
}

#[derive(Debug, Serialize)]
pub struct Backup {
    pub backup: PathBuf,
    pub bytes: u64,
    /// Ever appended to the log; none if the store is of a version that did not count them.
    pub events: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct Restored {
    pub store: PathBuf,
    pub bytes: u64,
    /// Where the store is now that was there before.
    pub moved_aside: Option<PathBuf>,
}

/// Also beside a running host: it sees one commit and all before it. Until it has ended,
/// what the host writes stays in the `-wal` file, which grows meanwhile.
///
/// # Errors
/// See [`BackupError`].
pub async fn back_up(store: &str, target: &Path) -> Result<Backup, BackupError> {
    let path = open::path_of(store)?;
    if !path.exists() {
        return Err(BackupError::Missing(path));
    }
    open::check_header(&path)?;
    if files::is_of_store(target) || files_of(&path).iter().any(|file| file == target) {
        return Err(BackupError::TargetExists(target.to_owned()));
    }
    if target.exists() {
        return Err(BackupError::TargetExists(target.to_owned()));
    }
    let partial = open::with_suffix(target, ".partial");
    remove_if_there(&partial)?;
    // SQLite takes an empty file that is there, with its mode.
    create(&partial)?;
    let copied = copy_to(&path, &partial).await;
    let events = match copied {
        Ok(events) => events,
        Err(error) => {
            // Half a copy is of no use, and it may be what fills the disk.
            remove_if_there(&partial)?;
            return Err(error);
        }
    };
    put_in_place(&partial, target)?;
    let bytes = length_of(target)?;
    Ok(Backup { backup: target.to_owned(), bytes, events })
}

async fn copy_to(path: &Path, partial: &Path) -> Result<Option<u64>, BackupError> {
    let failed = |error: sqlx::Error| {
        BackupError::Failed(format!(
            "back up {} to {}: {}",
            path.display(),
            partial.display(),
            plainly(partial, &error)
        ))
    };
    // A connection that only reads never takes itself for the last one: when it is closed, it
    // leaves the log and all that is in it, whatever has become of the host's locks.
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let options = options.busy_timeout(open::BUSY_TIMEOUT);
    let mut connection = options.disable_statement_logging().connect().await.map_err(failed)?;
    let name = partial.to_str().ok_or_else(|| {
        BackupError::Failed(format!("{} is not a name in UTF-8", partial.display()))
    })?;
    let vacuum = sqlx::query("VACUUM INTO ?").bind(name.to_owned());
    vacuum.execute(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    check(partial).await
}

/// Puts a backup where a store shall be.
///
/// # Errors
/// See [`BackupError`].
pub async fn restore(backup: &Path, store: &str, force: bool) -> Result<Restored, BackupError> {
    let path = open::path_of(store)?;
    if !backup.exists() {
        return Err(BackupError::Missing(backup.to_owned()));
    }
    open::check_header(backup)?;
    check_closed(backup)?;
    let _lock = open::lock(&path)?;
    let is_taken = files_of(&path).iter().any(|file| file.exists());
    if is_taken && !force {
        return Err(BackupError::StoreExists(path));
    }
    check(backup).await?;
    let partial = open::with_suffix(&path, ".restoring");
    remove_if_there(&partial)?;
    if let Err(error) = copy(backup, &partial) {
        // Half a copy is of no use, and it may be what fills the disk.
        remove_if_there(&partial)?;
        return Err(io("copy the backup to", &partial, &error));
    }
    let moved_aside = if is_taken { Some(move_aside(&path).await?) } else { None };
    put_in_place(&partial, &path)?;
    let bytes = length_of(&path)?;
    Ok(Restored { store: path, bytes, moved_aside })
}

/// What `backup` writes has no log. A store has one while a host runs, and after a crash.
fn check_closed(backup: &Path) -> Result<(), BackupError> {
    let log = open::with_suffix(backup, open::WAL);
    match std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        true => Err(BackupError::NotClosed { path: backup.to_owned(), log }),
        false => Ok(()),
    }
}

fn create(path: &Path) -> Result<File, BackupError> {
    let created = open::private().write(true).create_new(true).open(path);
    created.map_err(|error| io("write", path, &error))
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut copy = open::private().write(true).create_new(true).open(to)?;
    std::io::copy(&mut File::open(from)?, &mut copy)?;
    copy.sync_all()
}

/// The database, and what SQLite keeps beside it.
fn files_of(path: &Path) -> [PathBuf; 3] {
    // In this order they are moved: a log must never lie beside a database that is not its own.
    [open::with_suffix(path, open::WAL), open::with_suffix(path, "-shm"), path.to_owned()]
}

/// The database stays under its name, too, until the backup takes that: a host that is
/// started after a crash between the two must not find nothing and begin anew.
async fn move_aside(path: &Path) -> Result<PathBuf, BackupError> {
    // Brings the log into the database, if both are sound: then one file is all.
    let options = SqliteConnectOptions::new().filename(path).disable_statement_logging();
    if let Ok(mut old) = options.connect().await {
        let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut old).await;
        let _ = old.close().await;
    }
    let aside = (1..=u64::MAX)
        .map(|number| open::with_suffix(path, &format!(".before-restore-{number}")))
        .find(|aside| files_of(aside).iter().all(|file| !file.exists()))
        .expect("some number is free");
    for (from, to) in files_of(path).iter().zip(files_of(&aside)) {
        let rename = || std::fs::rename(from, &to);
        let moved = match from == path {
            // Not every file system has links.
            true => std::fs::hard_link(from, &to).or_else(|_| rename()),
            false => rename(),
        };
        match moved {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io("move aside", from, &error));
            }
            _ => {}
        }
    }
    Ok(aside)
}

/// Looks at the whole file. Returns the events that its log ever had.
async fn check(path: &Path) -> Result<Option<u64>, BackupError> {
    open::check_header(path)?;
    let damaged = |why: String| BackupError::Damaged { path: path.to_owned(), why };
    // Immutable: nothing is written beside it.
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(true);
    let checked = async {
        let mut connection = options.disable_statement_logging().connect().await?;
        let answer: String = first(&mut connection, "PRAGMA quick_check(1)").await?;
        let version: i64 = first(&mut connection, "PRAGMA user_version").await?;
        let events = match version {
            ..migrations::VERSION_WITH_TOTALS => None,
            _ => Some(first::<i64>(&mut connection, "SELECT events FROM totals").await?),
        };
        connection.close().await?;
        Ok::<_, sqlx::Error>((answer, events))
    };
    let (answer, events) = checked.await.map_err(|error| damaged(error.to_string()))?;
    if answer != "ok" {
        return Err(damaged(answer));
    }
    Ok(events.and_then(|events| u64::try_from(events).ok()))
}

async fn first<T>(connection: &mut SqliteConnection, sql: &'static str) -> Result<T, sqlx::Error>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    sqlx::query(sql).fetch_one(connection).await?.try_get(0)
}

/// First the content is on the disk, then the name, then the name is on the disk too.
fn put_in_place(partial: &Path, target: &Path) -> Result<(), BackupError> {
    let placed = synced(partial).and_then(|()| std::fs::rename(partial, target)).and_then(|()| {
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        synced(parent.unwrap_or(Path::new(".")))
    });
    placed.map_err(|error| io("write", target, &error))
}

fn synced(path: &Path) -> Result<(), Error> {
    File::open(path)?.sync_all()
}

fn remove_if_there(path: &Path) -> Result<(), BackupError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", path, &error)),
        _ => Ok(()),
    }
}

fn length_of(path: &Path) -> Result<u64, BackupError> {
    Ok(std::fs::metadata(path).map_err(|error| io("look at", path, &error))?.len())
}

fn io(what: &str, path: &Path, error: &Error) -> BackupError {
    BackupError::Failed(format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::SqliteStore;
    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn url(&self, name: &str) -> String {
            self.path(name).display().to_string()
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.0.path()).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    #[tokio::test]
    async fn a_backup_beside_an_open_store_becomes_a_store() {
        let place = Place::new();
        let store = SqliteStore::open(&place.url("a.db")).await.unwrap();
        let backup = back_up(&place.url("a.db"), &place.path("copy")).await.unwrap();
        assert_eq!(backup.events, Some(0));
        drop(store);
        let restored = restore(&place.path("copy"), &place.url("b.db"), false).await.unwrap();
        assert_eq!((restored.bytes, restored.moved_aside), (backup.bytes, None));
        SqliteStore::open(&place.url("b.db")).await.unwrap();
        assert!(!place.names().iter().any(|name| name.contains("partial")), "{:?}", place.names());
    }

    #[tokio::test]
    async fn nothing_is_written_over() {
        let place = Place::new();
        drop(SqliteStore::open(&place.url("a.db")).await.unwrap());
        std::fs::write(place.path("copy"), "precious").unwrap();
        let error = back_up(&place.url("a.db"), &place.path("copy")).await.unwrap_err();
        assert!(matches!(error, BackupError::TargetExists(_)), "{error}");
        back_up(&place.url("a.db"), &place.path("good")).await.unwrap();
        let error = restore(&place.path("good"), &place.url("a.db"), false).await.unwrap_err();
        assert!(matches!(error, BackupError::StoreExists(_)), "{error}");
        assert_eq!(std::fs::read(place.path("copy")).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn by_force_the_old_store_is_moved_aside() {
        let place = Place::new();
        drop(SqliteStore::open(&place.url("a.db")).await.unwrap());
        back_up(&place.url("a.db"), &place.path("good")).await.unwrap();
        let restored = restore(&place.path("good"), &place.url("a.db"), true).await.unwrap();
        let aside = restored.moved_aside.unwrap();
        assert_eq!(aside, place.path("a.db.before-restore-1"));
        SqliteStore::open(&aside.display().to_string()).await.unwrap();
        SqliteStore::open(&place.url("a.db")).await.unwrap();
    }

    #[tokio::test]
    async fn a_store_in_use_is_not_replaced() {
        let place = Place::new();
        let _store = SqliteStore::open(&place.url("a.db")).await.unwrap();
        back_up(&place.url("a.db"), &place.path("good")).await.unwrap();
        let error = restore(&place.path("good"), &place.url("a.db"), true).await.unwrap_err();
        assert!(matches!(error, BackupError::Store(OpenError::InUse(_))), "{error}");
    }

    #[tokio::test]
    async fn a_damaged_or_foreign_backup_is_refused() {
        let place = Place::new();
        drop(SqliteStore::open(&place.url("a.db")).await.unwrap());
        back_up(&place.url("a.db"), &place.path("good")).await.unwrap();
        let mut bytes = std::fs::read(place.path("good")).unwrap();
        std::fs::write(place.path("short"), &bytes[..bytes.len() / 2]).unwrap();
        // The root page of the schema.
        bytes[100..4_000].fill(0x55);
        std::fs::write(place.path("scratched"), &bytes).unwrap();
        std::fs::write(place.path("diary"), "dear diary").unwrap();
        for name in ["short", "scratched"] {
            let error = restore(&place.path(name), &place.url("b.db"), false).await.unwrap_err();
            assert!(matches!(error, BackupError::Damaged { .. }), "{name}: {error}");
        }
        let error = restore(&place.path("diary"), &place.url("b.db"), false).await.unwrap_err();
        assert!(matches!(error, BackupError::Store(OpenError::Foreign { .. })), "{error}");
        assert!(!place.path("b.db").exists());
        let error = back_up(&place.url("none.db"), &place.path("x")).await.unwrap_err();
        assert!(matches!(error, BackupError::Missing(_)), "{error}");
    }
}
