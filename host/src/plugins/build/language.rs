//! The languages with an SDK, and how a project of each is recognised and named.

use std::fmt;
use std::path::Path;

use super::BuildError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Rust,
    /// TypeScript, or plain JavaScript.
    TypeScript,
    Python,
    Go,
    /// C or C++.
    C,
}

impl Language {
    /// The language of a project, by its project file.
    #[must_use]
    pub fn of(folder: &Path) -> Option<Self> {
        let all = [Self::Rust, Self::TypeScript, Self::Python, Self::Go, Self::C];
        all.into_iter().find(|language| {
            folder.join(language.project_file()).is_file()
                && (*language != Self::C || has_c(folder) || has_c(&folder.join("src")))
        })
    }

    /// The name that its folders and `--lang` use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::TypeScript => "typescript",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
        }
    }

    #[must_use]
    pub fn project_file(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::TypeScript => "package.json",
            Self::Python => "pyproject.toml",
            Self::Go => "go.mod",
            Self::C => "Makefile",
        }
    }

    /// The name of the project's component, without `.wasm`.
    pub(super) fn project_name(self, folder: &Path) -> Result<String, BuildError> {
        let file = folder.join(self.project_file());
        let text =
            std::fs::read_to_string(&file).map_err(|error| BuildError::Io(file.clone(), error))?;
        let of_toml = |table: &str| {
            let read = text.parse::<toml::Table>().ok()?;
            read.get(table)?.get("name")?.as_str().map(ToOwned::to_owned)
        };
        let (name, expected) = match self {
            Self::Rust => (of_toml("package"), "it needs `name` under [package]"),
            Self::Python => (of_toml("project"), "it needs `name` under [project]"),
            Self::TypeScript => {
                let read = serde_json::from_str::<serde_json::Value>(&text).ok();
                let name = read.and_then(|read| read.get("name")?.as_str().map(last_part));
                (name, "it needs a member `name`")
            }
            Self::Go => {
                let module = text.lines().find_map(|line| line.trim().strip_prefix("module "));
                (module.map(|path| last_part(path.trim())), "it needs a line `module …`")
            }
            Self::C => {
                let said = text.lines().find_map(|line| variable(line, "NAME"));
                let own = || folder.file_name().map(|name| name.to_string_lossy().into_owned());
                (said.map(ToOwned::to_owned).or_else(own), "it needs a line `NAME = …`")
            }
        };
        // A name that is no file name would be written elsewhere.
        let is_good =
            |name: &String| !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
        name.filter(is_good).ok_or(BuildError::NoName { file, expected })
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "Rust",
            Self::TypeScript => "TypeScript and JavaScript",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::C => "C and C++",
        })
    }
}

/// The value of a variable that a line of a Makefile sets.
pub(super) fn variable<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let (variable, value) = line.split_once('=')?;
    (variable.trim_end_matches([':', '?']).trim() == name).then_some(value.trim())
}

/// The last part of a scoped package's name or of a module's path.
fn last_part(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

fn has_c(folder: &Path) -> bool {
    let is_c = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("c" | "cc" | "cpp" | "cxx"))
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| is_c(&entry.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_recognized_and_named_by_its_file() {
        for (file, text, language, name) in [
            (
                "Cargo.toml",
                "[package]\nname = 'a_b-c'\n[lib]\nname = 'other'",
                Language::Rust,
                "a_b-c",
            ),
            ("package.json", r#"{"name": "@acme/orders"}"#, Language::TypeScript, "orders"),
            ("pyproject.toml", "[project]\nname = 'orders'", Language::Python, "orders"),
            ("go.mod", "module example.com/acme/orders\n\ngo 1.24\n", Language::Go, "orders"),
            ("Makefile", "# NAME\nNAME = orders\nSDK = ../c\n", Language::C, "orders"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(Language::of(folder.path()), None);
            std::fs::write(folder.path().join("main.c"), "").unwrap();
            std::fs::write(folder.path().join(file), text).unwrap();
            assert_eq!(Language::of(folder.path()), Some(language));
            assert_eq!(language.project_name(folder.path()).unwrap(), name);
        }
    }

    #[test]
    fn a_project_without_a_good_name_is_an_error_with_what_is_missing() {
        for (language, text, expected) in [
            (Language::Rust, "[workspace]", "names no plugin: it needs `name` under [package]"),
            (Language::TypeScript, "{}", "it needs a member `name`"),
            (Language::Python, "[project]\nname = '..'", "under [project]"),
            (Language::Python, "[project]\nname = 'a/b'", "under [project]"),
            (Language::Go, "go 1.24", "it needs a line `module"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(language.project_file()), text).unwrap();
            let error = language.project_name(folder.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_makefile_without_c_is_no_plugin() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Makefile"), "all:\n").unwrap();
        assert_eq!(Language::of(folder.path()), None);
        std::fs::create_dir(folder.path().join("src")).unwrap();
        std::fs::write(folder.path().join("src/plugin.cpp"), "").unwrap();
        assert_eq!(Language::of(folder.path()), Some(Language::C));
    }
}
