//! Runs the dispatchers. Reconciles them with the desired state: starts one for each plugin, hands
//! it another version, or ends it, while all others continue.
//!
//! A plugin that is no longer wanted drains: its calls in progress are decided and committed, then
//! its dispatcher ends. Its instances, its cursor and its unread events stay in the store. If it is
//! wanted again, it continues from there. A panic in a dispatcher ends this stage, and so the
//! epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::changes::backlog::Backlog;
use crate::changes::canary::Canary;
use crate::changes::desired_state::{DesiredState, Entry};
use crate::changes::requests::Dispatchers;
use crate::model::{Counters, Cursor, PluginName, Position};
use crate::pure::retry::READ_RETRY;
use crate::seams::handler::Handler;
use crate::seams::store::{PluginProgress, ReadError, RecoveredPlugin};
use crate::stages::dispatch::{
    Beginning, Caution, DispatchContext, Dispatcher, Exit, VersionChange,
};

pub(crate) struct Plugins {
    context: DispatchContext,
    desired_state: Arc<DesiredState>,
    backlog: Arc<Backlog>,
    dispatchers: Dispatchers,
    /// What the store had at the start of this epoch, for plugins that have not begun yet.
    recovered: BTreeMap<PluginName, RecoveredPlugin>,
    /// Plugins that have begun: the store has newer rows for these than `recovered`.
    begun: BTreeSet<PluginName>,
    running: BTreeMap<PluginName, RunningDispatcher>,
    /// What a dispatcher that had to be replaced has learnt, for the next one.
    cautions: BTreeMap<PluginName, Caution>,
    stages: JoinSet<(PluginName, Exit)>,
}

struct RunningDispatcher {
    handler: Arc<dyn Handler>,
    canary: Option<Canary>,
    versions: mpsc::UnboundedSender<VersionChange>,
    stop: CancellationToken,
}

