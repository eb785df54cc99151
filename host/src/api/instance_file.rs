//! A whole instance as one file.

use std::collections::BTreeMap;

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
/// Bytes of the states, events and messages of one file: the host has all of them in memory.
const BYTES_MAX: usize = 64 << 20;
/// Messages of one file. Each is searched for by its id.
const MESSAGES_MAX: usize = 20_000;
/// Decisions that are read at once.
const PAGE: u32 = 500;
/// Messages that are read at once.
const MESSAGES_PAGE: usize = 100;

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
    let mut bytes = 0;
    loop {
        let page = queries.decisions(&plugin, &key, after, PAGE).await.map_err(unreadable)?;
        for row in &page.rows {
            let summary = DecisionSummary::from_json(&row.record.summary).map_err(unreadable)?;
            ids.extend(summary.messages.into_iter().map(|message| message.id));
            let state = row.record.state.as_ref().map_or(0, |state| state.data.len());
            bytes += row.record.summary.len() + state + row.event.as_ref().map_or(0, String::len);
            decisions.push(DecisionInFile::of(row).map_err(unreadable)?);
        }
        after = page.next;
        check(&key, "decisions", decisions.len(), DECISIONS_MAX)?;
        check(&key, "messages", ids.len(), MESSAGES_MAX)?;
        check(&key, "bytes of states and events", bytes, BYTES_MAX)?;
        if after.is_none() {
            break;
        }
    }
    decisions.reverse();
    let messages = messages(&site, &key, &ids, bytes).await?;
    let unfinished = unfinished(&site, &plugin, &key).await?;
    let now = queries.whole_instance(&plugin, &key).await.map_err(unreadable)?;
    if now.is_none_or(|now| (now.version, now.status) != (whole.version, whole.status)) {
        let detail = format!("{key} has changed while its file was written; repeat the request");
        return Err(Problem::conflict(detail));
    }
    Ok(Answer(InstanceFile {
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
        messages,
    }))
}

/// Those that are kept, by their ids. The file has so many bytes without them.
async fn messages(
    site: &Site,
    key: &str,
    ids: &[String],
    mut bytes: usize,
) -> Result<BTreeMap<String, Box<RawValue>>, Problem> {
    let mut messages = BTreeMap::new();
    for ids in ids.chunks(MESSAGES_PAGE) {
        let kept = site.queries.messages(ids).await.map_err(unreadable)?;
        for id in ids {
            let Some(text) = kept.get(id) else { continue };
            bytes += text.len();
            check(key, "bytes of states, events and messages", bytes, BYTES_MAX)?;
            let event = RawValue::from_string(text.to_owned()).map_err(unreadable)?;
            messages.insert(id.clone(), event);
        }
    }
    Ok(messages)
}

/// Refuses what is too large for one file.
fn check(key: &str, what: &str, count: usize, max: usize) -> Result<(), Problem> {
    if count <= max {
        return Ok(());
    }
    let detail = format!(
        "{key} has more than {max} {what}, too many for one file; replay from the store instead"
    );
    Err(Problem::conflict(detail))
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
