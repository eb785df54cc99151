//! File, environment and flags, resolved once into settings.
//!
//! The file is `sagabox.toml`. Environment variables (`SAGABOX_…`) and flags override it; the
//! command line reads both and passes them on together. Paths in the file are relative to the
//! file. An error names file, line and key.

mod changes;
mod file;
mod limits;
mod login;
mod outside;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use sagabox_engine::engine::{self, Missed};
use sagabox_engine::model::Retention;
use toml::Spanned;

use crate::alerts::AlertSettings;
use crate::api::{self, AccessSettings, HostName, Limits, Timeouts, TlsSettings};
use crate::io::durations;
use crate::io::files;
use crate::io::sinks::SinkSettings;
use crate::plugins::factory;
use crate::plugins::reload;
use crate::plugins::trust::{Key, LockRule, Policy};
use crate::plugins::wasm;
use crate::telemetry::settings::TelemetrySettings;
pub use changes::{Keys, is_applied};
use file::{
    AlertsSection, ApiSection, ConfigFile, Fault, HttpSection, PluginsSection, Retry, TlsSection,
};
pub use file::{LogFormat, Mcp};
pub use outside::{LookupSettings, LookupSource, check_template};
use outside::{lookup, sink, telemetry};

/// The file that is read if no other file is named and this one exists.
pub const FILE: &str = "sagabox.toml";
const LISTEN: &str = "127.0.0.1:8321";
/// The store that is used if none is named.
pub const STORE: &str = "sqlite:sagabox.db";
/// The accepted delays between retries. A delay of zero would be a busy loop; after one of more
/// than a day, no operator would remember the cause.
const RETRY_DELAY_MS: std::ops::RangeInclusive<u64> = 1..=86_400_000;
/// Alerts repeat once an hour while their cause lasts. A period of less than a second would make as
/// many alerts as looks.
const ALERT_PERIOD: Duration = Duration::from_hours(1);
const ALERT_PERIOD_MIN: Duration = Duration::from_secs(1);
/// Between two looks at the host, which ask every queue.
const ALERT_INTERVAL_MS: u64 = 5_000;
const ALERT_INTERVALS_MS: std::ops::RangeInclusive<u64> = 100..=3_600_000;
/// Some seconds of work of a plugin.
const ALERT_LAG_EVENTS: u64 = 100_000;
/// The duration of data that is never removed.
const FOREVER: &str = "forever";
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
        check_listen(&address.to_string(), is_protected).map_err(|fault| fault.reason)
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
    let mut sinks = BTreeMap::new();
    for (name, section) in file.sink {
        let span = section.span();
        let settings = sink(&name, section.into_inner(), directory);
        sinks.insert(name, settings.map_err(|reason| Fault::at(span, reason))?);
    }
    let mut routes = BTreeMap::new();
    for (message_type, sink) in file.routes {
        if !sinks.contains_key(sink.get_ref()) {
            let sink_name = sink.get_ref();
            let reason = format!(
                "routes.\"{message_type}\": sink `{sink_name}` is not configured; add [sink.{sink_name}]{}",
                known(sinks.keys())
            );
            return Err(Fault::at(sink.span(), reason));
        }
        routes.insert(message_type, sink.into_inner());
    }
    let mut lookups = BTreeMap::new();
    for (name, section) in file.lookup {
        let span = section.span();
        let settings = lookup(&name, section.into_inner(), directory);
        lookups.insert(name, settings.map_err(|reason| Fault::at(span, reason))?);
    }
    let telemetry = match file.telemetry {
        Some(section) => {
            let span = section.span();
            let settings = telemetry(section.into_inner(), directory);
            Some(settings.map_err(|reason| Fault::at(span, reason))?)
        }
        None => None,
    };
    let alerts = file.alerts.map(alert_settings).transpose()?;
    let limits = file.limits;
    let sandbox = wasm::Settings {
        strict: overrides.strict || file.strict.unwrap_or(false),
        trust: trust(&file.plugins, directory)?,
        ..limits.sandbox()?
    };
    let mut plugins = BTreeMap::new();
    let mut own_limits = BTreeMap::new();
    for (name, section) in file.plugin {
        own_limits.insert(name.clone(), section.limits.resolve(&sandbox.limits)?);
        plugins.insert(name, serde_json::Value::Object(section.own));
    }
    let sandbox = wasm::Settings { plugins: own_limits, ..sandbox };
    let engine = engine_settings(&file.retry, &file.retention, &limits)?;
    let listen = overrides.listen.or(file.listen).unwrap_or_else(|| LISTEN.to_owned());
    let tls = file.tls.map(|said| tls_settings(said, directory)).transpose()?;
    let local = overrides.local_without_token;
    let access = access_settings(&file.api, &file.retention, local, tls.is_some())?;
    let login = login::login(file.login, &access.login, directory)?;
    let access = AccessSettings { login, ..access };
    check_listen(&listen, access.behind_proxy || tls.is_some())?;
    Ok(Settings {
        store: overrides.store.or(file.store).unwrap_or_else(|| STORE.to_owned()),
        http: http_settings(&file.http, &listen)?,
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
        sandbox,
        hot: hot_settings(&file.plugins),
        limits: limits.of_requests(),
        validate: file.ingest.validate.unwrap_or(false),
        drain: limits.drain(),
        telemetry,
        alerts,
        engine,
    })
}

