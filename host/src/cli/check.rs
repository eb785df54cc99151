//! `sagabox check`: runs the checks of a host without a host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::input_error::InputError;
use super::output;
use crate::config::{self, Overrides, Settings};
use crate::plugins::topology::Topology;
use crate::plugins::wasm::Sandbox;
use crate::verify::check::{self, Comparison, Examples, Facts, Finding, LoadedComponent, Severity};
use crate::verify::scenario::{self, Bench, Scenario};

// Each is a flag of the command.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A component, or a directory of components
    plugins: PathBuf,
    /// Print the changes since this older component or directory
    #[arg(long, value_name = "OLDER")]
    against: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Also print notes, in the text format
    #[arg(long)]
    notes: bool,
    /// Print JSON, like --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Fail on warnings
    #[arg(long)]
    deny_warnings: bool,
    /// Configuration file [default: sagabox.toml, if it exists]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
    /// Configuration file of the older side, to compare limits [default: the same]
    #[arg(long, requires = "against")]
    against_config: Option<PathBuf>,
    /// Refuse plugins that import anything but Sagabox's own interface, such as WASI
    #[arg(long, env = "SAGABOX_STRICT")]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Mermaid,
    Asyncapi,
}

impl Check {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        // Compiling components and running scenarios are computation.
        tokio::task::spawn_blocking(move || self.run()).await?
    }

    fn run(mut self) -> anyhow::Result<()> {
        if self.json {
            self.format = Format::Json;
        }
        if self.against.is_some() && matches!(self.format, Format::Mermaid | Format::Asyncapi) {
            let text = "--against supports only the formats text and json";
            return Err(InputError(text.to_owned()).into());
        }
        let overrides = || Overrides { strict: self.strict, ..Overrides::default() };
        let (settings, said) = configuration(self.config.as_deref(), overrides())?;
        let Side { facts, mut findings } = Side::load(&self.plugins, &settings)?;
        let topology = Topology::new(&facts, &settings.routes);
        findings.extend(topology.findings(&facts, &settings.routes));
        findings.extend(check::check_messages(&facts));
        findings.extend(check::check_introduction(&facts));
        if let Some(file) = said {
            findings.extend(check::check_settings(&facts, &settings, &file));
        }
        findings.extend(prove(&facts, &settings)?);
        findings.extend(fields(&facts, &settings)?);
        let changes = match &self.against {
            Some(older) => {
                let older_settings = match self.against_config.as_deref() {
                    Some(config) => configuration(Some(config), overrides())?.0,
                    None => settings.clone(),
                };
                let older = older_side(older, &older_settings)?;
                findings.extend(states((&older, &older_settings), (&facts, &settings))?);
                findings.extend(check::breaks(&older, &facts));
                Some(check::compare(&older, &facts))
            }
            None => None,
        };
        self.print(&facts, &topology, &findings, changes.as_deref());
        let errors = check::count(&findings, Severity::Error);
        let warnings = check::count(&findings, Severity::Warning);
        anyhow::ensure!(errors == 0, "{errors} of the findings are errors");
        anyhow::ensure!(
            !self.deny_warnings || warnings == 0,
            "{warnings} of the findings are warnings"
        );
        Ok(())
    }

    fn print(
        &self,
        facts: &[Facts],
        topology: &Topology,
        findings: &[Finding],
        changes: Option<&[Comparison]>,
    ) {
        match self.format {
            Format::Text => {
                if let Some(changes) = changes {
                    output::line(&check::comparison_text(changes));
                }
                output::line(&check::text(facts, findings, self.notes));
            }
            Format::Json => output::json(&check::json(facts, topology, findings, changes)),
            Format::Mermaid => output::line(&check::mermaid(facts, topology)),
            Format::Asyncapi => output::json(&check::asyncapi(facts, topology)),
        }
        // These formats have no place for findings, so the findings are notes on standard error.
        if matches!(self.format, Format::Mermaid | Format::Asyncapi) {
            let bad = findings.iter().filter(|finding| finding.severity != Severity::Note);
            bad.for_each(|f| {
                output::note(&format!("{}: {}: {}", f.severity.as_str(), f.subject, f.text));
            });
        }
    }
}

/// Loads the configuration. Returns the name of its file too, if there is one.
pub(super) fn configuration(
    path: Option<&Path>,
    overrides: Overrides,
) -> anyhow::Result<(Settings, Option<String>)> {
    let settings = Settings::load(path, overrides).map_err(InputError::of)?;
    let usual = || Path::new(config::FILE).exists().then(|| config::FILE.to_owned());
    Ok((settings, path.map(|path| path.display().to_string()).or_else(usual)))
}

/// The components of one path, and the settings that they are checked with.
struct Side {
    facts: Vec<Facts>,
    findings: Vec<Finding>,
}

