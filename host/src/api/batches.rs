//! Batches: what operators do with many dead letters or instances at once.

use std::num::NonZeroU32;

use axum::Json;
use axum::extract::State;
use sagabox_engine::model::{BatchAction, BatchId, DeadLetterStatus, ItemOutcome, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::admin::{plugin_exists, unreadable, unwritten};
use super::caller::Caller;
use super::dead_letters::{by_whom, given_reason};
use super::extract::{Arguments, Filter, Segments};
use super::filter::{RequestFilter, dead_letter_filter};
use super::instance_filter::Times;
use super::paging::{self, limit};
use super::problem::Problem;
use super::{Shared, Site, fields};
use crate::batches::{
    BatchError, DeadLetterSelection, InstanceSelection, RATE_DEFAULT, RATE_MAX, Selection,
};
use crate::io::times::{self, Time};
use crate::store::query::batches::{
    BatchFilter, BatchRow, BatchStatus, ItemCounts, ItemFilter, ItemRow, Start,
};
use crate::store::query::rows::{InstanceFilter, Page};
use crate::store::query::shapes::{BatchActionName, ItemOutcomeName};

dead_letter_filter! {
    /// What a batch does, and with what: dead letters that match everything given, or instances of a
    /// plugin.
    #[schema(as = BatchRequest)]
    pub(crate) struct Draft {
        #[param(value_type = BatchActionName, inline)]
        #[schema(value_type = BatchActionName)]
        action: BatchAction,
        /// What must hold of the fields of instances.
        #[serde(rename = "where")]
        condition: Option<String>,
        /// Instances that were started earlier than this time (RFC 3339), or longer ago than this
        /// duration, such as `2h`. A duration counts back from when the batch is drafted.
        started_before: Option<String>,
        /// Instances that were started at this time or later.
        started_after: Option<String>,
        /// Instances that were last changed earlier than this time.
        updated_before: Option<String>,
        /// Instances that were last changed at this time or later.
        updated_after: Option<String>,
        /// Needed if nothing else selects them, so that no one drops everything by accident.
        #[serde(default)]
        all: bool,
        /// Only counts: no batch is made.
        #[serde(default)]
        dry_run: bool,
        by: Option<String>,
        /// Recorded in the audit log.
        #[serde(default)]
        #[expect(dead_code, reason = "the audit log has it before the handler runs")]
        reason: Option<String>,
    }
}

/// What begins in a second if a request does not say.
pub(crate) const RATE_PER_SECOND_DEFAULT: u32 = RATE_DEFAULT.get();

/// How a batch is started.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BatchStart)]
#[serde(deny_unknown_fields)]
pub(crate) struct Starting {
    pub by: Option<String>,
    /// Required, except for redrives.
    pub reason: Option<String>,
    /// How many items begin in a second; 100 if it is not given.
    #[schema(minimum = 1, maximum = 10_000)]
    pub rate_per_second: Option<u32>,
    /// Begins at the full rate, and does not stop if the first items fail again.
    #[serde(default)]
    pub ignore_failures: bool,
}

/// How a batch goes on. What is not given stays as it was.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BatchResume)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resuming {
    pub by: Option<String>,
    pub reason: Option<String>,
    #[schema(minimum = 1, maximum = 10_000)]
    pub rate_per_second: Option<u32>,
    pub ignore_failures: Option<bool>,
}

