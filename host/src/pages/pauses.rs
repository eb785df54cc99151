//! Controls: what is paused and what waits because of it, limits of sinks and types, and attempts
//! before their time.

use std::str::FromStr;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use sagabox_engine::model::Timestamp;
use serde::Deserialize;

use super::dead_letters::given;
use super::form::Submitted;
use super::frame::{Frame, Page, Visit, html};
use super::live::Parts;
use super::words::query;
use super::{PageRoute, Pages, form, page, queues};
use crate::access::Permission::{Operate, Read};
use crate::api::Needs::ForPlugin;
use crate::api::controls::{
    self, LimitRequest, LimitRow, PauseRequest, PauseRow, ResumeRequest, RetryRequest, TargetKind,
    TargetShape,
};
use crate::api::extract::{Arguments, Filter};
use crate::api::paging::Paging;
use crate::api::{Caller, Problem, Shared};

pub(super) const PATH: &str = "/pauses";
/// More than an operator sets.
const ROWS_MAX: u32 = 1000;

pub(super) fn routes() -> Vec<PageRoute> {
    vec![
        page(PATH, ForPlugin(Read), show),
        page("/pauses/live", ForPlugin(Read), live),
        form(PATH, ForPlugin(Operate), pause),
        form("/pauses/resume", ForPlugin(Operate), resume),
        form("/limits", ForPlugin(Operate), limit),
        form("/retries", ForPlugin(Operate), retry),
    ]
}

/// The kinds of targets, by their names in a form.
const KINDS: [(&str, TargetKind, &str); 5] = [
    ("sink", TargetKind::Sink, "a sink (that of a queue is queue:TYPE)"),
    ("type", TargetKind::Type, "a message type"),
    ("plugin", TargetKind::Plugin, "a plugin"),
    ("key", TargetKind::Key, "a key of a plugin"),
    ("ingest", TargetKind::Ingest, "the door: new events of senders"),
];

/// The fields of the forms.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    kind: String,
    plugin: String,
    key: String,
    sink: String,
    #[serde(rename = "type")]
    message_type: String,
    reason: String,
    #[serde(rename = "for")]
    duration: String,
    per_second: String,
    in_flight: String,
    concurrency: String,
}

impl Written {
    /// A limit without any number removes the one that is set.
    fn limit(&self) -> Result<LimitRequest, Problem> {
        Ok(LimitRequest {
            target: self.target()?,
            per_second: number("per_second", &self.per_second)?,
            in_flight: number("in_flight", &self.in_flight)?,
            concurrency: number("concurrency", &self.concurrency)?,
            by: None,
            reason: given(&self.reason),
        })
    }

    fn target(&self) -> Result<TargetShape, Problem> {
        let found = KINDS.iter().find(|(name, ..)| *name == self.kind);
        let (_, kind, _) = found.ok_or_else(|| {
            Problem::unacceptable("kind", format!("kind: `{}` is no kind", self.kind))
        })?;
        let of = |kinds: &[&str], text: &str| {
            kinds.contains(&&*self.kind).then(|| text.to_owned()).filter(|text| !text.is_empty())
        };
        Ok(TargetShape {
            kind: *kind,
            plugin: of(&["plugin", "key"], &self.plugin),
            key: of(&["key"], &self.key),
            sink: of(&["sink"], &self.sink),
            message_type: of(&["type"], &self.message_type),
        })
    }
}

/// The number in a field; none if it is empty.
fn number<N: FromStr>(name: &'static str, text: &str) -> Result<Option<N>, Problem> {
    let number = given(text).map(|text| {
        let detail = || format!("{name}: `{text}` is not a number of this kind");
        text.parse().map_err(|_| Problem::unacceptable(name, detail()))
    });
    number.transpose()
}

#[derive(Template)]
#[template(path = "pages/pauses.html")]
struct PausesPage {
    frame: Frame,
    held: Held,
    written: Written,
    refusal: Option<Problem>,
    may_operate: bool,
}

#[derive(Template)]
#[template(path = "pages/pauses_list.html")]
struct HeldPart {
    held: Held,
    may_operate: bool,
}

struct Held {
    pauses: Vec<PauseRow>,
    /// None if the reader may not see limits, which concern all plugins.
    limits: Option<Vec<LimitRow>>,
    now: Timestamp,
}

impl Held {
    async fn read(site: &Shared, caller: &Caller) -> Result<Self, Problem> {
        let paging = || Filter(Paging { after: None, limit: Some(ROWS_MAX) });
        let pauses = controls::pauses(State(Arc::clone(site)), caller.clone(), paging()).await?;
        let limits = match caller.check_whole() {
            Ok(()) => Some(controls::limits(State(Arc::clone(site)), paging()).await?.0.limits),
            Err(_) => None,
        };
        Ok(Self { pauses: pauses.0.pauses, limits, now: site.now() })
    }
}

/// A target in words.
fn named(target: &TargetShape) -> String {
    let text = |name: &Option<String>| name.clone().unwrap_or_default();
    match target.kind {
        TargetKind::Ingest => "the door".to_owned(),
        TargetKind::Plugin => format!("plugin {}", text(&target.plugin)),
        TargetKind::Key => format!("key {} of plugin {}", text(&target.key), text(&target.plugin)),
        TargetKind::Sink => format!("sink {}", text(&target.sink)),
        TargetKind::Type => format!("type {}", text(&target.message_type)),
    }
}

