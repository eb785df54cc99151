//! The committer: the only stage that writes to the store. It gathers the work that arrived while
//! the last commit ran, writes it as one batch, and then publishes the results: receipts to the
//! senders, events to the tail of the log, messages to the tails of the outboxes, timers to their
//! index. It makes guarantees 1 and 3.
//!
//! It assigns places (positions and sequences), and it does not know what a decision means. A batch
//! has at most one set of changes of each plugin and sink, so it names no row twice. If a commit
//! certainly failed, the committer retries the batch without the offers, whose senders are told at
//! once. If the outcome is unknown, it ends, and the engine recovers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::changes::backlog::Backlog;
use crate::changes::outbox::Outboxes;
use crate::changes::readers::Readers;
use crate::changes::receipt::{OfferError, Receipt};
use crate::changes::tail::Tail;
use crate::changes::timer_index::TimerIndex;
use crate::changes::{Offer, PluginChanges, Work};
use crate::model::{Event, Hops, LogEntry, Message, PluginName, Position, SinkName};
use crate::pure::monotonic::Instant;
use crate::seams::store::{Append, Batch, ClaimChange, CommitError, Committed, Store, TimerRow};
use crate::{Clock, Serving};

/// A commit is closed when it has this many rows of decisions and appends: beyond
/// some thousand the cost per row no longer falls, but the wait for the commit grows.
const BATCH_ROWS_MAX: usize = 8_192;

/// How long a plugin may not hear of events that are not for it: often enough for its cursor,
/// and for people who look at how far it is behind.
const READERS_DELAY: Duration = Duration::from_millis(100);

/// While the store refuses commits.
const REFUSED_DELAY_MIN: Duration = Duration::from_millis(50);
const REFUSED_DELAY_MAX: Duration = Duration::from_secs(2);

pub struct Committer {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub log: Arc<Tail<LogEntry>>,
    pub outboxes: Arc<Outboxes>,
    pub timers: Arc<TimerIndex>,
    pub serving: Arc<Serving>,
    pub backlog: Arc<Backlog>,
    pub readers: Arc<Readers>,
    /// When all readers are woken that did not hear of the last commits.
    pub readers_due: Option<Instant>,
    pub position: Position,
}

/// Why the committer ended.
#[derive(Debug)]
pub enum Ended {
    /// All senders are gone: everything is written.
    Drained,
    /// The engine must forget what it speculated, and recover.
    Restart(String),
    /// Another host owns the store.
    Fenced(String),
}

/// What follows a commit.
#[derive(Default)]
struct Gathered {
    batch: Batch,
    offers: Vec<(Offer, Position)>,
    replies: Vec<oneshot::Sender<()>>,
    removal: Option<oneshot::Sender<usize>>,
    heads: Vec<oneshot::Sender<Position>>,
    /// Whether there is anything to write.
    writes: bool,
}

impl Committer {
    pub async fn run(mut self, mut work: mpsc::UnboundedReceiver<Work>) -> Ended {
        let mut waiting: VecDeque<Work> = VecDeque::new();
        loop {
            let first = match waiting.pop_front() {
                Some(first) => first,
                None => match self.next(&mut work).await {
                    Some(first) => first,
                    None => return Ended::Drained,
                },
            };
            let mut gathered = Gathered::default();
            let mut plugins = BTreeSet::new();
            let mut sinks = BTreeSet::new();
            self.gather(&mut gathered, first, &mut plugins, &mut sinks);
            while rows(&gathered.batch) < BATCH_ROWS_MAX {
                let more = waiting.pop_front().or_else(|| work.try_recv().ok());
                let Some(more) = more else { break };
                // A second set of changes of one plugin could name a row again: it starts the next batch.
                if is_second(&more, &plugins, &sinks) {
                    waiting.push_front(more);
                    break;
                }
                self.gather(&mut gathered, more, &mut plugins, &mut sinks);
            }
            if let Err(ended) = self.commit(gathered, &mut work, &mut waiting).await {
                return ended;
            }
        }
    }

    /// The next work. While there is none, readers are woken when it is their time.
    async fn next(&mut self, work: &mut mpsc::UnboundedReceiver<Work>) -> Option<Work> {
        while let Some(due) = self.readers_due {
            tokio::select! {
                biased;
                more = work.recv() => return more,
                () = tokio::time::sleep_until(due) => self.wake_readers(),
            }
        }
        work.recv().await
    }

