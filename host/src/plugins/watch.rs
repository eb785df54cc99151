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
pub(crate) struct News {
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
    pub(crate) fn look(&mut self) -> io::Result<News> {
        let (there, others) = self.list()?;
        let there: BTreeSet<PathBuf> = there.into_iter().collect();
        let mut news = News::default();
        if others != self.others {
            self.others.clone_from(&others);
            news.others = Some(others);
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
                Some(_) if (self.is_companion)(path) => news.companions.push(path.clone()),
                file => news.files.extend(file),
            }
        }
        self.known.retain(|path, known| {
            // Two looks must miss the file, because some programs remove a file before they
            // write it.
            let is_gone = !there.contains(path) && known.seen.take().is_none();
            if is_gone && known.read.is_some() {
                match (self.is_companion)(path) {
                    true => news.companions.push(path.clone()),
                    false => news.removed.push(path.clone()),
                }
            }
            !is_gone
        });
        Ok(news)
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
mod tests {
    use std::fs;
    use std::io::Write as _;

    use tempfile::TempDir;

    use super::*;

    const BYTES_MAX: usize = 9;

    struct Directory {
        folder: TempDir,
        watcher: Watcher,
    }

    /// The tests call a component by its name without `.wasm`.
    fn name_of(name: &str) -> String {
        match name.contains('.') && !name.starts_with('.') {
            true => name.to_owned(),
            false => format!("{name}.wasm"),
        }
    }

    impl Directory {
        fn with(files: &[(&str, &str)]) -> Self {
            let folder = TempDir::new().unwrap();
            for (name, text) in files {
                fs::write(folder.path().join(name_of(name)), text).unwrap();
            }
            let mut found = Vec::new();
            let each = |file: File| found.push(file.content.unwrap());
            let watcher = Watcher::begin(folder.path(), BYTES_MAX, each).unwrap();
            assert_eq!(found, files.iter().map(|(_, t)| t.as_bytes().to_vec()).collect::<Vec<_>>());
            Self { folder, watcher }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name_of(name))
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        /// `name=content` of files that count now, `-name` of files that are gone, and `+name` of
        /// signatures and lock files that changed.
        fn look(&mut self) -> Vec<String> {
            let news = self.watcher.look().unwrap();
            let name = |path: &Path| {
                path.file_name().unwrap().to_string_lossy().trim_end_matches(".wasm").to_owned()
            };
            let text = |file: &File| match &file.content {
                Ok(bytes) => String::from_utf8(bytes.clone()).unwrap(),
                Err(reason) => format!("({reason})"),
            };
            let files = news.files.iter().map(|f| format!("{}={}", name(&f.path), text(f)));
            let removed = news.removed.iter().map(|path| format!("-{}", name(path)));
            let companions = news.companions.iter().map(|path| format!("+{}", name(path)));
            files.chain(removed).chain(companions).collect()
        }

        #[track_caller]
        fn expect(&mut self, expected: &[&str]) {
            assert_eq!(self.look(), expected);
        }
    }

    #[test]
    fn a_new_file_counts_once_when_it_rests() {
        let mut directory = Directory::with(&[("a", "1")]);
        directory.expect(&[]);
        directory.write("b", "2");
        directory.expect(&[]);
        directory.expect(&["b=2"]);
        directory.expect(&[]);
    }

    #[test]
    fn a_file_that_is_written_slowly_is_waited_for() {
        let mut directory = Directory::with(&[]);
        let mut file = fs::File::create(directory.path("a")).unwrap();
        for part in ["on", "ce", "!"] {
            file.write_all(part.as_bytes()).unwrap();
            file.flush().unwrap();
            directory.expect(&[]);
        }
        directory.expect(&["a=once!"]);
    }

    #[test]
    fn a_writer_that_pauses_is_taken_by_half_and_then_whole() {
        let mut directory = Directory::with(&[]);
        directory.write("a", "ha");
        directory.expect(&[]);
        directory.expect(&["a=ha"]);
        directory.write("a", "half");
        directory.expect(&[]);
        directory.expect(&["a=half"]);
    }

    #[test]
    fn a_file_comes_by_rename_over_another() {
        let mut directory = Directory::with(&[("a", "1")]);
        directory.write(".a.new", "2");
        directory.expect(&[]);
        fs::rename(directory.path(".a.new"), directory.path("a")).unwrap();
        directory.expect(&[]);
        directory.expect(&["a=2"]);
    }

    #[test]
    fn a_renamed_file_is_there_before_the_old_name_is_gone() {
        let mut directory = Directory::with(&[("a", "1")]);
        fs::rename(directory.path("a"), directory.path("b")).unwrap();
        directory.expect(&[]);
        directory.expect(&["b=1", "-a"]);
    }

    #[test]
    fn several_come_together_in_the_order_of_their_names() {
        let mut directory = Directory::with(&[]);
        for name in ["c", "a", "b"] {
            directory.write(name, name);
        }
        directory.expect(&[]);
        directory.expect(&["a=a", "b=b", "c=c"]);
    }

    #[test]
    fn a_file_that_is_removed_and_put_back_counts_again() {
        let mut directory = Directory::with(&[("a", "1")]);
        fs::remove_file(directory.path("a")).unwrap();
        directory.expect(&[]);
        directory.expect(&["-a"]);
        directory.expect(&[]);
        directory.write("a", "1");
        directory.expect(&[]);
        directory.expect(&["a=1"]);
    }

