//! `sagabox rollback`: puts a version that the store keeps back into the plugin directory.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::host_args::HostArgs;
use super::input_error::InputError;
use super::kept::{self, KeptVersion};
use super::output;
use crate::config::{Overrides, Settings};
use crate::io::files;
use crate::plugins::trust;

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Name of the plugin
    plugin: String,
    #[command(flatten)]
    version: KeptVersion,
    /// Store that keeps the component, such as sqlite:sagabox.db, or the directory of its file
    #[arg(long, env = "SAGABOX_STORE")]
    store: String,
    /// Plugin directory in which the version shall serve
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// Configuration file [default: sagabox.toml, if it exists]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    host: HostArgs,
}

/// The parts of `GET /plugins` that say which file serves.
#[derive(Deserialize)]
struct Plugins {
    directory: PathBuf,
    plugins: Vec<Serving>,
}

#[derive(Deserialize)]
struct Serving {
    name: String,
    file: PathBuf,
}

impl Rollback {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        if !self.version.is_given() {
            let text = "give the version with --plugin-version or --digest; `sagabox plugins` lists \
                        what the store keeps";
            return Err(InputError(text.to_owned()).into());
        }
        if !self.into.is_dir() {
            return Err(InputError(format!("{} is not a directory", self.into.display())).into());
        }
        let settings =
            Settings::load(self.config.as_deref(), Overrides::default()).map_err(InputError::of)?;
        let component = self.version.find(&self.store, &self.plugin).await?;
        let file = self.serving_file().await.unwrap_or_else(|| component.file.clone());
        let (plugin, into) = (self.plugin.clone(), self.into.clone());
        let put = tokio::task::spawn_blocking(move || {
            let loaded = kept::load(&component, &plugin, &settings)?;
            let path = into.join(&file);
            let writing = || format!("write {}", path.display());
            // The component is written last, so that a host that finds it also finds its signature.
            let beside = trust::beside(Path::new(&file)).to_string_lossy().into_owned();
            match &component.signature {
                Some(text) => files::put(&into, &beside, text.as_bytes()).with_context(writing)?,
                None => files::remove(&into.join(&beside)).with_context(writing)?,
            }
            let bytes = component.unpack().map_err(anyhow::Error::msg)?;
            files::put(&into, &file, &bytes).with_context(writing)?;
            let trusted = settings.sandbox.trust.check(&path, &into, &bytes, &component.digest);
            let version = loaded.handler.manifest().version.to_string();
            anyhow::Ok((path, version, component.digest, trusted))
        });
        let (path, version, digest, trusted) = put.await??;
        if self.host.json {
            output::json(&json!({
                "plugin": self.plugin, "version": version, "digest": digest, "file": path,
                "refused": trusted.err(),
            }));
            return Ok(());
        }
        output::data(&format!("{} {version} is in {}", self.plugin, path.display()));
        match trusted {
            Ok(()) => output::line(
                "  a host that serves this directory checks it against all live states, then serves it",
            ),
            Err(reason) => output::warning(&format!("a host refuses it for this reason: {reason}")),
        }
        Ok(())
    }

    /// The name of the file from which the plugin serves in this directory, if its host answers:
    /// another name would stand beside it.
    async fn serving_file(&self) -> Option<String> {
        let answer = self.host.client().ok()?.get::<Plugins>("/plugins", &[]).await.ok()?;
        let is_same = answer.directory.canonicalize().ok()? == self.into.canonicalize().ok()?;
        let serving = answer.plugins.into_iter().find(|own| own.name == self.plugin);
        let file = serving.filter(|_| is_same)?.file;
        Some(file.file_name()?.to_string_lossy().into_owned())
    }
}