/// Who pauses or cancels a batch, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BatchHalt)]
#[serde(deny_unknown_fields)]
pub(crate) struct Halting {
    /// Recorded in the audit log.
    #[serde(default)]
    #[expect(dead_code, reason = "the audit log has it before the handler runs")]
    pub by: Option<String>,
    /// Recorded in the audit log.
    #[serde(default)]
    #[expect(dead_code, reason = "the audit log has it before the handler runs")]
    pub reason: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listing {
    #[param(inline)]
    pub status: Option<BatchStatus>,
    pub plugin: Option<String>,
    /// Where the page before ended.
    pub after: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ItemListing {
    #[param(value_type = Option<ItemOutcomeName>, inline)]
    pub outcome: Option<ItemOutcome>,
    /// Where the page before ended.
    pub after: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Batch)]
pub(crate) struct BatchView {
    /// None of a dry run.
    pub id: Option<u64>,
    #[schema(value_type = BatchActionName)]
    pub action: BatchAction,
    pub status: BatchStatus,
    /// What selects its items, as it was given.
    #[schema(value_type = Object)]
    pub filter: Box<RawValue>,
    /// The only plugin that it is about.
    pub plugin: Option<String>,
    /// Who started it; of a draft, who made it.
    pub by: String,
    /// Why it was started.
    pub reason: Option<String>,
    /// How many items begin in a second. None of a draft.
    pub rate_per_second: Option<u32>,
    pub ignore_failures: bool,
    /// How many items it has; of a draft, how many it would have now.
    pub items: u64,
    /// Whether all were counted. Otherwise there are at least so many.
    pub items_exact: bool,
    pub pending: u64,
    pub in_progress: u64,
    pub done: u64,
    /// Redriven, and dead letters again.
    pub failed: u64,
    /// Gone or changed before the batch came to them.
    pub changed: u64,
    pub refused: u64,
    /// Why it stopped by itself, or what it waits for.
    pub note: Option<String>,
    #[serde(serialize_with = "times::rfc3339")]
    #[schema(value_type = Time)]
    pub created_at: Timestamp,
    #[serde(serialize_with = "times::rfc3339_option")]
    #[schema(value_type = Option<Time>)]
    pub started_at: Option<Timestamp>,
    #[serde(serialize_with = "times::rfc3339_option")]
    #[schema(value_type = Option<Time>)]
    pub finished_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchPage {
    pub batches: Vec<BatchView>,
    pub next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchItemPage)]
pub(crate) struct ItemPage {
    pub items: Vec<ItemRow>,
    pub next: Option<String>,
}

pub(crate) async fn draft(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(draft): Arguments<Draft>,
) -> Result<Json<BatchView>, Problem> {
    let selection = selection(&site, &caller, &draft).await?;
    let by = by_whom(&caller, draft.by.clone())?;
    if draft.dry_run {
        let counted = site.batches.count(&selection).await.map_err(unreadable)?;
        let now = (site.access.clock)();
        return Ok(Json(BatchView::counted(draft.action, &selection, counted, by, now)?));
    }
    Ok(Json(site.batches.draft(draft.action, &selection, by).await?.into()))
}

pub(crate) async fn list(
    State(site): State<Shared>,
    caller: Caller,
    Filter(listing): Filter<Listing>,
) -> Result<Json<BatchPage>, Problem> {
    let Listing { status, plugin, after, limit: given } = listing;
    if let Some(plugin) = &plugin {
        caller.check_plugin(plugin)?;
    }
    let before = after.as_deref().map(paging::place).transpose()?;
    let plugins = caller.plugins().map(|plugins| plugins.iter().cloned().collect());
    let filter = BatchFilter { status, plugin, plugins, before, limit: limit(given)? };
    let Page { rows, next } = site.batches.list(&filter).await.map_err(unreadable)?;
    let batches = rows.into_iter().map(Into::into).collect();
    Ok(Json(BatchPage { batches, next: next.map(|id| id.to_string()) }))
}

pub(crate) async fn show(
    State(site): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Json<BatchView>, Problem> {
    Ok(Json(found(&site, &caller, &id).await?.into()))
}

pub(crate) async fn items(
    State(site): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    Filter(listing): Filter<ItemListing>,
) -> Result<Json<ItemPage>, Problem> {
    let ItemListing { outcome, after, limit: given } = listing;
    let (after, limit) = (paging::after(after.as_deref())?, limit(given)?);
    let batch = found(&site, &caller, &id).await?.id;
    let filter = ItemFilter { batch, outcome, after, limit };
    let Page { rows: items, next } = site.batches.items(&filter).await.map_err(unreadable)?;
    Ok(Json(ItemPage { items, next: next.map(|item| item.to_string()) }))
}

pub(crate) async fn start(
    State(site): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    Arguments(starting): Arguments<Starting>,
) -> Result<Json<BatchView>, Problem> {
    let row = found(&site, &caller, &id).await?;
    let start = Start {
        by: by_whom(&caller, starting.by)?,
        reason: given_reason(row.action == BatchAction::Redrive, starting.reason)?,
        rate_per_second: rate(starting.rate_per_second)?.unwrap_or(RATE_DEFAULT),
        ignore_failures: starting.ignore_failures,
        at: (site.access.clock)(),
    };
    Ok(Json(site.batches.start(row.id, &start).await?.into()))
}

pub(crate) async fn resume(
    State(site): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    Arguments(resuming): Arguments<Resuming>,
) -> Result<Json<BatchView>, Problem> {
    let row = found(&site, &caller, &id).await?;
    let Resuming { by, reason, rate_per_second, ignore_failures } = resuming;
    let reason = match reason {
        None => row.reason,
        reason => given_reason(true, reason)?,
    };
    let start = Start {
        by: by_whom(&caller, by)?,
        reason,
        rate_per_second: rate(rate_per_second)?.unwrap_or(row.rate_per_second),
        ignore_failures: ignore_failures.unwrap_or(row.ignore_failures),
        at: (site.access.clock)(),
    };
    Ok(Json(site.batches.resume(row.id, &start).await?.into()))
}

pub(crate) async fn pause(
    State(site): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    Arguments(_): Arguments<Halting>,
) -> Result<Json<BatchView>, Problem> {
    let row = found(&site, &caller, &id).await?;
    Ok(Json(site.batches.pause(row.id).await?.into()))
}

pub(crate) async fn cancel(
    State(site): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    Arguments(_): Arguments<Halting>,
) -> Result<Json<BatchView>, Problem> {
    let row = found(&site, &caller, &id).await?;
    Ok(Json(site.batches.cancel(row.id).await?.into()))
}

/// A batch that the caller may see.
async fn found(site: &Site, caller: &Caller, id: &str) -> Result<BatchRow, Problem> {
    let number = id.parse().map(BatchId);
    let number = number.map_err(|_| Problem::not_found(format!("`{id}` is no batch")))?;
    let row = site.batches.batch(number).await?;
    match &row.plugin {
        Some(plugin) => caller.check_plugin(plugin)?,
        None => caller.check_whole()?,
    }
    Ok(row)
}

async fn selection(site: &Site, caller: &Caller, draft: &Draft) -> Result<Selection, Problem> {
    let filter = draft.filter();
    if !draft.action.is_of_instances() {
        return dead_letters(site, caller, draft, filter).await;
    }
    let Some(plugin) = filter.plugin.clone() else {
        return Err(Problem::unacceptable("plugin", "plugin: is required for instances"));
    };
    if !(RequestFilter { plugin: None, ..filter }).is_empty() {
        let detail = "action: instances are selected by plugin, where and times; the other filters \
                      are for dead letters";
        return Err(Problem::unacceptable("action", detail));
    }
    caller.check_plugin(&plugin)?;
    plugin_exists(site, &plugin).await?;
    let condition = draft.condition.clone();
    let age = draft.times().age(site.now())?;
    if condition.is_some() {
        caller.check_payloads("where selects by parts of states")?;
    } else if !age.is_given() && !draft.all {
        let detail = "all: select instances by where or times, or all running ones by \
                      `\"all\": true`";
        return Err(Problem::unacceptable("all", detail));
    }
    let instances = InstanceFilter { plugin: plugin.clone(), ..InstanceFilter::default() };
    fields::select(site, instances, condition.as_deref(), None)?;
    Ok(Selection::Instances(InstanceSelection::new(plugin, condition, age)))
}

impl Draft {
    fn times(&self) -> Times {
        Times {
            started_before: self.started_before.clone(),
            started_after: self.started_after.clone(),
            updated_before: self.updated_before.clone(),
            updated_after: self.updated_after.clone(),
        }
    }
}

async fn dead_letters(
    site: &Site,
    caller: &Caller,
    draft: &Draft,
    filter: RequestFilter,
) -> Result<Selection, Problem> {
    if draft.condition.is_some() {
        let detail = "where: selects instances; dead letters have no fields";
        return Err(Problem::unacceptable("where", detail));
    }
    if let Some(name) = draft.times().first() {
        let detail = format!("{name}: selects instances");
        return Err(Problem::unacceptable(name, detail));
    }
    if filter.is_empty() && !draft.all {
        let detail = "all: select dead letters by plugin, plugin_version, status, sink, key, type, \
                      reason_contains or cause, or all open ones by `\"all\": true`";
        return Err(Problem::unacceptable("all", detail));
    }
    if filter.status.is_some_and(|status| status != DeadLetterStatus::Open) {
        let detail = "status: only open dead letters can be resolved";
        return Err(Problem::unacceptable("status", detail));
    }
    filter.check(site, caller).await?;
    let RequestFilter {
        plugin,
        plugin_version,
        status: _,
        sink,
        key,
        event_type,
        reason_contains,
        cause,
    } = filter;
    Ok(Selection::DeadLetters(DeadLetterSelection {
        plugin,
        plugin_version,
        sink,
        key,
        event_type,
        reason_contains,
        cause,
    }))
}

fn rate(given: Option<u32>) -> Result<Option<NonZeroU32>, Problem> {
    let Some(given) = given else { return Ok(None) };
    let rate = NonZeroU32::new(given).filter(|rate| *rate <= RATE_MAX);
    let detail = || format!("rate_per_second: is {given}; accepted are 1 to {RATE_MAX}");
    rate.map(Some).ok_or_else(|| Problem::unacceptable("rate_per_second", detail()))
}

impl BatchView {
    /// A draft that is not kept.
    fn counted(
        action: BatchAction,
        selection: &Selection,
        counted: crate::store::query::rows::Counted,
        by: String,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let filter = RawValue::from_string(selection.to_json());
        Ok(Self {
            id: None,
            action,
            status: BatchStatus::Draft,
            filter: filter.map_err(|error| Problem::internal(error.to_string()))?,
            plugin: selection.plugin().map(str::to_owned),
            by,
            reason: None,
            rate_per_second: None,
            ignore_failures: false,
            items: counted.count,
            items_exact: counted.is_exact,
            pending: 0,
            in_progress: 0,
            done: 0,
            failed: 0,
            changed: 0,
            refused: 0,
            note: None,
            created_at: now,
            started_at: None,
            finished_at: None,
        })
    }
}

impl From<BatchRow> for BatchView {
    fn from(row: BatchRow) -> Self {
        let ItemCounts { pending, in_progress, done, failed, changed, refused } = row.counts;
        let is_started = row.started_at.is_some();
        let (items, items_exact) = match row.status {
            BatchStatus::Preparing => (row.counts.sum(), false),
            _ if is_started => (row.counts.sum(), true),
            _ => (row.counted, row.is_exact),
        };
        Self {
            id: Some(row.id.0),
            action: row.action,
            status: row.status,
            filter: row.selection,
            plugin: row.plugin,
            by: row.by,
            reason: is_started.then_some(row.reason),
            rate_per_second: is_started.then_some(row.rate_per_second.get()),
            ignore_failures: row.ignore_failures,
            items,
            items_exact,
            pending,
            in_progress,
            done,
            failed,
            changed,
            refused,
            note: row.note.or(row.remark),
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

impl From<BatchError> for Problem {
    fn from(error: BatchError) -> Self {
        let detail = error.to_string();
        match error {
            BatchError::NotFound(_) => Self::not_found(detail),
            BatchError::Status { .. } => Self::conflict(detail),
            BatchError::Store(error) => unwritten(error),
        }
    }
}
