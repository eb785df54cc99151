//! What handlers take from a request, with a problem instead of axum's plain text when it is not there.

use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The whole body, up to the router's limit.
pub struct Body(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_))) => {
                Err(Problem::too_large("the body exceeds limits.body_bytes of the configuration"))
            }
            Err(other) => Err(Problem::bad_request(other.body_text())),
        }
    }
}

/// A JSON object in the body. An empty body is an empty object.
pub struct Arguments<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Arguments<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Body(bytes) = Body::from_request(request, state).await?;
        let json = if bytes.is_empty() { &b"{}"[..] } else { &bytes[..] };
        match serde_json::from_slice(json) {
            Ok(arguments) => Ok(Self(arguments)),
            Err(error) => Err(Problem::bad_request(format!("the body: {error}"))),
        }
    }
}

/// The decoded variable segments of the path.
pub struct Segments<T>(pub T);

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
pub struct Filter<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Filter<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(filter)) => Ok(Self(filter)),
            Err(error) => Err(Problem::bad_request(error.body_text())),
        }
    }
}
