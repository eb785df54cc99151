//! Seed after seed, until an invariant breaks; then ever less of that run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::choices::Choice;
use super::file::Simulation;
use super::history::name_of;
use super::invariant::Broken;
use super::shrink::shrink;
use super::world::{Rest, Run, run};
use crate::plugins::wasm::LoadedPlugin;

/// What holds without being said.
const NO_FAILURES: &str = "no event fails for good";
const RESTS: &str = "it comes to rest";
const HOST: &str = "the host keeps its guarantees";

/// Runs of at most so many decisions each: some seconds.
const TRIES: usize = 4_000;

/// A simulation, and the plugins that it is run on.
pub struct Trial<'t> {
    pub simulation: &'t Simulation,
    pub plugins: &'t [LoadedPlugin],
}

/// What came of all seeds.
#[derive(Debug, Default)]
pub struct SimulationReport {
    pub runs: u64,
    pub decisions: u64,
    /// What chance disturbed.
    pub disturbances: u64,
    /// How often each event or message was seen.
    pub seen: BTreeMap<String, u64>,
    pub failing: Option<Failing>,
}

/// The smallest run that was found in which the same invariant is broken.
pub struct Failing {
    pub seed: u64,
    pub broken: Broken,
    pub run: Run,
    /// Choices of the first failing run, and those that are left.
    pub choices: (usize, usize),
    pub tries: usize,
}

impl std::fmt::Debug for Failing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Failing").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Trial<'_> {
    /// Runs the seeds in their order, up to the first that fails.
    ///
    /// # Errors
    /// Says what is wrong with the simulation itself.
    pub fn run(&self, seeds: Range<u64>) -> Result<SimulationReport, String> {
        let mut report = SimulationReport::default();
        for seed in seeds {
            let run = run(self.simulation, self.plugins, seed, None)?;
            report.add(&run);
            if let Some(broken) = broken_rule(self.simulation, &run) {
                report.failing = Some(self.smallest(seed, broken, run)?);
                break;
            }
        }
        Ok(report)
    }

    /// Names that invariants speak of and that were in no run: those hold of nothing.
    #[must_use]
    pub fn never_seen(&self, report: &SimulationReport) -> BTreeSet<String> {
        let named = self.simulation.invariants.iter().flat_map(super::invariant::Invariant::types);
        named.filter(|name| !report.seen.contains_key(*name)).map(str::to_owned).collect()
    }

    fn smallest(&self, seed: u64, broken: Broken, first: Run) -> Result<Failing, String> {
        let names: Vec<String> = first.choices.iter().map(|choice| choice.name.clone()).collect();
        let count = names.len();
        let (mut best, mut tries, mut wrong) = ((first, broken), 0, None);
        shrink(names, TRIES, |some| {
            tries += 1;
            let only = some.iter().cloned().collect();
            let run = match run(self.simulation, self.plugins, seed, Some(only)) {
                Ok(run) => run,
                Err(why) => {
                    wrong = Some(why);
                    return false;
                }
            };
            match broken_rule(self.simulation, &run) {
                Some(broken) if broken.invariant == best.1.invariant => {
                    best = (run, broken);
                    true
                }
                _ => false,
            }
        });
        let (run, broken) = best;
        match wrong {
            Some(why) => Err(why),
            None => Ok(Failing { seed, broken, choices: (count, run.choices.len()), run, tries }),
        }
    }
}

impl SimulationReport {
    fn add(&mut self, run: &Run) {
        self.runs += 1;
        self.decisions += run.history.deeds.len() as u64;
        let is_disturbance = |choice: &&Choice| !choice.what.is_empty();
        self.disturbances += run.choices.iter().filter(is_disturbance).count() as u64;
        for deed in &run.history.deeds {
            *self.seen.entry(deed.event.event_type.clone()).or_default() += 1;
            for (_, message) in &deed.messages {
                *self.seen.entry(message.event_type.clone()).or_default() += 1;
            }
        }
    }
}

/// The first thing that is not as it must be.
fn broken_rule(simulation: &Simulation, run: &Run) -> Option<Broken> {
    let broken = |invariant: &str, why: String| {
        Some(Broken { invariant: invariant.to_owned(), why, who: None })
    };
    if let Rest::Broken(why) = &run.rest {
        return broken(HOST, why.clone());
    }
    if let Some(failed) = run.history.failed.first().filter(|_| !simulation.may_fail) {
        let who = failed
            .key
            .clone()
            .map(|key| super::history::Who { plugin: failed.plugin.clone(), key });
        let event = name_of(&failed.event);
        let why = format!("{} cannot handle {event}: {}", failed.plugin, failed.reason);
        return Some(Broken { invariant: NO_FAILURES.to_owned(), why, who });
    }
    if let Some(broken) = simulation.invariants.iter().find_map(|one| one.check(&run.history)) {
        return Some(broken);
    }
    match &run.rest {
        Rest::Over(why) if !simulation.may_go_on => broken(RESTS, why.clone()),
        _ => None,
    }
}
