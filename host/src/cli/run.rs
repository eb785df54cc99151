//! `sagabox run`: the host itself.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::input_error::InputError;
use super::service::{self, Service};
use super::signals::Signals;
use super::{log, output, reload};
use crate::access::Secret;
use crate::config::{self, LogFormat, Overrides, Settings};
use crate::host::Host;
use crate::plugins::status::PluginStatus;
use crate::plugins::topology::Topology;
use crate::plugins::wasm::{Introduction, Limits};
use crate::verify::check::{self, Facts, Finding, Severity};

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Directory of the plugins' components
    plugins: PathBuf,
    /// Configuration file [default: sagabox.toml, if it exists]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
    /// Location of the store, such as sqlite:sagabox.db
    #[arg(long, env = "SAGABOX_STORE")]
    store: Option<String>,
    /// Address to listen on; port 0 selects a free port
    #[arg(long, env = "SAGABOX_LISTEN")]
    listen: Option<String>,
    /// Refuse plugins that import anything but Sagabox's own interface, such as WASI
    #[arg(long, env = "SAGABOX_STRICT")]
    strict: bool,
    /// Serve programs on this machine without a token
    #[arg(long, env = "SAGABOX_LOCAL_WITHOUT_TOKEN")]
    local_without_token: bool,
    /// Format of the log on standard error; `RUST_LOG` sets the levels
    #[arg(long, value_enum, env = "SAGABOX_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

impl Run {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        // This comes first, so that a signal during the start is not lost.
        let mut signals = Signals::listen_once()?;
        let overrides = Overrides {
            store: self.store,
            listen: self.listen,
            log: self.log_format,
            strict: self.strict,
            local_without_token: self.local_without_token,
        };
        let settings =
            Settings::load(self.config.as_deref(), overrides.clone()).map_err(InputError::of)?;
        log::begin(settings.log, settings.log_filter.as_deref())?;
        let listen = settings.listen.clone();
        let listener = service::listener(&listen).await?;
        // A socket of systemd need not be the one that `listen` names.
        settings.check_address(listener.local_addr()?).map_err(InputError)?;
        // The start runs in its own task, so that it does not delay the reaction to a signal.
        // The host accepts no event before it has started, so the task can be dropped.
        let (plugins, starts_with) = (self.plugins.clone(), settings.clone());
        let starting = tokio::spawn(async move { Host::start(starts_with, &plugins).await });
        let host = tokio::select! {
            biased;
            () = signals.stop() => {
                output::line("stopped before the host had started");
                return Ok(());
            }
            host = starting => host??,
        };
        if let Some((token, file)) = &host.first_token {
            present(token, file);
        }
        describe(&host.plugin_status, &self.plugins);
        warn(&host.plugin_status, &settings, self.config.as_deref());
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        let listening = format!("listening on {scheme}://{}", listener.local_addr()?);
        output::line(&listening);
        let (heartbeat, drain) = (host.heartbeat(), settings.drain);
        if let Some(signal) = Signals::reload()? {
            let source = reload::Source { path: self.config, overrides };
            tokio::spawn(reload::at(signal, host.reloader(), source, settings));
        }
        let service = Service::ready(&listening, move || heartbeat.clone().beat());
        let stopping = async move {
            signals.stop().await;
            service.stopping(drain);
        };
        host.serve(listener, stopping).await?;
        output::line("stopped");
        Ok(())
    }
}

/// Where standard output is no terminal, it may be a log, and a log must not have the token.
fn present(token: &Secret, file: &Path) {
    let file = file.display();
    output::line(&match std::io::stdout().is_terminal() {
        true => format!(
            "token of the administrator: {}\nit is also in {file}, where the command line finds it; \
             the host does not print it again",
            token.expose()
        ),
        false => {
            format!("the token of the administrator is in {file}, where the command line finds it")
        }
    });
}

fn describe(plugin_status: &PluginStatus, directory: &Path) {
    let serving = plugin_status.serving();
    for plugin in &serving {
        let manifest = &plugin.manifest;
        let (name, version, role) = (&manifest.name, &manifest.version, manifest.role.as_str());
        output::data(&format!("loaded {name} {version} ({role}) from {}", plugin.file));
    }
    for refused in plugin_status.refused() {
        output::data(&format!("refused {}: {}", refused.file, refused.reason));
        refused.details.iter().for_each(|line| output::data(&format!("    {line}")));
    }
    for checking in plugin_status.checking() {
        output::data(&format!(
            "checking {}: it serves after it has read the states of its instances",
            checking.file
        ));
    }
    if serving.is_empty() {
        tracing::warn!(
            "no plugin serves from {}; the host keeps events until a plugin serves",
            directory.display()
        );
    }
}

fn limits_of(settings: &Settings, plugin: &str) -> Limits {
    let sandbox = &settings.sandbox;
    sandbox.plugins.get(plugin).unwrap_or(&sandbox.limits).clone()
}

/// Logs the warnings of `check` for the plugins that serve and for the configuration. While a
/// file is still checked, many of them would be wrong.
fn warn(plugin_status: &PluginStatus, settings: &Settings, file: Option<&Path>) {
    let serving = plugin_status.serving();
    if serving.is_empty() || !plugin_status.checking().is_empty() {
        return;
    }
    let facts: Vec<Facts> = serving
        .into_iter()
        .map(|plugin| Facts {
            path: plugin.file.into(),
            digest: plugin.digest,
            limits: limits_of(settings, plugin.manifest.name.as_str()),
            manifest: plugin.manifest,
            imports: Vec::new(),
            introduction: Introduction::default(),
        })
        .collect();
    let file = file.map_or(config::FILE.into(), |file| file.display().to_string());
    let mut findings = Topology::new(&facts, &settings.routes).findings(&facts, &settings.routes);
    findings.extend(check::check_settings(&facts, settings, &file));
    for Finding { subject, text, .. } in
        findings.into_iter().filter(|finding| finding.severity != Severity::Note)
    {
        tracing::warn!("{subject}: {text}");
    }
}
