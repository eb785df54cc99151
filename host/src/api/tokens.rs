//! Tokens: created, listed and revoked by administrators.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use sagabox_engine::model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shared;
use super::admin::unwritten;
use super::caller::{Caller, LOCAL};
use super::dead_letters::short;
use super::extract::{Arguments, Filter, Segments};
use super::paging::Paging;
use super::problem::Problem;
use super::refusals::UNKNOWN;
use crate::access::{Fingerprint, NAME_BYTES_MAX, PERSON, Rate, Role, Secret, Token};
use crate::io::times::Time;

/// Who asks without a token, or is refused.
const RESERVED: [&str; 2] = [LOCAL, UNKNOWN];
/// Plugins, types or certificates that one token is restricted to.
const NAMES_MAX: usize = 100;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TokenRequest)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    /// Who or what uses the token. No two tokens that are valid have the same name.
    pub name: String,
    pub roles: BTreeSet<Role>,
    /// Whether it may see the data of events and the states of instances.
    #[serde(default)]
    pub payloads: bool,
    /// The only plugins that it may read and operate; empty for all.
    #[serde(default)]
    pub plugins: BTreeSet<String>,
    /// The only types that it may send and lease; empty for all.
    #[serde(default)]
    pub types: BTreeSet<String>,
    /// How many requests and events it may send in a second; without it, the rate of the
    /// configuration, if that has one.
    pub rate: Option<Rate>,
    /// SHA-256 of client certificates (hexadecimal). The token can be used only with one of them,
    /// and each of them stands for the token, also without it; empty for any client.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub certificates: BTreeSet<Fingerprint>,
    /// Without it, the token does not expire.
    pub expires_at: Option<Time>,
    /// Recorded in the audit log.
    #[serde(default)]
    #[expect(dead_code, reason = "the audit log has it before the handler runs")]
    pub reason: Option<String>,
}

/// Why a token is revoked.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RevokeRequest)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revoke {
    /// Recorded in the audit log.
    #[serde(default)]
    #[expect(dead_code, reason = "the audit log has it before the handler runs")]
    pub reason: Option<String>,
}

/// A new token. The host cannot show it again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedToken {
    pub token: String,
    pub details: TokenView,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenList {
    pub tokens: Vec<TokenView>,
    pub next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub(crate) struct TokenView {
    pub id: u64,
    pub name: String,
    /// `valid`, `expired` or `revoked`.
    #[schema(value_type = String)]
    pub status: &'static str,
    pub roles: BTreeSet<Role>,
    pub payloads: bool,
    pub plugins: BTreeSet<String>,
    pub types: BTreeSet<String>,
    pub rate: Option<Rate>,
    /// SHA-256 of client certificates (hexadecimal).
    #[schema(value_type = Vec<String>)]
    pub certificates: BTreeSet<Fingerprint>,
    pub created_at: Time,
    pub created_by: String,
    pub expires_at: Option<Time>,
    pub revoked_at: Option<Time>,
    /// Exact to a minute.
    pub last_used_at: Option<Time>,
}

pub(crate) async fn list(
    State(site): State<Shared>,
    Filter(paging): Filter<Paging>,
) -> Result<Json<TokenList>, Problem> {
    let now = (site.access.clock)();
    let (tokens, next) = paging.page(site.access.list(), |token| token.id)?;
    let tokens = tokens.into_iter().map(|token| view(token, now)).collect();
    Ok(Json(TokenList { tokens, next }))
}

pub(crate) async fn create(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(asked): Arguments<Create>,
) -> Result<Json<CreatedToken>, Problem> {
    let now = (site.access.clock)();
    let token = checked(asked, &caller, now)?;
    let is_taken = |other: &Token| other.name == token.name && other.is_valid(now);
    if site.access.list().iter().any(is_taken) {
        let detail = format!("a valid token has the name `{}`; revoke it first", token.name);
        return Err(Problem::conflict(detail));
    }
    let shares = |other: &&Token| {
        other.is_valid(now) && !other.certificates.is_disjoint(&token.certificates)
    };
    if let Some(other) = site.access.list().iter().find(shares) {
        let name = &other.name;
        let detail =
            format!("a certificate belongs to the token `{name}`, and can stand for one alone");
        return Err(Problem::conflict(detail));
    }
    let secret = Secret::generate().map_err(|error| Problem::internal(error.to_string()))?;
    let token = site.access.add(&secret, token).await.map_err(unwritten)?;
    let details = view(token, now);
    Ok(Json(CreatedToken { token: secret.expose().to_owned(), details }))
}

pub(crate) async fn revoke(
    State(site): State<Shared>,
    Segments(id): Segments<String>,
    Arguments(_): Arguments<Revoke>,
) -> Result<Json<TokenView>, Problem> {
    let unknown = || Problem::not_found(format!("`{id}` is not the id of a token"));
    let id: u64 = id.parse().map_err(|_| unknown())?;
    let now = (site.access.clock)();
    let tokens = site.access.list();
    let token = tokens.iter().find(|token| token.id == id).ok_or_else(unknown)?;
    let is_admin = |token: &&Token| token.is_valid(now) && token.roles.contains(&Role::Admin);
    if is_admin(&token) && tokens.iter().filter(is_admin).count() == 1 {
        let detail = "it is the last valid token of an administrator; create another one first";
        return Err(Problem::conflict(detail));
    }
    if !site.access.revoke(id).await.map_err(unwritten)? {
        return Err(Problem::conflict(format!("token {id} is revoked already")));
    }
    let token = site.access.list().into_iter().find(|token| token.id == id);
    token.map(|token| Json(view(token, now))).ok_or_else(unknown)
}

/// A name that a client chooses, for people.
pub(super) fn name(attribute: &str, text: String, max: usize) -> Result<String, Problem> {
    let name = short(attribute, text, max)?;
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        let detail =
            format!("{attribute}: must be a text without control characters, and not blank");
        return Err(Problem::unacceptable(attribute, detail));
    }
    Ok(name)
}

