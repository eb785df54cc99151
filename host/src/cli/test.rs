//! `sagabox test`: runs scenarios on a component.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::developed::{self, Developed};
use super::input_error::InputError;
use super::output;
use super::output::grouped;
use crate::plugins::wasm;
use crate::verify::scenario::{self, Bench, Costs, Scenario, ScenarioResult};

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// File or directory of scenarios, or of files of instances [default: those in the source directory, or next to the component]
    #[arg(long)]
    scenarios: Option<PathBuf>,
    /// Run only scenarios whose name contains this text
    #[arg(long)]
    filter: Option<String>,
    /// Print what the plugin costs as well: size, time to load, memory, time of a call
    #[arg(long)]
    costs: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    developed: Developed,
}

/// The results of one file of scenarios.
pub(crate) struct Played {
    file: PathBuf,
    results: Vec<ScenarioResult>,
}

impl Test {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        // Running scenarios is pure computation.
        tokio::task::spawn_blocking(move || self.run()).await?
    }

    fn run(self) -> anyhow::Result<()> {
        let settings = self.developed.settings()?;
        let component = self.developed.component()?;
        let folder = self.developed.folder(scenario::IN_SOURCE, scenario::beside(&component));
        let folder = self.scenarios.clone().unwrap_or(folder);
        let files = scenario::files_in(&folder).map_err(|error| {
            InputError(format!("{error:#}; add scenarios there, or use --scenarios"))
        })?;
        let configurations = settings.configurations();
        let sandbox = developed::sandbox(&settings);
        let filter = self.filter.as_deref();
        let bench = Bench::new(&component, &sandbox)?.configured(configurations);
        let played = play(bench, &files, filter)?;
        let costs = match self.costs {
            true => Some(costs(&component, &files, &sandbox, filter)?),
            false => None,
        };
        report(&played, costs.as_deref(), self.json)
    }
}

pub(crate) fn play(
    mut bench: Bench,
    files: &[PathBuf],
    filter: Option<&str>,
) -> anyhow::Result<Vec<Played>> {
    let mut all = Vec::new();
    for file in files {
        let chosen = chosen(file, filter)?;
        let results: anyhow::Result<Vec<ScenarioResult>> =
            chosen.iter().map(|scenario| bench.play(scenario)).collect();
        let results = results.with_context(|| format!("play {}", file.display()))?;
        all.push(Played { file: file.clone(), results });
    }
    // A filter that matches nothing must not look like a success.
    if all.iter().all(|played| played.results.is_empty()) {
        return Err(InputError(
            "no scenario was run: none exists, or none matches the filter".to_owned(),
        )
        .into());
    }
    Ok(all)
}

/// The scenarios of a file whose names contain the text.
fn chosen(file: &Path, filter: Option<&str>) -> anyhow::Result<Vec<Scenario>> {
    let mut scenarios = scenario::read(file).map_err(InputError::of)?;
    scenarios.retain(|scenario| filter.is_none_or(|part| scenario.scenario.contains(part)));
    Ok(scenarios)
}

fn costs(
    component: &Path,
    files: &[PathBuf],
    settings: &wasm::Settings,
    filter: Option<&str>,
) -> anyhow::Result<Vec<Costs>> {
    let mut scenarios = Vec::new();
    for file in files {
        scenarios.extend(chosen(file, filter)?);
    }
    scenario::costs(component, &scenarios, settings)
}

pub(crate) fn report(played: &[Played], costs: Option<&[Costs]>, json: bool) -> anyhow::Result<()> {
    let results = || played.iter().flat_map(|played| &played.results);
    let failed = results().filter(|result| !result.problems.is_empty()).count();
    let passed = results().count() - failed;
    if json {
        let files = played.iter().map(|played| {
            json!({"file": played.file.display().to_string(), "scenarios": played.results})
        });
        let files: Vec<_> = files.collect();
        let mut report = json!({"files": files, "passed": passed, "failed": failed});
        if let Some(costs) = costs {
            report["costs"] = json!(costs);
        }
        output::json(&report);
    } else {
        for Played { file, results } in played.iter().filter(|played| !played.results.is_empty()) {
            output::line(&file.display().to_string());
            for ScenarioResult { scenario, problems, wrote } in results {
                let mark = if problems.is_empty() { "ok    " } else { "FAILED" };
                output::line(&format!("  {mark} {scenario}"));
                wrote.iter().for_each(|line| output::line(&format!("         | {line}")));
                problems.iter().for_each(|problem| output::line(&format!("         {problem}")));
            }
        }
        costs.unwrap_or_default().iter().for_each(print);
        output::line(&format!("{passed} passed, {failed} failed"));
    }
    let shown = output::counted(failed as u64, "scenario", "scenarios");
    anyhow::ensure!(failed == 0, "{shown} failed");
    Ok(())
}

fn print(costs: &Costs) {
    let (millis, micros) = (
        |us: u64| grouped(us / 1_000),
        |us: Option<f64>| match us {
            Some(us) => format!("{us:.1} µs"),
            None => "not called".to_owned(),
        },
    );
    output::line(&format!("{}:", costs.plugin));
    for (name, value) in [
        ("component", format!("{} bytes", grouped(costs.component_bytes))),
        ("load, compiled now", format!("{} ms", millis(costs.load_us))),
        ("load, from the cache", format!("{} ms", millis(costs.load_cached_us))),
        ("start and describe", format!("{} µs", grouped(costs.describe_us))),
        ("memory of an instance", format!("{} bytes", grouped(costs.instance_bytes))),
        ("call, used instance", micros(costs.call_used_us)),
        ("call, fresh instance", micros(costs.call_fresh_us)),
    ] {
        output::line(&format!("  {name:<22} {value}"));
    }
}
