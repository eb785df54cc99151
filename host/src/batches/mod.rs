//! Batches of operators: counted as a draft, started, paused, resumed and cancelled, and continued
//! after a restart. This room selects their items and keeps their status; the engine runs them.
//!
//! A batch has at most one run at a time. If a run ends without a new status, the next start of the
//! host continues the batch.

mod selection;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use sagabox_engine::engine::{BatchEnd, Engine};
use sagabox_engine::model::{BatchAction, BatchId, ItemOutcome, Timestamp};
use sagabox_engine::seams::batches::BatchItems;
use sagabox_engine::seams::store::ReadError;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::selection::{DeadLetterSelection, InstanceSelection, Selection};
use crate::store::query::Queries;
use crate::store::query::batches::{
    BatchFilter, BatchRecords, BatchRow, BatchStatus, Change, ItemFilter, ItemRow, NewBatch, Start,
};
use crate::store::query::rows::{Counted, Page};

/// The items that a batch begins in a second if its operator names no rate.
pub const RATE_DEFAULT: NonZeroU32 = NonZeroU32::new(100).expect("it is not 0");
/// Far more than a host acts on.
pub const RATE_MAX: NonZeroU32 = NonZeroU32::new(10_000).expect("it is not 0");
/// The pause before a read or write that failed is repeated.
const RETRY: Duration = Duration::from_millis(500);
/// Items that one step of housekeeping removes: some milliseconds.
const EXPIRED_MAX: u32 = 1_000;

const UNDER_WAY: [BatchStatus; 2] = [BatchStatus::Preparing, BatchStatus::Running];

/// Why a batch refuses a request.
#[derive(Debug, Error)]
pub enum BatchError {
    #[error("batch {0} not found")]
    NotFound(u64),
    #[error("batch {id} is {status}; only one that is {expected} can be {verb}")]
    Status { id: u64, status: &'static str, expected: &'static str, verb: &'static str },
    #[error(transparent)]
    Store(#[from] ReadError),
}

/// All batches of a host. It is cheap to clone, and all clones share their state.
#[derive(Clone)]
pub struct Batches {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    queries: Arc<dyn Queries>,
    records: Arc<dyn BatchRecords>,
    clock: sagabox_engine::Clock,
    /// The runs of this process. A command holds the lock until it is done, so commands come one
    /// after another.
    runs: Mutex<BTreeMap<BatchId, Run>>,
    stop: CancellationToken,
}

struct Run {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Batches {
    /// `stop` ends all runs; the next start of the host continues them.
    pub fn new(
        engine: Engine,
        queries: Arc<dyn Queries>,
        records: Arc<dyn BatchRecords>,
        clock: sagabox_engine::Clock,
        stop: CancellationToken,
    ) -> Self {
        let runs = Mutex::default();
        Self { shared: Arc::new(Shared { engine, queries, records, clock, runs, stop }) }
    }

    /// Continues the batches of an earlier process.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn go_on(&self) -> Result<(), ReadError> {
        let mut runs = self.shared.runs.lock().await;
        for row in self.shared.records.batches_under_way().await? {
            tracing::info!(batch = row.id.0, "the batch continues");
            runs.insert(row.id, self.shared.run(row));
        }
        Ok(())
    }

    /// The number of items that a selection has now.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn count(&self, selection: &Selection) -> Result<Counted, ReadError> {
        selection.count(&*self.shared.queries).await
    }

    /// Counts the items of a batch, and keeps it as a draft.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn draft(
        &self,
        action: BatchAction,
        selection: &Selection,
        by: String,
    ) -> Result<BatchRow, BatchError> {
        let counted = self.count(selection).await?;
        let new = NewBatch {
            action,
            selection: selection.to_json(),
            plugin: selection.plugin().map(str::to_owned),
            by,
            counted: counted.count,
            is_exact: counted.is_exact,
            created_at: self.now(),
        };
        let id = self.shared.records.add_batch(&new).await?;
        self.batch(id).await
    }

