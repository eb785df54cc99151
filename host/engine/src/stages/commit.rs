//! The committer: the only stage that writes to the store. It gathers the work that arrived while
//! the last commit ran, writes it as one batch, and then publishes the results: receipts to the
//! senders, events to the tail of the log, messages to the tails of the outboxes, timers to their
//! index. It makes guarantees 1 and 3.
//!
//! It assigns places (positions and sequences), and it does not know what a decision means. A batch
//! has at most one set of changes of each plugin and sink, so it names no row twice. If a commit
//! certainly failed, the committer retries the batch without the offers, whose senders are told at
//! once. If the outcome is unknown, it ends, and the engine recovers.

mod isolation;
mod units;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use self::units::{Gathered, Owner, Rows};
use crate::changes::backlog::Backlog;
use crate::changes::compensation::Compensation;
use crate::changes::measures::Measures;
use crate::changes::outbox::Outboxes;
use crate::changes::readers::Readers;
use crate::changes::receipt::{OfferError, Receipt};
use crate::changes::rejection::{Rejection, Rejections};
use crate::changes::tail::Tail;
use crate::changes::timer_index::TimerIndex;
use crate::changes::{ControlChange, Offer, PluginChanges, Removal, Work};
use crate::model::{
    Event, Hops, Key, LogEntry, Message, MessageKind, Origin, PluginName, Position, SinkName,
    reserved,
};
use crate::pure::identity::ALERT_PLUGIN;
use crate::pure::monotonic::Instant;
use crate::seams::store::{
    Append, Batch, ClaimChange, CommitError, Committed, FieldsRow, Store, TimerRow,
};
use crate::{Clock, Readiness, Routes};

/// A commit is closed when it has this many rows of decisions and appends: beyond
/// some thousand the cost per row no longer falls, but the wait for the commit grows.
const BATCH_ROWS_MAX: usize = 8_192;

/// How long a plugin may not hear of events that are not for it: often enough for its cursor,
/// and for people who look at how far it is behind.
const READERS_DELAY: Duration = Duration::from_millis(100);

/// While the store refuses commits.
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
    /// When all readers are woken that did not hear of the last commits. One timer for all these
    /// commits: to begin one wakes the thread that waits for timers.
    pub readers_due: Option<Pin<Box<Sleep>>>,
    pub rejections: Rejections,
    /// Questions for the log's last position, answered after the commit.
    pub heads: Vec<oneshot::Sender<Position>>,
    /// The last position that was given to an event,
    pub position: Position,
    /// and the last one that is written.
    pub committed: Position,
    /// The dispatchers whose changes were rejected last: nothing more of theirs is written.
    pub stale: BTreeMap<PluginName, mpsc::UnboundedSender<Rejection>>,
    pub measures: Arc<Measures>,
    /// Where alerts go.
    pub routes: Arc<Routes>,
}

