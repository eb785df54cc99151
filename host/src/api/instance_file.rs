//! A whole instance as one file.

use axum::Json as Answer;
use axum::extract::State;
use sagabox_engine::model::{DecisionSummary, State as OwnState};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use super::admin::{plugin_exists, unreadable};
use super::caller::Caller;
use super::extract::Filter;
use super::problem::Problem;
use super::{Shared, Site};
use crate::store::query::instance_file::{
    DecisionInFile, InstanceFile, StateInFile, TimerInFile, Unfinished, VERSION,
};
use crate::store::query::rows::{Content, ExportedInstance, ExportedTimer};

/// Decisions of one file: more are no longer read by people.
const DECISIONS_MAX: usize = 10_000;
/// Decisions that are read at once.
const PAGE: u32 = 500;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    plugin: String,
    key: String,
}

pub(crate) async fn get(
    State(site): State<Shared>,
    caller: Caller,
    Filter(Asked { plugin, key }): Filter<Asked>,
) -> Result<Answer<InstanceFile>, Problem> {
    caller.check_plugin(&plugin)?;
    caller.check_payloads("the file has states and events")?;
    plugin_exists(&site, &plugin).await?;
    let queries = &site.queries;
    let missing = || Problem::not_found(format!("{plugin} has no instance `{key}`"));
    let whole = queries.whole_instance(&plugin, &key).await.map_err(unreadable)?;
    let whole = whole.ok_or_else(missing)?;
    let (mut decisions, mut ids, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = queries.decisions(&plugin, &key, after, PAGE).await.map_err(unreadable)?;
        for row in &page.rows {
            let summary = DecisionSummary::from_json(&row.record.summary).map_err(unreadable)?;
            ids.extend(summary.messages.into_iter().map(|message| message.id));
            decisions.push(DecisionInFile::of(row).map_err(unreadable)?);
        }
        after = page.next;
        if decisions.len() > DECISIONS_MAX {
            let detail = format!(
                "{key} has more than {DECISIONS_MAX} decisions; replay them from the store instead"
            );
            return Err(Problem::conflict(detail));
        }
        if after.is_none() {
            break;
        }
    }
    decisions.reverse();
    let kept = queries.messages(&ids).await.map_err(unreadable)?;
    let unfinished = unfinished(&site, &plugin, &key).await?;
    let now = queries.whole_instance(&plugin, &key).await.map_err(unreadable)?;
    if now.is_none_or(|now| (now.version, now.status) != (whole.version, whole.status)) {
        let detail = format!("{key} has changed while its file was written; repeat the request");
        return Err(Problem::conflict(detail));
    }
    let mut file = InstanceFile {
        sagabox_instance: VERSION,
        status: whole.status.as_str().to_owned(),
        keys: whole.keys.iter().map(ToString::to_string).collect(),
        version: whole.version,
        started_at_ms: whole.started_at.0,
        state: state(&whole)?,
        timers: whole.timers.iter().map(timer).collect::<Result<_, _>>()?,
        unfinished,
        plugin,
        key,
        decisions,
        messages: std::collections::BTreeMap::new(),
    };
    for id in ids {
        if let Some(text) = kept.get(&id) {
            let event = RawValue::from_string(text.to_owned()).map_err(unreadable)?;
            file.messages.insert(id, event);
        }
    }
    Ok(Answer(file))
}

fn state(whole: &ExportedInstance) -> Result<Option<StateInFile>, Problem> {
    let Some((version, content)) = whole.state_version.zip(whole.state.as_ref()) else {
        return Ok(None);
    };
    let data = content.bytes().map_err(unreadable)?;
    Ok(Some(StateInFile::of(&OwnState { version, data })))
}

fn timer(timer: &ExportedTimer) -> Result<TimerInFile, Problem> {
    let data = timer.data.as_ref().map(Content::bytes).transpose().map_err(unreadable)?;
    Ok(TimerInFile::new(timer.name.as_str(), timer.due, &data.unwrap_or_default()))
}

/// What this host has still to do for the instance.
async fn unfinished(site: &Site, plugin: &str, key: &str) -> Result<Unfinished, Problem> {
    let deliveries = site.queries.deliveries(plugin, key, &[]).await.map_err(unreadable)?;
    let waiting = site.queries.waiting(plugin, key).await.map_err(unreadable)?;
    let (of_events, of_messages): (Vec<_>, Vec<_>) =
        waiting.dead_letters.into_iter().partition(|dead_letter| dead_letter.sink.is_none());
    let mut messages: Vec<String> = deliveries.messages.into_keys().collect();
    messages.extend(
        of_messages.into_iter().map(|dead_letter| format!("dead letter {}", dead_letter.id)),
    );
    Ok(Unfinished {
        messages,
        has_more_messages: !deliveries.is_whole,
        events: waiting.parked + of_events.len() as u64,
    })
}
