//! Queues and sinks: what waits in each, for how long, and which of them do not answer; the next
//! attempts; and the timers that are due next, over all plugins.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use sagabox_engine::model::Timestamp;
use serde::Deserialize;

use super::frame::{Frame, Page, Visit, html};
use super::live::Parts;
use super::plugin_choice::{chosen, plugins};
use super::words::query;
use super::{PageRoute, Pages, page};
use crate::access::Permission::Read;
use crate::api::Needs::{ForAll, ForPlugin};
use crate::api::due::{self, TimerPage, Timers, WaitPage, Waits};
use crate::api::extract::Filter;
use crate::api::paging::Paging;
use crate::api::queues::{self, QueueView};
use crate::api::sinks::{self, LookupDown, SinkView};
use crate::api::{Caller, Problem, Shared};
use crate::store::query::rows::{DueTimer, WaitRow};

pub(super) const PATH: &str = "/queues";
pub(super) const TIMERS: &str = "/timers";
/// Sinks and queues that are shown: more than most hosts have.
const SINKS: u32 = 1000;
/// Waits and timers that are shown at once.
const SOME: u32 = 50;

pub(super) fn routes() -> Vec<PageRoute> {
    vec![
        page(PATH, ForAll(Read), show),
        page("/queues/live", ForAll(Read), live),
        page(TIMERS, ForPlugin(Read), timers),
        page("/timers/live", ForPlugin(Read), live_timers),
    ]
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    plugin: String,
    after: String,
}

/// The fields of the form of timers; one that is empty is not there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct AskedTimers {
    plugin: String,
    key: String,
    name: String,
    due_before: String,
    due_after: String,
    after: String,
}

