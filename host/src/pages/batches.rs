//! Batches: a list of them, and for each what it acts on, its progress, the outcome of each item, and
//! the forms that start, pause, resume and cancel it.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use sagabox_engine::model::ItemOutcome;
use serde::Deserialize;

use super::batch_draft::draft;
use super::dead_letters::given;
use super::form::Submitted;
use super::frame::{Frame, Page, Visit, html};
use super::live::Parts;
use super::plugin_choice::plugins;
use super::words::{Value, grouped, query};
use super::{PageRoute, Pages, form, page};
use crate::access::Permission::{Operate, Read};
use crate::api::Needs::ForPlugin;
use crate::api::batches::{
    self, BatchView, Halting, ItemListing, Listing, RATE_PER_SECOND_DEFAULT, Resuming, Starting,
};
use crate::api::extract::{Arguments, Filter, Segments};
use crate::api::{Caller, Problem, Shared};
use crate::store::query::batches::{BatchStatus, ItemRow};

pub(super) const PATH: &str = "/batches";
/// Rows of a list: a person scrolls through them.
const ROWS: u32 = 50;

pub(super) fn routes() -> Vec<PageRoute> {
    vec![
        page(PATH, ForPlugin(Read), list),
        page("/batches/live", ForPlugin(Read), list_live),
        form(PATH, ForPlugin(Operate), draft),
        page("/batches/{id}", ForPlugin(Read), show),
        page("/batches/{id}/live", ForPlugin(Read), live),
        form("/batches/{id}/start", ForPlugin(Operate), start),
        form("/batches/{id}/pause", ForPlugin(Operate), pause),
        form("/batches/{id}/resume", ForPlugin(Operate), resume),
        form("/batches/{id}/cancel", ForPlugin(Operate), cancel),
    ]
}

/// The page of a batch.
pub(super) fn address(id: impl Value<u64>) -> String {
    format!("{PATH}/{}", id.value())
}

/// The fields of the list's form.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    status: String,
    plugin: String,
    after: String,
}

#[derive(Template)]
#[template(path = "pages/batches.html")]
struct ListPage {
    frame: Frame,
    asked: Asked,
    plugins: BTreeSet<String>,
    list: List,
}

#[derive(Template)]
#[template(path = "pages/batches_list.html")]
struct ListPart {
    list: List,
}

struct List {
    batches: Vec<BatchView>,
    /// Whether only some of all batches are asked for.
    is_filtered: bool,
    next: Option<String>,
}

impl List {
    async fn read(site: &Shared, caller: &Caller, asked: &Asked) -> Result<Self, Problem> {
        let listing = Listing {
            status: named("status", &asked.status, &BatchStatus::ALL, BatchStatus::as_str)?,
            plugin: given(&asked.plugin),
            after: given(&asked.after),
            limit: Some(ROWS),
        };
        let (site, caller) = (State(Arc::clone(site)), caller.clone());
        let page = batches::list(site, caller, Filter(listing)).await?.0;
        Ok(Self {
            batches: page.batches,
            is_filtered: !(asked.status.is_empty() && asked.plugin.is_empty()),
            next: page.next.map(|next| format!("{PATH}?{}", asked.query(&next))),
        })
    }
}

impl Asked {
    fn query(&self, after: &str) -> String {
        let Self { status, plugin, .. } = self;
        query([("status", status.as_str()), ("plugin", plugin.as_str()), ("after", after)])
    }
}

async fn list(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(asked): Filter<Asked>,
) -> Result<Page, Problem> {
    let plugins = plugins(&pages.site, &visit.caller).await?;
    let list = List::read(&pages.site, &visit.caller, &asked).await?;
    let frame = visit.frame("Batches", PATH);
    let frame = frame.with_live(format!("/batches/live?{}", asked.query(&asked.after)));
    Page::of(&ListPage { frame, asked, plugins, list })
}

async fn list_live(
    State(pages): State<Pages>,
    visit: Visit,
    Filter(asked): Filter<Asked>,
) -> Result<Response, Problem> {
    let (site, caller) = (Arc::clone(&pages.site), visit.caller.clone());
    pages.live.stream(format!("{PATH} {asked:?} {}", visit.view()), move || {
        let (site, caller, asked) = (Arc::clone(&site), caller.clone(), asked.clone());
        async move {
            let list = List::read(&site, &caller, &asked).await?;
            Ok(Parts::from([("batches", html(&ListPart { list })?)]))
        }
    })
}

