//! A decorator that injects faults into any store: commits are refused, commits succeed and
//! report an unknown outcome, commits are lost and report the same, reads fail. Every call takes
//! time, and few reads run at once. [`Faults`] say what fails when; [`Drawn`] draws that from a
//! seed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Batch, CommitError, Committed, DecidedEvent, FinishedInstance, Page, ReadError, Recovered,
    RecoveredPlugin, Store, StoredInstance, StoredInstances, StreamPage, TimerRow,
};
use crate::lock;
use crate::model::{
    BatchId, BatchItem, DeadLetter, DeadLetterId, Event, Held, ItemNote, ItemOutcome, Key,
    LogEntry, Message, PluginName, Position, Sequence, SinkName, TimerPlace, Timestamp,
};
use crate::seams::batches::BatchItems;

const READERS: usize = 2;

/// Says what goes wrong. The decorator asks once for each call, in the order of the calls.
pub trait Faults: Send + Sync + 'static {
    /// How long a part of a call takes.
    fn delay(&self) -> Duration;

    /// How the next commit fails; none if it does not.
    fn commit(&self) -> Option<CommitFault>;

    /// How every commit of this batch fails, however often it is repeated; none if it does not.
    /// Nothing of the batch is written.
    fn batch(&self, _batch: &Batch) -> Option<CommitError> {
        None
    }

    /// Whether the next read fails.
    fn read(&self) -> bool;

    /// Called before each recovery.
    fn recover(&self) {}
}

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// Nothing is written, and the committer gets [`CommitError::NotCommitted`].
    Refused,
    /// Nothing is written, and the committer gets [`CommitError::Unknown`].
    Lost,
    /// The batch is written, and the committer gets [`CommitError::Unknown`].
    Written,
    /// Nothing is written: another host owns the store. A later commit through this decorator
    /// panics.
    Fenced,
}

/// How often each fault occurs, in thousandths of the calls.
#[derive(Clone, Copy, Debug)]
pub struct FaultRates {
    /// Commits with [`CommitFault::Refused`].
    pub refused: u32,
    /// Commits with [`CommitFault::Written`].
    pub unknown_written: u32,
    /// Commits with [`CommitFault::Lost`].
    pub unknown_lost: u32,
    /// Reads that fail.
    pub read_failed: u32,
    /// The longest time that a part of a call takes.
    pub delay_max: Duration,
}

/// Draws the faults from a seed, one after the other.
pub struct Drawn {
    rates: FaultRates,
    random: Mutex<StdRng>,
}

impl Drawn {
    /// The same rates and seed give the same faults, if they are asked for in the same order.
    #[must_use]
    pub fn new(rates: FaultRates, seed: u64) -> Self {
        Self { rates, random: Mutex::new(StdRng::seed_from_u64(seed)) }
    }

    fn roll(&self) -> u32 {
        lock(&self.random).random_range(0..1_000)
    }
}

impl Faults for Drawn {
    fn delay(&self) -> Duration {
        let max = u64::try_from(self.rates.delay_max.as_micros()).unwrap_or(u64::MAX);
        let mut random = lock(&self.random);
        Duration::from_micros(random.random_range(0..=max))
    }

    fn commit(&self) -> Option<CommitFault> {
        let FaultRates { refused, unknown_written, unknown_lost, .. } = self.rates;
        match self.roll() {
            roll if roll < refused => Some(CommitFault::Refused),
            roll if roll < refused + unknown_lost => Some(CommitFault::Lost),
            roll if roll < refused + unknown_lost + unknown_written => Some(CommitFault::Written),
            _ => None,
        }
    }

    fn read(&self) -> bool {
        self.roll() < self.rates.read_failed
    }
}

/// A store that fails as [`Faults`] say.
pub struct FaultyStore<S, F = Drawn> {
    inner: S,
    faults: F,
    /// The connections for reads, as few as a real store has.
    readers: Semaphore,
    fenced: AtomicBool,
}

impl<S: Store> FaultyStore<S> {
    /// Injects faults into `inner` that are drawn from a seed.
    pub fn new(inner: S, rates: FaultRates, seed: u64) -> Self {
        Self::failing(inner, Drawn::new(rates, seed))
    }
}

impl<S: Store, F: Faults> FaultyStore<S, F> {
    /// Injects these faults into `inner`.
    pub fn failing(inner: S, faults: F) -> Self {
        let (readers, fenced) = (Semaphore::new(READERS), AtomicBool::new(false));
        Self { inner, faults, readers, fenced }
    }

    async fn delay(&self) {
        tokio::time::sleep(self.faults.delay()).await;
    }

    /// A caller that begins a read must poll it to the end: a read that is not polled keeps its
    /// connection, and the others wait for it.
    async fn before_read(&self) -> Result<SemaphorePermit<'_>, ReadError> {
        let connection = self.readers.acquire().await.expect("the semaphore is never closed");
        self.delay().await;
        match self.faults.read() {
            true => Err(ReadError("planted: the read failed".to_owned())),
            false => Ok(connection),
        }
    }
}

