//! Search: paste any id and land there, and lists of instances by plugin, status, age and fields.

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use sagabox_engine::model::{InstanceStatus, Timestamp};
use serde::Deserialize;

use super::batch_draft::Act;
use super::frame::{Frame, Page, Visit};
use super::words::{Value, query};
use super::{PageRoute, Pages, page};
use crate::access::Permission::Read;
use crate::api::Needs::ForPlugin;
use crate::api::extract::Filter;
use crate::api::views::ViewShape;
use crate::api::{Problem, Shared, admin, find};
use crate::store::query::found::{EventTrace, Found};
use crate::store::query::rows::InstanceRow;

pub(super) const PATH: &str = "/instances";
/// Rows of a list: a person scrolls through them.
const ROWS: u32 = 50;
/// Instances that are counted if a filter is given: a larger number says no more to a person.
const COUNTED: u32 = 1000;
/// How long a page looks for rows, and then counts. The reader asks for more if that is too short.
const LOOKS: Duration = Duration::from_millis(40);

pub(super) fn routes() -> Vec<PageRoute> {
    vec![
        page(PATH, ForPlugin(Read), instances),
        page("/search", ForPlugin(Read), search),
        page("/event", ForPlugin(Read), event),
    ]
}

/// The fields of the form; one that is empty is not there.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    plugin: String,
    #[serde(default)]
    status: String,
    #[serde(default, rename = "where")]
    condition: String,
    #[serde(default)]
    started_before: String,
    #[serde(default)]
    started_after: String,
    #[serde(default)]
    updated_before: String,
    #[serde(default)]
    updated_after: String,
    #[serde(default)]
    order: String,
    after: Option<String>,
}

impl Asked {
    /// Whether it asks for a part of the instances.
    fn has_times(&self) -> bool {
        let times =
            [&self.started_before, &self.started_after, &self.updated_before, &self.updated_after];
        times.iter().any(|time| !time.trim().is_empty())
    }

