//! File, environment and flags, resolved once into settings.
//!
//! The file is `sagabox.toml`. Environment variables (`SAGABOX_…`) and flags override it; the
//! command line reads both and passes them on together. Paths in the file are relative to the
//! file. An error names file, line and key.

mod alerts;
mod changes;
mod file;
mod limits;
mod login;
mod outside;
mod plugins;
mod reach;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use sagabox_engine::engine;
use toml::Spanned;

use crate::alerts::AlertSettings;
use crate::api::{self, AccessSettings, Limits, TlsSettings};
use crate::io::files;
use crate::io::sinks::SinkSettings;
use crate::plugins::reload;
use crate::plugins::wasm;
use crate::telemetry::settings::TelemetrySettings;
pub use changes::{Keys, is_applied};
use file::{ConfigFile, Fault};
pub use file::{LogFormat, Mcp};
pub use outside::{LookupSettings, LookupSource, check_template};
use outside::{lookup, sink, telemetry};

/// The file that is read if no other file is named and this one exists.
pub const FILE: &str = "sagabox.toml";
const LISTEN: &str = "127.0.0.1:8321";
/// The store that is used if none is named.
pub const STORE: &str = "sqlite:sagabox.db";

/// All settings of a host, resolved from the file, the environment and the flags.
#[derive(Clone, Debug)]
pub struct Settings {
    pub store: String,
    pub listen: String,
    pub log: LogFormat,
    /// What is logged; none: as `RUST_LOG` says, or the default.
    pub log_filter: Option<String>,
    /// What the file says, by key.
    pub keys: Keys,
    pub http: api::Settings,
    pub access: AccessSettings,
    pub mcp: Mcp,
    /// None: HTTP without TLS.
    pub tls: Option<TlsSettings>,
    pub sinks: BTreeMap<String, SinkSettings>,
    /// The sink of each message type that has a route.
    pub routes: BTreeMap<String, String>,
    pub lookups: BTreeMap<String, LookupSettings>,
    /// Each plugin's own settings, without its limits.
    pub plugins: BTreeMap<String, serde_json::Value>,
    pub sandbox: wasm::Settings,
    pub hot: reload::Settings,
    pub limits: Limits,
    /// Whether events that no plugin can read are refused.
    pub validate: bool,
    pub drain: Duration,
    /// None: neither traces nor metrics are exported.
    pub telemetry: Option<TelemetrySettings>,
    /// None: the host makes no alerts.
    pub alerts: Option<AlertSettings>,
    pub engine: engine::Settings,
}

/// The settings of the environment and of flags.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub store: Option<String>,
    pub listen: Option<String>,
    pub log: Option<LogFormat>,
    /// True makes the sandbox strict. False leaves the file's setting.
    pub strict: bool,
    /// True serves the local machine without a token. False leaves the file's setting.
    pub local_without_token: bool,
}

impl Settings {
    /// Each plugin's own settings, as JSON.
    #[must_use]
    pub fn configurations(&self) -> HashMap<String, String> {
        self.plugins.iter().map(|(name, json)| (name.clone(), json.to_string())).collect()
    }

    /// # Errors
    /// If other machines reach the address, and nothing protects what they send.
    pub fn check_address(&self, address: SocketAddr) -> Result<(), String> {
        let is_protected = self.access.behind_proxy || self.tls.is_some();
        reach::check_listen(&address.to_string(), is_protected).map_err(|fault| fault.reason)
    }

    /// Reads `path`, or `sagabox.toml` if that exists.
    ///
    /// # Errors
    /// If the file cannot be read, or has a setting that is not accepted.
    pub fn load(path: Option<&Path>, overrides: Overrides) -> anyhow::Result<Self> {
        let path = match path {
            Some(path) => path,
            None if Path::new(FILE).exists() => Path::new(FILE),
            None => {
                let settings = resolve(ConfigFile::default(), Path::new(""), overrides);
                return Ok(settings.map_err(fatal)?.with_cache_of_user());
            }
        };
        let text = files::text(path, files::TEXT_BYTES_MAX)
            .with_context(|| format!("read configuration {}", path.display()))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let settings = parse(&text, &path.display().to_string(), directory, overrides)?;
        Ok(settings.with_cache_of_user())
    }

    fn with_cache_of_user(mut self) -> Self {
        self.sandbox.cache = wasm::CacheSettings::of_user();
        self
    }
}

fn fatal(fault: Fault) -> anyhow::Error {
    anyhow::Error::msg(fault.reason)
}

