//! `sagabox doctor`: what is wrong with this installation, and what to do.
//!
//! It looks at the configuration, the plugins, the store's files, the limits of the process, and the
//! host that runs. It changes nothing but the cache of compiled components.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use serde_json::json;

use super::host_args::HostArgs;
use super::output::{self, Row, grouped};
use crate::api::client::{Client, ClientError};
use crate::config::{self, Overrides, Settings};
use crate::plugins::wasm::{CacheSettings, Sandbox};
use crate::store::inspect::{Inspection, inspect};
use crate::verify::check::{self, Finding, Severity};

/// With less, the next burst of events may fill the disk before an operator notices.
const FREE_BYTES_WARNING: u64 = 1 << 30;
/// With less, the host may not even store what it needs for a start.
const FREE_BYTES_ERROR: u64 = 64 << 20;
/// Files that a host needs beside its connections: store, sinks, compiled components, log.
const FILES_BESIDE_CONNECTIONS: u64 = 256;
/// Bits of a directory's mode: the group or all others can write there.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Bits of a file's mode: the group or all others can read or write it.
const OPEN_TO_OTHERS: u32 = 0o077;

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Directory of the plugins' components
    plugins: Option<PathBuf>,
    /// Configuration file [default: sagabox.toml, if it exists]
    #[arg(long, env = "SAGABOX_CONFIG")]
    config: Option<PathBuf>,
    /// Location of the store, such as sqlite:sagabox.db
    #[arg(long, env = "SAGABOX_STORE")]
    store: Option<String>,
    /// Report an error if no host answers, as a health check does
    #[arg(long)]
    running: bool,
    #[command(flatten)]
    host: HostArgs,
}

/// What was looked at, and what was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, severity: Severity, subject: &str, text: impl Into<String>) {
        self.findings.push(Finding::new(severity, subject, text));
    }

    fn note(&mut self, subject: &str, text: impl Into<String>) {
        self.add(Severity::Note, subject, text);
    }

    fn warning(&mut self, subject: &str, text: impl Into<String>) {
        self.add(Severity::Warning, subject, text);
    }

    fn error(&mut self, subject: &str, text: impl Into<String>) {
        self.add(Severity::Error, subject, text);
    }
}

impl Doctor {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let mut report = Report::default();
        let overrides = Overrides { store: self.store.clone(), ..Overrides::default() };
        match Settings::load(self.config.as_deref(), overrides) {
            Ok(settings) => {
                self.describe_configuration(&mut report);
                store(&mut report, &settings.store);
                open_files(&mut report, settings.http.connections as u64);
                cache(&mut report, &settings.sandbox.cache);
                if let Some(directory) = &self.plugins {
                    let (directory, file) = (directory.clone(), self.configuration_file());
                    let plugins = tokio::task::spawn_blocking(move || {
                        let mut report = Report::default();
                        plugins(&mut report, &directory, &settings, file.as_deref());
                        report
                    });
                    report.findings.extend(plugins.await?.findings);
                }
            }
            Err(error) => report.error("configuration", format!("{error:#}")),
        }
        let client = self.host.client()?;
        host(&mut report, &client, &self.host.host, self.running).await;
        self.print(&report)
    }

    fn configuration_file(&self) -> Option<String> {
        let usual = || Path::new(config::FILE).exists().then(|| config::FILE.to_owned());
        self.config.as_ref().map(|path| path.display().to_string()).or_else(usual)
    }

    fn describe_configuration(&self, report: &mut Report) {
        match self.configuration_file() {
            Some(file) => report.note("configuration", format!("{file} is valid")),
            None => report.note(
                "configuration",
                format!("there is no {}; every setting has its default", config::FILE),
            ),
        }
        if self.plugins.is_none() {
            report.note("plugins", "not looked at; name their directory: sagabox doctor ./plugins");
        }
    }

    fn print(&self, report: &Report) -> anyhow::Result<()> {
        let errors = check::count(&report.findings, Severity::Error);
        match self.host.json {
            true => output::json(&json!({ "healthy": errors == 0, "findings": report.findings })),
            false => {
                for finding in &report.findings {
                    let severity = match finding.severity {
                        Severity::Note => "ok",
                        severity => severity.as_str(),
                    };
                    output::data(&format!("{severity:<8} {}: {}", finding.subject, finding.text));
                }
            }
        }
        anyhow::ensure!(errors == 0, "{errors} of the findings are errors");
        Ok(())
    }
}

fn store(report: &mut Report, url: &str) {
    let Inspection { path, found, free_bytes } = match inspect(url) {
        Ok(inspection) => inspection,
        Err(error) => return report.error("store", error.to_string()),
    };
    let name = path.display();
    match found {
        None => report.note("store", format!("{name} does not exist; the first start creates it")),
        Some(found) => {
            let used = if found.is_in_use { "a host has it open" } else { "no host has it open" };
            report.note("store", format!("{name} has {} bytes; {used}", grouped(found.bytes)));
            if found.mode & OPEN_TO_OTHERS != 0 {
                report.warning(
                    "store",
                    format!(
                        "{name} has the mode {:o}: other users can read all events; \
                         run chmod 600 on it and on its -wal and -shm files",
                        found.mode
                    ),
                );
            }
        }
    }
    let free = format!("the disk has {} bytes left", grouped(free_bytes));
    match free_bytes {
        0..FREE_BYTES_ERROR => report.error(
            "store",
            format!("{free}; the host refuses events when it is full, so make room now"),
        ),
        FREE_BYTES_ERROR..FREE_BYTES_WARNING => {
            report.warning("store", format!("{free}; make room, or shorten [retention]"));
        }
        _ => report.note("store", free),
    }
}

