//! `POST /v1/events`: the way in. Acknowledges only what is durable (guarantee 1),
//! and takes a request's events all or none.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use sagabox_engine::engine::Receipt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::extract::Accepted;
use super::problem::Problem;
use super::{Shared, Site, extract};
use crate::io::cloudevents;

/// What became of a request's events. Also what the command line reads back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    pub accepted: usize,
    /// All with a source and id that came before.
    pub duplicates: usize,
    /// Those of them that have another type, subject or data than the event that was accepted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub differing: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

pub(crate) async fn post(
    State(site): State<Shared>,
    caller: Caller,
    request: Request,
) -> Result<Accepted<Summary>, Problem> {
    let (parts, body) = request.into_parts();
    let body = extract::bytes(&parts.headers, body, site.limits.body_bytes).await?;
    Ok(Accepted(accept(&site, &caller, &parts.headers, &body).await?))
}

/// Takes the events of a body, all or none.
pub(crate) async fn accept(
    site: &Site,
    caller: &Caller,
    headers: &HeaderMap,
    body: &bytes::Bytes,
) -> Result<Summary, Problem> {
    let read_at = Instant::now();
    let offered = offer(site, caller, headers, body, read_at).await;
    site.traffic.count(&offered, read_at.elapsed());
    offered
}

async fn offer(
    site: &Site,
    caller: &Caller,
    headers: &HeaderMap,
    body: &bytes::Bytes,
    read_at: Instant,
) -> Result<Summary, Problem> {
    let mut events = cloudevents::parse(headers, body, site.limits.batch_events)?;
    events.iter().try_for_each(|event| caller.check_type(&event.event_type))?;
    // The request itself is charged for already.
    caller.charge(events.len().saturating_sub(1))?;
    if let Some(readability) = &site.readability
        && let Some((index, unreadable)) = readability.unreadable(&events)
    {
        let index = cloudevents::is_batch(headers).then_some(index);
        return Err(Problem::unreadable(&unreadable, index));
    }
    let arrivals = &site.telemetry.arrivals;
    let sampled = arrivals.trace(headers, &mut events);
    let offered = site.engine.offer(events).await;
    arrivals.report(&sampled, read_at, offered.as_deref());
    let receipts = offered?;
    let accepted = receipts.iter().filter(|r| matches!(r, Receipt::Accepted(_))).count();
    let differing = receipts.iter().filter(|receipt| **receipt == Receipt::Differing).count();
    Ok(Summary { accepted, duplicates: receipts.len() - accepted, differing })
}
