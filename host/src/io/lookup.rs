//! Answers handlers' questions to the outside: over HTTP, or from a table in a file.
//!
//! A plugin gets an answer only from lookups that the operator has granted it
//! (guarantee 10).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::{Bytes, BytesMut};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Response};
use sagabox_engine::model::{AnswerValue, JSON, PluginName};
use sagabox_engine::seams::lookup::{Lookup, Unanswered};
use serde_json::value::RawValue;

use crate::io::figures;
use crate::io::files;
use crate::io::secrets::{Secret, is_loopback, shown_url};
use crate::io::sinks::{self, Meaning, OwnHeaders, StatusRules};

/// The most bytes of a table, which is in memory as a whole.
const TABLE_BYTES_MAX: usize = 256 << 20;
/// The most bytes of an answer. It is recorded with every decision that used it, so it has to
/// stay small.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// The placeholder for the key in a URL template.
pub const KEY: &str = "{key}";
/// All characters except the unreserved ones of RFC 3986, so that a key stays one path segment.
const UNRESERVED: &percent_encoding::AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// All lookups of the host.
#[derive(Default)]
pub struct Lookups(BTreeMap<String, Granted>);

struct Granted {
    source: Source,
    plugins: BTreeSet<String>,
}

/// The source of a lookup's answers.
pub enum Source {
    Http(HttpLookup),
    Table(Table),
}

impl Lookups {
    pub fn add(&mut self, name: &str, source: Source, plugins: impl IntoIterator<Item = String>) {
        let plugins = plugins.into_iter().collect();
        self.0.insert(name.to_owned(), Granted { source, plugins });
    }
}

#[async_trait]
impl Lookup for Lookups {
    async fn ask(
        &self,
        plugin: &PluginName,
        name: &str,
        key: &str,
    ) -> Result<AnswerValue, Unanswered> {
        let Some(granted) = self.0.get(name) else {
            let reason = format!("lookup `{name}` is not configured; add [lookup.{name}]");
            return Err(Unanswered::NotGranted(reason));
        };
        if !granted.plugins.contains(plugin.as_str()) {
            return Err(Unanswered::NotGranted(format!(
                "lookup `{name}` is not granted to {plugin}; add it to lookup.{name}.plugins"
            )));
        }
        let answer = match &granted.source {
            Source::Http(lookup) => lookup.ask(key).await,
            Source::Table(table) => Ok(table.ask(key)),
        };
        answer.map_err(|unanswered| unanswered.about(&format!("lookup `{name}`")))
    }
}

/// `GET` on a URL made from a template and the key.
pub struct HttpLookup {
    client: Client,
    template: Secret,
    /// The template without secrets, for display.
    shown: String,
    headers: OwnHeaders,
}

impl HttpLookup {
    /// # Errors
    /// If the TLS library cannot be set up.
    pub fn new(
        template: &Secret,
        timeout: Duration,
        headers: OwnHeaders,
    ) -> Result<Self, reqwest::Error> {
        let text = template.expose();
        let url = text.replace(KEY, "key").parse();
        let client = sinks::client(timeout, url.is_ok_and(|url| is_loopback(&url)))?;
        Ok(Self { client, template: template.clone(), shown: shown_url(text), headers })
    }

