//! Dead letters: in groups by their causes, and as lists of those that match a filter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use sagabox_engine::model::{DeadLetterStatus, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::batch_draft::{Act, members};
use super::frame::{Frame, Page, Visit, html};
use super::live::Parts;
use super::plugin_choice::{chosen, plugins};
use super::words::query;
use super::{PageRoute, Pages, page};
use crate::access::Permission::{Operate, Read};
use crate::api::Needs::ForPlugin;
use crate::api::admin::{self, CausePage, Causes, DeadLetterPage, DeadLetters};
use crate::api::batches::{self, BatchView, Listing};
use crate::api::extract::Filter;
use crate::api::{Caller, Problem, Shared};
use crate::store::query::rows::{CauseRow, DeadLetterRow};

pub(super) const PATH: &str = "/dead-letters";
/// Groups on a page: what a person looks through.
const CAUSES: u32 = 50;
/// The newest batches, among which the last one of each group is looked for.
const BATCHES: u32 = 100;

pub(super) fn routes() -> Vec<PageRoute> {
    vec![
        page(PATH, ForPlugin(Read), groups),
        page("/dead-letters/live", ForPlugin(Read), live),
        page("/dead-letters/list", ForPlugin(Read), list),
    ]
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    plugin: String,
    after: String,
}

#[derive(Template)]
#[template(path = "pages/dead_letters.html")]
struct GroupsPage {
    frame: Frame,
    asked: Asked,
    plugins: BTreeSet<String>,
    groups: Groups,
}

#[derive(Template)]
#[template(path = "pages/dead_letters_groups.html")]
struct GroupsPart {
    groups: Groups,
}

struct Groups {
    causes: Vec<CauseRow>,
    exact: bool,
    next: Option<String>,
    now: Timestamp,
    may_operate: bool,
    /// The newest batches on dead letters that were started, with what they select.
    batches: Vec<(Selected, BatchView)>,
}

/// What a batch selects, by the names of the members of its filter.
type Selected = BTreeMap<String, String>;

async fn groups(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(asked): Filter<Asked>,
) -> Result<Page, Problem> {
    let plugins = plugins(&pages.site, &visit.caller).await?;
    let plugin = chosen(asked.plugin, &visit.caller, &plugins);
    let asked = Asked { plugin, ..asked };
    let address = query([("plugin", &asked.plugin), ("after", &asked.after)]);
    let frame = visit.frame("Dead letters", PATH);
    let frame = frame.with_live(format!("/dead-letters/live?{address}"));
    let groups = Groups::read(&pages.site, &visit.caller, &asked).await?;
    Page::of(&GroupsPage { frame, asked, plugins, groups })
}

async fn live(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(asked): Filter<Asked>,
) -> Result<Response, Problem> {
    let plugins = plugins(&pages.site, &visit.caller).await?;
    let plugin = chosen(asked.plugin, &visit.caller, &plugins);
    let asked = Asked { plugin, ..asked };
    let (site, caller) = (Arc::clone(&pages.site), visit.caller.clone());
    pages.live.stream(format!("{PATH} {asked:?} {}", visit.view()), move || {
        let (site, caller, asked) = (Arc::clone(&site), caller.clone(), asked.clone());
        async move {
            let groups = Groups::read(&site, &caller, &asked).await?;
            Ok(Parts::from([("groups", html(&GroupsPart { groups })?)]))
        }
    })
}

/// None for an empty field of a form.
pub(super) fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl Groups {
    async fn read(site: &Shared, caller: &Caller, asked: &Asked) -> Result<Self, Problem> {
        let (plugin, after) = (given(&asked.plugin), given(&asked.after));
        let causes = Causes { plugin, after, limit: Some(CAUSES) };
        let page = admin::causes(State(Arc::clone(site)), caller.clone(), Filter(causes)).await?;
        let CausePage { causes, next, exact } = page.0;
        let next = next
            .map(|next| format!("{PATH}?{}", query([("plugin", &asked.plugin), ("after", &next)])));
        let may_operate = caller.may(Operate);
        let batches = match causes.is_empty() {
            true => Vec::new(),
            false => started(site, caller, given(&asked.plugin)).await?,
        };
        Ok(Self { causes, exact, next, now: site.now(), may_operate, batches })
    }

    /// The last batch on exactly this group.
    fn last_batch(&self, group: &CauseRow) -> Option<&BatchView> {
        let selection = Act::on_group(group).selection.into_iter();
        let selection: Selected = selection.map(|(name, value)| (name.to_owned(), value)).collect();
        let found = self.batches.iter().find(|(selected, _)| *selected == selection);
        found.map(|(_, batch)| batch)
    }
}

