//! `sagabox build`: plugins from source to components.

use std::path::PathBuf;

use clap::Args;

use super::output;
use crate::plugin;

#[derive(Debug, Args)]
pub struct Build {
    /// Directories of plugins' sources
    #[arg(required = true)]
    sources: Vec<PathBuf>,
    /// Directory for the components
    #[arg(long, default_value = "plugins")]
    out: PathBuf,
    /// Directory for what the compiler needs in between; all plugins share it
    #[arg(long, default_value = TARGET)]
    target: PathBuf,
}

/// Where cargo's own things are, usually kept out of version control.
pub const TARGET: &str = "target/plugins-build";

impl Build {
    pub async fn execute(self) -> anyhow::Result<()> {
        build_all(self.sources, self.out, self.target).await
    }
}

/// Builds one after the other: each compiler uses all cores already.
pub async fn build_all(sources: Vec<PathBuf>, out: PathBuf, target: PathBuf) -> anyhow::Result<()> {
    let building = tokio::task::spawn_blocking(move || {
        for source in sources {
            let component = plugin::build(&source, &out, &target)?;
            output::line(&format!("built {} from {}", component.display(), source.display()));
        }
        Ok(())
    });
    building.await?
}
