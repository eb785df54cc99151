//! Looks at the directory of plugins again and again. Knows files, not plugins.
//!
//! Names say which files are components and which are companions of some; nothing else is
//! opened. A store may lie in the directory, and logs that grow.
//!
//! By looking, because that works on every file system, and for every way in which a
//! file arrives. A file counts when it was the same in two looks, one pause apart: who
//! writes slowly is waited for. If the writer paused for longer, the half that is there
//! counts, and the whole counts again when it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::io::files::{self, Stamp};
use crate::plugins::trust;
use crate::plugins::wasm::{self, Listing};

/// A component that was not there like this before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub path: PathBuf,
    /// What is in it, or why that is not read.
    pub content: Result<Vec<u8>, String>,
    /// Of the content; empty if it is not read.
    pub digest: String,
}

/// What a look has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// In the order of their names.
    pub files: Vec<File>,
    pub removed: Vec<PathBuf>,
    /// Signatures and lock files that came, changed or went.
    pub companions: Vec<PathBuf>,
    /// All that is neither, if that has changed. It is not read.
    pub others: Option<Vec<PathBuf>>,
}

pub(crate) struct Watcher {
    directory: PathBuf,
    /// It need not be there.
    is_optional: bool,
    /// A file that was written again counts again, also with the content that it had: whoever
    /// puts a refused candidate there once more asks for another decision.
    rewritten_counts: bool,
    /// A larger file is not read.
    bytes_max: usize,
    /// Tells what says something of a file beside it from what is one.
    is_companion: fn(&Path) -> bool,
    known: BTreeMap<PathBuf, Known>,
    others: Vec<PathBuf>,
}

#[derive(Default)]
struct Known {
    /// What the last look saw; none if it was not there.
    seen: Option<Stamp>,
    /// As it was when it was read last, and the digest of what was in it, or why it was not
    /// read.
    read: Option<(Stamp, String)>,
    /// It counts with the next look, though it is as it was.
    counts_again: bool,
}

impl Watcher {
    /// Takes all files as they are now, in the order of their names: `each` has one of them
    /// before the next is read.
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

    /// Also if there is no such folder. A file counts again whenever it was written.
    ///
    /// # Errors
    /// If the folder is there and cannot be read.
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

    /// The components and their companions, and apart from them all others.
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

    /// What is in the directory, and is not for a host.
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
            // Two looks, because some write by removing first.
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

    /// Has a file count again, though it is as it was.
    pub(crate) fn forget(&mut self, path: &Path) {
        if let Some(known) = self.known.get_mut(path) {
            known.counts_again = true;
        }
    }
}

/// A component as it is now; none if it cannot be read.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Option<File> {
    let bytes = files::bytes(path, bytes_max).ok()?;
    let digest = crate::decisions::digest::digest(&bytes);
    Some(File { path: path.to_owned(), content: Ok(bytes), digest })
}

impl Known {
    /// The file, unless it changes meanwhile, or holds what it held and need not count again. A file that cannot be
    /// read is one as well, if only a change of it can help; else it is read with the next look.
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

    /// Components are called by the names before their `.wasm` here.
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

        /// `name=content` of what counts now, `-name` of what is gone, and `+name` of
        /// signatures and lock files that are not as they were.
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
    fn signatures_and_the_lock_file_are_no_plugins_and_tell_when_they_change() {
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
        // Those that are there from the start are not taken for plugins either.
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
    fn a_file_of_the_store_or_too_large_a_one_is_told_once_and_not_read() {
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
        // As stores and logs do all the time.
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