async fn started(
    site: &Shared,
    caller: &Caller,
    plugin: Option<String>,
) -> Result<Vec<(Selected, BatchView)>, Problem> {
    let listing = Listing { status: None, plugin, after: None, limit: Some(BATCHES) };
    let (site, caller) = (State(Arc::clone(site)), caller.clone());
    let mut batches = batches::list(site, caller, Filter(listing)).await?.0.batches;
    batches.retain(|batch| batch.started_at.is_some() && !batch.action.is_of_instances());
    Ok(batches.into_iter().map(|batch| (members(&batch.filter), batch)).collect())
}

/// The address of the list of a group's dead letters.
fn list_address(cause: &CauseRow) -> String {
    let sink = cause.sink.as_deref().unwrap_or_default();
    group_address([&cause.plugin, &cause.plugin_version, sink, &cause.cause])
}

/// The address of the list of the open dead letters with one cause.
pub(super) fn group_address([plugin, plugin_version, sink, cause]: [&str; 4]) -> String {
    let given = [
        ("plugin", plugin),
        ("plugin_version", plugin_version),
        ("sink", sink),
        ("cause", cause),
        // An empty field of a form asks for nothing, so this is one of its own.
        ("without_reason", if cause.is_empty() { "true" } else { "" }),
        ("status", "open"),
    ];
    format!("/dead-letters/list?{}", query(given))
}

/// The fields of the filter's form.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Listed {
    plugin: String,
    plugin_version: String,
    status: String,
    sink: String,
    key: String,
    #[serde(rename = "type")]
    event_type: String,
    reason_contains: String,
    cause: String,
    /// Only those whose cause is empty.
    without_reason: bool,
    after: String,
}

#[derive(Template)]
#[template(path = "pages/dead_letters_list.html")]
struct ListPage {
    frame: Frame,
    asked: Listed,
    plugins: BTreeSet<String>,
    rows: Vec<Row>,
    next: Option<String>,
    problem: Option<Problem>,
    /// None: the reader may not, or there is nothing to act on.
    act: Option<Act>,
}

/// A dead letter in a list.
struct Row {
    dead_letter: DeadLetterRow,
    name: EventName,
}

/// The part of an event that a list shows.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct EventName {
    pub id: String,
    #[serde(rename = "type")]
    pub event_type: String,
}

impl EventName {
    pub(super) fn of(event: &RawValue) -> Self {
        serde_json::from_str(event.get()).unwrap_or_default()
    }
}

async fn list(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(mut asked): Filter<Listed>,
) -> Result<Page, Problem> {
    let plugins = plugins(&pages.site, &visit.caller).await?;
    if let Some(first) = plugins.first()
        && asked.plugin.is_empty()
        && visit.caller.check_whole().is_err()
    {
        asked.plugin.clone_from(first);
    }
    let (page, act, problem) = match listed(&pages.site, &visit, &asked).await {
        Ok((page, act)) => (Some(page), act, None),
        Err(problem) => (None, None, Some(problem)),
    };
    let (rows, next) = page.map(|page| (page.dead_letters, page.next)).unwrap_or_default();
    let row =
        |dead_letter: DeadLetterRow| Row { name: EventName::of(&dead_letter.event), dead_letter };
    let next = next.map(|next| asked.address(&next));
    let frame = visit.frame("Dead letters", PATH);
    let rows = rows.into_iter().map(row).collect();
    let status = problem.as_ref().map_or(200, |problem| problem.status);
    let page = Page::of(&ListPage { frame, asked, plugins, rows, next, problem, act })?;
    Ok(page.with_status(status.try_into().unwrap_or_default()))
}