    /// The parameters of the list's address, but for where its page begins.
    fn parameters(&self) -> [(&'static str, &str); 8] {
        [
            ("plugin", &self.plugin),
            ("status", &self.status),
            ("where", &self.condition),
            ("started_before", &self.started_before),
            ("started_after", &self.started_after),
            ("updated_before", &self.updated_before),
            ("updated_after", &self.updated_after),
            ("order", &self.order),
        ]
    }

    /// As the API is asked.
    pub(super) fn list(&self) -> Result<admin::Instances, Problem> {
        let given = |text: &String| (!text.trim().is_empty()).then(|| text.trim().to_owned());
        let status = match self.status.as_str() {
            "" => None,
            text => {
                let known = InstanceStatus::ALL.into_iter().find(|status| status.as_str() == text);
                let detail = || format!("status: `{text}` is not running, completed or ended");
                Some(known.ok_or_else(|| Problem::unacceptable("status", detail()))?)
            }
        };
        Ok(admin::Instances {
            plugin: self.plugin.clone(),
            status,
            condition: given(&self.condition),
            started_before: given(&self.started_before),
            started_after: given(&self.started_after),
            updated_before: given(&self.updated_before),
            updated_after: given(&self.updated_after),
            order: given(&self.order),
            after: self.after.clone(),
            limit: Some(ROWS),
        })
    }
}

/// A process manager of the form.
struct Choice {
    name: String,
    fields: Vec<String>,
}

#[derive(Template)]
#[template(path = "pages/instances.html")]
struct InstancesPage {
    frame: Frame,
    asked: Asked,
    plugins: Vec<Choice>,
    views: Vec<ViewShape>,
    fields: Vec<String>,
    sees_payloads: bool,
    now: Timestamp,
    list: Option<List>,
    problem: Option<Problem>,
    /// None: the reader may not, or there is nothing to act on.
    act: Option<Act>,
}

struct List {
    rows: Vec<InstanceRow>,
    /// How many instances the whole list has, as far as they were counted, and whether these are
    /// all.
    count: (u64, bool),
    /// Whether it has fewer rows than a page because its time was over.
    is_cut: bool,
    /// The address of the page after this.
    next: Option<String>,
}

async fn instances(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(mut asked): Filter<Asked>,
) -> Result<Page, Problem> {
    let plugins = choices(&pages.site, &visit);
    if asked.plugin.is_empty()
        && let [only] = &plugins[..]
    {
        asked.plugin.clone_from(&only.name);
    }
    let (list, problem) = match asked.plugin.is_empty() {
        true => (None, None),
        false => match list(&pages.site, &visit, &asked).await {
            Ok(list) => (Some(list), None),
            // The form stays, so the reader can correct what it says.
            Err(problem) if problem.status == 422 => (None, Some(problem)),
            Err(problem) => return Err(problem),
        },
    };
    let chosen = plugins.iter().find(|plugin| plugin.name == asked.plugin);
    let fields = chosen.map(|plugin| plugin.fields.clone()).unwrap_or_default();
    let is_listed = list.as_ref().is_some_and(|list| !list.rows.is_empty());
    let act = match visit.may_operate() && is_listed {
        true => Act::on_instances(&asked.list()?),
        false => None,
    };
    let views = super::views::all(&pages.site, &visit.caller).await?;
    Page::of(&InstancesPage {
        frame: visit.frame("Instances", PATH),
        fields,
        sees_payloads: visit.caller.sees_payloads(),
        now: pages.site.now(),
        asked,
        plugins,
        views,
        list,
        problem,
        act,
    })
}

/// The process managers that serve, with the fields that they declare.
fn choices(site: &Shared, visit: &Visit) -> Vec<Choice> {
    let serving = site.plugin_status.serving().into_iter().map(|plugin| plugin.manifest);
    let own = serving.filter(|manifest| manifest.role.has_instances());
    let seen = own.filter(|manifest| visit.caller.sees_plugin(manifest.name.as_str()));
    let choice = |manifest: sagabox_engine::model::Manifest| Choice {
        name: manifest.name.to_string(),
        fields: manifest.optional.fields.into_iter().map(|field| field.name).collect(),
    };
    seen.map(choice).collect()
}

async fn list(site: &Shared, visit: &Visit, asked: &Asked) -> Result<List, Problem> {
    let (site, caller) = (&**site, &visit.caller);
    let page = admin::instances_within(site, caller, asked.list()?, Some(LOOKS)).await?;
    let count = admin::counted_to(site, caller, &asked.list()?, COUNTED, LOOKS).await?;
    let is_cut = page.next.is_some() && page.instances.len() < ROWS as usize;
    let next = page.next.map(|after| {
        let after = ("after", after.as_str());
        format!("{PATH}?{}", query(asked.parameters().into_iter().chain([after])))
    });
    Ok(List { rows: page.instances, count, is_cut, next })
}

impl List {
    /// How many there are, in words.
    fn counted(&self) -> String {
        let (count, is_exact) = self.count;
        let more = if is_exact { "" } else { "+" };
        let noun = if count == 1 && is_exact { "instance" } else { "instances" };
        format!("{}{more} {noun}", super::words::grouped(count))
    }
}

#[derive(Debug, Deserialize)]
struct Searched {
    #[serde(default)]
    text: String,
}

#[derive(Template)]
#[template(path = "pages/search.html")]
struct SearchPage {
    frame: Frame,
    text: String,
    found: Vec<Landing>,
}

/// One thing that was found, and its address.
struct Landing {
    kind: &'static str,
    text: String,
    address: String,
}

/// Leads to the only thing that has the text, or lists all that have it.
async fn search(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(Searched { text }): Filter<Searched>,
) -> Result<Response, Problem> {
    let text = text.trim().to_owned();
    let mut found = Vec::new();
    if !text.is_empty() {
        let asked = find::Find { text: text.clone() };
        let caller = visit.caller.clone();
        let list = find::find(State(pages.site.clone()), caller, Filter(asked)).await?.0;
        found = list.found.into_iter().map(Landing::of).collect();
    }
    if let [only] = &found[..] {
        return Ok(Redirect::to(&only.address).into_response());
    }
    let frame = visit.frame("Search", PATH);
    Ok(Page::of(&SearchPage { frame, text, found })?.into_response())
}

/// The address of an instance, or of a key.
pub(super) fn instance_address(plugin: &str, key: &str) -> String {
    format!("/instance?{}", query([("plugin", plugin), ("key", key)]))
}

/// The address of a decision on the page of its instance.
pub(super) fn decision_address(plugin: &str, key: &str, position: impl Value<u64>) -> String {
    format!("{}#decision-{}", instance_address(plugin, key), position.value())
}

impl Landing {
    fn of(found: Found) -> Self {
        let (kind, text, address) = match found {
            Found::Instance { plugin, key, status } => (
                "instance",
                format!("{key} of {plugin}, {}", status.as_str()),
                instance_address(&plugin, &key),
            ),
            Found::Claim { plugin, key, instance } => (
                "claimed key",
                format!("{key}, claimed by {instance} of {plugin}"),
                instance_address(&plugin, &instance),
            ),
            Found::Key { plugin, key } => {
                ("key", format!("{key} of {plugin}"), instance_address(&plugin, &key))
            }
            Found::Event { position, id, event_type, source, .. } => (
                "event",
                format!("{event_type} {id} from {source}, position {position}"),
                format!("/event?position={position}"),
            ),
            Found::Message { id, message_type, sink, plugin, key, cause, .. } => (
                "message",
                format!("{message_type} {id} of {plugin} {key}, to {sink}"),
                decision_address(&plugin, &key, cause),
            ),
            Found::DeadLetter { id, plugin, status, .. } => (
                "dead letter",
                format!("number {id} of {plugin}, {}", status.as_str()),
                format!("/dead-letters/{id}"),
            ),
        };
        Self { kind, text, address }
    }
}

#[derive(Template)]
#[template(path = "pages/event.html")]
struct EventPage {
    frame: Frame,
    trace: EventTrace,
    event: String,
}

async fn event(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(at): Filter<find::At>,
) -> Result<Page, Problem> {
    let trace = find::event(State(pages.site.clone()), visit.caller.clone(), Filter(at)).await?.0;
    let frame = visit.frame(format!("Event at position {}", trace.position), PATH);
    let event = super::words::indented(trace.event.get());
    Page::of(&EventPage { frame, trace, event })
}
