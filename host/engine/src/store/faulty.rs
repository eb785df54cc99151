//! A store that fails by a seed, over any other: commits that are refused, commits
//! that succeed and report an unknown outcome, commits that are lost and report the
//! same, reads that fail; everything takes a while, and few read at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Batch, CommitError, Committed, Loaded, MessageLane, ReadError, Recovered, RecoveredPlugin,
    Store, TimerRow,
};
use crate::model::{
    DeadLetter, DeadLetterId, Held, Key, LogEntry, Message, PluginName, Position, Sequence,
    SinkName, Timestamp,
};

const READERS: usize = 2;

/// How often what goes wrong, in thousandths.
#[derive(Clone, Copy, Debug)]
pub struct FaultRates {
    pub refused: u32,
    pub unknown_written: u32,
    pub unknown_lost: u32,
    pub read_failed: u32,
    /// The longest that a call takes.
    pub delay_max: Duration,
}

pub struct FaultyStore<S> {
    inner: S,
    rates: FaultRates,
    random: Arc<Mutex<StdRng>>,
    /// Connections, as few as a real store has.
    readers: Semaphore,
}

impl<S: Store> FaultyStore<S> {
    pub fn new(inner: S, rates: FaultRates, seed: u64) -> Self {
        let random = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        Self { inner, rates, random, readers: Semaphore::new(READERS) }
    }

    fn roll(&self) -> u32 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..1_000)
    }

    async fn delay(&self) {
        let max = u64::try_from(self.rates.delay_max.as_micros()).unwrap_or(u64::MAX);
        let micros =
            self.random.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..=max);
        tokio::time::sleep(Duration::from_micros(micros)).await;
    }

    /// Whoever reads must see its read through while it waits for another one: a read that
    /// is begun and not polled keeps its connection from the others.
    async fn before_read(&self) -> Result<SemaphorePermit<'_>, ReadError> {
        let connection = self.readers.acquire().await.expect("the semaphore is never closed");
        self.delay().await;
        match self.roll() < self.rates.read_failed {
            true => Err(ReadError("planted: the read failed".to_owned())),
            false => Ok(connection),
        }
    }
}

#[async_trait]
impl<S: Store> Store for FaultyStore<S> {
    async fn recover(&self) -> Result<Recovered, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.recover().await
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, CommitError> {
        self.delay().await;
        let FaultRates { refused, unknown_written, unknown_lost, .. } = self.rates;
        let roll = self.roll();
        if roll < refused {
            return Err(CommitError::NotCommitted("planted: refused".to_owned()));
        }
        if roll < refused + unknown_lost {
            return Err(CommitError::Unknown("planted: lost".to_owned()));
        }
        let committed = self.inner.commit(batch).await?;
        if roll < refused + unknown_lost + unknown_written {
            return Err(CommitError::Unknown("planted: written".to_owned()));
        }
        self.delay().await;
        Ok(committed)
    }

    async fn read_log(&self, after: Position, limit: usize) -> Result<Vec<LogEntry>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_log(after, limit).await
    }

    async fn read_stream(
        &self,
        subject: &str,
        after: Position,
        before: Position,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_stream(subject, after, before, limit).await
    }

    async fn load(&self, plugin: &PluginName, keys: &[Key]) -> Result<Loaded, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.load(plugin, keys).await
    }

    async fn load_all(
        &self,
        plugin: &PluginName,
        limit: usize,
    ) -> Result<Option<Loaded>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.load_all(plugin, limit).await
    }

    async fn read_outbox(
        &self,
        sink: &SinkName,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_outbox(sink, after, limit).await
    }

    async fn read_timers(
        &self,
        due_until: Timestamp,
        limit: usize,
    ) -> Result<Vec<TimerRow>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_timers(due_until, limit).await
    }

    async fn read_parked(
        &self,
        plugin: &PluginName,
        key: &Key,
        after: Position,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_parked(plugin, key, after, limit).await
    }

    async fn read_parked_messages(
        &self,
        lane: &MessageLane,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_parked_messages(lane, after, limit).await
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
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Key>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_finished_instances(plugin, until, limit).await
    }

    async fn read_plugin(&self, plugin: &PluginName) -> Result<Option<RecoveredPlugin>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_plugin(plugin).await
    }

    async fn read_dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, ReadError> {
        let _connection = self.before_read().await?;
        self.inner.read_dead_letter(id).await
    }
}
