//! One instance: what it is about, why it waits, what can still come, what happened, and how each
//! decision changed its state.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{Redirect, Response};
use sagabox_engine::model::{Due, KeyChange, MessageKind, RecordedTimer, Timestamp};
use serde::Deserialize;

use super::form::Submitted;
use super::frame::{Frame, Page, Visit, html};
use super::live::Parts;
use super::search::{self, instance_address};
use super::timeline::Timeline;
use super::words::{Value, counted, indented, length, query, type_of};
use super::{PageRoute, Pages, form, page};
use crate::access::Permission::{Operate, Read};
use crate::api::Needs::ForPlugin;
use crate::api::decisions::DecisionView;
use crate::api::extract::{Arguments, Filter};
use crate::api::why::Explanation;
use crate::api::{Caller, Problem, Shared, admin, dead_letters, decisions, why};
use crate::decisions::json::{Difference, Json};
use crate::store::query::deliveries::Delivery;
use crate::store::query::rows::InstanceDetail;

/// Decisions of one page.
const ROWS: u32 = 50;
/// Longer values of a state are cut in the list of changes.
const VALUE_CHARACTERS: usize = 300;

pub(super) fn routes() -> Vec<PageRoute> {
    vec![
        page("/instance", ForPlugin(Read), show),
        page("/instance/live", ForPlugin(Read), live),
        form("/instance/cancel", ForPlugin(Operate), cancel),
        form("/instance/end", ForPlugin(Operate), end),
    ]
}

#[derive(Debug, Deserialize)]
struct Asked {
    plugin: String,
    key: String,
    after: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/instance.html")]
struct InstancePage {
    frame: Frame,
    detail: InstanceDetail,
    why: Explanation,
    state: Option<String>,
    timeline: Timeline,
    rows: Vec<Row>,
    may_operate: bool,
    /// The address of the page with older decisions.
    older: Option<String>,
    is_newest: bool,
}

#[derive(Template)]
#[template(path = "pages/instance_why.html")]
struct WhyPart {
    why: Explanation,
}

/// A decision, as the page shows it.
struct Row {
    position: u64,
    at: Timestamp,
    version: String,
    attempt: u32,
    event_type: String,
    event_id: Option<String>,
    /// What it did, a line each.
    did: Vec<String>,
    /// Its messages and what became of them.
    sent: Vec<Sent>,
    /// None if it is not known, or not to be seen.
    changes: Option<Vec<Change>>,
}

/// A message of a decision.
struct Sent {
    what: String,
    delivery: Delivery,
}

/// A place of the state, before and after.
#[derive(Debug, PartialEq)]
struct Change {
    place: String,
    before: Option<String>,
    after: Option<String>,
}

async fn show(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(asked): Filter<Asked>,
) -> Result<Page, Problem> {
    let Asked { plugin, key, after } = asked;
    let site = &pages.site;
    let is_newest = after.is_none();
    let wanted = admin::Instance {
        plugin: plugin.clone(),
        key: key.clone(),
        after: after.clone(),
        limit: Some(ROWS),
    };
    let caller = || visit.caller.clone();
    let detail = admin::instance(State(site.clone()), caller(), Filter(wanted)).await?.0;
    let why = explain(site, caller(), &plugin, &key).await?;
    let mut views = Vec::new();
    if detail.status.is_some() && visit.caller.sees_payloads() {
        let (plugin, key) = (plugin.clone(), key.clone());
        let wanted = decisions::Asked { plugin, key, after, limit: Some(ROWS) };
        views = decisions::list(State(site.clone()), caller(), Filter(wanted)).await?.0.decisions;
    }
    let rows = match views.is_empty() {
        true => detail.history.iter().map(Row::without_state).collect(),
        false => views.iter().map(Row::of).collect(),
    };
    let older = detail.next.map(|next| {
        let after = next.0.to_string();
        format!("/instance?{}", query([("plugin", &plugin), ("key", &key), ("after", &after)]))
    });
    let address = query([("plugin", &plugin), ("key", &key)]);
    let frame = visit.frame(format!("{key} of {plugin}"), search::PATH);
    Page::of(&InstancePage {
        frame: frame.with_live(format!("/instance/live?{address}")),
        state: detail.state.as_ref().map(|state| indented(state.get())),
        timeline: Timeline::of(&views),
        rows,
        may_operate: visit.may_operate(),
        older,
        is_newest,
        detail,
        why,
    })
}

async fn explain(
    site: &Shared,
    caller: Caller,
    plugin: &str,
    key: &str,
) -> Result<Explanation, Problem> {
    let asked = why::Asked { plugin: plugin.to_owned(), key: key.to_owned() };
    Ok(why::explain(State(site.clone()), caller, Filter(asked)).await?.0)
}

async fn live(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(asked): Filter<Asked>,
) -> Result<Response, Problem> {
    visit.caller.check_plugin(&asked.plugin)?;
    let topic = format!("/instance {:?} {:?} {}", asked.plugin, asked.key, visit.view());
    let (site, asked) = (Arc::clone(&pages.site), Arc::new(asked));
    pages.live.stream(topic, move || {
        let (site, caller, asked) = (Arc::clone(&site), visit.caller.clone(), Arc::clone(&asked));
        async move {
            let why = explain(&site, caller, &asked.plugin, &asked.key).await?;
            Ok(Parts::from([("why", html(&WhyPart { why })?)]))
        }
    })
}

#[derive(Debug, Deserialize)]
struct Order {
    plugin: String,
    key: String,
    #[serde(default)]
    reason: String,
}

impl Order {
    fn split(self) -> (dead_letters::Instance, String) {
        let address = instance_address(&self.plugin, &self.key);
        let Self { plugin, key, reason } = self;
        (dead_letters::Instance { plugin, key, by: None, reason: Some(reason) }, address)
    }
}

async fn cancel(
    State(pages): State<Pages>,
    caller: Caller,
    Submitted(order): Submitted<Order>,
) -> Result<Redirect, Problem> {
    let (instance, address) = order.split();
    dead_letters::cancel(State(pages.site.clone()), caller, Arguments(instance)).await?;
    Ok(Redirect::to(&address))
}

async fn end(
    State(pages): State<Pages>,
    caller: Caller,
    Submitted(order): Submitted<Order>,
) -> Result<Redirect, Problem> {
    let (instance, address) = order.split();
    dead_letters::end(State(pages.site.clone()), caller, Arguments(instance)).await?;
    Ok(Redirect::to(&address))
}

impl Row {
    fn of(view: &DecisionView) -> Self {
        let event = view.event.as_ref().map(|event| event.get());
        let changes = view.changes.as_ref();
        Self {
            position: view.position,
            at: view.decided_at,
            version: view.plugin_version.clone(),
            attempt: view.attempt,
            event_type: event
                .and_then(type_of)
                .unwrap_or_else(|| "removed by retention".to_owned()),
            event_id: event.and_then(super::words::id_of),
            did: did(&view.summary),
            sent: sent(&view.summary, &view.deliveries),
            changes: changes.map(|all| all.iter().map(Change::of).collect()),
        }
    }