    async fn ask(&self, key: &str) -> Result<AnswerValue, Unanswered> {
        if matches!(key, "" | "." | "..") {
            // These have a meaning in URLs that no escaping removes.
            return Err(Unanswered::Permanent(format!("`{key}` cannot be a key in a URL")));
        }
        let encoded = utf8_percent_encode(key, UNRESERVED).to_string();
        let url = self.template.expose().replace(KEY, &encoded);
        let shown = self.shown.replace(KEY, &encoded);
        let mut headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(JSON))]);
        self.headers.add_to(&mut headers);
        let response = self.client.get(&url).headers(headers).send().await;
        let response = response.map_err(|error| self.broken(&shown, &error))?;
        let status = response.status();
        // A wrong address and an unknown key look the same. Services answer so for unknown keys.
        if status == StatusCode::NOT_FOUND {
            Ok(AnswerValue::Missing)
        } else if status.is_success() {
            let content_type = response.headers().get(header::CONTENT_TYPE);
            let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or(JSON);
            let content_type = content_type.to_owned();
            Ok(AnswerValue::Found { content_type, data: self.body(&shown, response).await? })
        } else {
            if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                // An operator may have replaced the credentials; the next question uses the new
                // ones.
                self.headers.read_files_again();
            }
            let reason = format!("GET {shown} answered {}", figures::status(status));
            let retry_after = sinks::retry_after(response.headers(), jiff::Timestamp::now());
            Err(match StatusRules::default().meaning(status) {
                Meaning::Sink => Unanswered::Unavailable { reason, retry_after },
                Meaning::Retry => Unanswered::Transient { reason, retry_after },
                Meaning::Message | Meaning::Delivered => Unanswered::Permanent(reason),
            })
        }
    }

    /// The error of a request. A lookup that cannot be reached or does not answer in time is
    /// unavailable. If the connection breaks during the answer, the key may be the cause.
    fn broken(&self, shown: &str, error: &reqwest::Error) -> Unanswered {
        let why = self.headers.redact(&sinks::causes(error));
        let reason = format!("GET {shown}: {why}");
        match error.is_connect() || error.is_builder() || error.is_timeout() {
            true => Unanswered::Unavailable { reason, retry_after: None },
            false => Unanswered::Transient { reason, retry_after: None },
        }
    }

    async fn body(&self, shown: &str, mut response: Response) -> Result<Bytes, Unanswered> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.broken(shown, &e))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Unanswered::Permanent(format!(
                    "GET {shown} answered with more than {ANSWER_BYTES_MAX} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// Reference data: a JSON object in a file, read once at start-up.
pub struct Table(BTreeMap<String, Bytes>);

impl Table {
    /// # Errors
    /// If the file cannot be read or is not a JSON object.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        use anyhow::Context as _;

        let read = files::bytes(path, TABLE_BYTES_MAX);
        let text = read.with_context(|| format!("read table {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("table {} is not a JSON object", path.display()))
    }

    fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let rows: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(json)?;
        let row = |(key, value): (String, Box<RawValue>)| {
            (key, Bytes::copy_from_slice(value.get().as_bytes()))
        };
        Ok(Self(rows.into_iter().map(row).collect()))
    }

    fn ask(&self, key: &str) -> AnswerValue {
        self.0.get(key).map_or(AnswerValue::Missing, |data| AnswerValue::Found {
            content_type: JSON.to_owned(),
            data: data.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::Uri;
    use axum::response::IntoResponse as _;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;
    use crate::io::secrets::{Given, Redactor};

    async fn lookups() -> Lookups {
        let answer = async |uri: Uri| match uri.path() {
            "/stock/a%2Fb%20%C3%A4" => "7".into_response(),
            "/stock/busy" => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            "/stock/crowded" => {
                (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "7")]).into_response()
            }
            "/stock/forbidden" => StatusCode::FORBIDDEN.into_response(),
            "/stock/elsewhere" => StatusCode::FOUND.into_response(),
            "/stock/failing" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            "/stock/wrong" => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
            "/stock/huge" => "x".repeat(ANSWER_BYTES_MAX + 1).into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let template = format!("http://{}/stock/{{key}}", listener.local_addr().unwrap());
        let router = Router::new().fallback(get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let headers = OwnHeaders::read(Vec::new(), Redactor::default()).unwrap();
        let template = Secret::new(template);
        let http = HttpLookup::new(&template, Duration::from_secs(5), headers).unwrap();
        let table = Table::parse(br#"{"sku":{"in_stock" : 3}}"#).unwrap();
        let mut lookups = Lookups::default();
        lookups.add("stock", Source::Http(http), ["shipment".to_owned()]);
        lookups.add("table", Source::Table(table), ["shipment".to_owned()]);
        lookups
    }

    /// Checks the kind of an answer, and its data or the end of its reason.
    async fn check(plugin: &str, name: &str, key: &str, kind: &str, end: &str) {
        let answer = lookups().await.ask(&PluginName::from(plugin), name, key).await;
        let (found, text) = match answer {
            Ok(AnswerValue::Found { data, .. }) => {
                ("found", String::from_utf8_lossy(&data).into_owned())
            }
            Ok(AnswerValue::Missing) => ("missing", String::new()),
            Ok(AnswerValue::Events(_)) => ("events", String::new()),
            Err(Unanswered::NotGranted(reason)) => ("not granted", reason),
            Err(Unanswered::Permanent(reason)) => ("permanent", reason),
            Err(Unanswered::Transient { reason, .. }) => ("transient", reason),
            Err(Unanswered::Unavailable { reason, .. }) => ("unavailable", reason),
        };
        assert_eq!(found, kind, "{text}");
        assert!(text.ends_with(end), "{text}");
    }

    #[tokio::test]
    async fn a_table_answers_with_its_own_bytes() {
        check("shipment", "table", "sku", "found", r#"{"in_stock" : 3}"#).await;
        check("shipment", "table", "other", "missing", "").await;
    }

    #[tokio::test]
    async fn a_url_answers_by_its_status() {
        check("shipment", "stock", "a/b ä", "found", "7").await;
        check("shipment", "stock", "unknown", "missing", "").await;
        check("shipment", "stock", "busy", "unavailable", "answered 503 Service Unavailable").await;
        check("shipment", "stock", "forbidden", "unavailable", "answered 403 Forbidden").await;
        check("shipment", "stock", "elsewhere", "unavailable", "answered 302 Found").await;
        check("shipment", "stock", "failing", "transient", "500 Internal Server Error").await;
        check("shipment", "stock", "wrong", "permanent", "answered 422 Unprocessable Entity").await;
        check("shipment", "stock", "huge", "permanent", "answered with more than 262144 bytes")
            .await;
        check("shipment", "stock", "..", "permanent", "`..` cannot be a key in a URL").await;
    }

    #[tokio::test]
    async fn secrets_reach_the_server_and_no_reason() {
        let answer = async |uri: Uri, headers: HeaderMap| {
            assert_eq!(uri.query(), Some("token=s3cret"));
            assert_eq!(headers["x-api-key"], "api-key-1");
            assert!(headers.contains_key(header::AUTHORIZATION));
            StatusCode::FORBIDDEN
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(get(answer));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let given = Given::Value(Secret::new("api-key-1"));
        let headers = vec![("x-api-key".parse().unwrap(), given)];
        let headers = OwnHeaders::read(headers, Redactor::default()).unwrap();
        let template = format!("http://ada:hunter2@{address}/{{key}}?token=s3cret");
        let template = Secret::new(template);
        let lookup = HttpLookup::new(&template, Duration::from_secs(5), headers).unwrap();
        let refused = lookup.ask("a b").await.unwrap_err().to_string();
        let expected = format!("GET http://***@{address}/a%20b?*** answered 403 Forbidden");
        assert_eq!(refused, expected);
        serving.abort();
        let _ = serving.await;
        let broken = lookup.ask("a b").await.unwrap_err();
        assert!(matches!(broken, Unanswered::Unavailable { .. }), "{broken:?}");
        let broken = broken.to_string();
        for secret in ["hunter2", "s3cret", "api-key-1"] {
            assert!(!broken.contains(secret), "{broken}");
        }
    }

    #[tokio::test]
    async fn a_url_may_ask_for_a_pause() {
        for (key, expected) in [("busy", None), ("crowded", Some(Duration::from_secs(7)))] {
            let answer = lookups().await.ask(&PluginName::from("shipment"), "stock", key).await;
            let Err(Unanswered::Unavailable { retry_after, .. }) = answer else {
                panic!("{key}: {answer:?}")
            };
            assert_eq!(retry_after, expected, "{key}");
        }
    }

    #[tokio::test]
    async fn only_what_is_granted_is_answered() {
        let end = "lookup `stock` is not granted to thief; add it to lookup.stock.plugins";
        check("thief", "stock", "a", "not granted", end).await;
        let end = "lookup `price` is not configured; add [lookup.price]";
        check("shipment", "price", "a", "not granted", end).await;
    }
}
