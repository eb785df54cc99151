//! Looks at the directory of plugins again and again. Knows files, not plugins.
//!
//! By looking, because that works on every file system, and for every way in which a
//! file arrives. A file counts when it was the same in two looks, one pause apart: who
//! writes slowly is waited for. If the writer paused for longer, the half that is there
//! counts, and the whole counts again when it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::candidates;
use crate::files::Stamp;
use crate::{plugin, trust};

/// A file that was not there like this before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    pub digest: String,
}

/// What a look has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// In the order of their names.
    pub files: Vec<File>,
    pub removed: Vec<PathBuf>,
    /// Signatures and lock files that came, changed or went.
    pub companions: Vec<PathBuf>,
}

pub struct Watcher {
    directory: PathBuf,
    /// It need not be there.
    is_optional: bool,
    /// Tells what says something of a file beside it from what is one.
    is_companion: fn(&Path) -> bool,
    known: BTreeMap<PathBuf, Known>,
}

#[derive(Default)]
struct Known {
    /// What the last look saw; none if it was not there.
    seen: Option<Stamp>,
    /// As it was when it was read last, and what was in it.
    read: Option<(Stamp, String)>,
}

impl Watcher {
    /// Takes all files as they are now.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn begin(directory: &Path) -> io::Result<(Self, Vec<File>)> {
        Self::new(directory, false, trust::is_companion)
    }

    /// Also if there is no such folder.
    ///
    /// # Errors
    /// If the folder is there and cannot be read.
    pub fn of_candidates(folder: &Path) -> io::Result<(Self, Vec<File>)> {
        Self::new(folder, true, candidates::is_companion)
    }

    fn new(
        directory: &Path,
        is_optional: bool,
        is_companion: fn(&Path) -> bool,
    ) -> io::Result<(Self, Vec<File>)> {
        let (directory, known) = (directory.to_owned(), BTreeMap::new());
        let mut watcher = Self { directory, is_optional, is_companion, known };
        let mut files = Vec::new();
        for path in watcher.files()? {
            let known = watcher.known.entry(path.clone()).or_default();
            known.seen = Stamp::of(&path).ok();
            files.extend(known.read(&path).filter(|_| !is_companion(&path)));
        }
        Ok((watcher, files))
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        match plugin::files(&self.directory) {
            Err(error) if self.is_optional && error.kind() == io::ErrorKind::NotFound => {
                Ok(Vec::new())
            }
            files => files,
        }
    }

    /// # Errors
    /// If the directory cannot be read. That says nothing about its files.
    pub fn look(&mut self) -> io::Result<News> {
        let there: BTreeSet<PathBuf> = self.files()?.into_iter().collect();
        let mut news = News::default();
        for path in &there {
            let known = self.known.entry(path.clone()).or_default();
            let Ok(stamp) = Stamp::of(path) else { continue };
            let is_settled = known.seen.as_ref() == Some(&stamp);
            let is_read = known.read.as_ref().is_some_and(|(read, _)| *read == stamp);
            known.seen = Some(stamp);
            if !is_settled || is_read {
                continue;
            }
            match known.read(path) {
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
    pub fn forget(&mut self, path: &Path) {
        if let Some(known) = self.known.get_mut(path) {
            known.read = None;
        }
    }
}

impl Known {
    /// The file, unless it changes meanwhile or holds what it held.
    fn read(&mut self, path: &Path) -> Option<File> {
        let stamp = self.seen.clone()?;
        let bytes = std::fs::read(path).ok()?;
        if Stamp::of(path).ok().as_ref() != Some(&stamp) {
            return None;
        }
        let digest = plugin::digest(&bytes);
        let before = self.read.replace((stamp, digest.clone()));
        if before.is_some_and(|(_, before)| before == digest) {
            return None;
        }
        Some(File { path: path.to_owned(), bytes, digest })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use tempfile::TempDir;

    use super::*;

    struct Directory {
        folder: TempDir,
        watcher: Watcher,
    }

    impl Directory {
        fn with(files: &[(&str, &str)]) -> Self {
            let folder = TempDir::new().unwrap();
            for (name, text) in files {
                fs::write(folder.path().join(name), text).unwrap();
            }
            let (watcher, found) = Watcher::begin(folder.path()).unwrap();
            let found: Vec<_> = found.into_iter().map(|file| file.bytes).collect();
            assert_eq!(found, files.iter().map(|(_, t)| t.as_bytes().to_vec()).collect::<Vec<_>>());
            Self { folder, watcher }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        /// `name=content` of what counts now, `-name` of what is gone, and `+name` of
        /// signatures and lock files that are not as they were.
        fn look(&mut self) -> Vec<String> {
            let news = self.watcher.look().unwrap();
            let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
            let text = |file: &File| String::from_utf8(file.bytes.clone()).unwrap();
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
        directory.write("a.minisig", "half");
        directory.write("sagabox.lock", "1");
        directory.expect(&[]);
        directory.expect(&["+a.minisig", "+sagabox.lock"]);
        directory.write("a.minisig", "whole");
        directory.expect(&[]);
        directory.expect(&["+a.minisig"]);
        fs::remove_file(directory.path("sagabox.lock")).unwrap();
        directory.expect(&[]);
        directory.expect(&["+sagabox.lock"]);
        // Those that are there from the start are not taken for plugins either.
        let (_, found) = Watcher::begin(directory.folder.path()).unwrap();
        assert_eq!(found.len(), 1);
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
