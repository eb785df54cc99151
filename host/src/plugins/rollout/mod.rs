//! Candidates: versions that are tried beside those that serve. They are files in the folder
//! `candidates` of the plugin directory, which is polled like the directory.
//!
//! A candidate is a *shadow*, whose decisions are compared with those of the version that serves
//! and discarded; or, if a file beside it says so, a *canary*, which serves a share of the keys
//! until it fails too often. An operator promotes it by moving its file over that of the version
//! that serves. A file counts as a whole here too.

mod admission;
mod canary;
mod room;
mod running;
pub(in crate::plugins) mod served;
mod shadow;
pub(in crate::plugins) mod tally;
pub(in crate::plugins) mod terms;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sagabox_engine::engine::{Canary, Engine};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use self::served::{Beside, Served, WaysBack};
pub use self::tally::{Counts, Differing, Tally};
pub use self::terms::{FAILURES_MAX, Record, ShadowTerms, Terms, Withdrawn, is_companion};

use self::admission::{Admission, AdmissionResult, Admitted, Fit};
use self::running::{Failing, Part, RunningTrial, TrialKind, digests};
use crate::batches::Batches;
use crate::plugins::factory::{Find, PluginFactory, Preflight};
use crate::plugins::follower::Follower;
use crate::plugins::keeping::InUse;
use crate::plugins::status::{PluginStatus, RefusedView, TrialStatus};
use crate::plugins::trust;
use crate::plugins::wasm;
use crate::plugins::watch::{self, Changes, Watcher};

/// After this many looks without the file, its trial ends. The plugin directory may see a file
/// that was moved there two looks later.
const LOOKS_GONE: u32 = 2;

pub struct Candidates {
    folder: PathBuf,
    factory: Arc<PluginFactory>,
    plugin_status: PluginStatus,
    rule: Preflight,
    follower: Follower,
    admitting: JoinSet<Admitted>,
    running: BTreeMap<PathBuf, RunningTrial>,
    /// The number of the newest trial.
    trials: u64,
    /// Files that are gone, and the number of looks since. Their trials continue for a few
    /// looks.
    removed: BTreeMap<PathBuf, u32>,
    ways_back: WaysBack,
    report: mpsc::UnboundedSender<Failing>,
    failing: mpsc::UnboundedReceiver<Failing>,
    /// None before the host serves: then no canary is withdrawn.
    batches: Option<Batches>,
}

/// The next step of the candidates' work.
pub(super) enum Step {
    Admitted(Box<Admitted>),
    Failing(Failing),
}

impl Candidates {
    pub fn new(
        directory: &Path,
        factory: Arc<PluginFactory>,
        plugin_status: PluginStatus,
        rule: Preflight,
    ) -> Self {
        let (report, failing) = mpsc::unbounded_channel();
        Self {
            folder: directory.join(trust::CANDIDATES),
            factory,
            plugin_status,
            rule,
            follower: Follower::new("reading the candidates failed; current trials continue"),
            admitting: JoinSet::new(),
            running: BTreeMap::new(),
            trials: 0,
            removed: BTreeMap::new(),
            ways_back: WaysBack::default(),
            report,
            failing,
            batches: None,
        }
    }

    /// Redrives the dead letters of withdrawn canaries in these batches.
    pub fn redrive_in(&mut self, batches: Batches) {
        self.batches = Some(batches);
    }

    /// The converters of the states that canaries have left, also those from before this host
    /// started.
    pub fn ways_back(&self) -> WaysBack {
        self.ways_back.clone()
    }

