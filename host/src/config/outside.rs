//! The resolved settings of sinks and lookups.
//!
//! Files and environment variables with secrets are read when the host starts, not here. So a
//! configuration can be checked on a machine that does not have them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::{HeaderName, header};
use sagabox_engine::seams::transport::Order;
use serde::Deserialize;

use crate::io::lookup::KEY;
use crate::io::secrets::{Given, SecretUrl};
use crate::io::sinks::{Destination, Meaning, SinkSettings, StatusRules};
use crate::telemetry::settings::TelemetrySettings;

const SINK_TIMEOUT: Duration = Duration::from_secs(30);
const SINK_IN_FLIGHT: usize = 32;
/// The most concurrent requests of a sink. Each one uses a connection, and so a file descriptor.
const SINK_IN_FLIGHT_MAX: usize = 1024;
/// The accepted timeouts. No server answers within zero time, and a message that waits for an
/// hour delays its key.
pub(crate) const TIMEOUT_MS: RangeInclusive<u64> = 1..=3_600_000;
/// The headers that the HTTP binding sets.
const OWN_HEADERS: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("traceparent"),
];
/// Between two exports of metrics. Receivers commonly expect one a minute; more often than ten
/// times a second has no use.
const METRICS_INTERVAL_MS: u64 = 60_000;
const METRICS_INTERVALS_MS: std::ops::RangeInclusive<u64> = 100..=3_600_000;
/// The prefix of the names of queues in the store. A sink cannot have such a name.
const QUEUE_PREFIX: &str = "queue:";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SinkSection {
    pub url: Option<Given>,
    pub file: Option<PathBuf>,
    pub stdout: Option<bool>,
    pub order: Option<WrittenOrder>,
    pub timeout_ms: Option<u64>,
    pub in_flight: Option<usize>,
    #[serde(default)]
    pub headers: Headers,
    #[serde(default)]
    pub status: BTreeMap<String, Meaning>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WrittenOrder {
    None,
    Key,
    Whole,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LookupSection {
    pub url: Option<Given>,
    pub table: Option<PathBuf>,
    pub timeout_ms: Option<u64>,
    #[serde(default)]
    pub headers: Headers,
    #[serde(default)]
    pub plugins: BTreeSet<String>,
}

/// Where traces and metrics are exported.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TelemetrySection {
    pub endpoint: Option<Given>,
    #[serde(default)]
    pub headers: Headers,
    pub timeout_ms: Option<u64>,
    pub sample: Option<f64>,
    pub service_name: Option<String>,
    pub metrics: Option<bool>,
    pub metrics_interval_ms: Option<u64>,
}

/// Headers, by name.
#[derive(Debug, Default)]
pub(crate) struct Headers(pub BTreeMap<String, Given>);

/// Not derived, because serde's message would repeat a secret that is in the place of the table.
impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;

        let value = toml::Value::deserialize(deserializer)?;
        let toml::Value::Table(table) = value else {
            return Err(D::Error::custom("expected a table of headers"));
        };
        let given = |(name, value): (String, toml::Value)| {
            let given = Given::deserialize(value)
                .map_err(|error| D::Error::custom(format_args!("{name}: {}", error.message())))?;
            Ok((name, given))
        };
        table.into_iter().map(given).collect::<Result<_, _>>().map(Self)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupSettings {
    pub source: LookupSource,
    pub plugins: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupSource {
    Url { template: Given, timeout: Duration, headers: Vec<(HeaderName, Given)> },
    Table(PathBuf),
}

pub(crate) fn sink(
    name: &str,
    section: SinkSection,
    directory: &Path,
) -> Result<SinkSettings, String> {
    if name.starts_with(QUEUE_PREFIX) {
        return Err(format!("sink.{name}: names that begin with `{QUEUE_PREFIX}` are the host's"));
    }
    let http_only = section.timeout_ms.is_some()
        || section.in_flight.is_some()
        || !section.headers.0.is_empty()
        || !section.status.is_empty();
    let to = match (section.url, section.file, section.stdout) {
        (None, Some(_), None) | (None, None, Some(true)) if http_only => {
            return Err(format!(
                "sink.{name}: timeout_ms, in_flight, headers and status need a `url`"
            ));
        }
        (Some(url), None, None) => {
            let in_flight = section.in_flight.unwrap_or(SINK_IN_FLIGHT);
            if !(1..=SINK_IN_FLIGHT_MAX).contains(&in_flight) {
                return Err(format!(
                    "sink.{name}.in_flight: is {in_flight}; accepted are 1 to {SINK_IN_FLIGHT_MAX}"
                ));
            }
            let mut status = StatusRules::default();
            for (said, meaning) in &section.status {
                let added = status.add(said, *meaning);
                added.map_err(|reason| format!("sink.{name}.status: {reason}"))?;
            }
            if let Given::Value(url) = &url {
                web(&format!("sink.{name}.url"), url.expose())?;
            }
            Destination::Http {
                url: url.under(directory),
                timeout: timeout(&format!("sink.{name}"), section.timeout_ms)?,
                in_flight,
                headers: headers(&format!("sink.{name}"), section.headers, directory)?,
                status,
            }
        }
        (None, Some(file), None) => Destination::File(directory.join(file)),
        (None, None, Some(true)) => Destination::Stdout,
        _ => {
            return Err(format!(
                "sink.{name}: needs exactly one of `url = \"http…\"`, `file = \"…\"`, \
                 `stdout = true`"
            ));
        }
    };
    let order = match section.order {
        None | Some(WrittenOrder::Key) => Order::Key,
        Some(WrittenOrder::None) => Order::None,
        Some(WrittenOrder::Whole) => Order::Whole,
    };
    Ok(SinkSettings { to, order })
}

pub(crate) fn lookup(
    name: &str,
    section: LookupSection,
    directory: &Path,
) -> Result<LookupSettings, String> {
    let http_only = section.timeout_ms.is_some() || !section.headers.0.is_empty();
    let source = match (section.url, section.table) {
        (Some(template), None) => {
            if let Given::Value(text) = &template {
                check_template(text.expose())
                    .map_err(|reason| format!("lookup.{name}.url: {reason}"))?;
            }
            LookupSource::Url {
                template: template.under(directory),
                timeout: timeout(&format!("lookup.{name}"), section.timeout_ms)?,
                headers: headers(&format!("lookup.{name}"), section.headers, directory)?,
            }
        }
        (None, Some(_)) if http_only => {
            return Err(format!("lookup.{name}: timeout_ms and headers need a `url`"));
        }
        (None, Some(table)) => LookupSource::Table(directory.join(table)),
        _ => {
            return Err(format!(
                "lookup.{name}: needs exactly one of `url = \"http…/{KEY}\"`, `table = \"….json\"`"
            ));
        }
    };
    Ok(LookupSettings { source, plugins: section.plugins })
}

pub(crate) fn telemetry(
    section: TelemetrySection,
    directory: &Path,
) -> Result<TelemetrySettings, String> {
    const NAME: &str = "telemetry";
    let Some(endpoint) = section.endpoint else {
        return Err(format!(
            "{NAME}.endpoint: is required; name the base URL of an OTLP/HTTP receiver, such as \
             http://localhost:4318"
        ));
    };
    if let Given::Value(url) = &endpoint {
        web(&format!("{NAME}.endpoint"), url.expose())?;
    }
    let sample = section.sample.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&sample) {
        return Err(format!("{NAME}.sample: is {sample}; accepted are 0 to 1"));
    }
    let interval_ms = section.metrics_interval_ms.unwrap_or(METRICS_INTERVAL_MS);
    if !METRICS_INTERVALS_MS.contains(&interval_ms) {
        return Err(format!(
            "{NAME}.metrics_interval_ms: is {interval_ms}; accepted are {} to {}",
            METRICS_INTERVALS_MS.start(),
            METRICS_INTERVALS_MS.end()
        ));
    }
    let interval = Duration::from_millis(interval_ms);
    Ok(TelemetrySettings {
        endpoint: endpoint.under(directory),
        headers: headers(NAME, section.headers, directory)?,
        timeout: timeout(NAME, section.timeout_ms)?,
        sample,
        service_name: section.service_name.unwrap_or_else(|| "sagabox".to_owned()),
        metrics_interval: section.metrics.unwrap_or(true).then_some(interval),
    })
}

/// Checks the URL of a lookup, which must have the placeholder for the key.
///
/// # Errors
/// Says what is wrong with it, without repeating the text.
pub fn check_template(template: &str) -> Result<(), String> {
    SecretUrl::parse(template)?;
    match template.contains(KEY) {
        true => Ok(()),
        false => Err(format!("must contain the placeholder `{KEY}` for the key")),
    }
}

fn timeout(section: &str, said: Option<u64>) -> Result<Duration, String> {
    match said {
        None => Ok(SINK_TIMEOUT),
        Some(ms) if TIMEOUT_MS.contains(&ms) => Ok(Duration::from_millis(ms)),
        Some(ms) => Err(format!(
            "{section}.timeout_ms: is {ms}; accepted are {} to {}",
            TIMEOUT_MS.start(),
            TIMEOUT_MS.end()
        )),
    }
}

fn headers(
    section: &str,
    said: Headers,
    directory: &Path,
) -> Result<Vec<(HeaderName, Given)>, String> {
    let header = |(name, given): (String, Given)| {
        let wrong = |why: &str| format!("{section}.headers.{name}: {why}");
        let parsed: HeaderName =
            name.parse().map_err(|_| wrong("is not a valid name of a header"))?;
        if OWN_HEADERS.contains(&parsed) || parsed.as_str().starts_with("ce-") {
            return Err(wrong("the host itself sets it"));
        }
        Ok((parsed, given.under(directory)))
    };
    said.0.into_iter().map(header).collect()
}

fn web(key: &str, text: &str) -> Result<SecretUrl, String> {
    SecretUrl::parse(text).map_err(|reason| format!("{key}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::super::{Overrides, Settings, parse};
    use super::*;

    fn read(text: &str) -> anyhow::Result<Settings> {
        parse(text, "sagabox.toml", Path::new("/etc/sagabox"), Overrides::default())
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = read(text).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_sink_is_one_thing() {
        check(
            "[sink.a]\nurl = \"http://x\"\nfile = \"y\"",
            "sagabox.toml:1: sink.a: needs exactly one of `url = \"http…\"`, `file = \"…\"`, \
             `stdout = true`",
        );
        check(
            "[sink.a]\nurl = \"ftp://x\"",
            "sagabox.toml:1: sink.a.url: has the scheme `ftp`; only http and https are supported",
        );
        check(
            "[sink.a]\nurl = \"http://x\"\nin_flight = 0",
            "sagabox.toml:1: sink.a.in_flight: is 0; accepted are 1 to 1024",
        );
        check(
            "[sink.\"queue:a\"]\nstdout = true",
            "sagabox.toml:1: sink.queue:a: names that begin with `queue:` are the host's",
        );
    }

    #[test]
    fn a_lookup_says_where_the_key_goes() {
        check(
            "[lookup.stock]\nurl = \"http://x/stock\"",
            "sagabox.toml:1: lookup.stock.url: must contain the placeholder `{key}` for the key",
        );
        check(
            "[lookup.stock]",
            "sagabox.toml:1: lookup.stock: needs exactly one of `url = \"http…/{key}\"`, \
             `table = \"….json\"`",
        );
    }

    #[test]
    fn a_sink_says_its_order_its_headers_and_what_a_status_means() {
        let settings = read(
            r#"
            [sink.a]
            url = { env = "A_URL" }
            order = "whole"
            [sink.a.headers]
            Authorization = { file = "token" }
            X-Tenant = "blue"
            [sink.a.status]
            "404" = "message"
            "5xx" = "sink"
            "#,
        );
        let sink = settings.unwrap().sinks.remove("a").unwrap();
        assert_eq!(sink.order, Order::Whole);
        let Destination::Http { url, headers, .. } = sink.to else { panic!("{sink:?}") };
        assert_eq!(url, Given::Env("A_URL".to_owned()));
        let file = Given::File("/etc/sagabox/token".into());
        assert_eq!(headers[0], (header::AUTHORIZATION, file));
        assert_eq!(headers[1].0, "x-tenant");
        check(
            "[sink.a]\nurl = 'http://x'\n[sink.a.status]\n\"4x\" = \"message\"",
            "sagabox.toml:1: sink.a.status: `4x` is not a status; write for example \"404\" or \"4xx\" \
             (100 to 599)",
        );
        check(
            "[sink.a]\nurl = 'http://x'\nheaders = { ce-id = 'x' }",
            "sagabox.toml:1: sink.a.headers.ce-id: the host itself sets it",
        );
        check(
            "[sink.a]\nfile = 'x'\nheaders = { a = 'x' }",
            "sagabox.toml:1: sink.a: timeout_ms, in_flight, headers and status need a `url`",
        );
    }

    #[test]
    fn telemetry_names_its_receiver() {
        let settings = read(
            "[telemetry]\nendpoint = 'http://x:4318'\nsample = 0.01\n\
             headers = { authorization = { env = 'OTLP' } }\nmetrics = false",
        );
        let settings = settings.unwrap().telemetry.unwrap();
        assert_eq!((settings.sample, settings.metrics_interval), (0.01, None));
        assert_eq!(settings.service_name, "sagabox");
        check(
            "[telemetry]\nsample = 0.5",
            "sagabox.toml:1: telemetry.endpoint: is required; name the base URL of an OTLP/HTTP \
             receiver, such as http://localhost:4318",
        );
        for sample in ["1.5", "-1", "nan"] {
            let text = format!("[telemetry]\nendpoint = 'http://x'\nsample = {sample}");
            let error = read(&text).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("telemetry.sample: is"), "{error}");
        }
        check(
            "[telemetry]\nendpoint = 'http://x'\nmetrics_interval_ms = 1",
            "sagabox.toml:1: telemetry.metrics_interval_ms: is 1; accepted are 100 to 3600000",
        );
    }

    #[test]
    fn no_time_at_all_is_refused() {
        for (text, key) in [
            ("[sink.a]\nurl = 'http://x'\ntimeout_ms = 0", "1: sink.a.timeout_ms"),
            ("[lookup.a]\nurl = 'http://x/{key}'\ntimeout_ms = 0", "1: lookup.a.timeout_ms"),
            ("[limits]\nlookup_timeout_ms = 0", "2: limits.lookup_timeout_ms"),
        ] {
            check(text, &format!("sagabox.toml:{key}: is 0; accepted are 1 to 3600000"));
        }
        for key in ["delay_ms_min", "delay_ms_max"] {
            let expected = format!("sagabox.toml:2: retry.{key}: is 0; accepted are 1 to 86400000");
            check(&format!("[retry]\n{key} = 0"), &expected);
        }
    }

    #[test]
    fn no_mistake_repeats_a_secret() {
        for text in [
            "[sink.a]\nurl = 'http://ada:hunter2@h:port'",
            "[sink.a]\nurl = ['http://ada:hunter2@h']",
            "[sink.a]\nurl = 'ftp://ada:hunter2@h'",
            "sink.a = 'http://ada:hunter2@h'",
            "[sink.a]\nurl = 'http://h'\nheaders = 'hunter2'",
            "[sink.a]\nurl = 'http://h'\nheaders = { a = ['hunter2'] }",
            "[sink.a]\nurl = 'http://h'\nheaders = { a = { b = 'hunter2' } }",
            "[sink.a]\nurl = 'http://h'\ntimeout_ms = 'hunter2'",
            "[telemetry]\nendpoint = 'http://ada:hunter2@h:port'",
            "telemetry = 'http://ada:hunter2@h'",
            "[telemetry]\nendpoint = 'http://h'\nheaders = { a = ['hunter2'] }",
            "[lookup.a]\nurl = 'http://ada:hunter2@h/'",
            "[lookup.a]\nurl = 'http://ada:hunter2@h/{key}'\ntable = 'x'",
        ] {
            let error = format!("{:#}", read(text).map(|_| ()).unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
        }
        let settings = read(
            "[sink.a]\nurl = 'http://ada:hunter2@h?t=hunter2'\nheaders = { a = 'hunter2' }\n\
             [lookup.a]\nurl = 'http://ada:hunter2@h/{key}'\nheaders = { a = 'hunter2' }",
        );
        let shown = format!("{:?}", settings.unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