#[async_trait]
impl<S: BatchItems + Store, F: Faults> BatchItems for FaultyStore<S, F> {
    async fn with_outcome(
        &self,
        batch: BatchId,
        outcome: ItemOutcome,
        after: u64,
        limit: usize,
    ) -> Result<Vec<BatchItem>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.with_outcome(batch, outcome, after, limit).await
    }

    async fn outcomes(
        &self,
        batch: BatchId,
        items: &[u64],
    ) -> Result<Vec<(u64, ItemOutcome)>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.outcomes(batch, items).await
    }

    async fn note(&self, batch: BatchId, notes: &[ItemNote]) -> Result<(), ReadError> {
        let _connection = self.before_read().await?;
        self.inner.note(batch, notes).await
    }

    async fn remark(&self, batch: BatchId, remark: Option<&str>) -> Result<(), ReadError> {
        let _connection = self.before_read().await?;
        self.inner.remark(batch, remark).await
    }
}

#[async_trait]
impl<S: Store, F: Faults> Store for FaultyStore<S, F> {
    async fn recover(&self) -> Result<Recovered, ReadError> {
        self.faults.recover();
        let _connection = self.before_read().await?;
        self.inner.recover().await
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, CommitError> {
        self.delay().await;
        assert!(!self.fenced.load(Ordering::Relaxed), "a host that was fenced commits");
        let fault = self.faults.commit();
        match fault {
            Some(CommitFault::Fenced) => {
                self.fenced.store(true, Ordering::Relaxed);
                return Err(CommitError::Fenced("planted: fenced".to_owned()));
            }
            Some(CommitFault::Refused) => {
                return Err(CommitError::NotCommitted("planted: refused".to_owned()));
            }
            Some(CommitFault::Lost) => {
                return Err(CommitError::Unknown("planted: lost".to_owned()));
            }
            Some(CommitFault::Written) | None => {}
        }
        if let Some(error) = self.faults.batch(batch) {
            return Err(error);
        }
        let committed = self.inner.commit(batch).await?;
        if fault == Some(CommitFault::Written) {
            return Err(CommitError::Unknown("planted: written".to_owned()));
        }
        self.delay().await;
        Ok(committed)
    }

    async fn read_log(&self, after: Position, page: Page) -> Result<Vec<LogEntry>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_log(after, page).await
    }

    async fn read_stream(
        &self,
        subject: &str,
        after: Position,
        before: Position,
        page: Page,
    ) -> Result<StreamPage, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_stream(subject, after, before, page).await
    }

    async fn load(
        &self,
        plugin: &PluginName,
        keys: &[Key],
    ) -> Result<Vec<StoredInstance>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.load(plugin, keys).await
    }

    async fn load_all(
        &self,
        plugin: &PluginName,
        limit: usize,
    ) -> Result<Option<StoredInstances>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.load_all(plugin, limit).await
    }

    async fn read_keys(
        &self,
        plugin: &PluginName,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_keys(plugin, after, limit).await
    }

    async fn read_decided(
        &self,
        plugin: &PluginName,
        key: &Key,
        from: Position,
        limit: usize,
    ) -> Result<Vec<DecidedEvent>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_decided(plugin, key, from, limit).await
    }

    async fn read_outbox(
        &self,
        sink: &SinkName,
        after: Sequence,
        page: Page,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_outbox(sink, after, page).await
    }

    async fn read_timers(
        &self,
        after: Option<&TimerPlace>,
        page: Page,
    ) -> Result<Vec<TimerRow>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_timers(after, page).await
    }

    async fn read_parked(
        &self,
        plugin: &PluginName,
        key: &Key,
        after: Position,
        page: Page,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_parked(plugin, key, after, page).await
    }

    async fn read_messages(
        &self,
        sink: &SinkName,
        sequences: &[Sequence],
        bytes: usize,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_messages(sink, sequences, bytes).await
    }

    async fn read_expired_holds(
        &self,
        plugin: &PluginName,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Held>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_expired_holds(plugin, until, limit).await
    }

    async fn read_finished_instances(
        &self,
        plugin: &PluginName,
        place: Position,
        until: Timestamp,
        after: Option<&(Timestamp, Key)>,
        limit: usize,
    ) -> Result<Vec<FinishedInstance>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_finished_instances(plugin, place, until, after, limit).await
    }

    async fn read_plugin(&self, plugin: &PluginName) -> Result<Option<RecoveredPlugin>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_plugin(plugin).await
    }

    async fn read_accepted(
        &self,
        events: &[Arc<Event>],
    ) -> Result<Vec<Option<Arc<Event>>>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_accepted(events).await
    }

    async fn read_dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_dead_letter(id).await
    }
}
