//! What plugins are made with, and tried with before they serve.

use std::collections::HashMap;
use std::sync::Arc;

use sagabox_engine::Clock;
use sagabox_engine::handler::Handler;
use sagabox_engine::store::ReadError;

use super::board::{Board, CheckingView};
use super::candidates::Beside;
use super::preflight::{Report, preflight};
use super::watch::File;
use super::{Find, Loaded, Preflight};
use crate::plugin::{self, LoadedPlugin, Sandbox, Unfit};
use crate::store::SqliteStore;
use crate::store::admin::Admin;

/// What plugins are made with.
pub struct Workshop {
    pub sandbox: Sandbox,
    /// Each plugin's section of the configuration, as JSON.
    pub configurations: HashMap<String, String>,
    pub store: Arc<SqliteStore>,
    pub admin: Admin,
    pub clock: Clock,
}

impl Workshop {
    /// Who reads streams needs an index that not every store has.
    pub(super) async fn index_for(&self, plugins: &[LoadedPlugin]) -> Result<(), String> {
        if !plugins.iter().any(|plugin| plugin.handler.manifest().streams) {
            return Ok(());
        }
        let indexed = self.store.index_subjects().await;
        indexed.map_err(|error| format!("the log cannot be indexed by subject: {error}"))
    }

    /// Whether these versions decided last, or there is no state to try them on.
    pub(super) async fn served_before(&self, plugins: &[LoadedPlugin]) -> Result<bool, ReadError> {
        for plugin in plugins {
            let manifest = plugin.handler.manifest();
            let name = manifest.name.as_str();
            if !manifest.role.has_instances() {
                continue;
            }
            let last = self.admin.last_version(name).await?;
            let own = (manifest.version.to_string(), u64::from(manifest.state_version));
            if last.as_ref() != Some(&own)
                && !self.admin.live_states(name, manifest.state_version, "", 1).await?.is_empty()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Loads a file's plugins: seconds of pure computation.
    pub(super) fn load(&self, file: File, number: u64) -> Loaded {
        let File { path, content, digest } = file;
        let outcome = content
            .map_err(Unfit::Broken)
            .and_then(|bytes| plugin::load(&path, &bytes, &self.sandbox, &self.configurations));
        Loaded { find: Find { path, digest, number }, outcome }
    }

    /// Tries plugins on the states of their instances, and canaries on the way back to what
    /// is beside them, too; returns what became of these.
    ///
    /// # Errors
    /// Says why they are refused.
    pub(super) async fn try_out(
        &self,
        board: &Board,
        find: &Find,
        plugins: &[LoadedPlugin],
        rule: Preflight,
        beside: Option<&Beside>,
    ) -> Result<Option<String>, String> {
        let mut report = None;
        for plugin in plugins.iter().filter(|p| p.handler.manifest().role.has_instances()) {
            let progress = |report: &Report| {
                let (file, digest) = (find.path.display().to_string(), find.digest.clone());
                let (migrated, failed) = (report.migrated, report.failed);
                board.check(&find.path, CheckingView { file, digest, migrated, failed });
            };
            let name = plugin.handler.manifest().name.as_str();
            let beside = beside.and_then(|beside| beside.get(name));
            let beside = beside.map(|(_, served)| Arc::clone(served) as Arc<dyn Handler>);
            let tried = preflight(&self.admin, &plugin.handler, beside.as_ref(), progress).await;
            let tried =
                tried.map_err(|error| format!("cannot be tried on its instances: {error}"))?;
            if tried.failed > 0 && rule == Preflight::Refuse {
                return Err(tried.refusal());
            }
            report = tried.text().or(report);
        }
        Ok(report)
    }
}
