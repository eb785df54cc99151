//! `sagabox types`: the data of messages as types, for the teams on the other side.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::check::{configuration, load_all};
use super::output;
use crate::config::Overrides;
use crate::verify::types::{self, Language};

#[derive(Debug, Args)]
pub(crate) struct Types {
    /// A component, or a directory of components
    plugins: PathBuf,
    /// Language of the types
    #[arg(long, value_enum)]
    lang: Lang,
    /// Configuration file [default: sagabox.toml, if it exists]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Lang {
    Rust,
    #[value(alias = "ts")]
    Typescript,
    Python,
    Go,
    JsonSchema,
}

impl Types {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        // Compiling components is computation.
        tokio::task::spawn_blocking(move || self.run()).await?
    }

    fn run(self) -> anyhow::Result<()> {
        let (settings, _) = configuration(self.config.as_deref(), Overrides::default())?;
        let facts = load_all(&self.plugins, &settings)?;
        let read = types::read(&facts);
        for message_type in &read.undescribed {
            output::note(&format!("no plugin has a schema of `{message_type}`; it is left out"));
        }
        let language = match self.lang {
            Lang::Rust => Language::Rust,
            Lang::Typescript => Language::TypeScript,
            Lang::Python => Language::Python,
            Lang::Go => Language::Go,
            Lang::JsonSchema => Language::JsonSchema,
        };
        // Source text, in which the printers have escaped what is not of the language.
        output::raw(types::print(&read, language).trim_end());
        Ok(())
    }
}
