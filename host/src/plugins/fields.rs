//! Fills the fields of instances that decided under another version of their plugin.
//!
//! A decision writes the fields that the version declares. A new version can declare others, and an
//! instance may decide nothing for months. So once a version serves, a pass reads the states of all
//! instances in the background, converts those of other versions in memory, and writes the fields
//! of each instance that has not decided meanwhile. A pass that was interrupted begins again with
//! the next start.

use std::collections::BTreeMap;
use std::sync::Arc;

use sagabox_engine::model::State;
use sagabox_engine::pure::fields::Fields;
use sagabox_engine::seams::handler::Handler;
use sagabox_engine::seams::store::ReadError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::plugins::factory::PluginFactory;
use crate::plugins::rollout::served::Served;
use crate::store::query::StatePage;
use crate::store::query::rows::{FilledFields, StateRow};

/// The states of one page, which are written in one transaction that decisions wait for: some
/// milliseconds.
const PAGE: StatePage = StatePage { states: 200, bytes: 4 << 20 };

/// The passes in progress, at most one for each plugin.
#[derive(Default)]
pub(in crate::plugins) struct Filling(BTreeMap<String, (CancellationToken, JoinHandle<()>)>);

impl Filling {
    /// Begins a pass, unless this file's fields are filled. A pass of an earlier version ends first.
    pub(in crate::plugins) fn begin(
        &mut self,
        factory: &Arc<PluginFactory>,
        served: &Arc<Served>,
        digest: &str,
    ) {
        if !served.manifest().role.has_instances() {
            return;
        }
        let name = served.manifest().name.to_string();
        let (factory, served) = (Arc::clone(factory), Arc::clone(served));
        let (digest, token) = (digest.to_owned(), CancellationToken::new());
        let stop = token.clone();
        let before = self.0.remove(&name);
        let pass = tokio::spawn(async move {
            if let Some((token, pass)) = before {
                token.cancel();
                // The pass ends with the page that it writes.
                let _ = pass.await;
            }
            fill(&factory, &served, &digest, &stop).await;
        });
        self.0.insert(name, (token, pass));
    }

    /// Ends all passes.
    pub(in crate::plugins) async fn end(&mut self) {
        let passes = std::mem::take(&mut self.0);
        passes.values().for_each(|(token, _)| token.cancel());
        for (_, pass) in passes.into_values() {
            let _ = pass.await;
        }
    }
}

async fn fill(
    factory: &PluginFactory,
    served: &Arc<Served>,
    digest: &str,
    stop: &CancellationToken,
) {
    let manifest = served.manifest();
    let (plugin, version) = (manifest.name.as_str(), &manifest.version);
    match pass(factory, served, digest, stop).await {
        Ok(None) => {}
        Ok(Some(instances)) => {
            tracing::info!(%plugin, %version, instances, "the fields of all instances are filled");
        }
        Err(error) => tracing::warn!(
            %plugin, %version, %error,
            "the fields of instances could not be filled; instances get them with their next \
             decision, or with the next start"
        ),
    }
}

/// Returns the number of instances that it has read; none if there was nothing to do, or if it was
/// ended.
async fn pass(
    factory: &PluginFactory,
    served: &Arc<Served>,
    digest: &str,
    stop: &CancellationToken,
) -> Result<Option<usize>, ReadError> {
    let manifest = served.manifest();
    let plugin = manifest.name.as_str();
    let fields = Fields::new(&manifest.optional.fields).map(Arc::new);
    let filled = factory.records.fields_filled(plugin).await?;
    // Without a note, no version has declared fields.
    if filled.as_deref() == Some(digest) || filled.is_none() && fields.is_none() {
        return Ok(None);
    }
    let (mut after, mut count) = (String::new(), 0);
    loop {
        if stop.is_cancelled() {
            return Ok(None);
        }
        let page = factory.queries.states(plugin, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.key);
        count += page.len();
        let (served, fields) = (Arc::clone(served), fields.clone());
        // Calls are computation, and may take as long as their limit.
        let read = tokio::task::spawn_blocking(move || {
            let row = |row: &StateRow| filled_row(&served, fields.as_deref(), row);
            page.iter().filter_map(row).collect::<Vec<_>>()
        });
        let rows = read.await.map_err(|error| ReadError(format!("read states: {error}")))?;
        factory.records.fill_fields(plugin, rows).await?;
    }
    factory.records.note_fields_filled(plugin, digest).await?;
    Ok(Some(count))
}

/// None if the version cannot read the state: then the fields stay as they are.
fn filled_row(served: &Served, fields: Option<&Fields>, row: &StateRow) -> Option<FilledFields> {
    let values = match fields {
        None => "{}".to_owned(),
        Some(fields) => {
            let version = served.manifest().state_version;
            let state = match row.state.version == version {
                true => row.state.clone(),
                false => State { version, data: served.migrate(&row.state, version).ok()? },
            };
            fields.values(Some(&state))
        }
    };
    Some(FilledFields { key: row.key.clone(), version: row.version, values })
}
