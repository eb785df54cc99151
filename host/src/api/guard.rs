//! Which requests a host answers at all: those that name it, and that no foreign web page
//! can have sent.
//!
//! A browser sends a page's requests also to this machine and its network, and adds what it has
//! for the host: cookies, and the address of a machine that needs no password. These rules keep
//! foreign pages out, on every route and method:
//!
//! - *Names.* The name in a request (`Host`, `:authority`, an absolute target) must be one
//!   of the host's own. A page whose name was made to lead to this machine (DNS rebinding)
//!   still sends its own name.
//! - *Origin.* `Origin`, where a browser sends it, must be the host itself, and
//!   `Sec-Fetch-Site` must not say that another site asks. But a person may follow a link from
//!   another site to a page: such a request only reads, and the other site cannot see the answer.
//! - *Proof.* What changes something and has a cookie, or is a form, must say where it comes from:
//!   without either header it could be of a browser that sends none.
//! - *Content type.* What changes something in the API must say that it is JSON. Without asking the
//!   host first (a CORS preflight, which it never grants) a page can send forms and plain
//!   text alone. The forms of the host's own pages go to paths outside of the API.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, Method, header, request};
use sagabox_engine::model::JSON;

use super::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
/// What the API's paths begin with.
const API: &str = "/v1/";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
/// Takes CloudEvents in any of their forms, and checks them itself.
const EVENTS: &str = "/v1/events";
/// Of a foreign name in a problem.
const SHOWN_MAX: usize = 100;

/// A name under which clients reach the host; with a port, under that port alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName {
    host: Box<str>,
    port: Option<u16>,
}

impl HostName {
    /// # Errors
    /// If it is no name or address, with or without a port.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "`{text}` is not a host name; write for example \"sagabox.example\" or \"10.0.0.5:8321\""
            )
        };
        // An IPv6 address needs no brackets when nothing follows it.
        let text = match text.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => text.to_owned(),
        };
        let authority = authority(&text).ok_or_else(fault)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[:]".contains(&byte);
        if !authority.host().bytes().all(is_plain) {
            return Err(fault());
        }
        Ok(Self { host: name_of(&authority).into(), port: authority.port_u16() })
    }

    fn is(&self, authority: &Authority) -> bool {
        *self.host == *name_of(authority)
            && (self.port.is_none() || self.port == authority.port_u16())
    }
}

/// What the host may be called.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    /// From the configuration, and the name in the address that is served.
    names: Vec<HostName>,
}

impl Guard {
    pub(crate) fn new(names: Vec<HostName>) -> Self {
        Self { names }
    }

    /// `local` is the address that the client has connected to.
    pub(crate) fn check(&self, request: &request::Parts, local: IpAddr) -> Result<(), Problem> {
        let own = self.check_names(request, local)?;
        self.check_origin(request, &own)?;
        check_content_type(request)?;
        check_proof(request)
    }

    /// Returns the name by which the client calls the host.
    fn check_names(&self, request: &request::Parts, local: IpAddr) -> Result<Authority, Problem> {
        let mut hosts = request.headers.get_all(header::HOST).iter();
        let (host, second) = (hosts.next(), hosts.next());
        if second.is_some() {
            return Err(Problem::bad_request("the request has several Host headers"));
        }
        let named = match host {
            None => None,
            Some(value) => Some(value.to_str().ok().and_then(authority).ok_or_else(|| {
                Problem::bad_request(format!(
                    "the Host header `{}` is not a host name",
                    shown(value)
                ))
            })?),
        };
        let target = request.uri.authority().cloned();
        for name in [&named, &target].into_iter().flatten() {
            if !self.is_own(name, local) {
                let name = clip(name.as_str());
                return Err(Problem::forbidden(format!(
                    "the request is for `{name}`, which is not a configured name of this host; \
                     if it is a name of this host, add it to `hosts` under [http] in the configuration"
                )));
            }
        }
        let none = || Problem::bad_request("the request has no Host header");
        target.or(named).ok_or_else(none)
    }

    fn is_own(&self, name: &Authority, local: IpAddr) -> bool {
        let host = name_of(name);
        let by_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| {
            let (address, local) = (address.to_canonical(), local.to_canonical());
            address.is_loopback() || address == local
        });
        by_address || host == "localhost" || self.names.iter().any(|own| own.is(name))
    }

    fn check_origin(&self, request: &request::Parts, own: &Authority) -> Result<(), Problem> {
        let headers = &request.headers;
        for origin in headers.get_all(header::ORIGIN) {
            let origin_text = origin.to_str().unwrap_or_default();
            let of_web = |scheme| origin_text.strip_prefix(scheme);
            let from = of_web("http://").or_else(|| of_web("https://")).and_then(authority);
            let is_own = from.is_some_and(|from| {
                from.as_str().eq_ignore_ascii_case(own.as_str())
                    || self.names.iter().any(|name| name.is(&from) && name.port == from.port_u16())
            });
            if !is_own {
                return Err(Problem::forbidden(format!(
                    "the request comes from a page of `{}`; pages of other sites cannot use this host",
                    shown(origin)
                )));
            }
        }
        for site in headers.get_all(SEC_FETCH_SITE) {
            if !matches!(site.as_bytes(), b"same-origin" | b"none") && !is_link(request) {
                return Err(Problem::forbidden(
                    "the request comes from a page of another site; pages of other sites cannot use this host",
                ));
            }
        }
        Ok(())
    }
}

