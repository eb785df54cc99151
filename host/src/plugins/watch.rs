//! Polls the directory of plugins. It knows files, not plugins.
//!
//! The name of a file says whether it is a component or a companion of one. Other files are not
//! opened: a store may be in the directory, or logs that grow.
//!
//! Polling works on every file system, and for every way in which a file arrives. A file counts
//! when two looks, one pause apart, find it the same, so a slow writer is waited for. If the
//! writer pauses for longer, the incomplete file counts, and the whole one counts again later.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::io::files::{self, Stamp};
use crate::plugins::trust;
use crate::plugins::wasm::{self, Listing};

/// A component that is new or has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub path: PathBuf,
    /// The content, or why it is not read.
    pub content: Result<Vec<u8>, String>,
    /// The digest of the content; empty if it is not read.
    pub digest: String,
}

/// What one look has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// In the order of their names.
    pub files: Vec<File>,
    pub removed: Vec<PathBuf>,
    /// Signatures and lock files that appeared, changed or disappeared.
    pub companions: Vec<PathBuf>,
    /// All other files, if their list has changed. They are not read.
    pub others: Option<Vec<PathBuf>>,
}

pub(crate) struct Watcher {
    directory: PathBuf,
    /// Whether the directory need not exist.
    is_optional: bool,
    /// Whether a file that was written again counts again, also with the same content. An
    /// operator who writes a refused candidate again asks for another decision.
    rewritten_counts: bool,
    /// The most bytes of a file. A larger one is not read.
    bytes_max: usize,
    /// Whether a name is that of a companion and not of a component.
    is_companion: fn(&Path) -> bool,
    known: BTreeMap<PathBuf, Known>,
    others: Vec<PathBuf>,
}

#[derive(Default)]
struct Known {
    /// The metadata at the last look; none if the file did not exist.
    seen: Option<Stamp>,
    /// The metadata when the file was last read, and the digest of its content or the reason why
    /// it was not read.
    read: Option<(Stamp, String)>,
    /// Whether it counts with the next look although it has not changed.
    counts_again: bool,
}

impl Watcher {
    /// Takes all files as they are now, in the order of their names. `each` gets each file
    /// before the next one is read.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(crate) fn begin(
        directory: &Path,
        bytes_max: usize,
        each: impl FnMut(File),
    ) -> io::Result<Self> {
        Self::new(directory, false, bytes_max, trust::is_companion, each)
    }

    /// The same for a folder that need not exist. A file in it counts again whenever it was
    /// written.
    ///
    /// # Errors
    /// If the folder exists and cannot be read.
    pub(crate) fn of_optional(
        folder: &Path,
        bytes_max: usize,
        is_companion: fn(&Path) -> bool,
        each: impl FnMut(File),
    ) -> io::Result<Self> {
        Self::new(folder, true, bytes_max, is_companion, each)
    }

    fn new(
        directory: &Path,
        is_optional: bool,
        bytes_max: usize,
        is_companion: fn(&Path) -> bool,
        mut each: impl FnMut(File),
    ) -> io::Result<Self> {
        let (directory, known, others) = (directory.to_owned(), BTreeMap::new(), Vec::new());
        let rewritten_counts = is_optional;
        let mut watcher = Self {
            directory,
            is_optional,
            rewritten_counts,
            bytes_max,
            is_companion,
            known,
            others,
        };
        let (paths, others) = watcher.list()?;
        watcher.others = others;
        for path in paths {
            let known = watcher.known.entry(path.clone()).or_default();
            known.seen = Stamp::of(&path).ok();
            if let Some(file) = known.read(&path, bytes_max).filter(|_| !is_companion(&path)) {
                each(file);
            }
        }
        Ok(watcher)
    }

    /// The components and their companions, and separately all other files.
    fn list(&self) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        let listing = match wasm::list(&self.directory) {
            Err(error) if self.is_optional && error.kind() == io::ErrorKind::NotFound => {
                Listing::default()
            }
            listing => listing?,
        };
        let (mut paths, mut others) = (listing.components, Vec::new());
        for path in listing.others {
            match (self.is_companion)(&path) {
                true => paths.push(path),
                false => others.push(path),
            }
        }
        paths.sort();
        Ok((paths, others))
    }

    /// The files in the directory that are neither components nor companions.
    pub(crate) fn others(&self) -> &[PathBuf] {
        &self.others
    }

    /// # Errors
    /// If the directory cannot be read. That says nothing about its files.
    pub(crate) fn look(&mut self) -> io::Result<Changes> {
        let (there, others) = self.list()?;
        let there: BTreeSet<PathBuf> = there.into_iter().collect();
        let mut changes = Changes::default();
        if others != self.others {
            self.others.clone_from(&others);
            changes.others = Some(others);
        }
        for path in &there {
            let known = self.known.entry(path.clone()).or_default();
            let Ok(stamp) = Stamp::of(path) else { continue };
            let is_settled = known.seen.as_ref() == Some(&stamp);
            let is_read = known.read.as_ref().is_some_and(|(read, _)| *read == stamp);
            known.seen = Some(stamp);
            if !is_settled || (is_read && !known.counts_again) {
                continue;
            }
            known.counts_again |= self.rewritten_counts;
            match known.read(path, self.bytes_max) {
                Some(_) if (self.is_companion)(path) => changes.companions.push(path.clone()),
                file => changes.files.extend(file),
            }
        }
        self.known.retain(|path, known| {
            // Two looks must miss the file, because some programs remove a file before they
            // write it.
            let is_gone = !there.contains(path) && known.seen.take().is_none();
            if is_gone && known.read.is_some() {
                match (self.is_companion)(path) {
                    true => changes.companions.push(path.clone()),
                    false => changes.removed.push(path.clone()),
                }
            }
            !is_gone
        });
        Ok(changes)
    }

    /// Lets a file count again although it has not changed.
    pub(crate) fn forget(&mut self, path: &Path) {
        if let Some(known) = self.known.get_mut(path) {
            known.counts_again = true;
        }
    }
}

/// The component in its current state; none if it cannot be read.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Option<File> {
    let bytes = files::bytes(path, bytes_max).ok()?;
    let digest = crate::decisions::digest::digest(&bytes);
    Some(File { path: path.to_owned(), content: Ok(bytes), digest })
}

impl Known {
    /// The file; none if it changes meanwhile, or if its content is the same and need not count
    /// again. A file that cannot be read until it changes counts too. One that may be readable
    /// later is read with the next look.
    fn read(&mut self, path: &Path, bytes_max: usize) -> Option<File> {
        let stamp = self.seen.clone()?;
        let content = match files::bytes(path, bytes_max) {
            Err(error) if !error.is_lasting() => return None,
            content => content.map_err(|error| wasm::unreadable(&error)),
        };
        if Stamp::of(path).ok().as_ref() != Some(&stamp) {
            return None;
        }
        let digest = content
            .as_ref()
            .map(|bytes| crate::decisions::digest::digest(bytes))
            .unwrap_or_default();
        let found = content.as_ref().err().unwrap_or(&digest).clone();
        let before = self.read.replace((stamp, found.clone()));
        let counts = std::mem::take(&mut self.counts_again);
        if !counts && before.is_some_and(|(_, before)| before == found) {
            return None;
        }
        Some(File { path: path.to_owned(), content, digest })
    }
}

#[cfg(test)]
mod tests;
