//! Admits a file as a candidate, or says why it is refused.

use std::path::Path;
use std::sync::Arc;

use sagabox_engine::model::Manifest;
use sagabox_engine::seams::handler::Handler;

use super::served::Beside;
use super::terms::{Record, Terms, Withdrawn};
use crate::plugins::factory::{Find, PluginFactory, Preflight};
use crate::plugins::status::PluginStatus;
use crate::plugins::wasm::LoadedPlugin;
use crate::plugins::watch::File;

/// All that admission needs.
#[derive(Clone)]
pub(crate) struct Admission {
    pub factory: Arc<PluginFactory>,
    pub plugin_status: PluginStatus,
    pub rule: Preflight,
    pub beside: Beside,
}

/// A file and the result of its admission.
pub(crate) struct Admitted {
    pub find: Find,
    /// The versions that served when it was admitted.
    pub beside: Beside,
    pub result: AdmissionResult,
}

pub(crate) enum AdmissionResult {
    Fit(Fit),
    /// It is a canary that was withdrawn because it failed too often.
    Withdrawn(Fit, Withdrawn),
    /// An operator has promoted it: it serves.
    Serves,
    Refused(String),
}

pub(crate) struct Fit {
    pub terms: Terms,
    pub plugins: Vec<LoadedPlugin>,
    pub preflight: Option<String>,
}

impl Admission {
    pub(crate) async fn admit(self, file: File, number: u64) -> Admitted {
        let File { path, content, digest } = file;
        let find = Find { path, digest, number };
        let result = match content {
            Ok(bytes) => self.result(&find, bytes).await,
            Err(reason) => Err(reason),
        };
        let result = result.unwrap_or_else(AdmissionResult::Refused);
        Admitted { find, beside: self.beside, result }
    }

    /// # Errors
    /// Says why it is refused.
    async fn result(&self, find: &Find, bytes: Vec<u8>) -> Result<AdmissionResult, String> {
        let terms = Terms::of(&find.path)?;
        let record = Record::of(&find.path)?.filter(|record| record.digest == find.digest);
        let plugins = self.load(&find.path, bytes).await?;
        let serves = |plugin: &LoadedPlugin| {
            let serving = self.beside.get(plugin.handler.manifest().name.as_str());
            serving.is_some_and(|(digest, _)| *digest == find.digest)
        };
        if plugins.iter().all(serves) {
            return Ok(AdmissionResult::Serves);
        }
        for plugin in &plugins {
            self.check(plugin.handler.manifest(), terms)?;
        }
        let mut fit = Fit { terms, plugins, preflight: None };
        if terms.is_shadow() {
            return Ok(AdmissionResult::Fit(fit));
        }
        match record {
            Some(Record { withdrawn: Some(withdrawn), .. }) => {
                return Ok(AdmissionResult::Withdrawn(fit, withdrawn));
            }
            // It passed the preflight check when it began, and has written states since.
            Some(record) if record.is_running(&find.digest, &self.beside) => {}
            _ => {
                let (plugin_status, beside) = (&self.plugin_status, Some(&self.beside));
                let plugins = fit.plugins.iter().map(|plugin| Arc::clone(&plugin.handler));
                let plugins: Vec<_> = plugins.collect();
                let tried = self.factory.try_out(plugin_status, find, &plugins, self.rule, beside);
                fit.preflight = tried.await?;
            }
        }
        self.factory.index_for(&fit.plugins).await?;
        Ok(AdmissionResult::Fit(fit))
    }

    async fn load(&self, path: &Path, bytes: Vec<u8>) -> Result<Vec<LoadedPlugin>, String> {
        let (factory, path) = (Arc::clone(&self.factory), path.to_owned());
        let loaded = tokio::task::spawn_blocking(move || factory.load_bytes(&path, &bytes));
        let loaded = loaded.await.map_err(|error| format!("cannot be loaded: {error}"))?;
        loaded.map_err(|unfit| unfit.to_string())
    }

    fn check(&self, manifest: &Manifest, terms: Terms) -> Result<(), String> {
        let name = manifest.name.as_str();
        let Some((_, served)) = self.beside.get(name) else {
            return Err(format!(
                "no version of `{name}` serves, so the candidate cannot be compared; to \
                 serve it, move it to the plugin directory"
            ));
        };
        let serving = served.manifest();
        if serving.role != manifest.role {
            return Err(format!(
                "is a {}, and `{name}` serves as a {}; a plugin keeps its role",
                manifest.role.as_str(),
                serving.role.as_str()
            ));
        }
        if terms.is_shadow() {
            return Ok(());
        }
        if serving.version == manifest.version {
            return Err(format!(
                "has the version {} of the one that serves; a canary needs another, so that one \
                 shows which of them made a decision",
                manifest.version
            ));
        }
        let (own, others) = (manifest.subscriptions_by_type(), serving.subscriptions_by_type());
        let types = own.keys().chain(others.keys());
        match types.into_iter().find(|name| own.get(*name) != others.get(*name)) {
            None => Ok(()),
            Some(differs) => Err(format!(
                "has another subscription to `{differs}` than the serving version; a \
                 canary must have the same subscriptions, a shadow need not"
            )),
        }
    }
}
