//! The running trial of a file: its plugins beside those that serve.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use sagabox_engine::engine::Canary;
use sagabox_engine::model::PluginName;
use sagabox_engine::seams::handler::Handler;
use tokio::sync::mpsc;

use super::admission::Fit;
use super::canary::Watched;
use super::served::{Beside, Served, WaysBack};
use super::shadow::Shadow;
use super::tally::Tally;
use super::terms::Terms;
use crate::plugins::factory::Find;

/// A file that is being tried.
pub(crate) struct RunningTrial {
    pub trial: u64,
    pub digest: String,
    pub terms: Terms,
    /// The digests of the files that serve, by plugin.
    pub beside: BTreeMap<String, String>,
    pub parts: Vec<Part>,
}

/// One plugin of the file.
pub(crate) struct Part {
    pub plugin: PluginName,
    pub version: Arc<str>,
    pub tally: Arc<Tally>,
    pub role: TrialKind,
}

pub(crate) enum TrialKind {
    /// A shadow beside this version.
    Shadow(Arc<Served>),
    Canary(Arc<Watched>),
}

/// A canary that has failed too often.
pub(crate) struct Failing {
    pub path: PathBuf,
    pub trial: u64,
    pub reason: String,
}

impl RunningTrial {
    /// Prepares a trial. A shadow has begun when this returns; the caller must hand a canary to
    /// the engine.
    ///
    /// # Errors
    /// If the system starts no thread for a shadow.
    pub(crate) fn prepare(
        trial: u64,
        find: &Find,
        fit: &Fit,
        beside: &Beside,
        (report, ways_back): (&mpsc::UnboundedSender<Failing>, &WaysBack),
    ) -> io::Result<Self> {
        let mut parts = Vec::new();
        for plugin in &fit.plugins {
            let manifest = plugin.handler.manifest();
            let (name, version) = (manifest.name.clone(), Arc::clone(&manifest.version));
            let (tally, candidate) = (Arc::new(Tally::default()), Arc::clone(&plugin.handler));
            let role = match fit.terms {
                Terms::Canary { failures_max, .. } => {
                    let (report, path) = (report.clone(), find.path.clone());
                    // The receiver is gone while the host stops.
                    let report = Box::new(move |reason| {
                        let _ = report.send(Failing { path: path.clone(), trial, reason });
                    });
                    let tally = Arc::clone(&tally);
                    ways_back.add(Arc::clone(&candidate));
                    TrialKind::Canary(Arc::new(Watched::new(
                        candidate,
                        tally,
                        failures_max,
                        report,
                    )))
                }
                Terms::Shadow(terms) => {
                    let Some((_, served)) = beside.get(name.as_str()) else { continue };
                    let tally = Arc::clone(&tally);
                    let shadow = Shadow::start(candidate, served.manifest(), terms, tally)?;
                    served.observe(Some(shadow));
                    TrialKind::Shadow(Arc::clone(served))
                }
            };
            parts.push(Part { plugin: name, version, tally, role });
        }
        let (digest, beside) = (find.digest.clone(), digests(fit, beside));
        Ok(Self { trial, digest, terms: fit.terms, beside, parts })
    }

    pub(crate) fn watched(&self) -> impl Iterator<Item = &Arc<Watched>> {
        self.parts.iter().filter_map(|part| match &part.role {
            TrialKind::Canary(watched) => Some(watched),
            TrialKind::Shadow(_) => None,
        })
    }

    pub(crate) fn canaries(&self, terms: Terms) -> impl Iterator<Item = Canary> {
        let share = match terms {
            Terms::Canary { share, .. } => Some(share),
            Terms::Shadow(_) => None,
        };
        self.watched().zip(share.into_iter().cycle()).map(|(watched, share)| Canary {
            handler: Arc::clone(watched) as Arc<dyn Handler>,
            share,
        })
    }
}

/// The digests of the files that serve the plugins of a file.
pub(crate) fn digests(fit: &Fit, beside: &Beside) -> BTreeMap<String, String> {
    let names = fit.plugins.iter().map(|plugin| plugin.handler.manifest().name.to_string());
    let serving = names.filter_map(|name| {
        let digest = beside.get(&name)?.0.clone();
        Some((name, digest))
    });
    serving.collect()
}
