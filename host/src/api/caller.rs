//! Who asks, and what the caller may do, as the handlers see it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;

use super::live::Live;
use super::problem::Problem;
use crate::access::Permission;

/// The name of a caller without a token in records.
pub(super) const LOCAL: &str = "local";

/// A caller who may use the route.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// None: the caller is on this machine, and needs none.
    live: Option<Arc<Live>>,
    /// The session of a person with a browser.
    session: Option<u64>,
    pub origin: IpAddr,
}

impl Caller {
    pub(super) fn local(origin: IpAddr) -> Self {
        Self { live: None, session: None, origin }
    }

    pub(super) fn with(live: Arc<Live>, origin: IpAddr) -> Self {
        Self { live: Some(live), session: None, origin }
    }

    pub(super) fn in_session(live: Arc<Live>, session: u64, origin: IpAddr) -> Self {
        Self { live: Some(live), session: Some(session), origin }
    }

    /// The same caller, in a session.
    #[cfg(test)]
    pub(super) fn within(self, session: u64) -> Self {
        Self { session: Some(session), ..self }
    }

    /// The id of the session, if a person asks with a browser.
    pub(crate) fn session(&self) -> Option<u64> {
        self.session
    }

    /// Stays the same for one caller, and belongs to no other.
    pub(super) fn identity(&self) -> String {
        self.live.as_ref().map_or_else(|| LOCAL.to_owned(), |live| live.identity())
    }

    /// The caller, in a sentence.
    fn described(&self) -> String {
        match &self.live {
            Some(live) if live.is_person() => format!("`{}`", live.token.name),
            _ => format!("the token `{}`", self.name()),
        }
    }

    /// Takes the cost of a request from what the caller may ask for in a second.
    pub(crate) fn charge(&self, cost: usize) -> Result<(), Problem> {
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        self.live.as_ref().map_or(Ok(()), |live| live.charge(cost))
    }

    pub(crate) fn name(&self) -> &str {
        self.live.as_ref().map_or(LOCAL, |live| &live.token.name)
    }

    /// The name of the token, or of the person. None for a caller who needs no token.
    pub(crate) fn token_name(&self) -> Option<&str> {
        self.live.as_ref().map(|live| &*live.token.name)
    }

    /// The id of the token. None for a person whom an identity provider knows.
    pub(crate) fn token(&self) -> Option<u64> {
        self.live.as_ref().filter(|live| !live.is_person()).map(|live| live.token.id)
    }

    /// The name for a record, with the one that the request gives. Who has no token has no name
    /// but that.
    pub(crate) fn signed(&self, by: Option<String>) -> Option<String> {
        match (&self.live, by) {
            (None, by) => by,
            (Some(live), None) => Some(live.token.name.clone()),
            (Some(live), Some(by)) if by == live.token.name => Some(by),
            (Some(live), Some(by)) => Some(format!("{by} ({})", live.token.name)),
        }
    }

    pub(crate) fn sees_payloads(&self) -> bool {
        self.live.as_ref().is_none_or(|live| live.token.sees_payloads())
    }

    /// Refuses a request whose answer would show payloads; `what` says how.
    pub(crate) fn check_payloads(&self, what: &str) -> Result<(), Problem> {
        match self.sees_payloads() {
            true => Ok(()),
            false => Err(Problem::forbidden(format!(
                "{what}, and {} may not see payloads",
                self.described()
            ))),
        }
    }

    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.live.as_ref().is_none_or(|live| live.token.permits(permission))
    }

    pub(super) fn check(&self, permission: Permission) -> Result<(), Problem> {
        let Some(live) = self.live.as_ref().filter(|live| !live.token.permits(permission)) else {
            return Ok(());
        };
        let roles: Vec<_> = live.token.roles.iter().map(|role| role.as_str()).collect();
        let (who, has, needs) = (self.described(), roles.join(", "), permission.roles());
        Err(Problem::forbidden(format!("{who} has the role {has}; this needs {needs}")))
    }

    /// What the caller may see. Two callers with the same view get the same answers.
    pub(crate) fn view(&self) -> String {
        let may: Vec<_> = Permission::ALL.into_iter().filter(|p| self.may(*p)).collect();
        let plugins = self.plugins().map(listed);
        format!("{may:?} {} {plugins:?}", self.sees_payloads())
    }

    /// The only plugins of the caller; none for all.
    pub(super) fn plugins(&self) -> Option<&std::collections::BTreeSet<String>> {
        let plugins = self.live.as_ref().map(|live| &live.token.plugins)?;
        (!plugins.is_empty()).then_some(plugins)
    }

    /// Refuses what is about all plugins.
    pub(crate) fn check_whole(&self) -> Result<(), Problem> {
        match self.plugins() {
            None => Ok(()),
            Some(plugins) => Err(Problem::forbidden(format!(
                "{} is restricted to the plugins {}; name one of them",
                self.described(),
                listed(plugins)
            ))),
        }
    }

    pub(crate) fn sees_plugin(&self, plugin: &str) -> bool {
        self.plugins().is_none_or(|plugins| plugins.contains(plugin))
    }

    pub(crate) fn check_plugin(&self, plugin: &str) -> Result<(), Problem> {
        match self.sees_plugin(plugin) {
            true => Ok(()),
            false => Err(Problem::forbidden(format!(
                "{} is not for the plugin `{plugin}`",
                self.described()
            ))),
        }
    }

    /// A type of events to send, or of messages to lease.
    pub(crate) fn check_type(&self, message_type: &str) -> Result<(), Problem> {
        let types = self.live.as_ref().map(|live| &live.token.types);
        match types.is_none_or(|types| types.is_empty() || types.contains(message_type)) {
            true => Ok(()),
            false => Err(Problem::forbidden(format!(
                "{} is not for the type `{message_type}`",
                self.described()
            ))),
        }
    }
}

fn listed(names: &std::collections::BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing =
            || Problem::internal("a bug in Sagabox: a route without a check of its caller");
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
