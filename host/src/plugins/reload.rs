//! Loads, replaces and removes plugins while the host runs, as the files in their directory
//! appear, change and disappear.
//!
//! A file is loaded in the background, then its plugins are tried on the states of all
//! instances. If every check passes, they serve. A file that fails a check is refused with its
//! reason, and the previous version continues to serve. A file counts as a whole: authors would
//! not expect that only some plugins of a component serve.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sagabox_engine::engine::{Canary, Engine, Missed};
use sagabox_engine::model::Manifest;
use sagabox_engine::seams::handler::Handler;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::batches::Batches;
use crate::plugins::factory::{Find, LoadedFile, PluginFactory, Preflight};
use crate::plugins::fields::Filling;
use crate::plugins::follower::Follower;
use crate::plugins::keeping::InUse;
use crate::plugins::rollout::{Beside, Candidates, Served};
use crate::plugins::status::{PluginStatus, PluginView, RefusedView};
use crate::plugins::trust;
use crate::plugins::wasm::{self, LoadedPlugin, Unfit};
use crate::plugins::watch::{Changes, File, Watcher};

/// The number of what is found at a path at the start.
const FIRST: u64 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The pause between two looks at the directory. None: the directory is read only at the start.
    pub poll: Option<Duration>,
    pub preflight: Preflight,
    /// What happens to the events that are accepted while a plugin is removed.
    pub missed: Missed,
}

impl Default for Settings {
    fn default() -> Self {
        // A file counts after two looks, and should serve within a second.
        let poll = Some(Duration::from_millis(250));
        Self { poll, preflight: Preflight::default(), missed: Missed::default() }
    }
}

pub struct Loader {
    factory: Arc<PluginFactory>,
    settings: Settings,
    plugin_status: PluginStatus,
    follower: Follower,
    serving: BTreeMap<String, ServingPlugin>,
    loading: JoinSet<LoadedFile>,
    trying: JoinSet<Tried>,
    /// The plugins of the files that are being tried.
    claimed: BTreeMap<PathBuf, BTreeSet<String>>,
    /// Files that were removed, and whose plugins still serve.
    removed: BTreeSet<PathBuf>,
    /// Files that are refused because plugins of other files have their names.
    outnamed: BTreeSet<PathBuf>,
    /// Files that are being loaded, or that are refused because they are not trusted. They count
    /// again when their signature or the lock file changes.
    doubtful: BTreeSet<PathBuf>,
    /// The last reason for which each file was refused. It is logged once: the log may be in
    /// this directory under the name of a component, and would otherwise be refused with each of
    /// its own lines.
    said: BTreeMap<PathBuf, String>,
    candidates: Candidates,
    filling: Filling,
    /// The components that decide, as the store knows.
    in_use: InUse,
    /// The canaries that serve from the start.
    canaries: Vec<Canary>,
}

struct ServingPlugin {
    path: PathBuf,
    digest: String,
    handler: Arc<Served>,
}

struct Tried {
    find: Find,
    plugins: Vec<LoadedPlugin>,
    /// The same plugins in the form in which they serve.
    served: Vec<Arc<Served>>,
    outcome: Result<Option<String>, String>,
}

