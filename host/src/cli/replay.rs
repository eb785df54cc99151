//! `sagabox replay`: repeats the recorded decisions with a candidate.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::Args;
use clap::builder::PossibleValuesParser;
use sagabox_engine::model::Timestamp;
use sagabox_engine::seams::handler::Handler;
use serde::Serialize;

use super::input_error::InputError;
use super::kept::{self, KeptVersion};
use super::output;
use crate::config::{Overrides, Settings};
use crate::decisions::kinds::{Aspects, KindCount};
use crate::io::durations::{duration, instant};
use crate::plugins::wasm::{self, Sandbox};
use crate::verify::replay::{Outcome, Selection, replay};

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Component of the new version; with --plugin-version or --digest, name of a plugin
    candidate: PathBuf,
    #[command(flatten)]
    kept: KeptVersion,
    /// Store with the recorded decisions, such as sqlite:sagabox.db, or the directory of its file
    #[arg(long, env = "SAGABOX_STORE")]
    store: String,
    /// Replay only decisions since a time (2026-01-31T12:00:00Z) or within a duration (24h)
    #[arg(long)]
    since: Option<String>,
    /// Replay only decisions of this instance
    #[arg(long, value_name = "KEY")]
    instance: Option<String>,
    /// What to compare
    #[arg(long, value_name = "WHAT", default_value = "both",
          value_parser = PossibleValuesParser::new(Aspects::NAMES))]
    compare: String,
    /// Maximum number of differing decisions to print
    #[arg(long, default_value_t = 20)]
    show: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Configuration file, for the plugin's section and limits [default: sagabox.toml, if it exists]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
}

impl Replay {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let settings =
            Settings::load(self.config.as_deref(), Overrides::default()).map_err(InputError::of)?;
        let since = self.since.as_deref().map_or(Ok(Timestamp::default()), since);
        let since = since.map_err(|why| InputError(format!("--since: {why}")))?;
        let compare = Aspects::parse(&self.compare).map_err(InputError)?;
        let selection = Selection { since, key: self.instance, shown_max: self.show, compare };
        let candidate = self.candidate.clone();
        let kept = match self.kept.is_given() {
            true => Some(self.kept.find(&self.store, &candidate.to_string_lossy()).await?),
            false => None,
        };
        let handlers = tokio::task::spawn_blocking(move || match kept {
            Some(component) => {
                let loaded = kept::load(&component, &candidate.to_string_lossy(), &settings)?;
                Ok(vec![loaded.handler])
            }
            None => load(&candidate, &settings),
        });
        let handlers = handlers.await??;
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut outcomes = Vec::new();
        for handler in handlers {
            outcomes.push(replay(handler, &self.store, &selection, threads).await?);
        }
        report(&outcomes, self.json);
        let differ: u64 = outcomes.iter().map(|outcome| outcome.differ).sum();
        let replayed: u64 = outcomes.iter().map(Outcome::replayed).sum();
        anyhow::ensure!(differ == 0, "{} of the decisions differ", output::grouped(differ));
        // A replay of no decision must not look like a success.
        anyhow::ensure!(
            replayed > 0,
            "nothing was replayed: no recorded decision of this plugin matches"
        );
        Ok(())
    }
}

fn load(candidate: &std::path::Path, settings: &Settings) -> anyhow::Result<Vec<Arc<dyn Handler>>> {
    let sandbox = Sandbox::new(settings.sandbox.clone())?;
    let configurations = settings.configurations();
    let loading = wasm::load_path(candidate, &sandbox, &configurations)?;
    if let Some(refused) = loading.refused.first() {
        let reason = format!("{}: a host refuses it: {}", refused.path.display(), refused.reason);
        return Err(InputError(reason).into());
    }
    Ok(loading.loaded.into_iter().map(|plugin| plugin.handler).collect())
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = instant(text) {
        return Ok(at);
    }
    let ago = duration(text).map_err(|_| {
        format!(
            "`{text}` is neither a time such as 2026-01-31T12:00:00Z nor a duration such as 24h"
        )
    })?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now =
        now.context("the system clock is before 1970").map_err(|error| format!("{error:#}"))?;
    Ok(Timestamp(u64::try_from(now.saturating_sub(ago).as_millis()).unwrap_or(u64::MAX)))
}

#[derive(Serialize)]
struct ReplayReport<'o> {
    plugins: &'o [Outcome],
}

fn report(outcomes: &[Outcome], json: bool) {
    if json {
        return output::json(&ReplayReport { plugins: outcomes });
    }
    for outcome in outcomes {
        for differing in &outcome.differing {
            output::data(&format!(
                "{} `{}` at position {}: {} ({})",
                outcome.plugin,
                differing.key,
                differing.position,
                differing.event_type,
                differing.event_id
            ));
            differing.differences.iter().for_each(|line| output::data(&format!("  {line}")));
        }
        let hidden = outcome.differ - outcome.differing.len() as u64;
        if hidden > 0 {
            output::line(&format!("… and {} more that differ", output::grouped(hidden)));
        }
        for KindCount { kind, decisions, example } in &outcome.kinds {
            output::data(&format!(
                "{}: {kind}; for example `{}` at position {}",
                output::counted(*decisions, "decision", "decisions"),
                example.key,
                example.position
            ));
        }
        output::line(&summary(outcome));
    }
}

fn summary(outcome: &Outcome) -> String {
    let replayed = outcome.replayed();
    let millis = outcome.elapsed.as_millis().max(1);
    let rate = u64::try_from(u128::from(replayed) * 1000 / millis).unwrap_or(u64::MAX);
    let versions: Vec<&str> = outcome.versions.iter().map(String::as_str).collect();
    let mut text = format!(
        "{}: {} of {} replayed on {}, {} a second: {} alike, {} differ",
        outcome.plugin,
        output::counted(replayed, "decision", "decisions"),
        if versions.is_empty() { "no version".to_owned() } else { versions.join(", ") },
        outcome.candidate,
        output::grouped(rate),
        output::grouped(outcome.alike),
        output::grouped(outcome.differ),
    );
    for (why, count) in &outcome.skipped {
        text += &format!("\n{} not replayed: {why}", output::grouped(*count));
    }
    text
}
