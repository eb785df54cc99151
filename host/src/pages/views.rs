//! Saved views of the list of instances: what its page shows of them, and how they are saved and
//! deleted.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Redirect;
use serde::Deserialize;

use super::form::Submitted;
use super::frame::Visit;
use super::search::{self, Asked};
use super::words::query;
use super::{PageRoute, Pages, form};
use crate::access::Permission::Read;
use crate::api::Needs::ForPlugin;
use crate::api::extract::{Arguments, Filter, Segments};
use crate::api::paging::Paging;
use crate::api::views::{self, Delete, Save, ViewFilter, ViewShape};
use crate::api::{Caller, Problem, Shared};

/// As many as there can be.
const ROWS: u32 = 500;

pub(super) fn routes() -> Vec<PageRoute> {
    vec![form("/views", ForPlugin(Read), save), form("/views/{id}/delete", ForPlugin(Read), delete)]
}

/// The views that the caller may use.
pub(super) async fn all(site: &Shared, caller: &Caller) -> Result<Vec<ViewShape>, Problem> {
    let paging = Filter(Paging { after: None, limit: Some(ROWS) });
    Ok(views::list(State(Arc::clone(site)), caller.clone(), paging).await?.0.views)
}

/// The list that a view shows.
pub(super) fn address(filter: &ViewFilter) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let status = filter.status.map(|status| status.as_str().to_owned());
    let parameters = [
        ("plugin", filter.plugin.clone()),
        ("status", status.unwrap_or_default()),
        ("where", text(&filter.condition)),
        ("started_before", text(&filter.started_before)),
        ("started_after", text(&filter.started_after)),
        ("updated_before", text(&filter.updated_before)),
        ("updated_after", text(&filter.updated_after)),
        ("order", text(&filter.order)),
    ];
    format!("{}?{}", search::PATH, query(parameters.iter().map(|(name, text)| (*name, text))))
}

/// The name of a view, and the fields of the list's form.
#[derive(Debug, Deserialize)]
struct Saved {
    #[serde(default)]
    view: String,
    #[serde(flatten)]
    asked: Asked,
}

async fn save(
    State(pages): State<Pages>,
    visit: Visit,
    Submitted(Saved { view, asked }): Submitted<Saved>,
) -> Result<Redirect, Problem> {
    let list = asked.list()?;
    let filter = ViewFilter {
        plugin: list.plugin,
        status: list.status,
        condition: list.condition,
        started_before: list.started_before,
        started_after: list.started_after,
        updated_before: list.updated_before,
        updated_after: list.updated_after,
        order: list.order,
    };
    let address = address(&filter);
    let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
    let _ = views::save(site, caller, Arguments(Save { name: view, filter })).await?;
    Ok(Redirect::to(&address))
}

async fn delete(
    State(pages): State<Pages>,
    visit: Visit,
    Segments(id): Segments<String>,
) -> Result<Redirect, Problem> {
    let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
    let _ = views::delete(site, caller, Segments(id), Arguments(Delete::default())).await?;
    Ok(Redirect::to(search::PATH))
}
