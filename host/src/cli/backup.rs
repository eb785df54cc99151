//! `sagabox backup` and `sagabox restore`: copies of the store.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::input_error::InputError;
use super::output;
use super::output::Row;
use crate::config::{Overrides, Settings};
use crate::store::backup::{self, BackupError};

/// The store, and the output format.
#[derive(Debug, Args)]
struct StoreArgs {
    /// Configuration file [default: sagabox.toml, if it exists]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
    /// Location of the store, such as sqlite:sagabox.db
    #[arg(long, env = "SAGABOX_STORE")]
    store: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// File to write; it must not exist
    target: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// File that `sagabox backup` has written
    backup: PathBuf,
    /// Move an existing store aside instead of refusing
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    store: StoreArgs,
}

impl Backup {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let store = self.store.url()?;
        let backup = backup::back_up(&store, &self.target).await.map_err(understood)?;
        self.store.print(&backup, |value| {
            let (events, bytes) = (value.cell("events"), value.cell("bytes"));
            format!("backed up to {}: {bytes} bytes, {events} events", show(&backup.backup))
        });
        Ok(())
    }
}

impl Restore {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let store = self.store.url()?;
        let restored = backup::restore(&self.backup, &store, self.force).await;
        let restored = restored.map_err(understood)?;
        self.store.print(&restored, |value| {
            let bytes = value.cell("bytes");
            let placed = format!("restored to {}: {bytes} bytes", show(&restored.store));
            match &restored.moved_aside {
                Some(aside) => format!("{placed}; the previous store is now {}", show(aside)),
                None => placed,
            }
        });
        Ok(())
    }
}

impl StoreArgs {
    fn url(&self) -> anyhow::Result<String> {
        let overrides = Overrides { store: self.store.clone(), ..Overrides::default() };
        let settings = Settings::load(self.config.as_deref(), overrides).map_err(InputError::of)?;
        Ok(settings.store)
    }

    fn print(&self, outcome: &impl Serialize, line: impl Fn(&Row) -> String) {
        match self.json {
            true => output::json(outcome),
            false => output::data(&line(&Row::of(outcome))),
        }
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// Only a failure of the machine can succeed on a retry; all others are errors in the input.
fn understood(error: BackupError) -> anyhow::Error {
    match error {
        BackupError::Failed(_) => error.into(),
        _ => InputError(error.to_string()).into(),
    }
}