fn open_files(report: &mut Report, connections: u64) {
    let needed = connections + FILES_BESIDE_CONNECTIONS;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => report.warning(
            "limits",
            format!(
                "a process may open {limit} files, and a host with {connections} connections \
                 needs {needed}; raise the limit (ulimit -n, or LimitNOFILE= of the service), \
                 or lower http.connections"
            ),
        ),
        Some(limit) => report.note("limits", format!("a process may open {limit} files")),
        None => report.note("limits", "a process may open any number of files"),
    }
}

/// Where commands keep compiled components.
fn cache(report: &mut Report, settings: &CacheSettings) {
    let Some(folder) = settings.folder.as_ref().map(|folder| folder.display()) else {
        let text = "off: each command compiles components anew; set SAGABOX_CACHE to a directory, \
                    or unset it and set HOME";
        return report.note("cache", text);
    };
    match settings.content() {
        Ok(None) => report.note(
            "cache",
            format!("{folder} does not exist; the first command that loads a component creates it"),
        ),
        Ok(Some(content)) => report.note(
            "cache",
            format!(
                "{folder} has {} compiled components, {} of at most {} bytes",
                grouped(content.components as u64),
                grouped(content.bytes),
                grouped(settings.bytes_max)
            ),
        ),
        Err(error) => report.warning(
            "cache",
            format!(
                "{folder} is not used, so each command compiles components anew: {error}; \
                 remove it, or set SAGABOX_CACHE to another directory"
            ),
        ),
    }
}

fn plugins(report: &mut Report, directory: &Path, settings: &Settings, file: Option<&str>) {
    let name = directory.display().to_string();
    match std::fs::metadata(directory) {
        Err(error) => {
            let text = format!("{error}; create the directory, and put components there");
            return report.error(&name, text);
        }
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if metadata.is_dir() && mode & WRITABLE_BY_OTHERS != 0 {
                report.warning(
                    &name,
                    format!(
                        "the directory has the mode {mode:o}: other users can put plugins there; \
                         run chmod go-w on it"
                    ),
                );
            }
        }
    }
    let sandbox = match Sandbox::new(settings.sandbox.clone()) {
        Ok(sandbox) => sandbox,
        Err(error) => return report.error("sandbox", format!("{error:#}")),
    };
    let loaded = match check::load(directory, &sandbox, &settings.configurations()) {
        Ok(loaded) => loaded,
        Err(error) => return report.error(&name, format!("{error:#}")),
    };
    for facts in &loaded.facts {
        report.note(facts.name(), format!("version {} loads", facts.manifest.version));
    }
    report.findings.extend(loaded.findings);
    if let Some(file) = file {
        report.findings.extend(check::check_settings(&loaded.facts, settings, file));
    }
}

/// What the host itself says of its state.
async fn host(report: &mut Report, client: &Client, address: &str, must_run: bool) {
    match client.ready().await {
        Err(ClientError::Unreachable { .. }) => {
            let severity = if must_run { Severity::Error } else { Severity::Note };
            return report.add(severity, "host", format!("no host answers at {address}"));
        }
        Err(error) => report.error("host", format!("{address} accepts no events: {error}")),
        Ok(()) => report.note("host", format!("{address} accepts events")),
    }
    down(report, client, "/sinks", "sink").await;
    down(report, client, "/lookups", "lookup").await;
    accounts(report, client).await;
}

/// Sinks or lookups that are down. A list of all has it in a member, a list of these in the row.
async fn down(report: &mut Report, client: &Client, path: &str, what: &str) {
    match client.get::<Row>(path, &[]).await {
        Ok(answer) => {
            let all = answer.rows("sinks").into_iter();
            let mut rows: Vec<(String, Row)> =
                all.filter_map(|row| Some((row.cell(what), row.object("down")?))).collect();
            let lookups = answer.rows("lookups_down").into_iter();
            rows.extend(lookups.map(|row| (row.cell(what), row)));
            for (name, row) in rows {
                let reason = row.cell("reason");
                let next = row.cell("next_attempt_at");
                let text = format!("{reason}; the host tries again at {next}");
                report.warning(&format!("{what} {name}"), text);
            }
        }
        Err(error) => report.warning("host", error.to_string()),
    }
}

async fn accounts(report: &mut Report, client: &Client) {
    let accounts: Row = match client.get("/accounts", &[]).await {
        Ok(accounts) => accounts,
        Err(error) => return report.warning("host", error.to_string()),
    };
    if accounts.get("balanced").is_some_and(|balanced| balanced.get() == "false") {
        report.error(
            "accounts",
            "the sums do not agree; run sagabox accounts, keep a backup, and report this",
        );
    }
    let dead = |list: &str| {
        let rows = accounts.rows(list).into_iter();
        rows.filter_map(|row| row.get("dead")?.get().parse::<u64>().ok()).sum::<u64>()
    };
    match dead("plugins") + dead("sinks") {
        0 => report.note("dead letters", "there are none"),
        count => report.warning(
            "dead letters",
            format!("{} wait for an operator; run sagabox dead-letters", grouped(count)),
        ),
    }
}
