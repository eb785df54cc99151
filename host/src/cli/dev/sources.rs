//! Notices changes of the files of a source. It polls them, like the directory of plugins,
//! because that works on every file system and with every editor.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::io::files::Stamp;

/// Directories with build results, of any language.
const MADE: [&str; 6] = ["target", "node_modules", "__pycache__", "dist", "build", "out"];

type Tree = BTreeMap<PathBuf, Stamp>;

pub(crate) struct Sources {
    root: PathBuf,
    /// Files that this command writes.
    made: Vec<PathBuf>,
    /// The files when they were built last.
    built: Tree,
    /// The files at the last look.
    seen: Tree,
}

impl Sources {
    /// # Errors
    /// If the directory cannot be read.
    pub(crate) fn begin(root: &Path, made: &[&Path]) -> io::Result<Self> {
        let made = made.iter().map(std::path::absolute).collect::<io::Result<_>>()?;
        let root = std::path::absolute(root)?;
        let mut sources = Self { root, made, built: Tree::new(), seen: Tree::new() };
        sources.built = sources.tree()?;
        sources.seen = sources.built.clone();
        Ok(sources)
    }

    /// Whether to build now: a file has changed since the last build, and none since the last
    /// look.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(crate) fn look(&mut self) -> io::Result<bool> {
        let now = self.tree()?;
        let is_settled = now == self.seen;
        self.seen = now;
        let is_due = is_settled && self.seen != self.built;
        if is_due {
            self.built = self.seen.clone();
        }
        Ok(is_due)
    }

    /// Takes a file at the root as built in its current state.
    pub(crate) fn take(&mut self, name: &str) {
        let path = self.root.join(name);
        match Stamp::of(&path) {
            Ok(stamp) => self.built.insert(path, stamp),
            Err(_) => self.built.remove(&path),
        };
    }

    fn tree(&self) -> io::Result<Tree> {
        let mut tree = Tree::new();
        self.walk(&self.root, &mut tree)?;
        Ok(tree)
    }

    fn walk(&self, folder: &Path, tree: &mut Tree) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let (path, kind) = {
                let entry = entry?;
                (entry.path(), entry.file_type()?)
            };
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_made = kind.is_dir() && MADE.contains(&name.as_ref());
            if name.starts_with('.') || is_made || self.made.contains(&path) {
                continue;
            }
            // A file may vanish after it was listed. Then it counts as removed.
            if kind.is_dir() {
                match self.walk(&path, tree) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    walked => walked?,
                }
            } else if let Ok(stamp) = Stamp::of(&path) {
                tree.insert(path, stamp);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn project() -> (TempDir, Sources) {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/lib.rs"), "1").unwrap();
        let scratch = folder.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let sources = Sources::begin(folder.path(), &[&scratch]).unwrap();
        (folder, sources)
    }

    fn looks(sources: &mut Sources, count: usize) -> Vec<bool> {
        (0..count).map(|_| sources.look().unwrap()).collect()
    }

    #[test]
    fn a_burst_of_changes_is_one_build() {
        let (folder, mut sources) = project();
        assert_eq!(looks(&mut sources, 2), [false, false]);
        for text in ["22", "333", "4444"] {
            fs::write(folder.path().join("src/lib.rs"), text).unwrap();
            assert_eq!(looks(&mut sources, 1), [false]);
        }
        assert_eq!(looks(&mut sources, 3), [true, false, false]);
    }

    #[test]
    fn files_that_come_and_go_are_changes() {
        let (folder, mut sources) = project();
        fs::write(folder.path().join("src/more.rs"), "").unwrap();
        assert_eq!(looks(&mut sources, 3), [false, true, false]);
        fs::remove_file(folder.path().join("src/more.rs")).unwrap();
        assert_eq!(looks(&mut sources, 3), [false, true, false]);
    }

    #[test]
    fn what_is_made_or_hidden_is_no_source() {
        let (folder, mut sources) = project();
        for name in ["target", "src/node_modules", ".git", "scratch"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("x"), "").unwrap();
        }
        fs::write(folder.path().join("src/.lib.rs.swp"), "").unwrap();
        assert_eq!(looks(&mut sources, 2), [false, false]);
    }

    #[test]
    fn what_the_build_wrote_itself_is_no_change() {
        let (folder, mut sources) = project();
        fs::write(folder.path().join("Cargo.lock"), "1").unwrap();
        sources.take("Cargo.lock");
        assert_eq!(looks(&mut sources, 3), [false, false, false]);
    }
}
