//! How people sign in and out: with a token, or at an identity provider (`oidc`). Each login, each
//! failed one and each logout is in the audit log.

pub(super) mod grants;
pub(crate) mod oidc;
#[cfg(test)]
mod oidc_tests;
mod pending;

use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use self::oidc::Answer;
use super::access::Access;
use super::authorize::Peer;
use super::cookies::Cookie;
use super::problem::Problem;
use super::{Shared, refusals};
use crate::access::{AuditEntry, Holder, PERSON, Secret, Session};

/// Where people sign in.
const PATH: &str = "/login";
const CALLBACK: &str = "/login/callback";
/// Where a login leads that says nothing else.
const START: &str = "/";
/// A path of a page. A longer one is no page of ours.
const NEXT_BYTES_MAX: usize = 2048;

/// What the form of the login page has.
#[derive(Deserialize)]
pub(crate) struct Credentials {
    token: String,
    pub next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Begin {
    next: Option<String>,
}

/// The name of the identity provider, if people can sign in there.
pub(crate) fn provider(site: &Shared) -> Option<String> {
    site.access.provider().map(|provider| provider.name().to_owned())
}

/// Where a person also signs out of the identity provider, if it says so.
pub(crate) fn provider_sign_out(site: &Shared) -> Option<String> {
    site.access.provider().and_then(|provider| provider.sign_out_url())
}

/// A redirect to the login page that comes back to this page.
pub(crate) fn redirect(page: &Uri) -> Response {
    let next = page.path_and_query().map_or(START, |own| own.as_str());
    let query = escaped(next);
    see_other(&format!("{PATH}?next={query}"), [])
}

/// Signs in with a token.
pub(crate) async fn with_token(
    site: &Shared,
    headers: &HeaderMap,
    peer: Option<Peer>,
    form: Credentials,
) -> Result<Response, Problem> {
    let access = &site.access;
    let origin = access.origin(headers, peer.map(|peer| peer.address)).to_string();
    let found = Secret::parse(form.token.trim()).ok_or_else(|| {
        Problem::unauthorized("this is not a token of Sagabox; a token begins with `sbx_`")
    });
    let found = found.and_then(|secret| access.token(&secret)).and_then(|live| {
        let bound = &live.token.certificates;
        let certificate = peer.and_then(|peer| peer.certificate);
        match bound.is_empty() || certificate.is_some_and(|own| bound.contains(&own)) {
            true => Ok(live),
            false => Err(Problem::unauthorized(
                "the token is bound to client certificates, and the browser has shown none of them",
            )),
        }
    });
    let live = found.inspect_err(|problem| note_failure(access, &origin, problem))?;
    let now = (access.clock)();
    let expires_at = now.after(access.settings().login.session);
    let expires_at = live.token.expires_at.map_or(expires_at, |expiry| expiry.min(expires_at));
    let session = Session {
        id: 0,
        holder: Holder::Token(live.token.id),
        origin,
        created_at: now,
        expires_at,
        last_used_at: now,
    };
    let name = live.token.name.clone();
    begin(access, session, name, form.next.as_deref()).await
}

/// Sends the browser to the identity provider.
pub(crate) async fn at_provider(
    site: &Shared,
    headers: &HeaderMap,
    asked: Begin,
) -> Result<Response, Problem> {
    let access = &site.access;
    let provider = access.provider().ok_or_else(no_provider)?;
    let back = back(access, headers)?;
    let next = local(asked.next.as_deref()).to_owned();
    let begun = provider.begin(back, next).await?;
    let secure = access.settings().is_secure;
    let cookie = Cookie::Login.set(begun.binding.expose(), secure, pending::AGE);
    Ok(see_other(&begun.location, cookie))
}

/// Takes up a browser that comes back from the identity provider.
pub(crate) async fn back_from_provider(
    site: &Shared,
    headers: &HeaderMap,
    peer: Option<Peer>,
    answer: Answer,
) -> Result<Response, Problem> {
    let access = &site.access;
    let provider = access.provider().ok_or_else(no_provider)?;
    let origin = access.origin(headers, peer.map(|peer| peer.address)).to_string();
    let secure = access.settings().is_secure;
    let binding = Cookie::Login.of(headers, secure).and_then(Secret::parse_session);
    let finished = provider.finish(binding.as_ref(), answer).await;
    let (person, next) = finished.inspect_err(|problem| note_failure(access, &origin, problem))?;
    let now = (access.clock)();
    let name = format!("{PERSON}{}", person.name);
    let session = Session {
        id: 0,
        holder: Holder::Person(person),
        origin,
        created_at: now,
        expires_at: now.after(access.settings().login.session),
        last_used_at: now,
    };
    let mut response = begin(access, session, name, Some(&next)).await?;
    if let Some(cleared) = Cookie::Login.clear(secure) {
        response.headers_mut().append(SET_COOKIE, cleared);
    }
    Ok(response)
}

/// Ends the session of the request, if that has one.
pub(crate) async fn out(
    site: &Shared,
    headers: &HeaderMap,
    peer: Option<Peer>,
) -> Result<Response, Problem> {
    let access = &site.access;
    let secure = access.settings().is_secure;
    let secret = Cookie::Session.of(headers, secure).and_then(Secret::parse_session);
    let session = secret.and_then(|secret| access.session(&secret));
    if let (Some(session), Ok(caller)) = (session, access.identify(headers, peer)) {
        let entry = entry(access, caller.name(), &session.session.origin, "POST /logout");
        let entry = AuditEntry { token: caller.token(), ..entry };
        let id = record(access, &entry).await?;
        let ended = access.end_session(session.session.id).await;
        let status =
            if ended.is_ok() { StatusCode::SEE_OTHER } else { StatusCode::SERVICE_UNAVAILABLE };
        complete(access, id, status).await;
        ended.map_err(|error| Problem::unavailable(format!("end the session: {error}")))?;
    }
    Ok(see_other("/login?out", Cookie::Session.clear(secure)))
}

async fn begin(
    access: &Access,
    session: Session,
    name: String,
    next: Option<&str>,
) -> Result<Response, Problem> {
    let token = match &session.holder {
        Holder::Token(id) => Some(*id),
        Holder::Person(_) => None,
    };
    let entry = AuditEntry { token, ..entry(access, &name, &session.origin, "POST /login") };
    let id = record(access, &entry).await?;
    let age = session.expires_at.since(session.created_at);
    let begun = access.begin_session(session).await;
    let status = begun.as_ref().err().and_then(|problem| StatusCode::from_u16(problem.status).ok());
    complete(access, id, status.unwrap_or(StatusCode::SEE_OTHER)).await;
    let secret = begun?;
    let cookie = Cookie::Session.set(secret.expose(), access.settings().is_secure, age);
    Ok(see_other(local(next), cookie))
}

async fn record(access: &Access, entry: &AuditEntry) -> Result<u64, Problem> {
    access.records.add_audit(entry).await.map_err(|error| {
        Problem::unavailable(format!("write the audit log: {error}; nothing was done"))
    })
}

async fn complete(access: &Access, id: u64, status: StatusCode) {
    if let Err(error) = access.records.complete_audit(id, status.as_u16()).await {
        tracing::warn!(%error, id, "an audit entry has no status");
    }
}

fn note_failure(access: &Access, origin: &str, problem: &Problem) {
    let entry = entry(access, refusals::UNKNOWN, origin, "POST /login");
    access.note_refusal(AuditEntry { status: Some(problem.status), ..entry });
}

fn entry(access: &Access, who: &str, origin: &str, action: &str) -> AuditEntry {
    AuditEntry {
        at: (access.clock)(),
        who: who.to_owned(),
        token: None,
        origin: origin.to_owned(),
        action: action.to_owned(),
        target: None,
        reason: None,
        status: None,
    }
}

fn no_provider() -> Problem {
    Problem::not_found("no identity provider is configured; sign in with a token at /login")
}

/// Where the identity provider sends the browser back to. The guard has checked the name.
fn back(access: &Access, headers: &HeaderMap) -> Result<String, Problem> {
    let settings = access.settings();
    if let Some(url) = settings.login.oidc.as_ref().and_then(|oidc| oidc.url.as_deref()) {
        return Ok(format!("{}{CALLBACK}", url.trim_end_matches('/')));
    }
    let host = headers.get(axum::http::header::HOST).and_then(|host| host.to_str().ok());
    let host = host.ok_or_else(|| Problem::bad_request("the request has no Host header"))?;
    let scheme = if access.settings().is_secure { "https" } else { "http" };
    Ok(format!("{scheme}://{host}{CALLBACK}"))
}

/// A path of this host, and nothing that a browser takes for another host.
fn local(next: Option<&str>) -> &str {
    let is_local = |path: &&str| {
        let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let second = path.as_bytes().get(1);
        path.starts_with('/') && second != Some(&b'/') && is_plain && path.len() <= NEXT_BYTES_MAX
    };
    next.filter(is_local).unwrap_or(START)
}

fn see_other(location: &str, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static(START));
    response.headers_mut().insert(LOCATION, location);
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// A value of a query.
fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_a_page_of_this_host_alone() {
        for page in ["/", "/instances?plugin=a%20b&x=/", "/a//b"] {
            assert_eq!(local(Some(page)), page);
        }
        let long = format!("/{}", "a".repeat(3000));
        for foreign in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "evil",
            "/a\nb",
            "/\t/evil.example",
            "javascript:alert(1)",
            "/ä",
            &long,
        ] {
            assert_eq!(local(Some(foreign)), "/", "{foreign}");
        }
        assert_eq!(local(None), "/");
    }

    #[test]
    fn a_page_without_a_session_leads_to_the_login_and_back() {
        let response = redirect(&"/instances?plugin=a&key=%2F".parse().unwrap());
        assert_eq!(response.status(), 303);
        let location = response.headers()[LOCATION].to_str().unwrap();
        assert_eq!(location, "/login?next=%2Finstances%3Fplugin%3Da%26key%3D%252F");
    }
}