/// Which items a page shows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Shown {
    outcome: String,
    after: String,
}

/// What a reader has written into the form.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    reason: String,
    rate_per_second: String,
    ignore_failures: bool,
}

#[derive(Template)]
#[template(path = "pages/batch.html")]
struct BatchPage {
    frame: Frame,
    batch: BatchView,
    items: Items,
    written: Written,
    refusal: Option<Problem>,
    may_operate: bool,
}

#[derive(Template)]
#[template(path = "pages/batch_status.html")]
struct StatusPart<'b> {
    batch: &'b BatchView,
}

#[derive(Template)]
#[template(path = "pages/batch_controls.html")]
struct ControlsPart<'b> {
    batch: &'b BatchView,
    written: Written,
    refusal: Option<Problem>,
    may_operate: bool,
}

#[derive(Template)]
#[template(path = "pages/batch_items.html")]
struct ItemsPart<'b> {
    batch: &'b BatchView,
    items: Items,
}

struct Items {
    rows: Vec<ItemRow>,
    /// None: items with any outcome.
    outcome: Option<ItemOutcome>,
    next: Option<String>,
}

impl Items {
    async fn read(
        site: &Shared,
        caller: &Caller,
        id: &str,
        shown: &Shown,
    ) -> Result<Self, Problem> {
        let outcome = named("outcome", &shown.outcome, &ItemOutcome::ALL, ItemOutcome::as_str)?;
        let listing = ItemListing { outcome, after: given(&shown.after), limit: Some(ROWS) };
        let (site, caller) = (State(Arc::clone(site)), caller.clone());
        let page = batches::items(site, caller, Segments(id.to_owned()), Filter(listing)).await?.0;
        let address = |next: String| {
            let parameters = [("outcome", shown.outcome.as_str()), ("after", next.as_str())];
            format!("{PATH}/{id}?{}#items-title", query(parameters))
        };
        Ok(Self { rows: page.items, outcome, next: page.next.map(address) })
    }
}

