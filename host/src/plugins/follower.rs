//! Follows a directory for the plugin directory and for the candidates: looks at it in the
//! background, and numbers what it finds at each path, so that work on an older find can be
//! distinguished from work on the newest.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::plugins::factory::Find;
use crate::plugins::watch::{Changes, Watcher};

pub(crate) struct Follower {
    /// The log line for a directory that cannot be read.
    trouble: &'static str,
    /// None before it begins, and while a look is in progress.
    watcher: Option<Watcher>,
    /// The number of the newest find at each path.
    finds: BTreeMap<PathBuf, u64>,
    /// Whether the last look could not read the directory.
    is_blind: bool,
}

impl Follower {
    /// A follower that does nothing before `begin`.
    pub(crate) fn new(trouble: &'static str) -> Self {
        Self { trouble, watcher: None, finds: BTreeMap::new(), is_blind: false }
    }

    /// Follows the directory from the first look of this watcher on. Returns the result of `first`.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(crate) async fn begin<T: Send + 'static>(
        &mut self,
        first: impl FnOnce() -> io::Result<(Watcher, T)> + Send + 'static,
    ) -> io::Result<T> {
        let begun = tokio::task::spawn_blocking(first).await.map_err(io::Error::other)?;
        let (watcher, found) = begun?;
        self.watcher = Some(watcher);
        Ok(found)
    }

    /// Looks at the directory again. Returns none if it cannot be read: the last result still
    /// counts then.
    pub(crate) async fn look(&mut self) -> Option<Changes> {
        let mut watcher = self.watcher.take()?;
        let looked = tokio::task::spawn_blocking(move || {
            let changes = watcher.look();
            (watcher, changes)
        });
        let (watcher, changes) = looked.await.ok()?;
        self.watcher = Some(watcher);
        match changes {
            Ok(changes) => {
                self.is_blind = false;
                Some(changes)
            }
            Err(error) => {
                // Logged once, because there are several looks a second.
                if !std::mem::replace(&mut self.is_blind, true) {
                    tracing::error!(%error, "{}", self.trouble);
                }
                None
            }
        }
    }

    /// Files whose names are not those of components.
    pub(crate) fn others(&self) -> &[PathBuf] {
        self.watcher.as_ref().map_or(&[], Watcher::others)
    }

    /// Returns a new number, because something was found at the path, or it is gone: earlier finds
    /// are void.
    pub(crate) fn next_find(&mut self, path: &Path) -> u64 {
        let number = self.finds.entry(path.to_owned()).or_default();
        *number += 1;
        *number
    }

    /// Whether something else was found at the path since.
    pub(crate) fn is_void(&self, find: &Find) -> bool {
        self.finds.get(&find.path) != Some(&find.number)
    }

    /// Lets the file at the path count as found again at the next looks.
    pub(crate) fn forget(&mut self, path: &Path) {
        if let Some(watcher) = &mut self.watcher {
            watcher.forget(path);
        }
    }

    /// Every path at which something was found.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.finds.keys()
    }
}
