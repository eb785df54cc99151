//! What handlers take from a request, with a problem instead of axum's plain text when it is not
//! there, and the forms of their answers beside axum's own.

use std::error::Error;
use std::marker::PhantomData;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::LengthLimitError;
use sagabox_engine::model::JSON;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Shared;
use super::body::BodyError;
use super::encoding::Encoding;
use super::problem::Problem;
use crate::io::files::BYTE_ORDER_MARK;

/// When a client may send its body again for which there was no room.
const CROWDED_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The whole body, unpacked, up to a limit.
pub(crate) async fn bytes(headers: &HeaderMap, body: Body, max: usize) -> Result<Bytes, Problem> {
    // Before the body is read: what cannot be unpacked need not come.
    let encoding = Encoding::of(headers)?;
    let body = axum::body::to_bytes(body, max).await.map_err(|error| unread(&error))?;
    let Some(encoding) = encoding else { return Ok(body) };
    // Some milliseconds of work, for which other requests would wait.
    let unpacked = tokio::task::spawn_blocking(move || encoding.decode(&body, max)).await;
    let unpacked = unpacked.map_err(|error| Problem::internal(error.to_string()))?;
    Ok(unpacked?)
}

fn unread(error: &axum::Error) -> Problem {
    let causes = std::iter::successors(Some(error as &dyn Error), |cause| Error::source(*cause));
    for cause in causes {
        if cause.is::<LengthLimitError>() {
            return Problem::too_large("the body exceeds limits.body_bytes of the configuration");
        }
        match cause.downcast_ref() {
            Some(late @ BodyError::TooSlow) => return Problem::too_slow(late.to_string()),
            Some(BodyError::Stopping) => return Problem::stopping(),
            Some(crowded @ BodyError::Crowded) => {
                return Problem::crowded(crowded.to_string(), CROWDED_RETRY_AFTER);
            }
            None => {}
        }
    }
    Problem::bad_request(format!("the body cannot be read: {error}"))
}

/// A JSON object in the body. An empty body is an empty object.
pub(crate) struct Arguments<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Shared> for Arguments<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, site: &Shared) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = bytes(&parts.headers, body, site.limits.body_bytes).await?;
        let json = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
        let json = if json.is_empty() { b"{}" } else { json };
        match serde_json::from_slice(json) {
            Ok(arguments) => Ok(Self(arguments)),
            Err(error) => Err(Problem::bad_request(format!("the body: {error}"))),
        }
    }
}

/// The decoded variable segments of the path.
pub(crate) struct Segments<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(error) => Err(Problem::bad_request(error.body_text())),
        }
    }
}

/// The query string's parameters.
pub(crate) struct Filter<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Filter<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(filter)) => Ok(Self(filter)),
            Err(error) => Err(Problem::bad_request(error.body_text())),
        }
    }
}

/// The answer to something that goes on after it: 202.
pub(crate) struct Accepted<T>(pub T);

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self.0)).into_response()
    }
}

/// JSON that is written already, in the shape of a `T`.
pub(crate) struct Written<T>(String, PhantomData<T>);

impl<T> Written<T> {
    pub(crate) fn new(json: String) -> Self {
        Self(json, PhantomData)
    }
}

impl<T> IntoResponse for Written<T> {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, JSON)], self.0).into_response()
    }
}
