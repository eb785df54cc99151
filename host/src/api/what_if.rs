//! What if: a recorded decision, decided again with another event or by another version that the
//! store keeps, beside what is on record. Nothing is committed or sent.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use sagabox_engine::model::{DecisionSummary, Event, Manifest};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::admin::{plugin_exists, unreadable};
use super::caller::Caller;
use super::extract::Arguments;
use super::problem::Problem;
use super::{Shared, Site};
use crate::decisions::json::{Difference, Json};
use crate::decisions::kinds::Aspects;
use crate::decisions::shown;
use crate::plugins::again::{self, Inputs, Outcome};
use crate::store::query::component::KeptComponent;
use crate::store::query::rows::RecordedDecision;
use crate::store::query::shapes::{AnyJson, CloudEvent};

/// Decisions made again at a time: they take the threads of nothing else.
pub(crate) const AT_A_TIME: usize = 2;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WhatIfRequest)]
pub(crate) struct WhatIf {
    pub plugin: String,
    pub key: String,
    /// The position of the event that was decided.
    pub position: u64,
    /// The digest of a component that the store keeps; its first characters suffice. If absent, the
    /// version that decided.
    pub digest: Option<String>,
    /// In place of the event that was decided.
    #[schema(value_type = Option<CloudEvent>)]
    pub event: Option<Box<RawValue>>,
}

/// A decision that was made again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhatIf)]
pub(crate) struct Decided {
    pub version: String,
    pub digest: String,
    /// `decided`, `asks` or `fails`.
    #[schema(value_type = String)]
    pub outcome: &'static str,
    /// What it decides, asks, or why it fails.
    #[schema(value_type = AnyJson)]
    pub decision: Json,
    /// Where it differs from what is on record; `expected` is what is on record.
    #[schema(value_type = Vec<AnyJson>)]
    pub differences: Vec<Difference>,
}

pub(crate) async fn decide(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(asked): Arguments<WhatIf>,
) -> Result<Answer<Decided>, Problem> {
    caller.check_plugin(&asked.plugin)?;
    caller.check_payloads("a decision has its state and its event")?;
    plugin_exists(&site, &asked.plugin).await?;
    let WhatIf { plugin, key, position, digest, event } = asked;
    let (row, before) = recorded(&site, &plugin, &key, position).await?;
    let kept = version(&site, &plugin, digest.as_deref(), &row).await?;
    let event = event_of(&row, event)?;
    let handler = site.kept_versions.load(&plugin, &kept.digest).await;
    let handler = handler.map_err(Problem::conflict)?;
    takes(handler.manifest(), &event)?;
    let messages = site.queries.messages(&sent(&row)?).await.map_err(unreadable)?;
    let permit = site.deciding_again.acquire().await;
    let deciding = tokio::task::spawn_blocking(move || {
        let summary = DecisionSummary::from_json(&row.record.summary).map_err(|e| e.to_string())?;
        let answers = again::answers(&summary, |subject, _| {
            Err(format!("it read the stream of `{subject}`; `sagabox replay` decides it again"))
        })?;
        let before = before.as_ref().and_then(|before| before.record.state.as_ref());
        let inputs = Inputs {
            record: &row.record,
            summary: &summary,
            hops: row.hops,
            event: Arc::new(event),
            before,
            answers,
        };
        let outcome = again::decide(&*handler, &inputs);
        let all = Aspects::default();
        let differences = again::differences(&*handler, &inputs, &outcome, &messages, all);
        let now = row.record.decided_at;
        let (outcome, decision) = match outcome {
            Outcome::Decided { decision, .. } => ("decided", shown::decision(&decision, now)),
            Outcome::Asks(questions) => {
                ("asks", questions.iter().map(shown::question).collect::<Json>())
            }
            Outcome::Fails(why) => ("fails", Json::from(why.as_str())),
        };
        let KeptComponent { version, digest, .. } = kept;
        Ok(Decided { version, digest, outcome, decision, differences })
    });
    let decided = deciding.await;
    drop(permit);
    let decided: Result<Decided, String> =
        decided.map_err(|error| Problem::internal(error.to_string()))?;
    Ok(Answer(decided.map_err(Problem::conflict)?))
}

/// The decision at a position, and the newest one before it that has a state.
async fn recorded(
    site: &Site,
    plugin: &str,
    key: &str,
    position: u64,
) -> Result<(RecordedDecision, Option<RecordedDecision>), Problem> {
    let missing = || {
        let detail =
            format!("{plugin} has no decision of `{key}` at position {position} on record");
        Problem::not_found(detail)
    };
    let found = site.queries.decision(plugin, key, position).await.map_err(unreadable)?;
    let row = found.ok_or_else(missing)?;
    let mut previous = row.record.previous;
    while let Some(position) = previous {
        let found = site.queries.decision(plugin, key, position.0).await.map_err(unreadable)?;
        let gone = "the decision before it is no longer on record, so its state is not known";
        let before = found.ok_or_else(|| Problem::conflict(gone))?;
        if before.record.state.is_some() {
            return Ok((row, Some(before)));
        }
        previous = before.record.previous;
    }
    Ok((row, None))
}

/// The component that is meant.
async fn version(
    site: &Site,
    plugin: &str,
    digest: Option<&str>,
    row: &RecordedDecision,
) -> Result<KeptComponent, Problem> {
    let kept = site.queries.kept_components().await.map_err(unreadable)?;
    let mut own: Vec<_> = kept.into_iter().filter(|own| own.plugin == plugin).collect();
    match digest {
        Some(digest) => own.retain(|own| own.digest.starts_with(digest)),
        None => own.retain(|own| *own.version == *row.record.plugin_version),
    }
    own.pop().ok_or_else(|| {
        let detail = format!("digest: the store keeps no such version of {plugin}");
        Problem::unacceptable("digest", detail)
    })
}

fn event_of(row: &RecordedDecision, edited: Option<Box<RawValue>>) -> Result<Event, Problem> {
    match edited {
        // Events of the host can be decided again as well, which no sender may send.
        Some(event) => Event::read(event.get().as_bytes())
            .map_err(|error| Problem::unacceptable("event", format!("event: {error}"))),
        None => {
            let gone = "the event is no longer in the log; give one in `event`";
            let text = row.event.as_ref().ok_or_else(|| Problem::conflict(gone))?;
            Event::read(text.as_bytes()).map_err(unreadable)
        }
    }
}

/// A version gets only events that it subscribes to.
fn takes(manifest: &Manifest, event: &Event) -> Result<(), Problem> {
    match manifest.subscription_to(event) {
        Some(_) => Ok(()),
        None => Err(Problem::unacceptable(
            "event",
            format!(
                "event: {} {} does not take {}",
                manifest.name, manifest.version, event.event_type
            ),
        )),
    }
}

/// The ids of the messages that the decision sent.
fn sent(row: &RecordedDecision) -> Result<Vec<String>, Problem> {
    let summary = DecisionSummary::from_json(&row.record.summary).map_err(unreadable)?;
    Ok(summary.messages.into_iter().map(|message| message.id).collect())
}
