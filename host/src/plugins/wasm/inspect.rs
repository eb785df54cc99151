//! Loads plugins without a host, in the way in which a host loads them, and reports what a host
//! does not.

use std::collections::HashMap;
use std::path::Path;

use super::directory::{Loading, load_directory};
use super::limits::Limits;
use super::sandbox::{Sandbox, Settings};
use crate::plugins::trust;

/// Loads a directory of plugins, or one file as if no other files were beside it but its signature
/// and the lock file.
///
/// `configurations` holds each plugin's section as JSON.
///
/// # Errors
/// If there is nothing at `path`, or it cannot be read.
pub fn load_path(
    path: &Path,
    sandbox: &Sandbox,
    configurations: &HashMap<String, String>,
) -> anyhow::Result<Loading> {
    if path.is_dir() {
        return load_directory(path, sandbox, configurations);
    }
    anyhow::ensure!(path.exists(), "{} not found", path.display());
    let mut loading = Loading::default();
    loading.add(path.to_owned(), &trust::home_of(path), sandbox, configurations);
    Ok(loading)
}

impl Sandbox {
    /// The limits of a plugin of this name.
    #[must_use]
    pub fn limits(&self, plugin: &str) -> Limits {
        self.limits_of(plugin)
    }
}

impl Settings {
    /// The same, but every call gets a fresh instance: a difference shows that a plugin keeps
    /// something in a global from call to call.
    #[must_use]
    pub fn with_fresh_instances(mut self) -> Self {
        self.limits.calls_per_instance = 1;
        for limits in self.plugins.values_mut() {
            limits.calls_per_instance = 1;
        }
        self
    }
}
