//! The host's API as a client: what every command that talks to a running host uses.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client as Http, Identity, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::access::Secret;
use crate::api::{Problem, Summary};
use crate::io::cloudevents;
use crate::io::figures;
use crate::io::printable::printable;
use crate::io::secrets::{is_loopback, shown_url};
use crate::io::sinks::{causes, is_transient, retry_after};

/// Longer than the longest wait for a lease.
const TIMEOUT: Duration = Duration::from_secs(90);
/// An address that nothing answers at is known after that.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the paths of the API begin with.
const API: &str = "/v1";

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Clone)]
pub(crate) struct Client {
    http: Http,
    base: String,
}

#[derive(Debug, Error)]
pub(crate) enum ClientError {
    /// No answer: the host is not there, or the connection broke.
    #[error("{}: {}; is the host running?", printable(url), printable(reason))]
    Unreachable { url: String, reason: String },
    #[error("{}{}{}", printable(&problem.detail), place(problem), hint(problem))]
    Refused { problem: Problem, retry_after: Option<Duration> },
    #[error(
        "{} answered {}, but not like a Sagabox host: {}",
        printable(url),
        figures::status(*status),
        printable(body)
    )]
    Strange { url: String, status: StatusCode, body: String },
}

fn place(problem: &Problem) -> String {
    problem.index.map(|index| format!(" (event {index} of the batch)")).unwrap_or_default()
}

/// What a caller without a valid token can do.
fn hint(problem: &Problem) -> &'static str {
    match problem.status {
        401 => "; set SAGABOX_TOKEN, or SAGABOX_TOKEN_FILE to the file of a token",
        _ => "",
    }
}

/// The path with the API's version before it, and the query behind it.
pub(crate) fn escaped(path: &str, query: &[(&str, impl AsRef<str>)]) -> String {
    let mut url = format!("{API}{path}");
    for (index, (name, value)) in query.iter().enumerate() {
        let separator = if index == 0 { '?' } else { '&' };
        let value = utf8_percent_encode(value.as_ref(), RESERVED);
        url = format!("{url}{separator}{name}={value}");
    }
    url
}

impl ClientError {
    /// Whether the same request may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { problem, .. } => {
                StatusCode::from_u16(problem.status).is_ok_and(is_transient)
            }
            Self::Strange { status, .. } => is_transient(*status),
        }
    }

    /// Whether what was asked is at fault: asking it again can never go better.
    pub(crate) fn is_by_input(&self) -> bool {
        matches!(self, Self::Refused { problem, .. } if [400, 413, 415, 422].contains(&problem.status))
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Client {
    /// # Errors
    /// If the TLS library cannot be set up.
    pub(crate) fn new(
        base: &str,
        token: Option<&Secret>,
        identity: Option<Identity>,
    ) -> Result<Self, reqwest::Error> {
        let scheme = if base.contains("://") { "" } else { "http://" };
        let base = format!("{scheme}{}", base.trim_end_matches('/'));
        let mut headers = HeaderMap::new();
        let bearer = token.map(|token| HeaderValue::try_from(format!("Bearer {}", token.expose())));
        if let Some(Ok(mut value)) = bearer {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let builder = Http::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT);
        let builder = builder.default_headers(headers);
        let builder = match identity {
            Some(identity) => builder.identity(identity),
            None => builder,
        };
        // No proxy leads to this machine.
        let builder = match base.parse().is_ok_and(|url| is_loopback(&url)) {
            true => builder.no_proxy(),
            false => builder,
        };
        Ok(Self { http: builder.build()?, base })
    }

    /// `path` is one of the API, without its version; `query` is escaped.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        let url = self.url(path, query);
        self.answer(self.http.get(&url), &url).await
    }

    /// Whether the host accepts events. An answer that it does not is [`ClientError::Refused`].
    pub(crate) async fn ready(&self) -> Result<(), ClientError> {
        let url = format!("{}/readyz", self.base);
        let _: Box<RawValue> = self.answer(self.http.get(&url), &url).await?;
        Ok(())
    }

    /// The answer as it is.
    pub(crate) async fn text(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<String, ClientError> {
        let url = self.url(path, query);
        let json: Box<RawValue> = self.answer(self.http.get(&url), &url).await?;
        Ok(json.get().to_owned())
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let url = self.url(path, &[]);
        self.answer(self.http.post(&url).json(body), &url).await
    }

    /// Sends a batch that is JSON already.
    pub(crate) async fn send(&self, batch: bytes::Bytes) -> Result<Summary, ClientError> {
        let url = self.url("/events", &[]);
        let request = self.http.post(&url).header("content-type", cloudevents::BATCH).body(batch);
        self.answer(request, &url).await
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> String {
        format!("{}{}", self.base, escaped(path, query))
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        url: &str,
    ) -> Result<T, ClientError> {
        let unreachable = |error: reqwest::Error| ClientError::Unreachable {
            url: shown_url(url),
            reason: causes(&error),
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let retry_after = retry_after(response.headers(), jiff::Timestamp::now());
        let body = Response::bytes(response).await.map_err(unreachable)?;
        if status.is_success()
            && let Ok(answer) = serde_json::from_slice(&body)
        {
            return Ok(answer);
        }
        Err(match serde_json::from_slice(&body) {
            Ok(problem) if !status.is_success() => ClientError::Refused { problem, retry_after },
            _ => {
                let body = String::from_utf8_lossy(&body).chars().take(200).collect();
                ClientError::Strange { url: shown_url(url), status, body }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new("localhost:1/", None, None).unwrap();
        let url = client.url("/instance", &[("plugin", "p"), ("key", "../a b&ä?#%2e+")]);
        let query = "plugin=p&key=..%2Fa%20b%26%C3%A4%3F%23%252e%2B";
        assert_eq!(url, format!("http://localhost:1/v1/instance?{query}"));
    }
}