impl Plugins {
    /// Starts all plugins of the desired state.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn start(
        context: DispatchContext,
        desired_state: Arc<DesiredState>,
        backlog: Arc<Backlog>,
        recovered: Vec<RecoveredPlugin>,
        dispatchers: Dispatchers,
    ) -> Result<Self, ReadError> {
        let by_name = recovered.into_iter().map(|plugin| (plugin.progress.plugin.clone(), plugin));
        let mut plugins = Self {
            context,
            desired_state,
            backlog,
            dispatchers,
            recovered: by_name.collect(),
            begun: BTreeSet::new(),
            running: BTreeMap::new(),
            cautions: BTreeMap::new(),
            stages: JoinSet::new(),
        };
        plugins.reconcile().await?;
        Ok(plugins)
    }

    /// Follows the desired state until `stop`, then lets all plugins drain.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = self.stages.join_next() => drop(self.on_ended(ended)),
                () = self.desired_state.changed() => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.make_at_last() => {}
            }
        }
        self.running.values().for_each(|running| running.stop.cancel());
        // This drops their handles on the committer, so that it can end.
        let Self { mut stages, context, .. } = self;
        drop(context);
        while let Some(ended) = stages.join_next().await {
            unwind(ended);
        }
    }

    async fn make_at_last(&mut self) {
        while let Err(error) = self.reconcile().await {
            tracing::warn!(
                %error,
                "a plugin cannot start because reading the store failed; retrying"
            );
            tokio::time::sleep(READ_RETRY).await;
        }
    }

    /// Notes that a dispatcher ended: it was stopped, or another one must take over.
    fn on_ended(&mut self, ended: Result<(PluginName, Exit), JoinError>) -> Option<PluginName> {
        let (name, exit) = unwind(ended)?;
        if let Exit::Again(caution) = exit {
            self.running.remove(&name);
            self.cautions.insert(name.clone(), caution);
        }
        Some(name)
    }

    /// Starts, changes and ends dispatchers until they agree with the desired state.
    async fn reconcile(&mut self) -> Result<(), ReadError> {
        while self.make_once().await? {}
        Ok(())
    }

    /// One pass. True if another pass is needed, because a dispatcher ended during this one.
    async fn make_once(&mut self) -> Result<bool, ReadError> {
        let (wanted, change) = self.desired_state.wanted();
        let names: Vec<PluginName> = wanted.keys().cloned().collect();
        let gone = self.running.keys().filter(|name| !wanted.contains_key(*name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.end(&name).await;
        }
        for (name, entry) in wanted {
            let is_another = |running: &RunningDispatcher| {
                running.handler.manifest().role != entry.handler.manifest().role
            };
            if self.running.get(&name).is_some_and(is_another) {
                // The plugin was removed and another one took its name before this stage looked.
                self.end(&name).await;
            }
            match self.running.get_mut(&name) {
                None => self.begin(name, entry).await?,
                Some(running) if running.is(&entry) => {}
                Some(running) => running.replace(entry).await,
            }
        }
        self.desired_state.is_made(change);
        Ok(names.iter().any(|name| !self.running.contains_key(name)))
    }

    async fn begin(&mut self, name: PluginName, entry: Entry) -> Result<(), ReadError> {
        let known = match self.begun.contains(&name) {
            true => self.context.store.read_plugin(&name).await?,
            false => self.recovered.get(&name).cloned(),
        };
        let head = Position(self.context.log.head());
        // A plugin that was never served has missed nothing: it starts with the log's first
        // event.
        let missed_to = match &known {
            Some(_) => self.desired_state.began(&name, head),
            None => self.desired_state.began(&name, Position(0)),
        };
        let recovered = known.unwrap_or_else(|| fresh(name.clone()));
        self.backlog.begin(name.clone(), recovered.progress.cursor.settled);
        let (requests, requests_of) = mpsc::unbounded_channel();
        let (versions, versions_of) = mpsc::unbounded_channel();
        let beginning = Beginning {
            handler: Arc::clone(&entry.handler),
            canary: entry.canary.clone(),
            recovered,
            missed_to,
            requests: requests_of,
            versions: versions_of,
            caution: self.cautions.get(&name).cloned().unwrap_or_default(),
        };
        let (mut dispatcher, inbox) = Dispatcher::recover(self.context.clone(), beginning).await?;
        self.begun.insert(name.clone());
        self.recovered.remove(&name);
        self.dispatchers.insert(name.clone(), requests);
        // From here on the dispatcher is asked to look at what changes; this is what changed before.
        dispatcher.follow_controls();
        let stop = CancellationToken::new();
        let Entry { handler, canary, .. } = entry;
        let running = RunningDispatcher { handler, canary, versions, stop: stop.clone() };
        self.running.insert(name.clone(), running);
        self.stages.spawn(async move {
            let exit = dispatcher.run(inbox, stop).await;
            (name, exit)
        });
        Ok(())
    }

    /// Returns when what the plugin decided is durable.
    async fn end(&mut self, name: &PluginName) {
        let Some(running) = self.running.remove(name) else { return };
        self.dispatchers.remove(name);
        running.stop.cancel();
        while let Some(ended) = self.stages.join_next().await {
            if self.on_ended(ended).as_ref() == Some(name) {
                break;
            }
        }
        self.cautions.remove(name);
        self.context.rejections.end(name);
        self.backlog.end(name);
    }
}

impl RunningDispatcher {
    fn is(&self, entry: &Entry) -> bool {
        let same_canary = match (&self.canary, &entry.canary) {
            (Some(own), Some(wanted)) => own.is(wanted),
            (None, None) => true,
            _ => false,
        };
        Arc::ptr_eq(&self.handler, &entry.handler) && same_canary
    }

    /// Returns when the next event of each key goes to the versions of the entry.
    async fn replace(&mut self, entry: Entry) {
        let Entry { handler, canary, .. } = entry;
        let (serving, serves) = oneshot::channel();
        let change =
            VersionChange { handler: Arc::clone(&handler), canary: canary.clone(), serving };
        // The dispatcher's end closes the channel only after a panic, which `run` handles.
        if self.versions.send(change).is_ok() {
            let _ = serves.await;
        }
        self.handler = handler;
        self.canary = canary;
    }
}

/// Panics if the dispatcher panicked. That ends this stage, and all stages restart.
fn unwind(ended: Result<(PluginName, Exit), JoinError>) -> Option<(PluginName, Exit)> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(exit) => Some(exit),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => None,
    }
}

fn fresh(plugin: PluginName) -> RecoveredPlugin {
    let (cursor, counters) = (Cursor::default(), Counters::default());
    let progress = PluginProgress { plugin, cursor, counters };
    RecoveredPlugin { progress, partly_decided: BTreeMap::new(), parked: Vec::new() }
}
