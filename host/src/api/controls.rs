//! How operators hold work back: pauses, limits, and attempts before their time. Who and why is kept
//! with each.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use sagabox_engine::engine::{ControlError, PauseStatus};
use sagabox_engine::model::{Limit, Pause, PauseEnd, Rate, Target, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::admin::{plugin_exists, sink_exists};
use super::caller::Caller;
use super::dead_letters::{REASON_BYTES_MAX, by_whom, required, short};
use super::extract::{Arguments, Filter};
use super::paging::Paging;
use super::problem::Problem;
use super::{Shared, Site};
use crate::io::durations;
use crate::io::times::Time;

/// A commit takes some milliseconds; where it takes so long, the disk or the store is in trouble.
const CONTROL_TIME: Duration = Duration::from_secs(10);
/// The longest name, key or type of a target, in bytes.
const NAME_BYTES_MAX: usize = 4096;
/// The sinks of the host's own queues: this, and the message type.
pub(super) const QUEUE: &str = "queue:";

/// What a pause or limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TargetKind {
    /// The door: new events of senders.
    Ingest,
    /// A plugin.
    Plugin,
    /// One key of a plugin: an instance by its own key.
    Key,
    /// A configured sink, or the queue of a message type: `queue:` and the type.
    Sink,
    /// A type of messages.
    Type,
}

/// A target: its kind, and the members that name it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Target)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetShape {
    pub kind: TargetKind,
    /// Of a plugin or key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of a sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Of a message type.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub message_type: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PauseRequest {
    pub target: TargetShape,
    pub by: Option<String>,
    /// Required.
    pub reason: Option<String>,
    /// The pause ends at this time.
    pub until: Option<Time>,
    /// The pause ends after this duration, as in `10m`.
    #[serde(rename = "for")]
    pub duration: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResumeRequest {
    pub target: TargetShape,
    pub by: Option<String>,
    pub reason: Option<String>,
}

/// Without a number, it removes the limit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitRequest {
    pub target: TargetShape,
    /// Messages whose delivery or lease begins in a second.
    #[schema(minimum = 0.001, maximum = 1_000_000.0)]
    pub per_second: Option<f64>,
    /// Messages that are being delivered, or are leased, at a time.
    #[schema(minimum = 1)]
    pub in_flight: Option<u32>,
    /// The same for each ordering key; of a message type.
    #[schema(minimum = 1)]
    pub concurrency: Option<u32>,
    pub by: Option<String>,
    /// Required.
    pub reason: Option<String>,
}

/// A plugin and a key of it, or a sink, and one ordering key of it where wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryRequest {
    pub plugin: Option<String>,
    pub key: Option<String>,
    pub sink: Option<String>,
    pub by: Option<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PausePage {
    pub pauses: Vec<PauseRow>,
    pub next: Option<String>,
}

/// A pause, and what waits because of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pause)]
pub(crate) struct PauseRow {
    pub target: TargetShape,
    pub by: String,
    pub reason: String,
    pub since: Time,
    /// When it ends by itself; null if an operator ends it.
    pub until: Option<Time>,
    /// Events or messages that wait. Of a plugin: the positions of the log that it has not settled.
    /// Null for the door, and where nothing serves the target.
    pub waiting: Option<u64>,
    /// When the oldest of these came.
    pub oldest_at: Option<Time>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitPage {
    pub limits: Vec<LimitRow>,
    pub next: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Limit)]
pub(crate) struct LimitRow {
    pub target: TargetShape,
    pub per_second: Option<f64>,
    pub in_flight: Option<u32>,
    pub concurrency: Option<u32>,
    pub by: String,
    pub reason: String,
    pub since: Time,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Resumed {
    pub target: TargetShape,
}

/// How many keys, or lanes of messages, go on at once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Retried {
    pub retried: usize,
}

pub(crate) async fn pauses(
    State(site): State<Shared>,
    caller: Caller,
    Filter(paging): Filter<Paging>,
) -> Result<Json<PausePage>, Problem> {
    let mut pauses = site.engine.pauses().await;
    pauses.retain(|status| may_see(&caller, &status.pause.target));
    pauses.sort_by_key(|status| place(&status.pause.target));
    let (pauses, next) = paging.page(pauses, |status| place(&status.pause.target))?;
    Ok(Json(PausePage { pauses: pauses.into_iter().map(row).collect(), next }))
}

/// Where a target is in a list.
fn place(target: &Target) -> String {
    let (kind, name) = target.kind_and_name();
    format!("{kind} {name}")
}

pub(crate) async fn pause(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(request): Arguments<PauseRequest>,
) -> Result<Json<PauseRow>, Problem> {
    let PauseRequest { target, by, reason, until, duration } = request;
    let target = allowed(&site, &caller, target).await?;
    let (by, reason) = (by_whom(&caller, by)?, required(reason)?);
    let since = (site.access.clock)();
    let end = end(since, until, duration)?;
    let pause = Pause { target, by, reason, since, end };
    in_time(site.engine.pause(pause.clone())).await?;
    let mut pauses = site.engine.pauses().await.into_iter();
    let set = pauses.find(|status| status.pause.target == pause.target);
    Ok(Json(row(set.unwrap_or(PauseStatus { pause, waiting: None, oldest: None }))))
}

