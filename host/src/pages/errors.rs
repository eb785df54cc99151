//! Refusals and failures as pages. A problem of the API becomes a page with the same status; a part
//! of a page that htmx asks for gets the message alone.

use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::frame::{Frame, POLICY, Page};
use crate::api::{Problem, login};

/// htmx names itself in each of its requests.
const BY_HTMX: HeaderName = HeaderName::from_static("hx-request");

#[derive(Template)]
#[template(path = "pages/problem.html")]
struct ProblemPage<'p> {
    frame: Frame,
    problem: &'p Problem,
}

#[derive(Template)]
#[template(path = "pages/problem_part.html")]
struct ProblemPart<'p> {
    problem: &'p Problem,
}

/// The layer around each page.
pub(super) async fn as_pages(request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let page = (request.method() == Method::GET).then(|| request.uri().clone());
    let response = next.run(request).await;
    let mut response = match page {
        // A form is not sent again after a login: its page says what is wrong.
        Some(page) if needs_login(&headers, &response) => login::redirect(&page),
        _ => answer(&headers, response),
    };
    // A redirection is an answer to a browser as well.
    response.headers_mut().entry(header::CONTENT_SECURITY_POLICY).or_insert(POLICY);
    response
}

fn needs_login(request: &HeaderMap, response: &Response) -> bool {
    response.status() == StatusCode::UNAUTHORIZED
        && is_for_people(request)
        && !request.contains_key(BY_HTMX)
}

fn is_for_people(request: &HeaderMap) -> bool {
    let accepted = request.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

/// What a reader gets instead of this response, if it has a problem.
pub(super) fn answer(request: &HeaderMap, mut response: Response) -> Response {
    let is_part = request.contains_key(BY_HTMX);
    if !is_for_people(request) && !is_part {
        return response;
    }
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let page = match is_part {
        true => Page::of(&ProblemPart { problem: &problem }),
        false => {
            let frame = Frame::without_caller(request, &*problem.title);
            Page::of(&ProblemPage { frame, problem: &problem })
        }
    };
    let Ok(page) = page else { return response };
    let mut answer = page.with_status(response.status()).into_response();
    for name in [header::RETRY_AFTER, header::ALLOW] {
        if let Some(value) = response.headers_mut().remove(&name) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}
