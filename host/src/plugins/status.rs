//! The status of the plugins: which serve, which were refused and why, and which are tried.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use sagabox_engine::model::{Manifest, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::decisions::kinds::KindCount;
use crate::io::locks::lock;
use crate::io::times::{Time, rfc3339};
use crate::plugins::rollout::tally::{Counts, Differing, Tally};
use crate::plugins::rollout::terms::{Terms, Withdrawn};
use crate::store::query::shapes::{KindShape, ManifestShape};

/// The most names of files that are not components. A directory may have any number.
const LEFT_OUT_MAX: usize = 100;

/// The status of all plugins. It is cheap to clone, and all clones are one status.
#[derive(Clone, Debug, Default)]
pub struct PluginStatus(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    serving: BTreeMap<String, PluginView>,
    refused: BTreeMap<PathBuf, RefusedView>,
    checking: BTreeMap<PathBuf, CheckingView>,
    trials: BTreeMap<PathBuf, TrialStatus>,
    left_out: Vec<PathBuf>,
    refusals: u64,
    replacements: u64,
    withdrawals: u64,
    /// Counts the changes of the versions that decide live events.
    changes: u64,
}

/// A file with candidates that are tried, or were withdrawn.
#[derive(Clone, Debug)]
pub(in crate::plugins) struct TrialStatus {
    pub file: String,
    pub digest: String,
    pub since: Timestamp,
    pub terms: Terms,
    pub preflight: Option<String>,
    pub withdrawn: Option<Withdrawn>,
    pub plugins: Vec<(Manifest, Arc<Tally>)>,
}

/// A candidate that is tried beside the version that serves.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Candidate)]
pub struct CandidateView {
    pub plugin: String,
    pub version: String,
    /// `shadow` or `canary`.
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// `tried` or `withdrawn`.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// The share of a canary, in percent of the keys; none for a shadow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// How many of a canary's last hundred calls may fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures_max: Option<u32>,
    pub file: String,
    pub digest: String,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub since: Timestamp,
    #[serde(flatten)]
    pub counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preflight: Option<String>,
    /// When and why a canary was withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Withdrawn>,
    /// The kinds of a shadow's differences, the most frequent first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<KindShape>)]
    pub kinds: Vec<KindCount<Differing>>,
    /// The last decisions in which a shadow differs, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Differing>,
}

/// A plugin that serves, and the file it came from.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Plugin)]
pub struct PluginView {
    pub file: String,
    /// SHA-256 of the file.
    pub digest: String,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub since: Timestamp,
    /// The report on the instances' states when this version began to serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preflight: Option<String>,
    #[serde(flatten)]
    #[schema(value_type = ManifestShape)]
    pub manifest: Manifest,
}

/// A file that was refused. The version before it continues to serve.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Refused)]
pub struct RefusedView {
    pub file: String,
    /// Empty if the file was not read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub refused_at: Timestamp,
    pub reason: String,
    /// What a plugin that was stopped had logged, and where it was stopped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// A file whose plugin is tried on the states of all instances.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Checking)]
pub struct CheckingView {
    pub file: String,
    pub digest: String,
    /// The states that were migrated so far.
    pub migrated: u64,
    pub failed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    pub refusals: u64,
    pub replacements: u64,
    /// The number of canaries that were withdrawn because they failed too often.
    pub withdrawals: u64,
}

impl PluginStatus {
    /// The plugins that serve, in the order of their names.
    pub fn serving(&self) -> Vec<PluginView> {
        self.lock().serving.values().cloned().collect()
    }

    /// A number that changes with each change of [`Self::deciding`].
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// The digests and manifests of all versions that decide live events: those that serve, and
    /// canaries.
    pub fn deciding(&self) -> Vec<(String, Manifest)> {
        let state = self.lock();
        let serving =
            state.serving.values().map(|view| (view.digest.clone(), view.manifest.clone()));
        let is_canary = |trial: &&TrialStatus| {
            trial.withdrawn.is_none() && matches!(trial.terms, Terms::Canary { .. })
        };
        let canaries = state.trials.values().filter(is_canary).flat_map(|trial| {
            trial.plugins.iter().map(|(manifest, _)| (trial.digest.clone(), manifest.clone()))
        });
        serving.chain(canaries).collect()
    }

    pub fn refused(&self) -> Vec<RefusedView> {
        self.lock().refused.values().cloned().collect()
    }

