//! Finds what a text names, and shows one event with what became of it.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::admin::unreadable;
use super::caller::Caller;
use super::extract::Filter;
use super::problem::Problem;
use super::{Shared, hidden};
use crate::store::query::found::{EventTrace, Found};

/// More, and the text is no name of anything.
const FOUND_MAX: u32 = 50;
/// The longest id of an event.
const TEXT_BYTES_MAX: usize = 4096;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Find {
    /// A key, a claimed key, the id of an event or message, a position, or the number of a dead
    /// letter.
    pub text: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FoundList {
    /// At most 50.
    pub found: Vec<Found>,
}

pub(crate) async fn find(
    State(site): State<Shared>,
    caller: Caller,
    Filter(Find { text }): Filter<Find>,
) -> Result<Json<FoundList>, Problem> {
    let text = text.trim();
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        let detail = format!("text: must have 1 to {TEXT_BYTES_MAX} bytes");
        return Err(Problem::unacceptable("text", detail));
    }
    // An event belongs to no plugin; who may see some plugins alone finds it by what they did.
    let sees = |found: &Found| match found.plugin() {
        Some(plugin) => caller.sees_plugin(plugin),
        None => caller.check_whole().is_ok(),
    };
    let found = site.queries.find(text, FOUND_MAX, &sees).await.map_err(unreadable)?;
    Ok(Json(FoundList { found }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct At {
    /// Its place in the log.
    pub position: u64,
}

pub(crate) async fn event(
    State(site): State<Shared>,
    caller: Caller,
    Filter(At { position }): Filter<At>,
) -> Result<Json<EventTrace>, Problem> {
    let found = site.queries.trace(position).await.map_err(unreadable)?;
    let missing = || Problem::not_found(format!("the log has no event at position {position}"));
    let mut trace = found.ok_or_else(missing)?;
    if caller.check_whole().is_err() {
        for keys in [&mut trace.decided, &mut trace.held, &mut trace.parked] {
            keys.retain(|key| caller.sees_plugin(&key.plugin));
        }
        // An event that no plugin of the caller has taken is as good as none.
        if trace.decided.is_empty() && trace.held.is_empty() && trace.parked.is_empty() {
            return Err(missing());
        }
        trace.dead_letters.clear();
    }
    if !caller.sees_payloads() {
        hidden::trace(&mut trace);
    }
    Ok(Json(trace))
}
