//! `sagabox sim`: runs simulations on a component.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use sagabox_engine::model::Manifest;
use serde_json::{Value, json};

use super::developed::{self, Developed};
use super::input_error::InputError;
use super::output;
use crate::plugins::wasm::{self, LoadedPlugin, Sandbox};
use crate::verify::scenario;
use crate::verify::simulation::{self, Failing, Simulation, SimulationReport, Trial};

#[derive(Debug, Args)]
pub(crate) struct Sim {
    /// File or directory of simulations [default: those in the source directory, or next to the component]
    #[arg(long)]
    simulations: Option<PathBuf>,
    /// Run only simulations whose name contains this text
    #[arg(long)]
    filter: Option<String>,
    /// Number of runs, each with a different seed
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Run only this seed
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Write the first failing run as a scenario for `sagabox test` to this file
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    developed: Developed,
}

/// The result of a simulation.
struct Ran {
    file: PathBuf,
    simulation: Simulation,
    report: SimulationReport,
    never_seen: Vec<String>,
}

impl Sim {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        // A simulation is pure computation.
        tokio::task::spawn_blocking(move || self.run()).await?
    }

    fn run(self) -> anyhow::Result<()> {
        let settings = self.developed.settings()?;
        let component = self.developed.component()?;
        let beside = simulation::beside(&component);
        let folder = self.developed.folder(simulation::IN_SOURCE, beside);
        let folder = self.simulations.clone().unwrap_or(folder);
        let files = scenario::files_in(&folder).map_err(|error| {
            InputError(format!("{error:#}; add simulations there, or use --simulations"))
        })?;
        let (sandbox, _temporary) = developed::cached_sandbox(&settings)?;
        let sandbox = Sandbox::new(sandbox)?;
        let mut ran = Vec::new();
        for file in files {
            let simulations = simulation::read(&file).map_err(InputError::of)?;
            for simulation in simulations {
                let part = self.filter.as_deref().unwrap_or_default();
                if simulation.name.contains(part) {
                    ran.push(self.simulate(&component, &sandbox, &file, simulation)?);
                }
            }
        }
        // A filter that matches nothing must not look like a success.
        if ran.is_empty() {
            let why = "nothing was simulated: no simulation exists, or none matches the filter";
            return Err(InputError(why.to_owned()).into());
        }
        self.print(&ran);
        if let Some(path) = &self.scenario {
            write_scenario(path, &ran)?;
        }
        let broken = ran.iter().filter(|ran| ran.report.failing.is_some()).count();
        anyhow::ensure!(broken == 0, "{broken} of {} simulations fail", ran.len());
        Ok(())
    }

    fn simulate(
        &self,
        component: &Path,
        sandbox: &Sandbox,
        file: &Path,
        simulation: Simulation,
    ) -> anyhow::Result<Ran> {
        let wrong = |why: String| {
            InputError(format!("{}: simulation `{}`: {why}", file.display(), simulation.name))
        };
        let plugins = load(component, sandbox, &simulation)?;
        let manifests: Vec<&Manifest> =
            plugins.iter().map(|plugin| plugin.handler.manifest()).collect();
        simulation::fit(&simulation, &manifests).map_err(wrong)?;
        let seeds = match self.seed {
            Some(seed) => seed..seed.saturating_add(1),
            None => self.from..self.from.saturating_add(self.seeds),
        };
        let trial = Trial { simulation: &simulation, plugins: &plugins };
        let report = trial.run(seeds).map_err(wrong)?;
        let never_seen = trial.never_seen(&report).into_iter().collect();
        Ok(Ran { file: file.to_owned(), simulation, report, never_seen })
    }

    fn print(&self, ran: &[Ran]) {
        if self.json {
            let all: Vec<Value> = ran.iter().map(as_json).collect();
            output::json(&json!({"simulations": all}));
            return;
        }
        for Ran { simulation, report, never_seen, .. } in ran {
            let SimulationReport { runs, decisions, disturbances, failing, .. } = report;
            let counts = [
                output::counted(*runs, "seed", "seeds"),
                output::counted(*decisions, "decision", "decisions"),
                output::counted(*disturbances, "disturbance", "disturbances"),
            ]
            .join(", ");
            match failing {
                None => output::line(&format!("ok     {}: {counts}", simulation.name)),
                Some(failing) => {
                    output::line(&format!(
                        "FAILED {}: {}",
                        simulation.name, failing.broken.invariant
                    ));
                    self.print_failing(failing, simulation);
                }
            }
            if failing.is_none() && !never_seen.is_empty() {
                let names = never_seen.join(", ");
                output::line(&format!(
                    "       types in the invariants that occurred in no run: {names}"
                ));
            }
        }
    }

    fn print_failing(&self, failing: &Failing, simulation: &Simulation) {
        let (before, after) = failing.choices;
        output::line(&format!(
            "       seed {}, reduced from {before} to {after} random choices in {} runs:",
            failing.seed, failing.tries
        ));
        for line in simulation::history_lines(failing, simulation.given.now) {
            output::line(&format!("       {line}"));
        }
        output::line(&format!(
            "       repeat: sagabox sim {} --filter {:?} --seed {}",
            self.developed.plugin.display(),
            simulation.name,
            failing.seed
        ));
    }
}

fn load(
    component: &Path,
    sandbox: &Sandbox,
    simulation: &Simulation,
) -> anyhow::Result<Vec<LoadedPlugin>> {
    let configuration = simulation.given.configuration.to_string();
    // The plugins' names are known only after loading, so all plugins get the configuration in a
    // second load.
    let first = wasm::load_path(component, sandbox, &std::collections::HashMap::new())?;
    if let Some(refused) = first.refused.first() {
        anyhow::bail!("{}: a host refuses it: {}", refused.path.display(), refused.reason);
    }
    let names = first.loaded.iter().map(|plugin| plugin.handler.manifest().name.to_string());
    let own = names.map(|name| (name, configuration.clone())).collect();
    Ok(wasm::load_path(component, sandbox, &own)?.loaded)
}

fn as_json(ran: &Ran) -> Value {
    let Ran { file, simulation, report, never_seen } = ran;
    let failing = report.failing.as_ref().map(|failing| {
        json!({
            "seed": failing.seed,
            "invariant": failing.broken.invariant,
            "why": failing.broken.why,
            "choices": {"before": failing.choices.0, "after": failing.choices.1},
            "runs": failing.tries,
            "history": simulation::history_lines(failing, simulation.given.now),
        })
    });
    json!({
        "file": file.display().to_string(),
        "simulation": simulation.name,
        "seeds": report.runs,
        "decisions": report.decisions,
        "disturbances": report.disturbances,
        "seen": report.seen,
        "never_seen": never_seen,
        "failing": failing,
    })
}

fn write_scenario(path: &Path, ran: &[Ran]) -> anyhow::Result<()> {
    let failing = ran.iter().find_map(|ran| Some((ran.report.failing.as_ref()?, &ran.simulation)));
    let Some((failing, simulation)) = failing else { return Ok(()) };
    match simulation::as_scenario(failing, simulation) {
        Ok(text) => {
            std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
            output::note(&format!("written as a scenario: {}", path.display()));
        }
        Err(why) => output::note(&format!("not written as a scenario: {why}")),
    }
    Ok(())
}