    #[test]
    fn who_writes_by_removing_first_removes_nothing() {
        let mut directory = Directory::with(&[("a", "1")]);
        fs::remove_file(directory.path("a")).unwrap();
        directory.expect(&[]);
        directory.write("a", "2");
        directory.expect(&[]);
        directory.expect(&["a=2"]);
    }

    #[test]
    fn what_is_broken_and_then_mended_counts_both_times() {
        let mut directory = Directory::with(&[("a", "good")]);
        for text in ["broken", "good"] {
            directory.write("a", text);
            directory.expect(&[]);
            directory.expect(&[&format!("a={text}")]);
        }
    }

    #[test]
    fn a_file_that_is_only_touched_is_no_news() {
        let mut directory = Directory::with(&[("a", "1")]);
        directory.write("a", "1");
        directory.expect(&[]);
        directory.expect(&[]);
    }

    #[test]
    fn what_is_written_again_counts_again_where_candidates_lie() {
        let mut directory = Directory::with(&[]);
        directory.write("a", "1");
        let (folder, never) = (directory.folder.path().to_owned(), |_: &Path| false);
        directory.watcher = Watcher::of_optional(&folder, BYTES_MAX, never, drop).unwrap();
        directory.expect(&[]);
        directory.write("a", "1");
        directory.expect(&[]);
        directory.expect(&["a=1"]);
        directory.expect(&[]);
    }

    #[test]
    fn what_is_forgotten_and_then_removed_is_gone() {
        let mut directory = Directory::with(&[("a", "1")]);
        directory.expect(&[]);
        let path = directory.path("a");
        directory.watcher.forget(&path);
        fs::remove_file(path).unwrap();
        directory.expect(&[]);
        directory.expect(&["-a"]);
    }

    #[test]
    fn what_is_forgotten_counts_again() {
        let mut directory = Directory::with(&[("a", "1")]);
        directory.expect(&[]);
        let path = directory.path("a");
        directory.watcher.forget(&path);
        directory.expect(&["a=1"]);
    }

    #[test]
    fn signatures_and_the_lock_file_are_no_plugins_and_their_changes_are_noticed() {
        let mut directory = Directory::with(&[("a", "1")]);
        directory.write("a.wasm.minisig", "half");
        directory.write("sagabox.lock", "1");
        directory.expect(&[]);
        directory.expect(&["+a.wasm.minisig", "+sagabox.lock"]);
        directory.write("a.wasm.minisig", "whole");
        directory.expect(&[]);
        directory.expect(&["+a.wasm.minisig"]);
        fs::remove_file(directory.path("sagabox.lock")).unwrap();
        directory.expect(&[]);
        directory.expect(&["+sagabox.lock"]);
        // Other files that exist from the start are not taken for plugins either.
        let mut found = 0;
        Watcher::begin(directory.folder.path(), BYTES_MAX, |_| found += 1).unwrap();
        assert_eq!(found, 1);
    }

    #[test]
    fn what_is_not_named_as_a_component_is_listed_and_never_read() {
        let mut directory = Directory::with(&[("a", "1")]);
        for name in ["out.ndjson", "sagabox.db", "host.log", "wasm", "a.wasm.bak"] {
            fs::write(directory.folder.path().join(name), "1").unwrap();
        }
        directory.expect(&[]);
        directory.expect(&[]);
        let others = directory.watcher.others().iter().map(|path| path.file_name().unwrap());
        let expected = ["a.wasm.bak", "host.log", "out.ndjson", "sagabox.db", "wasm"];
        assert_eq!(others.collect::<Vec<_>>(), expected);
        directory.write("b.wat", "2");
        directory.expect(&[]);
        directory.expect(&["b.wat=2"]);
    }

    #[test]
    fn a_file_of_the_store_or_too_large_a_one_is_reported_once_and_not_read() {
        let mut directory = Directory::with(&[("a", "1")]);
        let root = directory.folder.path().canonicalize().unwrap();
        fs::write(root.join("s.db"), "1").unwrap();
        let _guard = files::guard_store(&root.join("s.db"));
        fs::hard_link(root.join("s.db"), directory.path("x")).unwrap();
        directory.write("y", "1234567890");
        directory.expect(&[]);
        directory.expect(&[
            "x=(is a file of the store that this host has open, under another name; it is not \
             read. Remove this name)",
            "y=(has more than 9 bytes (limit component_bytes))",
        ]);
        // Stores and logs change all the time.
        fs::write(root.join("s.db"), "12").unwrap();
        directory.write("y", "1234567890+");
        directory.expect(&[]);
        directory.expect(&[]);
        directory.write("y", "123456789");
        fs::remove_file(directory.path("x")).unwrap();
        fs::write(directory.path("x"), "good").unwrap();
        directory.expect(&[]);
        directory.expect(&["x=good", "y=123456789"]);
    }

    #[test]
    fn a_directory_that_cannot_be_read_removes_nothing() {
        let mut directory = Directory::with(&[("a", "1")]);
        let here = directory.folder.path().to_owned();
        let away = here.with_extension("away");
        fs::rename(&here, &away).unwrap();
        for _ in 0..3 {
            assert!(directory.watcher.look().is_err());
        }
        fs::rename(&away, &here).unwrap();
        directory.expect(&[]);
        directory.expect(&[]);
    }
}