fn alert_settings(section: Spanned<AlertsSection>) -> Result<AlertSettings, Fault> {
    let span = section.span();
    let said = section.into_inner();
    let fault = |reason: String| Fault::at(span.clone(), reason);
    let period = match &said.period {
        None => ALERT_PERIOD,
        Some(text) => durations::duration(text)
            .ok()
            .filter(|period| *period >= ALERT_PERIOD_MIN)
            .ok_or_else(|| {
            fault(format!(
                "alerts.period: `{text}` is not a duration of a second or more; write for \
                     example \"1h\""
            ))
        })?,
    };
    let interval_ms = said.interval_ms.unwrap_or(ALERT_INTERVAL_MS);
    if !ALERT_INTERVALS_MS.contains(&interval_ms) {
        let range = (ALERT_INTERVALS_MS.start(), ALERT_INTERVALS_MS.end());
        return Err(fault(format!(
            "alerts.interval_ms: is {interval_ms}; accepted are {} to {}",
            range.0, range.1
        )));
    }
    let lag_events = said.lag_events.unwrap_or(ALERT_LAG_EVENTS);
    let interval = Duration::from_millis(interval_ms);
    Ok(AlertSettings { period, interval, lag_events: (lag_events > 0).then_some(lag_events) })
}

fn http_settings(said: &HttpSection, listen: &str) -> Result<api::Settings, Fault> {
    let name = |said: &Spanned<String>| {
        let name = HostName::parse(said.get_ref());
        name.map_err(|reason| Fault::at(said.span(), format!("http.hosts: {reason}")))
    };
    let mut hosts: Vec<HostName> = said.hosts.iter().map(name).collect::<Result<_, _>>()?;
    // The address at which the host listens is one of its names.
    let (own, _) = listen.rsplit_once(':').unwrap_or((listen, ""));
    hosts.extend(HostName::parse(own).ok());
    let default = api::Settings::default();
    let ms = |said: Option<NonZeroU64>, default| {
        said.map_or(default, |ms| Duration::from_millis(ms.get()))
    };
    Ok(api::Settings {
        hosts,
        connections: said.connections.map_or(default.connections, NonZeroUsize::get),
        timeouts: Timeouts {
            header: ms(said.header_timeout_ms, default.timeouts.header),
            body: ms(said.body_timeout_ms, default.timeouts.body),
            idle: ms(said.idle_timeout_ms, default.timeouts.idle),
            write: ms(said.write_timeout_ms, default.timeouts.write),
        },
    })
}

