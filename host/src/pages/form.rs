//! What a form of a page sends.

use axum::Form;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use serde::de::DeserializeOwned;

use super::Pages;
use crate::api::Problem;
use crate::api::extract;

/// How long the form may be with which a reader sends a body of `limits.body_bytes`: an escaped byte has
/// three.
pub(super) fn bytes_max(body_bytes: usize) -> usize {
    body_bytes.saturating_mul(3)
}

/// The fields of a form.
pub(super) struct Submitted<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Pages> for Submitted<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, pages: &Pages) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let max = bytes_max(pages.site.limits.body_bytes);
        let bytes = extract::bytes(&parts.headers, body, max).await?;
        let mut request = Request::from_parts(parts, axum::body::Body::from(bytes));
        // It is read already, up to its own limit.
        DefaultBodyLimit::disable().apply(&mut request);
        match Form::from_request(request, &()).await {
            Ok(Form(fields)) => Ok(Self(fields)),
            Err(error) => Err(Problem::bad_request(error.body_text())),
        }
    }
}
