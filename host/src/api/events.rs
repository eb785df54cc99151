//! `POST /events`: the way in. Acknowledges only what is durable (guarantee 1),
//! and takes a request's events all or none.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use sagabox_engine::engine::Receipt;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::{Shared, Site, extract};
use crate::io::cloudevents;

/// What became of a request's events. Also what the command line reads back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub accepted: usize,
    pub duplicates: usize,
}

pub async fn post(
    State(site): State<Shared>,
    request: Request,
) -> Result<(StatusCode, Json<Summary>), Problem> {
    let (parts, body) = request.into_parts();
    let body = extract::bytes(&parts.headers, body, site.limits.body_bytes).await?;
    let offered = offer(&site, &parts.headers, &body).await;
    site.traffic.count(&offered);
    Ok((StatusCode::ACCEPTED, Json(offered?)))
}

async fn offer(site: &Site, headers: &HeaderMap, body: &bytes::Bytes) -> Result<Summary, Problem> {
    let events = cloudevents::parse(headers, body, site.limits.batch_events)?;
    let receipts = site.engine.offer(events).await?;
    let accepted = receipts.iter().filter(|r| matches!(r, Receipt::Accepted(_))).count();
    Ok(Summary { accepted, duplicates: receipts.len() - accepted })
}