impl Loader {
    /// Loads what is in the directory. Plugins that must be tried on instances first serve
    /// later, when `run` has tried them.
    ///
    /// # Errors
    /// If the directory or the store cannot be read.
    pub async fn begin(
        directory: &Path,
        factory: PluginFactory,
        settings: Settings,
    ) -> anyhow::Result<Self> {
        let (factory, folder) = (Arc::new(factory), directory.to_owned());
        let loading = Arc::clone(&factory);
        let mut follower =
            Follower::new("reading the plugin directory failed; the plugins continue to serve");
        // Compiling components takes seconds of pure computation.
        let begun = follower.begin(move || {
            let mut loaded = Vec::new();
            let bytes_max = loading.sandbox.component_bytes();
            // Each file is loaded, and its content is dropped, before the next one is read.
            let each = |file| loaded.push(loading.load(file, FIRST));
            let watcher = Watcher::begin(&folder, bytes_max, each)?;
            Ok((watcher, loaded))
        });
        let reading = || format!("cannot read the plugin directory {}", directory.display());
        let loaded = begun.await.with_context(reading)?;
        let plugin_status = PluginStatus::default();
        plugin_status.leave_out(follower.others());
        let candidates = Candidates::new(
            directory,
            Arc::clone(&factory),
            plugin_status.clone(),
            settings.preflight,
        );
        let mut loader = Self {
            factory,
            settings,
            plugin_status,
            follower,
            serving: BTreeMap::new(),
            loading: JoinSet::new(),
            trying: JoinSet::new(),
            claimed: BTreeMap::new(),
            removed: BTreeSet::new(),
            outnamed: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            said: BTreeMap::new(),
            candidates,
            filling: Filling::default(),
            in_use: InUse::new(),
            canaries: Vec::new(),
        };
        loader.candidates.remember().await;
        for file in loaded {
            loader.begin_with(file).await?;
        }
        let canaries = loader.candidates.begin(&loader.beside()).await;
        loader.canaries = canaries.with_context(reading)?;
        loader.in_use = loader.deciding();
        loader.factory.keep_no_others(&loader.in_use).await;
        Ok(loader)
    }

    /// Lets the plugins of a file serve that served when the host stopped, and tries all others.
    async fn begin_with(&mut self, file: LoadedFile) -> anyhow::Result<()> {
        let LoadedFile { find, outcome } = file;
        self.follower.next_find(&find.path);
        let Some(plugins) = self.checked(&find, outcome).await else { return Ok(()) };
        self.factory.index_for(&plugins).await.map_err(anyhow::Error::msg)?;
        let beside_canary = |plugin: &LoadedPlugin| {
            let name = plugin.handler.manifest().name.as_str();
            self.candidates.has_run_beside(name, &find.digest)
        };
        let continues = plugins.iter().any(beside_canary);
        if continues || self.factory.served_before(&find, &plugins).await? {
            let manifests = plugins.iter().map(|plugin| plugin.handler.manifest());
            let kept = self.factory.keep(&find, manifests).await;
            kept.map_err(|why| anyhow::anyhow!("{}: {why}", find.path.display()))?;
            let served = self.served(&plugins);
            self.note(&find, served, None);
        } else {
            self.try_out(find, plugins);
        }
        Ok(())
    }

    pub fn plugin_status(&self) -> PluginStatus {
        self.plugin_status.clone()
    }

    /// The plugins that serve from the start.
    pub fn handlers(&self) -> Vec<Arc<dyn Handler>> {
        let handlers = self.serving.values().map(|serving| Arc::clone(&serving.handler) as _);
        handlers.collect()
    }

    /// The candidates that serve a share of the keys from the start.
    pub fn canaries(&self) -> Vec<Canary> {
        self.canaries.clone()
    }

    /// The versions that serve, for the candidates.
    fn beside(&self) -> Beside {
        let serving = self.serving.iter();
        let serving = serving.map(|(name, serving)| {
            (name.clone(), (serving.digest.clone(), Arc::clone(&serving.handler)))
        });
        serving.collect()
    }

