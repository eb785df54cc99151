//! `sagabox test`: runs scenarios on a component.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{InputError, build, output};
use crate::config::{Overrides, Settings};
use crate::plugins::wasm;
use crate::plugins::{self, trust::Policy};
use crate::verify::scenario::{self, Bench, Verdict};

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// A component, or the source directory of a plugin, which is built first
    plugin: PathBuf,
    /// File or directory of scenarios [default: those in the source directory, or next to the component]
    #[arg(long)]
    scenarios: Option<PathBuf>,
    /// Run only scenarios whose name contains this text
    #[arg(long)]
    filter: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Configuration file, for its limits [default: sagabox.toml, if it exists]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
    /// Refuse plugins that import anything but Sagabox's own interface, such as WASI
    #[arg(long, env = "SAGABOX_STRICT")]
    strict: bool,
    /// Directory for the component that is built
    #[arg(long, default_value = "target/plugins")]
    out: PathBuf,
    /// Directory for intermediate files of the compiler
    #[arg(long, default_value = build::TARGET)]
    target: PathBuf,
}

/// The results of one file of scenarios.
pub(crate) struct Played {
    file: PathBuf,
    verdicts: Vec<Verdict>,
}

impl Test {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        // Running scenarios is pure computation.
        tokio::task::spawn_blocking(move || self.run()).await?
    }

    fn run(self) -> anyhow::Result<()> {
        let overrides = Overrides { strict: self.strict, ..Overrides::default() };
        let settings = Settings::load(self.config.as_deref(), overrides)
            .map_err(|error| InputError(format!("{error:#}")))?;
        let is_source = self.plugin.is_dir();
        let component = match is_source {
            true => plugins::build::component(&self.plugin, &self.out, &self.target)?,
            false => self.plugin.clone(),
        };
        let folder = self.scenarios.clone().unwrap_or_else(|| match is_source {
            true => self.plugin.join(scenario::IN_SOURCE),
            false => scenario::beside(&component),
        });
        let files = scenario::files_in(&folder).map_err(|error| {
            InputError(format!("{error:#}; add scenarios there, or use --scenarios"))
        })?;
        // A component under development is neither signed nor pinned.
        let sandbox = wasm::Settings { trust: Policy::default(), ..settings.sandbox };
        let played = play(&component, &files, &sandbox, self.filter.as_deref())?;
        report(&played, self.json)
    }
}

pub(crate) fn play(
    component: &Path,
    files: &[PathBuf],
    settings: &wasm::Settings,
    filter: Option<&str>,
) -> anyhow::Result<Vec<Played>> {
    let mut bench = Bench::new(component, settings)?;
    let mut all = Vec::new();
    for file in files {
        let scenarios = scenario::read(file).map_err(|error| InputError(format!("{error:#}")))?;
        let chosen = scenarios
            .iter()
            .filter(|scenario| filter.is_none_or(|part| scenario.scenario.contains(part)));
        let verdicts: anyhow::Result<Vec<Verdict>> =
            chosen.map(|scenario| bench.play(scenario)).collect();
        let verdicts = verdicts.with_context(|| format!("play {}", file.display()))?;
        all.push(Played { file: file.clone(), verdicts });
    }
    // A filter that matches nothing must not look like a success.
    if all.iter().all(|played| played.verdicts.is_empty()) {
        return Err(InputError(
            "no scenario was run: none exists, or none matches the filter".to_owned(),
        )
        .into());
    }
    Ok(all)
}

pub(crate) fn report(played: &[Played], json: bool) -> anyhow::Result<()> {
    let verdicts = || played.iter().flat_map(|played| &played.verdicts);
    let failed = verdicts().filter(|verdict| !verdict.problems.is_empty()).count();
    let passed = verdicts().count() - failed;
    if json {
        let files = played.iter().map(|played| {
            json!({"file": played.file.display().to_string(), "scenarios": played.verdicts})
        });
        let files: Vec<_> = files.collect();
        output::json(&json!({"files": files, "passed": passed, "failed": failed}));
    } else {
        for Played { file, verdicts } in played.iter().filter(|played| !played.verdicts.is_empty())
        {
            output::line(&file.display().to_string());
            for Verdict { scenario, problems, wrote } in verdicts {
                let mark = if problems.is_empty() { "ok    " } else { "FAILED" };
                output::line(&format!("  {mark} {scenario}"));
                wrote.iter().for_each(|line| output::line(&format!("         | {line}")));
                problems.iter().for_each(|problem| output::line(&format!("         {problem}")));
            }
        }
        output::line(&format!("{passed} passed, {failed} failed"));
    }
    anyhow::ensure!(failed == 0, "{failed} scenarios failed");
    Ok(())
}
