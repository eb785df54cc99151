//! The HTTP clients of sinks and lookups: the headers of each request, how long they wait, and
//! which proxy they use.

use std::sync::Mutex;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::{Client, redirect};

use crate::io::locks::lock;
use crate::io::secrets::{Given, Redactor, Secret, shown_url};

/// The longest wait for a connection. A request that could not connect has certainly not
/// arrived; one that timed out later may have arrived.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// A client for one URL. If `is_loopback`, the URL leads to this machine, and no proxy is used.
///
/// # Errors
/// If the TLS library cannot be set up.
pub(crate) fn client(timeout: Duration, is_loopback: bool) -> Result<Client, reqwest::Error> {
    let builder = Client::builder()
        .timeout(timeout)
        .connect_timeout((timeout * 4 / 5).min(CONNECT_TIMEOUT_MAX))
        // A redirected POST is often repeated as a GET, which would lose the message silently. A
        // redirected GET could lead to an address that the operator has not granted.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("sagabox/", env!("CARGO_PKG_VERSION")));
    match is_loopback {
        true => builder.no_proxy().build(),
        false => builder.build(),
    }
}

/// The configured headers, which every request of a sink or lookup has.
pub struct OwnHeaders {
    given: Vec<(HeaderName, Given)>,
    current: Mutex<(HeaderMap, Redactor)>,
}

impl OwnHeaders {
    /// Reads the values. `hidden` has the other secrets of the same sink or lookup.
    ///
    /// # Errors
    /// Names the header whose value cannot be read or sent, and never repeats the value.
    pub fn read(given: Vec<(HeaderName, Given)>, hidden: Redactor) -> Result<Self, String> {
        let (mut headers, mut hidden) = (HeaderMap::with_capacity(given.len()), hidden);
        for (name, given) in &given {
            let about = |reason: String| format!("headers.{name}: {reason}");
            let secret = given.read().map_err(about)?;
            hidden.hide_header(secret.expose());
            headers.insert(name, value(&secret).map_err(about)?);
        }
        Ok(Self { given, current: Mutex::new((headers, hidden)) })
    }

    /// Reads values again that are in files. A value that cannot be read stays as it was.
    pub fn read_files_again(&self) {
        let mut current = lock(&self.current);
        let (headers, hidden) = &mut *current;
        for (name, given) in &self.given {
            if let Given::File(_) = given
                && let Ok(secret) = given.read()
                && let Ok(value) = value(&secret)
            {
                hidden.hide_header(secret.expose());
                headers.insert(name, value);
            }
        }
    }

    /// Adds them to the headers of a request.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        if !self.given.is_empty() {
            let current = lock(&self.current);
            headers.extend(current.0.clone());
        }
    }

    /// A text from outside with all secrets hidden.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        lock(&self.current).1.redact(text)
    }
}

fn value(secret: &Secret) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(secret.expose());
    let mut value = value.map_err(|_| "the value has characters that no header can have")?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether the same request may succeed later.
#[must_use]
pub(crate) fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

/// Why a request has no answer, with the causes, because reqwest's own text ends at "error
/// sending request". The URL is left out, because it may be secret.
#[must_use]
pub(crate) fn causes(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "timed out".to_owned() } else { String::new() };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let separator = if text.is_empty() { "" } else { ": " };
        text = format!("{text}{separator}{error}");
        cause = error.source();
    }
    if text.is_empty() {
        text = error.to_string();
    }
    match error.url() {
        Some(url) => text.replace(url.as_str(), &shown_url(url.as_str())),
        None => text,
    }
}
