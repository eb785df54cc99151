//! The first page: what needs an operator, how much arrives, is decided, leaves and waits, and the
//! accounts that show that nothing is missing.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use sagabox_engine::model::Timestamp;

use super::chart::{Chart, levels, rates};
use super::frame::{Frame, Page, Visit, html};
use super::live::Parts;
use super::words::counted;
use super::{PageRoute, Pages, page};
use crate::access::Permission::Read;
use crate::api::Needs::ForAll;
use crate::api::admin::unreadable;
use crate::api::samples::{Moment, SPAN, Sample};
use crate::api::{Problem, Site};
use crate::plugins::status::CandidateView;
use crate::store::query::batches::{BatchFilter, BatchRow, BatchStatus};
use crate::store::query::rows::{Accounts, PluginAccount};

pub(super) const PATH: &str = "/overview";
/// A plugin that is this many events behind needs an operator: one that keeps up has fewer.
const LAG_EVENTS: u64 = 10_000;
/// Batches that have paused by themselves: more than a person looks at here.
const STOPPED_MAX: u32 = 10;

pub(super) fn routes() -> Vec<PageRoute> {
    vec![page(PATH, ForAll(Read), show), page("/overview/live", ForAll(Read), live)]
}

#[derive(Template)]
#[template(path = "pages/overview.html")]
struct OverviewPage {
    frame: Frame,
    attention: Attention,
    figures: Figures,
    moment: Arc<Moment>,
}

#[derive(Template)]
#[template(path = "pages/overview_attention.html")]
struct AttentionPart {
    attention: Attention,
}

#[derive(Template)]
#[template(path = "pages/overview_figures.html")]
struct FiguresPart {
    figures: Figures,
}

#[derive(Template)]
#[template(path = "pages/overview_accounts.html")]
struct AccountsPart {
    moment: Arc<Moment>,
}

/// What needs an operator.
struct Attention {
    items: Vec<Item>,
}

struct Item {
    /// `bad` or `warn`.
    level: &'static str,
    /// What it is about, in a word.
    tag: &'static str,
    text: String,
    /// Where the reader can do something about it.
    link: Option<&'static str>,
}

struct Figures {
    newest: Option<Sample>,
    traffic: Chart,
    waiting: Chart,
}

async fn show(State(pages): State<Pages>, visit: Visit) -> Result<Page, Problem> {
    let (attention, figures, moment) = parts(&pages.site).await?;
    let frame = visit.frame("Overview", PATH).with_live("/overview/live".to_owned());
    Page::of(&OverviewPage { frame, attention, figures, moment })
}

async fn live(State(pages): State<Pages>) -> Result<Response, Problem> {
    let site = Arc::clone(&pages.site);
    // Readers who may see it see all of it.
    pages.live.stream(PATH.to_owned(), move || {
        let site = Arc::clone(&site);
        async move {
            let (attention, figures, moment) = parts(&site).await?;
            Ok(Parts::from([
                ("attention", html(&AttentionPart { attention })?),
                ("figures", html(&FiguresPart { figures })?),
                ("accounts", html(&AccountsPart { moment })?),
            ]))
        }
    })
}

async fn parts(site: &Site) -> Result<(Attention, Figures, Arc<Moment>), Problem> {
    let moment = site.samples.look(site).await?;
    let figures = Figures::of(&site.samples.all(), moment.at);
    Ok((Attention::of(site, &moment, &stopped(site).await?), figures, moment))
}

/// The newest batches that paused by themselves.
async fn stopped(site: &Site) -> Result<Vec<BatchRow>, Problem> {
    let status = Some(BatchStatus::Paused);
    let filter = BatchFilter { status, limit: STOPPED_MAX, ..BatchFilter::default() };
    let mut paused = site.batches.list(&filter).await.map_err(unreadable)?.rows;
    paused.retain(|batch| batch.note.is_some());
    Ok(paused)
}

