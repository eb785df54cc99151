//! `sagabox build`: plugins from source to components.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::output;
use crate::plugins;
use crate::verify::scenario;
use crate::verify::simulation;

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// Source directories of the plugins
    #[arg(required = true)]
    sources: Vec<PathBuf>,
    /// Directory for the components
    #[arg(long, default_value = "plugins")]
    out: PathBuf,
    /// Directory for intermediate files of the compiler; all plugins share it
    #[arg(long, default_value = TARGET)]
    target: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The default directory for intermediate files. It is below cargo's `target`, which is usually
/// kept out of version control.
pub(crate) const TARGET: &str = "target/plugins-build";

impl Build {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let built = build_all(self.sources, self.out, self.target, !self.json).await?;
        if self.json {
            output::json(&json!({ "built": built }));
        }
        Ok(())
    }
}

/// A built component, and the source that it was built from.
#[derive(Debug, Serialize)]
pub(crate) struct Built {
    component: PathBuf,
    source: PathBuf,
}

/// Builds the sources one after another, because each compiler uses all cores already.
pub(crate) async fn build_all(
    sources: Vec<PathBuf>,
    out: PathBuf,
    target: PathBuf,
    reports: bool,
) -> anyhow::Result<Vec<Built>> {
    let building = tokio::task::spawn_blocking(move || {
        let mut built = Vec::new();
        for source in sources {
            let component = plugins::build::component(&source, &out, &target)?;
            bring(&source.join(scenario::IN_SOURCE), &scenario::beside(&component))?;
            bring(&source.join(simulation::IN_SOURCE), &simulation::beside(&component))?;
            if reports {
                output::data(&format!("built {} from {}", component.display(), source.display()));
            }
            built.push(Built { component, source });
        }
        Ok(built)
    });
    building.await?
}

/// Copies the source's scenarios or simulations next to the component, where `check`, `test` and
/// `sim` look for them.
fn bring(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copying = || format!("copy {} to {}", from.display(), to.display());
    // The copies of an earlier build may no longer be in the source.
    if to.exists() {
        for old in scenario::files_in(to)? {
            std::fs::remove_file(&old).with_context(copying)?;
        }
    }
    if !from.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(to).with_context(copying)?;
    for file in scenario::files_in(from)? {
        let name = file.file_name().unwrap_or_default();
        std::fs::copy(&file, to.join(name)).with_context(copying)?;
    }
    Ok(())
}
