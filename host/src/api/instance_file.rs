//! A whole instance as one file.

use axum::Json as Answer;
use axum::extract::State;
use sagabox_engine::model::DecisionSummary;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use super::Shared;
use super::admin::{plugin_exists, unreadable};
use super::caller::Caller;
use super::extract::Filter;
use super::problem::Problem;
use crate::store::query::instance_file::{DecisionInFile, InstanceFile, VERSION};

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
    let detail = queries.instance(&plugin, &key, None, 1).await.map_err(unreadable)?;
    let detail = detail.ok_or_else(missing)?;
    let status = detail.status.ok_or_else(missing)?;
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
    let mut file = InstanceFile {
        sagabox_instance: VERSION,
        status: status.as_str().to_owned(),
        keys: detail.keys.iter().map(ToString::to_string).collect(),
        plugin,
        key,
        decisions,
        messages: std::collections::BTreeMap::new(),
    };
    for ids in ids.chunks(MESSAGES_PAGE) {
        let kept = queries.messages(ids).await.map_err(unreadable)?;
        for id in ids {
            let Some(text) = kept.get(id) else { continue };
            bytes += text.len();
            check(&file.key, "bytes of states, events and messages", bytes, BYTES_MAX)?;
            let event = RawValue::from_string(text.to_owned()).map_err(unreadable)?;
            file.messages.insert(id.clone(), event);
        }
    }
    Ok(Answer(file))
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