    /// Loads the canaries that had a share of the keys before the host started, also those that
    /// were withdrawn, from their files or as the store kept them. The versions that serve are tried on the states that these have left.
    pub async fn remember(&self) {
        // Those of the store come first, because a file is the newer one of the same version.
        for handler in self.factory.earlier_canaries().await {
            self.ways_back.add(handler);
        }
        let (folder, factory) = (self.folder.clone(), Arc::clone(&self.factory));
        let ways_back = self.ways_back.clone();
        let remembered = tokio::task::spawn_blocking(move || {
            for path in wasm::list(&folder).unwrap_or_default().components {
                let Ok(Some(record)) = Record::of(&path) else { continue };
                let Some(file) = watch::read(&path, factory.sandbox.component_bytes()) else {
                    continue;
                };
                if record.digest != file.digest {
                    continue;
                }
                for plugin in factory.load(file, 0).outcome.into_iter().flatten() {
                    ways_back.add(plugin.handler);
                }
            }
        });
        if let Err(error) = remembered.await {
            tracing::error!(%error, "a bug in Sagabox stopped the loading of earlier canaries");
        }
    }

    /// Whether this version served beside a canary when the host stopped. Then either may have
    /// made the last decision of an instance.
    pub fn has_run_beside(&self, plugin: &str, digest: &str) -> bool {
        let listing = wasm::list(&self.folder).unwrap_or_default();
        let records = listing.components.iter().filter_map(|path| Record::of(path).ok().flatten());
        let mut running = records.filter(|record| record.withdrawn.is_none());
        running.any(|record| record.beside.get(plugin).is_some_and(|own| own == digest))
    }

    /// Reads the folder. Canaries that served when the host stopped are returned and continue
    /// from the start. Everything else follows later.
    ///
    /// # Errors
    /// If the folder exists and cannot be read.
    pub async fn begin(&mut self, beside: &Beside) -> io::Result<Vec<Canary>> {
        let folder = self.folder.clone();
        let bytes_max = self.factory.sandbox.component_bytes();
        let begun = self.follower.begin(move || {
            let mut files = Vec::new();
            let watcher =
                Watcher::of_optional(&folder, bytes_max, is_companion, |file| files.push(file))?;
            Ok((watcher, files))
        });
        let files = begun.await?;
        let mut canaries = Vec::new();
        for file in files {
            let record = Record::of(&file.path).ok().flatten();
            let goes_on = record.is_some_and(|record| record.is_running(&file.digest, beside));
            let number = self.follower.next_find(&file.path);
            let admitting = self.admission_of(beside).admit(file, number);
            if !goes_on {
                self.admitting.spawn(admitting);
                continue;
            }
            let Admitted { find, beside, result } = admitting.await;
            match result {
                AdmissionResult::Fit(fit) if self.rival(&find, &fit).is_none() => {
                    let running = self.prepare(&find, &fit, &beside)?;
                    for canary in running.canaries(fit.terms) {
                        let kept = self.factory.keep(&find, [canary.handler.manifest()]).await;
                        kept.map_err(io::Error::other)?;
                        canaries.push(canary);
                    }
                    self.note(find, fit, running);
                }
                result => {
                    let admitted = Admitted { find, beside, result };
                    self.admitting.spawn(std::future::ready(admitted));
                }
            }
        }
        Ok(canaries)
    }

    /// The components of the canaries that have a share of the keys.
    pub(in crate::plugins) fn deciding(&self) -> InUse {
        let mut in_use = InUse::new();
        for running in self.running.values().filter(|running| !running.terms.is_shadow()) {
            for part in &running.parts {
                let digests = in_use.entry(part.plugin.to_string()).or_default();
                digests.insert(running.digest.clone());
            }
        }
        in_use
    }

    fn admission_of(&self, beside: &Beside) -> Admission {
        Admission {
            factory: Arc::clone(&self.factory),
            plugin_status: self.plugin_status.clone(),
            rule: self.rule,
            beside: beside.clone(),
        }
    }

