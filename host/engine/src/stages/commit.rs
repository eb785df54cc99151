//! The committer: the only stage that writes to the store. It gathers the work that arrived while
//! the last commit ran, writes it as one batch, and then publishes the results: receipts to the
//! senders, events to the tail of the log, messages to the tails of the outboxes, timers to their
//! index. It makes guarantees 1 and 3.
//!
//! It assigns places (positions and sequences), and it does not know what a decision means. A batch
//! has at most one set of changes of each plugin and sink, so it names no row twice. If a commit
//! certainly failed, the committer retries the batch without the offers, whose senders receive the
//! error at once. If the outcome is unknown, it ends, and the engine recovers.

mod gathering;
mod isolation;
mod units;

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use self::units::{Gathered, Owner};
use crate::changes::backlog::Backlog;
use crate::changes::compensation::Compensation;
use crate::changes::measures::Measures;
use crate::changes::outbox::Outboxes;
use crate::changes::readers::Readers;
use crate::changes::receipt::{OfferError, Receipt};
use crate::changes::rejection::{Rejection, Rejections};
use crate::changes::tail::Tail;
use crate::changes::timer_index::TimerIndex;
use crate::changes::{Offer, Removal, Work};
use crate::model::{LogEntry, Origin, PluginName, Position};
use crate::pure::monotonic::Instant;
use crate::seams::store::{Append, Batch, CommitError, Committed, Store};
use crate::{Clock, Readiness, Routes};

/// A commit is closed when it has this many rows of decisions and appends: beyond
/// some thousand the cost per row no longer falls, but the wait for the commit grows.
const BATCH_ROWS_MAX: usize = 8_192;

/// The longest time for which a dispatcher is not notified of events that are not for its plugin.
/// Short enough for its cursor, and for operators who watch its lag.
const READERS_DELAY: Duration = Duration::from_millis(100);

/// The first pause while the store refuses commits.
const REFUSED_DELAY_MIN: Duration = Duration::from_millis(50);
const REFUSED_DELAY_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Committer {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub log: Arc<Tail<LogEntry>>,
    pub outboxes: Arc<Outboxes>,
    pub timers: Arc<TimerIndex>,
    pub readiness: Arc<Readiness>,
    pub backlog: Arc<Backlog>,
    pub readers: Arc<Readers>,
    /// When the readers that were not notified of the last commits are woken. All these commits
    /// share one timer, because starting a timer wakes the runtime's timer thread.
    pub readers_due: Option<Pin<Box<Sleep>>>,
    pub rejections: Rejections,
    /// Requests for the last position of the log, answered after the commit.
    pub heads: Vec<oneshot::Sender<Position>>,
    /// The last position that the committer has assigned to an event.
    pub position: Position,
    /// The last position that the store has.
    pub committed: Position,
    /// The dispatchers whose changes were rejected last: the committer writes no further changes of
    /// theirs.
    pub stale: BTreeMap<PluginName, mpsc::UnboundedSender<Rejection>>,
    pub measures: Arc<Measures>,
    /// The sinks of alerts.
    pub routes: Arc<Routes>,
}

/// Why the committer ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// All senders are dropped, and everything is written.
    Drained,
    /// The engine must drop its speculative state, and recover.
    Restart(String),
    /// Another host owns the store.
    Fenced(String),
}

impl Committer {
    pub(crate) async fn run(mut self, work: mpsc::UnboundedReceiver<Work>) -> Ended {
        let mut queue = Queue { work, waiting: VecDeque::new() };
        while let Some(first) = self.next(&mut queue).await {
            // A removal has a transaction of its own: if it fails, everything else is written.
            let ended = match first {
                Work::Remove(removal) => self.remove(removal).await,
                first => {
                    let gathered = self.gather_all(first, &mut queue);
                    self.commit(gathered, &mut queue).await
                }
            };
            if let Err(ended) = ended {
                return ended;
            }
        }
        Ended::Drained
    }

    /// Returns the next work. While there is none, it wakes the readers when their time has come.
    /// Returns none when all senders are dropped, and all that they sent is taken.
    async fn next(&mut self, queue: &mut Queue) -> Option<Work> {
        if let Some(first) = queue.waiting.pop_front() {
            return Some(first);
        }
        while let Some(due) = &mut self.readers_due {
            tokio::select! {
                biased;
                more = queue.work.recv() => return more,
                () = due.as_mut() => self.wake_readers(),
            }
        }
        queue.work.recv().await
    }

    fn wake_readers(&mut self) {
        self.readers_due = None;
        self.readers.wake(self.position.0);
    }

    async fn commit(&mut self, gathered: Gathered, queue: &mut Queue) -> Result<(), Ended> {
        let mut gathered = gathered;
        if !gathered.units.is_empty() {
            match self.write(&mut gathered, &mut [], queue).await? {
                Ok(committed) => self.publish(gathered, &committed),
                Err(reason) => self.isolate(gathered, reason, queue).await?,
            }
        }
        for head in std::mem::take(&mut self.heads) {
            // The stage that asked may have ended.
            let _ = head.send(self.position);
        }
        Ok(())
    }

