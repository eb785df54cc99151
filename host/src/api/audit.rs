//! The audit log, as administrators read it.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::admin::unreadable;
use super::extract::Filter;
use super::paging::{self, limit};
use super::problem::Problem;
use crate::access::{AuditFilter, AuditRow};
use crate::io::times::Time;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entries {
    /// The name of a token, `local` or `unknown`.
    pub who: Option<String>,
    /// A part of the method and path, such as `cancel`.
    pub action_contains: Option<String>,
    pub from: Option<Time>,
    /// The end of the time, which is not included.
    pub to: Option<Time>,
    /// Where the page before ended.
    pub after: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditPage {
    pub entries: Vec<AuditRow>,
    pub next: Option<String>,
}

/// Oldest first.
pub(crate) async fn list(
    State(site): State<Shared>,
    Filter(asked): Filter<Entries>,
) -> Result<Json<AuditPage>, Problem> {
    let Entries { who, action_contains, from, to, after, limit: given } = asked;
    let (from, to) = (from.map(|time| time.0), to.map(|time| time.0));
    let (after, limit) = (paging::after(after.as_deref())?, limit(given)?);
    let filter = AuditFilter { who, action_contains, from, to, after, limit };
    let page = site.access.records.audit(&filter).await.map_err(unreadable)?;
    Ok(Json(AuditPage { entries: page.rows, next: page.next.map(|id| id.to_string()) }))
}
