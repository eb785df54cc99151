//! Saved views: filters of the list of instances, by name. All readers of a plugin see its views; the
//! caller who saved one, or an operator, deletes it.

use axum::Json;
use axum::extract::State;
use sagabox_engine::model::InstanceStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::admin::{plugin_exists, unreadable, unwritten};
use super::caller::Caller;
use super::dead_letters::short;
use super::extract::{Arguments, Filter, Segments};
use super::paging::Paging;
use super::problem::Problem;
use super::{Shared, Site, admin};
use crate::access::{NAME_BYTES_MAX, Permission};
use crate::io::times::Time;
use crate::store::query::shapes::InstanceStatusName;
use crate::store::query::views::{View, ViewRow};

/// More than people can use. Each list of instances shows them.
const VIEWS_MAX: u64 = 500;
/// Of a filter as JSON: far more than a condition that people write has.
const FILTER_BYTES_MAX: usize = 4096;

/// The parameters of `GET /v1/instances`, but for where its page begins. Durations stay durations, so
/// they count back from when the view is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ViewFilter {
    pub plugin: String,
    #[schema(value_type = Option<InstanceStatusName>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<InstanceStatus>,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ViewRequest)]
#[serde(deny_unknown_fields)]
pub(crate) struct Save {
    /// A view of the caller with this name is replaced.
    pub name: String,
    pub filter: ViewFilter,
}

/// Why a view is deleted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ViewDeletion)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delete {
    /// Recorded in the audit log.
    #[serde(default)]
    #[expect(dead_code, reason = "the audit log has it before the handler runs")]
    pub reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ViewPage {
    /// In the order of their names.
    pub views: Vec<ViewShape>,
    pub next: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = View)]
pub(crate) struct ViewShape {
    pub id: u64,
    pub name: String,
    pub filter: ViewFilter,
    pub saved_by: String,
    pub saved_at: Time,
    /// Whether the caller may delete it.
    pub deletable: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeletedView {
    pub id: u64,
}

pub(crate) async fn list(
    State(site): State<Shared>,
    caller: Caller,
    Filter(paging): Filter<Paging>,
) -> Result<Json<ViewPage>, Problem> {
    let mut views = seen(&site, &caller).await?;
    // The order of a page is that of its places.
    views.sort_by_key(place);
    let (views, next) = paging.page(views, place)?;
    Ok(Json(ViewPage { views, next }))
}

fn place(view: &ViewShape) -> String {
    format!("{} {:020}", view.name, view.id)
}

pub(crate) async fn save(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(Save { name, filter }): Arguments<Save>,
) -> Result<Json<ViewShape>, Problem> {
    let name = super::tokens::name("name", name.trim().to_owned(), NAME_BYTES_MAX)?;
    // What the list would refuse is refused here.
    let list = filter.list();
    admin::selected(&site, &caller, &list).await?;
    let text = serde_json::to_string(&filter);
    let text = text.map_err(|error| Problem::internal(error.to_string()))?;
    let view = View {
        name,
        plugin: filter.plugin.clone(),
        filter: short("filter", text, FILTER_BYTES_MAX)?,
        owner: caller.identity(),
        saved_by: caller.name().to_owned(),
        saved_at: site.now(),
    };
    let saved = site.views.save_view(&view, VIEWS_MAX).await.map_err(unwritten)?;
    let Some(id) = saved else {
        let detail = format!("{VIEWS_MAX} views are saved, which is the maximum; delete some");
        return Err(Problem::conflict(detail));
    };
    Ok(Json(shape(&caller, ViewRow { id, view })?))
}

pub(crate) async fn delete(
    State(site): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    Arguments(_): Arguments<Delete>,
) -> Result<Json<DeletedView>, Problem> {
    let missing = || Problem::not_found(format!("`{id}` is not the id of a view"));
    let number: u64 = id.parse().map_err(|_| missing())?;
    let views = site.views.views().await.map_err(unreadable)?;
    let row = views.into_iter().find(|row| row.id == number).ok_or_else(missing)?;
    caller.check_plugin(&row.view.plugin)?;
    plugin_exists(&site, &row.view.plugin).await?;
    if !may_delete(&caller, &row.view) {
        let detail = format!(
            "view {id} is of `{}`; the caller who saved a view deletes it, or an operator",
            row.view.saved_by
        );
        return Err(Problem::forbidden(detail));
    }
    match site.views.delete_view(number).await.map_err(unwritten)? {
        true => Ok(Json(DeletedView { id: number })),
        false => Err(missing()),
    }
}

/// The views that the caller can use: a condition on fields shows payloads.
async fn seen(site: &Site, caller: &Caller) -> Result<Vec<ViewShape>, Problem> {
    let rows = site.views.views().await.map_err(unreadable)?;
    let own = rows.into_iter().filter(|row| caller.sees_plugin(&row.view.plugin));
    let mut views = Vec::new();
    for row in own {
        let view = shape(caller, row)?;
        let shows_payloads = view.filter.condition.is_some() || view.filter.order.is_some();
        if !shows_payloads || caller.sees_payloads() {
            views.push(view);
        }
    }
    Ok(views)
}

fn may_delete(caller: &Caller, view: &View) -> bool {
    caller.identity() == view.owner || caller.may(Permission::Operate)
}

fn shape(caller: &Caller, ViewRow { id, view }: ViewRow) -> Result<ViewShape, Problem> {
    let filter = serde_json::from_str(&view.filter);
    Ok(ViewShape {
        id,
        deletable: may_delete(caller, &view),
        filter: filter.map_err(|error| Problem::internal(format!("view {id}: {error}")))?,
        name: view.name,
        saved_by: view.saved_by,
        saved_at: Time(view.saved_at),
    })
}

impl ViewFilter {
    fn list(&self) -> admin::Instances {
        let Self { plugin, status, condition, order, .. } = self.clone();
        admin::Instances {
            plugin,
            status,
            condition,
            started_before: self.started_before.clone(),
            started_after: self.started_after.clone(),
            updated_before: self.updated_before.clone(),
            updated_after: self.updated_after.clone(),
            order,
            after: None,
            limit: None,
        }
    }
}
