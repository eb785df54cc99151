//! `sagabox backtest`: tries plugins on a log of what really happened.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use sagabox_engine::model::{Manifest, PluginName, Timestamp};

use super::developed;
use super::input_error::InputError;
use super::kept::{self, KeptVersion};
use super::{build, output};
use crate::config::{Overrides, Settings};
use crate::decisions::json::Json;
use crate::io::durations::{duration, instant};
use crate::plugins;
use crate::plugins::build::Language;
use crate::plugins::wasm::{self, LoadedPlugin, Sandbox};
use crate::store::query::component::PackedComponent;
use crate::verify::backtest::{
    self, Arrived, BacktestError, Expectation, Findings, Group, Lateness, Mismatch, Outside,
};
use crate::verify::event_log::{self, EventLog, Faulty, Times};

/// Wide enough that events of one process change their order.
const WITHIN: &str = "1h";

#[derive(Debug, Args)]
pub(crate) struct Backtest {
    /// Components, directories of components, or source directories of plugins, which are built first
    #[arg(required = true)]
    plugins: Vec<PathBuf>,
    /// NDJSON file of events, one CloudEvent on each line; `-` reads standard input
    #[arg(long, value_name = "FILE", required_unless_present = "store", conflicts_with = "store")]
    events: Vec<PathBuf>,
    /// Store whose log is repeated, such as sqlite:sagabox.db, or the directory of its file
    #[arg(long)]
    store: Option<String>,
    /// Let the events of the store arrive when the host accepted them, not at their own time
    #[arg(long, requires = "store")]
    accepted: bool,
    /// Order in which the events arrive: by their time, or as they stand in the file
    #[arg(long, value_enum, default_value_t = Order::Time)]
    order: Order,
    /// End at a time (2026-01-31T12:00:00Z) or this long after the last event (30d) [default: at the last event]
    #[arg(long)]
    until: Option<String>,
    /// File with answers to lookups and commands
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Delay each event by a random time within a window, which changes their order
    #[arg(long, value_name = "SEED")]
    shuffle: Option<u64>,
    /// Window of --shuffle
    #[arg(long, value_name = "DURATION", default_value = WITHIN, requires = "shuffle")]
    within: String,
    /// Delay a share of the events by a duration, such as 5%:2d
    #[arg(long, value_name = "SHARE:DURATION")]
    late: Option<String>,
    /// Compare with a file of expected rows, as --out writes them
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Compare with this other version of one of the plugins; with --store, also NAME@VERSION, which the store keeps
    #[arg(long, value_name = "OLD")]
    against: Vec<PathBuf>,
    /// Write the messages, timers, dead letters and instances to an NDJSON file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the same rows as NDJSON; the last line is the summary
    #[arg(long)]
    json: bool,
    /// Maximum number of differences from the expected rows to print
    #[arg(long, default_value_t = 20)]
    show: usize,
    /// Configuration file, for the sections of the plugins, retries and limits [default: sagabox.toml, if it exists]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
    /// Refuse plugins that import anything but Sagabox's own interface, such as WASI
    #[arg(long, env = "SAGABOX_STRICT")]
    strict: bool,
    /// Directory for the components that are built
    #[arg(long, value_name = "DIR", default_value = "target/plugins")]
    built: PathBuf,
    /// Directory for intermediate files of the compiler
    #[arg(long, default_value = build::TARGET)]
    target: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Each event arrives at its own time
    Time,
    /// Each event arrives after the line before it, and not before its own time
    File,
}

/// Another version of a plugin.
enum Older {
    File(PathBuf),
    /// A component of the store, and the plugin's name.
    Kept(PackedComponent, String),
}

impl Older {
    fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Kept(..) => None,
        }
    }
}

/// What was read before anything runs.
struct Prepared {
    settings: Settings,
    outside: Outside,
    expected: Option<Vec<Expectation>>,
    plugins: Vec<LoadedPlugin>,
    /// With the other versions in the place of those of the same name.
    older: Option<Vec<LoadedPlugin>>,
}