    pub fn checking(&self) -> Vec<CheckingView> {
        self.lock().checking.values().cloned().collect()
    }

    /// Files of the plugin directory that are not named as components.
    pub fn left_out(&self) -> Vec<String> {
        let state = self.lock();
        let shown = state.left_out.iter().take(LEFT_OUT_MAX);
        shown.map(|path| path.display().to_string()).collect()
    }

    pub fn candidates(&self) -> Vec<CandidateView> {
        self.lock().trials.values().flat_map(TrialStatus::views).collect()
    }

    /// The counts since the host started.
    pub fn totals(&self) -> Totals {
        let state = self.lock();
        let State { refusals, replacements, withdrawals, .. } = *state;
        Totals { refusals, replacements, withdrawals }
    }

    pub(in crate::plugins) fn leave_out(&self, files: &[PathBuf]) {
        files.clone_into(&mut self.lock().left_out);
    }

    pub(in crate::plugins) fn serve(&self, view: PluginView) {
        let mut state = self.lock();
        state.changes += 1;
        let name = view.manifest.name.to_string();
        if state.serving.insert(name, view).is_some() {
            state.replacements += 1;
        }
    }

    /// Notes that only the name of the plugin's file has changed.
    pub(in crate::plugins) fn rename(&self, plugin: &str, file: &Path) {
        if let Some(view) = self.lock().serving.get_mut(plugin) {
            view.file = file.display().to_string();
        }
    }

    pub(in crate::plugins) fn withdraw(&self, plugin: &str) {
        let mut state = self.lock();
        state.changes += 1;
        state.serving.remove(plugin);
    }

    pub(in crate::plugins) fn refuse(&self, path: &Path, view: RefusedView) {
        let mut state = self.lock();
        state.refusals += 1;
        state.refused.insert(path.to_owned(), view);
    }

    pub(in crate::plugins) fn check(&self, path: &Path, view: CheckingView) {
        self.lock().checking.insert(path.to_owned(), view);
    }

    pub(in crate::plugins) fn try_out(&self, path: &Path, trial: TrialStatus) {
        let mut state = self.lock();
        state.changes += 1;
        state.trials.insert(path.to_owned(), trial);
    }

    pub(in crate::plugins) fn adjust(&self, path: &Path, terms: Terms) {
        let mut state = self.lock();
        state.changes += 1;
        if let Some(trial) = state.trials.get_mut(path) {
            trial.terms = terms;
        }
    }

    pub(in crate::plugins) fn withdraw_trial(&self, path: &Path, withdrawn: Withdrawn) {
        let mut state = self.lock();
        state.withdrawals += 1;
        state.changes += 1;
        if let Some(trial) = state.trials.get_mut(path) {
            trial.withdrawn = Some(withdrawn);
        }
    }

    pub(in crate::plugins) fn is_withdrawn(&self, path: &Path, digest: &str) -> bool {
        let state = self.lock();
        let trial = state.trials.get(path).filter(|trial| trial.digest == digest);
        trial.is_some_and(|trial| trial.withdrawn.is_some())
    }

    pub(in crate::plugins) fn end_trial(&self, path: &Path) {
        let mut state = self.lock();
        state.changes += 1;
        state.trials.remove(path);
    }

    /// Removes the refusal or the check of a file.
    pub(in crate::plugins) fn clear(&self, path: &Path) {
        let mut state = self.lock();
        state.refused.remove(path);
        state.checking.remove(path);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl TrialStatus {
    fn views(&self) -> impl Iterator<Item = CandidateView> {
        let (kind, share, failures_max) = match self.terms {
            Terms::Shadow(_) => ("shadow", None, None),
            Terms::Canary { share, failures_max } => {
                ("canary", Some(share.as_percent()), Some(failures_max))
            }
        };
        let status = if self.withdrawn.is_some() { "withdrawn" } else { "tried" };
        self.plugins.iter().map(move |(manifest, tally)| CandidateView {
            plugin: manifest.name.to_string(),
            version: manifest.version.to_string(),
            kind,
            status,
            share,
            failures_max,
            file: self.file.clone(),
            digest: self.digest.clone(),
            since: self.since,
            counts: tally.counts(),
            preflight: self.preflight.clone(),
            withdrawn: self.withdrawn.clone(),
            kinds: tally.kinds(),
            differences: tally.differing(),
        })
    }
}
