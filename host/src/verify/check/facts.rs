//! What is known of each plugin once it is loaded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sagabox_engine::model::Manifest;

use super::super::written::written;
use super::{Finding, Severity};
use crate::plugins::wasm::{self, Introduction, Limits, Sandbox};

/// A plugin that a host would serve.
#[derive(Clone, Debug)]
pub struct Facts {
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub digest: String,
    pub manifest: Manifest,
    pub imports: Vec<String>,
    pub limits: Limits,
    pub introduction: Introduction,
}

impl Facts {
    #[must_use]
    pub fn name(&self) -> &str {
        self.manifest.name.as_str()
    }
}

/// What a file or a directory holds.
pub struct LoadedComponent {
    pub facts: Vec<Facts>,
    /// Of the files that a host would refuse.
    pub findings: Vec<Finding>,
}

/// Loads `path` as a host would.
///
/// # Errors
/// If there is nothing at `path`, or it cannot be read.
pub fn load(
    path: &Path,
    sandbox: &Sandbox,
    configurations: &HashMap<String, String>,
) -> anyhow::Result<LoadedComponent> {
    let (loading, wrote) = written(|| wasm::load_path(path, sandbox, configurations));
    let loading = loading?;
    let refused = loading.refused.iter().map(|refused| {
        let text = format!("a host refuses it: {refused}");
        Finding::new(Severity::Error, refused.path.display().to_string(), text)
    });
    let mut loaded = LoadedComponent { findings: refused.collect(), facts: Vec::new() };
    for plugin in &loading.loaded {
        let manifest = plugin.handler.manifest().clone();
        loaded.facts.push(Facts {
            path: plugin.path.clone(),
            digest: plugin.digest.clone(),
            limits: sandbox.limits(manifest.name.as_str()),
            imports: plugin.imports.clone(),
            introduction: plugin.introduction(),
            manifest,
        });
    }
    // What a refused plugin wrote is part of its refusal.
    if loading.refused.is_empty() && !wrote.is_empty() {
        // Each describes itself more than once.
        let mut lines: Vec<String> = Vec::new();
        wrote.into_iter().for_each(|line| {
            if !lines.contains(&line) {
                lines.push(line);
            }
        });
        let text = format!(
            "plugins write while they start and describe themselves, and a host starts many \
             instances: {}",
            lines.join(" | ")
        );
        loaded.findings.push(Finding::new(Severity::Warning, path.display().to_string(), text));
    }
    if loading.loaded.is_empty() && loading.refused.is_empty() {
        let text = "it contains no plugin";
        loaded.findings.push(Finding::new(Severity::Warning, path.display().to_string(), text));
    }
    Ok(loaded)
}
