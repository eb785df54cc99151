//! `sagabox completions` and `sagabox manual`: what shells and `man` read, from the one definition of
//! the command line.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, output};

const NAME: &str = "sagabox";

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell that reads the script
    shell: Shell,
}

impl Completions {
    pub(crate) fn execute(&self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), NAME, &mut script);
        output::raw(String::from_utf8(script)?.trim_end());
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Manual {
    /// Directory for the pages
    directory: PathBuf,
}

impl Manual {
    pub(crate) fn execute(&self) -> anyhow::Result<()> {
        let directory = &self.directory;
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(directory)?;
            clap_mangen::generate_to(Cli::command(), directory)
        };
        write().with_context(|| format!("write the manual pages to {}", directory.display()))?;
        output::data(&format!("wrote the manual pages to {}", directory.display()));
        Ok(())
    }
}