    /// Follows the directory until `stop`. The dead letters of a withdrawn canary are redriven in
    /// `batches`.
    pub async fn run(mut self, engine: Engine, batches: Batches, stop: CancellationToken) {
        self.candidates.redrive_in(batches);
        let never = Duration::from_secs(3_600);
        let mut looks = tokio::time::interval(self.settings.poll.unwrap_or(never));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.filling.end().await,
                Some(loaded) = self.loading.join_next() => match loaded {
                    Ok(loaded) => self.on_loaded(loaded).await,
                    Err(error) => tracing::error!(
                        %error,
                        "a bug in Sagabox stopped the loading of a plugin"
                    ),
                },
                Some(tried) = self.trying.join_next() => match tried {
                    Ok(tried) => self.on_tried(&engine, tried).await,
                    Err(error) => tracing::error!(
                        %error,
                        "a bug in Sagabox stopped the check of a plugin"
                    ),
                },
                step = self.candidates.next() => {
                    let beside = self.beside();
                    self.candidates.on(step, &engine, &beside).await;
                }
                _ = looks.tick(), if self.settings.poll.is_some() => {
                    self.look().await;
                    let beside = self.beside();
                    self.candidates.look(&beside).await;
                }
            }
            // A file that replaces a removed one is loaded by now, so its plugins' names are
            // known.
            if self.loading.is_empty() {
                self.take_out(&engine).await;
                let replaced = self.claimed.values().flatten().cloned().collect();
                self.candidates.take_out(&engine, &replaced).await;
            }
            let in_use = self.deciding();
            if in_use != self.in_use {
                self.factory.keep_no_others(&in_use).await;
                self.in_use = in_use;
            }
        }
    }

    /// The components that decide now.
    fn deciding(&self) -> InUse {
        let mut in_use = self.candidates.deciding();
        for (plugin, serving) in &self.serving {
            in_use.entry(plugin.clone()).or_default().insert(serving.digest.clone());
        }
        in_use
    }

    async fn look(&mut self) {
        let Some(Changes { files, removed, companions, others }) = self.follower.look().await
        else {
            return;
        };
        others.iter().for_each(|others| self.plugin_status.leave_out(others));
        files.into_iter().for_each(|file| self.on_file(file));
        for path in removed {
            self.next_find(&path);
            self.plugin_status.clear(&path);
            self.said.remove(&path);
            self.outnamed.remove(&path);
            self.removed.insert(path);
        }
        companions.iter().for_each(|companion| self.on_companion(companion));
    }

    /// Handles a change of a signature or of the lock file. Files that waited for it count
    /// again. Plugins that serve continue; an operator removes a plugin by removing its file.
    fn on_companion(&mut self, companion: &Path) {
        let is_lock = trust::is_lock(companion);
        let concerned = |path: &&PathBuf| is_lock || trust::beside(path) == companion;
        self.doubtful.iter().filter(concerned).for_each(|path| self.follower.forget(path));
        if is_lock {
            self.candidates.retry();
        }
        for (plugin, serving) in self.serving.iter().filter(|_| is_lock) {
            let PluginFactory { sandbox, directory, .. } = &*self.factory;
            let pinned = sandbox.pinned(&serving.path, directory, &serving.digest);
            if let Err(reason) = pinned {
                let file = serving.path.display();
                tracing::warn!(
                    %plugin, %file, %reason,
                    "the plugin continues to serve, but the next start would refuse it"
                );
            }
        }
    }

    fn on_file(&mut self, file: File) {
        let number = self.next_find(&file.path);
        self.removed.remove(&file.path);
        self.plugin_status.clear(&file.path);
        let serves =
            |serving: &ServingPlugin| serving.path == file.path && serving.digest == file.digest;
        if self.serving.values().any(serves) {
            tracing::info!(
                file = %file.path.display(),
                "the file is again the version that serves"
            );
            return;
        }
        self.doubtful.insert(file.path.clone());
        let factory = Arc::clone(&self.factory);
        self.loading.spawn_blocking(move || factory.load(file, number));
    }

    fn next_find(&mut self, path: &Path) -> u64 {
        self.claimed.remove(path);
        self.doubtful.remove(path);
        self.follower.next_find(path)
    }

    async fn on_loaded(&mut self, LoadedFile { find, outcome }: LoadedFile) {
        if self.follower.is_void(&find) {
            return;
        }
        let Some(plugins) = self.checked(&find, outcome).await else { return };
        let is_same = |plugin: &LoadedPlugin| {
            let serving = self.serving.get(plugin.handler.manifest().name.as_str());
            serving.is_some_and(|serving| serving.digest == find.digest)
        };
        if plugins.iter().all(is_same) {
            // Only the file's name has changed, so its plugins continue.
            for plugin in plugins {
                let name = plugin.handler.manifest().name.as_str();
                self.plugin_status.rename(name, &find.path);
                if let Some(serving) = self.serving.get_mut(name) {
                    serving.path.clone_from(&find.path);
                }
            }
            return;
        }
        self.try_out(find, plugins);
    }

    /// The plugins of a file, if they pass all checks.
    async fn checked(
        &mut self,
        find: &Find,
        outcome: Result<Vec<LoadedPlugin>, Unfit>,
    ) -> Option<Vec<LoadedPlugin>> {
        match &outcome {
            Err(Unfit::Untrusted(_)) => self.doubtful.insert(find.path.clone()),
            _ => self.doubtful.remove(&find.path),
        };
        let checked = match outcome {
            Ok(plugins) => match self.check(find, &plugins).await {
                Ok(()) => Ok(plugins),
                Err(reason) => Err(Unfit::Broken(reason)),
            },
            Err(unfit) => Err(unfit),
        };
        match checked {
            Ok(plugins) => Some(plugins),
            Err(unfit) => {
                self.refuse(find, &unfit);
                None
            }
        }
    }

    async fn check(&mut self, find: &Find, plugins: &[LoadedPlugin]) -> Result<(), String> {
        let is_other = |path: &Path| path != find.path && !self.removed.contains(path);
        let serving = self.serving.iter().filter(|(_, serving)| is_other(&serving.path));
        let serving = serving.map(|(name, serving)| (name.clone(), serving.path.clone()));
        let tried = self.claimed.iter().filter(|(path, _)| is_other(path));
        let tried = tried.flat_map(|(path, names)| names.iter().map(|n| (n.clone(), path.clone())));
        let names: BTreeMap<String, PathBuf> = serving.chain(tried).collect();
        self.outnamed.remove(&find.path);
        if let Some(reason) = wasm::taken(plugins, &names) {
            self.outnamed.insert(find.path.clone());
            return Err(reason);
        }
        for plugin in plugins {
            self.check_role(plugin.handler.manifest()).await?;
        }
        Ok(())
    }

    async fn check_role(&self, manifest: &Manifest) -> Result<(), String> {
        let (name, role) = (manifest.name.as_str(), manifest.role);
        let before = self.serving.get(name).map(|serving| serving.handler.manifest().role);
        let has_instances = match before {
            Some(before) if before != role => {
                return Err(format!(
                    "is a {}, and `{name}` serves as a {}; a plugin keeps its role, give the new one another name",
                    role.as_str(),
                    before.as_str()
                ));
            }
            Some(_) => false,
            None if role.has_instances() => false,
            None => self.factory.queries.has_instances(name).await.map_err(|e| e.to_string())?,
        };
        match has_instances {
            false => Ok(()),
            true => Err(format!(
                "is a {}, and the store has instances of `{name}` from when it was a process manager; \
                 a plugin keeps its role, give the new one another name",
                role.as_str()
            )),
        }
    }

    /// Tries the plugins on the states of their instances, in the background.
    fn try_out(&mut self, find: Find, plugins: Vec<LoadedPlugin>) {
        let names = plugins.iter().map(|plugin| plugin.handler.manifest().name.to_string());
        self.claimed.insert(find.path.clone(), names.collect());
        let (factory, plugin_status, rule) =
            (Arc::clone(&self.factory), self.plugin_status.clone(), self.settings.preflight);
        let served = self.served(&plugins);
        self.trying.spawn(async move {
            let handlers: Vec<_> =
                served.iter().map(|own| Arc::clone(own) as Arc<dyn Handler>).collect();
            let outcome = factory.try_out(&plugin_status, &find, &handlers, rule, None).await;
            Tried { find, plugins, served, outcome }
        });
    }

    async fn on_tried(&mut self, engine: &Engine, tried: Tried) {
        let Tried { find, plugins, served, outcome } = tried;
        if self.follower.is_void(&find) {
            return;
        }
        self.claimed.remove(&find.path);
        let report = match outcome {
            Ok(report) => report,
            Err(reason) => {
                self.refuse(&find, &Unfit::Broken(reason));
                return self.retry_outnamed();
            }
        };
        // Other plugins may have begun to serve meanwhile.
        if let Err(reason) = self.check(&find, &plugins).await {
            return self.refuse(&find, &Unfit::Broken(reason));
        }
        let manifests = plugins.iter().map(|plugin| plugin.handler.manifest());
        let prepared = match self.factory.index_for(&plugins).await {
            Ok(()) => self.factory.keep(&find, manifests).await,
            Err(reason) => Err(reason),
        };
        if let Err(reason) = prepared {
            return self.refuse(&find, &Unfit::Broken(reason));
        }
        for handler in &served {
            let outcome = engine.serve(Arc::clone(handler) as _, self.settings.missed).await;
            if let Err(error) = outcome {
                return self.refuse(&find, &Unfit::Broken(error.to_string()));
            }
        }
        let kept: BTreeSet<String> =
            served.iter().map(|handler| handler.manifest().name.to_string()).collect();
        let left_out = |(name, serving): (&String, &ServingPlugin)| {
            (serving.path == find.path && !kept.contains(name)).then(|| name.clone())
        };
        let left_out: Vec<String> = self.serving.iter().filter_map(left_out).collect();
        for name in left_out {
            self.withdraw(engine, &name).await;
        }
        self.factory.remember(&find, kept.iter()).await;
        self.note(&find, served, report);
        self.candidates.beside_others(&kept);
    }

    /// The plugins of a file in the form in which they serve.
    fn served(&self, plugins: &[LoadedPlugin]) -> Vec<Arc<Served>> {
        let ways_back = self.candidates.ways_back();
        let served =
            |own: &LoadedPlugin| Arc::new(Served::new(Arc::clone(&own.handler), ways_back.clone()));
        plugins.iter().map(served).collect()
    }

    /// Notes that the plugins serve.
    fn note(&mut self, find: &Find, served: Vec<Arc<Served>>, preflight: Option<String>) {
        self.plugin_status.clear(&find.path);
        self.said.remove(&find.path);
        for handler in served {
            let manifest = handler.manifest().clone();
            let (name, version) = (manifest.name.to_string(), Arc::clone(&manifest.version));
            let file = find.path.display().to_string();
            let states = preflight.as_deref();
            tracing::info!(plugin = %name, %version, %file, digest = %find.digest, states, "the plugin serves");
            self.plugin_status.serve(PluginView {
                file,
                digest: find.digest.clone(),
                since: (self.factory.clock)(),
                preflight: preflight.clone().filter(|_| manifest.role.has_instances()),
                manifest,
            });
            self.filling.begin(&self.factory, &handler, &find.digest);
            let (path, digest) = (find.path.clone(), find.digest.clone());
            self.serving.insert(name, ServingPlugin { path, digest, handler });
        }
    }

    fn refuse(&mut self, find: &Find, unfit: &Unfit) {
        let (reason, details) = (unfit.to_string(), unfit.details().to_vec());
        let file = find.path.display().to_string();
        let before = self.serving.values().any(|serving| serving.path == find.path);
        let what =
            if before { "the previous version continues to serve" } else { "nothing of it serves" };
        if self.said.insert(find.path.clone(), reason.clone()).as_ref() != Some(&reason) {
            tracing::warn!(%file, digest = %find.digest, %reason, "the plugin is refused; {what}");
            details.iter().for_each(|line| tracing::warn!(%file, "{line}"));
        }
        self.plugin_status.clear(&find.path);
        let refused_at = (self.factory.clock)();
        let digest = find.digest.clone();
        let view = RefusedView { file, digest, refused_at, reason, details };
        self.plugin_status.refuse(&find.path, view);
    }

    /// Removes the plugins whose files were removed, unless a file that is being tried has the
    /// same plugin. Then that file replaces it, or the plugin is removed afterwards.
    async fn take_out(&mut self, engine: &Engine) {
        for path in self.removed.clone() {
            let mut is_done = true;
            let of_file = self.serving.iter().filter(|(_, serving)| serving.path == path);
            for name in of_file.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                if self.claimed.values().any(|names| names.contains(&name)) {
                    is_done = false;
                } else {
                    self.withdraw(engine, &name).await;
                }
            }
            if is_done {
                self.removed.remove(&path);
            }
        }
    }

    async fn withdraw(&mut self, engine: &Engine, name: &str) {
        // The engine refuses this only while the host stops.
        let _ = engine.withdraw(&name.into()).await;
        tracing::info!(plugin = %name, "the plugin is removed; its instances are kept");
        self.serving.remove(name);
        self.plugin_status.withdraw(name);
        self.candidates.beside_others(&BTreeSet::from([name.to_owned()]));
        self.retry_outnamed();
    }

    /// Lets files count again that were refused because of a name that is free now.
    fn retry_outnamed(&mut self) {
        self.outnamed.iter().for_each(|path| self.follower.forget(path));
    }
}
