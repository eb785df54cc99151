//! `sagabox pull`: downloads components from OCI registries.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::input_error::InputError;
use super::output;
use crate::config::{Overrides, Settings};
use crate::plugins::pull::{self, AsHost, Options, Pulled, Restored};

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// REGISTRY/REPOSITORY:TAG, or with @sha256:DIGEST [default: all components that the lock file pins]
    reference: Option<String>,
    /// Plugin directory to write the component to
    #[arg(long, value_name = "DIR", default_value = ".")]
    into: PathBuf,
    /// Name of the file [default: the last part of REPOSITORY, with .wasm]
    #[arg(long = "as", value_name = "FILE", requires = "reference")]
    file: Option<String>,
    /// Use HTTP without TLS [always used for registries on the local machine]
    #[arg(long)]
    plain_http: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Configuration file [default: sagabox.toml, if it exists]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
}

impl Pull {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let settings =
            Settings::load(self.config.as_deref(), Overrides::default()).map_err(InputError::of)?;
        let host = AsHost { configurations: settings.configurations(), sandbox: settings.sandbox };
        let options = Options { plain_http: self.plain_http };
        let Some(reference) = &self.reference else {
            let restored = pull::restore(&self.into, &host, options).await?;
            return report_restored(&restored, self.json);
        };
        let reference = pull::reference(reference).map_err(InputError)?;
        let file = self.file.clone().unwrap_or_else(|| pull::file_name(&reference));
        pull::check_name(&file)
            .map_err(|why| InputError(format!("{why}; choose another name with --as")))?;
        let pulled = pull::pull(&reference, (&self.into, &file), &host, options).await?;
        match self.json {
            true => output::json(&view(&pulled)),
            false => print(&pulled),
        }
        Ok(())
    }
}

fn view(pulled: &Pulled) -> Value {
    json!({
        "file": pulled.path,
        "digest": pulled.digest,
        "source": pulled.source,
        "plugins": pulled.plugins,
        "signed": pulled.is_signed,
        "pinned": pulled.is_pinned,
    })
}

fn print(pulled: &Pulled) {
    for manifest in &pulled.plugins {
        let (name, version, role) = (&manifest.name, &manifest.version, manifest.role.as_str());
        output::line(&format!("{name} {version} ({role}) in {}", pulled.path.display()));
    }
    output::line(&format!("  digest sha256:{}", pulled.digest));
    output::line(&format!("  from   {}", pulled.source));
    if pulled.is_signed {
        output::line("  signed by one of the `keys` under [plugins]");
    }
    if !pulled.is_pinned {
        let directory = pulled.path.parent().unwrap_or(Path::new("."));
        output::line(&format!(
            "  not pinned: no lock file exists; `sagabox lock {}` creates one",
            directory.display()
        ));
    }
}

fn report_restored(restored: &[Restored], json: bool) -> anyhow::Result<()> {
    let mut unknown = 0;
    let mut views = Vec::new();
    for one in restored {
        match one {
            Restored::Pulled(pulled) if json => views.push(view(pulled)),
            Restored::Pulled(pulled) => print(pulled),
            Restored::Unchanged(path) if json => views.push(json!({ "file": path })),
            Restored::Unchanged(path) => {
                output::line(&format!("{} matches its pin", path.display()));
            }
            Restored::Unknown(path) => {
                output::note(&format!(
                    "{} does not match its pin, and the lock file does not contain its source",
                    path.display()
                ));
                unknown += 1;
            }
        }
    }
    if json {
        output::json(&json!({ "files": views }));
    }
    let shown =
        output::counted(unknown, "file does not match its pin", "files do not match their pins");
    anyhow::ensure!(unknown == 0, "{shown}");
    Ok(())
}