impl Backtest {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let older = self.older().await?;
        // Reading, compiling and running are computation.
        let (this, prepared) = tokio::task::spawn_blocking(move || {
            let prepared = self.prepare(&older)?;
            anyhow::Ok((self, prepared))
        })
        .await??;
        let log = this.log(&prepared.plugins).await?;
        tokio::task::spawn_blocking(move || this.run(&prepared, log)).await?
    }

    /// What `--against` names: files, or versions that the store keeps.
    async fn older(&self) -> anyhow::Result<Vec<Older>> {
        let mut older = Vec::new();
        for path in &self.against {
            older.push(match (kept_version(path), &self.store) {
                (None, _) => Older::File(path.clone()),
                (Some((plugin, wanted)), Some(store)) => {
                    let found = wanted.find(store, &plugin).await;
                    Older::Kept(found.map_err(|error| by_option("--against", &error))?, plugin)
                }
                (Some(_), None) => {
                    let name = path.display();
                    let why = format!(
                        "--against: there is no file `{name}`; to take a version that a store \
                         keeps, name the store with --store"
                    );
                    return Err(InputError(why).into());
                }
            });
        }
        Ok(older)
    }

    fn prepare(&self, older: &[Older]) -> anyhow::Result<Prepared> {
        let overrides = Overrides { strict: self.strict, ..Overrides::default() };
        let settings = Settings::load(self.config.as_deref(), overrides).map_err(InputError::of)?;
        let read = self.answers.as_deref().map(Outside::read).transpose();
        let outside = read.map_err(InputError::of)?.unwrap_or_default();
        let read = self.expect.as_deref().map(backtest::read_expectations).transpose();
        let expected = read.map_err(InputError::of)?;
        let plugins = self.load(&self.plugins, &settings)?;
        let manifests: Vec<&Manifest> = plugins.iter().map(|one| one.handler.manifest()).collect();
        outside.fit(&manifests).map_err(|why| match &self.answers {
            Some(file) => InputError(format!("{}: {why}", file.display())),
            None => InputError(format!("--answers is missing: {why}")),
        })?;
        let older = match older {
            [] => None,
            _ => {
                let files = older.iter().filter_map(Older::file).collect::<Vec<_>>();
                let mut others = self.load(&files, &settings)?;
                for component in older {
                    if let Older::Kept(component, plugin) = component {
                        others.push(kept::load(component, plugin, &settings)?);
                    }
                }
                let older = replaced(self.load(&self.plugins, &settings)?, others)?;
                let manifests = older.iter().map(|one| one.handler.manifest());
                let answered = outside.fit_lookups(&manifests.collect::<Vec<_>>());
                answered.map_err(|why| InputError(format!("--against: {why}")))?;
                Some(older)
            }
        };
        Ok(Prepared { settings, outside, expected, plugins, older })
    }

    fn load(&self, paths: &[PathBuf], settings: &Settings) -> anyhow::Result<Vec<LoadedPlugin>> {
        let (sandbox, _temporary) = developed::cached_sandbox(settings)?;
        let sandbox = Sandbox::new(sandbox)?;
        let mut plugins: Vec<LoadedPlugin> = Vec::new();
        for path in paths {
            let component = match Language::of(path).is_some() {
                true => plugins::build::component(path, &self.built, &self.target)?,
                false => path.clone(),
            };
            let loading = wasm::load_path(&component, &sandbox, &settings.configurations())
                .map_err(InputError::of)?;
            if let Some(refused) = loading.refused.first() {
                anyhow::bail!("{}: a host refuses it: {}", refused.path.display(), refused.reason);
            }
            if loading.loaded.is_empty() {
                let why = format!("{}: contains no plugin", component.display());
                return Err(InputError(why).into());
            }
            plugins.extend(loading.loaded);
        }
        let mut names = BTreeSet::new();
        for name in plugins.iter().map(name_of) {
            if !names.insert(name.clone()) {
                return Err(InputError(format!("`{name}` is given more than once")).into());
            }
        }
        Ok(plugins)
    }

    async fn log(&self, plugins: &[LoadedPlugin]) -> anyhow::Result<EventLog> {
        let order = match self.order {
            Order::Time => event_log::Order::Time,
            Order::File => event_log::Order::File,
        };
        let read = match &self.store {
            Some(store) => {
                let names = plugins.iter().map(name_of).collect();
                let times = if self.accepted { Times::Accepted } else { Times::Event };
                EventLog::of_store(store, &names, times, order).await
            }
            None => {
                let files = self.events.clone();
                tokio::task::spawn_blocking(move || EventLog::read(&files, order)).await?
            }
        };
        read.map_err(|error| match error.downcast_ref() {
            Some(Faulty { lacks_times: true, .. }) => InputError(format!(
                "the log cannot be used:\n{error}\nwith --order file, an event without `time` \
                 arrives together with the line before it"
            ))
            .into(),
            Some(Faulty { .. }) => InputError(format!("the log cannot be used:\n{error}")).into(),
            None => InputError::of(error).into(),
        })
    }

    fn run(&self, prepared: &Prepared, mut log: EventLog) -> anyhow::Result<()> {
        let late = self.lateness()?.apply(&mut log.arrivals);
        let until = self.end(log.ends_at())?;
        let backtest = |plugins: &[LoadedPlugin]| {
            let backtest = backtest::Backtest {
                plugins,
                log: &log,
                outside: &prepared.outside,
                seed: self.seed(),
                settings: &prepared.settings.engine,
                until,
            };
            backtest.run().map_err(|error| match error {
                BacktestError::Answers(why) => InputError(why).into(),
                BacktestError::Host(why) => anyhow::anyhow!(why),
            })
        };
        let findings = backtest(&prepared.plugins)?;
        let older = prepared.older.as_deref().map(backtest).transpose()?;
        let differences = older.map(|older| backtest::compare(&older, &findings));
        let arrived = arrived(&log, late, until);
        let mismatches = prepared.expected.as_deref().map(|expected| {
            let rows = backtest::rows(&findings);
            let summary = std::iter::once_with(|| backtest::summary(&arrived, &findings));
            backtest::check(expected, rows.chain(summary))
        });
        self.warn(&log);
        let came = Came { arrived, findings, differences, mismatches };
        if let Some(path) = &self.out {
            came.write(path).with_context(|| format!("write {}", path.display()))?;
        }
        match self.json {
            true => came.rows().for_each(|row| output::json_line(&row.to_string())),
            false => came.print(self.show),
        }
        came.outcome()
    }

    /// Names events that the host takes for others.
    fn warn(&self, log: &EventLog) {
        let differing = log.duplicates.iter().filter(|duplicate| duplicate.differs);
        for duplicate in differing.take(self.show) {
            output::warning(&format!(
                "{} has the source and id of {} and other content: it is ignored; give each event \
                 an id of its own",
                duplicate.place, duplicate.earlier
            ));
        }
    }

    /// What chance decides follows from it.
    fn seed(&self) -> u64 {
        self.shuffle.unwrap_or(1)
    }

    fn lateness(&self) -> Result<Lateness, InputError> {
        let within =
            duration(&self.within).map_err(|why| InputError(format!("--within: {why}")))?;
        let late = self.late.as_deref().map(Lateness::parse_late).transpose();
        Ok(Lateness {
            seed: self.seed(),
            within: self.shuffle.map(|_| within),
            late: late.map_err(|why| InputError(format!("--late: {why}")))?,
        })
    }

    fn end(&self, last: Timestamp) -> Result<Timestamp, InputError> {
        let Some(text) = &self.until else { return Ok(last) };
        if let Ok(at) = instant(text) {
            return Ok(at);
        }
        let after: Result<Duration, _> = duration(text);
        let after = after.map_err(|_| {
            InputError(format!(
                "--until: `{text}` is neither a time such as 2026-01-31T12:00:00Z nor a duration \
                 such as 30d"
            ))
        });
        Ok(last.after(after?))
    }
}