/// The name of a target's kind in a form.
fn kind(target: &TargetShape) -> &'static str {
    KINDS.iter().find(|(_, kind, _)| *kind == target.kind).map_or("", |(name, ..)| name)
}

/// The forms to pause and to limit a sink.
pub(super) fn address_of_sink(sink: &str) -> String {
    format!("{PATH}?{}", query([("kind", "sink"), ("sink", sink)]))
}

/// The form with a limit as it is, to change it.
fn address_of_limit(row: &LimitRow) -> String {
    let text = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    let LimitRow { target, per_second, in_flight, concurrency, .. } = row;
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let given = [
        ("kind", kind(target).to_owned()),
        ("sink", name(&target.sink)),
        ("type", name(&target.message_type)),
        ("per_second", per_second.map(|rate| rate.to_string()).unwrap_or_default()),
        ("in_flight", text(*in_flight)),
        ("concurrency", text(*concurrency)),
    ];
    let given = given.iter().map(|(name, text)| (*name, text));
    format!("{PATH}?{}#limit-title", query(given))
}

/// A limit in words.
pub(super) fn limits(row: &LimitRow) -> String {
    let mut parts = Vec::new();
    parts.extend(row.per_second.map(|rate| format!("{rate} per second")));
    parts.extend(row.in_flight.map(|most| format!("{most} in flight")));
    parts.extend(row.concurrency.map(|most| format!("{most} per key")));
    parts.join(", ")
}

async fn show(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(written): Filter<Written>,
) -> Result<Page, Problem> {
    shown(&pages.site, &visit, written, None).await
}

async fn shown(
    site: &Shared,
    visit: &Visit,
    written: Written,
    refusal: Option<Problem>,
) -> Result<Page, Problem> {
    let held = Held::read(site, &visit.caller).await?;
    let frame = visit.frame("Pauses and limits", PATH).with_live("/pauses/live".to_owned());
    let status = refusal.as_ref().map_or(200, |problem| problem.status);
    let may_operate = visit.may_operate();
    let page = Page::of(&PausesPage { frame, held, written, refusal, may_operate })?;
    Ok(page.with_status(status.try_into().unwrap_or_default()))
}

async fn live(State(pages): State<Pages>, visit: Visit) -> Result<Response, Problem> {
    let (site, caller, may_operate) =
        (Arc::clone(&pages.site), visit.caller.clone(), visit.may_operate());
    pages.live.stream(format!("{PATH} {}", visit.view()), move || {
        let (site, caller) = (Arc::clone(&site), caller.clone());
        async move {
            let held = Held::read(&site, &caller).await?;
            Ok(Parts::from([("held", html(&HeldPart { held, may_operate })?)]))
        }
    })
}

async fn pause(
    State(pages): State<Pages>,
    visit: Visit,
    Submitted(written): Submitted<Written>,
) -> Result<Response, Problem> {
    let done = match written.target() {
        Err(problem) => Err(problem),
        Ok(target) => {
            let request = PauseRequest {
                target,
                by: None,
                reason: given(&written.reason),
                until: None,
                duration: given(&written.duration),
            };
            let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
            controls::pause(site, caller, Arguments(request)).await.map(drop)
        }
    };
    answer(&pages, &visit, written, done).await
}

async fn resume(
    State(pages): State<Pages>,
    visit: Visit,
    Submitted(written): Submitted<Written>,
) -> Result<Response, Problem> {
    let request =
        ResumeRequest { target: written.target()?, by: None, reason: given(&written.reason) };
    let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
    let done = controls::resume(site, caller, Arguments(request)).await.map(drop);
    answer(&pages, &visit, Written::default(), done).await
}

async fn limit(
    State(pages): State<Pages>,
    visit: Visit,
    Submitted(written): Submitted<Written>,
) -> Result<Response, Problem> {
    let done = match written.limit() {
        Err(problem) => Err(problem),
        Ok(request) => {
            let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
            controls::limit(site, caller, Arguments(request)).await.map(drop)
        }
    };
    answer(&pages, &visit, written, done).await
}

async fn answer(
    pages: &Pages,
    visit: &Visit,
    written: Written,
    done: Result<(), Problem>,
) -> Result<Response, Problem> {
    match done {
        Ok(()) => Ok(Redirect::to(PATH).into_response()),
        Err(problem) if [404, 409, 422].contains(&problem.status) => {
            Ok(shown(&pages.site, visit, written, Some(problem)).await?.into_response())
        }
        Err(problem) => Err(problem),
    }
}

async fn retry(
    State(pages): State<Pages>,
    visit: Visit,
    Submitted(written): Submitted<Written>,
) -> Result<Redirect, Problem> {
    let request = RetryRequest {
        plugin: given(&written.plugin),
        key: given(&written.key),
        sink: given(&written.sink),
        by: None,
        reason: given(&written.reason),
    };
    let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
    let _ = controls::retry(site, caller, Arguments(request)).await?;
    Ok(Redirect::to(queues::PATH))
}
