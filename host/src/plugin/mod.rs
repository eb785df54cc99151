//! Stand-in with the agreed interface until components are loaded here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sagabox_engine::handler::Handler;

#[derive(Clone, Debug, Default)]
pub struct PluginOptions {
    /// Each plugin's own section of the configuration.
    pub configuration: BTreeMap<String, serde_json::Value>,
}

#[derive(Default)]
pub struct Loaded {
    pub plugins: Vec<LoadedPlugin>,
    pub refused: Vec<Refused>,
}

pub struct LoadedPlugin {
    pub file: PathBuf,
    pub handler: Arc<dyn Handler>,
}

pub struct Refused {
    pub file: PathBuf,
    pub reason: String,
}

pub fn load_directory(directory: &Path, _options: &PluginOptions) -> anyhow::Result<Loaded> {
    anyhow::bail!("load plugins from {}: this build loads none", directory.display())
}

/// Builds one plugin from source and returns the component's file.
pub fn build(source: &Path, _out: &Path) -> anyhow::Result<PathBuf> {
    anyhow::bail!("build {}: this build has no builder", source.display())
}
