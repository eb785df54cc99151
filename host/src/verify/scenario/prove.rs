//! Plays scenarios on fresh instances and on used ones, and compares.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sagabox_engine::seams::handler::Handler;
use serde::Serialize;
use tempfile::TempDir;

use super::expect;
use super::file::Scenario;
use super::play::{Outcome, play};
use super::recorded;
use crate::decisions::json::{Json, differences};
use crate::decisions::kinds::reason_alone;
use crate::plugins::wasm::{self, Sandbox, Settings};
use crate::verify::written::written;

/// Plugins that keep data elsewhere than in their states.
const OTHERWISE: &str = "a used instance decides differently from a fresh one; keep data between calls \
                         in the state:";

/// A component, ready to be played on.
pub struct Bench {
    component: PathBuf,
    used: Sandbox,
    fresh: Sandbox,
    /// Both, by plugin, for each configuration that some scenario asked for.
    handlers: BTreeMap<String, Vec<Both>>,
    /// The plugins' sections of the configuration, for files of instances. Scenarios have their own.
    configurations: HashMap<String, String>,
    /// Where the compiled component is kept while this exists, if the user has no cache.
    _temporary: Option<TempDir>,
}

#[derive(Clone)]
struct Both {
    used: Arc<dyn Handler>,
    fresh: Arc<dyn Handler>,
}

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScenarioResult {
    pub scenario: String,
    /// None if it is as it should be.
    pub problems: Vec<String>,
    /// What the plugin wrote, a line each behind its level.
    pub wrote: Vec<String>,
}

impl Bench {
    /// # Errors
    /// If the component is none that a host would serve.
    pub fn new(component: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let (cache, temporary) =
            settings.cache.or_temporary().context("create a temporary directory")?;
        let settings = Settings { cache, ..settings.clone() };
        let mut bench = Self {
            component: component.to_owned(),
            used: Sandbox::new(settings.clone())?,
            fresh: Sandbox::new(settings.with_fresh_instances())?,
            handlers: BTreeMap::new(),
            configurations: HashMap::new(),
            _temporary: temporary,
        };
        // A component that does not serve is said to be so before any scenario is played.
        bench.both("{}")?;
        Ok(bench)
    }

    /// The same, with each plugin's section of the configuration, as JSON.
    #[must_use]
    pub fn configured(self, configurations: HashMap<String, String>) -> Self {
        Self { configurations, ..self }
    }

    /// # Errors
    /// If the component cannot be loaded; what is wrong with a scenario is in its result.
    pub fn play(&mut self, scenario: &Scenario) -> anyhow::Result<ScenarioResult> {
        let own = scenario.recorded.as_ref().and(scenario.plugin.as_ref());
        let own = own.and_then(|plugin| self.configurations.get(plugin)).cloned();
        let all = self.both(&own.unwrap_or_else(|| scenario.given.configuration.to_string()))?;
        let (problems, wrote) = match choose(all, scenario.plugin.as_deref()) {
            Ok(both) => match &scenario.recorded {
                Some(path) => repeated(path, both),
                None => result_of(scenario, both),
            },
            Err(why) => (vec![why], Vec::new()),
        };
        Ok(ScenarioResult { scenario: scenario.scenario.clone(), problems, wrote })
    }

    /// The plugin of this name, with the configuration that a scenario gives it.
    ///
    /// # Errors
    /// If the component cannot be loaded.
    pub fn plugin(
        &mut self,
        name: &str,
        scenario: Option<&Scenario>,
    ) -> anyhow::Result<Option<Arc<dyn Handler>>> {
        let configuration = scenario.map(|own| own.given.configuration.clone()).unwrap_or_default();
        let all = self.both(&configuration.to_string())?;
        let own = all.iter().find(|both| both.fresh.manifest().name.as_str() == name);
        Ok(own.map(|both| Arc::clone(&both.fresh)))
    }

    fn both(&mut self, configuration: &str) -> anyhow::Result<&[Both]> {
        if !self.handlers.contains_key(configuration) {
            let (used, fresh) =
                (self.load(&self.used, configuration)?, self.load(&self.fresh, configuration)?);
            let both = used.into_iter().zip(fresh).map(|(used, fresh)| Both { used, fresh });
            self.handlers.insert(configuration.to_owned(), both.collect());
        }
        Ok(&self.handlers[configuration])
    }

    fn load(
        &self,
        sandbox: &Sandbox,
        configuration: &str,
    ) -> anyhow::Result<Vec<Arc<dyn Handler>>> {
        // Whose the configuration is shows only in the loaded component: it is everybody's.
        let first = wasm::load_path(&self.component, sandbox, &HashMap::new())?;
        if let Some(refused) = first.refused.first() {
            anyhow::bail!("{}: a host refuses it: {refused}", refused.path.display());
        }
        let names = first.loaded.iter().map(|plugin| plugin.handler.manifest().name.to_string());
        let own = names.map(|name| (name, configuration.to_owned())).collect();
        let loading = wasm::load_path(&self.component, sandbox, &own)?;
        Ok(loading.loaded.into_iter().map(|plugin| plugin.handler).collect())
    }
}

