//! What operators do: resolve dead letters, one or many, and cancel or end instances.
//! Who and why is kept with each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use sagabox_engine::engine::{Action, InstanceError, Resolution, ResolveError};
use sagabox_engine::model::{DeadLetterId, DeadLetterStatus, Event};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::admin::{plugin_exists, unreadable};
use super::caller::Caller;
use super::extract::{Accepted, Arguments, Segments};
use super::problem::Problem;
use super::{Shared, Site, hidden};
use crate::store::query::rows::{DeadLetterFilter, DeadLetterRow};
use crate::store::query::shapes::CloudEvent;

/// A caller without a token and without a name.
const UNNAMED: &str = "operator";
pub(super) const REASON_BYTES_MAX: usize = 4096;
/// A name, or an address.
const BY_BYTES_MAX: usize = 256;
/// Dead letters that one request resolves; each takes a commit or shares one.
const MANY_MAX: u32 = 1000;

/// A commit takes some milliseconds; where it takes so long, the disk or the store is in trouble.
const RESOLVE_TIME: Duration = Duration::from_secs(10);

/// By whom, why, and with what.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ResolveRequest)]
#[serde(deny_unknown_fields)]
pub(crate) struct One {
    pub by: Option<String>,
    pub reason: Option<String>,
    /// A `CloudEvent` to try in place of the dead one.
    #[schema(value_type = Option<CloudEvent>)]
    pub event: Option<Event>,
}

/// Those with these ids. What a filter selects is a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ResolveManyRequest)]
#[serde(deny_unknown_fields)]
pub(crate) struct Many {
    by: Option<String>,
    reason: Option<String>,
    ids: Vec<u64>,
    /// Only count them.
    #[serde(default)]
    dry_run: bool,
}

/// Which instance, by whom and why.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = InstanceRequest)]
#[serde(deny_unknown_fields)]
pub(crate) struct Instance {
    pub plugin: String,
    pub key: String,
    pub by: Option<String>,
    pub reason: Option<String>,
}

/// What became of many dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResolvedMany {
    /// How many were resolved; of a dry run, how many would be.
    resolved: usize,
    refused: Vec<RefusedOne>,
    /// Ids that the request did not come to in its time.
    left: Vec<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusedOne {
    id: u64,
    reason: String,
    /// Whether the same request can succeed soon.
    #[serde(skip_serializing_if = "Option::is_none")]
    again: Option<bool>,
}

/// An instance that was cancelled or ended, by whom and why.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Asked {
    plugin: String,
    key: String,
    by: String,
    reason: String,
}

type Resolved = Result<Accepted<DeadLetterRow>, Problem>;