/// Reads a configuration from its text. Errors call it `name`, and its paths are relative to
/// `directory`.
///
/// # Errors
/// If it has a setting that is not accepted.
pub fn parse(
    text: &str,
    name: &str,
    directory: &Path,
    overrides: Overrides,
) -> anyhow::Result<Settings> {
    let file = ConfigFile::parse(text);
    let settings = file.and_then(|file| resolve(file, directory, overrides));
    let described = |fault: Fault| anyhow::anyhow!("{}", fault.describe(name, text));
    Ok(Settings { keys: Keys::of(text), ..settings.map_err(described)? })
}

fn resolve(file: ConfigFile, directory: &Path, overrides: Overrides) -> Result<Settings, Fault> {
    let sinks = each(file.sink, |name, section| sink(name, section, directory))?;
    let routes = routes(file.routes, &sinks)?;
    let lookups = each(file.lookup, |name, section| lookup(name, section, directory))?;
    let telemetry = at(file.telemetry, |section| telemetry(section, directory))?;
    let alerts = file.alerts.map(alerts::resolve).transpose()?;
    let limits = file.limits;
    let sandbox = wasm::Settings {
        strict: overrides.strict || file.strict.unwrap_or(false),
        trust: plugins::trust(&file.plugins, directory)?,
        ..limits.sandbox()?
    };
    let (plugins, own_limits) = plugins::own(file.plugin, &sandbox.limits)?;
    let listen = overrides.listen.or(file.listen).unwrap_or_else(|| LISTEN.to_owned());
    let tls = file.tls.map(|said| reach::tls(said, directory)).transpose()?;
    let local = overrides.local_without_token;
    let access = reach::access(&file.api, &file.retention, local, tls.is_some())?;
    let login = login::login(file.login, &access.login, directory)?;
    let access = AccessSettings { login, ..access };
    reach::check_listen(&listen, access.behind_proxy || tls.is_some())?;
    Ok(Settings {
        store: overrides.store.or(file.store).unwrap_or_else(|| STORE.to_owned()),
        http: reach::http(&file.http, &listen)?,
        access,
        mcp: file.api.mcp.unwrap_or_default(),
        tls,
        log: overrides.log.or(file.log.format).unwrap_or_default(),
        log_filter: file.log.filter,
        keys: Keys::default(),
        listen,
        sinks,
        routes,
        lookups,
        plugins,
        sandbox: wasm::Settings { plugins: own_limits, ..sandbox },
        hot: plugins::hot(&file.plugins),
        limits: limits.of_requests(),
        validate: file.ingest.validate.unwrap_or(false),
        drain: limits.drain(),
        telemetry,
        alerts,
        engine: work::engine(&file.retry, &file.retention, &limits)?,
    })
}

/// Resolves each section of a kind, by its name.
fn each<S, T>(
    sections: BTreeMap<String, Spanned<S>>,
    resolve: impl Fn(&str, S) -> Result<T, String>,
) -> Result<BTreeMap<String, T>, Fault> {
    let resolved = sections.into_iter().map(|(name, section)| {
        let span = section.span();
        let settings = resolve(&name, section.into_inner());
        Ok((name, settings.map_err(|reason| Fault::at(span, reason))?))
    });
    resolved.collect()
}

/// Resolves a section that need not be there.
fn at<S, T>(
    section: Option<Spanned<S>>,
    resolve: impl FnOnce(S) -> Result<T, String>,
) -> Result<Option<T>, Fault> {
    let Some(section) = section else { return Ok(None) };
    let span = section.span();
    resolve(section.into_inner()).map(Some).map_err(|reason| Fault::at(span, reason))
}

/// The sink of each message type. The file configures each of these sinks.
fn routes(
    said: BTreeMap<String, Spanned<String>>,
    sinks: &BTreeMap<String, SinkSettings>,
) -> Result<BTreeMap<String, String>, Fault> {
    let routes = said.into_iter().map(|(message_type, sink)| {
        let (span, sink) = (sink.span(), sink.into_inner());
        if sinks.contains_key(&sink) {
            return Ok((message_type, sink));
        }
        let reason = format!(
            "routes.\"{message_type}\": sink `{sink}` is not configured; add [sink.{sink}]{}",
            known(sinks.keys())
        );
        Err(Fault::at(span, reason))
    });
    routes.collect()
}

fn known<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    if names.is_empty() { String::new() } else { format!(" (configured: {})", names.join(", ")) }
}

#[cfg(test)]
mod tests;
