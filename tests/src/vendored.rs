//! The files of other projects that the binary serves to browsers, as their list has them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

const FOLDER: &str = "host/src/pages/assets/vendored";
pub const LIST: &str = "vendored.toml";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct List {
    file: Vec<Vendored>,
}

/// A file that is kept byte for byte as its project has published it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Vendored {
    pub name: String,
    pub package: String,
    pub version: String,
    /// Its path in the package.
    pub published_as: String,
    /// Of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// An SPDX expression.
    pub licence: String,
    /// The file beside it with the text of the licence.
    pub licence_text: String,
    pub address: String,
}

/// Where the files are.
#[must_use]
pub fn folder(repository: &Path) -> PathBuf {
    repository.join(FOLDER)
}

/// # Errors
/// If the list cannot be read.
pub fn list(repository: &Path) -> Result<Vec<Vendored>> {
    let path = folder(repository).join(LIST);
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let list: List =
        toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    Ok(list.file)
}