fn access_settings(
    said: &ApiSection,
    retention: &file::Retention,
    local_without_token: bool,
    has_tls: bool,
) -> Result<AccessSettings, Fault> {
    let default = AccessSettings::default();
    let settings = AccessSettings {
        local_without_token: local_without_token || said.local_without_token.unwrap_or(false),
        behind_proxy: said.behind_proxy.unwrap_or(false),
        is_secure: has_tls || said.behind_proxy.unwrap_or(false),
        audit: age(retention.audit.as_ref(), default.audit)?,
        rate: said.rate,
        ..default
    };
    let fault = |reason: String| Err(Fault { span: None, reason });
    if settings.local_without_token && settings.behind_proxy {
        return fault(
            "api: local_without_token and behind_proxy exclude each other: what a proxy on this \
             machine forwards would need no token"
                .to_owned(),
        );
    }
    Ok(settings)
}

fn tls_settings(said: Spanned<TlsSection>, directory: &Path) -> Result<TlsSettings, Fault> {
    let span = said.span();
    let TlsSection { certificate, key, client_roots, client_certificates } = said.into_inner();
    let missing = |name| {
        let reason = format!("tls.{name}: is required; name a file in the PEM format");
        Fault::at(span.clone(), reason)
    };
    Ok(TlsSettings {
        certificate: directory.join(certificate.ok_or_else(|| missing("certificate"))?),
        key: directory.join(key.ok_or_else(|| missing("key"))?),
        client_roots: client_roots.map(|path| directory.join(path)),
        client_optional: client_certificates == Some(file::ClientCertificates::Optional),
    })
}

/// Tokens and events cross no network where they can be read.
fn check_listen(listen: &str, is_protected: bool) -> Result<(), Fault> {
    if is_protected || is_local(listen) {
        return Ok(());
    }
    let reason = format!(
        "listen: other machines reach {listen}, and without TLS tokens and events could be read on \
         the way; configure [tls], or listen on 127.0.0.1 or [::1], or put a proxy with TLS before \
         the host and set `behind_proxy = true` under [api]"
    );
    Err(Fault { span: None, reason })
}

/// Whether only this machine reaches an address.
fn is_local(listen: &str) -> bool {
    let (host, _) = listen.rsplit_once(':').unwrap_or((listen, ""));
    let host = host.trim_matches(['[', ']']);
    let is_loopback = |address: std::net::IpAddr| address.to_canonical().is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
}

fn trust(said: &PluginsSection, directory: &Path) -> Result<Policy, Fault> {
    let key = |said: &Spanned<String>| {
        let key = Key::read(said.get_ref(), directory);
        key.map_err(|reason| Fault::at(said.span(), format!("plugins.keys: {reason}")))
    };
    let lock = match said.locked.unwrap_or(false) {
        true => LockRule::Demanded,
        false => LockRule::WhenThere,
    };
    Ok(Policy { keys: said.keys.iter().map(key).collect::<Result<_, _>>()?, lock })
}

fn hot_settings(said: &PluginsSection) -> reload::Settings {
    let default = reload::Settings::default();
    let poll = said.poll_ms.map(|ms| Duration::from_millis(ms.get())).or(default.poll);
    reload::Settings {
        poll: poll.filter(|_| said.watch.unwrap_or(true)),
        preflight: match said.preflight {
            None => default.preflight,
            Some(file::Preflight::Refuse) => factory::Preflight::Refuse,
            Some(file::Preflight::Report) => factory::Preflight::Report,
        },
        missed: match said.missed {
            None => default.missed,
            Some(file::Missed::Handle) => Missed::Handle,
            Some(file::Missed::Ignore) => Missed::Ignore,
        },
    }
}

fn known<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    if names.is_empty() { String::new() } else { format!(" (configured: {})", names.join(", ")) }
}

