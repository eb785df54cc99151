//! `sagabox.toml` as it is written. The parent module resolves its sections into settings.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::limits::{CallLimits, Limits};
use super::outside::{LookupSection, SinkSection, TelemetrySection};
use crate::access::{Rate, Role};
use crate::io::files;
use crate::io::secrets::Given;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigFile {
    pub store: Option<String>,
    pub listen: Option<String>,
    #[serde(default)]
    pub http: HttpSection,
    #[serde(default)]
    pub api: ApiSection,
    #[serde(default)]
    pub login: LoginSection,
    pub tls: Option<Spanned<TlsSection>>,
    #[serde(default)]
    pub log: LogSection,
    #[serde(default)]
    pub ingest: IngestSection,
    pub telemetry: Option<Spanned<TelemetrySection>>,
    pub alerts: Option<Spanned<AlertsSection>>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub retry: Retry,
    #[serde(default)]
    pub retention: Retention,
    #[serde(default)]
    pub sink: BTreeMap<String, Spanned<SinkSection>>,
    #[serde(default)]
    pub routes: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub lookup: BTreeMap<String, Spanned<LookupSection>>,
    #[serde(default)]
    pub plugin: BTreeMap<String, PluginSection>,
    #[serde(default)]
    pub plugins: PluginsSection,
    pub strict: Option<bool>,
}

/// The names that clients may use for the host, and the time that they may take.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpSection {
    #[serde(default)]
    pub hosts: Vec<Spanned<String>>,
    pub connections: Option<NonZeroUsize>,
    pub header_timeout_ms: Option<NonZeroU64>,
    pub body_timeout_ms: Option<NonZeroU64>,
    pub idle_timeout_ms: Option<NonZeroU64>,
    pub write_timeout_ms: Option<NonZeroU64>,
}

/// Who may use the API.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiSection {
    pub local_without_token: Option<bool>,
    pub behind_proxy: Option<bool>,
    pub rate: Option<Rate>,
    pub mcp: Option<Mcp>,
}

/// What agents may do at `/mcp`, within the permissions of their tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mcp {
    Off,
    #[default]
    Read,
    Operate,
}

/// How people sign in.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginSection {
    pub session: Option<Spanned<String>>,
    pub idle: Option<Spanned<String>>,
    pub oidc: Option<Spanned<OidcSection>>,
}

/// The identity provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcSection {
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Option<Given>,
    pub scopes: Option<Vec<String>>,
    pub url: Option<String>,
    pub name: Option<String>,
    pub name_claim: Option<String>,
    pub roles_claim: Option<String>,
    #[serde(default)]
    pub grant: Vec<GrantSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantSection {
    pub value: String,
    pub roles: BTreeSet<Role>,
    #[serde(default)]
    pub payloads: bool,
    #[serde(default)]
    pub plugins: BTreeSet<String>,
}

/// TLS of the server. The files have the PEM format.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsSection {
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub client_roots: Option<PathBuf>,
    pub client_certificates: Option<ClientCertificates>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientCertificates {
    Required,
    Optional,
}

/// Which events a host accepts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IngestSection {
    pub validate: Option<bool>,
}

/// When the host reports its own trouble.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertsSection {
    pub period: Option<String>,
    pub interval_ms: Option<u64>,
    pub lag_events: Option<u64>,
}

/// How a host logs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogSection {
    pub format: Option<LogFormat>,
    pub filter: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// How plugins are loaded, replaced and removed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PluginsSection {
    pub watch: Option<bool>,
    pub poll_ms: Option<NonZeroU64>,
    pub preflight: Option<Preflight>,
    pub missed: Option<Missed>,
    #[serde(default)]
    pub keys: Vec<Spanned<String>>,
    pub locked: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Preflight {
    Refuse,
    Report,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Missed {
    Handle,
    Ignore,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct PluginSection {
    #[serde(default)]
    pub limits: CallLimits,
    /// The plugin's own settings, which the host passes on as they are.
    #[serde(flatten)]
    pub own: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    pub attempts: Option<NonZeroU32>,
    pub delay_ms_min: Option<Spanned<u64>>,
    pub delay_ms_max: Option<Spanned<u64>>,
}

/// How long completed data is kept: `30d`, `12h`, `forever`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    pub duplicates: Option<Spanned<String>>,
    pub history: Option<Spanned<String>>,
    pub finished: Option<Spanned<String>>,
    pub audit: Option<Spanned<String>>,
    pub interval: Option<Spanned<String>>,
}

/// A mistake in the file, and its place.
#[derive(Debug)]
pub(crate) struct Fault {
    pub span: Option<Range<usize>>,
    pub reason: String,
}

impl Fault {
    pub(crate) fn at(span: Range<usize>, reason: String) -> Self {
        Self { span: Some(span), reason }
    }

    /// The mistake as `file:line: reason`.
    pub(crate) fn describe(&self, file: &str, text: &str) -> String {
        match &self.span {
            Some(span) => format!("{file}:{}: {}", files::line_of(text, span.start), self.reason),
            None => format!("{file}: {}", self.reason),
        }
    }
}

impl ConfigFile {
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        toml::from_str(text).map_err(|error| {
            let span = error.span();
            let key = span.as_ref().and_then(|span| key_at(text, span.start));
            // The parser's message may have several lines; the first one names the mistake.
            let message = error.message().lines().next().unwrap_or_default();
            let message = &without_text(message);
            let reason = match key {
                Some(key) => format!("`{key}`: {message}"),
                None => message.to_owned(),
            };
            Fault { span, reason }
        })
    }
}

/// Removes the text that the file has where another type is expected. It may be a secret.
fn without_text(message: &str) -> String {
    const FOUND: &str = "invalid type: string \"";
    match (message.split_once(FOUND), message.rsplit_once("\", expected")) {
        (Some((before, _)), Some((_, after))) => {
            format!("{before}invalid type: a string, expected{after}")
        }
        _ => message.to_owned(),
    }
}

/// The key in the line of this place, with its table.
fn key_at(text: &str, place: usize) -> Option<String> {
    let lines: Vec<_> = text.lines().take(files::line_of(text, place)).map(str::trim).collect();
    let (last, before) = lines.split_last()?;
    let header = |line: &&str| line.starts_with('[') && line.ends_with(']');
    if header(last) {
        return Some(last.trim_matches(['[', ']']).to_owned());
    }
    let (key, _) = last.split_once('=')?;
    let table = before.iter().rev().find(|line| header(line));
    let prefix =
        table.map(|line| format!("{}.", line.trim_matches(['[', ']']))).unwrap_or_default();
    Some(format!("{prefix}{}", key.trim()))
}
