//! Whether the last build is of the current sources. The tools of most languages do not say so;
//! cargo does, and this module knows when its answer cannot be trusted.
//!
//! Several checkouts share one folder of intermediate files, so that dependencies and the standard
//! library are compiled once. Cargo identifies a package there by its name and version and not by
//! its place, and takes it to be up to date if no file of it is newer than the build. So a second
//! checkout with older files would get the first one's code, and so would a folder in which older
//! files replaced newer ones. Therefore the files from which each local package was built are noted
//! beside the build, and cargo is made to rebuild a package when they are not the same files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::io::files::{self, Stamp};

const NOTES: &str = ".sagabox-sources.json";
const LOCK: &str = ".sagabox-build.lock";
/// Names of folders that a build writes, and that contain no sources.
const NOT_SOURCES: [&str; 3] = ["target", "node_modules", "__pycache__"];
/// The most files of a package. A package with more is always built again.
const FILES_MAX: usize = 20_000;

/// Keeps other builds out of a folder of intermediate files: none may write there between the
/// moment at which cargo learns what to rebuild and the moment at which its result is taken.
pub(crate) struct Claim(
    #[allow(dead_code, reason = "the lock is held as long as the file is open")] File,
);

/// Waits for other builds to end.
///
/// # Errors
/// If the folder cannot be made or locked.
pub(crate) fn claim(target: &Path) -> io::Result<Claim> {
    std::fs::create_dir_all(target)?;
    let file = File::options().create(true).truncate(false).write(true).open(target.join(LOCK))?;
    file.lock()?;
    Ok(Claim(file))
}

/// A package whose source is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub name: String,
    pub version: String,
    pub folder: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Described>,
}

#[derive(Deserialize)]
struct Described {
    name: String,
    version: String,
    /// None if it is local.
    source: Option<String>,
    manifest_path: PathBuf,
}

/// The local packages in what `cargo metadata` printed.
///
/// # Errors
/// If the output is not understood.
pub(crate) fn packages(metadata: &[u8]) -> serde_json::Result<Vec<Package>> {
    let metadata: Metadata = serde_json::from_slice(metadata)?;
    let local = metadata.packages.into_iter().filter(|package| package.source.is_none());
    let package = |described: Described| Package {
        folder: described.manifest_path.parent().unwrap_or(Path::new("")).to_owned(),
        name: described.name,
        version: described.version,
    };
    Ok(local.map(package).collect())
}

impl Package {
    /// The form that `cargo clean -p` takes.
    #[must_use]
    pub(crate) fn spec(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// A digest of the files' paths and of what changes when one of them does. None if there are
    /// too many, or if one cannot be read.
    fn digest(&self) -> Option<String> {
        let mut all = BTreeMap::new();
        walk(&self.folder, &mut all).ok()?;
        if all.len() > FILES_MAX {
            return None;
        }
        let mut hasher = Sha256::new();
        hasher.update(format!("{all:?}"));
        Some(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn walk(folder: &Path, all: &mut BTreeMap<PathBuf, Stamp>) -> io::Result<()> {
    if all.len() > FILES_MAX {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            if !NOT_SOURCES.contains(&&*name) {
                walk(&path, all)?;
            }
        } else if name != "Cargo.lock"
            && let Ok(stamp) = Stamp::of(&path)
        {
            all.insert(path, stamp);
        }
    }
    Ok(())
}

/// The files from which the packages in a folder of intermediate files were built.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Notes(BTreeMap<String, String>);

impl Notes {
    /// Reads the notes; empty if there are none, or if they are not understood.
    #[must_use]
    pub(crate) fn read(target: &Path) -> Self {
        let text = files::read(&target.join(NOTES)).ok().flatten().unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The packages that were built from other files, or for which there is no note. Their notes
    /// are removed.
    pub(crate) fn changed<'p>(&mut self, packages: &'p [Package]) -> Vec<&'p Package> {
        let is_same = |package: &&Package| {
            let known = self.0.get(&package.spec());
            known.is_some() && known == package.digest().as_ref()
        };
        let changed: Vec<&Package> = packages.iter().filter(|own| !is_same(own)).collect();
        for package in &changed {
            self.0.remove(&package.spec());
        }
        changed
    }

    /// # Errors
    /// If they cannot be written.
    pub(crate) fn write(&self, target: &Path) -> io::Result<()> {
        files::put(target, NOTES, serde_json::to_string(&self.0)?.as_bytes())
    }

    /// The notes with the files as they are now. Taken before the build, so that a file that
    /// changes during the build is built again.
    #[must_use]
    pub(crate) fn with(mut self, packages: &[Package]) -> Self {
        for package in packages {
            if let Some(digest) = package.digest() {
                self.0.insert(package.spec(), digest);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use tempfile::TempDir;

    use super::*;

    fn package(folder: &Path, text: &str) -> Package {
        fs::create_dir_all(folder.join("src")).unwrap();
        let path = folder.join("src/lib.rs");
        fs::write(&path, text).unwrap();
        age(&path);
        Package { name: "p".to_owned(), version: "1.0.0".to_owned(), folder: folder.to_owned() }
    }

    /// Gives a file the time that an archive or a checkout may give it.
    fn age(path: &Path) {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn a_package_is_built_again_when_its_files_are_others() {
        let root = TempDir::new().unwrap();
        let (a, b) = (root.path().join("a"), root.path().join("b"));
        let first = [package(&a, "1")];
        let mut notes = Notes::read(root.path());
        assert_eq!(notes.changed(&first).len(), 1, "nothing is known");
        notes.with(&first).write(root.path()).unwrap();
        assert_eq!(Notes::read(root.path()).changed(&first).len(), 0);
        // A build writes this folder, so it contains no source.
        fs::create_dir(a.join("target")).unwrap();
        fs::write(a.join("target/x"), "").unwrap();
        fs::write(a.join("Cargo.lock"), "").unwrap();
        assert_eq!(Notes::read(root.path()).changed(&first).len(), 0);
        // The same name, version, length and time elsewhere.
        let second = [package(&b, "2")];
        assert_eq!(Notes::read(root.path()).changed(&second).len(), 1);
        // The same in the same place.
        fs::remove_dir_all(&a).unwrap();
        fs::rename(&b, &a).unwrap();
        assert_eq!(Notes::read(root.path()).changed(&first).len(), 1);
    }

    #[test]
    fn only_packages_of_this_machine_are_looked_at() {
        let printed = br#"{"packages": [
            {"name": "a", "version": "1.0.0", "source": null, "manifest_path": "/x/a/Cargo.toml"},
            {"name": "serde", "version": "1.0.0", "source": "registry+x", "manifest_path": "/y/Cargo.toml"}]}"#;
        let expected =
            Package { name: "a".to_owned(), version: "1.0.0".to_owned(), folder: "/x/a".into() };
        assert_eq!(packages(printed).unwrap(), std::slice::from_ref(&expected));
        assert_eq!(expected.spec(), "a@1.0.0");
        assert!(packages(b"{}").is_err());
    }
}
