//! Brings an instance of another host to this one, as an event that is appended to the log.

use thiserror::Error;

use super::{Engine, OfferError, Receipt};
use crate::model::{
    Event, Hops, Import, ImportedState, ImportedTimer, JSON, Key, Octets, PluginName, Position,
    State, Timestamp, attribute, reserved,
};
use crate::pure::identity;

/// Why an instance is not imported. The texts name the plugin.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImportError {
    /// The plugin is not loaded.
    #[error("plugin `{0}` is not loaded; load the plugin first")]
    NotLoaded(String),
    /// The plugin has no instances.
    #[error("plugin `{0}` has no instances: it is not a process manager")]
    Stateless(String),
    /// A key is empty or too long.
    #[error("the key `{0}` is not one that an instance can have: a key has 1 to {max} bytes", max = Key::BYTES_MAX)]
    BadKey(String),
    /// A timer has a name that none can have, or is due at no date.
    #[error("the timer `{name}` {reason}")]
    BadTimer {
        /// The timer's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The version that serves cannot read the state.
    #[error("{plugin} {version} cannot read the state of version {state_version}: {reason}")]
    Unreadable {
        /// The plugin's name.
        plugin: String,
        /// The version that serves.
        version: String,
        /// The version of the state.
        state_version: u32,
        /// What the plugin says.
        reason: String,
    },
    /// The plugin has an instance with this key.
    #[error(
        "{plugin} has an instance `{key}` already, which is {status}; an import does not replace it"
    )]
    Exists {
        /// The plugin's name.
        plugin: String,
        /// The key.
        key: String,
        /// The status of the instance that is there.
        status: &'static str,
    },
    /// The same instance, as it was at the same moment, was imported before.
    #[error("this file was imported before: {plugin} has had the instance `{key}` from it")]
    Repeated {
        /// The plugin's name.
        plugin: String,
        /// The key.
        key: String,
    },
    /// The event that carries the instance was not accepted.
    #[error(transparent)]
    Offer(#[from] OfferError),
}

impl Engine {
    /// A state as the version of the plugin that serves reads it: converted if it is of another
    /// version. It calls the plugin, and may take as long as a call.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn read_state(&self, plugin: &PluginName, state: &State) -> Result<State, ImportError> {
        let handler = self.shared.desired_state.get(plugin);
        let handler = handler.ok_or_else(|| ImportError::NotLoaded(plugin.to_string()))?;
        let manifest = handler.manifest();
        // A state of its own version is read as well: its shape may be another one.
        let read = handler.migrate(state, manifest.state_version);
        let data = read.map_err(|reason| ImportError::Unreadable {
            plugin: plugin.to_string(),
            version: manifest.version.to_string(),
            state_version: state.version,
            reason,
        })?;
        match state.version == manifest.state_version {
            true => Ok(state.clone()),
            false => Ok(State { version: manifest.state_version, data }),
        }
    }

    /// Imports an instance that another host had, with its state as [`Self::read_state`] gave it; with
    /// none, the state is that of the other host. Returns the position of the event that carries
    /// it, when that is durable. The instance is there when its plugin has come to the event. If
    /// the key has an instance then, the event becomes a dead letter and has no effect.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub async fn import(
        &self,
        plugin: &PluginName,
        key: &Key,
        import: &Import,
        state: Option<State>,
    ) -> Result<Position, ImportError> {
        let handler = self.shared.desired_state.get(plugin);
        let handler = handler.ok_or_else(|| ImportError::NotLoaded(plugin.to_string()))?;
        if !handler.manifest().role.has_instances() {
            return Err(ImportError::Stateless(plugin.to_string()));
        }
        let is_bad = |key: &&Key| key.as_str().is_empty() || key.as_str().len() > Key::BYTES_MAX;
        if let Some(bad) = [key].into_iter().chain(&import.instance.keys).find(is_bad) {
            return Err(ImportError::BadKey(bad.to_string()));
        }
        import.instance.timers.iter().try_for_each(check_timer)?;
        let loaded = self.shared.parts.store.load(plugin, std::slice::from_ref(key)).await;
        let loaded = loaded.map_err(|error| OfferError::Unavailable(error.to_string()))?;
        let mut instances = loaded.into_iter().map(|loaded| loaded.instance);
        let (name, of_key) = (plugin.to_string(), key.to_string());
        if let Some(there) = instances.find(|instance| instance.key == *key) {
            let status = there.status.as_str();
            return Err(ImportError::Exists { plugin: name, key: of_key, status });
        }
        let mut converted = import.clone();
        if let Some(State { version, data }) = state {
            converted.instance.state = Some(ImportedState { version, data: Octets(data) });
        }
        let now = (self.shared.parts.clock)();
        let event = Event {
            // The id follows from the instance as the other host had it, whatever version serves
            // here.
            id: identity::import_event_id(plugin, key, &import.instance),
            source: identity::source(plugin),
            event_type: reserved::INSTANCE_IMPORTED.to_owned(),
            subject: Some(attribute::encoded(&of_key).into_owned()),
            time: Some(now.to_rfc3339()),
            datacontenttype: Some(JSON.to_owned()),
            dataschema: None,
            extensions: vec![
                (reserved::EXTENSION_PLUGIN.to_owned(), name.clone()),
                (reserved::EXTENSION_INSTANCE.to_owned(), of_key.clone()),
            ],
            data: converted.to_data(),
        };
        let receipts = self.append(vec![event], Hops::FIRST, None).await?;
        match receipts.first() {
            Some(Receipt::Accepted(position)) => Ok(*position),
            _ => Err(ImportError::Repeated { plugin: name, key: of_key }),
        }
    }
}

/// Checks the rules that apply to a plugin's timers, too.
fn check_timer(timer: &ImportedTimer) -> Result<(), ImportError> {
    let name = timer.name.as_str();
    let bad = |reason: String| Err(ImportError::BadTimer { name: name.to_owned(), reason });
    if name.is_empty() || name.len() > Key::BYTES_MAX {
        return bad(format!(
            "has a name of {} bytes; 1 to {} are accepted",
            name.len(),
            Key::BYTES_MAX
        ));
    }
    if let Err(reason) = attribute::text(name) {
        return bad(format!("has a name that {reason}"));
    }
    match timer.due > Timestamp::MAX {
        true => {
            bad(format!("is due at {} ms; at most {} are accepted", timer.due.0, Timestamp::MAX.0))
        }
        false => Ok(()),
    }
}
