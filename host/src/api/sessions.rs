//! The sessions of people: listed and ended by administrators.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shared;
use super::admin::unwritten;
use super::extract::{Arguments, Filter, Segments};
use super::live::Live;
use super::paging::Paging;
use super::problem::Problem;
use crate::access::{Holder, Role, Session};
use crate::io::times::Time;

/// Why a session is ended.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = EndSessionRequest)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    /// Recorded in the audit log.
    #[serde(default)]
    #[expect(dead_code, reason = "the audit log has it before the handler runs")]
    reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionList {
    sessions: Vec<SessionView>,
    next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    id: u64,
    /// The name of the token, or `oidc:` and the name of the person.
    who: String,
    /// The id of the token with which the person has signed in.
    token: Option<u64>,
    /// The identity provider at which the person has signed in.
    issuer: Option<String>,
    /// The identity provider's own name for the person.
    subject: Option<String>,
    roles: BTreeSet<Role>,
    payloads: bool,
    plugins: BTreeSet<String>,
    /// The client's address at the login.
    origin: String,
    created_at: Time,
    expires_at: Time,
    /// Exact to a minute.
    last_used_at: Time,
}

pub(crate) async fn list(
    State(site): State<Shared>,
    Filter(paging): Filter<Paging>,
) -> Result<Json<SessionList>, Problem> {
    let (rows, next) = paging.page(site.access.list_sessions(), |(session, _)| session.id)?;
    let sessions = rows.into_iter().map(|(session, holder)| view(session, &holder)).collect();
    Ok(Json(SessionList { sessions, next }))
}

pub(crate) async fn end(
    State(site): State<Shared>,
    Segments(id): Segments<String>,
    Arguments(_): Arguments<End>,
) -> Result<Json<SessionView>, Problem> {
    let unknown = || Problem::not_found(format!("`{id}` is not the id of an open session"));
    let number: u64 = id.parse().map_err(|_| unknown())?;
    let open = site.access.list_sessions().into_iter();
    let mut found = open.filter(|(session, _)| session.id == number);
    let (session, holder) = found.next().ok_or_else(unknown)?;
    if !site.access.end_session(number).await.map_err(unwritten)? {
        return Err(unknown());
    }
    Ok(Json(view(session, &holder)))
}

fn view(session: Session, holder: &Live) -> SessionView {
    let token = &holder.token;
    let (id, issuer, subject) = match session.holder {
        Holder::Token(id) => (Some(id), None, None),
        Holder::Person(person) => (None, Some(person.issuer), Some(person.subject)),
    };
    SessionView {
        id: session.id,
        who: token.name.clone(),
        token: id,
        issuer,
        subject,
        roles: token.roles.clone(),
        payloads: token.sees_payloads(),
        plugins: token.plugins.clone(),
        origin: session.origin,
        created_at: Time(session.created_at),
        expires_at: Time(session.expires_at),
        last_used_at: Time(session.last_used_at),
    }
}
