//! `sagabox new`: creates a plugin project that builds, checks and tests without changes.

mod names;
mod templates;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use sagabox_engine::model::PluginName;
use serde_json::json;

use super::input_error::InputError;
use super::output;
use crate::plugins::build::{self, Language};

/// The module of the SDK for Go.
const GO_SDK: &str = "github.com/sagabox/sagabox/guest-sdk/go";

#[derive(Debug, Args)]
pub(crate) struct New {
    /// Name of the plugin and of its directory: a-z, 0-9 and -
    name: String,
    /// Language of the plugin
    #[arg(long, value_enum, default_value_t = ProjectLanguage::Rust)]
    lang: ProjectLanguage,
    /// Role of the plugin
    #[arg(long, value_enum, default_value_t = ProjectRole::Saga)]
    role: ProjectRole,
    /// Directory in which to create the project
    #[arg(long, default_value = ".")]
    path: PathBuf,
    /// Directory of the SDK [default: that of the checkout around the project or this program]
    #[arg(long)]
    sdk: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProjectLanguage {
    Rust,
    /// TypeScript, or plain JavaScript
    #[value(name = "typescript", alias = "ts")]
    TypeScript,
    Python,
    Go,
    C,
    #[value(alias = "c++")]
    Cpp,
}

impl ProjectLanguage {
    /// The language whose SDK it uses, and whose projects it is built like.
    fn of_sdk(self) -> Language {
        match self {
            Self::Rust => Language::Rust,
            Self::TypeScript => Language::TypeScript,
            Self::Python => Language::Python,
            Self::Go => Language::Go,
            Self::C | Self::Cpp => Language::C,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProjectRole {
    /// A coordinator without state: receives events, sends commands
    Saga,
    /// A state machine over many events
    ProcessManager,
    /// A service without state: reacts to events with commands and events
    Reactor,
    /// Turns internal events into external events
    Enricher,
}

impl New {
    // Like every command.
    #[allow(clippy::unused_async)]
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        check_name(&self.name, self.lang).map_err(InputError)?;
        let folder = self.path.join(&self.name);
        if folder.exists() {
            let text = format!("{} already exists; nothing was changed", folder.display());
            return Err(InputError(text).into());
        }
        let language = self.lang.of_sdk();
        let marker = build::sdk_marker(language);
        let sdk = match &self.sdk {
            Some(sdk) if sdk.join(marker).is_file() => Some(std::path::absolute(sdk)?),
            Some(sdk) => {
                let text = format!("--sdk: {marker} not found in {}", sdk.display());
                return Err(InputError(text).into());
            }
            None => build::find_sdk(language, &self.path),
        };
        let files = files(&self.name, (self.lang, self.role), &folder, sdk.as_deref())
            .map_err(InputError)?;
        write(&folder, &files)?;
        if self.json {
            let files: Vec<PathBuf> = files.iter().map(|(path, _)| folder.join(path)).collect();
            output::json(&json!({ "directory": folder, "files": files }));
            return Ok(());
        }
        let shown = folder.display();
        output::line(&format!(
            "created {shown}\nNext steps:\n  sagabox test {shown}                 builds it and runs its scenarios\n  \
             sagabox sim {shown}                  simulates failures\n  \
             sagabox build {shown} --out plugins  builds the component\n  sagabox check plugins                reports what a host would refuse"
        ));
        Ok(())
    }
}

fn check_name(name: &str, language: ProjectLanguage) -> Result<(), String> {
    // Cargo accepts no package name, and Rust no type name, that begins with a digit.
    let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if !begins_well || !PluginName::is_valid(name) {
        return Err(format!(
            "the name `{name}` is invalid; use a letter a-z, then up to {} characters a-z, 0-9 and -",
            PluginName::CHARACTERS_MAX - 1
        ));
    }
    if names::is_taken(name, language) {
        return Err(format!(
            "the name `{name}` is a keyword or a module of the language; use another one, such as \
             `my-{name}`"
        ));
    }
    Ok(())
}

/// The files of the project: path and content.
fn files(
    name: &str,
    (language, role): (ProjectLanguage, ProjectRole),
    folder: &Path,
    sdk: Option<&Path>,
) -> Result<Vec<(String, String)>, String> {
    let dependency = dependency(language.of_sdk(), sdk)?;
    // The templates in C are C++ as well; only the names of the files differ.
    let extension = if language == ProjectLanguage::Cpp { "cpp" } else { "c" };
    let fill = |template: &str| {
        template
            .replace("{name}", name)
            .replace("{description}", templates::description(role))
            .replace("{crate}", &name.replace('-', "_"))
            .replace("{Type}", &type_name(name))
            .replace("{folder}", &folder.display().to_string())
            .replace("{sdk}", &dependency)
            .replace("{c}", extension)
    };
    let files = templates::files(language, role).into_iter();
    Ok(files.map(|(path, text)| (fill(path), fill(text))).collect())
}

/// How the project file names the SDK: by its path, or as the registry has it.
fn dependency(language: Language, sdk: Option<&Path>) -> Result<String, String> {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    let path = sdk.map(|sdk| sdk.display().to_string());
    // Inside of a text in quotes.
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    Ok(match (language, path) {
        // The path as a TOML string, with any characters.
        (Language::Rust, Some(path)) => format!("{{ path = {} }}", toml::Value::from(path)),
        (Language::Rust, None) => {
            format!("{{ git = {:?}, tag = \"v{VERSION}\" }}", env!("CARGO_PKG_REPOSITORY"))
        }
        (Language::Python, Some(path)) => match build::file_url(Path::new(&path)) {
            Some(url) => format!("sagabox-sdk @ {url}"),
            None => return Err(format!("the path {path} of the SDK cannot be written as a URL")),
        },
        (Language::Python, None) => format!("sagabox-sdk=={VERSION}"),
        (Language::TypeScript, Some(path)) => format!("file:{}", quoted(&path)),
        (Language::TypeScript, None) => VERSION.to_owned(),
        (Language::Go, Some(path)) => {
            format!("require {GO_SDK} v{VERSION}\n\nreplace {GO_SDK} => \"{}\"", quoted(&path))
        }
        (Language::Go, None) => format!("require {GO_SDK} v{VERSION}"),
        (Language::C, Some(path)) => path,
        (Language::C, None) => {
            return Err("the SDK for C is in a checkout of Sagabox; name its folder \
                        guest-sdk/c with --sdk"
                .to_owned());
        }
    })
}

/// The name as a Rust type: `OrderSaga` for `order-saga`.
fn type_name(name: &str) -> String {
    let words = name.split('-').filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

fn write(folder: &Path, files: &[(String, String)]) -> anyhow::Result<()> {
    for (name, content) in files {
        let file = folder.join(name);
        let writing = || format!("write {}", file.display());
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).with_context(writing)?;
        }
        std::fs::write(&file, content).with_context(writing)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_must_be_one_that_hosts_cargo_and_rust_take() {
        for good in ["a", "order-saga", "v2"] {
            assert_eq!(check_name(good, ProjectLanguage::Rust), Ok(()));
        }
        for bad in ["", "2nd", "-a", "Order", "a_b", "a/b", &"a".repeat(65)] {
            assert!(check_name(bad, ProjectLanguage::Rust).is_err(), "{bad}");
        }
        assert!(check_name("email", ProjectLanguage::Python).unwrap_err().contains("`my-email`"));
        assert_eq!(check_name("email", ProjectLanguage::Go), Ok(()));
        assert_eq!(type_name("order-saga-2"), "OrderSaga2");
        assert_eq!(type_name("a--b-"), "AB");
    }

    #[test]
    fn every_place_in_a_template_is_filled() {
        let sdk = Path::new("/with \"quotes\"/sdk");
        for language in ProjectLanguage::value_variants() {
            for role in ProjectRole::value_variants() {
                for sdk in [None, Some(sdk)] {
                    let made = files("my-plugin", (*language, *role), Path::new("my-plugin"), sdk);
                    let Ok(made) = made else {
                        assert_eq!((language.of_sdk(), sdk), (Language::C, None));
                        continue;
                    };
                    for (path, content) in &made {
                        for place in [
                            "{name}",
                            "{crate}",
                            "{description}",
                            "{Type}",
                            "{folder}",
                            "{sdk}",
                            "{c}",
                        ] {
                            assert!(
                                !content.contains(place) && !path.contains(place),
                                "{path}: {place}"
                            );
                        }
                    }
                    let folder = tempfile::tempdir().unwrap();
                    write(folder.path(), &made).unwrap();
                    let language = language.of_sdk();
                    assert_eq!(Language::of(folder.path()), Some(language));
                    let named = build::named_sdk(language, folder.path());
                    // Cargo reads its own project file.
                    if language != Language::Rust {
                        assert_eq!(named.as_deref(), sdk, "{language}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_rust_project_names_its_sdk_as_cargo_reads_it() {
        for sdk in [None, Some(Path::new("/with \"quotes\"/sdk"))] {
            let role = (ProjectLanguage::Rust, ProjectRole::Saga);
            let made = files("my-plugin", role, Path::new("my-plugin"), sdk).unwrap();
            let (_, content) = made.iter().find(|(path, _)| path == "Cargo.toml").unwrap();
            let table: toml::Table = content.parse().unwrap();
            let found = table["dependencies"]["sagabox-sdk"].get("path");
            let path = sdk.map(|path| path.display().to_string());
            assert_eq!(found.and_then(toml::Value::as_str), path.as_deref());
            assert_eq!(table["package"]["name"].as_str(), Some("my-plugin"));
        }
    }
}
