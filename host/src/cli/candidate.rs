//! `sagabox shadow` and `sagabox canary`: put a candidate where a host tries it beside the
//! version that serves.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::{InputError, output};
use crate::config::{Overrides, Settings};
use crate::hot::candidates::{FAILURES_MAX, Record, Terms};
use crate::plugin::{self, LoadedPlugin, Sandbox};
use crate::{files, trust};

#[derive(Debug, Args)]
pub struct Shadow {
    #[command(flatten)]
    put: Put,
}

#[derive(Debug, Args)]
pub struct Canary {
    #[command(flatten)]
    put: Put,
    /// Of the plugin's keys, in percent
    #[arg(long, value_name = "PERCENT")]
    share: f64,
    /// It is withdrawn when more of its last 100 calls have failed
    #[arg(long, value_name = "CALLS", default_value_t = FAILURES_MAX)]
    failures_max: u32,
}

#[derive(Debug, Args)]
struct Put {
    /// The new version's component
    component: PathBuf,
    /// Directory of plugins where the other version serves
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// Configuration file [default: sagabox.toml, if it is there]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
}

impl Shadow {
    pub async fn execute(self) -> anyhow::Result<()> {
        self.put.execute(Terms::Shadow).await
    }
}

impl Canary {
    pub async fn execute(self) -> anyhow::Result<()> {
        let terms = Terms::canary(self.share, Some(self.failures_max)).map_err(InputError)?;
        self.put.execute(terms).await
    }
}

impl Put {
    async fn execute(self, terms: Terms) -> anyhow::Result<()> {
        // Who a component says it is, it says only when it runs.
        tokio::task::spawn_blocking(move || self.run(terms)).await?
    }

    fn run(&self, terms: Terms) -> anyhow::Result<()> {
        if !self.into.is_dir() {
            return Err(InputError(format!("{} is no directory", self.into.display())).into());
        }
        if !plugin::is_component(&self.component) {
            let text = "is not named as a component; a host looks at files NAME.wasm alone";
            return Err(InputError(format!("{} {text}", self.component.display())).into());
        }
        let settings = Settings::load(self.config.as_deref(), Overrides::default())
            .map_err(|error| InputError(format!("{error:#}")))?;
        let reading = || format!("read {}", self.component.display());
        let bytes = files::bytes(&self.component, settings.sandbox.component_bytes);
        let bytes = bytes.with_context(reading)?;
        let plugins = self.load(&bytes, &settings)?;
        let folder = self.into.join(plugin::CANDIDATES);
        let name = self.component.file_name().context("the component has no name")?;
        let path = folder.join(name);
        let writing = || format!("write {}", path.display());
        std::fs::create_dir_all(&folder).with_context(writing)?;
        // The component comes last, so that a host finds it with all that is said of it.
        let name = name.to_string_lossy();
        terms.put(&folder, &name).with_context(writing)?;
        Record::remove(&path).with_context(writing)?;
        let signature = files::bytes(&trust::beside(&self.component), files::TEXT_BYTES_MAX);
        if let Ok(signature) = signature {
            let beside = trust::beside(Path::new(&*name));
            files::put(&folder, &beside.to_string_lossy(), &signature).with_context(writing)?;
        }
        files::put(&folder, &name, &bytes).with_context(writing)?;
        let trusted = settings.sandbox.trust.judge(&path, &bytes, &plugin::digest(&bytes));
        self.tell(&plugins, terms, &path, trusted);
        Ok(())
    }

    fn load(&self, bytes: &[u8], settings: &Settings) -> anyhow::Result<Vec<LoadedPlugin>> {
        // Whether it is trusted is a matter of where it will lie.
        let trust = trust::Policy::default();
        let sandbox = Sandbox::new(plugin::Settings { trust, ..settings.sandbox.clone() })?;
        let loaded = plugin::load(&self.component, bytes, &sandbox, &settings.configurations());
        loaded.map_err(|unfit| anyhow::anyhow!("{}: {unfit}", self.component.display()))
    }

    fn tell(
        &self,
        plugins: &[LoadedPlugin],
        terms: Terms,
        path: &Path,
        trusted: Result<(), String>,
    ) {
        for plugin in plugins {
            let manifest = plugin.handler.manifest();
            let (name, version, role) = (&manifest.name, &manifest.version, manifest.role.as_str());
            output::line(&format!("{name} {version} ({role}): {terms}"));
        }
        let (path, directory) = (path.display(), self.into.display());
        output::line("  how it does      sagabox plugins");
        output::line(&format!(
            "  have it serve    mv {path} {directory}/<file of the version that serves>"
        ));
        output::line(&format!("  have it end      rm {path}"));
        if let Err(reason) = trusted {
            output::warning(&format!("a host refuses it until this is mended: {reason}"));
        }
    }
}
