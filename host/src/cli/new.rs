//! `sagabox new`: creates a plugin project that builds, checks and tests without changes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use sagabox_engine::model::PluginName;
use serde_json::json;

use super::{InputError, output};

const CARGO_TOML: &str = include_str!("../../templates/Cargo.toml.txt");
const README: &str = include_str!("../../templates/README.md.txt");
/// Where the SDK is in a checkout.
const SDK: &str = "guest-sdk/rust";

#[derive(Debug, Args)]
pub(crate) struct New {
    /// Name of the plugin and of its directory: a-z, 0-9 and -
    name: String,
    /// `ProjectRole` of the plugin
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

/// The content of a project for one role.
struct Template {
    source: &'static str,
    /// Of the native tests.
    handlers: &'static str,
    scenarios: &'static str,
    simulations: &'static str,
    /// One line for people.
    description: &'static str,
}

impl ProjectRole {
    fn template(self) -> Template {
        match self {
            Self::Saga => Template {
                source: include_str!("../../templates/saga/lib.rs.txt"),
                handlers: include_str!("../../templates/saga/handlers.rs.txt"),
                scenarios: include_str!("../../templates/saga/scenarios.yaml.txt"),
                simulations: include_str!("../../templates/saga/simulations.yaml.txt"),
                description: "Requests the payment of orders, and cancels orders whose payment fails",
            },
            Self::ProcessManager => Template {
                source: include_str!("../../templates/process-manager/lib.rs.txt"),
                handlers: include_str!("../../templates/process-manager/handlers.rs.txt"),
                scenarios: include_str!("../../templates/process-manager/scenarios.yaml.txt"),
                simulations: include_str!("../../templates/process-manager/simulations.yaml.txt"),
                description: "Ships orders that are paid in time, and cancels the others",
            },
            Self::Reactor => Template {
                source: include_str!("../../templates/reactor/lib.rs.txt"),
                handlers: include_str!("../../templates/reactor/handlers.rs.txt"),
                scenarios: include_str!("../../templates/reactor/scenarios.yaml.txt"),
                simulations: include_str!("../../templates/reactor/simulations.yaml.txt"),
                description: "Ships paid orders that are in stock, and reports those that are not",
            },
            Self::Enricher => Template {
                source: include_str!("../../templates/enricher/lib.rs.txt"),
                handlers: include_str!("../../templates/enricher/handlers.rs.txt"),
                scenarios: include_str!("../../templates/enricher/scenarios.yaml.txt"),
                simulations: include_str!("../../templates/enricher/simulations.yaml.txt"),
                description: "Publishes a confirmed cart with all its items",
            },
        }
    }
}

impl New {
    // Like every command.
    #[allow(clippy::unused_async)]
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        check_name(&self.name).map_err(InputError)?;
        let folder = self.path.join(&self.name);
        if folder.exists() {
            let text = format!("{} already exists; nothing was changed", folder.display());
            return Err(InputError(text).into());
        }
        let sdk = match &self.sdk {
            Some(sdk) if sdk.join("Cargo.toml").is_file() => Some(std::path::absolute(sdk)?),
            Some(sdk) => {
                let text = format!("--sdk: Cargo.toml not found in {}", sdk.display());
                return Err(InputError(text).into());
            }
            None => find_sdk(&self.path),
        };
        let files = files(&self.name, self.role, &folder, sdk.as_deref());
        write(&folder, &files)?;
        if self.json {
            let files: Vec<PathBuf> = files.iter().map(|(name, _)| folder.join(name)).collect();
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

fn check_name(name: &str) -> Result<(), String> {
    // Cargo accepts no package name, and Rust no type name, that begins with a digit.
    let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    match begins_well && PluginName::is_valid(name) {
        true => Ok(()),
        false => Err(format!(
            "the name `{name}` is invalid; use a letter a-z, then up to {} characters a-z, 0-9 and -",
            PluginName::CHARACTERS_MAX - 1
        )),
    }
}

/// The SDK of the checkout that has the project, or of the one that this program was built in.
fn find_sdk(project: &Path) -> Option<PathBuf> {
    let project = project.canonicalize().ok();
    let program = std::env::current_exe().ok();
    let places = [project, program];
    let above = places.iter().flatten().flat_map(|place| place.ancestors());
    above.map(|folder| folder.join(SDK)).find(|sdk| sdk.join("Cargo.toml").is_file())
}

/// The files of the project: path and content.
fn files(
    name: &str,
    role: ProjectRole,
    folder: &Path,
    sdk: Option<&Path>,
) -> [(&'static str, String); 7] {
    let Template { source, handlers, scenarios, simulations, description } = role.template();
    let dependency = match sdk {
        // The path as a TOML string, with any characters.
        Some(path) => {
            format!("{{ path = {} }}", toml::Value::from(path.display().to_string()))
        }
        None => format!(
            "{{ git = {:?}, tag = {:?} }}",
            env!("CARGO_PKG_REPOSITORY"),
            concat!("v", env!("CARGO_PKG_VERSION"))
        ),
    };
    let fill = |template: &str| {
        template
            .replace("{name}", name)
            .replace("{description}", description)
            .replace("{crate}", &name.replace('-', "_"))
            .replace("{Type}", &type_name(name))
            .replace("{folder}", &folder.display().to_string())
            .replace("{sdk}", &dependency)
    };
    [
        ("Cargo.toml", fill(CARGO_TOML)),
        ("README.md", fill(README)),
        (".gitignore", "target\n".to_owned()),
        ("src/lib.rs", fill(source)),
        ("tests/handlers.rs", fill(handlers)),
        ("scenarios/orders.yaml", fill(scenarios)),
        ("simulations/orders.yaml", fill(simulations)),
    ]
}

/// The name as a Rust type: `OrderSaga` for `order-saga`.
fn type_name(name: &str) -> String {
    let words = name.split('-').filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

fn write(folder: &Path, files: &[(&str, String)]) -> anyhow::Result<()> {
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
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", "2nd", "-a", "Order", "a_b", "a/b", &"a".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert_eq!(type_name("order-saga-2"), "OrderSaga2");
        assert_eq!(type_name("a--b-"), "AB");
    }

    #[test]
    fn every_place_in_a_template_is_filled() {
        for role in ProjectRole::value_variants() {
            for sdk in [None, Some(Path::new("/with \"quotes\"/sdk"))] {
                for (name, content) in files("my-plugin", *role, Path::new("my-plugin"), sdk) {
                    for place in
                        ["{name}", "{crate}", "{description}", "{Type}", "{folder}", "{sdk}"]
                    {
                        assert!(!content.contains(place), "{name}: {place}");
                    }
                    if name == "Cargo.toml" {
                        let table: toml::Table = content.parse().unwrap();
                        let found = table["dependencies"]["sagabox-sdk"].get("path");
                        let path = sdk.map(|path| path.display().to_string());
                        assert_eq!(found.and_then(toml::Value::as_str), path.as_deref());
                        assert_eq!(table["package"]["name"].as_str(), Some("my-plugin"));
                    }
                }
            }
        }
    }
}