    fn without_state(row: &crate::store::query::rows::HistoryRow) -> Self {
        let name = row.event.as_ref();
        Self {
            position: row.position.0,
            at: row.decided_at,
            version: row.plugin_version.clone(),
            attempt: row.attempt,
            event_type: name
                .map_or_else(|| "removed by retention".to_owned(), |name| name.event_type.clone()),
            event_id: name.map(|name| name.id.clone()),
            did: did(&row.summary),
            sent: sent(&row.summary, &row.deliveries),
            changes: None,
        }
    }
}

impl Change {
    fn of(difference: &Difference) -> Self {
        let place = difference.place.strip_prefix("state.").unwrap_or(&difference.place);
        Self {
            place: place.to_owned(),
            before: difference.expected.as_ref().map(value),
            after: difference.found.as_ref().map(value),
        }
    }
}

fn value(json: &Json) -> String {
    let text = json.to_string();
    match text.char_indices().nth(VALUE_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What a decision did, in sentences.
fn did(summary: &sagabox_engine::model::DecisionSummary) -> Vec<String> {
    let mut lines = Vec::new();
    for question in &summary.answers {
        lines.push(match &question.question {
            sagabox_engine::model::Question::Lookup { name, key } => {
                format!("asked the lookup {name} for {key}")
            }
            sagabox_engine::model::Question::Stream(subject) => {
                format!("read the stream of {subject}")
            }
        });
    }
    for timer in &summary.timers {
        lines.push(match timer {
            RecordedTimer::Set(name, Due::After(millis)) => {
                format!("set the timer {name} to fire after {}", length(millis))
            }
            RecordedTimer::Set(name, Due::At(at)) => {
                format!("set the timer {name} to fire at {}", super::words::utc(at))
            }
            RecordedTimer::Cancel(name) => format!("cancelled the timer {name}"),
        });
    }
    for key in &summary.keys {
        lines.push(match key {
            KeyChange::Claim(key) => format!("claimed the key {key}"),
            KeyChange::Release(key) => format!("released the key {key}"),
        });
    }
    if let Some(dead_letter) = summary.dead_letter {
        lines.push(format!("decided an event that was dead letter {}", dead_letter.0));
    }
    if summary.complete {
        lines.push("completed the instance".to_owned());
    }
    if let Some(ended) = &summary.ended {
        lines.push(format!("{} ended the instance: {}", ended.by, ended.reason));
    }
    if let Some(imported) = &summary.imported {
        let decisions = counted(imported.decisions, "decision", "decisions");
        lines.push(format!(
            "{} imported the instance from another host, where it had made {decisions}: {}",
            imported.by, imported.reason
        ));
    }
    lines
}

/// The messages of a decision, each with what became of it.
fn sent(summary: &sagabox_engine::model::DecisionSummary, deliveries: &[Delivery]) -> Vec<Sent> {
    let sent = summary.messages.iter().zip(deliveries).map(|(message, delivery)| {
        let kind = match message.kind {
            MessageKind::Command => "command",
            MessageKind::Event => "event",
        };
        let to = message.sink.as_ref().map_or("the log".to_owned(), ToString::to_string);
        let what = format!("sent the {kind} {} to {to}, id {}", message.event_type, message.id);
        Sent { what, delivery: delivery.clone() }
    });
    sent.collect()
}

/// The address at which a decision is decided again.
fn what_if_address(plugin: &str, key: &str, position: impl Value<u64>) -> String {
    let position = position.value().to_string();
    let parameters = [("plugin", plugin), ("key", key), ("position", &position)];
    format!("/instance/what-if?{}", query(parameters))
}

/// The address of the whole instance as one file.
fn file_address(plugin: &str, key: &str) -> String {
    format!("/v1/instance/file?{}", query([("plugin", plugin), ("key", key)]))
}
