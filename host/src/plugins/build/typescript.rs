//! Plugins in TypeScript and JavaScript: componentize-qjs and esbuild, called by the SDK's builder.

use std::path::{Path, PathBuf};

use super::toolchain;
use super::{BuildError, Language, Work, process};
use crate::decisions::digest::digest;

/// The first version that runs the builder.
const NODE_MIN: u32 = 20;
const LOCK: &str = "package-lock.json";
const INSTALL: &str = "  Debian, Ubuntu: apt-get install nodejs npm    macOS: brew install node\n  \
                       or from https://nodejs.org";

pub(super) fn build(work: &Work<'_>) -> Result<(), BuildError> {
    let folder = &work.project.folder;
    check_node()?;
    let mut builder = process::clean("node");
    if let Some(tools) = tools(&work.sdk)? {
        builder.env("SAGABOX_NODE_MODULES", tools.join("node_modules"));
    }
    install_dependencies(folder)?;
    builder
        .arg(work.sdk.join("build.mjs"))
        .arg(folder)
        .arg("--out")
        .arg(&work.module)
        .arg("--work")
        .arg(&work.folder);
    process::build(builder, "the builder", folder)
}

fn check_node() -> Result<(), BuildError> {
    let version = process::asked("node", &["--version"]);
    let major = version
        .as_deref()
        .and_then(|version| version.trim_start_matches('v').split('.').next()?.parse::<u32>().ok());
    let missing = match (major, &version) {
        (Some(major), _) if major >= NODE_MIN => return Ok(()),
        (_, Some(version)) => {
            format!("Node.js {NODE_MIN} or newer is needed, and found is {version}")
        }
        (_, None) => format!("Node.js {NODE_MIN} or newer is not found"),
    };
    Err(BuildError::NoToolchain { language: Language::TypeScript, missing, install: INSTALL })
}

/// The tools at the versions in the SDK's lock file. None for an SDK that npm has installed,
/// because its tools are beside it.
fn tools(sdk: &Path) -> Result<Option<PathBuf>, BuildError> {
    let Ok(lock) = std::fs::read(sdk.join(LOCK)) else { return Ok(None) };
    let name = format!("typescript-{}", &digest(&lock)[..12]);
    let tools = toolchain::folder(&name, |folder| {
        for file in ["package.json", LOCK] {
            std::fs::copy(sdk.join(file), folder.join(file))
                .map_err(|error| BuildError::Io(sdk.join(file), error))?;
        }
        npm(folder, "ci", "the tools for TypeScript")
    })?;
    Ok(Some(tools))
}

/// Installs the project's other dependencies.
fn install_dependencies(project: &Path) -> Result<(), BuildError> {
    let text = std::fs::read_to_string(project.join("package.json")).unwrap_or_default();
    let read: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let dependencies = read.get("dependencies").and_then(|all| all.as_object());
    let has_others = dependencies.is_some_and(|all| all.keys().any(|name| name != "@sagabox/sdk"));
    if !has_others || project.join("node_modules").exists() {
        return Ok(());
    }
    let how = if project.join(LOCK).is_file() { "ci" } else { "install" };
    npm(project, how, "the project's dependencies")
}

fn npm(folder: &Path, how: &str, what: &str) -> Result<(), BuildError> {
    let mut npm = process::clean("npm");
    npm.current_dir(folder).args([how, "--ignore-scripts", "--no-audit", "--no-fund"]);
    process::fetch(npm, "npm", what)
}
