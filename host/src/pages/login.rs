//! Pages on which people sign in and out. The pages and forms are here; the API implements logins.

use askama::Template;
use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::frame::{Frame, Page};
use super::{PageRoute, Pages, form, page};
use crate::api::Needs::Nothing;
use crate::api::extract::Filter;
use crate::api::login::oidc::Answer;
use crate::api::login::{self, Begin, Credentials};
use crate::api::{Peer, Problem, Shared};

pub(super) const PATH: &str = "/login";

pub(super) fn routes() -> Vec<PageRoute> {
    vec![
        page(PATH, Nothing, show),
        form(PATH, Nothing, with_token),
        page("/login/oidc", Nothing, at_provider),
        page("/login/callback", Nothing, back_from_provider),
        form("/logout", Nothing, out),
    ]
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    next: String,
    /// There after a logout.
    out: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/login.html")]
struct LoginPage {
    frame: Frame,
    next: String,
    /// The name of the identity provider.
    provider: Option<String>,
    is_out: bool,
    /// The address at which a person also signs out of the identity provider.
    sign_out: Option<String>,
    problem: Option<Problem>,
}

impl LoginPage {
    fn new(site: &Shared, headers: &HeaderMap, next: String) -> Self {
        let frame = Frame::without_caller(headers, "Sign in");
        let provider = login::provider(site);
        Self { frame, next, provider, is_out: false, sign_out: None, problem: None }
    }
}

async fn show(
    State(pages): State<Pages>,
    headers: HeaderMap,
    Filter(asked): Filter<Asked>,
) -> Result<Page, Problem> {
    let is_out = asked.out.is_some();
    let sign_out = login::provider_sign_out(&pages.site).filter(|_| is_out);
    let page = LoginPage::new(&pages.site, &headers, asked.next);
    Page::of(&LoginPage { is_out, sign_out, ..page })
}

/// A refusal shows the form again, with the reason.
async fn with_token(
    State(pages): State<Pages>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    form: Result<Form<Credentials>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(form) = form.map_err(|error| Problem::bad_request(error.body_text()))?;
    let next = form.next.clone().unwrap_or_default();
    let peer = peer.map(|Extension(peer)| peer);
    let problem = match login::with_token(&pages.site, &headers, peer, form).await {
        Ok(response) => return Ok(response),
        Err(problem) => problem,
    };
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::UNAUTHORIZED);
    let page = LoginPage::new(&pages.site, &headers, next);
    let page = Page::of(&LoginPage { problem: Some(problem), ..page })?;
    Ok(page.with_status(status).into_response())
}

async fn at_provider(
    State(pages): State<Pages>,
    headers: HeaderMap,
    Filter(asked): Filter<Begin>,
) -> Result<Response, Problem> {
    login::at_provider(&pages.site, &headers, asked).await
}

async fn back_from_provider(
    State(pages): State<Pages>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Filter(answer): Filter<Answer>,
) -> Result<Response, Problem> {
    let peer = peer.map(|Extension(peer)| peer);
    login::back_from_provider(&pages.site, &headers, peer, answer).await
}

async fn out(
    State(pages): State<Pages>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let peer = peer.map(|Extension(peer)| peer);
    login::out(&pages.site, &headers, peer).await
}
