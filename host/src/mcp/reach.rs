//! How tools reach the API: over HTTP from a program of its own, or within the host that serves them.

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{self, header};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::value::RawValue;
use tower::ServiceExt as _;

use super::tools::{Method, Request};
use crate::api::client::{Client, escaped};
use crate::api::{Caller, FORWARDED, Problem};

/// An answer that is larger is of no use to a model, however it is shortened.
const ANSWER_BYTES_MAX: usize = 16 << 20;

pub(crate) enum Reach {
    /// With the token that the client has.
    Host(Client),
    /// The routes of this host, with the token of each request.
    Inside(Router),
}

impl Reach {
    /// The answer of the API, as JSON.
    ///
    /// # Errors
    /// Why it was refused, in words.
    pub(super) async fn ask(
        &self,
        request: &Request,
        context: &RequestContext<RoleServer>,
    ) -> Result<String, String> {
        match self {
            Self::Host(client) => over_http(client, request).await,
            Self::Inside(router) => {
                let parts = context.extensions.get::<Parts>();
                let parts = parts.ok_or("the request has no header")?;
                inside(router.clone(), request, parts).await
            }
        }
    }
}

async fn over_http(client: &Client, request: &Request) -> Result<String, String> {
    let Request { method, path, query, body } = request;
    let answer = match method {
        Method::Get => {
            let query: Vec<(&str, &str)> =
                query.iter().map(|(name, value)| (*name, value.as_str())).collect();
            client.text(path, &query).await
        }
        Method::Post => {
            client.post::<Box<RawValue>>(path, body).await.map(|json| json.get().to_owned())
        }
    };
    answer.map_err(|error| error.to_string())
}

/// By the same way as a request from outside, behind the check of its host and origin, which the
/// request of the tool has passed: so roles, limits and the audit log are the same.
async fn inside(router: Router, request: &Request, parts: &Parts) -> Result<String, String> {
    // A tool acts for the holder of a token. Without the cookie, the request could be taken for one
    // of this machine.
    if parts.extensions.get::<Caller>().is_some_and(|caller| caller.session().is_some()) {
        return Err("an agent needs a token; the session of a browser has none".to_owned());
    }
    let mut own = http::Request::builder().uri(escaped(&request.path, &request.query));
    for name in FORWARDED.iter().chain([&header::AUTHORIZATION]) {
        for value in parts.headers.get_all(name) {
            own = own.header(name, value);
        }
    }
    let own = match request.method {
        Method::Get => own.body(Body::empty()),
        Method::Post => {
            let json = "application/json";
            let own = own.method(http::Method::POST).header(header::CONTENT_TYPE, json);
            own.body(Body::from(request.body.to_string()))
        }
    };
    let mut own = own.map_err(|error| error.to_string())?;
    // Who is at the other end of the connection.
    *own.extensions_mut() = parts.extensions.clone();
    let Ok(response) = router.oneshot(own).await;
    let is_success = response.status().is_success();
    let body = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
    let body = body.map_err(|error| format!("the answer cannot be read: {error}"))?;
    let text = String::from_utf8_lossy(&body).into_owned();
    match is_success {
        true => Ok(text),
        false => {
            let problem: Result<Problem, _> = serde_json::from_str(&text);
            Err(problem.map_or(text, |problem| problem.detail.into()))
        }
    }
}
