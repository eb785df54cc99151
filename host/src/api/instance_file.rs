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
    let detail = queries.instance(&plugin, &key, None, 1).await.map_err(unreadable)?;
    let detail = detail.ok_or_else(missing)?;
    let status = detail.status.ok_or_else(missing)?;
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
    let mut file = InstanceFile {
        sagabox_instance: VERSION,
        status: status.as_str().to_owned(),
        keys: detail.keys.iter().map(ToString::to_string).collect(),
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
