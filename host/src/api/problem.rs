//! RFC 9457 problem details: every error response of the host has this form.
//!
//! `docs/http.md` lists the types with their titles and causes; a test compares the list with the code.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sagabox_engine::engine::OfferError;
use sagabox_engine::model::QueueError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::encoding::{self, EncodingError};
use crate::io::cloudevents::ParseError;
use crate::plugins::readable::Unreadable;

pub(crate) const MEDIA_TYPE: &str = "application/problem+json";
/// The engine retries the store after a quarter of a second; a client need not retry sooner.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(1);
/// A supervisor usually restarts a host within seconds.
const STOPPING_RETRY_AFTER: Duration = Duration::from_secs(5);

/// An error response. The command line also parses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: Box<str>,
    #[schema(value_type = String)]
    pub title: Box<str>,
    pub status: u16,
    #[schema(value_type = String)]
    pub detail: Box<str>,
    /// The invalid event attribute, or the invalid member of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub attribute: Option<Box<str>>,
    /// The index of the invalid event in a batch, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// The JSON Pointer to the invalid part of the event's data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub pointer: Option<Box<str>>,
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// Whether the response lists the supported encodings in `Accept-Encoding`.
    #[serde(skip)]
    pub names_encodings: bool,
}

impl Problem {
    pub fn new(status: StatusCode, name: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:sagabox:problem:{name}").into(),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into().into_boxed_str(),
            attribute: None,
            index: None,
            pointer: None,
            retry_after: None,
            names_encodings: false,
        }
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "Bad request", detail)
    }

    /// A parameter or a member of the request has an invalid value.
    pub fn unacceptable(attribute: &str, detail: impl Into<String>) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let problem = Self::new(status, "unacceptable", "Invalid value", detail);
        Self { attribute: Some(attribute.into()), ..problem }
    }

    /// No plugin that takes the event can read its data.
    pub(super) fn unreadable(unreadable: &Unreadable, index: Option<usize>) -> Self {
        let Unreadable { event_type, plugin, pointer, reason } = unreadable;
        let place = match pointer.as_str() {
            "" => String::new(),
            pointer => format!("at `{pointer}`: "),
        };
        let detail = format!(
            "no plugin that takes `{event_type}` can read its data; for {plugin}: {place}{reason}"
        );
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let problem = Self::new(status, "unreadable", "Unreadable event", detail);
        let (attribute, pointer) = (Some("data".into()), Some(pointer.as_str().into()));
        Self { attribute, index, pointer, ..problem }
    }

    /// The request has no token that is valid.
    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", detail)
    }

    /// The host refuses the request from this sender.
    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Forbidden", detail)
    }

    pub(super) fn unsupported_media_type(detail: impl Into<String>) -> Self {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let title = "Unsupported media type";
        Self::new(status, "unsupported-media-type", title, detail)
    }

    /// The caller asks for more in a second than it may.
    pub(super) fn rate_limited(detail: impl Into<String>, retry_after: Duration) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let problem = Self::new(status, "rate-limited", "Rate limit exceeded", detail);
        Self { retry_after: Some(retry_after), ..problem }
    }

    /// The client did not send its request in time.
    pub(super) fn too_slow(detail: impl Into<String>) -> Self {
        let status = StatusCode::REQUEST_TIMEOUT;
        Self::new(status, "too-slow", "Request timeout", detail)
    }

    /// The host has reached its limit of connections or of request bodies in memory.
    pub(crate) fn crowded(detail: impl Into<String>, retry_after: Duration) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let problem = Self::new(status, "crowded", "Overloaded", detail);
        Self { retry_after: Some(retry_after), ..problem }
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// The current state of the resource does not permit the request.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Conflict", detail)
    }

    /// An idempotency key belongs to another request.
    pub(super) fn key_reused(detail: impl Into<String>) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(status, "idempotency-key-reused", "Idempotency key reused", detail)
    }

    /// The outcome of the request with an idempotency key is not known, or not yet.
    pub(super) fn key_in_use(detail: impl Into<String>, retry_after: Option<Duration>) -> Self {
        let status = StatusCode::CONFLICT;
        let problem = Self::new(status, "idempotency-key-in-use", "Idempotency key in use", detail);
        Self { retry_after, ..problem }
    }

    /// The identity provider, or what is configured of it, is at fault.
    pub(super) fn identity_provider(detail: impl Into<String>) -> Self {
        let status = StatusCode::BAD_GATEWAY;
        Self::new(status, "identity-provider", "Identity provider failed", detail)
    }

    pub fn method_not_allowed(detail: impl Into<String>) -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "method-not-allowed", "Method not allowed", detail)
    }

    pub fn too_large(detail: impl Into<String>) -> Self {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Self::new(status, "too-large", "Request too large", detail)
    }

    pub fn internal(detail: impl Into<String>) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, "internal", "Internal error", detail)
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let problem = Self::new(status, "unavailable", "Store unavailable", detail);
        Self { retry_after: Some(UNAVAILABLE_RETRY_AFTER), ..problem }
    }

    /// The store can never write an event.
    pub(super) fn not_storable(detail: impl Into<String>) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(status, "cannot-be-stored", "Event not storable", detail)
    }

    pub(super) fn stopping() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let problem = Self::new(status, "stopping", "Shutting down", "retry later");
        Self { retry_after: Some(STOPPING_RETRY_AFTER), ..problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(delay) = self.retry_after {
            // Whole seconds, rounded up: zero would invite a busy loop.
            let seconds = delay.as_millis().div_ceil(1000).max(1).to_string();
            if let Ok(value) = HeaderValue::try_from(seconds) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if self.names_encodings {
            let value = HeaderValue::from_static(encoding::ACCEPTED);
            response.headers_mut().insert(header::ACCEPT_ENCODING, value);
        }
        // For those who show it in another form.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<EncodingError> for Problem {
    fn from(error: EncodingError) -> Self {
        let detail = error.to_string();
        match error {
            EncodingError::Unsupported(_) => {
                let problem = Self::unsupported_media_type(detail);
                Self { names_encodings: true, ..problem }
            }
            EncodingError::Broken { .. } => Self::bad_request(detail),
            EncodingError::TooLarge(_) => Self::too_large(detail),
        }
    }
}

impl From<ParseError> for Problem {
    fn from(error: ParseError) -> Self {
        let detail = error.to_string();
        match error {
            ParseError::UnsupportedMediaType(_) => Self::unsupported_media_type(detail),
            ParseError::NotJson(_) => Self::bad_request(detail),
            ParseError::TooMany { .. } => Self::too_large(detail),
            ParseError::Event { index, error } => {
                let problem = Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "not-an-event",
                    "Invalid event",
                    detail,
                );
                Self { attribute: Some(error.attribute.into()), index, ..problem }
            }
        }
    }
}