    fn wake_readers(&mut self) {
        self.readers_due = None;
        self.readers.wake(self.position.0);
    }

    fn gather(
        &mut self,
        gathered: &mut Gathered,
        work: Work,
        plugins: &mut BTreeSet<PluginName>,
        sinks: &mut BTreeSet<SinkName>,
    ) {
        let batch = &mut gathered.batch;
        gathered.writes |= !matches!(work, Work::Head(_));
        match work {
            Work::Head(reply) => gathered.heads.push(reply),
            Work::Offer(offer) => {
                let first = self.position.next();
                for event in &offer.events {
                    self.append(batch, Arc::clone(event), offer.hops, false, None);
                }
                gathered.offers.push((offer, first));
            }
            Work::Fire(fire) => {
                for (row, event) in fire.timers {
                    let hops = row.hops;
                    self.append(batch, event, hops, false, Some(row));
                }
            }
            Work::Remove(removal) => {
                batch.expire = Some(removal.expire);
                gathered.removal = Some(removal.reply);
            }
            Work::Plugin(mut changes) => {
                gathered.replies.append(&mut changes.replies);
                if let Some(progress) = &changes.progress {
                    plugins.insert(progress.plugin.clone());
                }
                self.gather_plugin(batch, *changes);
            }
            Work::Sink(mut changes) => {
                batch.dead_letters.extend(changes.dead_letters.drain(..).map(Arc::new));
                batch.parked_messages.append(&mut changes.parked);
                for (event, hops) in changes.reserved.drain(..) {
                    self.append(batch, Arc::new(event), hops, false, None);
                }
                if let Some(progress) = changes.progress {
                    let sink = || progress.sink.clone();
                    let removed = changes.parked_removed.drain(..).map(|place| (sink(), place));
                    batch.parked_messages_removed.extend(removed);
                    sinks.insert(progress.sink.clone());
                    batch.sinks.push(progress);
                }
                gathered.replies.append(&mut changes.replies);
            }
        }
    }

    fn gather_plugin(&mut self, batch: &mut Batch, changes: PluginChanges) {
        let progress = changes.progress.expect("changes are handed over with their cursor");
        let plugin = progress.plugin.clone();
        let name = || plugin.clone();
        batch.instances.extend(changes.instances.into_values().map(|row| (name(), row)));
        batch.instances_removed.extend(changes.instances_removed.into_iter().map(|k| (name(), k)));
        batch.claims.extend(changes.claims.into_iter().map(|((key, instance), claimed)| {
            ClaimChange { plugin: name(), key, instance, claimed }
        }));
        for ((instance, timer), row) in changes.timers {
            match row {
                Some(row) => batch.timers_set.push(row),
                None => batch.timers_cleared.push((name(), instance, timer)),
            }
        }
        batch.decisions.extend(changes.decisions);
        for ((position, key), held) in changes.held {
            match held {
                Some(held) => batch.held.push(held),
                None => batch.held_removed.push((name(), key, position)),
            }
        }
        for ((position, key), parked) in changes.parked {
            match parked {
                Some(parked) => batch.parked.push(parked),
                None => batch.parked_removed.push((name(), key, position)),
            }
        }
        batch.dead_letters.extend(changes.dead_letters.into_iter().map(Arc::new));
        batch.letters_closed.extend(changes.letters_closed);
        for outgoing in changes.outgoing {
            if outgoing.append {
                let event = Arc::clone(&outgoing.event);
                self.append(batch, event, outgoing.hops, outgoing.redriven, None);
            }
            if let Some(sink) = outgoing.sink {
                let sequence = self.outboxes.assign(&sink);
                batch.messages.push(Arc::new(Message {
                    sink,
                    sequence,
                    kind: outgoing.kind,
                    plugin: name(),
                    key: outgoing.key,
                    cause: outgoing.cause,
                    event: outgoing.event,
                    hops: outgoing.hops,
                }));
            }
        }
        batch.plugins.push(progress);
    }

    fn append(
        &mut self,
        batch: &mut Batch,
        event: Arc<Event>,
        hops: Hops,
        redriven: bool,
        fires: Option<TimerRow>,
    ) {
        self.position = self.position.next();
        batch.appends.push(Append {
            position: self.position,
            received_at: (self.clock)(),
            event,
            hops,
            redriven,
            fires: fires.map(|row| row.timer),
        });
    }