pub(crate) async fn resume(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(request): Arguments<ResumeRequest>,
) -> Result<Json<Resumed>, Problem> {
    let ResumeRequest { target, by, reason } = request;
    short("reason", reason.unwrap_or_default(), REASON_BYTES_MAX)?;
    let target = parsed(target)?;
    check(&caller, &target)?;
    by_whom(&caller, by)?;
    in_time(site.engine.resume(target.clone())).await?;
    Ok(Json(Resumed { target: shape(&target) }))
}

pub(crate) async fn limits(
    State(site): State<Shared>,
    Filter(paging): Filter<Paging>,
) -> Result<Json<LimitPage>, Problem> {
    let mut limits = site.engine.limits();
    limits.sort_by_key(|limit| place(&limit.target));
    let (limits, next) = paging.page(limits, |limit| place(&limit.target))?;
    Ok(Json(LimitPage { limits: limits.into_iter().map(limit_row).collect(), next }))
}

pub(crate) async fn limit(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(request): Arguments<LimitRequest>,
) -> Result<Json<LimitRow>, Problem> {
    let LimitRequest { target, per_second, in_flight, concurrency, by, reason } = request;
    let target = allowed(&site, &caller, target).await?;
    let rate = |number: f64| {
        let detail = || format!("per_second: is {number}; accepted are 0.001 to 1000000");
        Rate::per_second(number).ok_or_else(|| Problem::unacceptable("per_second", detail()))
    };
    for (name, number) in [("in_flight", in_flight), ("concurrency", concurrency)] {
        if number == Some(0) {
            let detail = format!("{name}: is 0; to let nothing begin, pause the target");
            return Err(Problem::unacceptable(name, detail));
        }
    }
    let limit = Limit {
        target,
        per_second: per_second.map(rate).transpose()?,
        in_flight,
        concurrency,
        by: by_whom(&caller, by)?,
        reason: required(reason)?,
        since: (site.access.clock)(),
    };
    in_time(site.engine.limit(limit.clone())).await?;
    Ok(Json(limit_row(limit)))
}

pub(crate) async fn retry(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(request): Arguments<RetryRequest>,
) -> Result<Json<Retried>, Problem> {
    let RetryRequest { plugin, key, sink, by, reason } = request;
    short("reason", reason.unwrap_or_default(), REASON_BYTES_MAX)?;
    by_whom(&caller, by)?;
    let of = match (plugin, key) {
        (Some(plugin), Some(key)) => {
            caller.check_plugin(&plugin)?;
            plugin_exists(&site, &plugin).await?;
            Some((plugin.into(), key.into()))
        }
        (None, None) => None,
        (plugin, _) => {
            let name = if plugin.is_some() { "key" } else { "plugin" };
            return Err(Problem::unacceptable(name, format!("{name}: is required with the other")));
        }
    };
    let retried = match (sink, of) {
        (Some(sink), of) => {
            if of.is_none() {
                caller.check_whole()?;
            }
            sink_exists(&site, &sink).await?;
            in_time(site.engine.retry_sink(&sink.into(), of)).await?
        }
        (None, Some((plugin, key))) => {
            usize::from(in_time(site.engine.retry_key(&plugin, &key)).await?)
        }
        (None, None) => {
            let detail = "sink: give a plugin and a key, or a sink";
            return Err(Problem::unacceptable("sink", detail));
        }
    };
    Ok(Json(Retried { retried }))
}

/// When a pause ends by itself.
fn end(
    since: Timestamp,
    until: Option<Time>,
    duration: Option<String>,
) -> Result<Option<PauseEnd>, Problem> {
    match (until, duration) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(Problem::unacceptable("until", "until: give `until` or `for`, not both"))
        }
        (Some(Time(until)), None) => {
            if until <= since {
                let (until, now) = (until.to_rfc3339(), since.to_rfc3339());
                let detail = format!("until: `{until}` is over; it is {now} now");
                return Err(Problem::unacceptable("until", detail));
            }
            Ok(Some(PauseEnd::At(until)))
        }
        (None, Some(duration)) => {
            let wrong = |why: String| Problem::unacceptable("for", format!("for: {why}"));
            let length = durations::duration(&duration).map_err(wrong)?;
            if length < Duration::from_millis(1) {
                return Err(wrong(format!("`{duration}` is no time")));
            }
            Ok(Some(PauseEnd::After(since.after(length))))
        }
    }
}

