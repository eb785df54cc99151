//! `Idempotency-Key`: a client that has got no answer sends its request again, and it is done once.
//! The header is that of the IETF's draft; it counts on the routes that are in the audit log.
//!
//! The order is: the key is written without an answer, then the request is done, then the answer is
//! written. A host that ends in between leaves a key without an answer: the client learns that the
//! outcome is not known, and the host does nothing a second time. Answers that say that nothing was
//! done, and that the same request can succeed soon, are not kept.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::access::Access;
use super::caller::Caller;
use super::problem::Problem;
use crate::access::Digest;
use crate::store::query::access::{Idempotent, KeptAnswer};

pub(super) const HEADER: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Of a key: a UUID has 36.
const KEY_BYTES_MAX: usize = 255;
/// How long an answer is kept. Clients try again for minutes, not for days.
pub(super) const AGE: Duration = Duration::from_hours(24);
/// Of an answer that is kept; pages of a thousand refusals have less.
const ANSWER_BYTES_MAX: usize = 4 << 20;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A request with a key that was not there yet.
pub(super) struct Reserved {
    caller: String,
    key: String,
}

pub(super) enum Begun {
    /// The request has no key.
    Plain,
    New(Reserved),
    /// It was done already.
    Done(Response),
}

/// The key of a request; none if it has none.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(HEADER).iter();
    let (Some(value), second) = (given.next(), given.next()) else { return Ok(None) };
    let wrong = || {
        Problem::bad_request(format!(
            "Idempotency-Key: is not one text of 1 to {KEY_BYTES_MAX} visible characters"
        ))
    };
    let text = value.to_str().map_err(|_| wrong())?.trim();
    // The draft has quotes, which many clients leave away.
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if second.is_some() || text.is_empty() || text.len() > KEY_BYTES_MAX || !is_plain {
        return Err(wrong());
    }
    Ok(Some(text.to_owned()))
}

/// `asked` is everything in which two requests can differ: the method with the path, the query and the body.
pub(super) async fn begin(
    access: &Access,
    caller: &Caller,
    key: Option<String>,
    asked: [&[u8]; 3],
) -> Result<Begun, Problem> {
    let Some(key) = key else { return Ok(Begun::Plain) };
    let (owner, request, now) = (caller.identity(), digest(asked), (access.clock)());
    let kept = access.records.begin_idempotent(&owner, &key, request, now).await;
    let kept = kept.map_err(|error| {
        Problem::unavailable(format!("write the idempotency key: {error}; nothing was done"))
    })?;
    match kept {
        Idempotent::New => Ok(Begun::New(Reserved { caller: owner, key })),
        Idempotent::Known { request: other, .. } if other != request => Err(Problem::key_reused(
            format!("the key `{key}` belongs to another request; use a new key"),
        )),
        Idempotent::Known { answer: Some(answer), .. } => replayed(&key, answer).map(Begun::Done),
        Idempotent::Known { at, .. } if at < access.opened_at => Err(Problem::key_in_use(
            format!(
                "the host ended while it processed the request with the key `{key}`, and the outcome is not \
                 known; look at the audit log, then use a new key"
            ),
            None,
        )),
        Idempotent::Known { .. } => Err(Problem::key_in_use(
            format!("the request with the key `{key}` is being processed"),
            Some(RETRY_AFTER),
        )),
    }
}

fn replayed(key: &str, answer: KeptAnswer) -> Result<Response, Problem> {
    let KeptAnswer { status, content_type, body } = answer;
    let Some(body) = body else {
        return Err(Problem::key_in_use(
            format!(
                "the request with the key `{key}` was done, and its answer had a secret, which the host does \
                 not keep; revoke what was created, then use a new key"
            ),
            None,
        ));
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut response = (status, body).into_response();
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(value) = content_type.and_then(|text| HeaderValue::try_from(text).ok()) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    Ok(response)
}

impl Reserved {
    /// Keeps the answer, or frees the key if nothing was done.
    pub(super) async fn finish(
        self,
        access: &Access,
        response: Response,
        is_secret: bool,
    ) -> Response {
        if is_soon_over(response.status()) {
            self.release(access).await;
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(body) = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await else {
            return Problem::internal("the answer is too long to be kept").into_response();
        };
        let has_secret = is_secret && parts.status.is_success();
        let content_type = parts.headers.get(header::CONTENT_TYPE);
        let answer = KeptAnswer {
            status: parts.status.as_u16(),
            content_type: content_type.and_then(|value| value.to_str().ok()).map(str::to_owned),
            body: (!has_secret).then(|| Bytes::clone(&body)),
        };
        let kept = access.records.finish_idempotent(&self.caller, &self.key, &answer).await;
        if let Err(error) = kept {
            tracing::warn!(%error, "the answer to a request with an idempotency key is not kept");
        }
        Response::from_parts(parts, Body::from(body))
    }

    /// The request was not done.
    pub(super) async fn release(self, access: &Access) {
        if let Err(error) = access.records.release_idempotent(&self.caller, &self.key).await {
            tracing::warn!(%error, "an idempotency key stays without an answer");
        }
    }
}

fn is_soon_over(status: StatusCode) -> bool {
    status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status)
}

/// Of parts with their lengths, so that no two requests have the same.
fn digest(parts: [&[u8]; 3]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Digest(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&str], expected: Result<Option<&str>, u16>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_str(value).unwrap());
        }
        let found = key(&headers).map_err(|problem| problem.status);
        assert_eq!(found, expected.map(|key| key.map(str::to_owned)), "{values:?}");
    }

    #[test]
    fn a_key_is_one_text_with_or_without_quotes() {
        check(&[], Ok(None));
        check(&["\"8e03978e-40d5\""], Ok(Some("8e03978e-40d5")));
        check(&[" 8e03978e-40d5 "], Ok(Some("8e03978e-40d5")));
        let (long, longer) = ("k".repeat(255), "k".repeat(256));
        check(&[&long], Ok(Some(&long)));
        for wrong in [&[""][..], &["\"\""], &["a b"], &["a\"b"], &[&longer], &["a", "a"]] {
            check(wrong, Err(400));
        }
    }

    #[test]
    fn parts_are_not_taken_for_one_another() {
        assert_ne!(digest([b"ab", b"", b"c"]), digest([b"a", b"b", b"c"]));
        assert_eq!(digest([b"a", b"b", b"c"]), digest([b"a", b"b", b"c"]));
    }
}