/// What a form says a value is; none if it says nothing.
fn named<T: Copy>(
    field: &str,
    text: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<Option<T>, Problem> {
    let unknown =
        || Problem::unacceptable(field, format!("{field}: `{text}` is no {field} of a batch"));
    match text {
        "" => Ok(None),
        _ => all.iter().copied().find(|one| name(*one) == text).map(Some).ok_or_else(unknown),
    }
}

/// How many items have their outcome.
fn settled(batch: &BatchView) -> u64 {
    batch.done + batch.failed + batch.changed + batch.refused
}

/// The status of a batch as its pages show it: the words say what the colour says.
pub(super) struct ShownStatus {
    words: String,
    tone: &'static str,
}

impl ShownStatus {
    pub(super) fn of(batch: &BatchView) -> Self {
        Self::with(batch.status, [batch.failed, batch.refused], settled(batch))
    }

    /// A batch is done when each item has its outcome, whatever that is.
    fn with(status: BatchStatus, [failed, refused]: [u64; 2], settled: u64) -> Self {
        let name = status.as_str();
        let tone = match status {
            BatchStatus::Draft | BatchStatus::Cancelled => "",
            BatchStatus::Preparing | BatchStatus::Running | BatchStatus::Paused => "warn",
            BatchStatus::Done if failed + refused == 0 => "good",
            BatchStatus::Done if failed + refused < settled => "warn",
            BatchStatus::Done => "bad",
        };
        let what = match (failed, refused) {
            _ if status != BatchStatus::Done => None,
            (0, 0) => None,
            (_, 0) => Some("failed again"),
            (0, _) => Some("refused"),
            _ => Some("failed again or refused"),
        };
        let words = match what {
            None => name.to_owned(),
            Some(what) if failed + refused == settled => format!("{name}, all {what}"),
            Some(what) => format!("{name}, {} {what}", grouped(failed + refused)),
        };
        Self { words, tone }
    }
}

fn is_over(batch: &BatchView) -> bool {
    matches!(batch.status, BatchStatus::Done | BatchStatus::Cancelled)
}

/// The numbers of items by their outcomes, in words.
fn outcomes(batch: &BatchView) -> [(ItemOutcome, &'static str, u64); 6] {
    [
        (ItemOutcome::Pending, "pending", batch.pending),
        (ItemOutcome::InProgress, "in progress", batch.in_progress),
        (ItemOutcome::Done, "done", batch.done),
        (ItemOutcome::Failed, "failed again", batch.failed),
        (ItemOutcome::Changed, "changed before", batch.changed),
        (ItemOutcome::Refused, "refused", batch.refused),
    ]
}

/// The numbers of items that have an outcome, in words: `9 done, 3 failed again`.
pub(super) fn summary(batch: &BatchView) -> String {
    let counted = outcomes(batch).into_iter().filter(|(.., count)| *count > 0);
    let words = counted.map(|(_, words, count)| format!("{} {words}", grouped(count)));
    words.collect::<Vec<_>>().join(", ")
}

async fn show(
    State(pages): State<Pages>,
    visit: Visit,
    Segments(id): Segments<String>,
    Filter(shown): Filter<Shown>,
) -> Result<Page, Problem> {
    let batch = read(&pages.site, &visit.caller, &id).await?;
    let live = query([("outcome", &shown.outcome), ("after", &shown.after)]);
    let frame = frame(&visit, &batch).with_live(format!("{PATH}/{id}/live?{live}"));
    Page::of(&BatchPage {
        frame,
        items: Items::read(&pages.site, &visit.caller, &id, &shown).await?,
        written: Written::of(&batch),
        batch,
        refusal: None,
        may_operate: visit.may_operate(),
    })
}

async fn read(site: &Shared, caller: &Caller, id: &str) -> Result<BatchView, Problem> {
    let (site, caller) = (State(Arc::clone(site)), caller.clone());
    Ok(batches::show(site, caller, Segments(id.to_owned())).await?.0)
}

fn frame(visit: &Visit, batch: &BatchView) -> Frame {
    let id = batch.id.unwrap_or_default();
    visit.frame(format!("Batch {id}: {}", batch.action.as_str()), PATH)
}

async fn live(
    State(pages): State<Pages>,
    visit: Visit,
    Segments(id): Segments<String>,
    Filter(shown): Filter<Shown>,
) -> Result<Response, Problem> {
    let (site, caller, may_operate) =
        (Arc::clone(&pages.site), visit.caller.clone(), visit.may_operate());
    // Of a batch that the caller may not see, there is no stream.
    read(&site, &caller, &id).await?;
    pages.live.stream(format!("{PATH}/{id} {shown:?} {}", visit.view()), move || {
        let (site, caller) = (Arc::clone(&site), caller.clone());
        let (id, shown) = (id.clone(), shown.clone());
        async move {
            let batch = &read(&site, &caller, &id).await?;
            let items = Items::read(&site, &caller, &id, &shown).await?;
            let (written, refusal) = (Written::of(batch), None);
            let controls = ControlsPart { batch, written, refusal, may_operate };
            Ok(Parts::from([
                ("batch-status", html(&StatusPart { batch })?),
                ("batch-controls", html(&controls)?),
                ("batch-items", html(&ItemsPart { batch, items })?),
            ]))
        }
    })
}

impl Written {
    /// The form as it is offered.
    fn of(batch: &BatchView) -> Self {
        let rate = batch.rate_per_second.unwrap_or(RATE_PER_SECOND_DEFAULT);
        Self {
            reason: String::new(),
            rate_per_second: rate.to_string(),
            ignore_failures: batch.ignore_failures,
        }
    }

    fn rate(&self) -> Result<Option<u32>, Problem> {
        let Some(text) = given(self.rate_per_second.trim()) else { return Ok(None) };
        let wrong = || format!("rate_per_second: `{text}` is not a number of items");
        let rate = text.parse().map_err(|_| Problem::unacceptable("rate_per_second", wrong()));
        rate.map(Some)
    }

    fn halting(&self) -> Arguments<Halting> {
        Arguments(Halting { by: None, reason: given(&self.reason) })
    }
}

async fn start(
    State(pages): State<Pages>,
    visit: Visit,
    Segments(id): Segments<String>,
    Submitted(written): Submitted<Written>,
) -> Result<Response, Problem> {
    let starting = |rate_per_second| Starting {
        by: None,
        reason: given(&written.reason),
        rate_per_second,
        ignore_failures: written.ignore_failures,
    };
    let done = match written.rate().map(starting) {
        Err(problem) => Err(problem),
        Ok(starting) => {
            let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
            batches::start(site, caller, Segments(id.clone()), Arguments(starting)).await
        }
    };
    answer(&pages, &visit, id, written, done.map(drop)).await
}

async fn resume(
    State(pages): State<Pages>,
    visit: Visit,
    Segments(id): Segments<String>,
    Submitted(written): Submitted<Written>,
) -> Result<Response, Problem> {
    let resuming = |rate_per_second| Resuming {
        by: None,
        reason: given(&written.reason),
        rate_per_second,
        ignore_failures: Some(written.ignore_failures),
    };
    let done = match written.rate().map(resuming) {
        Err(problem) => Err(problem),
        Ok(resuming) => {
            let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
            batches::resume(site, caller, Segments(id.clone()), Arguments(resuming)).await
        }
    };
    answer(&pages, &visit, id, written, done.map(drop)).await
}

async fn pause(
    State(pages): State<Pages>,
    visit: Visit,
    Segments(id): Segments<String>,
    Submitted(written): Submitted<Written>,
) -> Result<Response, Problem> {
    let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
    let done = batches::pause(site, caller, Segments(id.clone()), written.halting()).await;
    answer(&pages, &visit, id, written, done.map(drop)).await
}

async fn cancel(
    State(pages): State<Pages>,
    visit: Visit,
    Segments(id): Segments<String>,
    Submitted(written): Submitted<Written>,
) -> Result<Response, Problem> {
    let (site, caller) = (State(Arc::clone(&pages.site)), visit.caller.clone());
    let done = batches::cancel(site, caller, Segments(id.clone()), written.halting()).await;
    answer(&pages, &visit, id, written, done.map(drop)).await
}

/// Leads back to the batch. What was refused is shown with what the reader has written; that page
/// has no stream, which would bring the form as it was.
async fn answer(
    pages: &Pages,
    visit: &Visit,
    id: String,
    written: Written,
    done: Result<(), Problem>,
) -> Result<Response, Problem> {
    let problem = match done {
        Ok(()) => return Ok(Redirect::to(&format!("{PATH}/{id}")).into_response()),
        Err(problem) if [409, 422].contains(&problem.status) => problem,
        Err(problem) => return Err(problem),
    };
    let batch = read(&pages.site, &visit.caller, &id).await?;
    let status = problem.status.try_into().unwrap_or_default();
    let page = Page::of(&BatchPage {
        frame: frame(visit, &batch),
        items: Items::read(&pages.site, &visit.caller, &id, &Shown::default()).await?,
        batch,
        written,
        refusal: Some(problem),
        may_operate: visit.may_operate(),
    })?;
    Ok(page.with_status(status).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_shown_as_good_only_if_nothing_failed() {
        let shown = |status, unsuccessful, settled| {
            let ShownStatus { words, tone } = ShownStatus::with(status, unsuccessful, settled);
            (words, tone)
        };
        for (status, unsuccessful, settled, words, tone) in [
            (BatchStatus::Done, [0, 0], 9, "done", "good"),
            (BatchStatus::Done, [0, 0], 0, "done", "good"),
            (BatchStatus::Done, [9, 0], 9, "done, all failed again", "bad"),
            (BatchStatus::Done, [0, 9], 9, "done, all refused", "bad"),
            (BatchStatus::Done, [8, 1], 9, "done, all failed again or refused", "bad"),
            (BatchStatus::Done, [1_500, 0], 9_000, "done, 1,500 failed again", "warn"),
            (BatchStatus::Done, [1, 1], 9, "done, 2 failed again or refused", "warn"),
            (BatchStatus::Running, [3, 0], 9, "running", "warn"),
            (BatchStatus::Cancelled, [3, 0], 9, "cancelled", ""),
            (BatchStatus::Draft, [0, 0], 0, "draft", ""),
        ] {
            assert_eq!(shown(status, unsuccessful, settled), (words.to_owned(), tone));
        }
    }
}
