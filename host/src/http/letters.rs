//! What operators do: resolve dead letters, one or many, and cancel or end instances.
//! Who and why is kept with each.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use sagabox_engine::engine::{Action, InstanceError, Resolution, ResolveError};
use sagabox_engine::model::{DeadLetterId, Event};
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Arguments, Segments};
use super::problem::Problem;
use super::{Shared, Site};
use crate::store::admin::DeadLetterFilter;

/// There is no authentication yet: who says nothing is this one.
const SOMEBODY: &str = "operator";
const REASON_BYTES_MAX: usize = 4096;
/// Letters that one request resolves; each takes a commit or shares one.
const MANY_MAX: u32 = 1000;

/// By whom, why, and with what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct One {
    by: Option<String>,
    reason: Option<String>,
    /// A `CloudEvent` to try in place of the dead one.
    event: Option<Event>,
}

/// Which letters: all that match everything given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Many {
    by: Option<String>,
    reason: Option<String>,
    ids: Option<Vec<u64>>,
    plugin: Option<String>,
    plugin_version: Option<String>,
    sink: Option<String>,
    key: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    reason_contains: Option<String>,
    /// Needed when nothing else picks them, so that nobody drops everything by accident.
    #[serde(default)]
    all: bool,
    /// Only tell how many there are.
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    after: u64,
    limit: Option<u32>,
}

pub async fn show(
    State(site): State<Shared>,
    Segments(id): Segments<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(json!(letter(&site, letter_id(&id)?).await?)))
}

pub async fn resolve(
    State(site): State<Shared>,
    Segments((id, verb)): Segments<(String, String)>,
    Arguments(one): Arguments<One>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let id = letter_id(&id)?;
    let resolution = resolution(&verb, one.by, one.reason, one.event)?;
    site.engine.resolve(id, resolution).await?;
    Ok((StatusCode::ACCEPTED, Json(json!(letter(&site, id).await?))))
}

/// A page of letters at a time; `next` is where the following page begins.
pub async fn resolve_many(
    State(site): State<Shared>,
    Segments(verb): Segments<String>,
    Arguments(many): Arguments<Many>,
) -> Result<Json<Value>, Problem> {
    let resolution = resolution(&verb, many.by.clone(), many.reason.clone(), None)?;
    let (ids, next) = match &many.ids {
        Some(ids) => (ids.clone(), None),
        None => pick(&site, &many).await?,
    };
    let (mut resolved, mut refused) = (0, Vec::new());
    for id in ids {
        if many.dry_run {
            resolved += 1;
            continue;
        }
        match site.engine.resolve(DeadLetterId(id), resolution.clone()).await {
            Ok(()) => resolved += 1,
            Err(error @ ResolveError::Unavailable(_)) => return Err(error.into()),
            Err(error) => {
                let again = matches!(error, ResolveError::NotFirst { .. } | ResolveError::Resuming);
                refused.push(json!({"id": id, "reason": error.to_string(), "again": again}));
            }
        }
    }
    Ok(Json(json!({"resolved": resolved, "refused": refused, "next": next})))
}

async fn pick(site: &Site, many: &Many) -> Result<(Vec<u64>, Option<u64>), Problem> {
    let picks = [
        &many.plugin,
        &many.plugin_version,
        &many.sink,
        &many.key,
        &many.event_type,
        &many.reason_contains,
    ];
    if !many.all && picks.iter().all(|pick| pick.is_none()) {
        let detail = "all: say which letters by plugin, plugin_version, sink, key, type, reason_contains or ids, \
                      or `\"all\": true` for every one";
        return Err(Problem::unacceptable("all", detail));
    }
    let limit = many.limit.unwrap_or(MANY_MAX).clamp(1, MANY_MAX);
    let filter = DeadLetterFilter {
        plugin: many.plugin.clone(),
        plugin_version: many.plugin_version.clone(),
        status: Some("open".to_owned()),
        sink: many.sink.clone(),
        key: many.key.clone(),
        event_type: many.event_type.clone(),
        reason_contains: many.reason_contains.clone(),
        after: many.after,
        limit,
    };
    let rows = site.admin.dead_letters(&filter).await.map_err(unreadable)?;
    let ids: Vec<u64> = rows.iter().map(|row| row.id).collect();
    let next = ids.last().copied().filter(|_| ids.len() == limit as usize);
    Ok((ids, next))
}

