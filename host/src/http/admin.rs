//! What operators look at: instances, dead letters and accounts, read from the
//! store beside the engine. Reads only.

use std::fmt::Display;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Site;
use super::extract::{Filter, Segments};
use super::problem::Problem;

/// A page that a person scrolls through.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    status: Option<String>,
    /// Where the page before ended.
    after: Option<String>,
    limit: Option<usize>,
}

impl Page {
    fn limit(&self) -> Result<usize, Problem> {
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

pub async fn instances(
    State(site): State<Site>,
    Segments(plugin): Segments<String>,
    Filter(page): Filter<Page>,
) -> Result<Json<Value>, Problem> {
    let limit = page.limit()?;
    let (status, after) = (page.status.as_deref(), page.after.as_deref());
    let rows = site.admin.instances(&plugin, status, after, limit).await.map_err(unreadable)?;
    Ok(Json(json!({ "instances": rows })))
}

pub async fn instance(
    State(site): State<Site>,
    Segments((plugin, key)): Segments<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let Some(instance) = site.admin.instance(&plugin, &key).await.map_err(unreadable)? else {
        return Err(Problem::not_found(format!("{plugin} has no instance `{key}`")));
    };
    let history = site.admin.history(&plugin, &key, PAGE).await.map_err(unreadable)?;
    Ok(Json(json!({ "instance": instance, "history": history })))
}

pub async fn dead_letters(
    State(site): State<Site>,
    Filter(page): Filter<Page>,
) -> Result<Json<Value>, Problem> {
    let limit = page.limit()?;
    let (status, after) = (page.status.as_deref(), page.after.as_deref());
    let rows = site.admin.dead_letters(status, after, limit).await.map_err(unreadable)?;
    Ok(Json(json!({ "dead_letters": rows })))
}

pub async fn accounts(State(site): State<Site>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!(site.admin.accounts().await.map_err(unreadable)?)))
}

fn unreadable(error: impl Display) -> Problem {
    Problem::internal(format!("read the store: {error:#}"))
}