/// A page of the list, and what can be done with all that it shows.
async fn listed(
    site: &Shared,
    visit: &Visit,
    asked: &Listed,
) -> Result<(DeadLetterPage, Option<Act>), Problem> {
    let dead_letters = asked.dead_letters()?;
    let act = if visit.may_operate() { Act::on_dead_letters(&dead_letters) } else { None };
    let site = State(Arc::clone(site));
    let page = admin::dead_letters(site, visit.caller.clone(), Filter(dead_letters)).await?.0;
    let act = act.filter(|_| !page.dead_letters.is_empty());
    Ok((page, act))
}

impl Listed {
    fn dead_letters(&self) -> Result<DeadLetters, Problem> {
        let status = match self.status.as_str() {
            "" => None,
            name => Some(status(name).ok_or_else(|| {
                Problem::unacceptable("status", format!("status: `{name}` is not a status"))
            })?),
        };
        Ok(DeadLetters {
            plugin: given(&self.plugin),
            // It is empty for messages, and only a group asks for it.
            plugin_version: given(&self.plugin_version)
                .or_else(|| (self.cause().is_some() && !self.sink.is_empty()).then(String::new)),
            status,
            sink: given(&self.sink),
            key: given(&self.key),
            event_type: given(&self.event_type),
            reason_contains: given(&self.reason_contains),
            cause: self.cause(),
            after: given(&self.after),
            limit: None,
        })
    }

    fn cause(&self) -> Option<String> {
        given(&self.cause).or_else(|| self.without_reason.then(String::new))
    }

    fn address(&self, after: &str) -> String {
        let given = [
            ("plugin", self.plugin.as_str()),
            ("plugin_version", self.plugin_version.as_str()),
            ("status", self.status.as_str()),
            ("sink", self.sink.as_str()),
            ("key", self.key.as_str()),
            ("type", self.event_type.as_str()),
            ("reason_contains", self.reason_contains.as_str()),
            ("cause", self.cause.as_str()),
            ("without_reason", if self.without_reason { "true" } else { "" }),
            ("after", after),
        ];
        format!("/dead-letters/list?{}", query(given))
    }
}

/// The statuses, by their names.
const STATUSES: [DeadLetterStatus; 6] = [
    DeadLetterStatus::Open,
    DeadLetterStatus::Redriving,
    DeadLetterStatus::Redriven,
    DeadLetterStatus::Skipped,
    DeadLetterStatus::Discarded,
    DeadLetterStatus::Compensated,
];

fn status(name: &str) -> Option<DeadLetterStatus> {
    STATUSES.into_iter().find(|status| status.as_str() == name)
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;

    use super::*;

    fn listed(address: &str) -> Listed {
        Query::try_from_uri(&address.parse().unwrap()).unwrap().0
    }

    #[test]
    fn the_list_of_a_group_has_the_dead_letters_of_that_group_alone() {
        for (group, version, sink, cause) in [
            (["p", "1.0", "", "it broke"], Some("1.0"), None, "it broke"),
            (["p", "1.0", "", ""], Some("1.0"), None, ""),
            (["p", "", "web", "no route"], Some(""), Some("web"), "no route"),
            (["p", "", "web", ""], Some(""), Some("web"), ""),
        ] {
            let list = listed(&group_address(group));
            let next = listed(&list.address("7"));
            assert_eq!((next.cause(), next.after.as_str()), (list.cause(), "7"), "{group:?}");
            let found = list.dead_letters().unwrap();
            assert_eq!(found.cause.as_deref(), Some(cause), "{group:?}");
            assert_eq!(found.plugin_version.as_deref(), version, "{group:?}");
            assert_eq!(found.sink.as_deref(), sink, "{group:?}");
        }
        assert_eq!(Listed::default().dead_letters().unwrap().cause, None);
    }
}
