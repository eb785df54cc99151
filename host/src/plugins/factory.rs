//! Loads the plugins of a file, and tries them on the states of their instances before they
//! serve.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sagabox_engine::Clock;
use sagabox_engine::seams::handler::Handler;
use sagabox_engine::seams::store::ReadError;

use crate::plugins::preflight::{PreflightReport, preflight};
use crate::plugins::rollout::served::Beside;
use crate::plugins::status::{CheckingView, PluginStatus};
use crate::plugins::wasm::{self, LoadedPlugin, Sandbox, Unfit};
use crate::plugins::watch::File;
use crate::store::query::{PluginRecords, Queries, StatePage};

/// What happens if a version cannot read some live states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preflight {
    /// The version is refused.
    #[default]
    Refuse,
    /// The version serves and the failures are reported. An instance whose state does not
    /// migrate waits behind a dead letter from its next event on.
    Report,
}

/// A file as a look at the directory found it.
#[derive(Clone)]
pub struct Find {
    pub path: PathBuf,
    pub digest: String,
    pub number: u64,
}

pub struct LoadedFile {
    pub find: Find,
    pub outcome: Result<Vec<LoadedPlugin>, Unfit>,
}

/// The parts that are needed to load and try plugins.
pub struct PluginFactory {
    /// The plugin directory, whose lock file applies.
    pub directory: PathBuf,
    pub sandbox: Sandbox,
    /// Each plugin's own settings, as JSON.
    pub configurations: HashMap<String, String>,
    pub records: Arc<dyn PluginRecords>,
    pub queries: Arc<dyn Queries>,
    pub clock: Clock,
}

impl PluginFactory {
    /// Creates the index by subject if one of the plugins reads streams. Not every store has that
    /// index.
    pub(in crate::plugins) async fn index_for(
        &self,
        plugins: &[LoadedPlugin],
    ) -> Result<(), String> {
        if !plugins.iter().any(|plugin| plugin.handler.manifest().streams) {
            return Ok(());
        }
        let indexed = self.records.index_subjects().await;
        indexed.map_err(|error| format!("the log cannot be indexed by subject: {error}"))
    }

    /// Whether this file served last and without a canary, or there is no state to try it on. The
    /// digest decides and not the version, because a plugin that was built again may read states in
    /// another way.
    pub(in crate::plugins) async fn served_before(
        &self,
        find: &Find,
        plugins: &[LoadedPlugin],
    ) -> Result<bool, ReadError> {
        for plugin in plugins {
            let manifest = plugin.handler.manifest();
            let name = manifest.name.as_str();
            if !manifest.role.has_instances() {
                continue;
            }
            let first = StatePage { states: 1, bytes: 0 };
            if self.records.served_last(name).await?.as_ref() != Some(&find.digest)
                && !self.queries.live_states(name, "", first).await?.is_empty()
            {
                return Ok(false);
            }
        }
        // Without a state, no file was noted before, so this one is noted now.
        let names = plugins.iter().map(|plugin| plugin.handler.manifest().name.as_str());
        self.remember(find, names).await;
        Ok(true)
    }

    /// Notes which file serves these plugins. The next start need not try this file on the
    /// states, because the file wrote them itself.
    pub(in crate::plugins) async fn remember(
        &self,
        find: &Find,
        plugins: impl Iterator<Item = impl AsRef<str>>,
    ) {
        for plugin in plugins {
            self.note(plugin.as_ref(), Some(&find.digest)).await;
        }
    }

    /// Notes that a canary writes states from now on. Then the next start tries any file on the
    /// states, and fills the fields of the instances.
    pub(in crate::plugins) async fn forget(&self, plugin: &str) {
        self.note(plugin, None).await;
        let noted = match self.records.fields_filled(plugin).await {
            Ok(Some(_)) => self.records.note_fields_filled(plugin, "").await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            tracing::warn!(
                %plugin, %error,
                "recording that a canary writes fields failed; some instances keep its fields until \
                 their next decision"
            );
        }
    }

    async fn note(&self, plugin: &str, digest: Option<&str>) {
        if let Err(error) = self.records.note_serving(plugin, digest).await {
            tracing::warn!(
                %plugin, %error,
                "recording the serving version failed; the next start checks it against all states"
            );
        }
    }

    /// Loads the plugins of a file with this content.
    ///
    /// # Errors
    /// Says why the file cannot serve.
    pub(in crate::plugins) fn load_bytes(
        &self,
        path: &Path,
        bytes: &[u8],
    ) -> Result<Vec<LoadedPlugin>, Unfit> {
        wasm::load((path, &self.directory), bytes, &self.sandbox, &self.configurations)
    }

    /// Loads a file's plugins. This takes seconds of pure computation.
    pub(in crate::plugins) fn load(&self, file: File, number: u64) -> LoadedFile {
        let File { path, content, digest } = file;
        let outcome =
            content.map_err(Unfit::Broken).and_then(|bytes| self.load_bytes(&path, &bytes));
        LoadedFile { find: Find { path, digest, number }, outcome }
    }

    /// Tries plugins on the states of their instances. For a canary it also tries the conversion
    /// back to the version that serves. Returns a report of the states that were converted.
    ///
    /// # Errors
    /// Says why the plugins are refused.
    pub(in crate::plugins) async fn try_out(
        &self,
        plugin_status: &PluginStatus,
        find: &Find,
        plugins: &[Arc<dyn Handler>],
        rule: Preflight,
        beside: Option<&Beside>,
    ) -> Result<Option<String>, String> {
        let mut report = None;
        for plugin in plugins.iter().filter(|plugin| plugin.manifest().role.has_instances()) {
            let progress = |report: &PreflightReport| {
                let (file, digest) = (find.path.display().to_string(), find.digest.clone());
                let (migrated, failed) = (report.migrated, report.failed);
                plugin_status.check(&find.path, CheckingView { file, digest, migrated, failed });
            };
            let name = plugin.manifest().name.as_str();
            let beside = beside.and_then(|beside| beside.get(name));
            let beside = beside.map(|(_, served)| Arc::clone(served) as Arc<dyn Handler>);
            let tried = preflight(&*self.queries, plugin, beside.as_ref(), progress).await;
            let tried = tried
                .map_err(|error| format!("cannot be checked against its instances: {error}"))?;
            if tried.failed > 0 && rule == Preflight::Refuse {
                return Err(tried.refusal());
            }
            report = tried.text().or(report);
        }
        Ok(report)
    }
}