/// The target, if it exists and the caller may change it.
async fn allowed(site: &Site, caller: &Caller, target: TargetShape) -> Result<Target, Problem> {
    let target = parsed(target)?;
    check(caller, &target)?;
    match &target {
        Target::Plugin { plugin } | Target::Key { plugin, .. } => {
            plugin_exists(site, plugin.as_str()).await?;
        }
        // A queue begins with its first message; it can be paused before.
        Target::Sink { sink } if !sink.as_str().starts_with(QUEUE) => {
            sink_exists(site, sink.as_str()).await?;
        }
        Target::Sink { .. } | Target::Type { .. } | Target::Ingest => {}
    }
    Ok(target)
}

fn check(caller: &Caller, target: &Target) -> Result<(), Problem> {
    match target {
        Target::Plugin { plugin } | Target::Key { plugin, .. } => {
            caller.check_plugin(plugin.as_str())
        }
        Target::Ingest | Target::Sink { .. } | Target::Type { .. } => caller.check_whole(),
    }
}

fn may_see(caller: &Caller, target: &Target) -> bool {
    match target {
        Target::Plugin { plugin } | Target::Key { plugin, .. } => {
            caller.sees_plugin(plugin.as_str())
        }
        // Why events are refused, or messages wait, concerns all.
        Target::Ingest | Target::Sink { .. } | Target::Type { .. } => true,
    }
}

fn parsed(target: TargetShape) -> Result<Target, Problem> {
    let TargetShape { kind, plugin, key, sink, message_type } = target;
    let given = [
        ("plugin", plugin, &[TargetKind::Plugin, TargetKind::Key][..]),
        ("key", key, &[TargetKind::Key]),
        ("sink", sink, &[TargetKind::Sink]),
        ("type", message_type, &[TargetKind::Type]),
    ];
    let mut names = Vec::new();
    for (name, text, kinds) in given {
        let is_needed = kinds.contains(&kind);
        match text {
            Some(text) if is_needed && !text.is_empty() && text.len() <= NAME_BYTES_MAX => {
                names.push(text);
            }
            None if !is_needed => {}
            _ => {
                let what = if is_needed { "needs" } else { "has no" };
                let kind = serde_json::to_string(&kind).unwrap_or_default();
                let detail = format!("target: the kind {kind} {what} `{name}`");
                return Err(Problem::unacceptable("target", detail));
            }
        }
    }
    let mut names = names.into_iter();
    let mut name = || names.next().unwrap_or_default();
    Ok(match kind {
        TargetKind::Ingest => Target::Ingest,
        TargetKind::Plugin => Target::Plugin { plugin: name().into() },
        TargetKind::Key => Target::Key { plugin: name().into(), key: name().into() },
        TargetKind::Sink => Target::Sink { sink: name().into() },
        TargetKind::Type => Target::Type { message_type: name() },
    })
}

pub(crate) fn shape(target: &Target) -> TargetShape {
    let none = TargetShape {
        kind: TargetKind::Ingest,
        plugin: None,
        key: None,
        sink: None,
        message_type: None,
    };
    match target {
        Target::Ingest => none,
        Target::Plugin { plugin } => {
            TargetShape { kind: TargetKind::Plugin, plugin: Some(plugin.to_string()), ..none }
        }
        Target::Key { plugin, key } => TargetShape {
            kind: TargetKind::Key,
            plugin: Some(plugin.to_string()),
            key: Some(key.to_string()),
            ..none
        },
        Target::Sink { sink } => {
            TargetShape { kind: TargetKind::Sink, sink: Some(sink.to_string()), ..none }
        }
        Target::Type { message_type } => {
            TargetShape { kind: TargetKind::Type, message_type: Some(message_type.clone()), ..none }
        }
    }
}

fn row(status: PauseStatus) -> PauseRow {
    let PauseStatus { pause, waiting, oldest } = status;
    PauseRow {
        target: shape(&pause.target),
        by: pause.by,
        reason: pause.reason,
        since: Time(pause.since),
        until: pause.end.map(|end| Time(end.date())),
        waiting,
        oldest_at: oldest.map(Time),
    }
}

pub(super) fn limit_row(limit: Limit) -> LimitRow {
    LimitRow {
        target: shape(&limit.target),
        per_second: limit.per_second.map(Rate::to_per_second),
        in_flight: limit.in_flight,
        concurrency: limit.concurrency,
        by: limit.by,
        reason: limit.reason,
        since: Time(limit.since),
    }
}

/// A store that takes no commits for a while must not hold the request as long.
async fn in_time<T>(
    change: impl Future<Output = Result<T, ControlError>>,
) -> Result<T, ControlError> {
    tokio::time::timeout(CONTROL_TIME, change).await.unwrap_or_else(|_| {
        let seconds = CONTROL_TIME.as_secs();
        Err(ControlError::Unavailable(format!("no answer within {seconds} s")))
    })
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let detail = error.to_string();
        match error {
            ControlError::NotPaused(_) | ControlError::NotLimited(_) | ControlError::TooMany => {
                Self::conflict(detail)
            }
            ControlError::NotLimitable(_) => Self::unacceptable("target", detail),
            ControlError::Unserved(_) => Self::conflict(detail),
            ControlError::Unavailable(_) => Self::unavailable(detail),
        }
    }
}

#[cfg(test)]
mod tests;