fn checked(asked: Create, caller: &Caller, now: Timestamp) -> Result<Token, Problem> {
    let Create { name, roles, payloads, plugins, types, rate, certificates, expires_at, reason: _ } =
        asked;
    let name = self::name("name", name, NAME_BYTES_MAX)?;
    if RESERVED.contains(&name.as_str()) || name.starts_with(PERSON) {
        let detail = format!("name: `{name}` has another meaning in records");
        return Err(Problem::unacceptable("name", detail));
    }
    if roles.is_empty() {
        return Err(Problem::unacceptable("roles", "roles: at least one role is required"));
    }
    if certificates.len() > NAMES_MAX {
        let detail = format!("certificates: has more than {NAMES_MAX} elements");
        return Err(Problem::unacceptable("certificates", detail));
    }
    for (attribute, names) in [("plugins", &plugins), ("types", &types)] {
        if names.len() > NAMES_MAX {
            let detail =
                format!("{attribute}: has {} elements; the maximum is {NAMES_MAX}", names.len());
            return Err(Problem::unacceptable(attribute, detail));
        }
        if roles.contains(&Role::Admin) && !names.is_empty() {
            let detail = format!("{attribute}: an administrator cannot be restricted");
            return Err(Problem::unacceptable(attribute, detail));
        }
    }
    let expires_at = expires_at.map(|time| time.0);
    if expires_at.is_some_and(|expiry| expiry <= now) {
        return Err(Problem::unacceptable("expires_at", "expires_at: is in the past"));
    }
    Ok(Token {
        id: 0,
        name,
        roles,
        payloads,
        plugins,
        types,
        rate,
        certificates,
        created_at: now,
        created_by: caller.name().to_owned(),
        expires_at,
        revoked_at: None,
        last_used_at: None,
    })
}

fn view(token: Token, now: Timestamp) -> TokenView {
    let status = match token.revoked_at {
        Some(_) => "revoked",
        None if token.is_valid(now) => "valid",
        None => "expired",
    };
    TokenView {
        id: token.id,
        name: token.name,
        status,
        roles: token.roles,
        payloads: token.payloads,
        plugins: token.plugins,
        types: token.types,
        rate: token.rate,
        certificates: token.certificates,
        created_at: Time(token.created_at),
        created_by: token.created_by,
        expires_at: token.expires_at.map(Time),
        revoked_at: token.revoked_at.map(Time),
        last_used_at: token.last_used_at.map(Time),
    }
}
