//! The sinks and queues: what waits in each, for how long, and which of them do not answer; and the
//! lookups that do not.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use sagabox_engine::model::{Target, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::admin::unreadable;
use super::controls::{LimitRow, QUEUE, limit_row};
use super::extract::Filter;
use super::paging::Paging;
use super::problem::Problem;
use crate::io::times::{Time, rfc3339, rfc3339_option};

#[derive(Serialize, ToSchema)]
pub(crate) struct SinkPage {
    pub sinks: Vec<SinkView>,
    pub next: Option<String>,
}

/// A configured sink, or one that has had messages. The queue of a type is the sink `queue:TYPE`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Sink)]
pub(crate) struct SinkView {
    pub sink: String,
    /// Messages that are not settled yet.
    pub pending: u64,
    /// Of a queue: those of them that workers have leased.
    pub leased: Option<usize>,
    /// When the oldest pending message was decided.
    #[serde(serialize_with = "rfc3339_option")]
    #[schema(value_type = Option<Time>)]
    pub oldest_at: Option<Timestamp>,
    pub delivered: u64,
    /// Messages that wait behind a dead letter or an attempt.
    pub parked: u64,
    /// Open dead letters.
    pub dead: u64,
    /// Why an operator has paused it, or the type of the queue.
    pub paused: Option<String>,
    /// The limits of the sink, and of the type of the queue.
    pub limits: Vec<LimitRow>,
    /// Set while the sink does not answer: its messages wait, and it gets single attempts.
    pub down: Option<Down>,
}

/// Since when a sink or lookup has not answered, and when it is tried next.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Down {
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub since: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub next_attempt_at: Timestamp,
    pub reason: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct LookupsDown {
    pub lookups_down: Vec<LookupDown>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct LookupDown {
    pub lookup: String,
    #[serde(flatten)]
    pub down: Down,
}

pub(crate) async fn list(
    State(site): State<Shared>,
    Filter(paging): Filter<Paging>,
) -> Result<Json<SinkPage>, Problem> {
    let accounts = site.queries.accounts().await.map_err(unreadable)?;
    let status = site.engine.status().await;
    let empty = |sink: &String| (sink.clone(), SinkView::without_messages(sink));
    let mut sinks: BTreeMap<String, SinkView> = site.sinks.iter().map(empty).collect();
    for account in accounts.sinks {
        let view = SinkView {
            pending: account.pending,
            oldest_at: account.oldest_at,
            delivered: account.delivered,
            parked: account.parked,
            dead: account.dead,
            ..SinkView::without_messages(&account.sink)
        };
        sinks.insert(account.sink, view);
    }
    for queue in status.queues {
        let sink = format!("{QUEUE}{}", queue.queue);
        let view = sinks.entry(sink).or_insert_with_key(|sink| SinkView::without_messages(sink));
        view.leased = Some(queue.leased);
    }
    for down in status.sinks_down {
        let sink = down.sink.to_string();
        let view = sinks.entry(sink).or_insert_with_key(|sink| SinkView::without_messages(sink));
        let (since, next_attempt_at) = (down.since, down.next_attempt_at);
        view.down = Some(Down { since, next_attempt_at, reason: down.reason });
    }
    for pause in site.engine.paused() {
        if let Some(view) = sink_of(&pause.target).and_then(|sink| sinks.get_mut(&sink)) {
            view.paused.get_or_insert(pause.reason);
        }
    }
    for limit in site.engine.limits() {
        if let Some(view) = sink_of(&limit.target).and_then(|sink| sinks.get_mut(&sink)) {
            view.limits.push(limit_row(limit));
        }
    }
    let (sinks, next) = paging.page(sinks.into_values(), |view| view.sink.clone())?;
    Ok(Json(SinkPage { sinks, next }))
}

/// The sink that a pause or limit is about. The queue of a type has no other messages than those of
/// the type.
fn sink_of(target: &Target) -> Option<String> {
    match target {
        Target::Sink { sink } => Some(sink.to_string()),
        Target::Type { message_type } => Some(format!("{QUEUE}{message_type}")),
        Target::Ingest | Target::Plugin { .. } | Target::Key { .. } => None,
    }
}

impl SinkView {
    fn without_messages(sink: &str) -> Self {
        Self {
            sink: sink.to_owned(),
            pending: 0,
            leased: None,
            oldest_at: None,
            delivered: 0,
            parked: 0,
            dead: 0,
            paused: None,
            limits: Vec::new(),
            down: None,
        }
    }
}

/// Lookups that do not answer: events that need them wait, and they are asked now and then.
pub(crate) async fn lookups(State(site): State<Shared>) -> Json<LookupsDown> {
    let down = site.engine.status().await.lookups_down.into_iter().map(|down| LookupDown {
        lookup: down.lookup,
        down: Down {
            since: down.since,
            next_attempt_at: down.next_attempt_at,
            reason: down.reason,
        },
    });
    Json(LookupsDown { lookups_down: down.collect() })
}
