//! From a file to a candidate that may be tried, or to what speaks against it.

use std::path::Path;
use std::sync::Arc;

use sagabox_engine::model::Manifest;
use sagabox_engine::seams::handler::Handler;

use super::served::Beside;
use super::terms::{Record, Terms, Withdrawn};
use crate::plugins::factory::{Find, Preflight, Workshop};
use crate::plugins::status::Board;
use crate::plugins::wasm::LoadedPlugin;
use crate::plugins::watch::File;

/// What a file is judged with.
#[derive(Clone)]
pub struct Court {
    pub workshop: Arc<Workshop>,
    pub board: Board,
    pub rule: Preflight,
    pub beside: Beside,
}

/// A file, when all is known that speaks for or against it.
pub struct Judged {
    pub find: Find,
    /// What served when it was judged.
    pub beside: Beside,
    pub verdict: Verdict,
}

pub enum Verdict {
    Fit(Fit),
    /// It was a canary that failed too often.
    Withdrawn(Fit, Withdrawn),
    /// Somebody has promoted it.
    Serves,
    Refused(String),
}

pub struct Fit {
    pub terms: Terms,
    pub plugins: Vec<LoadedPlugin>,
    pub preflight: Option<String>,
}

impl Court {
    pub async fn judge(self, file: File, number: u64) -> Judged {
        let File { path, content, digest } = file;
        let find = Find { path, digest, number };
        let verdict = match content {
            Ok(bytes) => self.verdict(&find, bytes).await,
            Err(reason) => Err(reason),
        };
        let verdict = verdict.unwrap_or_else(Verdict::Refused);
        Judged { find, beside: self.beside, verdict }
    }

    /// # Errors
    /// Says what speaks against it.
    async fn verdict(&self, find: &Find, bytes: Vec<u8>) -> Result<Verdict, String> {
        let terms = Terms::of(&find.path)?;
        let record = Record::of(&find.path)?.filter(|record| record.digest == find.digest);
        let plugins = self.load(&find.path, bytes).await?;
        let serves = |plugin: &LoadedPlugin| {
            let serving = self.beside.get(plugin.handler.manifest().name.as_str());
            serving.is_some_and(|(digest, _)| *digest == find.digest)
        };
        if plugins.iter().all(serves) {
            return Ok(Verdict::Serves);
        }
        for plugin in &plugins {
            self.check(plugin.handler.manifest(), terms)?;
        }
        let mut fit = Fit { terms, plugins, preflight: None };
        if terms == Terms::Shadow {
            return Ok(Verdict::Fit(fit));
        }
        match record {
            Some(Record { withdrawn: Some(withdrawn), .. }) => {
                return Ok(Verdict::Withdrawn(fit, withdrawn));
            }
            // It passed when it began, and has written states since.
            Some(record) if record.is_running(&find.digest, &self.beside) => {}
            _ => {
                let (board, beside) = (&self.board, Some(&self.beside));
                let plugins = fit.plugins.iter().map(|plugin| Arc::clone(&plugin.handler));
                let plugins: Vec<_> = plugins.collect();
                let tried = self.workshop.try_out(board, find, &plugins, self.rule, beside);
                fit.preflight = tried.await?;
            }
        }
        self.workshop.index_for(&fit.plugins).await?;
        Ok(Verdict::Fit(fit))
    }

    async fn load(&self, path: &Path, bytes: Vec<u8>) -> Result<Vec<LoadedPlugin>, String> {
        let (workshop, path) = (Arc::clone(&self.workshop), path.to_owned());
        let loaded = tokio::task::spawn_blocking(move || workshop.load_bytes(&path, &bytes));
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
        if terms == Terms::Shadow {
            return Ok(());
        }
        if serving.version == manifest.version {
            return Err(format!(
                "has the version {} of the one that serves; a canary needs another, so that one \
                 can tell whose decision is whose",
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