impl Figures {
    fn of(samples: &[Sample], now: Timestamp) -> Self {
        let series = |value: fn(&Sample) -> u64| -> Vec<_> {
            samples.iter().map(|sample| (sample.at, value(sample))).collect()
        };
        let traffic = [
            ("events in", rates(&series(|sample| sample.events))),
            ("events handled", rates(&series(|sample| sample.handled))),
            ("messages delivered", rates(&series(|sample| sample.delivered))),
        ];
        let waiting = [
            ("events", levels(&series(|sample| sample.events_waiting))),
            ("messages", levels(&series(|sample| sample.messages_waiting))),
        ];
        Self {
            newest: samples.last().copied(),
            traffic: Chart::new("Per second", SPAN, now, &traffic),
            waiting: Chart::new("Waiting", SPAN, now, &waiting),
        }
    }
}

impl Attention {
    fn of(site: &Site, moment: &Moment, stopped: &[BatchRow]) -> Self {
        let mut items = Vec::new();
        let mut add = |level, tag, text: String, link| items.push(Item { level, tag, text, link });
        let Moment { accounts, status, .. } = moment;
        if let Err(reason) = &status.readiness {
            add("bad", "not ready", format!("The host does not accept events: {reason}"), None);
        }
        if !accounts.balanced {
            let text = "The accounts do not add up: an event or a message is missing";
            add("bad", "accounts", text.to_owned(), None);
        }
        let dead = dead(accounts);
        if dead > 0 {
            let text = format!(
                "{} could not be handled or delivered; what follows with the same key waits",
                counted(dead, "event or message", "events or messages")
            );
            add("bad", "dead letters", text, Some("/dead-letters"));
        }
        for batch in stopped {
            let why = batch.note.as_deref().unwrap_or_default();
            let text = format!("Batch {} has paused by itself: {why}", batch.id.0);
            add("warn", "batch paused", text, Some("/batches?status=paused"));
        }
        for down in &status.sinks_down {
            let text = format!("The sink {} does not answer: {}", down.sink, down.reason);
            add("bad", "sink down", text, Some("/queues"));
        }
        for down in &status.lookups_down {
            let text = format!("The lookup {} does not answer: {}", down.lookup, down.reason);
            add("bad", "lookup down", text, None);
        }
        for refused in site.plugin_status.refused() {
            let text = format!("The file {} was refused: {}", refused.file, refused.reason);
            add("bad", "plugin refused", text, Some("/plugins"));
        }
        for candidate in site.plugin_status.candidates() {
            if let Some(text) = withdrawn(&candidate) {
                add("warn", "canary withdrawn", text, Some("/plugins"));
            }
        }
        for plugin in accounts.plugins.iter().filter(|plugin| plugin.pending >= LAG_EVENTS) {
            add("warn", "lag", lag(plugin), Some("/plugins"));
        }
        for untaken in accounts.untaken.iter().filter(|untaken| !untaken.event_type.is_empty()) {
            let text = format!(
                "No plugin subscribes to {} ({} so far)",
                untaken.event_type,
                counted(untaken.events, "event", "events")
            );
            add("warn", "not taken", text, Some("/plugins"));
        }
        Self { items }
    }
}

fn dead(accounts: &Accounts) -> u64 {
    accounts.plugins.iter().map(|plugin| plugin.dead).sum::<u64>()
        + accounts.sinks.iter().map(|sink| sink.dead).sum::<u64>()
}

fn withdrawn(candidate: &CandidateView) -> Option<String> {
    let withdrawn = candidate.withdrawn.as_ref()?;
    let CandidateView { plugin, version, .. } = candidate;
    Some(format!("The host withdrew the canary {plugin} {version}: {}", withdrawn.reason))
}

fn lag(plugin: &PluginAccount) -> String {
    let pending = counted(plugin.pending, "event", "events");
    format!("{} has {pending} of the log to settle", plugin.plugin)
}