    /// Reads the folder again.
    pub async fn look(&mut self, beside: &Beside) {
        let Some(Changes { files, removed, companions, others: _ }) = self.follower.look().await
        else {
            return;
        };
        self.removed.values_mut().for_each(|looks| *looks += 1);
        for file in files {
            let number = self.follower.next_find(&file.path);
            self.removed.remove(&file.path);
            let admitting = self.admission_of(beside).admit(file, number);
            self.admitting.spawn(admitting);
        }
        for path in removed {
            self.follower.next_find(&path);
            self.plugin_status.clear(&path);
            self.removed.insert(path, 0);
        }
        let whose = companions.iter().map(|companion| terms::component_of(companion));
        whose.for_each(|path| self.follower.forget(&path));
    }

    /// Resolves when there is a next step. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Step {
        tokio::select! {
            biased;
            Some(failing) = self.failing.recv() => Step::Failing(failing),
            Some(Ok(admitted)) = self.admitting.join_next() => Step::Admitted(Box::new(admitted)),
            // There is no step before the next look.
            else => std::future::pending().await,
        }
    }

    pub(super) async fn on(&mut self, step: Step, engine: &Engine, beside: &Beside) {
        match step {
            Step::Admitted(admitted) => self.on_admitted(engine, *admitted, beside).await,
            Step::Failing(failing) => self.on_failing(engine, failing).await,
        }
    }

    async fn on_admitted(&mut self, engine: &Engine, admitted: Admitted, now: &Beside) {
        let Admitted { find, beside, result } = admitted;
        if self.follower.is_void(&find) {
            return;
        }
        self.plugin_status.clear(&find.path);
        match result {
            AdmissionResult::Fit(fit) => {
                if let Some(reason) = self.rival(&find, &fit) {
                    return self.refuse(engine, &find, reason).await;
                }
                if digests(&fit, &beside) != digests(&fit, now) {
                    return self.forget(&find.path);
                }
                if !self.adjust(engine, &find, &fit, &beside).await {
                    self.try_out(engine, find, fit, &beside).await;
                }
            }
            // Its counts stay visible.
            AdmissionResult::Withdrawn(..)
                if self.plugin_status.is_withdrawn(&find.path, &find.digest) => {}
            AdmissionResult::Withdrawn(fit, withdrawn) => {
                self.end(engine, &find.path).await;
                fit.plugins.iter().for_each(|own| self.ways_back.add(Arc::clone(&own.handler)));
                let trial = self.trial(&find, &fit, Vec::new(), Some(withdrawn));
                self.plugin_status.try_out(&find.path, trial);
            }
            AdmissionResult::Serves => {
                self.end(engine, &find.path).await;
                let file = find.path.display();
                tracing::info!(
                    %file,
                    "the candidate is the serving version; its file can be deleted"
                );
            }
            AdmissionResult::Refused(reason) => self.refuse(engine, &find, reason).await,
        }
    }

    /// The reason why this candidate waits, if another one is tried beside the same plugin.
    fn rival(&self, find: &Find, fit: &Fit) -> Option<String> {
        let others = self.running.iter().filter(|(path, _)| **path != find.path);
        let mut parts = others.flat_map(|(path, r)| r.parts.iter().map(move |part| (path, part)));
        let names: Vec<_> = fit.plugins.iter().map(|p| &p.handler.manifest().name).collect();
        let (path, part) = parts.find(|(_, part)| names.contains(&&part.plugin))?;
        Some(format!("`{}` has a candidate already: {}", part.plugin, path.display()))
    }

    /// Changes the terms of a trial that runs already. False if there is none, or if it is of
    /// another kind.
    async fn adjust(&mut self, engine: &Engine, find: &Find, fit: &Fit, beside: &Beside) -> bool {
        let Some(running) = self.running.get_mut(&find.path) else { return false };
        if running.digest != find.digest || running.beside != digests(fit, beside) {
            return false;
        }
        match (running.terms, fit.terms) {
            (before, now) if before == now => return true,
            (Terms::Canary { .. }, Terms::Canary { failures_max, .. }) => {
                running.terms = fit.terms;
                running.watched().for_each(|watched| watched.allow(failures_max));
                for canary in running.canaries(fit.terms).collect::<Vec<_>>() {
                    // The canary fitted before, so the engine refuses this only while the host
                    // stops.
                    let _ = engine.serve_canary(canary).await;
                }
            }
            _ => return false,
        }
        let file = find.path.display();
        tracing::info!(%file, terms = %fit.terms, "the terms of the canary changed");
        self.plugin_status.adjust(&find.path, fit.terms);
        true
    }

    async fn try_out(&mut self, engine: &Engine, find: Find, fit: Fit, beside: &Beside) {
        let replaces = self.running.get(&find.path).is_some_and(|running| {
            running.terms.is_shadow() == fit.terms.is_shadow()
                && running.beside.keys().eq(digests(&fit, beside).keys())
        });
        if !replaces {
            self.end(engine, &find.path).await;
        }
        let running = match self.prepare(&find, &fit, beside) {
            Ok(running) => running,
            Err(error) => {
                let reason = format!("no thread can be started for it: {error}");
                return self.refuse(engine, &find, reason).await;
            }
        };
        for canary in running.canaries(fit.terms).collect::<Vec<_>>() {
            let manifest = canary.handler.manifest();
            self.factory.forget(manifest.name.as_str()).await;
            if let Err(reason) = self.factory.keep(&find, [manifest]).await {
                self.running.insert(find.path.clone(), running);
                return self.refuse(engine, &find, reason).await;
            }
            if let Err(error) = engine.serve_canary(canary).await {
                self.running.insert(find.path.clone(), running);
                return self.refuse(engine, &find, error.to_string()).await;
            }
        }
        if !fit.terms.is_shadow() {
            let now = (self.factory.clock)();
            let record = Record::began(&find.digest, running.beside.clone(), now);
            if let Err(error) = record.write(&find.path) {
                let file = find.path.display();
                tracing::warn!(
                    %file, %error,
                    "recording the start of the canary failed; after a restart the host checks it against all instances first"
                );
            }
        }
        self.note(find, fit, running);
    }

    /// Prepares a trial. A shadow has begun when this returns.
    fn prepare(&mut self, find: &Find, fit: &Fit, beside: &Beside) -> io::Result<RunningTrial> {
        self.trials += 1;
        RunningTrial::prepare(self.trials, find, fit, beside, (&self.report, &self.ways_back))
    }

    fn note(&mut self, find: Find, fit: Fit, running: RunningTrial) {
        let (file, terms) = (find.path.display(), fit.terms);
        let states = fit.preflight.as_deref();
        for Part { plugin, version, .. } in &running.parts {
            tracing::info!(
                %plugin, %version, %file, digest = %find.digest, %terms, states,
                "the trial of the candidate begins"
            );
        }
        let tallies = running.parts.iter().map(|part| Arc::clone(&part.tally)).collect();
        let trial = self.trial(&find, &fit, tallies, None);
        self.plugin_status.try_out(&find.path, trial);
        self.running.insert(find.path, running);
    }

    /// The trial as people see it.
    fn trial(
        &self,
        find: &Find,
        fit: &Fit,
        mut tallies: Vec<Arc<Tally>>,
        withdrawn: Option<Withdrawn>,
    ) -> TrialStatus {
        tallies.resize_with(fit.plugins.len(), Arc::default);
        let plugins = fit.plugins.iter().map(|plugin| plugin.handler.manifest().clone());
        TrialStatus {
            file: find.path.display().to_string(),
            digest: find.digest.clone(),
            since: (self.factory.clock)(),
            terms: fit.terms,
            preflight: fit.preflight.clone(),
            withdrawn,
            plugins: plugins.zip(tallies).collect(),
        }
    }

    async fn on_failing(&mut self, engine: &Engine, failing: Failing) {
        let Failing { path, trial, reason } = failing;
        let Some(running) = self.running.get(&path).filter(|running| running.trial == trial) else {
            return;
        };
        let file = path.display();
        tracing::warn!(
            %file, %reason,
            "the canary is withdrawn; the other version serves all keys"
        );
        let now = (self.factory.clock)();
        let withdrawn = Withdrawn { at: now.to_rfc3339(), reason };
        let began = Record::began(&running.digest, running.beside.clone(), now);
        let record = Record::of(&path).ok().flatten().filter(|r| r.digest == began.digest);
        let record = Record { withdrawn: Some(withdrawn.clone()), ..record.unwrap_or(began) };
        if let Err(error) = record.write(&path) {
            tracing::error!(
                %file, %error,
                "recording the withdrawal of the canary failed; a restart would start it again"
            );
        }
        self.plugin_status.withdraw_trial(&path, withdrawn);
        self.end(engine, &path).await;
    }

    async fn refuse(&mut self, engine: &Engine, find: &Find, reason: String) {
        self.end(engine, &find.path).await;
        let file = find.path.display().to_string();
        tracing::warn!(%file, digest = %find.digest, %reason, "the candidate is refused");
        let refused_at = (self.factory.clock)();
        let (digest, details) = (find.digest.clone(), Vec::new());
        let view = RefusedView { file, digest, refused_at, reason, details };
        self.plugin_status.end_trial(&find.path);
        self.plugin_status.refuse(&find.path, view);
    }

    /// Ends the trial of this file.
    async fn end(&mut self, engine: &Engine, path: &Path) {
        let Some(running) = self.running.remove(path) else { return };
        for Part { plugin, version, role, .. } in running.parts {
            match role {
                TrialKind::Shadow(served) => served.observe(None),
                TrialKind::Canary(_) => {
                    // The engine refuses this only while the host stops.
                    let _ = engine.withdraw_canary(&plugin).await;
                    if let Some(batches) = &self.batches {
                        let reason = format!("the canary {version} was withdrawn");
                        let (plugin, version) = (plugin.as_str(), version.to_string());
                        batches.redrive_failures_of(plugin, &version, reason).await;
                    }
                }
            }
        }
        // Another candidate may have waited for this one.
        self.retry();
    }

    /// Notes that another version of these plugins serves, or none. Trials beside the version
    /// before have ended with it, and their files count again.
    pub fn beside_others(&mut self, plugins: &BTreeSet<String>) {
        let concerned = self.running.extract_if(.., |_, running| {
            running.beside.keys().any(|plugin| plugins.contains(plugin))
        });
        for (path, _) in concerned.collect::<Vec<_>>() {
            self.plugin_status.end_trial(&path);
        }
        self.retry();
    }

    /// Ends the trials whose files are gone, unless the plugin is being replaced: an operator
    /// who promotes a candidate moves its file away, and it serves once that file was found,
    /// loaded and tried.
    pub async fn take_out(&mut self, engine: &Engine, replaced: &BTreeSet<String>) {
        let gone = self.removed.iter().filter(|(_, looks)| **looks >= LOOKS_GONE);
        for path in gone.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
            let running = self.running.get(&path);
            if running.is_some_and(|r| r.beside.keys().any(|plugin| replaced.contains(plugin))) {
                continue;
            }
            self.removed.remove(&path);
            if running.is_some() {
                tracing::info!(file = %path.display(), "the candidate is removed");
            }
            if let Err(error) = Record::remove(&path) {
                tracing::warn!(
                    file = %path.display(), %error,
                    "deleting the record of the candidate failed"
                );
            }
            self.end(engine, &path).await;
            self.plugin_status.end_trial(&path);
        }
    }

    /// Lets files count again that are not tried, because the reason may be gone.
    pub fn retry(&mut self) {
        let idle = self.follower.paths().filter(|path| !self.running.contains_key(*path));
        let idle: Vec<PathBuf> = idle.cloned().collect();
        idle.iter().for_each(|path| self.follower.forget(path));
    }

    fn forget(&mut self, path: &Path) {
        self.follower.forget(path);
    }
}