    /// Retries until the store takes the batch, or returns the reason for which the store rejects
    /// it. `rest` is the work that waits meanwhile: its senders get an error at once while the
    /// store is unavailable.
    async fn write(
        &mut self,
        gathered: &mut Gathered,
        rest: &mut [Gathered],
        queue: &mut Queue,
    ) -> Result<Result<Committed, String>, Ended> {
        let mut delay = REFUSED_DELAY_MIN;
        loop {
            // Computed for each attempt, because the offers that were refused meanwhile are no
            // longer in the batch.
            let appends = gathered.batch.appends.iter();
            let sent = appends.filter(|append| append.hops.origin() == Origin::Outside);
            gathered.batch.untaken = self.readers.untaken(sent.map(|append| &*append.event));
            let started = Instant::now();
            match self.store.commit(&gathered.batch).await {
                Ok(committed) => {
                    self.measures.commit.observe(started.elapsed());
                    self.readiness.set(Ok(()));
                    return Ok(Ok(committed));
                }
                Err(CommitError::Rejected(reason)) => {
                    self.readiness.set(Ok(()));
                    return Ok(Err(reason));
                }
                Err(CommitError::Unknown(reason)) => {
                    self.readiness.set(Err(reason.clone()));
                    return Err(Ended::Restart(reason));
                }
                Err(CommitError::Fenced(reason)) => {
                    self.readiness.set(Err(reason.clone()));
                    return Err(Ended::Fenced(reason));
                }
                Err(CommitError::NotCommitted(reason)) => {
                    tracing::error!(%reason, "the commit failed; retrying");
                    self.readiness.set(Err(reason.clone()));
                    let unavailable = OfferError::Unavailable(reason);
                    gathered.refuse_offers(&unavailable);
                    rest.iter_mut().for_each(|waiting| waiting.refuse_offers(&unavailable));
                    queue.refuse_while(tokio::time::sleep(delay), &unavailable).await;
                    delay = (delay * 2).min(REFUSED_DELAY_MAX);
                }
            }
        }
    }

    /// Removes expired rows. If the removal fails, they stay until the next sweep of housekeeping.
    async fn remove(&mut self, removal: Removal) -> Result<(), Ended> {
        let Removal { expire, reply } = removal;
        let batch = Batch { expire: Some(expire), ..Batch::default() };
        match self.store.commit(&batch).await {
            Ok(committed) => _ = reply.send(committed.expired),
            Err(CommitError::NotCommitted(reason) | CommitError::Rejected(reason)) => {
                tracing::error!(%reason, "what is too old cannot be removed; it is tried again later");
            }
            Err(CommitError::Unknown(reason)) => return Err(Ended::Restart(reason)),
            Err(CommitError::Fenced(reason)) => return Err(Ended::Fenced(reason)),
        }
        Ok(())
    }

    fn publish(&mut self, gathered: Gathered, committed: &Committed) {
        self.committed = self.position;
        let is_duplicate = |position| committed.duplicates.binary_search(&position).is_ok();
        let receipt = |append: &Append| match is_duplicate(append.position) {
            true => Receipt::Duplicate,
            false => Receipt::Accepted(append.position),
        };
        let Gathered { batch, units } = gathered;
        let mut first = 0;
        for unit in units {
            let appends = first..first + unit.appends();
            first = appends.end;
            match unit.owner {
                Owner::Offer(Offer { permit, reply, events, .. }) => {
                    drop(permit);
                    let receipts = batch.appends[appends].iter().map(receipt).collect();
                    // A sender that hung up will send again, and get duplicates as the answer.
                    let _ = reply.send(Ok((receipts, events)));
                }
                Owner::Plugin { replies, compensations, .. } => {
                    replies.into_iter().for_each(|reply| _ = reply.send(()));
                    compensations.into_iter().for_each(Compensation::settle);
                }
                Owner::Sink { replies, .. } => {
                    replies.into_iter().for_each(|reply| _ = reply.send(()));
                }
                Owner::Control { reply } => _ = reply.send(()),
                Owner::Timers => {}
            }
        }
        let settled = batch.plugins.iter().map(|p| (&p.plugin, p.cursor.settled));
        self.backlog.update(settled, self.position.0);
        self.timers.update(batch.timers_set, &batch.timers_cleared);
        let appended = batch.appends.iter().filter(|append| !is_duplicate(append.position));
        let concerned = self.readers.concerned(appended.map(|append| &*append.event));
        let entries = batch.appends.into_iter().filter(|append| !is_duplicate(append.position));
        self.log.publish(
            entries.map(|append| {
                let Append { position, received_at, event, hops, .. } = append;
                (position.0, LogEntry { position, received_at, event, hops })
            }),
            self.position.0,
        );
        if concerned.wake(self.position.0) {
            self.readers_due.get_or_insert_with(|| Box::pin(tokio::time::sleep(READERS_DELAY)));
        }
        if self.readers_due.as_ref().is_some_and(|due| due.deadline() <= Instant::now()) {
            self.wake_readers();
        }
        self.outboxes.publish(batch.messages);
    }
}

/// The work that waits for the committer, in order.
struct Queue {
    work: mpsc::UnboundedReceiver<Work>,
    waiting: VecDeque<Work>,
}

impl Queue {
    fn next_now(&mut self) -> Option<Work> {
        self.waiting.pop_front().or_else(|| self.work.try_recv().ok())
    }

    /// Refuses the offers that arrived before the store began to refuse as well: their senders
    /// would otherwise wait until it accepts a commit again. All other work waits.
    async fn refuse_while(&mut self, pause: impl Future<Output = ()>, error: &OfferError) {
        let mut waiting = std::mem::take(&mut self.waiting);
        tokio::pin!(pause);
        let mut keep = |work| match work {
            Work::Offer(offer) => _ = offer.reply.send(Err(error.clone())),
            other => self.waiting.push_back(other),
        };
        waiting.drain(..).for_each(&mut keep);
        loop {
            tokio::select! {
                biased;
                Some(more) = self.work.recv() => keep(more),
                () = &mut pause => return,
            }
        }
    }
}
