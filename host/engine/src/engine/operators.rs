//! The actions of operators: dead letters are resolved by the stage that owns their key, and an
//! instance is cancelled or ended by an event that is appended to the log.
//!
//! An action is durable when its call returns.

use thiserror::Error;
use tokio::sync::oneshot;

use super::{Engine, OfferError, Resolution, ResolveError};
use crate::changes::requests::{PluginRequest, SinkRequest};
use crate::changes::resolve::ResolveRequest;
use crate::lock;
use crate::model::{
    BatchItemId, DeadLetterId, DeadLetterSubject, Event, Hops, InstanceStatus, Key, PluginName,
    Position, attribute, reserved,
};
use crate::pure::identity;

/// Why an instance is not cancelled or ended. The texts name the plugin.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InstanceError {
    /// The plugin is not loaded.
    #[error("plugin `{0}` is not loaded")]
    NotLoaded(String),
    /// The plugin has no instances.
    #[error("plugin `{0}` has no instances: it is not a process manager")]
    Stateless(String),
    /// The plugin has no instance with this key as its own key.
    #[error("{plugin} has no instance `{key}`")]
    NotFound {
        /// The plugin's name.
        plugin: String,
        /// The key that was given.
        key: String,
    },
    /// The instance has completed, or was ended.
    #[error("instance `{key}` of {plugin} is already {status}")]
    NotRunning {
        /// The plugin's name.
        plugin: String,
        /// The instance's key.
        key: String,
        /// The instance's status.
        status: &'static str,
    },
    /// The instance that a batch selected is gone, and another one has its key.
    #[error("the instance `{key}` of {plugin} that was selected is gone; another one has its key")]
    Replaced {
        /// The plugin's name.
        plugin: String,
        /// The instance's key.
        key: String,
    },
    /// The plugin does not subscribe to `sagabox.instance.cancelled`, so it cannot handle a
    /// cancellation.
    #[error(
        "{0} does not subscribe to `sagabox.instance.cancelled`, so it cannot compensate; end the instance instead"
    )]
    NotSubscribed(String),
    /// The event that carries the request was not accepted.
    #[error(transparent)]
    Offer(#[from] OfferError),
}

/// An instance as the item of a batch.
pub(super) struct ItemInstance {
    pub item: BatchItemId,
    /// The position at which it began.
    pub started: Position,
}

