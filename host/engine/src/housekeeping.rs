//! Removes what is too old, in steps so small that nobody waits for them: each rides
//! on a commit of its own, and the next begins when the last is durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::commit::Work;
use crate::model::{Key, PluginName, Timestamp};
use crate::roster::{Entry, Roster};
use crate::store::{Expire, ReadError, Store};

/// Rows of each table that one commit removes: a few milliseconds.
const STEP_ROWS_MAX: usize = 512;
/// Between two steps, for the commits of others. Far more goes in a second than can come.
const STEP_PAUSE: Duration = Duration::from_millis(5);

/// How long what is done with is kept. None: for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// For so long an event with the (source, id) of another is recognised as its duplicate.
    pub duplicates: Option<Duration>,
    /// Events, decisions, delivered messages and resolved dead letters.
    pub history: Option<Duration>,
    /// Instances that are completed or ended; so long are late events recognised as such.
    pub finished: Option<Duration>,
    /// How often somebody looks for what is too old.
    pub interval: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            duplicates: Some(7 * DAY),
            history: Some(30 * DAY),
            finished: Some(30 * DAY),
            interval: Duration::from_secs(60),
        }
    }
}

/// One step's work for the committer.
pub struct Removal {
    pub expire: Expire,
    pub instances: Vec<(PluginName, Key)>,
    /// Told how many rows of the history went, when that is durable.
    pub reply: oneshot::Sender<usize>,
}

pub struct Housekeeping {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub retention: Retention,
    pub roster: Arc<Roster>,
    pub work: mpsc::UnboundedSender<Work>,
}

impl Housekeeping {
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                swept = self.sweep() => if let Err(error) = swept {
                    tracing::warn!(%error, "what is too old cannot be found; trying again later");
                },
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.retention.interval) => {}
            }
        }
    }

    /// Steps until nothing is too old.
    async fn sweep(&self) -> Result<(), ReadError> {
        loop {
            let now = (self.clock)();
            let before = |age: Option<Duration>| age.map_or(Timestamp(0), |age| now.before(age));
            let (plugins, _) = self.roster.wanted();
            let expire = Expire {
                plugins: plugins.keys().cloned().collect(),
                seen_before: before(self.retention.duplicates),
                history_before: before(self.retention.history),
                rows_max: STEP_ROWS_MAX,
            };
            let instances = self.finished(&plugins, before(self.retention.finished)).await?;
            let is_full = instances.len() >= STEP_ROWS_MAX;
            let (reply, removed) = oneshot::channel();
            let removal = Removal { expire, instances, reply };
            // The committer is gone, or does not answer, only when the engine ends or recovers.
            let _ = self.work.send(Work::Remove(removal));
            let Ok(removed) = removed.await else { return Ok(()) };
            if removed == 0 && !is_full {
                return Ok(());
            }
            tokio::time::sleep(STEP_PAUSE).await;
        }
    }

    /// Nothing is decided for such an instance any more, so none of them changes between
    /// being found here and being removed. Nobody else removes instances.
    async fn finished(
        &self,
        plugins: &BTreeMap<PluginName, Entry>,
        until: Timestamp,
    ) -> Result<Vec<(PluginName, Key)>, ReadError> {
        let mut instances = Vec::new();
        for (plugin, entry) in plugins {
            let room = STEP_ROWS_MAX - instances.len();
            let has_instances = entry.handler.manifest().role.has_instances();
            if has_instances && room > 0 && until > Timestamp(0) {
                let keys = self.store.read_finished_instances(plugin, until, room).await?;
                instances.extend(keys.into_iter().map(|key| (plugin.clone(), key)));
            }
        }
        Ok(instances)
    }
}
