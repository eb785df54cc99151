//! Pages for administrators: the audit log, and the tokens, which they create and revoke.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::dead_letters::given;
use super::form::Submitted;
use super::frame::{Frame, Page, Visit};
use super::words::query;
use super::{PageRoute, Pages, form, page};
use crate::access::Permission::Administer;
use crate::access::{AuditRow, Role};
use crate::api::Needs::ForAll;
use crate::api::audit::{self, Entries};
use crate::api::extract::{Arguments, Filter, Segments};
use crate::api::paging::Paging;
use crate::api::tokens::{self, Create, CreatedToken, Revoke, TokenView};
use crate::api::{Problem, Shared};

pub(super) const AUDIT: &str = "/audit";
pub(super) const TOKENS: &str = "/tokens";
/// More than a host has.
const TOKENS_MAX: u32 = 1000;

pub(super) fn routes() -> Vec<PageRoute> {
    vec![
        page(AUDIT, ForAll(Administer), show_audit),
        page(TOKENS, ForAll(Administer), show_tokens),
        form(TOKENS, ForAll(Administer), create),
        form("/tokens/{id}/revoke", ForAll(Administer), revoke),
    ]
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    who: String,
    action_contains: String,
    after: String,
}

#[derive(Template)]
#[template(path = "pages/audit.html")]
struct AuditShown {
    frame: Frame,
    asked: Asked,
    entries: Vec<AuditRow>,
    next: Option<String>,
}

async fn show_audit(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(asked): Filter<Asked>,
) -> Result<Page, Problem> {
    let entries = Entries {
        who: given(&asked.who),
        action_contains: given(&asked.action_contains),
        from: None,
        to: None,
        after: given(&asked.after),
        limit: None,
    };
    let found = audit::list(State(Arc::clone(&pages.site)), Filter(entries)).await?.0;
    let next = found.next.map(|next| {
        let given = [
            ("who", asked.who.as_str()),
            ("action_contains", asked.action_contains.as_str()),
            ("after", next.as_str()),
        ];
        format!("{AUDIT}?{}", query(given))
    });
    let frame = visit.frame("Audit log", AUDIT);
    Page::of(&AuditShown { frame, asked, entries: found.entries, next })
}

#[derive(Template)]
#[template(path = "pages/tokens.html")]
struct TokensShown {
    frame: Frame,
    tokens: Vec<TokenView>,
    written: Written,
    refusal: Option<Problem>,
    created: Option<CreatedToken>,
}

/// What a reader has written into the form of a new token.
#[derive(Debug, Default)]
struct Written {
    name: String,
    roles: BTreeSet<Role>,
    payloads: bool,
    plugins: String,
    types: String,
    reason: String,
}

impl Written {
    fn of(given: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut written = Self::default();
        for (name, text) in given {
            match name.as_str() {
                "name" => written.name = text,
                "role" => {
                    let role = Role::ALL.into_iter().find(|role| role.as_str() == text);
                    written.roles.insert(role.ok_or_else(|| {
                        Problem::unacceptable("roles", format!("roles: `{text}` is not a role"))
                    })?);
                }
                "payloads" => written.payloads = true,
                "plugins" => written.plugins = text,
                "types" => written.types = text,
                "reason" => written.reason = text,
                _ => {}
            }
        }
        Ok(written)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn has(&self, role: &Role) -> bool {
        self.roles.contains(role)
    }
}

/// The names in a text, between blanks and commas.
fn names(text: &str) -> BTreeSet<String> {
    let names = text.split([' ', ',', '\t', '\r', '\n']).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

async fn show_tokens(State(pages): State<Pages>, visit: Visit) -> Result<Page, Problem> {
    shown(&pages.site, &visit, Written::default(), None, None).await
}

async fn shown(
    site: &Shared,
    visit: &Visit,
    written: Written,
    refusal: Option<Problem>,
    created: Option<CreatedToken>,
) -> Result<Page, Problem> {
    let paging = Paging { after: None, limit: Some(TOKENS_MAX) };
    let tokens = tokens::list(State(Arc::clone(site)), Filter(paging)).await?.0.tokens;
    let status = refusal.as_ref().map_or(200, |problem| problem.status);
    let frame = visit.frame("Tokens", TOKENS);
    let page = Page::of(&TokensShown { frame, tokens, written, refusal, created })?;
    Ok(page.with_status(status.try_into().unwrap_or_default()))
}

async fn create(
    State(pages): State<Pages>,
    visit: Visit,
    Submitted(given_fields): Submitted<Vec<(String, String)>>,
) -> Result<Page, Problem> {
    let written = Written::of(given_fields)?;
    let asked = Create {
        name: written.name.clone(),
        roles: written.roles.clone(),
        payloads: written.payloads,
        plugins: names(&written.plugins),
        types: names(&written.types),
        rate: None,
        certificates: BTreeSet::new(),
        expires_at: None,
        reason: given(&written.reason),
    };
    let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
    match tokens::create(site, caller, Arguments(asked)).await {
        Ok(created) => shown(&pages.site, &visit, Written::default(), None, Some(created.0)).await,
        Err(problem) if [409, 422].contains(&problem.status) => {
            shown(&pages.site, &visit, written, Some(problem), None).await
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Why {
    reason: String,
}

async fn revoke(
    State(pages): State<Pages>,
    visit: Visit,
    Segments(id): Segments<String>,
    Submitted(why): Submitted<Why>,
) -> Result<Response, Problem> {
    let site = State(Arc::clone(&pages.site));
    let asked = Arguments(Revoke { reason: given(&why.reason) });
    match tokens::revoke(site, Segments(id), asked).await {
        Ok(_) => Ok(Redirect::to(TOKENS).into_response()),
        Err(problem) if problem.status == 409 => {
            let page = shown(&pages.site, &visit, Written::default(), Some(problem), None).await?;
            Ok(page.into_response())
        }
        Err(problem) => Err(problem),
    }
}
