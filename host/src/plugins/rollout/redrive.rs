//! Redrives the events that a withdrawn canary failed at, so that the version that serves
//! decides them.

use std::sync::Arc;
use std::time::Duration;

use sagabox_engine::engine::{Action, Engine, Resolution, ResolveError};
use sagabox_engine::model::{DeadLetterStatus, PluginName};

use crate::store::query::Queries;
use crate::store::query::rows::{DeadLetterFilter, DeadLetterKind};

const PAGE: u32 = 500;
/// The pause between two passes. Dead letters of one key are resolved one after another, so
/// later ones need another pass.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_MAX: u32 = 100;

/// Redrives the open dead letters of events that this version of the plugin failed at.
pub(crate) async fn redrive(
    engine: Engine,
    queries: Arc<dyn Queries>,
    plugin: PluginName,
    version: String,
) {
    let mut redriven = 0;
    for _ in 0..AGAIN_MAX {
        match pass(&engine, &*queries, &plugin, &version).await {
            Ok(Pass { resolved, again }) => {
                redriven += resolved;
                if again == 0 {
                    break;
                }
            }
            Err(error) => {
                tracing::warn!(
                    %plugin, %version, %error,
                    "not all dead letters of the canary were redriven; `sagabox redrive --plugin {plugin} \
                     --plugin-version {version}` redrives the rest"
                );
                return;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
    if redriven > 0 {
        tracing::info!(%plugin, %version, redriven, "the dead letters of the canary are redriven");
    }
}

struct Pass {
    resolved: u64,
    /// Dead letters that wait behind another one of their key.
    again: u64,
}

async fn pass(
    engine: &Engine,
    queries: &dyn Queries,
    plugin: &PluginName,
    version: &str,
) -> Result<Pass, String> {
    let mut pass = Pass { resolved: 0, again: 0 };
    let mut after = 0;
    loop {
        let filter = DeadLetterFilter {
            plugin: Some(plugin.to_string()),
            plugin_version: Some(version.to_owned()),
            status: Some(DeadLetterStatus::Open),
            after,
            limit: PAGE,
            ..DeadLetterFilter::default()
        };
        let page = queries.dead_letters(&filter).await.map_err(|error| error.to_string())?;
        // A message that a sink refused is not a failure of the canary.
        for letter in page.rows.iter().filter(|letter| letter.kind == DeadLetterKind::Event) {
            let resolution = Resolution {
                action: Action::Redrive { edited: None },
                by: "sagabox".to_owned(),
                reason: format!("the canary {version} was withdrawn"),
            };
            match engine.resolve(letter.id, resolution).await {
                Ok(()) => pass.resolved += 1,
                Err(error) if error.is_soon_over() => pass.again += 1,
                // Another request resolved it first.
                Err(ResolveError::NotFound(_) | ResolveError::NotOpen { .. }) => {}
                // It stays open, because an earlier event of its key waits for its next attempt,
                // perhaps for an hour.
                Err(ResolveError::Waiting(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let Some(next) = page.next else { return Ok(pass) };
        after = next;
    }
}
