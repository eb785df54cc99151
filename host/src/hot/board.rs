//! What people see of the plugins: which serve, and which were refused, and why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sagabox_engine::model::{Manifest, Timestamp};
use serde::Serialize;

/// Cheap to clone; all clones are one board.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    serving: BTreeMap<String, PluginView>,
    refused: BTreeMap<PathBuf, RefusedView>,
    checking: BTreeMap<PathBuf, CheckingView>,
    refusals: u64,
    replacements: u64,
}

/// A plugin that serves, and the file it came from.
#[derive(Clone, Debug, Serialize)]
pub struct PluginView {
    pub file: String,
    /// SHA-256 of the file.
    pub digest: String,
    pub since_at: Timestamp,
    /// What became of the instances' states when this version came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preflight: Option<String>,
    #[serde(flatten)]
    pub manifest: Manifest,
}

/// A file that does not serve. What served before it goes on.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedView {
    pub file: String,
    pub digest: String,
    pub refused_at: Timestamp,
    pub reason: String,
}

/// A file whose plugin is tried on the states of all instances.
#[derive(Clone, Debug, Serialize)]
pub struct CheckingView {
    pub file: String,
    pub digest: String,
    /// States so far.
    pub migrated: u64,
    pub failed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    pub refusals: u64,
    pub replacements: u64,
}

impl Board {
    /// In the order of their names.
    pub fn serving(&self) -> Vec<PluginView> {
        self.lock().serving.values().cloned().collect()
    }

    pub fn refused(&self) -> Vec<RefusedView> {
        self.lock().refused.values().cloned().collect()
    }

    pub fn checking(&self) -> Vec<CheckingView> {
        self.lock().checking.values().cloned().collect()
    }

    /// Since the host started.
    pub fn totals(&self) -> Totals {
        let state = self.lock();
        Totals { refusals: state.refusals, replacements: state.replacements }
    }

    pub(super) fn serve(&self, view: PluginView) {
        let mut state = self.lock();
        let name = view.manifest.name.to_string();
        if state.serving.insert(name, view).is_some() {
            state.replacements += 1;
        }
    }

    /// The plugin's file has another name, and is the same.
    pub(super) fn rename(&self, plugin: &str, file: &Path) {
        if let Some(view) = self.lock().serving.get_mut(plugin) {
            view.file = file.display().to_string();
        }
    }

    pub(super) fn withdraw(&self, plugin: &str) {
        self.lock().serving.remove(plugin);
    }

    pub(super) fn refuse(&self, path: &Path, view: RefusedView) {
        let mut state = self.lock();
        state.refusals += 1;
        state.refused.insert(path.to_owned(), view);
    }

    pub(super) fn check(&self, path: &Path, view: CheckingView) {
        self.lock().checking.insert(path.to_owned(), view);
    }

    /// Nothing is held against the file, or tried with it, any more.
    pub(super) fn clear(&self, path: &Path) {
        let mut state = self.lock();
        state.refused.remove(path);
        state.checking.remove(path);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
