//! Removes expired data, in steps so small that no sender waits for them: each step is part of a
//! commit of its own, and the next one begins when that is durable. The marks of `pure/age.rs` say
//! how old the data is, not its dates. Dispatchers remove finished instances, because they have
//! them in memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::changes::Removal;
use crate::changes::Work;
use crate::changes::desired_state::DesiredState;
use crate::changes::requests::{Dispatchers, PluginRequest, RemoveRequest};
use crate::changes::tail::Tail;
use crate::model::AgeMark;
use crate::model::{Key, LogEntry, PluginName, Position, Retention, Timestamp};
use crate::pure::age::Ages;
use crate::pure::monotonic::Instant;
use crate::seams::store::{Expire, FinishedInstance, ReadError, Store};

/// Rows of each table that one commit removes: a few milliseconds.
const STEP_ROWS_MAX: usize = 512;
/// The pause between two steps, for the commits of others. Far more is removed in a second than can
/// arrive.
const STEP_PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Housekeeping {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub retention: Retention,
    pub desired_state: Arc<DesiredState>,
    pub dispatchers: Dispatchers,
    pub log: Arc<Tail<LogEntry>>,
    pub work: mpsc::UnboundedSender<Work>,
    /// The marks that the last host left.
    pub age_marks: Vec<AgeMark>,
}

impl Housekeeping {
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Retention { duplicates, history, finished, .. } = self.retention;
        let kept = [duplicates, history, finished].into_iter().flatten();
        let mut ages = Ages::new(&self.age_marks, kept, Instant::now(), (self.clock)());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                swept = self.sweep(&mut ages) => if let Err(error) = swept {
                    tracing::warn!(%error, "finding expired data failed; retrying later");
                },
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.retention.interval) => {}
            }
        }
    }

    /// Makes steps until nothing is expired.
    async fn sweep(&self, ages: &mut Ages) -> Result<(), ReadError> {
        ages.advance(Instant::now(), (self.clock)());
        let (mark, removed) = ages.mark(Position(self.log.head()));
        let (mut mark, mut marks_removed) = (Some(mark), removed);
        let (seen_to, _) = ages.older_than(self.retention.duplicates);
        let (history_to, history_before) = ages.older_than(self.retention.history);
        let (place, until) = ages.older_than(self.retention.finished);
        let (plugins, _) = self.desired_state.wanted();
        for (plugin, entry) in plugins {
            if entry.handler.manifest().role.has_instances() && place > Position(0) {
                self.remove_finished(&plugin, place, until).await?;
            }
        }
        loop {
            let (plugins, _) = self.desired_state.wanted();
            let expire = Expire {
                plugins: plugins.keys().cloned().collect(),
                seen_to,
                history_to,
                history_before,
                mark: mark.take(),
                marks_removed: std::mem::take(&mut marks_removed),
                rows_max: STEP_ROWS_MAX,
            };
            let (reply, removed) = oneshot::channel();
            // The committer is gone, or does not answer, only when the engine ends or recovers.
            let _ = self.work.send(Work::Remove(Removal { expire, reply }));
            let Ok(removed) = removed.await else { return Ok(()) };
            if removed == 0 {
                return Ok(());
            }
            tokio::time::sleep(STEP_PAUSE).await;
        }
    }

    /// Asks the plugin's dispatcher to remove finished instances, a page at a time. Those with
    /// deliveries in progress stay until the next sweep.
    async fn remove_finished(
        &self,
        plugin: &PluginName,
        place: Position,
        until: Timestamp,
    ) -> Result<(), ReadError> {
        let mut after: Option<(Timestamp, Key)> = None;
        loop {
            let store = &self.store;
            let page = store
                .read_finished_instances(plugin, place, until, after.as_ref(), STEP_ROWS_MAX)
                .await?;
            let Some(last) = page.last().map(FinishedInstance::place) else { return Ok(()) };
            // The plugin is not served: its instances are removed when it is served again.
            let Some(dispatcher) = self.dispatchers.get(plugin) else { return Ok(()) };
            let is_last = page.len() < STEP_ROWS_MAX;
            let (reply, removed) = oneshot::channel();
            let instances = page.into_iter().map(|row| (row.key, row.status)).collect();
            let _ = dispatcher.send(PluginRequest::Remove(RemoveRequest { instances, reply }));
            let Ok((_, durable)) = removed.await else { return Ok(()) };
            if durable.await.is_err() || is_last {
                return Ok(());
            }
            after = Some(last);
            tokio::time::sleep(STEP_PAUSE).await;
        }
    }
}