    /// Starts a draft. Dead letters and instances that the store gets later are none of its items.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub async fn start(&self, id: BatchId, start: &Start) -> Result<BatchRow, BatchError> {
        let mut runs = self.shared.runs.lock().await;
        let started = self.shared.records.start_batch(id, start).await?;
        self.begin(&mut runs, id, started, ("a draft", "started")).await
    }

    /// Lets a paused batch continue, with its first items as carefully as when it was started.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub async fn resume(&self, id: BatchId, start: &Start) -> Result<BatchRow, BatchError> {
        let mut runs = self.shared.runs.lock().await;
        let resumed = self.shared.records.resume_batch(id, start).await?;
        self.begin(&mut runs, id, resumed, ("paused", "resumed")).await
    }

    async fn begin(
        &self,
        runs: &mut BTreeMap<BatchId, Run>,
        id: BatchId,
        is_begun: bool,
        (expected, verb): (&'static str, &'static str),
    ) -> Result<BatchRow, BatchError> {
        let row = self.batch(id).await?;
        if !is_begun {
            return Err(refused(&row, expected, verb));
        }
        runs.retain(|_, run| !run.task.is_finished());
        runs.insert(id, self.shared.run(self.batch(id).await?));
        Ok(row)
    }

    /// Pauses a batch. When this returns, it begins no item; redrives that have begun continue.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub async fn pause(&self, id: BatchId) -> Result<BatchRow, BatchError> {
        let change = Change { to: BatchStatus::Paused, note: None, finished_at: None };
        self.halt(id, &UNDER_WAY, &change, ("running", "paused")).await
    }

    /// Ends a batch. Its pending items stay as they are.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub async fn cancel(&self, id: BatchId) -> Result<BatchRow, BatchError> {
        let (to, finished_at) = (BatchStatus::Cancelled, Some(self.now()));
        let change = Change { to, note: None, finished_at };
        let from =
            [BatchStatus::Draft, BatchStatus::Preparing, BatchStatus::Running, BatchStatus::Paused];
        self.halt(id, &from, &change, ("not over", "cancelled")).await
    }

    async fn halt(
        &self,
        id: BatchId,
        from: &[BatchStatus],
        change: &Change,
        (expected, verb): (&'static str, &'static str),
    ) -> Result<BatchRow, BatchError> {
        let mut runs = self.shared.runs.lock().await;
        if let Some(Run { stop, task }) = runs.remove(&id) {
            stop.cancel();
            // The run notes the outcomes of the items that it has begun. A panic of it is in the
            // log.
            let _ = task.await;
        }
        let is_changed = self.shared.records.change_batch(id, from, change).await?;
        let row = self.batch(id).await?;
        match is_changed {
            true => Ok(row),
            false => Err(refused(&row, expected, verb)),
        }
    }

    /// Reads one batch.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub async fn batch(&self, id: BatchId) -> Result<BatchRow, BatchError> {
        self.shared.records.batch(id).await?.ok_or(BatchError::NotFound(id.0))
    }

    /// Lists the batches, the newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn list(&self, filter: &BatchFilter) -> Result<Page<BatchRow, u64>, ReadError> {
        self.shared.records.batches(filter).await
    }

    /// Lists the items of a batch.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn items(&self, filter: &ItemFilter) -> Result<Page<ItemRow, u64>, ReadError> {
        self.shared.records.batch_items(filter).await
    }

    /// Removes some of the batches that were finished before a time.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn expire(&self, before: Timestamp) -> Result<(), ReadError> {
        while self.shared.records.expire_batches(before, EXPIRED_MAX).await?
            >= u64::from(EXPIRED_MAX)
        {}
        Ok(())
    }

    /// Redrives the dead letters that a version of a plugin caused, as a batch of the host itself:
    /// fast, and without a pause when items fail again.
    pub async fn redrive_failures_of(&self, plugin: &str, version: &str, reason: String) {
        let dead_letters = DeadLetterSelection {
            plugin: Some(plugin.to_owned()),
            // Dead letters of messages have no version: a refused message is no failure of it.
            plugin_version: Some(version.to_owned()),
            ..DeadLetterSelection::default()
        };
        let by = "sagabox".to_owned();
        let start = Start {
            by: by.clone(),
            reason,
            rate_per_second: RATE_MAX,
            ignore_failures: true,
            at: self.now(),
        };
        let selection = Selection::DeadLetters(dead_letters);
        let started = async {
            if self.count(&selection).await?.count == 0 {
                return Ok(None);
            }
            let draft = self.draft(BatchAction::Redrive, &selection, by).await?;
            self.start(draft.id, &start).await.map(Some)
        };
        match started.await {
            Ok(None) => {}
            Ok(Some(batch)) => {
                let items = batch.counted;
                tracing::info!(%plugin, %version, batch = batch.id.0, items, "the dead letters of the canary are redriven");
            }
            Err(error) => tracing::warn!(
                %plugin, %version, %error,
                "the dead letters of the canary are not redriven; `sagabox redrive --plugin {plugin} \
                 --plugin-version {version}` redrives them"
            ),
        }
    }

    fn now(&self) -> Timestamp {
        (self.shared.clock)()
    }
}

