//! `[login]`: how long sessions last, and the identity provider.

use std::path::Path;
use std::time::Duration;

use reqwest::Url;
use toml::Spanned;

use super::file::{Fault, GrantSection, LoginSection, OidcSection};
use crate::access::Role;
use crate::api::{Claims, Grant, LoginSettings, OidcSettings};
use crate::io::durations;
use crate::io::secrets::is_loopback;

/// The claim with the groups of a person, at most providers.
const ROLES_CLAIM: &str = "groups";
const SCOPES: [&str; 2] = ["profile", "email"];

pub(super) fn login(
    said: LoginSection,
    default: &LoginSettings,
    directory: &Path,
) -> Result<LoginSettings, Fault> {
    let length = |key: &str, said: Option<&Spanned<String>>, default: Duration| {
        let Some(said) = said else { return Ok(default) };
        let length = durations::duration(said.get_ref()).ok().filter(|length| !length.is_zero());
        length.ok_or_else(|| {
            let given = said.get_ref();
            let reason =
                format!("login.{key}: `{given}` is not a duration; write for example \"12h\"");
            Fault::at(said.span(), reason)
        })
    };
    Ok(LoginSettings {
        session: length("session", said.session.as_ref(), default.session)?,
        idle: length("idle", said.idle.as_ref(), default.idle)?,
        oidc: said.oidc.map(|said| oidc(said, directory)).transpose()?,
    })
}

fn oidc(said: Spanned<OidcSection>, directory: &Path) -> Result<OidcSettings, Fault> {
    let span = said.span();
    let fault = |reason: String| Fault::at(span.clone(), format!("login.oidc.{reason}"));
    let said = said.into_inner();
    check_url("issuer", &said.issuer).map_err(&fault)?;
    if let Some(url) = &said.url {
        check_url("url", url).map_err(&fault)?;
    }
    if said.grant.is_empty() {
        return Err(fault(
            "grant: is required, or no person could do anything; write [[login.oidc.grant]] with a `value` \
             of the claim and its `roles`"
                .to_owned(),
        ));
    }
    let grants = said.grant.into_iter().map(grant).collect::<Result<_, _>>().map_err(&fault)?;
    let roles = said.roles_claim.unwrap_or_else(|| ROLES_CLAIM.to_owned());
    Ok(OidcSettings {
        issuer: said.issuer,
        client_id: said.client_id,
        client_secret: said.client_secret.map(|secret| secret.under(directory)),
        scopes: said.scopes.unwrap_or_else(|| SCOPES.map(str::to_owned).to_vec()),
        url: said.url,
        name: said.name,
        claims: Claims { roles, name: said.name_claim, grants },
    })
}

fn grant(said: GrantSection) -> Result<Grant, String> {
    let GrantSection { value, roles, payloads, plugins } = said;
    if roles.is_empty() {
        return Err(format!("grant: `{value}` has no roles"));
    }
    if roles.contains(&Role::Admin) && !plugins.is_empty() {
        return Err(format!("grant: `{value}`: an administrator cannot be restricted to plugins"));
    }
    Ok(Grant { value, roles, payloads, plugins })
}

/// Codes and tokens cross no network where they can be read.
fn check_url(key: &str, text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("{key}: `{text}`: {error}"))?;
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(&url) => Ok(()),
        _ => Err(format!("{key}: `{text}` is not an address with https")),
    }
}
