//! One dead letter: why it failed, its event with an editor, what the plugin logged in that call,
//! and what an operator can do about it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use sagabox_engine::model::Event;
use serde::Deserialize;

use super::dead_letters::{EventName, PATH, group_address};
use super::edited::restored;
use super::form::Submitted;
use super::frame::{Frame, Page, Visit, html};
use super::live::Parts;
use super::words::too_long_to_edit;
use super::{PageRoute, Pages, form, page};
use crate::access::Permission::{Operate, Read};
use crate::api::Needs::ForPlugin;
use crate::api::admin::{self, Log};
use crate::api::dead_letters::{self, One};
use crate::api::extract::{Arguments, Filter, Segments};
use crate::api::{Caller, Problem, Shared};
use crate::plugins::wasm::Line;
use crate::store::query::rows::DeadLetterRow;

/// Lines of the plugin's log that are shown: those of the call, and of its retries.
const LINES: u32 = 100;

/// The forms that give an event or message up: their paths, titles, hints and buttons.
const DROPPING: [(&str, &str, &str, &str); 2] = [
    ("skip", "Go on without it", "What waits behind it is processed.", "Skip"),
    ("discard", "Drop it and all that waits", "What waits behind it is dropped, too.", "Discard"),
];

pub(super) fn routes() -> Vec<PageRoute> {
    vec![
        page("/dead-letters/{id}", ForPlugin(Read), show),
        page("/dead-letters/{id}/live", ForPlugin(Read), live),
        form("/dead-letters/{id}/redrive", ForPlugin(Operate), redrive),
        form("/dead-letters/{id}/skip", ForPlugin(Operate), skip),
        form("/dead-letters/{id}/discard", ForPlugin(Operate), discard),
    ]
}

/// What a reader has written into the forms.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    reason: String,
    /// The event, if it was shown.
    event: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/dead_letter.html")]
struct DeadLetterPage {
    frame: Frame,
    dead_letter: DeadLetterRow,
    name: EventName,
    lines: Vec<Line>,
    sees_payloads: bool,
    may_operate: bool,
    /// The text in the editor.
    text: String,
    /// The size of an event that is too long for the editor.
    too_long: Option<u64>,
    written: Written,
    refusal: Option<Refusal>,
}

#[derive(Template)]
#[template(path = "pages/dead_letter_status.html")]
struct StatusPart {
    dead_letter: DeadLetterRow,
}

/// Why a form was refused.
struct Refusal {
    problem: Problem,
    /// The path of the form, below that of the dead letter.
    form: &'static str,
}

impl DeadLetterPage {
    /// The message at a field of a form.
    fn at(&self, form: &str, field: &str) -> Option<&str> {
        let refusal = self.refusal.as_ref().filter(|refusal| refusal.form == form)?;
        let attribute = refusal.problem.attribute.as_deref()?;
        // The API names the attribute of the event that is wrong.
        let is_meant = if field == "event" { attribute != "reason" } else { attribute == field };
        is_meant.then_some(&*refusal.problem.detail)
    }

    /// A refusal that is about no field.
    fn problem(&self) -> Option<&Problem> {
        let problem = &self.refusal.as_ref()?.problem;
        problem.attribute.is_none().then_some(problem)
    }

    fn same_cause(&self) -> String {
        let dead_letter = &self.dead_letter;
        let sink = dead_letter.sink.as_ref().map_or("", |sink| sink.as_str());
        let DeadLetterRow { plugin, plugin_version, cause, .. } = dead_letter;
        group_address([plugin.as_str(), plugin_version, sink, cause])
    }
}

async fn show(
    State(pages): State<Pages>,
    visit: Visit,
    Segments(id): Segments<String>,
) -> Result<Page, Problem> {
    shown(&pages.site, &visit, id, Written::default(), None).await
}

async fn shown(
    site: &Shared,
    visit: &Visit,
    id: String,
    written: Written,
    refusal: Option<Refusal>,
) -> Result<Page, Problem> {
    let dead_letter = read(site, &visit.caller, id).await?;
    let name = EventName::of(&dead_letter.event);
    let sees_payloads = visit.caller.sees_payloads();
    let lines = match sees_payloads && dead_letter.sink.is_none() {
        true => lines(site, &visit.caller, &dead_letter, &name).await,
        false => Vec::new(),
    };
    let too_long = too_long_to_edit(current(&dead_letter));
    let text = match (&written.event, too_long) {
        (Some(text), _) => text.clone(),
        (None, None) => current(&dead_letter).to_owned(),
        (None, Some(_)) => String::new(),
    };
    let (id, status) = (dead_letter.id.0, refusal.as_ref().map(|refusal| refusal.problem.status));
    let page = Page::of(&DeadLetterPage {
        frame: visit
            .frame(format!("Dead letter {id}"), PATH)
            .with_live(format!("/dead-letters/{id}/live")),
        may_operate: visit.may_operate(),
        dead_letter,
        name,
        lines,
        sees_payloads,
        text,
        too_long,
        written,
        refusal,
    })?;
    Ok(match status {
        Some(status) => page.with_status(status.try_into().unwrap_or_default()),
        None => page,
    })
}

