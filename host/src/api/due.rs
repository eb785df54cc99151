//! What comes next, over all plugins: timers in the order of their times, and the next attempts at
//! events and messages that have failed.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::admin::{plugin_exists, sink_exists, unreadable};
use super::caller::Caller;
use super::extract::Filter;
use super::instance_filter::time_to_come;
use super::paging;
use super::problem::Problem;
use crate::store::query::rows::{DueTimer, TimerFilter, WaitFilter, WaitRow};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timers {
    pub plugin: Option<String>,
    /// That of the instance which set it.
    pub key: Option<String>,
    pub name: Option<String>,
    /// Due earlier than this time (RFC 3339), or in less than this duration, such as `2h`.
    pub due_before: Option<String>,
    /// Due at this time or later.
    pub due_after: Option<String>,
    /// Where the page before ended: its `next`.
    pub after: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct TimerPage {
    pub timers: Vec<DueTimer>,
    pub next: Option<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Waits {
    pub plugin: Option<String>,
    /// Messages of this sink alone.
    pub sink: Option<String>,
    /// Where the page before ended: its `next`.
    pub after: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct WaitPage {
    pub waits: Vec<WaitRow>,
    pub next: Option<String>,
}

pub(crate) async fn timers(
    State(site): State<Shared>,
    caller: Caller,
    Filter(asked): Filter<Timers>,
) -> Result<Json<TimerPage>, Problem> {
    let Timers { plugin, key, name, due_before, due_after, after, limit } = asked;
    let limit = paging::limit(limit)?;
    check(&site, &caller, plugin.as_deref()).await?;
    let after = after.as_deref().map(paging::written).transpose()?;
    let now = site.now();
    let time = |name: &'static str, text: Option<String>| {
        text.map(|text| time_to_come(name, &text, now)).transpose()
    };
    let (due_before, due_after) = (time("due_before", due_before)?, time("due_after", due_after)?);
    let filter = TimerFilter { plugin, key, name, due_before, due_after, after, limit };
    let page = site.queries.timers(&filter).await.map_err(unreadable)?;
    let next = page.next.as_ref().map(paging::write).transpose()?;
    Ok(Json(TimerPage { timers: page.rows, next }))
}

pub(crate) async fn waits(
    State(site): State<Shared>,
    caller: Caller,
    Filter(asked): Filter<Waits>,
) -> Result<Json<WaitPage>, Problem> {
    let Waits { plugin, sink, after, limit } = asked;
    let limit = paging::limit(limit)?;
    check(&site, &caller, plugin.as_deref()).await?;
    if let Some(sink) = &sink {
        sink_exists(&site, sink).await?;
    }
    let after = after.as_deref().map(paging::written).transpose()?;
    let filter = WaitFilter { plugin, sink, after, limit };
    let page = site.queries.waits(&filter).await.map_err(unreadable)?;
    let next = page.next.as_ref().map(paging::write).transpose()?;
    Ok(Json(WaitPage { waits: page.rows, next }))
}

/// A caller who is restricted to plugins names one of them.
pub(super) async fn check(
    site: &super::Site,
    caller: &Caller,
    plugin: Option<&str>,
) -> Result<(), Problem> {
    match plugin {
        None => caller.check_whole(),
        Some(plugin) => {
            caller.check_plugin(plugin)?;
            plugin_exists(site, plugin).await
        }
    }
}