pub(crate) async fn show(
    State(site): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Json<DeadLetterRow>, Problem> {
    Ok(Json(dead_letter(&site, &caller, dead_letter_id(&id)?).await?))
}

pub(crate) async fn redrive(
    State(site): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    Arguments(One { by, reason, event }): Arguments<One>,
) -> Resolved {
    if let Some(event) = &event {
        let checked = event.validate();
        checked.map_err(|error| Problem::unacceptable("event", format!("event: {error}")))?;
    }
    let action = Action::Redrive { edited: event.map(Box::new) };
    resolve(&site, &caller, &id, resolution(&caller, action, by, reason)?).await
}

pub(crate) async fn skip(
    State(site): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    Arguments(one): Arguments<One>,
) -> Resolved {
    resolve(&site, &caller, &id, dropping(&caller, Action::Skip, one)?).await
}

pub(crate) async fn discard(
    State(site): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    Arguments(one): Arguments<One>,
) -> Resolved {
    resolve(&site, &caller, &id, dropping(&caller, Action::Discard, one)?).await
}

fn dropping(caller: &Caller, action: Action, one: One) -> Result<Resolution, Problem> {
    if one.event.is_some() {
        let detail = "event: only a redrive accepts an edited event";
        return Err(Problem::unacceptable("event", detail));
    }
    resolution(caller, action, one.by, one.reason)
}

async fn resolve(site: &Site, caller: &Caller, id: &str, resolution: Resolution) -> Resolved {
    let id = dead_letter_id(id)?;
    if caller.check_whole().is_err() {
        // Refused if it is of another plugin.
        dead_letter(site, caller, id).await?;
    }
    resolve_in_time(site, id, resolution).await?;
    Ok(Accepted(dead_letter(site, caller, id).await?))
}

/// A store that takes no commits for a while must not hold the request as long.
async fn resolve_in_time(
    site: &Site,
    id: DeadLetterId,
    resolution: Resolution,
) -> Result<(), ResolveError> {
    let resolved = tokio::time::timeout(RESOLVE_TIME, site.engine.resolve(id, resolution)).await;
    resolved.unwrap_or_else(|_| {
        let seconds = RESOLVE_TIME.as_secs();
        Err(ResolveError::Unavailable(format!(
            "no answer within {seconds} s; dead letter {} may be resolved all the same",
            id.0
        )))
    })
}

pub(crate) async fn redrive_many(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(many): Arguments<Many>,
) -> Result<Json<ResolvedMany>, Problem> {
    resolve_many(&site, &caller, Action::Redrive { edited: None }, many).await
}

pub(crate) async fn skip_many(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(many): Arguments<Many>,
) -> Result<Json<ResolvedMany>, Problem> {
    resolve_many(&site, &caller, Action::Skip, many).await
}

pub(crate) async fn discard_many(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(many): Arguments<Many>,
) -> Result<Json<ResolvedMany>, Problem> {
    resolve_many(&site, &caller, Action::Discard, many).await
}

/// When the time of one request is over, `left` has the ids that it did not come to.
async fn resolve_many(
    site: &Site,
    caller: &Caller,
    action: Action,
    many: Many,
) -> Result<Json<ResolvedMany>, Problem> {
    let resolution = resolution(caller, action, many.by, many.reason)?;
    // Ids do not say of which plugin they are.
    caller.check_whole()?;
    let ids = each_once(many.ids);
    if ids.len() > MANY_MAX as usize {
        let detail = format!("ids: has {} elements; the maximum is {MANY_MAX}", ids.len());
        return Err(Problem::unacceptable("ids", detail));
    }
    if let Some(id) = ids.iter().find(|id| i64::try_from(**id).is_err()) {
        let detail = format!("ids: {id} is larger than any id; the maximum is {}", i64::MAX);
        return Err(Problem::unacceptable("ids", detail));
    }
    if many.dry_run {
        return would_resolve(site, &ids).await;
    }
    let (mut resolved, mut refused) = (0, Vec::new());
    let started = Instant::now();
    let mut left = ids.into_iter();
    // At least one, however little time there is: each request gets further.
    for id in left.by_ref() {
        match resolve_in_time(site, DeadLetterId(id), resolution.clone()).await {
            Ok(()) => resolved += 1,
            Err(error @ ResolveError::Unavailable(_)) => return Err(error.into()),
            Err(error) => {
                let again = Some(error.is_soon_over());
                refused.push(RefusedOne { id, reason: error.to_string(), again });
            }
        }
        if started.elapsed() >= site.limits.bulk_time {
            break;
        }
    }
    Ok(Json(ResolvedMany { resolved, refused, left: left.collect() }))
}

/// One that fails again at once is open again, and would be redriven a second time.
fn each_once(ids: Vec<u64>) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    ids.into_iter().filter(|id| seen.insert(*id)).collect()
}

/// Which of these dead letters could be resolved.
async fn would_resolve(site: &Site, ids: &[u64]) -> Result<Json<ResolvedMany>, Problem> {
    let filter = DeadLetterFilter {
        ids: Some(ids.to_vec()),
        status: Some(DeadLetterStatus::Open),
        limit: MANY_MAX,
        ..DeadLetterFilter::default()
    };
    let open = site.queries.dead_letter_ids(&filter).await.map_err(unreadable)?.rows;
    let (there, others): (Vec<u64>, Vec<u64>) = ids.iter().partition(|id| open.contains(id));
    let reason = "not found, or not open";
    let refused = |id| RefusedOne { id, reason: reason.to_owned(), again: None };
    let refused = others.into_iter().map(refused).collect();
    Ok(Json(ResolvedMany { resolved: there.len(), refused, left: Vec::new() }))
}

pub(crate) async fn cancel(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(instance): Arguments<Instance>,
) -> Result<Accepted<Asked>, Problem> {
    let Instance { plugin, key, by, reason } = instance;
    caller.check_plugin(&plugin)?;
    let (by, reason) = (by_whom(&caller, by)?, required(reason)?);
    plugin_exists(&site, &plugin).await?;
    site.engine.cancel(&plugin.as_str().into(), &key.as_str().into(), &by, &reason).await?;
    Ok(Accepted(Asked { plugin, key, by, reason }))
}

