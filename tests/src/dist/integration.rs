//! What makes the command part of a system: completions of shells, manual pages, and the units of
//! systemd. The binary itself writes the first two.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Document, NAME};

/// A shell, and where it looks for the completions that packages install.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/sagabox"),
    ("fish", "share/fish/vendor_completions.d/sagabox.fish"),
    ("zsh", "share/zsh/vendor-completions/_sagabox"),
];
const UNITS: [&str; 2] = ["sagabox.service", "sagabox.socket"];

/// All of them, sorted by path.
pub(super) fn read(binary: &Path, repository: &Path) -> Result<Vec<Document>> {
    let mut found = Vec::new();
    for (shell, path) in SHELLS {
        let contents = output(binary, &["completions", shell])?;
        found.push(Document { path: path.to_owned(), contents });
    }
    for unit in UNITS {
        let file = repository.join("host/packaging").join(unit);
        let contents =
            std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        found.push(Document { path: format!("lib/systemd/system/{unit}"), contents });
    }
    let pages = tempfile::tempdir().context("making a folder for the manual pages")?;
    let folder = pages.path().to_str().context("the name of a temporary folder")?;
    output(binary, &["manual", folder])?;
    for page in std::fs::read_dir(pages.path())? {
        let page = page?;
        let name = page.file_name().to_string_lossy().into_owned();
        let contents = std::fs::read(page.path())?;
        found.push(Document { path: format!("share/man/man1/{name}"), contents });
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn output(binary: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(binary)
        .args(arguments)
        .output()
        .with_context(|| format!("running {}", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{NAME} {} failed: {said}", arguments.join(" "));
    Ok(output.stdout)
}
