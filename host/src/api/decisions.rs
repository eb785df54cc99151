//! The decisions of an instance with their inputs, and how each changed the state.

use axum::Json as Answer;
use axum::extract::State;
use sagabox_engine::model::{DecisionSummary, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::admin::{plugin_exists, unreadable};
use super::caller::Caller;
use super::deliveries;
use super::extract::Filter;
use super::paging::{self, limit};
use super::problem::Problem;
use crate::decisions::json::{Difference, Json};
use crate::decisions::{recorded, shown};
use crate::io::times::{Time, rfc3339};
use crate::store::query::deliveries::Delivery;
use crate::store::query::rows::{Page, RecordedDecision};
use crate::store::query::shapes::{AnyJson, CloudEvent, SummaryShape};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub plugin: String,
    pub key: String,
    /// Where the page before ended.
    pub after: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DecisionPage {
    /// The newest first.
    pub decisions: Vec<DecisionView>,
    pub next: Option<String>,
}

/// A decision, its event, and what became of the state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Decision)]
pub(crate) struct DecisionView {
    pub position: u64,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub decided_at: Timestamp,
    pub plugin_version: String,
    /// The number of the attempt that succeeded.
    pub attempt: u32,
    /// None if retention has removed it.
    #[schema(value_type = Option<CloudEvent>)]
    pub event: Option<Box<RawValue>>,
    #[schema(value_type = SummaryShape)]
    pub summary: DecisionSummary,
    /// What became of its messages, in the order in which they left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<Delivery>,
    /// The state after the decision; none if it wrote none.
    #[schema(value_type = Option<AnyJson>)]
    pub state: Option<Json>,
    pub state_version: Option<u32>,
    /// Where the state differs from the one before; none if that is no longer known.
    #[schema(value_type = Option<Vec<AnyJson>>)]
    pub changes: Option<Vec<Difference>>,
}

pub(crate) async fn list(
    State(site): State<Shared>,
    caller: Caller,
    Filter(asked): Filter<Asked>,
) -> Result<Answer<DecisionPage>, Problem> {
    let Asked { plugin, key, after, limit: given } = asked;
    let limit = limit(given)?;
    caller.check_plugin(&plugin)?;
    caller.check_payloads("decisions have states and events")?;
    plugin_exists(&site, &plugin).await?;
    let after = after.as_deref().map(paging::place).transpose()?;
    let queries = &site.queries;
    let page = queries.decisions(&plugin, &key, after, limit).await.map_err(unreadable)?;
    let Page { rows, next } = page;
    // The state before the last of the page is that of the next one.
    let older = match rows.last().and_then(|last| last.record.previous) {
        Some(_) => {
            let after = rows.last().map(|last| last.record.position.0);
            queries.decisions(&plugin, &key, after, 1).await.map_err(unreadable)?.rows
        }
        None => Vec::new(),
    };
    let mut decisions = views(&rows, older.first())?;
    let decided = decisions.iter().map(|view| (view.position, &view.summary));
    let sent = deliveries::of_decisions(&site, (&plugin, &key), decided).await?;
    for (view, sent) in decisions.iter_mut().zip(sent) {
        view.deliveries = sent;
    }
    Ok(Answer(DecisionPage { decisions, next: next.map(|next| next.to_string()) }))
}

/// `rows` are the newest first; `older` is the decision before them.
fn views(
    rows: &[RecordedDecision],
    older: Option<&RecordedDecision>,
) -> Result<Vec<DecisionView>, Problem> {
    let mut views = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        // A decision that writes no state leaves the one before it.
        let before = rows[index + 1..].iter().chain(older).find(|row| row.record.state.is_some());
        views.push(view(row, before)?);
    }
    Ok(views)
}

fn view(
    row: &RecordedDecision,
    before: Option<&RecordedDecision>,
) -> Result<DecisionView, Problem> {
    let RecordedDecision { record, event, .. } = row;
    let summary = DecisionSummary::from_json(&record.summary).map_err(unreadable)?;
    let event = event.clone().map(RawValue::from_string).transpose().map_err(unreadable)?;
    let data = |of: &RecordedDecision| of.record.state.as_ref().map(|state| state.data.clone());
    let after = data(row);
    let changes = match (record.previous, before, &after) {
        // A decision that writes no state leaves it as it was.
        (_, _, None) => Some(Vec::new()),
        (None, _, Some(after)) => Some(recorded::compare_states(None, Some(after))),
        (Some(_), Some(before), Some(after)) => {
            data(before).map(|before| recorded::compare_states(Some(&before), Some(after)))
        }
        (Some(_), None, Some(_)) => None,
    };
    Ok(DecisionView {
        position: record.position.0,
        decided_at: record.decided_at,
        plugin_version: record.plugin_version.to_string(),
        attempt: record.attempt,
        event,
        summary,
        deliveries: Vec::new(),
        state: after.as_deref().map(shown::data),
        state_version: record.state.as_ref().map(|state| state.version),
        changes,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sagabox_engine::model::{DecisionRecord, Hops, Position, State as OwnState};

    use super::*;

    fn row(place: u64, state: Option<&'static str>) -> RecordedDecision {
        let of = ("p".into(), "k".into());
        let summary = DecisionSummary::default();
        let state =
            state.map(|text| OwnState { version: 1, data: Bytes::from_static(text.as_bytes()) });
        let record = DecisionRecord {
            previous: (place > 1).then_some(Position(place - 1)),
            state,
            ..DecisionRecord::new(of, Position(place), Timestamp(place), "1".into(), &summary)
        };
        RecordedDecision { record, event: None, hops: Hops::OUTSIDE }
    }

    #[test]
    fn a_decision_says_where_the_state_differs_from_the_one_before() {
        let rows = [
            row(4, Some(r#"{"n":2,"list":[1,3]}"#)),
            row(3, None),
            row(2, Some(r#"{"n":1,"list":[1]}"#)),
        ];
        let places = |older: Option<&RecordedDecision>| -> Vec<Option<Vec<String>>> {
            let all = views(&rows, older).unwrap().into_iter();
            let place = |change: Difference| change.to_string();
            all.map(|view| view.changes.map(|all| all.into_iter().map(place).collect())).collect()
        };
        let first = row(1, Some(r#"{"n":1}"#));
        let expected = [
            Some(vec![
                "state.n: expected 1, found 2".to_owned(),
                "state.list[1]: expected nothing, found 3".to_owned(),
            ]),
            Some(vec![]),
            Some(vec!["state.list: expected nothing, found [1]".to_owned()]),
        ];
        assert_eq!(places(Some(&first)), expected);
        assert_eq!(places(None)[2], None);
    }

    #[test]
    fn the_first_decision_makes_the_whole_state() {
        let views = views(&[row(1, Some("{\"n\":1}"))], None).unwrap();
        let changes = views[0].changes.as_ref().unwrap();
        assert_eq!(changes[0].to_string(), "state: expected nothing, found {\"n\":1}");
    }
}