async fn read(site: &Shared, caller: &Caller, id: String) -> Result<DeadLetterRow, Problem> {
    let dead_letter =
        dead_letters::show(State(Arc::clone(site)), caller.clone(), Segments(id)).await?;
    Ok(dead_letter.0)
}

/// The event that a redrive processes.
fn current(dead_letter: &DeadLetterRow) -> &str {
    dead_letter.edited.as_ref().unwrap_or(&dead_letter.event).get()
}

/// Without log lines the dead letter is shown all the same.
async fn lines(
    site: &Shared,
    caller: &Caller,
    dead_letter: &DeadLetterRow,
    name: &EventName,
) -> Vec<Line> {
    let log = Log {
        plugin: dead_letter.plugin.to_string(),
        key: dead_letter.key.as_ref().map(ToString::to_string),
        event: Some(name.id.clone()),
        after: None,
        limit: Some(LINES),
    };
    let found = admin::log(State(Arc::clone(site)), caller.clone(), Filter(log)).await;
    let mut lines = found.map(|page| page.0.lines).unwrap_or_default();
    lines.reverse();
    lines
}

async fn live(
    State(pages): State<Pages>,
    visit: Visit,
    Segments(id): Segments<String>,
) -> Result<Response, Problem> {
    let (site, caller) = (Arc::clone(&pages.site), visit.caller.clone());
    // A dead letter that the caller may not see has no stream.
    read(&site, &caller, id.clone()).await?;
    pages.live.stream(format!("{PATH}/{id} {}", visit.view()), move || {
        let (site, caller, id) = (Arc::clone(&site), caller.clone(), id.clone());
        async move {
            let dead_letter = read(&site, &caller, id).await?;
            Ok(Parts::from([("dead-letter-status", html(&StatusPart { dead_letter })?)]))
        }
    })
}

async fn redrive(
    State(pages): State<Pages>,
    visit: Visit,
    Segments(id): Segments<String>,
    Submitted(written): Submitted<Written>,
) -> Result<Response, Problem> {
    let (site, caller) = (&pages.site, visit.caller.clone());
    let dead_letter = read(site, &caller, id.clone()).await?;
    let done = match edited(&dead_letter, &written) {
        Err(problem) => Err(problem),
        Ok(event) => {
            let one = One { by: None, reason: reason(&written), event };
            let site = State(Arc::clone(site));
            dead_letters::redrive(site, caller, Segments(id.clone()), Arguments(one)).await
        }
    };
    answer(&pages, &visit, id, written, "redrive", done.map(drop)).await
}

async fn skip(
    State(pages): State<Pages>,
    visit: Visit,
    Segments(id): Segments<String>,
    Submitted(written): Submitted<Written>,
) -> Result<Response, Problem> {
    let one = One { by: None, reason: reason(&written), event: None };
    let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
    let done = dead_letters::skip(site, caller, Segments(id.clone()), Arguments(one)).await;
    answer(&pages, &visit, id, written, "skip", done.map(drop)).await
}

async fn discard(
    State(pages): State<Pages>,
    visit: Visit,
    Segments(id): Segments<String>,
    Submitted(written): Submitted<Written>,
) -> Result<Response, Problem> {
    let one = One { by: None, reason: reason(&written), event: None };
    let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
    let done = dead_letters::discard(site, caller, Segments(id.clone()), Arguments(one)).await;
    answer(&pages, &visit, id, written, "discard", done.map(drop)).await
}

fn reason(written: &Written) -> Option<String> {
    (!written.reason.is_empty()).then(|| written.reason.clone())
}

/// The event to process in the place of the original one; none if the reader has changed nothing.
fn edited(dead_letter: &DeadLetterRow, written: &Written) -> Result<Option<Event>, Problem> {
    let Some(sent) = &written.event else { return Ok(None) };
    let original = current(dead_letter);
    let text = restored(original, sent);
    // An event that was edited before is processed as it was edited.
    if text == original && dead_letter.edited.is_none() {
        return Ok(None);
    }
    let event = Event::read(text.as_bytes());
    let wrong = |error| Problem::unacceptable("event", format!("event: {error}"));
    event.map(Some).map_err(wrong)
}

/// Leads back to the dead letter. A refusal is shown with what the reader has written.
async fn answer(
    pages: &Pages,
    visit: &Visit,
    id: String,
    written: Written,
    form: &'static str,
    done: Result<(), Problem>,
) -> Result<Response, Problem> {
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/dead-letters/{id}")).into_response()),
        Err(problem) if [409, 422].contains(&problem.status) => {
            let refusal = Some(Refusal { problem, form });
            Ok(shown(&pages.site, visit, id, written, refusal).await?.into_response())
        }
        Err(problem) => Err(problem),
    }
}
