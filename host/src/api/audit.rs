//! The audit log, as administrators read it.

use axum::Json;
use axum::extract::State;
use sagabox_engine::model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::admin::{limit, unreadable};
use super::extract::Filter;
use super::problem::Problem;
use crate::access::{AuditFilter, AuditRow};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entries {
    /// The name of a token, `local` or `unknown`.
    who: Option<String>,
    /// A part of the method and path, such as `cancel`.
    action_contains: Option<String>,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    from: Option<u64>,
    /// The end of the time, which is not included.
    to: Option<u64>,
    /// Where the page before ended.
    #[serde(default)]
    after: u64,
    limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditPage {
    entries: Vec<AuditRow>,
    next: Option<u64>,
}

/// Oldest first.
pub(crate) async fn list(
    State(site): State<Shared>,
    Filter(asked): Filter<Entries>,
) -> Result<Json<AuditPage>, Problem> {
    let Entries { who, action_contains, from, to, after, limit: given } = asked;
    let (from, to) = (from.map(Timestamp), to.map(Timestamp));
    let filter = AuditFilter { who, action_contains, from, to, after, limit: limit(given)? };
    let page = site.access.records.audit(&filter).await.map_err(unreadable)?;
    Ok(Json(AuditPage { entries: page.rows, next: page.next }))
}
