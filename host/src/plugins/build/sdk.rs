//! Finds a language's SDK: the folder that the project file names, the checkout around the project
//! or this program, or the one that the project's package manager has installed.

use std::path::{Path, PathBuf};

use reqwest::Url;

use super::language::variable;
use super::{BuildError, Language, toolchain};

/// A file that only the folder of the SDK contains.
#[must_use]
pub fn marker(language: Language) -> &'static str {
    match language {
        Language::Rust => "Cargo.toml",
        Language::TypeScript => "package.json",
        Language::Python => "pyproject.toml",
        Language::Go => "go.mod",
        Language::C => "build.sh",
    }
}

/// The SDK in the checkout of the project, or in the checkout in which this program was built.
#[must_use]
pub fn find(language: Language, project: &Path) -> Option<PathBuf> {
    let project = project.canonicalize().ok();
    let program = std::env::current_exe().ok();
    let places = [project, program];
    let above = places.iter().flatten().flat_map(|place| place.ancestors());
    let sdks = above.map(|folder| folder.join("guest-sdk").join(language.name()));
    sdks.into_iter().find(|sdk| sdk.join(marker(language)).is_file())
}

/// The folder of the SDK that builds the project.
pub(super) fn of_project(language: Language, project: &Path) -> Result<PathBuf, BuildError> {
    let is_there = |sdk: &PathBuf| sdk.join(marker(language)).is_file();
    let named = named(language, project).map(|path| project.join(path)).filter(is_there);
    if let Some(sdk) = named.or_else(|| find(language, project)) {
        return Ok(sdk);
    }
    let hint = match language {
        Language::TypeScript => {
            let installed = project.join("node_modules/@sagabox/sdk");
            if is_there(&installed) {
                return Ok(installed);
            }
            "add \"@sagabox/sdk\" to the dependencies in package.json, and run `npm install`"
        }
        Language::Python => return installed_by_pip(),
        // Go finds it with the project file alone.
        Language::Go => return Ok(project.to_owned()),
        Language::C => "write `SDK = PATH` into the Makefile",
        Language::Rust => "name it under [dependencies] in Cargo.toml",
    };
    Err(BuildError::NoSdk { source_dir: project.to_owned(), language, hint })
}

/// The folder that the project file names.
#[must_use]
pub fn named(language: Language, project: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(project.join(language.project_file())).ok()?;
    match language {
        Language::TypeScript => {
            let read: serde_json::Value = serde_json::from_str(&text).ok()?;
            let lists = ["dependencies", "devDependencies"];
            let found = lists.iter().find_map(|list| read.get(list)?.get("@sagabox/sdk")?.as_str());
            found?.strip_prefix("file:").map(PathBuf::from)
        }
        Language::Python => {
            let read = text.parse::<toml::Table>().ok()?;
            let list = read.get("project")?.get("dependencies")?.as_array()?;
            let own = list.iter().filter_map(|one| one.as_str()).find_map(|one| {
                one.strip_prefix("sagabox-sdk")?.trim().strip_prefix('@').map(str::trim)
            });
            Url::parse(own?).ok()?.to_file_path().ok()
        }
        Language::Go => {
            let line = text
                .lines()
                .map(|line| line.trim().trim_start_matches("replace "))
                .find_map(|line| {
                    line.strip_prefix("github.com/sagabox/sagabox/guest-sdk/go")?.split_once("=>")
                });
            line.map(|(_, path)| unquoted(path.trim()).into())
        }
        Language::C => text.lines().find_map(|line| variable(line, "SDK")).map(PathBuf::from),
        Language::Rust => None,
    }
}

/// A path in quotes, with its escapes resolved.
fn unquoted(path: &str) -> String {
    match path.strip_prefix('"').and_then(|path| path.strip_suffix('"')) {
        Some(path) => path.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => path.trim_matches('`').to_owned(),
    }
}

/// A path in the form that Python's package manager takes.
#[must_use]
pub fn file_url(path: &Path) -> Option<String> {
    Url::from_file_path(path).ok().map(String::from)
}

/// The package from the registry, beside the tools that it needs.
fn installed_by_pip() -> Result<PathBuf, BuildError> {
    let package = concat!("sagabox-sdk==", env!("CARGO_PKG_VERSION"));
    let name = concat!("python-sdk-", env!("CARGO_PKG_VERSION"));
    toolchain::folder(name, |folder| {
        let tools = super::python::tools()?;
        let mut pip = super::process::clean(tools.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--target"]).arg(folder).arg(package);
        super::process::fetch(pip, "pip", package)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_names_its_sdk() {
        for (language, text, expected) in [
            (
                Language::TypeScript,
                r#"{"dependencies":{"@sagabox/sdk":"file:/s d/ts"}}"#,
                "/s d/ts",
            ),
            (
                Language::Python,
                "[project]\ndependencies = ['x', 'sagabox-sdk @ file:///s/py']",
                "/s/py",
            ),
            (
                Language::Go,
                "require x v1\n\nreplace github.com/sagabox/sagabox/guest-sdk/go => \"/s/go\"\n",
                "/s/go",
            ),
            (
                Language::Go,
                "replace (\n\tgithub.com/sagabox/sagabox/guest-sdk/go => ../go\n)\n",
                "../go",
            ),
            (Language::C, "NAME = x\nSDK := ../../c\n", "../../c"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(language.project_file()), text).unwrap();
            assert_eq!(named(language, folder.path()), Some(expected.into()));
            let versioned = text.replace("file:", "").replace("=>", "").replace("SDK", "X");
            std::fs::write(folder.path().join(language.project_file()), versioned).unwrap();
            assert_eq!(named(language, folder.path()), None);
        }
    }
}