fn name_of(plugin: &LoadedPlugin) -> PluginName {
    plugin.handler.manifest().name.clone()
}

/// `NAME@VERSION`, unless it is a file.
fn kept_version(path: &Path) -> Option<(String, KeptVersion)> {
    let (plugin, version) = path.to_str()?.split_once('@')?;
    let version = KeptVersion { plugin_version: Some(version.to_owned()), digest: None };
    (!path.exists()).then(|| (plugin.to_owned(), version))
}

fn by_option(option: &str, error: &anyhow::Error) -> InputError {
    InputError(format!("{option}: {error:#}"))
}

/// The plugins, with others in the place of those of the same name.
fn replaced(
    plugins: Vec<LoadedPlugin>,
    others: Vec<LoadedPlugin>,
) -> Result<Vec<LoadedPlugin>, InputError> {
    let names: BTreeSet<PluginName> = plugins.iter().map(name_of).collect();
    if let Some(stranger) = others.iter().map(name_of).find(|name| !names.contains(name)) {
        let known: Vec<String> = names.iter().map(ToString::to_string).collect();
        let known = known.join(", ");
        return Err(InputError(format!("--against: `{stranger}` is not one of: {known}")));
    }
    let own: BTreeSet<PluginName> = others.iter().map(name_of).collect();
    let kept = plugins.into_iter().filter(|plugin| !own.contains(&name_of(plugin)));
    Ok(kept.chain(others).collect())
}