    async fn commit(
        &mut self,
        mut gathered: Gathered,
        work: &mut mpsc::UnboundedReceiver<Work>,
        waiting: &mut VecDeque<Work>,
    ) -> Result<(), Ended> {
        let mut delay = REFUSED_DELAY_MIN;
        if !gathered.writes {
            self.answer(gathered.heads);
            return Ok(());
        }
        loop {
            match self.store.commit(&gathered.batch).await {
                Ok(committed) => {
                    self.serving.set(Ok(()));
                    self.publish(gathered, &committed);
                    return Ok(());
                }
                Err(CommitError::Unknown(reason)) => {
                    self.serving.set(Err(reason.clone()));
                    return Err(Ended::Restart(reason));
                }
                Err(CommitError::Fenced(reason)) => {
                    self.serving.set(Err(reason.clone()));
                    return Err(Ended::Fenced(reason));
                }
                Err(CommitError::NotCommitted(reason)) => {
                    tracing::error!(%reason, "the commit failed; retrying");
                    self.serving.set(Err(reason.clone()));
                    refuse_offers(&mut gathered, &reason);
                    let pause = tokio::time::sleep(delay);
                    refuse_while(pause, &reason, work, waiting).await;
                    delay = (delay * 2).min(REFUSED_DELAY_MAX);
                }
            }
        }
    }

    fn publish(&mut self, gathered: Gathered, committed: &Committed) {
        let Gathered { batch, offers, replies, removal, heads, writes: _ } = gathered;
        let is_duplicate = |position| committed.duplicates.binary_search(&position).is_ok();
        for (offer, first) in offers {
            drop(offer.permit);
            let receipts = (first.0..)
                .zip(&offer.events)
                .map(|(position, _)| match is_duplicate(Position(position)) {
                    true => Receipt::Duplicate,
                    false => Receipt::Accepted(Position(position)),
                })
                .collect();
            // A sender that hung up will ask again, and be told of duplicates.
            let _ = offer.reply.send(Ok(receipts));
        }
        for reply in replies {
            let _ = reply.send(());
        }
        if let Some(removal) = removal {
            let _ = removal.send(committed.expired);
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
            self.readers_due.get_or_insert_with(|| Instant::now() + READERS_DELAY);
        }
        if self.readers_due.is_some_and(|due| due <= Instant::now()) {
            self.wake_readers();
        }
        self.outboxes.publish(batch.messages);
        self.answer(heads);
    }

    fn answer(&self, heads: Vec<oneshot::Sender<Position>>) {
        for head in heads {
            // Whoever asked may have ended.
            let _ = head.send(self.position);
        }
    }
}

/// Senders are told at once that nothing of theirs was written; the rest is tried again.
fn refuse_offers(gathered: &mut Gathered, reason: &str) {
    for (offer, first) in gathered.offers.drain(..) {
        let last = Position(first.0 + offer.events.len() as u64);
        gathered.batch.appends.retain(|append| append.position < first || append.position >= last);
        let _ = offer.reply.send(Err(OfferError::Unavailable(reason.to_owned())));
    }
}

/// Offers that were made before it showed that the store refuses are told so as well:
/// their senders would wait until it takes something again. The rest waits.
async fn refuse_while(
    pause: impl Future<Output = ()>,
    reason: &str,
    work: &mut mpsc::UnboundedReceiver<Work>,
    waiting: &mut VecDeque<Work>,
) {
    tokio::pin!(pause);
    loop {
        let more = tokio::select! {
            biased;
            Some(more) = work.recv() => more,
            () = &mut pause => return,
        };
        match more {
            Work::Offer(offer) => {
                let _ = offer.reply.send(Err(OfferError::Unavailable(reason.to_owned())));
            }
            other => waiting.push_back(other),
        }
    }
}

fn rows(batch: &Batch) -> usize {
    batch.appends.len() + batch.decisions.len() + batch.messages.len()
}

fn is_second(work: &Work, plugins: &BTreeSet<PluginName>, sinks: &BTreeSet<SinkName>) -> bool {
    match work {
        Work::Plugin(changes) => {
            changes.progress.as_ref().is_some_and(|progress| plugins.contains(&progress.plugin))
        }
        Work::Sink(changes) => {
            changes.progress.as_ref().is_some_and(|progress| sinks.contains(&progress.sink))
        }
        // One removal is under way at a time.
        Work::Offer(_) | Work::Fire(_) | Work::Remove(_) | Work::Head(_) => false,
    }
}