impl Engine {
    /// Resolves a dead letter: redrives it, skips it, or discards it with all that waits behind
    /// it. Returns when the request is durable. A redrive continues after that.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn resolve(
        &self,
        id: DeadLetterId,
        resolution: Resolution,
    ) -> Result<(), ResolveError> {
        let unavailable =
            |error: &dyn std::fmt::Display| ResolveError::Unavailable(error.to_string());
        let dead_letter = self.shared.parts.store.read_dead_letter(id).await;
        let dead_letter = dead_letter.map_err(|error| unavailable(&error))?;
        let dead_letter = dead_letter.ok_or(ResolveError::NotFound(id.0))?;
        if let Some(batch) = resolution.batch.filter(|batch| dead_letter.batch == Some(*batch)) {
            return Err(ResolveError::InBatch { id: id.0, batch: batch.0 });
        }
        let epoch = self.shared.epoch().ok_or_else(|| unavailable(&self.interrupted()))?;
        let (reply, outcome) = oneshot::channel();
        let (plugin, subject) = (dead_letter.plugin.clone(), dead_letter.subject.clone());
        let request = ResolveRequest { dead_letter, resolution, reply };
        match subject {
            DeadLetterSubject::Event => {
                let unserved = || ResolveError::Unserved(format!("plugin {plugin}"));
                let requests = epoch.plugins.get(&plugin).ok_or_else(unserved)?;
                let _ = requests.send(PluginRequest::Resolve(Box::new(request)));
            }
            DeadLetterSubject::Message { sink, .. } => {
                let unserved = || ResolveError::Unserved(format!("sink {sink}"));
                let requests = lock(&epoch.sinks).get(&sink).cloned().ok_or_else(unserved)?;
                let _ = requests.send(SinkRequest::Resolve(Box::new(request)));
            }
        }
        // A channel that is held here would keep the stages from ending.
        drop(epoch);
        let durable = outcome.await.unwrap_or_else(|_| Err(unavailable(&self.interrupted())))?;
        durable.await.map_err(|_| unavailable(&self.interrupted()))
    }

    /// Asks an instance to come to an end. Its plugin gets the event
    /// `sagabox.instance.cancelled`, and may compensate. Returns when the event is durable.
    ///
    /// # Errors
    /// See [`InstanceError`].
    pub async fn cancel(
        &self,
        plugin: &PluginName,
        key: &Key,
        by: &str,
        reason: &str,
    ) -> Result<(), InstanceError> {
        self.append_for(plugin, key, reserved::INSTANCE_CANCELLED, (by, reason), None).await
    }

    /// Ends an instance without asking its plugin. Its timers are removed, what waits behind its
    /// dead letters is dropped, and later events for it are ignored. Returns when the request is
    /// durable.
    ///
    /// # Errors
    /// See [`InstanceError`].
    pub async fn end(
        &self,
        plugin: &PluginName,
        key: &Key,
        by: &str,
        reason: &str,
    ) -> Result<(), InstanceError> {
        self.append_for(plugin, key, reserved::INSTANCE_ENDED, (by, reason), None).await
    }

    /// Appends an event of the host for a running instance: for this one alone, if it is the item
    /// of a batch.
    pub(super) async fn append_for(
        &self,
        plugin: &PluginName,
        key: &Key,
        event_type: &str,
        (by, reason): (&str, &str),
        of: Option<ItemInstance>,
    ) -> Result<(), InstanceError> {
        let handler = self.shared.desired_state.get(plugin);
        let handler = handler.ok_or_else(|| InstanceError::NotLoaded(plugin.to_string()))?;
        let manifest = handler.manifest();
        if !manifest.role.has_instances() {
            return Err(InstanceError::Stateless(plugin.to_string()));
        }
        let subscribes = manifest.subscriptions.iter().any(|s| s.event_type == event_type);
        if event_type == reserved::INSTANCE_CANCELLED && !subscribes {
            return Err(InstanceError::NotSubscribed(plugin.to_string()));
        }
        let (name, of_key) = (plugin.to_string(), key.to_string());
        let loaded = self.shared.parts.store.load(plugin, std::slice::from_ref(key)).await;
        let loaded = loaded.map_err(|error| OfferError::Unavailable(error.to_string()))?;
        let instances = loaded.into_iter().map(|loaded| loaded.instance);
        let Some(instance) = instances.into_iter().find(|instance| instance.key == *key) else {
            return Err(InstanceError::NotFound { plugin: name, key: of_key });
        };
        if of.as_ref().is_some_and(|of| of.started != instance.started) {
            return Err(InstanceError::Replaced { plugin: name, key: of_key });
        }
        if instance.status != InstanceStatus::Running {
            let status = instance.status.as_str();
            return Err(InstanceError::NotRunning { plugin: name, key: of_key, status });
        }
        let now = (self.shared.parts.clock)();
        let event = Event {
            // A second request that comes while the first waits for its turn changes nothing.
            id: identity::operator_event_id(event_type, plugin, key, instance.decided, now),
            source: identity::source(plugin),
            event_type: event_type.to_owned(),
            subject: Some(attribute::encoded(&of_key).into_owned()),
            time: Some(now.to_rfc3339()),
            datacontenttype: None,
            dataschema: None,
            extensions: vec![
                (reserved::EXTENSION_PLUGIN.to_owned(), name),
                (reserved::EXTENSION_INSTANCE.to_owned(), key.to_string()),
                (reserved::EXTENSION_STARTED.to_owned(), instance.started.to_string()),
            ],
            data: serde_json::json!({"by": by, "reason": reason}).to_string().into(),
        };
        self.append(vec![event], Hops::FIRST, of.map(|of| of.item)).await?;
        Ok(())
    }
}