impl From<OfferError> for Problem {
    fn from(error: OfferError) -> Self {
        let detail = error.to_string();
        match error {
            OfferError::Busy { retry_after } => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                let problem = Self::new(status, "busy", "Host busy", detail);
                Self { retry_after: Some(retry_after), ..problem }
            }
            OfferError::Paused { retry_after, .. } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let problem = Self::new(status, "paused", "Paused", detail);
                Self { retry_after: Some(retry_after), ..problem }
            }
            OfferError::Unavailable(_) => Self::unavailable(detail),
            OfferError::Rejected(_) => Self::not_storable(detail),
            OfferError::Stopping => Self::stopping(),
        }
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        let detail = error.to_string();
        match error {
            QueueError::NoSuchLease(_) => {
                Self::new(StatusCode::NOT_FOUND, "no-such-lease", "Lease not found", detail)
            }
            QueueError::Ended { .. } => {
                Self::new(StatusCode::GONE, "lease-ended", "Lease ended", detail)
            }
            QueueError::Busy => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                let problem = Self::new(status, "busy", "Host busy", detail);
                Self { retry_after: Some(UNAVAILABLE_RETRY_AFTER), ..problem }
            }
            QueueError::Unavailable(_) => Self::unavailable(detail),
            QueueError::Stopping => Self::stopping(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sagabox_engine::model::EventError;

    async fn check(
        problem: impl Into<Problem>,
        status: u16,
        retry_after: Option<&str>,
        members: &str,
    ) {
        let response = problem.into().into_response();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        let header = response.headers().get(header::RETRY_AFTER);
        assert_eq!(header.map(|value| value.to_str().unwrap()), retry_after);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await;
        let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
        assert!(body.contains(members), "{body}");
        for member in [r#""type":"urn:sagabox:problem:"#, r#""title":""#, r#""detail":""#] {
            assert!(body.contains(member), "{body}");
        }
    }

    #[tokio::test]
    async fn each_refusal_has_its_status() {
        let error = EventError::new("source", "is required");
        let fault = ParseError::Event { index: Some(3), error };
        check(fault, 422, None, r#""attribute":"source","index":3"#).await;
        check(ParseError::TooMany { count: 9, max: 8 }, 413, None, r#""status":413"#).await;
        check(ParseError::NotJson("x".into()), 400, None, "problem:bad-request").await;
        check(ParseError::UnsupportedMediaType("x".into()), 415, None, r#""detail":"x""#).await;
        let retry_after = Duration::from_millis(1200);
        check(OfferError::Busy { retry_after }, 429, Some("2"), "problem:busy").await;
        check(OfferError::Unavailable("disk full".into()), 503, Some("1"), "disk full").await;
        check(OfferError::Rejected("too big".into()), 422, None, "too big").await;
        let paused = OfferError::Paused { reason: "a release".into(), retry_after };
        check(paused, 503, Some("2"), "a release").await;
        check(OfferError::Stopping, 503, Some("5"), "problem:stopping").await;
        check(QueueError::NoSuchLease(7), 404, None, "lease 7 not found").await;
        check(QueueError::Busy, 429, Some("1"), "problem:busy").await;
        check(QueueError::Unavailable("x".into()), 503, Some("1"), "problem:unavailable").await;
        check(QueueError::Stopping, 503, Some("5"), "problem:stopping").await;
    }
}