/// Whether a route with this method could change something. No route has any other method, and a
/// page can send none without asking the host first.
fn can_change(request: &request::Parts) -> bool {
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(&request.method)
}

fn is_of_api(request: &request::Parts) -> bool {
    request.uri.path().starts_with(API)
}

/// Whether a person follows a link to a page.
fn is_link(request: &request::Parts) -> bool {
    let says = |name, value: &str| request.headers.get(name).is_some_and(|own| own == value);
    request.method == Method::GET
        && !is_of_api(request)
        && says(SEC_FETCH_MODE, "navigate")
        && says(SEC_FETCH_DEST, "document")
}

/// The headers, where they are, have been found to name this host.
fn check_proof(request: &request::Parts) -> Result<(), Problem> {
    let headers = &request.headers;
    let is_of_program = headers.contains_key(header::AUTHORIZATION);
    // The API takes no forms.
    let has_form = headers.get_all(header::CONTENT_TYPE).iter().any(|value| is_of(value, FORM));
    let needs_proof =
        !is_of_program && headers.contains_key(header::COOKIE) || !is_of_api(request) && has_form;
    let is_own = headers.contains_key(header::ORIGIN)
        || headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin");
    if !can_change(request) || !needs_proof || is_own {
        return Ok(());
    }
    Err(Problem::forbidden(
        "the request has a cookie or a form, but neither Origin nor Sec-Fetch-Site; a page of another \
         site could have sent it",
    ))
}

fn check_content_type(request: &request::Parts) -> Result<(), Problem> {
    if !can_change(request) || request.uri.path() == EVENTS {
        return Ok(());
    }
    let mut given = request.headers.get_all(header::CONTENT_TYPE).iter();
    match (given.next(), given.next()) {
        (Some(value), None) if is_of(value, JSON) => Ok(()),
        (Some(value), None) if is_of(value, FORM) && !is_of_api(request) => Ok(()),
        (None, _) => Err(Problem::unsupported_media_type(format!(
            "the request has no content type; send {JSON}"
        ))),
        (Some(value), _) => Err(Problem::unsupported_media_type(format!(
            "the content type is `{}`; send {JSON}",
            shown(value)
        ))),
    }
}

pub(super) fn is_of(value: &HeaderValue, kind: &str) -> bool {
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(kind)
}

/// Names one host, without a user, and with a port that there can be.
fn authority(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    let rest = text.strip_prefix(authority.host())?;
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
    let is_whole = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
    (is_whole && !authority.host().is_empty()).then_some(authority)
}

fn name_of(authority: &Authority) -> String {
    authority.host().to_ascii_lowercase()
}

