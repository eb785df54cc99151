//! The frame of all pages: navigation, the name of the reader, light or dark, and the headers of
//! the answer.

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::visible::visible;
use super::{
    administration, batches, dead_letters, overview, pauses, plugins, queues, search, send,
};
use crate::access::Permission;
use crate::api::{Caller, Needs, Problem};

/// Scripts and styles are files of the host alone, and no other site can frame or take a page.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
    (header::CONTENT_SECURITY_POLICY, POLICY),
    // An address of a page has keys in it.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];
/// The reader's own choice between light and dark.
const THEME_COOKIE: &str = "theme";

/// The pages that the navigation names, in its order.
pub(super) const NAVIGATION: &[Entry] = &[
    Entry { path: overview::PATH, label: "Overview", needs: Needs::ForAll(Permission::Read) },
    Entry { path: search::PATH, label: "Instances", needs: Needs::ForPlugin(Permission::Read) },
    Entry {
        path: dead_letters::PATH,
        label: "Dead letters",
        needs: Needs::ForPlugin(Permission::Read),
    },
    Entry { path: batches::PATH, label: "Batches", needs: Needs::ForPlugin(Permission::Read) },
    Entry { path: plugins::PATH, label: "Plugins", needs: Needs::ForPlugin(Permission::Read) },
    Entry { path: queues::PATH, label: "Queues", needs: Needs::ForAll(Permission::Read) },
    Entry { path: pauses::PATH, label: "Pauses", needs: Needs::ForPlugin(Permission::Read) },
    Entry { path: queues::TIMERS, label: "Timers", needs: Needs::ForPlugin(Permission::Read) },
    Entry { path: send::PATH, label: "Send", needs: Needs::ForPlugin(Permission::Send) },
    Entry {
        path: administration::AUDIT,
        label: "Audit log",
        needs: Needs::ForAll(Permission::Administer),
    },
    Entry {
        path: administration::TOKENS,
        label: "Tokens",
        needs: Needs::ForAll(Permission::Administer),
    },
];

/// A page in the navigation.
#[derive(Debug)]
pub(super) struct Entry {
    pub path: &'static str,
    pub label: &'static str,
    pub needs: Needs,
}

impl Entry {
    pub(super) fn is_open_to(&self, caller: &Caller) -> bool {
        match self.needs {
            Needs::Nothing => true,
            Needs::ForPlugin(permission) => caller.may(permission),
            Needs::ForAll(permission) => caller.may(permission) && caller.check_whole().is_ok(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    Light,
    Dark,
}

/// The values that the layout shows. A page's template has it as its field `frame`.
#[derive(Debug)]
pub(super) struct Frame {
    pub title: String,
    /// The path of the navigation's entry that the page belongs to.
    pub section: &'static str,
    /// The stream that sends parts of the page again when they change.
    pub live: Option<String>,
    theme: Option<Theme>,
    pub entries: Vec<&'static Entry>,
    /// The name of the caller.
    pub reader: Option<String>,
    /// Whether the caller has signed in with this browser, and so can sign out.
    pub is_in_session: bool,
}

impl Frame {
    /// The frame of a page that anyone may see: an error, or a login.
    pub(super) fn without_caller(headers: &HeaderMap, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            section: "",
            live: None,
            theme: theme(headers),
            entries: Vec::new(),
            reader: None,
            is_in_session: false,
        }
    }

    /// Lets a stream at this address send parts of the page.
    pub(super) fn with_live(self, address: String) -> Self {
        Self { live: Some(address), ..self }
    }

    pub(super) fn theme(&self) -> &'static str {
        match self.theme {
            None => "auto",
            Some(Theme::Light) => "light",
            Some(Theme::Dark) => "dark",
        }
    }
}

/// The caller who opens a page. Handlers of pages take it beside the parts of the address.
pub(super) struct Visit {
    pub caller: Caller,
    theme: Option<Theme>,
}

impl Visit {
    /// `section` is the path of the navigation's entry that the page belongs to.
    pub(super) fn frame(&self, title: impl Into<String>, section: &'static str) -> Frame {
        let entries = NAVIGATION.iter().filter(|entry| entry.is_open_to(&self.caller));
        Frame {
            title: title.into(),
            section,
            live: None,
            theme: self.theme,
            entries: entries.collect(),
            reader: Some(self.caller.name().to_owned()),
            is_in_session: self.caller.session().is_some(),
        }
    }

    /// For the topic of a stream.
    pub(super) fn view(&self) -> String {
        self.caller.view()
    }

    pub(super) fn may_operate(&self) -> bool {
        self.caller.may(Permission::Operate)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = <Caller as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(Self { caller, theme: theme(&parts.headers) })
    }
}

fn theme(headers: &HeaderMap) -> Option<Theme> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        cookies.flat_map(|text| text.split(';')).filter_map(|c| c.trim().split_once('='));
    match pairs.find(|(name, _)| *name == THEME_COOKIE)?.1 {
        "light" => Some(Theme::Light),
        "dark" => Some(Theme::Dark),
        _ => None,
    }
}

/// A whole page, or a part of one that htmx has asked for.
#[derive(Debug)]
pub(super) struct Page {
    status: StatusCode,
    html: String,
}

impl Page {
    /// # Errors
    /// If a template cannot be rendered, which is a bug.
    pub(super) fn of(template: &impl Template) -> Result<Self, Problem> {
        Ok(Self { status: StatusCode::OK, html: html(template)? })
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

/// # Errors
/// If a template cannot be rendered, which is a bug.
pub(super) fn html(template: &impl Template) -> Result<String, Problem> {
    let html =
        template.render().map_err(|error| Problem::internal(format!("render a page: {error}")))?;
    Ok(visible(html))
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.html).into_response();
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(name, value);
        }
        response
    }
}
