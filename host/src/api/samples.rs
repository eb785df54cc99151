//! The figures of the last minutes: what came in, was decided, left and waits.
//!
//! The host takes a sample now and then, and at most one a second for those who look. All who look
//! share it, so what looks often costs no more than what looks once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use sagabox_engine::engine::Status;
use sagabox_engine::model::Timestamp;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::problem::Problem;
use super::{Shared, Site, admin};
use crate::io::locks::lock;
use crate::io::times::{Time, rfc3339};
use crate::store::query::rows::Accounts;

/// How far back samples go.
pub(crate) const SPAN: Duration = Duration::from_mins(10);
/// As often as a person can follow.
const STEP: Duration = Duration::from_millis(900);
/// The pause between two samples while no page asks for them, so that a chart begins with some points.
const IDLE_STEP: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Samples {
    ring: Mutex<VecDeque<Sample>>,
    /// The newest, with what it was made of. Held while the next is made, so there is one.
    newest: tokio::sync::Mutex<Option<(Instant, Arc<Moment>)>>,
}

/// What the host knew at one moment.
#[derive(Debug)]
pub(crate) struct Moment {
    pub at: Timestamp,
    pub accounts: Accounts,
    pub status: Status,
}

/// Sums over all plugins and sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Sample {
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub at: Timestamp,
    /// Events ever appended to the log.
    pub events: u64,
    /// Events that plugins have handled.
    pub handled: u64,
    /// Messages that were delivered.
    pub delivered: u64,
    /// Events that plugins have not settled: pending, held or parked.
    pub events_waiting: u64,
    /// Messages that are not settled: pending or parked.
    pub messages_waiting: u64,
    /// Open dead letters.
    pub dead: u64,
}

/// The samples of the last ten minutes, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SampleList {
    pub samples: Vec<Sample>,
}

impl Samples {
    /// What the host knows now, or knew less than a second ago.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn look(&self, site: &Site) -> Result<Arc<Moment>, Problem> {
        let mut newest = self.newest.lock().await;
        if let Some((made, moment)) = &*newest
            && made.elapsed() < STEP
        {
            return Ok(Arc::clone(moment));
        }
        let moment = Moment {
            at: (site.access.clock)(),
            accounts: admin::accounts_of(site).await?,
            status: site.engine.status().await,
        };
        let moment = Arc::new(moment);
        self.keep(Sample::of(&moment));
        *newest = Some((Instant::now(), Arc::clone(&moment)));
        Ok(moment)
    }

    /// Those of the last minutes, the oldest first.
    pub(crate) fn all(&self) -> Vec<Sample> {
        lock(&self.ring).iter().copied().collect()
    }

    fn keep(&self, sample: Sample) {
        let mut ring = lock(&self.ring);
        // The wall clock may have been set back.
        ring.retain(|kept| kept.at < sample.at && sample.at.0 - kept.at.0 <= millis(SPAN));
        ring.push_back(sample);
    }
}

impl Sample {
    fn of(moment: &Moment) -> Self {
        let Moment { at, accounts, .. } = moment;
        let (plugins, sinks) = (&accounts.plugins, &accounts.sinks);
        Self {
            at: *at,
            events: accounts.events,
            handled: plugins.iter().map(|plugin| plugin.handled).sum(),
            delivered: sinks.iter().map(|sink| sink.delivered).sum(),
            events_waiting: plugins.iter().map(|p| p.pending + p.held + p.parked).sum(),
            messages_waiting: sinks.iter().map(|sink| sink.pending + sink.parked).sum(),
            dead: plugins.iter().map(|plugin| plugin.dead).sum::<u64>()
                + sinks.iter().map(|sink| sink.dead).sum::<u64>(),
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Takes samples for as long as it runs.
pub(crate) async fn take(site: &Site) {
    loop {
        if let Err(problem) = site.samples.look(site).await {
            tracing::debug!(detail = %problem.detail, "no sample of the figures was taken");
        }
        tokio::time::sleep(IDLE_STEP).await;
    }
}

pub(crate) async fn list(State(site): State<Shared>) -> Result<Json<SampleList>, Problem> {
    site.samples.look(&site).await?;
    Ok(Json(SampleList { samples: site.samples.all() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64) -> Sample {
        Sample {
            at: Timestamp(at),
            events: 0,
            handled: 0,
            delivered: 0,
            events_waiting: 0,
            messages_waiting: 0,
            dead: 0,
        }
    }

    #[test]
    fn samples_go_back_ten_minutes_and_never_back_in_time() {
        let samples = Samples::default();
        let times = || samples.all().iter().map(|sample| sample.at.0).collect::<Vec<_>>();
        for at in [1_000, 2_000, 3_000, 602_000] {
            samples.keep(sample(at));
        }
        assert_eq!(times(), [2_000, 3_000, 602_000]);
        samples.keep(sample(2_500));
        assert_eq!(times(), [2_000, 2_500]);
    }
}
