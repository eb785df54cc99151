//! Brings an instance from another host, by its file.
//!
//! Nothing may happen twice. So what the other host has still to do for the instance stays there,
//! and the import is refused as long as the caller has not said that this is known.

use std::time::Duration;

use axum::extract::State;
use sagabox_engine::engine::ImportError;
use sagabox_engine::model::{
    Import, ImportedInstance, ImportedState, ImportedTimer, Key, Octets, PluginName,
    State as OwnState, Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::admin::plugin_exists;
use super::caller::Caller;
use super::dead_letters::{by_whom, required};
use super::extract::{Accepted, Arguments};
use super::problem::Problem;
use super::{Shared, Site};
use crate::store::query::instance_file::{InstanceFile, StateInFile, TimerInFile, Unfinished};

/// The only status with which an instance continues.
const RUNNING: &str = "running";
/// A commit takes some milliseconds; where it takes so long, the disk or the store is in trouble.
const IMPORT_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ImportRequest)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The plugin and the key that the file has.
    plugin: String,
    key: String,
    /// The file of the instance. Its decisions and messages are not read, and can be left out.
    file: InstanceFile,
    by: Option<String>,
    reason: Option<String>,
    /// Import it although the other host has not delivered all of its messages: the other host
    /// delivers them, or they are lost.
    #[serde(default)]
    without_messages: bool,
    /// Import it although events wait for it on the other host: they are not decided.
    #[serde(default)]
    without_events: bool,
}

/// An instance that is on its way into this host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Imported {
    plugin: String,
    key: String,
    /// The position of the event that carries it. The instance is there when its plugin has come to
    /// this event.
    position: u64,
    by: String,
    reason: String,
}

pub(crate) async fn import(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(asked): Arguments<Asked>,
) -> Result<Accepted<Imported>, Problem> {
    caller.check_plugin(&asked.plugin)?;
    let (by, reason) = (by_whom(&caller, asked.by.clone())?, required(asked.reason.clone())?);
    plugin_exists(&site, &asked.plugin).await?;
    check(&asked)?;
    let Asked { plugin, key, file, .. } = asked;
    let (of_plugin, of_key) = (PluginName::from(plugin.as_str()), Key::from(key.as_str()));
    let instance = instance(&file)?;
    let state = instance.state.as_ref().map(|state| {
        let ImportedState { version, data } = state;
        OwnState { version: *version, data: data.0.clone() }
    });
    let state = match state {
        Some(state) => Some(read_state(&site, &of_plugin, state).await?),
        None => None,
    };
    let import = Import { by: by.clone(), reason: reason.clone(), instance };
    let importing = site.engine.import(&of_plugin, &of_key, &import, state);
    let imported = tokio::time::timeout(IMPORT_TIME, importing).await;
    let position = imported.map_err(|_| {
        let seconds = IMPORT_TIME.as_secs();
        Problem::unavailable(format!(
            "no answer within {seconds} s; `{key}` may be imported all the same"
        ))
    })??;
    Ok(Accepted(Imported { plugin, key, position: position.0, by, reason }))
}

/// What the file says must be what the caller means.
fn check(asked: &Asked) -> Result<(), Problem> {
    let Asked { plugin, key, file, without_messages, without_events, .. } = asked;
    file.check_version().map_err(|error| Problem::unacceptable("file", error.to_string()))?;
    for (name, given, own) in [("plugin", plugin, &file.plugin), ("key", key, &file.key)] {
        if given != own {
            let detail = format!("{name}: is `{given}`, and the file has `{own}`");
            return Err(Problem::unacceptable(name, detail));
        }
    }
    if file.status != RUNNING {
        let detail = format!(
            "file: the instance was {} on the other host, so nothing of it can continue",
            file.status
        );
        return Err(Problem::unacceptable("file", detail));
    }
    let Unfinished { messages, has_more_messages, events } = &file.unfinished;
    if !without_messages && (*has_more_messages || !messages.is_empty()) {
        return Err(Problem::conflict(format!(
            "the other host had not delivered all messages of `{key}` when the file was written \
             ({}). That host delivers them; this one never does. Write the file anew when they are \
             delivered, or import with `without_messages`",
            listed(messages)
        )));
    }
    if !without_events && *events > 0 {
        return Err(Problem::conflict(format!(
            "{events} events waited for `{key}` on the other host when the file was written: behind \
             a dead letter, or for their next attempt. They do not come with the file. Resolve them \
             there and write the file anew, or import with `without_events`"
        )));
    }
    Ok(())
}

fn listed(messages: &[String]) -> String {
    const LISTED_MAX: usize = 5;
    let first = messages.iter().take(LISTED_MAX).cloned().collect::<Vec<_>>().join(", ");
    match messages.len() {
        0 => "there are too many to look at all of them".to_owned(),
        count if count > LISTED_MAX => format!("{first} and {} more", count - LISTED_MAX),
        _ => first,
    }
}

fn instance(file: &InstanceFile) -> Result<ImportedInstance, Problem> {
    let damaged = |error| Problem::unacceptable("file", format!("file: {error}"));
    let state = file.state.as_ref().map(StateInFile::state).transpose().map_err(damaged)?;
    let timer = |timer: &TimerInFile| {
        let (name, due) = (timer.name.as_str().into(), Timestamp(timer.due_ms));
        Ok(ImportedTimer { name, due, data: Octets(timer.data().map_err(damaged)?) })
    };
    Ok(ImportedInstance {
        started_at: Timestamp(file.started_at_ms),
        decisions: file.version,
        state: state
            .map(|state| ImportedState { version: state.version, data: Octets(state.data) }),
        keys: file.keys.iter().map(|key| Key::from(key.as_str())).collect(),
        timers: file.timers.iter().map(timer).collect::<Result<_, Problem>>()?,
    })
}

/// A call of the plugin may take as long as its limit.
async fn read_state(
    site: &Site,
    plugin: &PluginName,
    state: OwnState,
) -> Result<OwnState, Problem> {
    let (engine, plugin) = (site.engine.clone(), plugin.clone());
    let reading = tokio::task::spawn_blocking(move || engine.read_state(&plugin, &state)).await;
    reading.map_err(|error| Problem::internal(error.to_string()))?.map_err(Problem::from)
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        let detail = error.to_string();
        match error {
            ImportError::NotLoaded(_) => Self::not_found(detail),
            ImportError::Stateless(_)
            | ImportError::Exists { .. }
            | ImportError::Repeated { .. } => Self::conflict(detail),
            ImportError::BadKey(_)
            | ImportError::BadTimer { .. }
            | ImportError::Unreadable { .. } => Self::unacceptable("file", detail),
            ImportError::Offer(error) => error.into(),
        }
    }
}
