//! Which worker has which messages of the queues, since when and until when. The leases are the
//! engine's; nothing of them is in the store. What the messages say is not in the list.

use axum::Json;
use axum::extract::State;
use sagabox_engine::model::{LeaseFilter, LeasedMessage, Sequence, Timestamp, WorkerLeases};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::caller::Caller;
use super::due::check;
use super::extract::Filter;
use super::paging;
use super::problem::Problem;
use crate::io::times::{Time, rfc3339};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Messages of this queue alone.
    pub queue: Option<String>,
    /// Messages that the worker with this name has leased.
    pub worker: Option<String>,
    /// Messages that this plugin has sent.
    pub plugin: Option<String>,
    /// Messages of this ordering key.
    pub key: Option<String>,
    /// Where the page before ended: its `next`.
    pub after: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeasePage {
    pub leases: Vec<LeaseRow>,
    pub next: Option<String>,
}

/// A message that a worker has leased.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LeasedRow)]
pub(crate) struct LeaseRow {
    /// The message type.
    pub queue: String,
    /// None if the worker gave no name, and needs no token.
    pub worker: Option<String>,
    /// The id of the message's event.
    pub id: String,
    /// The plugin that has sent the message.
    pub plugin: String,
    /// Its ordering key.
    pub key: String,
    /// From 1.
    pub attempt: u32,
    /// A number in a string: JavaScript would round it.
    pub lease: String,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub leased_at: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub ends_at: Timestamp,
}

/// The open leases of one worker in one queue.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = QueueWorker)]
pub(crate) struct WorkerRow {
    /// None if the worker gave no name, and needs no token: all of these are one row.
    pub worker: Option<String>,
    /// The messages that it has leased.
    pub leased: usize,
    /// When its oldest open lease began.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub oldest_at: Timestamp,
    /// When its open leases end next, unless it extends them.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub next_end_at: Timestamp,
    /// When it last leased messages of the queue, or asked for something about an open lease.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub seen_at: Timestamp,
}

pub(crate) async fn list(
    State(site): State<Shared>,
    caller: Caller,
    Filter(asked): Filter<Asked>,
) -> Result<Json<LeasePage>, Problem> {
    let Asked { queue, worker, plugin, key, after, limit } = asked;
    let limit = paging::limit(limit)? as usize;
    check(&site, &caller, plugin.as_deref()).await?;
    let after: Option<(String, u64)> = after.as_deref().map(paging::written).transpose()?;
    let after = after.map(|(queue, sequence)| (queue, Sequence(sequence)));
    let (plugin, key) = (plugin.map(Into::into), key.map(Into::into));
    let filter = LeaseFilter { worker, plugin, key };
    let found = site.engine.leases(queue.as_deref(), &filter, after.as_ref(), limit + 1).await;
    let last = found.get(limit - 1).filter(|_| found.len() > limit).map(LeasedMessage::place);
    let next = last.map(|(queue, sequence)| paging::write(&(queue, sequence.0))).transpose()?;
    let leases = found.iter().take(limit).map(row).collect();
    Ok(Json(LeasePage { leases, next }))
}

fn row(lease: &LeasedMessage) -> LeaseRow {
    let message = &lease.leased.message;
    LeaseRow {
        queue: lease.queue.clone(),
        worker: lease.worker.as_deref().map(str::to_owned),
        id: message.event.id.clone(),
        plugin: message.plugin.to_string(),
        key: message.key.to_string(),
        attempt: lease.leased.attempt,
        lease: lease.lease.0.to_string(),
        leased_at: lease.leased_at,
        ends_at: lease.ends_at,
    }
}

impl WorkerRow {
    pub(super) fn of(own: WorkerLeases) -> Self {
        let WorkerLeases { worker, messages, oldest_at, next_end_at, seen_at } = own;
        let worker = worker.as_deref().map(str::to_owned);
        Self { worker, leased: messages, oldest_at, next_end_at, seen_at }
    }
}