pub async fn instance(
    State(site): State<Shared>,
    Segments((plugin, key, verb)): Segments<(String, String, String)>,
    Arguments(one): Arguments<One>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let reason = required(one.reason)?;
    let by = one.by.unwrap_or_else(|| SOMEBODY.to_owned());
    let (plugin, key) = (plugin.into(), key.into());
    match verb.as_str() {
        "cancel" => site.engine.cancel(&plugin, &key, &by, &reason).await?,
        "end" => site.engine.end(&plugin, &key, &by, &reason).await?,
        other => {
            return Err(Problem::not_found(format!(
                "an instance is not `{other}`ed; cancel or end it"
            )));
        }
    }
    let body = json!({"plugin": plugin, "key": key, "by": by, "reason": reason});
    Ok((StatusCode::ACCEPTED, Json(body)))
}

/// Sinks that do not answer: their messages wait, and they are tried now and then.
pub async fn sinks(State(site): State<Shared>) -> Json<Value> {
    let down = site.engine.status().await.sinks_down.into_iter().map(|down| {
        json!({
            "sink": down.sink,
            "since": down.since.to_rfc3339(),
            "next_attempt_at": down.next_attempt_at.to_rfc3339(),
            "reason": down.reason,
        })
    });
    Json(json!({"sinks_down": down.collect::<Vec<_>>()}))
}

fn resolution(
    verb: &str,
    by: Option<String>,
    reason: Option<String>,
    event: Option<Event>,
) -> Result<Resolution, Problem> {
    let action = match verb {
        "redrive" => Action::Redrive { edited: event.map(Box::new) },
        "skip" => Action::Skip,
        "discard" => Action::Discard,
        other => {
            let detail = format!("a dead letter is not `{other}`ed; redrive, skip or discard it");
            return Err(Problem::not_found(detail));
        }
    };
    if let Action::Redrive { edited: Some(event) } = &action {
        let checked = event.validate();
        checked.map_err(|error| Problem::unacceptable("event", format!("event: {error}")))?;
    }
    // What is dropped is gone: somebody will ask why.
    let reason = match action {
        Action::Redrive { .. } => reason.unwrap_or_default(),
        Action::Skip | Action::Discard => required(reason)?,
    };
    Ok(Resolution { action, by: by.unwrap_or_else(|| SOMEBODY.to_owned()), reason })
}

fn required(reason: Option<String>) -> Result<String, Problem> {
    match reason {
        Some(reason) if reason.len() > REASON_BYTES_MAX => {
            let detail = format!("reason: at most {REASON_BYTES_MAX} bytes are kept");
            Err(Problem::unacceptable("reason", detail))
        }
        Some(reason) if !reason.trim().is_empty() => Ok(reason),
        _ => Err(Problem::unacceptable("reason", "reason: say why; it is kept")),
    }
}

async fn letter(
    site: &Site,
    id: DeadLetterId,
) -> Result<crate::store::admin::DeadLetterRow, Problem> {
    let filter = DeadLetterFilter { after: id.0.saturating_sub(1), limit: 1, ..Default::default() };
    let rows = site.admin.dead_letters(&filter).await.map_err(unreadable)?;
    let found = rows.into_iter().find(|row| row.id == id.0);
    found.ok_or_else(|| ResolveError::NotFound(id.0).into())
}

fn letter_id(text: &str) -> Result<DeadLetterId, Problem> {
    let id = text.parse().map(DeadLetterId);
    id.map_err(|_| Problem::not_found(format!("`{text}` is not a dead letter's id")))
}

fn unreadable(error: impl std::fmt::Display) -> Problem {
    Problem::internal(format!("read the store: {error:#}"))
}

impl From<ResolveError> for Problem {
    fn from(error: ResolveError) -> Self {
        let detail = error.to_string();
        match error {
            ResolveError::NotFound(_) => Self::not_found(detail),
            ResolveError::NotOpen { .. }
            | ResolveError::NotFirst { .. }
            | ResolveError::Resuming
            | ResolveError::Unserved(_) => Self::conflict(detail),
            ResolveError::Edited { .. } => Self::unacceptable("event", detail),
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
            | InstanceError::NotSubscribed(_) => Self::conflict(detail),
            InstanceError::Offer(error) => error.into(),
        }
    }
}
