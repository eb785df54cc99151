//! `sagabox shadow` and `sagabox canary`: put a candidate where a host tries it beside the
//! version that serves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::admission::{Admission, Before, Sought};
use super::host_args::HostArgs;
use super::input_error::InputError;
use super::output;
use crate::config::{Overrides, Settings};
use crate::decisions::kinds::Aspects;
use crate::io::files;
use crate::plugins::rollout::{FAILURES_MAX, Record, Terms};
use crate::plugins::trust;
use crate::plugins::wasm::{self, LoadedPlugin, Sandbox};

#[derive(Debug, Args)]
pub(crate) struct Shadow {
    #[command(flatten)]
    put: Put,
    /// What to compare
    #[arg(long, value_name = "WHAT", default_value = "both",
          value_parser = PossibleValuesParser::new(Aspects::NAMES))]
    compare: String,
    /// How long each decision waits for a shadow that is behind, before it is skipped
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    wait_ms: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Canary {
    #[command(flatten)]
    put: Put,
    /// Share of the plugin's keys, in percent
    #[arg(long, value_name = "PERCENT")]
    share: f64,
    /// Withdraw the canary when more of its last 100 calls have failed
    #[arg(long, value_name = "CALLS", default_value_t = FAILURES_MAX)]
    failures_max: u32,
}

#[derive(Debug, Args)]
struct Put {
    /// Component of the new version
    component: PathBuf,
    /// Plugin directory in which the other version serves
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// Configuration file [default: sagabox.toml, if it exists]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
    /// How long to wait for the host's decision
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    #[command(flatten)]
    host: HostArgs,
}

impl Shadow {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let terms = Terms::shadow(Some(&self.compare), Some(self.wait_ms)).map_err(InputError)?;
        self.put.execute(terms).await
    }
}

impl Canary {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let terms = Terms::canary(self.share, Some(self.failures_max)).map_err(InputError)?;
        self.put.execute(terms).await
    }
}

impl Put {
    async fn execute(self, terms: Terms) -> anyhow::Result<()> {
        let before = Before::look(self.host.client()?, &self.into).await;
        let this = Arc::new(self);
        let putting = Arc::clone(&this);
        // The component has to run to return its manifest, so this is computation.
        let put = tokio::task::spawn_blocking(move || putting.run(terms)).await??;
        let (kind, share) = match terms {
            Terms::Shadow(_) => ("shadow", None),
            Terms::Canary { share, .. } => ("canary", Some(share.as_percent())),
        };
        let sought = Sought { digest: &put.digest, kind, share };
        let admission = before.wait(&sought, Duration::from_secs(this.wait)).await?;
        this.print(&put, terms, &admission);
        match admission {
            Admission::Tried | Admission::NoHost(_) => Ok(()),
            Admission::Refused(reason) => anyhow::bail!("the host refused the candidate: {reason}"),
            Admission::Late => anyhow::bail!(
                "the host has not decided within {} s; `sagabox plugins` shows its decision",
                this.wait
            ),
        }
    }

    fn run(&self, terms: Terms) -> anyhow::Result<Placed> {
        if !self.into.is_dir() {
            return Err(InputError(format!("{} is not a directory", self.into.display())).into());
        }
        if !wasm::is_component(&self.component) {
            let text = "does not have the name of a component; a host reads only files NAME.wasm and NAME.wat";
            return Err(InputError(format!("{} {text}", self.component.display())).into());
        }
        let settings =
            Settings::load(self.config.as_deref(), Overrides::default()).map_err(InputError::of)?;
        let reading = || format!("read {}", self.component.display());
        let bytes = files::bytes(&self.component, settings.sandbox.component_bytes);
        let bytes = bytes.with_context(reading)?;
        let plugins = self.load(&bytes, &settings)?;
        let folder = self.into.join(trust::CANDIDATES);
        let name = self.component.file_name().context("the component has no name")?;
        let path = folder.join(name);
        let writing = || format!("write {}", path.display());
        std::fs::create_dir_all(&folder).with_context(writing)?;
        // The component is written last, so that a host that finds it also finds the files
        // beside it.
        let name = name.to_string_lossy();
        terms.put(&folder, &name).with_context(writing)?;
        Record::remove(&path).with_context(writing)?;
        let signature = files::bytes(&trust::beside(&self.component), files::TEXT_BYTES_MAX);
        if let Ok(signature) = signature {
            let beside = trust::beside(Path::new(&*name));
            files::put(&folder, &beside.to_string_lossy(), &signature).with_context(writing)?;
        }
        files::put(&folder, &name, &bytes).with_context(writing)?;
        let digest = crate::decisions::digest::digest(&bytes);
        let trusted = settings.sandbox.trust.check(&path, &self.into, &bytes, &digest);
        Ok(Placed { plugins, path, digest, trusted })
    }

    fn load(&self, bytes: &[u8], settings: &Settings) -> anyhow::Result<Vec<LoadedPlugin>> {
        // The component is checked in the place where it will be, not here.
        let trust = trust::Policy::default();
        let sandbox = Sandbox::new(wasm::Settings { trust, ..settings.sandbox.clone() })?;
        let place = (&*self.component, &*self.into);
        let loaded = wasm::load(place, bytes, &sandbox, &settings.configurations());
        loaded.map_err(|unfit| anyhow::anyhow!("{}: {unfit}", self.component.display()))
    }

    fn print(&self, put: &Placed, terms: Terms, admission: &Admission) {
        if self.host.json {
            let plugins = put.plugins.iter().map(|plugin| plugin.handler.manifest());
            let (admission, reason) = match admission {
                Admission::Tried => ("tried", None),
                Admission::Refused(reason) => ("refused", Some(reason)),
                Admission::NoHost(reason) => ("no-host", Some(reason)),
                Admission::Late => ("late", None),
            };
            return output::json(&json!({
                "file": put.path, "digest": put.digest, "terms": terms.to_string(),
                "plugins": plugins.collect::<Vec<_>>(), "admission": admission, "reason": reason,
            }));
        }
        if let Admission::Tried | Admission::NoHost(_) = admission {
            for plugin in &put.plugins {
                let manifest = plugin.handler.manifest();
                let role = manifest.role.as_str();
                let (name, version) = (&manifest.name, &manifest.version);
                output::data(&format!("{name} {version} ({role}): {terms}"));
            }
        }
        let (path, directory) = (put.path.display(), self.into.display());
        output::line("  show the results  sagabox plugins");
        output::data(&format!(
            "  make it serve     mv {path} {directory}/<file of the version that serves>"
        ));
        output::data(&format!("  end the trial     rm {path}"));
        if let Admission::NoHost(why) = admission {
            if let Err(reason) = &put.trusted {
                output::warning(&format!("a host refuses it for this reason: {reason}"));
            }
            output::note(&format!("no host has checked it yet: {why}"));
        }
    }
}

/// A candidate that was written to its place.
struct Placed {
    plugins: Vec<LoadedPlugin>,
    path: PathBuf,
    digest: String,
    trusted: Result<(), String>,
}