impl AskedTimers {
    /// The parameters of the list's address, but for where its page begins.
    fn parameters(&self) -> [(&'static str, &str); 5] {
        [
            ("plugin", &self.plugin),
            ("key", &self.key),
            ("name", &self.name),
            ("due_before", &self.due_before),
            ("due_after", &self.due_after),
        ]
    }

    fn address(&self, path: &str, after: &str) -> String {
        format!("{path}?{}", query(self.parameters().into_iter().chain([("after", after)])))
    }
}

#[derive(Template)]
#[template(path = "pages/queues.html")]
struct QueuesPage {
    frame: Frame,
    sinks: Vec<SinkView>,
    lookups: Vec<LookupDown>,
    workers: Vec<QueueView>,
    attempts: Attempts,
    now: Timestamp,
    may_operate: bool,
}

#[derive(Template)]
#[template(path = "pages/queues_sinks.html")]
struct SinksPart {
    sinks: Vec<SinkView>,
    lookups: Vec<LookupDown>,
    now: Timestamp,
    may_operate: bool,
}

#[derive(Template)]
#[template(path = "pages/queues_workers.html")]
struct WorkersPart {
    workers: Vec<QueueView>,
    now: Timestamp,
}

#[derive(Template)]
#[template(path = "pages/queues_attempts.html")]
struct AttemptsPart {
    attempts: Attempts,
    may_operate: bool,
}

struct Attempts {
    waits: Vec<WaitRow>,
    next: Option<String>,
}

async fn show(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(asked): Filter<Asked>,
) -> Result<Page, Problem> {
    let (sinks, lookups) = sinks_of(&pages.site).await?;
    let workers = workers_of(&pages.site).await?;
    let attempts = Attempts::read(&pages.site, &visit.caller, &asked.after).await?;
    let live = format!("/queues/live?{}", query([("after", &asked.after)]));
    let frame = visit.frame("Queues and sinks", PATH).with_live(live);
    let (now, may_operate) = (pages.site.now(), visit.may_operate());
    Page::of(&QueuesPage { frame, sinks, lookups, workers, attempts, now, may_operate })
}

async fn live(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(asked): Filter<Asked>,
) -> Result<Response, Problem> {
    let (site, caller) = (Arc::clone(&pages.site), visit.caller.clone());
    let may_operate = visit.may_operate();
    pages.live.stream(format!("{PATH} {} {}", asked.after, visit.view()), move || {
        let (site, caller, after) = (Arc::clone(&site), caller.clone(), asked.after.clone());
        async move {
            let (sinks, lookups) = sinks_of(&site).await?;
            let workers = workers_of(&site).await?;
            let attempts = Attempts::read(&site, &caller, &after).await?;
            let now = site.now();
            Ok(Parts::from([
                ("sinks", html(&SinksPart { sinks, lookups, now, may_operate })?),
                ("workers", html(&WorkersPart { workers, now })?),
                ("attempts", html(&AttemptsPart { attempts, may_operate })?),
            ]))
        }
    })
}

async fn sinks_of(site: &Shared) -> Result<(Vec<SinkView>, Vec<LookupDown>), Problem> {
    let paging = Paging { after: None, limit: Some(SINKS) };
    let sinks = sinks::list(State(Arc::clone(site)), Filter(paging)).await?.0.sinks;
    let lookups = sinks::lookups(State(Arc::clone(site))).await.0.lookups_down;
    Ok((sinks, lookups))
}

/// The queues of which workers have leased messages.
async fn workers_of(site: &Shared) -> Result<Vec<QueueView>, Problem> {
    let paging = Paging { after: None, limit: Some(SINKS) };
    let queues = queues::list(State(Arc::clone(site)), Filter(paging)).await?.0.queues;
    Ok(queues.into_iter().filter(|queue| !queue.workers.is_empty()).collect())
}

impl Attempts {
    async fn read(site: &Shared, caller: &Caller, after: &str) -> Result<Self, Problem> {
        let after = (!after.is_empty()).then(|| after.to_owned());
        let waits = Waits { after, limit: Some(SOME), ..Waits::default() };
        let page = due::waits(State(Arc::clone(site)), caller.clone(), Filter(waits)).await?;
        let WaitPage { waits, next } = page.0;
        let next = next.map(|next| format!("{PATH}?{}", query([("after", &next)])));
        Ok(Self { waits, next })
    }
}

#[derive(Template)]
#[template(path = "pages/timers.html")]
struct TimersPage {
    frame: Frame,
    asked: AskedTimers,
    problem: Option<Problem>,
    plugins: std::collections::BTreeSet<String>,
    due: DueTimers,
}

#[derive(Template)]
#[template(path = "pages/timers_list.html")]
struct TimersPart {
    due: DueTimers,
}

struct DueTimers {
    timers: Vec<DueTimer>,
    /// Whether only some timers are asked for.
    is_part: bool,
    next: Option<String>,
    now: Timestamp,
}

async fn timers(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(asked): Filter<AskedTimers>,
) -> Result<Page, Problem> {
    let plugins = plugins(&pages.site, &visit.caller).await?;
    let plugin = chosen(asked.plugin, &visit.caller, &plugins);
    let asked = AskedTimers { plugin, ..asked };
    let frame = visit.frame("Timers", TIMERS);
    let (frame, due, problem) = match DueTimers::read(&pages.site, &visit.caller, &asked).await {
        Ok(due) => (frame.with_live(asked.address("/timers/live", &asked.after)), due, None),
        // The form stays, so the reader can correct what it says.
        Err(problem) if problem.status == 422 => {
            let now = pages.site.now();
            (frame, DueTimers { timers: Vec::new(), is_part: true, next: None, now }, Some(problem))
        }
        Err(problem) => return Err(problem),
    };
    Page::of(&TimersPage { frame, asked, problem, plugins, due })
}

async fn live_timers(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(asked): Filter<AskedTimers>,
) -> Result<Response, Problem> {
    let plugins = plugins(&pages.site, &visit.caller).await?;
    let plugin = chosen(asked.plugin, &visit.caller, &plugins);
    let asked = AskedTimers { plugin, ..asked };
    let (site, caller) = (Arc::clone(&pages.site), visit.caller.clone());
    pages.live.stream(format!("{TIMERS} {asked:?} {}", visit.view()), move || {
        let (site, caller, asked) = (Arc::clone(&site), caller.clone(), asked.clone());
        async move {
            let due = DueTimers::read(&site, &caller, &asked).await?;
            Ok(Parts::from([("timers", html(&TimersPart { due })?)]))
        }
    })
}

/// The open dead letters of a sink.
fn dead_letters_address(sink: &str) -> String {
    format!("/dead-letters/list?{}", query([("sink", sink), ("status", "open")]))
}

impl DueTimers {
    async fn read(site: &Shared, caller: &Caller, asked: &AskedTimers) -> Result<Self, Problem> {
        let given = super::dead_letters::given;
        let timers = Timers {
            plugin: given(&asked.plugin),
            key: given(&asked.key),
            name: given(&asked.name),
            due_before: given(&asked.due_before),
            due_after: given(&asked.due_after),
            after: given(&asked.after),
            limit: Some(SOME),
        };
        let page = due::timers(State(Arc::clone(site)), caller.clone(), Filter(timers)).await?;
        let TimerPage { timers, next } = page.0;
        let next = next.map(|next| asked.address(TIMERS, &next));
        let is_part = asked.parameters().iter().any(|(_, text)| !text.is_empty());
        Ok(Self { timers, is_part, next, now: site.now() })
    }

    /// When a timer is due, as seen from now.
    fn time_left(&self, timer: &DueTimer) -> String {
        match timer.due > self.now {
            true => format!("in {}", super::words::age(self.now, timer.due)),
            false => format!("{} ago", super::words::age(timer.due, self.now)),
        }
    }
}