fn refused(row: &BatchRow, expected: &'static str, verb: &'static str) -> BatchError {
    BatchError::Status { id: row.id.0, status: row.status.as_str(), expected, verb }
}

impl Shared {
    fn run(self: &Arc<Self>, row: BatchRow) -> Run {
        let stop = self.stop.child_token();
        let (shared, stopped) = (Arc::clone(self), stop.clone());
        // The next run does what this one cannot write.
        let task = tokio::spawn(async move { _ = shared.work(row, &stopped).await });
        Run { stop, task }
    }

    /// Prepares and runs a batch. Returns none if it was stopped.
    async fn work(&self, row: BatchRow, stop: &CancellationToken) -> Option<()> {
        let id = row.id;
        if row.status == BatchStatus::Preparing {
            self.prepare(&row, stop).await?;
        }
        let items = Arc::clone(&self.records) as Arc<dyn BatchItems>;
        let change = match self.engine.run_batch(items, row.started(), stop).await {
            BatchEnd::Interrupted => return None,
            BatchEnd::Done => {
                tracing::info!(batch = id.0, "the batch is done");
                let finished_at = Some((self.clock)());
                Change { to: BatchStatus::Done, note: None, finished_at }
            }
            BatchEnd::Stopped(why) => {
                let note = self.with_example(id, why, stop).await?;
                tracing::warn!(batch = id.0, %note, "the batch has stopped");
                Change { to: BatchStatus::Paused, note: Some(note), finished_at: None }
            }
        };
        let running = [BatchStatus::Running];
        insist(stop, || self.records.change_batch(id, &running, &change)).await.map(|_| ())
    }

    /// Writes the items.
    async fn prepare(&self, row: &BatchRow, stop: &CancellationToken) -> Option<()> {
        let mut after = row.prepared_to.clone();
        let read = || async { Selection::read(row.action, row.selection.get()) };
        let selection = insist(stop, read).await?;
        loop {
            let page = || selection.page(&self.queries, after.as_deref());
            let (selected, next) = insist(stop, page).await?;
            // Dead letters and instances that came since are none of its items.
            insist(stop, || self.records.add_items(row.id, &selected, next.as_deref())).await?;
            if next.is_none() {
                return Some(());
            }
            after = next;
        }
    }

    /// The reason for which it stopped, with one of the failures.
    async fn with_example(
        &self,
        batch: BatchId,
        why: String,
        stop: &CancellationToken,
    ) -> Option<String> {
        let outcome = Some(ItemOutcome::Failed);
        let filter = ItemFilter { batch, outcome, after: 0, limit: 1 };
        let found = insist(stop, || self.records.batch_items(&filter)).await?;
        let example = found.rows.into_iter().next();
        Some(match example {
            Some(ItemRow { item, reason: Some(reason), .. }) => {
                format!("{why}, such as dead letter {item}: {reason}")
            }
            _ => why,
        })
    }
}

/// Repeats a read or write until it succeeds. Returns none if it was stopped.
async fn insist<T, F>(stop: &CancellationToken, attempt: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T, ReadError>>,
{
    loop {
        match attempt().await {
            Ok(answer) => return Some(answer),
            Err(error) => tracing::warn!(%error, "a batch waits for the store"),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}