fn arrived(log: &EventLog, late: usize, until: Timestamp) -> Arrived {
    let count = |count: usize| count as u64;
    let arrived = log.arrivals.partition_point(|arrival| arrival.at <= until);
    Arrived {
        events: count(arrived),
        after_end: count(log.arrivals.len() - arrived),
        duplicates: count(log.duplicates.len()),
        differing: count(log.duplicates.iter().filter(|duplicate| duplicate.differs).count()),
        out_of_order: count(log.out_of_order),
        late: count(late),
        made_by_host: count(log.made_by_host),
        from: log.begins_at(),
        until,
    }
}

/// What came of it.
struct Came {
    arrived: Arrived,
    findings: Findings,
    /// From the other version.
    differences: Option<Vec<Group>>,
    /// What is not as expected.
    mismatches: Option<Vec<Mismatch>>,
}

impl Came {
    /// All rows, with the summary at the end.
    fn rows(&self) -> impl Iterator<Item = Json> {
        let differences = self.differences.iter().flatten().map(Group::row);
        let mismatches = self.mismatches.iter().flatten().map(Mismatch::row);
        let summary = std::iter::once_with(|| backtest::summary(&self.arrived, &self.findings));
        backtest::rows(&self.findings).chain(differences).chain(mismatches).chain(summary)
    }

    /// What was found and nothing else: the file can be expected of another run.
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for row in backtest::rows(&self.findings) {
            writeln!(file, "{row}")?;
        }
        file.into_inner().context("write the last rows")?.sync_all()?;
        Ok(())
    }

    fn print(&self, show: usize) {
        backtest::text(&self.arrived, &self.findings).iter().for_each(|line| output::data(line));
        if let Some(groups) = &self.differences {
            let total: u64 = groups.iter().map(|group| group.count).sum();
            let differences = output::counted(total, "difference", "differences");
            output::line(&format!("{differences} from the other version"));
            groups
                .iter()
                .flat_map(Group::lines)
                .for_each(|line| output::data(&format!("  {line}")));
        }
        if let Some(mismatches) = &self.mismatches {
            let count = mismatches.len();
            let differences = output::counted(count as u64, "difference", "differences");
            output::line(&format!("{differences} from what is expected"));
            let shown = mismatches.iter().take(show).flat_map(Mismatch::lines);
            shown.for_each(|line| output::data(&format!("  {line}")));
            if count > show {
                let more = output::grouped((count - show) as u64);
                output::line(&format!("  … and {more} more; --show prints more"));
            }
        }
    }

    fn outcome(&self) -> anyhow::Result<()> {
        let differences: u64 = self.differences.iter().flatten().map(|group| group.count).sum();
        let mismatches = self.mismatches.as_ref().map_or(0, Vec::len);
        // A gate that looked at nothing must not be open.
        let is_gate = self.differences.is_some() || self.mismatches.is_some();
        anyhow::ensure!(
            !is_gate || self.findings.decisions() > 0,
            "nothing was decided: no plugin takes any event of the log"
        );
        anyhow::ensure!(differences == 0, "the versions differ");
        anyhow::ensure!(mismatches == 0, "what is expected differs");
        Ok(())
    }
}