fn retention(file: &file::Retention) -> Result<Retention, Fault> {
    let default = Retention::default();
    Ok(Retention {
        duplicates: age(file.duplicates.as_ref(), default.duplicates)?,
        history: age(file.history.as_ref(), default.history)?,
        finished: age(file.finished.as_ref(), default.finished)?,
        interval: file.interval.as_ref().map_or(Ok(default.interval), duration)?,
    })
}

fn age(
    given: Option<&Spanned<String>>,
    default: Option<Duration>,
) -> Result<Option<Duration>, Fault> {
    match given {
        None => Ok(default),
        Some(text) if text.get_ref() == FOREVER => Ok(None),
        Some(text) => duration(text).map(Some),
    }
}

fn duration(text: &Spanned<String>) -> Result<Duration, Fault> {
    let given = text.get_ref();
    let length = durations::duration(given).ok().filter(|duration| !duration.is_zero());
    length.ok_or_else(|| {
        let reason = format!(
            "retention: `{given}` is not a duration; write for example \"30d\", \"12h\" or \"{FOREVER}\""
        );
        Fault::at(text.span(), reason)
    })
}

fn engine_settings(
    retry: &Retry,
    retention: &file::Retention,
    limits: &limits::Limits,
) -> Result<engine::Settings, Fault> {
    let default = limits.engine()?;
    let settings = engine::Settings {
        attempts_max: retry.attempts.map_or(default.attempts_max, NonZeroU32::get),
        retry_delay_min: millis("retry.delay_ms_min", retry.delay_ms_min.as_ref(), RETRY_DELAY_MS)?
            .unwrap_or(default.retry_delay_min),
        retry_delay_max: millis("retry.delay_ms_max", retry.delay_ms_max.as_ref(), RETRY_DELAY_MS)?
            .unwrap_or(default.retry_delay_max),
        retention: self::retention(retention)?,
        ..default
    };
    if settings.retry_delay_min > settings.retry_delay_max {
        let place = retry.delay_ms_min.as_ref().or(retry.delay_ms_max.as_ref());
        return Err(Fault {
            span: place.map(Spanned::span),
            reason: format!(
                "retry: delay_ms_min ({}) is more than delay_ms_max ({})",
                settings.retry_delay_min.as_millis(),
                settings.retry_delay_max.as_millis()
            ),
        });
    }
    Ok(settings)
}