fn shown(value: &HeaderValue) -> String {
    clip(&String::from_utf8_lossy(value.as_bytes()))
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const JSON_BODY: (&str, &str) = ("content-type", JSON);

    /// The status of the refusal; zero if there is none.
    #[track_caller]
    fn check(method: &str, target: &str, headers: &[(&str, &str)], expected: u16) {
        let names = ["ops.example", "[fd00::7]:80"].map(|name| HostName::parse(name).unwrap());
        let guard = Guard::new(names.to_vec());
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let found = guard.check(&parts, [192, 0, 2, 1].into());
        let status = found.as_ref().err().map_or(0, |problem| problem.status);
        assert_eq!(status, expected, "{method} {target} {headers:?}: {found:?}");
    }

    #[test]
    fn a_host_answers_to_its_names_alone() {
        for own in [
            "localhost",
            "LocalHost:8321",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:8321",
            "[::ffff:127.0.0.1]",
            "192.0.2.1:8321",
            "ops.example",
            "OPS.example:99",
            "[fd00::7]:80",
        ] {
            check("GET", "/v1/accounts", &[("host", own)], 0);
        }
        for foreign in [
            "evil.example",
            "evil.example:8321",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.2",
            "0.0.0.0:8321",
            "notlocalhost",
            "ops.example.",
            "[fd00::7]",
            "2130706433",
        ] {
            check("GET", "/v1/accounts", &[("host", foreign)], 403);
            check("GET", "/nothing", &[("host", foreign)], 403);
            check("POST", "/v1/events", &[("host", foreign), JSON_BODY], 403);
        }
        for broken in ["", "a b", "user@localhost", "localhost/x", "localhost:x"] {
            check("GET", "/v1/accounts", &[("host", broken)], 400);
        }
        check("GET", "/v1/accounts", &[], 400);
        check("GET", "/v1/accounts", &[("host", "localhost"), ("host", "localhost")], 400);
        check("GET", "http://evil.example/v1/accounts", &[("host", "localhost")], 403);
        check("GET", "http://localhost/v1/accounts", &[("host", "evil.example")], 403);
        check("GET", "http://localhost:1/v1/accounts", &[], 0);
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let from = |origin| [("host", "localhost:8321"), ("origin", origin), JSON_BODY];
        check("POST", "/v1/queues/lease", &from("http://localhost:8321"), 0);
        check("POST", "/v1/queues/lease", &from("https://ops.example"), 0);
        for foreign in [
            "http://evil.example",
            "null",
            "",
            "http://localhost",
            "http://localhost:3000",
            "http://127.0.0.1:8321",
            "https://ops.example:3000",
            "localhost:8321",
            "file://localhost:8321",
            "http://localhost:8321/x",
            "http://a@localhost:8321",
        ] {
            check("POST", "/v1/queues/lease", &from(foreign), 403);
            check("GET", "/v1/accounts", &from(foreign), 403);
        }
        let twice = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://x")];
        check("GET", "/v1/accounts", &twice, 403);
        for (site, status) in
            [("cross-site", 403), ("same-site", 403), ("", 403), ("same-origin", 0), ("none", 0)]
        {
            check(
                "GET",
                "/v1/accounts",
                &[("host", "localhost"), ("sec-fetch-site", site)],
                status,
            );
        }
    }

    #[test]
    fn a_link_of_another_site_leads_to_a_page_and_to_nothing_else() {
        let link = [
            ("host", "localhost"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        check("GET", "/instance?plugin=a", &link, 0);
        check("GET", "/v1/accounts", &link, 403);
        check("POST", "/logout", &[&link[..], &[JSON_BODY]].concat(), 403);
        // A frame, an image or a script of the other site.
        for (name, value) in [("sec-fetch-dest", "iframe"), ("sec-fetch-mode", "no-cors")] {
            let other = link.map(|own| if own.0 == name { (name, value) } else { own });
            check("GET", "/instance?plugin=a", &other, 403);
        }
    }

    #[test]
    fn a_cookie_or_a_form_needs_proof_of_its_origin() {
        let (cookie, form) = (("cookie", "a=b"), ("content-type", FORM));
        let (origin, site) = (("origin", "http://localhost"), ("sec-fetch-site", "same-origin"));
        let host = ("host", "localhost");
        for proof in [origin, site] {
            check("POST", "/logout", &[host, form, cookie, proof], 0);
            check("POST", "/v1/tokens", &[host, JSON_BODY, cookie, proof], 0);
        }
        check("POST", "/logout", &[host, form], 403);
        check("POST", "/logout", &[host, form, ("sec-fetch-site", "none")], 403);
        check("POST", "/v1/tokens", &[host, JSON_BODY, cookie], 403);
        check("POST", "/v1/tokens", &[host, JSON_BODY, cookie, ("authorization", "Bearer x")], 0);
        check("GET", "/v1/tokens", &[host, cookie], 0);
        check("POST", "/v1/tokens", &[host, form, origin], 415);
        check("POST", "/logout", &[host, ("content-type", "text/plain"), origin], 415);
    }

    #[test]
    fn what_changes_something_says_that_it_is_json() {
        let with = |content_type| [("host", "localhost"), ("content-type", content_type)];
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            check(method, "/x", &with("application/json"), 0);
            check(method, "/x", &with("Application/JSON; charset=utf-8"), 0);
            check(method, "/x", &[("host", "localhost")], 415);
            for simple in [
                "text/plain",
                "multipart/form-data",
                "",
                "text/plain; application/json",
                "application/jsonx",
                "text/plain;a=application/json",
            ] {
                check(method, "/x", &with(simple), 415);
            }
        }
        let twice = [("host", "localhost"), JSON_BODY, ("content-type", "text/plain")];
        check("POST", "/x", &twice, 415);
        // Their answer is that no route has them.
        for method in ["TRACE", "QUERY"] {
            check(method, "/x", &[("host", "localhost")], 0);
        }
    }

    #[test]
    fn a_name_in_the_configuration_is_checked() {
        for good in ["a", "a.b:1", "10.0.0.1", "::1", "[::1]:5"] {
            HostName::parse(good).unwrap();
        }
        for bad in ["", "*", "http://a", "a/b", "a b", "a@b", ":1", "a:99999"] {
            HostName::parse(bad).unwrap_err();
        }
    }
}
