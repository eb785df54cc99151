//! `sagabox dev`: on each change of a plugin's source it is built, tried and put where a
//! host loads it. What fails is said, and the version before serves on.

mod sources;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use self::sources::Sources;
use super::input_error::InputError;
use super::signals::Signals;
use super::{build, output, test};
use crate::config::{Overrides, Settings};
use crate::io::files;
use crate::plugins::{self, trust, wasm};
use crate::verify::scenario;

/// The pause between two looks at the sources. A change counts when two looks see the same, so
/// saving ten files in a row starts one build.
const LOOK: Duration = Duration::from_millis(250);
/// How long the started host may take to drain.
const HOST_ENDS: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Source directory of the plugin
    source: PathBuf,
    /// Plugin directory of a running host, to write the component to [default: this command
    /// starts a host with its own store]
    #[arg(long, value_name = "PLUGINS")]
    into: Option<PathBuf>,
    /// Shell command that builds the component, run in the source directory [default: the
    /// component is built like `sagabox build`]
    #[arg(long, value_name = "COMMAND", requires = "component")]
    build: Option<String>,
    /// Path of the component that the command creates, relative to the source directory
    #[arg(long, value_name = "FILE", requires = "build")]
    component: Option<PathBuf>,
    /// Configuration file, for the limits and for the host [default: sagabox.toml, if it
    /// exists]; if it requires signatures, the host refuses the unsigned component
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
    /// Directory for the host's plugins and its store; you can delete it at any time
    #[arg(long, default_value = "target/dev")]
    scratch: PathBuf,
    /// Address that the started host listens on; port 0 selects a free port
    #[arg(long, conflicts_with = "into")]
    listen: Option<String>,
    /// Directory for intermediate files of the compiler
    #[arg(long, default_value = build::TARGET)]
    target: PathBuf,
}

impl Dev {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let mut signals = Signals::listen()?;
        let settings =
            Settings::load(self.config.as_deref(), Overrides::default()).map_err(InputError::of)?;
        let mut sources = Sources::begin(&self.source, &[&self.scratch, &self.target])
            .map_err(|error| InputError(format!("{}: {error}", self.source.display())))?;
        let plugins = self.into.clone().unwrap_or_else(|| self.scratch.join("plugins"));
        std::fs::create_dir_all(&plugins)
            .with_context(|| format!("create the directory {}", plugins.display()))?;
        let mut host = match self.into {
            Some(_) => None,
            None => Some(self.start_host(&plugins, &settings)?),
        };
        let working = self.work(&mut sources, &plugins, &settings);
        tokio::select! {
            failed = working => return failed,
            ended = async { match &mut host {
                Some(host) => host.wait().await,
                None => std::future::pending().await,
            } } => anyhow::bail!("the host has exited ({}); its output is above", ended?),
            () = signals.stop() => {}
        }
        match host {
            Some(host) => end(host, &mut signals).await,
            None => Ok(()),
        }
    }

    /// Builds once, and then after each change.
    async fn work(
        &self,
        sources: &mut Sources,
        plugins: &Path,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        loop {
            let start = Instant::now();
            output::line(&format!("building {}", self.source.display()));
            match self.round(plugins, settings).await {
                Ok(component) => {
                    let seconds = start.elapsed().as_secs_f64();
                    output::line(&format!(
                        "{component} is copied to the plugin directory, after {seconds:.1} s"
                    ));
                }
                Err(error) => {
                    output::line(&format!("FAILED: {error:#}"));
                    output::line("the previous version continues to serve; waiting for a change");
                }
            }
            // The build itself may change these files.
            plugins::build::WRITTEN.iter().for_each(|name| sources.take(name));
            while !sources.look().with_context(|| format!("look at {}", self.source.display()))? {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Builds, tries and installs the component. The error says why it does not serve.
    async fn round(&self, plugins: &Path, settings: &Settings) -> anyhow::Result<String> {
        let built = match (&self.build, &self.component) {
            (Some(command), Some(component)) => self.run_build(command, component).await?,
            _ => {
                let (source, target) = (self.source.clone(), self.target.clone());
                let out = self.scratch.join("built");
                let building = tokio::task::spawn_blocking(move || {
                    plugins::build::component(&source, &out, &target)
                });
                building.await??
            }
        };
        // A component under development is neither signed nor pinned.
        let sandbox =
            wasm::Settings { trust: trust::Policy::default(), ..settings.sandbox.clone() };
        let folder = self.source.join(scenario::IN_SOURCE);
        let component = built.clone();
        // Loading components and running scenarios are computation.
        tokio::task::spawn_blocking(move || try_out(&component, &folder, &sandbox)).await??;
        let name = built.file_name().context("a component has a name")?;
        let name = name.to_string_lossy().into_owned();
        let bytes = std::fs::read(&built)?;
        files::put(plugins, &name, &bytes)
            .with_context(|| format!("put the component into {}", plugins.display()))?;
        Ok(name)
    }

    async fn run_build(&self, command: &str, component: &Path) -> anyhow::Result<PathBuf> {
        let shell = Command::new("sh")
            .args(["-c", command])
            .current_dir(&self.source)
            .kill_on_drop(true)
            .status();
        let status = shell.await.with_context(|| format!("run `{command}`"))?;
        anyhow::ensure!(status.success(), "`{command}` failed: {status}");
        let component = self.source.join(component);
        anyhow::ensure!(
            component.is_file(),
            "`{command}` did not create {}; set --component to the path of the component",
            component.display()
        );
        Ok(component)
    }

    fn start_host(&self, plugins: &Path, settings: &Settings) -> anyhow::Result<Child> {
        let store = format!("sqlite:{}", self.scratch.join("sagabox.db").display());
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("run").arg(plugins).arg("--local-without-token").args(["--store", &store]);
        // What the scenarios have compiled serves without being compiled again.
        if let Some(folder) = settings.sandbox.cache.folder.as_ref().and_then(|own| own.parent()) {
            command.env(wasm::CACHE_VARIABLE, folder);
        }
        if let Some(listen) = &self.listen {
            command.args(["--listen", listen]);
        }
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        // If this process fails or panics, its host ends as well. The host has its own process
        // group, so that an interrupt at the terminal reaches it once, from this process.
        command.stdin(Stdio::null()).kill_on_drop(true).process_group(0);
        command.spawn().context("start a host")
    }
}

/// Loads the component as a host does, and runs its scenarios.
fn try_out(component: &Path, folder: &Path, sandbox: &wasm::Settings) -> anyhow::Result<()> {
    let files = match folder.exists() {
        true => scenario::files_in(folder)?,
        false => Vec::new(),
    };
    // Without scenarios, nothing else loads the component.
    let bench = scenario::Bench::new(component, sandbox)?;
    if files.is_empty() {
        output::line(&format!("no scenarios in {}", folder.display()));
        return Ok(());
    }
    test::report(&test::play(bench, &files, None)?, None, false)
}

/// Lets the host drain, and waits for it. A second signal ends it at once.
async fn end(mut host: Child, signals: &mut Signals) -> anyhow::Result<()> {
    if let Some(process) = host.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // This fails if the host has ended by itself.
        let _ = kill_process(process, Signal::TERM);
    }
    tokio::select! {
        ended = host.wait() => {
            ended?;
            return Ok(());
        }
        () = signals.stop() => {}
        () = tokio::time::sleep(HOST_ENDS) => {}
    }
    host.kill().await?;
    Ok(())
}