fn millis(
    key: &str,
    said: Option<&Spanned<u64>>,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<Duration>, Fault> {
    let Some(said) = said else { return Ok(None) };
    let ms = *said.get_ref();
    match range.contains(&ms) {
        true => Ok(Some(Duration::from_millis(ms))),
        false => Err(Fault::at(
            said.span(),
            format!("{key}: is {ms}; accepted are {} to {}", range.start(), range.end()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use sagabox_engine::seams::transport::Order;

    use super::limits::BULK_TIME;
    use super::*;
    use crate::io::sinks::Destination;

    fn read(text: &str, overrides: Overrides) -> anyhow::Result<Settings> {
        parse(text, "sagabox.toml", Path::new("/etc/sagabox"), overrides)
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = read(text, Overrides::default()).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn nothing_at_all_is_a_configuration() {
        let settings = read("", Overrides::default()).unwrap();
        assert_eq!(settings.listen, "127.0.0.1:8321");
        assert_eq!(settings.store, "sqlite:sagabox.db");
        assert_eq!(
            settings.limits,
            Limits { body_bytes: 4_194_304, batch_events: 10_000, bulk_time: BULK_TIME }
        );
    }

    #[test]
    fn alerts_are_sent_only_if_that_is_wanted() {
        let settings = |text| read(text, Overrides::default()).unwrap().alerts;
        assert_eq!(settings(""), None);
        let usual = settings("[alerts]").unwrap();
        assert_eq!((usual.period.as_secs(), usual.lag_events), (3_600, Some(100_000)));
        assert_eq!(settings("[alerts]\nlag_events = 0").unwrap().lag_events, None);
        check(
            "[alerts]\nperiod = 'now'",
            "sagabox.toml:1: alerts.period: `now` is not a duration of a second or more; write for \
             example \"1h\"",
        );
        check(
            "[alerts]\ninterval_ms = 1",
            "sagabox.toml:1: alerts.interval_ms: is 1; accepted are 100 to 3600000",
        );
    }

    #[test]
    fn flags_override_the_file() {
        let overrides =
            Overrides { listen: Some("127.0.0.1:0".to_owned()), ..Overrides::default() };
        let settings = read("listen = '0.0.0.0:1'\nstore = 'sqlite:a.db'", overrides).unwrap();
        assert_eq!((&*settings.listen, &*settings.store), ("127.0.0.1:0", "sqlite:a.db"));
    }

    #[test]
    fn everything_can_be_said() {
        let settings = read(
            r#"
            [limits]
            body_bytes = 1000
            drain_ms = 5
            shards = 4
            [retry]
            attempts = 3
            delay_ms_min = 1
            delay_ms_max = 9
            [sink.billing]
            url = "http://billing/in"
            in_flight = 4
            [sink.log]
            file = "out.ndjson"
            [sink.screen]
            stdout = true
            [routes]
            RequestPayment = "billing"
            "com.example.Paid" = "log"
            [lookup.stock]
            url = "http://stock/{key}"
            plugins = ["shipment"]
            [lookup.price]
            table = "prices.json"
            [plugin.order-saga]
            currency = "EUR"
            rates = [1, 2.5]
            "#,
            Overrides::default(),
        )
        .unwrap();
        assert_eq!(
            settings.sinks["log"],
            SinkSettings {
                to: Destination::File("/etc/sagabox/out.ndjson".into()),
                order: Order::Key
            }
        );
        assert_eq!(settings.routes["com.example.Paid"], "log");
        assert!(settings.lookups["stock"].plugins.contains("shipment"));
        let expected = serde_json::json!({ "currency": "EUR", "rates": [1, 2.5] });
        assert_eq!(settings.plugins["order-saga"], expected);
        assert_eq!((settings.engine.shards, settings.engine.attempts_max), (4, 3));
    }

    #[test]
    fn other_machines_reach_a_host_behind_a_proxy_alone() {
        let access = |text: &str| read(text, Overrides::default()).map(|settings| settings.access);
        for local in
            ["127.0.0.1:0", "[::1]:1", "localhost:8321", "127.9.9.9:1", "[::ffff:127.0.0.1]:1"]
        {
            assert_eq!(access(&format!("listen = '{local}'")).unwrap(), AccessSettings::default());
        }
        for reached in ["0.0.0.0:0", "[::]:1", "10.0.0.5:1", "sagabox.example:1", ":1", "::1"] {
            let refused = access(&format!("listen = '{reached}'")).unwrap_err().to_string();
            assert!(refused.contains("behind_proxy"), "{reached}: {refused}");
            let text = format!("listen = '{reached}'\n[api]\nbehind_proxy = true");
            assert!(access(&text).unwrap().behind_proxy);
        }
        let both = "[api]\nbehind_proxy = true\nlocal_without_token = true";
        assert!(access(both).unwrap_err().to_string().contains("exclude each other"));
        let overrides = Overrides { local_without_token: true, ..Overrides::default() };
        assert!(read("", overrides).unwrap().access.local_without_token);
        let forever = access("[retention]\naudit = 'forever'").unwrap();
        assert_eq!(forever.audit, None);
    }

    #[test]
    fn how_plugins_come_and_go_can_be_said() {
        let hot = |text| read(text, Overrides::default()).unwrap().hot;
        assert_eq!(hot(""), reload::Settings::default());
        assert_eq!(hot("[plugins]\nwatch = false\npoll_ms = 9").poll, None);
        let all = hot("[plugins]\npoll_ms = 9\npreflight = 'report'\nmissed = 'ignore'");
        let poll = Some(Duration::from_millis(9));
        let preflight = factory::Preflight::Report;
        assert_eq!(all, reload::Settings { poll, preflight, missed: Missed::Ignore });
    }

    #[test]
    fn whom_to_trust_can_be_said() {
        let trust = |text: &str| read(text, Overrides::default()).map(|said| said.sandbox.trust);
        let rule = trust("").unwrap();
        assert_eq!((rule.keys.len(), rule.lock), (0, LockRule::WhenThere));
        let key = minisign::KeyPair::generate_unencrypted_keypair().unwrap().pk;
        let file = tempfile::Builder::new().suffix(".pub").tempfile().unwrap();
        std::fs::write(file.path(), key.to_box().unwrap().to_string()).unwrap();
        let text = format!(
            "[plugins]\nkeys = [\"{}\", \"{}\"]\nlocked = true",
            key.to_base64(),
            file.path().display()
        );
        let rule = trust(&text).unwrap();
        assert_eq!(rule.keys.len(), 2);
        assert_eq!(rule.lock, LockRule::Demanded);
        check(
            "[plugins]\nkeys = [\n  \"secret\",\n]",
            "sagabox.toml:3: plugins.keys: `secret` is not a public key of minisign; write for example \
             \"RWQ…\", or the name of its file, \"minisign.pub\"",
        );
        let error = trust("[plugins]\nkeys = ['no.pub']").unwrap_err().to_string();
        assert!(error.contains("the key /etc/sagabox/no.pub cannot be read"), "{error}");
    }

    #[test]
    fn a_mistake_names_file_line_and_key() {
        check(
            "\nlisten = 5",
            "sagabox.toml:2: `listen`: invalid type: integer `5`, expected a string",
        );
        check(
            "[limits]\n\nbody_byte = 5",
            "sagabox.toml:3: `limits.body_byte`: unknown field `body_byte`, expected one of \
             `body_bytes`, `batch_events`, `shards`, `lookup_timeout_ms`, `drain_ms`, \
             `instance_bytes`, `held_bytes`, `backlog_events`, `hops`, `stack_bytes`, `component_bytes`, \
             `compile_time_ms`, `compile_memory_bytes`, \
             `call_time_ms`, `memory_bytes`, `table_elements`, `decision_bytes`, `state_bytes`, \
             `messages`, `timers`, `keys`, `questions`, `log_lines`, `log_bytes`, `calls_per_instance`",
        );
        check(
            "[retry]\nattempts = 0",
            "sagabox.toml:2: `retry.attempts`: invalid value: integer `0`, expected a nonzero u32",
        );
        check(
            "[retry]\ndelay_ms_min = 5\ndelay_ms_max = 4",
            "sagabox.toml:2: retry: delay_ms_min (5) is more than delay_ms_max (4)",
        );
    }

    #[test]
    fn the_page_of_settings_names_them_all_and_their_defaults() {
        let page = include_str!("../../../CONFIGURATION.md");
        let (_, rest) = page.split_once("```toml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let (said, default) =
            (read(example, Overrides::default()).unwrap(), read("", Overrides::default()).unwrap());
        assert_eq!((&said.store, &said.listen), (&default.store, &default.listen));
        assert_eq!((said.limits, said.drain), (default.limits, default.drain));
        assert_eq!((said.validate, default.validate), (false, false));
        assert_eq!(format!("{:?}", said.engine), format!("{:?}", default.engine));
        assert_eq!(said.sandbox.limits, default.sandbox.limits);
        assert_eq!(said.sandbox.stack_bytes, default.sandbox.stack_bytes);
        assert_eq!(said.sandbox.component_bytes, default.sandbox.component_bytes);
        assert_eq!(said.sandbox.compile, default.sandbox.compile);
        assert_eq!(said.sandbox.trust, default.sandbox.trust);
        let plain = "[sink.orders]\nurl = 'http://127.0.0.1:9000/commands'";
        assert_eq!(
            said.sinks["orders"],
            read(plain, Overrides::default()).unwrap().sinks["orders"]
        );
        let unknown = read("[limits]\nno = 1", Overrides::default()).unwrap_err().to_string();
        let fields: Vec<&str> = unknown.split('`').skip(5).step_by(2).collect();
        assert!(fields.len() > 15, "{unknown}");
        for field in fields {
            assert!(example.contains(&format!("\n{field} = ")), "`{field}` is not on the page");
        }
    }

    #[test]
    fn what_is_done_with_is_kept_for_the_times_given() {
        let text =
            "[retention]\nduplicates = \"90 minutes\"\nhistory = \"forever\"\nfinished = \"2d\"";
        let retention = read(text, Overrides::default()).unwrap().engine.retention;
        let minutes = |n: u64| Some(Duration::from_secs(n * 60));
        assert_eq!(retention.duplicates, minutes(90));
        assert_eq!(retention.history, None);
        assert_eq!(retention.finished, minutes(2 * 24 * 60));
        assert_eq!(retention.interval, Retention::default().interval);
        for wrong in ["soon", "-1h", "0s"] {
            check(
                &format!("\n[retention]\nhistory = \"{wrong}\""),
                &format!(
                    "sagabox.toml:3: retention: `{wrong}` is not a duration; write for example \
                     \"30d\", \"12h\" or \"forever\""
                ),
            );
        }
    }

    #[test]
    fn a_plugin_has_its_own_limits_and_the_others_are_as_for_all() {
        let settings = read(
            "strict = true\n[limits]\ncall_time_ms = 200\nkeys = 5\nstack_bytes = 65536\n\
             [plugin.big]\nlevel = 3\n[plugin.big.limits]\nmemory_bytes = 268435456\nkeys = 7",
            Overrides::default(),
        )
        .unwrap();
        let sandbox = settings.sandbox;
        let expected = wasm::Limits {
            call_time: Duration::from_millis(200),
            keys: 5,
            ..wasm::Limits::default()
        };
        assert_eq!(sandbox.limits, expected);
        assert_eq!(
            sandbox.plugins["big"],
            wasm::Limits { memory_bytes: 256 << 20, keys: 7, ..expected }
        );
        assert_eq!((sandbox.stack_bytes, sandbox.strict), (65536, true));
        assert_eq!(settings.plugins["big"], serde_json::json!({ "level": 3 }));
    }

    #[test]
    fn a_limit_that_is_none_is_refused() {
        check(
            "[plugin.big.limits]\nshards = 5",
            "sagabox.toml:2: `plugin.big.limits.shards`: unknown field `shards`, expected one of \
             `call_time_ms`, `memory_bytes`, `table_elements`, `decision_bytes`, `state_bytes`, \
             `messages`, `timers`, `keys`, `questions`, `log_lines`, `log_bytes`, `calls_per_instance`",
        );
        check(
            "[limits]\nstack_bytes = 9000000",
            "sagabox.toml:2: limits.stack_bytes: is 9000000; accepted are 16384 to 1048576",
        );
        check(
            "[limits]\nmemory_bytes = 9000000000",
            "sagabox.toml:2: memory_bytes: is 9000000000; at most 4294967296 can be addressed",
        );
    }

    #[test]
    fn a_route_needs_its_sink() {
        check(
            "[routes]\nA = \"log\"\nRequestPayment = \"biling\"\n[sink.billing]\nstdout = true\n\
             [sink.log]\nstdout = true",
            "sagabox.toml:3: routes.\"RequestPayment\": sink `biling` is not configured; add \
             [sink.biling] (configured: billing, log)",
        );
    }
}