/// Why the committer ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// All senders are gone: everything is written.
    Drained,
    /// The engine must forget what it speculated, and recover.
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

    /// Gathers what can be written together with the first.
    fn gather_all(&mut self, first: Work, queue: &mut Queue) -> Gathered {
        let mut gathered = Gathered::default();
        let mut plugins = BTreeSet::new();
        let mut sinks = BTreeSet::new();
        self.gather(&mut gathered, first, &mut plugins, &mut sinks);
        while gathered.size() < BATCH_ROWS_MAX
            && let Some(more) = queue.next_now()
        {
            // A second set of changes of one plugin could name a row again: it starts the next batch.
            if is_second(&more, &plugins, &sinks) || matches!(more, Work::Remove(_)) {
                queue.waiting.push_front(more);
                break;
            }
            self.gather(&mut gathered, more, &mut plugins, &mut sinks);
        }
        gathered
    }

    /// The next work. While there is none, readers are woken when it is their time. None when
    /// all senders are gone, and all they sent is taken.
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

    fn gather(
        &mut self,
        gathered: &mut Gathered,
        work: Work,
        plugins: &mut BTreeSet<PluginName>,
        sinks: &mut BTreeSet<SinkName>,
    ) {
        let before = Rows::of(&gathered.batch);
        let batch = &mut gathered.batch;
        let owner = match work {
            Work::Head(reply) => return self.heads.push(reply),
            Work::Offer(offer) => {
                for event in &offer.events {
                    self.append(batch, Arc::clone(event), offer.hops, false, None);
                    if offer.hops != Hops::OUTSIDE {
                        self.route_alert(batch, event, offer.hops);
                    }
                }
                batch.items_done.extend(offer.item);
                Owner::Offer(offer)
            }
            Work::Fire(fire) => {
                for (row, event) in fire.timers {
                    let hops = row.hops;
                    self.append(batch, event, hops, false, Some(row));
                }
                Owner::Timers
            }
            Work::Control(ControlChange { put, removed, reply }) => {
                batch.controls.extend(put);
                batch.controls_removed.extend(removed);
                Owner::Control { reply }
            }
            // `run` gives it a transaction of its own.
            Work::Remove(_) => return,
            Work::Plugin(mut changes) => {
                let compensations = std::mem::take(&mut changes.compensations);
                let replies = std::mem::take(&mut changes.replies);
                let rejections = changes.rejections.take().expect("dispatchers can be told");
                let progress = changes.progress.as_ref();
                let plugin = progress.expect("changes are handed over with their cursor");
                let plugin = plugin.plugin.clone();
                if self.stale.get(&plugin).is_some_and(|stale| stale.same_channel(&rejections)) {
                    return;
                }
                plugins.insert(plugin.clone());
                self.gather_plugin(batch, *changes);
                Owner::Plugin { plugin, replies, compensations, rejections }
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
                    for (place, wait) in std::mem::take(&mut changes.waits) {
                        match wait {
                            Some(wait) => batch.message_waits.push(wait),
                            None => batch.message_waits_removed.push((sink(), place)),
                        }
                    }
                    sinks.insert(progress.sink.clone());
                    batch.sinks.push(progress);
                }
                let dropped = changes.dropped.take().expect("outlets can be told");
                Owner::Sink { replies: changes.replies, dropped }
            }
        };
        gathered.add(before, owner);
    }

    fn gather_plugin(&mut self, batch: &mut Batch, changes: PluginChanges) {
        let progress = changes.progress.expect("changes are handed over with their cursor");
        let plugin = progress.plugin.clone();
        let name = || plugin.clone();
        batch.instances.extend(changes.instances.into_values().map(|row| (name(), row)));
        batch.instances_removed.extend(changes.instances_removed.into_iter().map(|k| (name(), k)));
        let fields = changes.fields.into_iter();
        batch.fields.extend(fields.map(|(key, values)| FieldsRow { plugin: name(), key, values }));
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
        for (key, wait) in changes.waits {
            match wait {
                Some(wait) => batch.waits.push((name(), key, wait)),
                None => batch.waits_removed.push((name(), key)),
            }
        }
        batch.dead_letters.extend(changes.dead_letters.into_iter().map(Arc::new));
        batch.dead_letters_closed.extend(changes.dead_letters_closed);
        batch.timers_fired.extend(changes.timers_fired);
        batch.dead_letters_noted.extend(changes.dead_letters_noted);
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
                    instance: outgoing.instance,
                    event: outgoing.event,
                    hops: outgoing.hops,
                }));
            }
        }
        for (position, keys) in changes.partly_decided {
            batch.partly_decided.extend(keys.into_iter().map(|key| (name(), position, key)));
        }
        let settled = changes.partly_decided_removed.into_iter();
        batch.partly_decided_removed.extend(settled.map(|position| (name(), position)));
        batch.plugins.push(progress);
    }

    /// An alert that a route names leaves through the sink of the route, as a plugin's event does.
    fn route_alert(&mut self, batch: &mut Batch, event: &Arc<Event>, hops: Hops) {
        if !event.event_type.starts_with(reserved::ALERT) {
            return;
        }
        let Some(sink) = self.routes.configured(&event.event_type) else { return };
        let sequence = self.outboxes.assign(&sink);
        batch.messages.push(Arc::new(Message {
            sink,
            sequence,
            kind: MessageKind::Event,
            plugin: PluginName::from(ALERT_PLUGIN),
            key: Key::from(event.subject.as_deref().unwrap_or_default()),
            cause: self.position,
            instance: None,
            event: Arc::clone(event),
            hops: hops.after(1),
        }));
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

    /// Tries until the store takes the batch, or gives back why the store rejects it. `rest` is
    /// what waits meanwhile: its senders get an error at once while the store is unavailable.
    async fn write(
        &mut self,
        gathered: &mut Gathered,
        rest: &mut [Gathered],
        queue: &mut Queue,
    ) -> Result<Result<Committed, String>, Ended> {
        let mut delay = REFUSED_DELAY_MIN;
        loop {
            // Each time anew: what is refused meanwhile is no longer in the batch.
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

    /// Removes what is too old. If that fails, it stays until housekeeping looks again.
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
                    // A sender that hung up will ask again, and be told of duplicates.
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

/// What waits for the committer, in order.
struct Queue {
    work: mpsc::UnboundedReceiver<Work>,
    waiting: VecDeque<Work>,
}

impl Queue {
    fn next_now(&mut self) -> Option<Work> {
        self.waiting.pop_front().or_else(|| self.work.try_recv().ok())
    }

    /// Offers that were made before it showed that the store refuses are told so as well:
    /// their senders would wait until it takes something again. The rest waits.
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

fn is_second(work: &Work, plugins: &BTreeSet<PluginName>, sinks: &BTreeSet<SinkName>) -> bool {
    match work {
        Work::Plugin(changes) => {
            changes.progress.as_ref().is_some_and(|progress| plugins.contains(&progress.plugin))
        }
        Work::Sink(changes) => {
            changes.progress.as_ref().is_some_and(|progress| sinks.contains(&progress.sink))
        }
        // One removal is under way at a time.
        Work::Offer(_) | Work::Fire(_) | Work::Remove(_) | Work::Head(_) | Work::Control(_) => {
            false
        }
    }
}
