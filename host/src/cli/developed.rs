//! A plugin that its author works on: a component, or the source directory from which it is built
//! first. `sagabox test` and `sagabox sim` take one.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tempfile::TempDir;

use super::build;
use super::input_error::InputError;
use crate::config::{Overrides, Settings};
use crate::plugins;
use crate::plugins::trust::Policy;
use crate::plugins::wasm;

#[derive(Debug, Args)]
pub(crate) struct Developed {
    /// A component, or the source directory of a plugin, which is built first
    pub plugin: PathBuf,
    /// Configuration file, for its limits [default: sagabox.toml, if it exists]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
    /// Refuse plugins that import anything but Sagabox's own interface, such as WASI
    #[arg(long, env = "SAGABOX_STRICT")]
    strict: bool,
    /// Directory for the component that is built
    #[arg(long, default_value = "target/plugins")]
    out: PathBuf,
    /// Directory for intermediate files of the compiler
    #[arg(long, default_value = build::TARGET)]
    target: PathBuf,
}

impl Developed {
    pub(crate) fn settings(&self) -> Result<Settings, InputError> {
        let overrides = Overrides { strict: self.strict, ..Overrides::default() };
        Settings::load(self.config.as_deref(), overrides).map_err(InputError::of)
    }

    /// The component, built now if its source is given.
    pub(crate) fn component(&self) -> anyhow::Result<PathBuf> {
        match self.plugin.is_dir() {
            true => Ok(plugins::build::component(&self.plugin, &self.out, &self.target)?),
            false => Ok(self.plugin.clone()),
        }
    }

    /// The folder of files that belong to the plugin: `in_source` of its source directory, or the
    /// one beside its component.
    pub(crate) fn folder(&self, in_source: &str, beside: PathBuf) -> PathBuf {
        match self.plugin.is_dir() {
            true => self.plugin.join(in_source),
            false => beside,
        }
    }
}

/// The settings of a sandbox for plugins under development, which are neither signed nor pinned.
pub(crate) fn sandbox(settings: &Settings) -> wasm::Settings {
    wasm::Settings { trust: Policy::default(), ..settings.sandbox.clone() }
}

/// The same with a cache of compiled components, which is temporary if the host has none.
pub(crate) fn cached_sandbox(
    settings: &Settings,
) -> anyhow::Result<(wasm::Settings, Option<TempDir>)> {
    let (cache, temporary) =
        settings.sandbox.cache.or_temporary().context("create a temporary directory")?;
    Ok((wasm::Settings { cache, ..sandbox(settings) }, temporary))
}