pub(crate) async fn end(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(instance): Arguments<Instance>,
) -> Result<Accepted<Asked>, Problem> {
    let Instance { plugin, key, by, reason } = instance;
    caller.check_plugin(&plugin)?;
    let (by, reason) = (by_whom(&caller, by)?, required(reason)?);
    plugin_exists(&site, &plugin).await?;
    site.engine.end(&plugin.as_str().into(), &key.as_str().into(), &by, &reason).await?;
    Ok(Accepted(Asked { plugin, key, by, reason }))
}

fn resolution(
    caller: &Caller,
    action: Action,
    by: Option<String>,
    reason: Option<String>,
) -> Result<Resolution, Problem> {
    let reason = given_reason(matches!(action, Action::Redrive { .. }), reason)?;
    Ok(Resolution { action, by: by_whom(caller, by)?, reason, batch: None })
}

/// What is dropped is gone, and others will ask why. A redrive drops nothing.
pub(super) fn given_reason(is_optional: bool, reason: Option<String>) -> Result<String, Problem> {
    match (is_optional, reason) {
        (true, None) => Ok(String::new()),
        (true, Some(reason)) => short("reason", reason, REASON_BYTES_MAX),
        (false, reason) => required(reason),
    }
}

/// The name in the request, and that of the token.
pub(super) fn by_whom(caller: &Caller, by: Option<String>) -> Result<String, Problem> {
    let by = by.map(|by| short("by", by, BY_BYTES_MAX)).transpose()?;
    Ok(caller.signed(by).unwrap_or_else(|| UNNAMED.to_owned()))
}

pub(super) fn required(reason: Option<String>) -> Result<String, Problem> {
    let reason = short("reason", reason.unwrap_or_default(), REASON_BYTES_MAX)?;
    if reason.trim().is_empty() {
        return Err(Problem::unacceptable("reason", "reason: is required; the host records it"));
    }
    Ok(reason)
}

pub(super) fn short(attribute: &str, text: String, max: usize) -> Result<String, Problem> {
    if text.len() > max {
        let detail = format!("{attribute}: has more than {max} bytes");
        return Err(Problem::unacceptable(attribute, detail));
    }
    Ok(text)
}

async fn dead_letter(
    site: &Site,
    caller: &Caller,
    id: DeadLetterId,
) -> Result<DeadLetterRow, Problem> {
    let filter = DeadLetterFilter { ids: Some(vec![id.0]), limit: 1, ..Default::default() };
    let page = site.queries.dead_letters(&filter).await.map_err(unreadable)?;
    let mut row = page.rows.into_iter().next().ok_or(ResolveError::NotFound(id.0))?;
    caller.check_plugin(row.plugin.as_str())?;
    if !caller.sees_payloads() {
        hidden::dead_letter(&mut row);
    }
    Ok(row)
}

fn dead_letter_id(text: &str) -> Result<DeadLetterId, Problem> {
    let id = text.parse().map(DeadLetterId);
    id.map_err(|_| Problem::not_found(format!("`{text}` is not the id of a dead letter")))
}

impl From<ResolveError> for Problem {
    fn from(error: ResolveError) -> Self {
        let detail = error.to_string();
        match error {
            ResolveError::NotFound(_) => Self::not_found(detail),
            ResolveError::NotOpen { .. }
            | ResolveError::NotFirst { .. }
            | ResolveError::InBatch { .. }
            | ResolveError::Resuming
            | ResolveError::Waiting(_)
            | ResolveError::Unserved(_) => Self::conflict(detail),
            ResolveError::Edited { .. } => Self::unacceptable("event", detail),
            ResolveError::Unwritable { .. } => Self::not_storable(detail),
            ResolveError::Unavailable(_) => Self::unavailable(detail),
        }
    }
}

impl From<InstanceError> for Problem {
    fn from(error: InstanceError) -> Self {
        let detail = error.to_string();
        match error {
            InstanceError::NotLoaded(_) | InstanceError::NotFound { .. } => Self::not_found(detail),
            InstanceError::Stateless(_)
            | InstanceError::NotRunning { .. }
            | InstanceError::Replaced { .. }
            | InstanceError::NotSubscribed(_) => Self::conflict(detail),
            InstanceError::Offer(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_that_is_named_twice_is_resolved_once() {
        assert_eq!(each_once(vec![3, 1, 3, 2, 1]), [3, 1, 2]);
        assert!(each_once(Vec::new()).is_empty());
    }
}
