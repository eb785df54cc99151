//! What operators look at: instances, dead letters and accounts, read from the
//! store beside the engine. Reads only.

use std::fmt::Display;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::extract::{Filter, Segments};
use super::problem::Problem;
use crate::store::admin::DeadLetterFilter;

/// A page that a person scrolls through.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    status: Option<String>,
    /// Dead letters only, as what follows.
    plugin: Option<String>,
    plugin_version: Option<String>,
    sink: Option<String>,
    key: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    reason_contains: Option<String>,
    /// Where the page before ended.
    after: Option<String>,
    limit: Option<u32>,
}

impl Page {
    fn limit(&self) -> Result<u32, Problem> {
        match self.limit {
            None => Ok(PAGE),
            Some(limit @ 1..=PAGE_MAX) => Ok(limit),
            Some(other) => {
                let detail = format!("limit: is {other}; accepted are 1 to {PAGE_MAX}");
                Err(Problem::unacceptable("limit", detail))
            }
        }
    }
}

/// What serves, with how many instances each process manager has; what was refused, and
/// why; and what is being tried, beside what serves or on instances.
pub async fn plugins(State(site): State<Shared>) -> Result<Json<Value>, Problem> {
    let mut plugins = Vec::new();
    for plugin in site.board.serving() {
        let mut view = json!(plugin);
        if plugin.manifest.role.has_instances() {
            let name = plugin.manifest.name.as_str();
            view["instances"] = json!(site.admin.instance_counts(name).await.map_err(unreadable)?);
        }
        plugins.push(view);
    }
    let board = &site.board;
    Ok(Json(json!({
        "plugins": plugins,
        "candidates": board.candidates(),
        "refused": board.refused(),
        "checking": board.checking(),
        "left_out": board.left_out(),
    })))
}

pub async fn instances(
    State(site): State<Shared>,
    Segments(plugin): Segments<String>,
    Filter(page): Filter<Page>,
) -> Result<Json<Value>, Problem> {
    let limit = page.limit()?;
    let (status, after) = (page.status.as_deref(), page.after.as_deref());
    let rows = site.admin.instances(&plugin, status, after, limit).await.map_err(unreadable)?;
    Ok(Json(json!({ "instances": rows })))
}

pub async fn instance(
    State(site): State<Shared>,
    Segments((plugin, key)): Segments<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let found = site.admin.instance(&plugin, &key, PAGE).await.map_err(unreadable)?;
    let missing = || Problem::not_found(format!("{plugin} has no instance `{key}`"));
    Ok(Json(json!(found.ok_or_else(missing)?)))
}

pub async fn dead_letters(
    State(site): State<Shared>,
    Filter(page): Filter<Page>,
) -> Result<Json<Value>, Problem> {
    let limit = page.limit()?;
    let after = page.after.as_deref().unwrap_or("0").parse();
    let after =
        after.map_err(|_| Problem::unacceptable("after", "after: is not a dead letter's id"))?;
    let filter = DeadLetterFilter {
        plugin: page.plugin,
        plugin_version: page.plugin_version,
        status: page.status,
        sink: page.sink,
        key: page.key,
        event_type: page.event_type,
        reason_contains: page.reason_contains,
        after,
        limit,
    };
    let rows = site.admin.dead_letters(&filter).await.map_err(unreadable)?;
    Ok(Json(json!({ "dead_letters": rows })))
}

pub async fn accounts(State(site): State<Shared>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!(site.admin.accounts().await.map_err(unreadable)?)))
}

fn unreadable(error: impl Display) -> Problem {
    Problem::internal(format!("read the store: {error:#}"))
}
