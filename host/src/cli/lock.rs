//! `sagabox lock`: pins the components of a directory by digest.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::input_error::InputError;
use super::output;
use crate::config::{Overrides, Settings};
use crate::plugins::trust::{self, LockFile, LockRule, Pinned, Policy};
use crate::plugins::wasm::{self, Loading, Sandbox};

#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// Directory of the plugins' components
    plugins: PathBuf,
    /// Change nothing; fail if the lock file does not match the components
    #[arg(long)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Configuration file [default: sagabox.toml, if it exists]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
}

impl Lock {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        // A component has to run to return its manifest, so this is computation.
        tokio::task::spawn_blocking(move || self.run()).await?
    }

    fn run(self) -> anyhow::Result<()> {
        if !self.plugins.is_dir() {
            return Err(InputError(format!("{} is not a directory", self.plugins.display())).into());
        }
        let settings =
            Settings::load(self.config.as_deref(), Overrides::default()).map_err(InputError::of)?;
        let before = LockFile::read(&self.plugins);
        let Loading { loaded, refused } = load(&self.plugins, settings)?;
        for refused in &refused {
            output::note(&format!("not pinned: {} {}", refused.path.display(), refused.reason));
            refused.details.iter().for_each(|line| output::note(&format!("    {line}")));
        }
        let found = loaded.iter().map(|plugin| plugin.pinned(&self.plugins)).collect();
        if self.check {
            let Some(before) = before.map_err(anyhow::Error::msg)? else {
                anyhow::bail!("{} not found in {}", trust::FILE, self.plugins.display());
            };
            return self.compare(&before, &before.pin(found));
        }
        // A lock file that cannot be read is replaced, because the command's purpose is to write
        // it.
        let before = before.ok().flatten().unwrap_or_default();
        let lock = before.pin(found);
        let path = self.plugins.join(trust::FILE);
        lock.write(&self.plugins).with_context(|| format!("write {}", path.display()))?;
        match self.json {
            true => output::json(&json!({ "file": path, "plugins": lock.plugins() })),
            false => {
                let count = output::counted(lock.plugins().len() as u64, "plugin", "plugins");
                output::line(&format!("{} pins {count}", path.display()));
                for Pinned { file, name, version, .. } in lock.plugins() {
                    output::line(&format!("  {name} {version} in {file}"));
                }
            }
        }
        Ok(())
    }

    fn compare(&self, pinned: &LockFile, found: &LockFile) -> anyhow::Result<()> {
        let differences = pinned.differences(found);
        match self.json {
            true => output::json(&json!({ "differences": differences })),
            false => differences.iter().for_each(|line| output::line(line)),
        }
        anyhow::ensure!(
            differences.is_empty(),
            "{} from {}; to accept what is there, run this command without --check",
            output::counted(differences.len() as u64, "difference", "differences"),
            self.plugins.join(trust::FILE).display()
        );
        Ok(())
    }
}

/// Loads the plugins as a host does, but without the lock file, which this command writes.
/// Candidates are included, so that a candidate that is promoted is pinned already.
fn load(directory: &Path, settings: Settings) -> anyhow::Result<Loading> {
    let configurations = settings.configurations();
    let trust = Policy { lock: LockRule::Ignored, ..settings.sandbox.trust };
    let sandbox = Sandbox::new(wasm::Settings { trust, ..settings.sandbox })?;
    let mut loading = wasm::load_directory(directory, &sandbox, &configurations)?;
    let candidates = directory.join(trust::CANDIDATES);
    if candidates.is_dir() {
        for path in wasm::list(&candidates)?.components {
            loading.add_apart(path, directory, &sandbox, &configurations);
        }
    }
    Ok(loading)
}