fn choose<'b>(all: &'b [Both], name: Option<&str>) -> Result<&'b Both, String> {
    let of = |both: &Both| both.used.manifest().name.to_string();
    let known = || all.iter().map(of).collect::<Vec<_>>().join(", ");
    match (all, name) {
        (_, Some(name)) => all.iter().find(|both| of(both) == name).ok_or_else(|| {
            format!("plugin: `{name}` not found in the component; it contains: {}", known())
        }),
        ([only], None) => Ok(only),
        (_, None) => {
            Err(format!("the component contains several plugins; add `plugin:` ({})", known()))
        }
    }
}

/// The problems of the file of an instance, and what the plugin wrote on fresh instances.
fn repeated(path: &Path, both: &Both) -> (Vec<String>, Vec<String>) {
    let (mut problems, mut notes) = recorded::compare(path, &both.fresh);
    if problems.is_empty() {
        (problems, notes) = recorded::compare(path, &both.used);
        if !problems.is_empty() {
            problems.insert(0, OTHERWISE.to_owned());
        }
    }
    (problems, notes)
}

/// The problems, and what the plugin wrote on fresh instances.
fn result_of(scenario: &Scenario, both: &Both) -> (Vec<String>, Vec<String>) {
    let (outcomes, wrote) = written(|| play(scenario, &*both.fresh));
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(why) => return (vec![why], wrote),
    };
    let mut problems = Vec::new();
    let name = |index: usize| match outcomes.len() {
        1 => String::new(),
        _ => format!("step {}: ", index + 1),
    };
    for (index, (step, outcome)) in scenario.steps.iter().zip(&outcomes).enumerate() {
        let found = match &step.then {
            Some(then) => expect::check(then, outcome),
            None => expect::check_arranging(outcome).into_iter().collect(),
        };
        problems.extend(found.into_iter().map(|problem| format!("{}{problem}", name(index))));
    }
    // Twice: the first may find an instance that nothing was called on yet.
    for _ in 0..2 {
        let again = play(scenario, &*both.used);
        let otherwise = otherwise(&outcomes, again.as_deref());
        if !otherwise.is_empty() {
            problems.push(OTHERWISE.to_owned());
            problems.extend(otherwise);
            break;
        }
    }
    (problems, wrote)
}

/// Whether both fail for the same reason, whatever they wrote: a trace may have addresses in it.
fn fail_alike(fresh: &Json, used: &Json) -> bool {
    fn reason(shown: &Json) -> Option<&str> {
        shown.get("fails").and_then(Json::as_str).map(reason_alone)
    }
    reason(fresh).is_some_and(|alone| reason(used) == Some(alone))
        && fresh.get("transient") == used.get("transient")
}

/// Where used instances answer otherwise than fresh ones.
fn otherwise(fresh: &[Outcome], used: Result<&[Outcome], &String>) -> Vec<String> {
    let used = match used {
        Ok(used) => used,
        Err(why) => {
            return vec![format!("a fresh one completes the scenario, a used one does not: {why}")];
        }
    };
    let pairs = fresh.iter().zip(used).enumerate();
    let pairs = pairs.filter(|(_, (fresh, used))| !fail_alike(&fresh.shown, &used.shown));
    let lines = pairs.flat_map(|(index, (fresh, used))| {
        let differences = differences("", &fresh.shown, &used.shown).into_iter();
        differences.map(move |difference| {
            let shown = difference.to_string();
            let shown =
                shown.replacen(": expected ", ": fresh ", 1).replacen(", found ", ", used ", 1);
            format!("step {}: {shown}", index + 1)
        })
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::json::json;

    #[test]
    fn instances_that_fail_alike_may_write_otherwise() {
        let outcome = |shown: Json| Outcome { shown, messages: Vec::new() };
        let fails = |reason: &str, transient: bool| {
            outcome(json!({"fails": reason, "transient": transient}))
        };
        let fresh = [fails("it trapped; it wrote: goroutine 1 at 0x58c210", false)];
        let agree = |used: Outcome| otherwise(&fresh, Ok(&[used])).is_empty();
        assert!(agree(fails("it trapped; it wrote: goroutine 1 at 0x58e2c8", false)));
        assert!(!agree(fails("it trapped; it wrote: goroutine 1 at 0x58e2c8", true)));
        assert!(!agree(fails("another reason; it wrote: goroutine 1 at 0x58c210", false)));
        assert!(!agree(outcome(json!({"sends": []}))));
    }
}