impl Side {
    fn load(path: &Path, settings: &Settings) -> anyhow::Result<Self> {
        if !path.exists() {
            return Err(InputError(format!("{} not found", path.display())).into());
        }
        let sandbox = Sandbox::new(settings.sandbox.clone())?;
        let configurations = settings.configurations();
        let LoadedComponent { facts, findings } = check::load(path, &sandbox, &configurations)?;
        Ok(Self { facts, findings })
    }
}

fn older_side(older: &Path, settings: &Settings) -> anyhow::Result<Vec<Facts>> {
    load_all(older, settings).map_err(|error| match error.downcast::<InputError>() {
        Ok(InputError(reason)) => InputError(format!("--against: {reason}")).into(),
        Err(other) => other,
    })
}

/// The plugins of a component or directory.
///
/// # Errors
/// If a host would refuse one of them.
pub(super) fn load_all(path: &Path, settings: &Settings) -> anyhow::Result<Vec<Facts>> {
    let side = Side::load(path, settings)?;
    if let Some(refused) = side.findings.iter().find(|f| f.severity == Severity::Error) {
        return Err(InputError(format!("{}: {}", refused.subject, refused.text)).into());
    }
    Ok(side.facts)
}

/// Checks that both versions of each process manager can read the states that the other one
/// leaves in the scenarios next to either of them.
fn states(
    (older, older_settings): (&[Facts], &Settings),
    (newer, settings): (&[Facts], &Settings),
) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for new in newer.iter().filter(|facts| facts.manifest.role.has_instances()) {
        let old = older.iter().find(|old| old.name() == new.name() && old.digest != new.digest);
        let Some(old) = old.filter(|old| old.manifest.role.has_instances()) else { continue };
        let scenarios = scenarios(&[old, new]);
        let older = examples(old, older_settings, &scenarios)?;
        let newer = examples(new, settings, &scenarios)?;
        if let (Some(older), Some(newer)) = (older, newer) {
            findings.extend(check::check_states(&older, &newer));
        }
    }
    Ok(findings)
}

/// Checks that the states that each process manager leaves in its scenarios have its fields.
fn fields(facts: &[Facts], settings: &Settings) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for plugin in facts.iter().filter(|plugin| !plugin.manifest.optional.fields.is_empty()) {
        let scenarios = scenarios(&[plugin]);
        if let Some(examples) = examples(plugin, settings, &scenarios)? {
            findings.extend(check::check_fields(plugin, &examples.states));
        }
    }
    Ok(findings)
}

/// All scenarios next to these components.
fn scenarios(plugins: &[&Facts]) -> Vec<Scenario> {
    let files = plugins.iter().flat_map(|plugin| {
        // A scenario that cannot be read is reported where it is run.
        scenario::files_in(&scenario::beside(&plugin.path)).unwrap_or_default()
    });
    files.filter_map(|file| scenario::read(&file).ok()).flatten().collect()
}

/// The states that a plugin leaves in these scenarios; none if the component has no such plugin.
fn examples(
    facts: &Facts,
    settings: &Settings,
    scenarios: &[Scenario],
) -> anyhow::Result<Option<Examples>> {
    let mut bench = Bench::new(&facts.path, &settings.sandbox)?;
    let Some(handler) = bench.plugin(facts.name(), None)? else { return Ok(None) };
    let mut states = Vec::new();
    let own = |scenario: &&Scenario| {
        scenario.plugin.as_deref().is_none_or(|plugin| plugin == facts.name())
    };
    for scenario in scenarios.iter().filter(own) {
        if let Some(handler) = bench.plugin(facts.name(), Some(scenario))? {
            states.extend(scenario::states(scenario, &handler));
        }
    }
    Ok(Some(Examples { handler, states }))
}

/// Runs the scenarios next to each component, on used and on fresh instances.
fn prove(facts: &[Facts], settings: &Settings) -> anyhow::Result<Vec<Finding>> {
    // A component with several plugins is one file, and has one set of scenarios.
    let files: BTreeMap<&Path, ()> = facts.iter().map(|facts| (facts.path.as_path(), ())).collect();
    let mut findings = Vec::new();
    for component in files.into_keys() {
        let subject = component.display().to_string();
        let folder = scenario::beside(component);
        if !folder.exists() {
            let text = format!(
                "no scenarios next to it ({}), so none were run; `sagabox build` copies them there",
                folder.display()
            );
            findings.push(Finding::new(Severity::Note, subject, text));
            continue;
        }
        let bench = Bench::new(component, &settings.sandbox)?;
        let mut bench = bench.configured(settings.configurations());
        for file in scenario::files_in(&folder)? {
            let scenarios = match scenario::read(&file) {
                Ok(scenarios) => scenarios,
                Err(error) => {
                    let text = format!("{error:#}");
                    findings.push(Finding::new(Severity::Warning, subject.clone(), text));
                    continue;
                }
            };
            for scenario in &scenarios {
                let result = bench.play(scenario)?;
                let name = &result.scenario;
                findings.extend(result.problems.iter().map(|problem| {
                    let text = format!("scenario `{name}`: {problem}");
                    Finding::new(Severity::Warning, subject.clone(), text)
                }));
            }
        }
    }
    Ok(findings)
}
