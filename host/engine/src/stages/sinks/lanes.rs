//! What relays and queues share: the messages of a sink in lanes by ordering key, and the
//! bookkeeping of what is settled. A message that cannot be delivered delays its own key alone,
//! behind a dead letter.
//!
//! What a sink has in memory is bounded in bytes: the tail of its outbox, its lanes, and what
//! waits for a commit. All else stays in the store, and is read back in order.
//!
//! The dead letter of a command and the event that tells its instance are in one commit. The outbox
//! is read from the sink's cursor on, so a message is delivered again if a crash comes before the
//! commit that settles it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::changes::compensation::{Refusal, Refusals};
use crate::changes::outbox::{MessageTail, OutboxReader};
use crate::changes::rejection::LettersDropped;
use crate::changes::resolve::{
    Action, DeadLetterIds, Resolution, ResolveError, ResolveRequest, keep_reserved,
    write_dead_letter,
};
use crate::changes::waits::Waits;
use crate::changes::{SinkChanges, Work};
use crate::model::OpenDeadLetter;
use crate::model::json;
use crate::model::{
    Counters, Cursor, DeadLetter, DeadLetterId, DeadLetterStatus, DeadLetterSubject, Event, Key,
    Message, MessageKind, PluginName, Sequence, SinkName, Timestamp, Wait, reserved,
};
use crate::pure::hash::HashMap;
use crate::pure::identity;
use crate::pure::lanes::Lanes;
use crate::pure::monotonic::{Instant, after};
use crate::pure::parking::{Admission, PORTION_BYTES, Parking, Portion, too_many};
use crate::pure::retry::READ_RETRY;
use crate::pure::watermark::Watermark;
use crate::seams::store::{
    MessageLane, Page, ParkedKey, ReadError, RecoveredSink, SinkProgress, Store,
};
use crate::seams::transport::Order;
use crate::stages::reads::{detached, until_durable, until_read};
use crate::stages::sinks::deferred::Deferred;

/// Messages of one sink that are read and not settled. Bounds the sink's cursor, too.
const WINDOW: usize = 16_384;
/// Their bytes in memory, beyond what one read brings: two of the largest leases.
const WINDOW_BYTES: usize = 32 << 20;
/// When they take more than this, a message that must wait for another one of its key does so
/// in the store.
const CROWDED_BYTES: usize = WINDOW_BYTES / 2;
/// How many are read at once, and their bytes beyond the first message.
const READ: Page = Page { rows: 2_048, bytes: 4 << 20 };

/// What leaves one after another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// The messages of one ordering key.
    Key(PluginName, Key),
    /// One message by itself: its place in the outbox.
    Message(u64),
    /// All messages of the sink.
    Whole,
}

impl Lane {
    fn new(order: Order, plugin: &PluginName, key: &Key, sequence: u64) -> Self {
        match order {
            Order::Key => Self::Key(plugin.clone(), key.clone()),
            Order::None => Self::Message(sequence),
            Order::Whole => Self::Whole,
        }
    }
}

/// A message under way.
pub(crate) struct Parcel {
    pub message: Arc<Message>,
    /// Counts from 1; only failures that are the message's own lead to the next.
    pub attempt: u32,
    /// All failures, whoever's they were: the pauses grow with them.
    pub failures: u32,
    /// How often the sink had answered when the message failed last.
    pub failed_at_answer: Option<u64>,
    /// How many messages a lease with this one may have.
    pub lease_max: usize,
    via: Via,
}

impl Parcel {
    fn new(message: Arc<Message>, via: Via) -> Self {
        Self {
            message,
            attempt: 1,
            failures: 0,
            failed_at_answer: None,
            lease_max: usize::MAX,
            via,
        }
    }
}

/// Which bookkeeping a parcel belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Via {
    Outbox,
    /// It was parked, and is taken back.
    Parked,
    /// It is the message of a dead letter, tried again.
    Letter(DeadLetterId),
}

/// What comes to the lanes of a sink from outside its stage's own loop.
enum Errand {
    Resolve(Box<ResolveRequest>),
    Resumed(Box<Resumed>),
    Dropped(LettersDropped),
    /// The letter of a refused command was resolved by its plugin.
    Compensated(Refusal),
}

/// What one turn of a sink's stage brought.
pub(crate) enum Turn<T> {
    Stopped,
    /// What the stage itself waited for.
    Own(T),
    /// It is done.
    Done,
}

/// What a key goes on with.
struct Resumed {
    lane: Lane,
    letter: Option<DeadLetter>,
    rows: Vec<Arc<Message>>,
    /// They were not parked, but deferred.
    deferred: bool,
}

pub(crate) struct SinkLanes {
    pub sink: SinkName,
    pub lanes: Lanes<Lane, Parcel>,
    pub order: Order,
    deferred: Deferred<Lane>,
    /// Of what is in `changes` and not in the lanes.
    changes_bytes: usize,
    parking: Parking<Lane, Parcel>,
    /// With the failures so far, and how often the sink had answered at the last.
    waits: Waits<Lane, (u32, Option<u64>)>,
    wait_in_memory_max: Duration,
    /// Letters that are being redriven.
    redriving: HashMap<DeadLetterId, DeadLetter>,
    requests: mpsc::UnboundedReceiver<ResolveRequest>,
    resumes: FuturesUnordered<BoxFuture<'static, Resumed>>,
    dead_letter_ids: Arc<DeadLetterIds>,
    refusals: Arc<Refusals>,
    compensated: mpsc::UnboundedReceiver<Refusal>,
    reader: OutboxReader,
    watermark: Watermark,
    recovered: Cursor,
    counters: Counters,
    changes: SinkChanges,
    dirty: bool,
    /// Told when what was handed over last is durable.
    becoming_durable: Option<oneshot::Receiver<()>>,
    slot: Arc<Semaphore>,
    work: mpsc::UnboundedSender<Work>,
    /// The committer's way to tell of dead letters that the store rejects.
    dropped: mpsc::UnboundedSender<LettersDropped>,
    dropped_of: mpsc::UnboundedReceiver<LettersDropped>,
    clock: Clock,
}

/// What the lanes of a sink are made of.
pub(crate) struct LanesParts {
    pub recovered: RecoveredSink,
    pub order: Order,
    pub reader: OutboxReader,
    pub requests: mpsc::UnboundedReceiver<ResolveRequest>,
    pub dead_letter_ids: Arc<DeadLetterIds>,
    pub refusals: Arc<Refusals>,
    /// Messages that may wait behind the dead letters of one key.
    pub waiting_max: u64,
    /// A longer pause before the next attempt is a row of the store.
    pub wait_in_memory_max: Duration,
    pub work: mpsc::UnboundedSender<Work>,
    pub clock: Clock,
}

impl SinkLanes {
    pub(crate) fn new(parts: LanesParts) -> Self {
        let LanesParts {
            recovered,
            order,
            mut reader,
            requests,
            dead_letter_ids,
            refusals,
            waiting_max,
            wait_in_memory_max,
            work,
            clock,
        } = parts;
        let progress = recovered.progress;
        reader.place = Sequence(progress.cursor.settled);
        let (dropped, dropped_of) = mpsc::unbounded_channel();
        let mut lanes = Self {
            sink: progress.sink,
            lanes: Lanes::default(),
            order,
            deferred: Deferred::default(),
            changes_bytes: 0,
            parking: Parking::new(waiting_max),
            waits: Waits::default(),
            wait_in_memory_max,
            redriving: HashMap::default(),
            requests,
            resumes: FuturesUnordered::new(),
            dead_letter_ids,
            compensated: refusals.told(&reader.sink),
            refusals,
            reader,
            watermark: Watermark::new(&progress.cursor),
            recovered: progress.cursor,
            counters: progress.counters,
            changes: SinkChanges::default(),
            dirty: false,
            becoming_durable: None,
            slot: Arc::new(Semaphore::new(1)),
            work,
            dropped,
            dropped_of,
            clock,
        };
        lanes.restore(&recovered.parked);
        lanes
    }

    /// Takes up what the last run put aside, perhaps in another order.
    fn restore(&mut self, parked: &[ParkedKey<MessageLane>]) {
        type Aside = (Vec<OpenDeadLetter>, Vec<u64>, Option<Wait>);
        let mut lanes: BTreeMap<Lane, Aside> = BTreeMap::new();
        for ParkedKey { key, letters, waiting, waits } in parked {
            let lane = |place| Lane::new(self.order, &key.plugin, &key.key, place);
            for letter in letters {
                lanes.entry(lane(letter.place)).or_default().0.push(*letter);
            }
            for place in waiting {
                lanes.entry(lane(*place)).or_default().1.push(*place);
            }
            for wait in waits {
                let known = &mut lanes.entry(lane(wait.place)).or_default().2;
                let later = match known {
                    Some(known) if known.place < wait.place => Some(wait.place),
                    _ => known.replace(wait.clone()).map(|known| known.place),
                };
                // A lane waits for its first message alone, since it is one.
                if let Some(place) = later {
                    self.changes.waits.insert(Sequence(place), None);
                }
            }
        }
        let today = (self.clock)();
        for (lane, (letters, waiting, wait)) in lanes {
            let sleeping = wait.as_ref().map(|wait| wait.place);
            self.parking.restore(&lane, &letters, &waiting, sleeping);
            if let Some(wait) = wait {
                self.waits.restore(&lane, &wait, (wait.attempt - 1, None), today);
            }
        }
    }

    /// Takes messages from the outbox into the lanes. True if it took any.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn fill(&mut self) -> Result<bool, ReadError> {
        if !self.has_room() {
            return Ok(false);
        }
        let before = self.reader.place;
        let messages = self.reader.next(READ).await?;
        let mut last = before.0;
        for message in messages {
            self.skip(last + 1, message.sequence.0 - 1);
            last = message.sequence.0;
            if !self.recovered.contains(last) {
                self.take_in(message);
            }
        }
        self.skip(last + 1, self.reader.place.0);
        Ok(self.reader.place > before)
    }

    /// Waits for the next thing to do, and does what every stage of a sink does: hands over what
    /// is settled, sees to an errand, reads on. What `own` resolves to is for the stage.
    pub(crate) async fn turn<T>(
        &mut self,
        own: impl Future<Output = T>,
        sleep: Duration,
        stop: &CancellationToken,
    ) -> Turn<T> {
        let slot = self.slot();
        let (dirty, has_room) = (self.is_dirty(), self.has_room());
        let (tail, place) = self.tail();
        tokio::select! {
            biased;
            () = stop.cancelled() => return Turn::Stopped,
            permit = slot.acquire_owned(), if dirty => {
                if let Ok(permit) = permit {
                    self.hand_over(permit);
                }
            }
            own = own => return Turn::Own(own),
            errand = self.errand() => self.on_errand(errand),
            () = tail.wait(place.0), if has_room => {
                if let Err(error) = self.fill().await {
                    tracing::warn!(sink = %self.sink, %error, "reading the outbox failed; retrying");
                    tokio::time::sleep(READ_RETRY).await;
                }
            }
            () = tokio::time::sleep(sleep) => {}
        }
        Turn::Done
    }

    /// Messages that are read, neither parked nor settled.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.lanes.len() + self.deferred.len()
    }

    fn has_room(&self) -> bool {
        // Behind a dead letter of a sink that keeps its whole order nothing could leave.
        let stands = self.order == Order::Whole && self.parking.contains(&Lane::Whole);
        self.len() < WINDOW && self.reader.bytes.now() < WINDOW_BYTES && !stands
    }

    /// Where `fill` reads from, and from which place on.
    fn tail(&self) -> (Arc<MessageTail>, Sequence) {
        (Arc::clone(&self.reader.tail), self.reader.place)
    }

    fn take_in(&mut self, message: Arc<Message>) {
        let lane = Lane::new(self.order, &message.plugin, &message.key, message.sequence.0);
        match self.deferred.contains(&lane) || self.must_defer(&lane) {
            true => self.deferred.defer(&lane, message.sequence.0),
            false => self.enqueue(&lane, Parcel::new(message, Via::Outbox)),
        }
    }

    /// Behind a dead letter it would be parked, which is durable. In the other orders there is
    /// nothing to gain: a lane has one message, or is the only lane.
    fn must_defer(&self, lane: &Lane) -> bool {
        self.reader.bytes.now() > CROWDED_BYTES
            && self.order == Order::Key
            && self.lanes.contains(lane)
            && !self.parking.contains(lane)
    }

    fn push(&mut self, lane: &Lane, parcel: Parcel) {
        let (sequence, bytes) = (parcel.message.sequence.0, parcel.message.event.bytes());
        if self.lanes.push(lane, sequence, parcel) {
            self.reader.bytes.add(bytes);
        }
    }

    fn enqueue(&mut self, lane: &Lane, parcel: Parcel) {
        let sequence = parcel.message.sequence;
        match self.parking.admit(lane, sequence.0) {
            Admission::Free => self.push(lane, parcel),
            Admission::Park => self.park_message(lane, &parcel.message),
            Admission::Buffer => {
                self.reader.bytes.add(parcel.message.event.bytes());
                self.parking.buffer(lane, parcel);
            }
            Admission::Overflow(first) => {
                let reason = too_many("messages", &parcel.message.key, first);
                let now = (self.clock)();
                self.write_off(lane, parcel, &reason, 0, now);
            }
        }
    }

    /// Sequences that hold nothing.
    fn skip(&mut self, first: u64, last: u64) {
        for sequence in first..=last {
            if !self.recovered.contains(sequence) {
                self.watermark.finish(sequence);
            }
        }
    }

    /// A taken message was delivered.
    pub(crate) fn delivered(&mut self, lane: &Lane, sequence: u64) {
        if let Some(parcel) = self.lanes.finish(lane, sequence) {
            self.reader.bytes.subtract(parcel.message.event.bytes());
            self.counters.handled += 1;
            self.settle(lane, sequence, parcel.via);
            if self.deferred.len() > 0 && !self.lanes.contains(lane) {
                self.deferred.offer(lane);
            }
        }
    }

    /// A message is done with: delivered, parked, dead or dropped.
    fn settle(&mut self, lane: &Lane, sequence: u64, via: Via) {
        self.dirty = true;
        match via {
            Via::Outbox => {
                self.watermark.finish(sequence);
                self.counters.received += 1;
            }
            Via::Parked => {
                self.changes.parked_removed.push(Sequence(sequence));
                self.end_wait(lane, sequence);
                self.parking.unpark(lane, sequence);
            }
            Via::Letter(id) => {
                let Some(mut letter) = self.redriving.remove(&id) else { return };
                letter.status = DeadLetterStatus::Redriven;
                write_dead_letter(&mut self.changes.dead_letters, letter);
                self.end_wait(lane, sequence);
                self.parking.resolve(lane, sequence);
            }
        }
    }

    /// What waits for a time goes on.
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.lanes.wake(now);
        while let Some(lane) = self.waits.wake(now) {
            self.parking.wake(&lane);
        }
        // Here and not while the stage waits: this may leave something to hand over, and a
        // stage that waits does not look again.
        self.read_portions();
    }

    /// When `on_time` has something to do next.
    #[must_use]
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.lanes.next_wake().into_iter().chain(self.waits.next_wake()).min()
    }

    /// A taken message goes back to the front of its lane, and its lane goes on at `until`. If
    /// that is far away, the lane leaves memory and waits in the store; not while another
    /// message of it is under way.
    pub(crate) fn retry(&mut self, lane: &Lane, sequence: u64, until: Instant, reason: &str) {
        let is_soon = until <= after(Instant::now(), self.wait_in_memory_max);
        if is_soon || self.lanes.taken(lane) > 1 {
            return self.lanes.put_back(lane, sequence, until);
        }
        let mut first = None;
        for (order, parcel) in self.lanes.clear(lane) {
            self.reader.bytes.subtract(parcel.message.event.bytes());
            match parcel.via {
                // It stays redriven, and is read again.
                Via::Letter(id) => {
                    self.redriving.remove(&id);
                    self.parking.redrive(lane, order);
                }
                // It still has its row.
                Via::Parked => self.parking.park(lane, order),
                Via::Outbox => self.park_message(lane, &parcel.message),
            }
            first.get_or_insert((order, parcel));
        }
        self.park_deferred(lane);
        let Some((place, first)) = first else { return };
        if let Some(other) = self.waits.place(lane) {
            self.end_wait(lane, other);
        }
        let failures = (first.failures, first.failed_at_answer);
        let (today, attempt) = ((self.clock)(), (place, first.attempt));
        let wait = self.waits.begin(lane, attempt, reason, failures, Some(until), today);
        let of = self.message_lane(&first.message.plugin, &first.message.key);
        self.changes.waits.insert(Sequence(place), Some((of, wait)));
        self.parking.sleep(lane, place);
        self.dirty = true;
    }

    /// What is at this place is settled, or became a letter: its wait is over.
    fn end_wait(&mut self, lane: &Lane, place: u64) {
        if self.waits.end(lane, Some(place)) {
            self.changes.waits.insert(Sequence(place), None);
            self.dirty = true;
        }
    }

    fn message_lane(&self, plugin: &PluginName, key: &Key) -> MessageLane {
        MessageLane { sink: self.sink.clone(), plugin: plugin.clone(), key: key.clone() }
    }

    /// Puts what was read into its lane. What waited goes on with its attempt.
    fn take_back(&mut self, lane: &Lane, message: Arc<Message>, via: Via) {
        let sequence = message.sequence.0;
        let mut parcel = Parcel::new(message, via);
        if let Some((attempt, &mut (failures, failed_at_answer))) = self.waits.of(lane, sequence) {
            parcel = Parcel { attempt, failures, failed_at_answer, ..parcel };
        }
        self.push(lane, parcel);
    }

    fn park_deferred(&mut self, lane: &Lane) {
        if let Lane::Key(plugin, key) = lane {
            for place in self.deferred.remove(lane) {
                self.park_place(lane, (plugin, key), Sequence(place));
            }
        }
    }

    /// A taken message becomes a dead letter; its lane waits behind it. If it was a
    /// command, the instance that sent it is told by an event.
    pub(crate) fn dead_letter(&mut self, lane: &Lane, sequence: u64, reason: &str, now: Timestamp) {
        for (order, parcel) in self.lanes.clear(lane) {
            self.reader.bytes.subtract(parcel.message.event.bytes());
            let failed = order == sequence;
            match parcel.via {
                Via::Letter(id) => {
                    self.reopen(lane, id, failed.then_some((reason, parcel.attempt)), now);
                }
                // It still has its row.
                Via::Parked if !failed => self.parking.park(lane, order),
                Via::Outbox if !failed => self.park_message(lane, &parcel.message),
                _ => {
                    let attempts = parcel.attempt;
                    self.write_off(lane, parcel, reason, attempts, now);
                }
            }
        }
        self.park_deferred(lane);
    }

    fn write_off(
        &mut self,
        lane: &Lane,
        parcel: Parcel,
        reason: &str,
        attempts: u32,
        now: Timestamp,
    ) {
        let Parcel { message, via, .. } = parcel;
        tracing::warn!(
            sink = %self.sink, id = %message.event.id, message_type = %message.event.event_type,
            attempts, %reason, "the message became a dead letter"
        );
        let id = self.dead_letter_ids.next();
        if message.kind == MessageKind::Command {
            let event = undeliverable(&message, id, attempts, reason, now);
            self.changes.reserved.push((event, message.hops.after(1)));
        }
        // The letter has it, and the event that tells of it has it again.
        let bytes = 2 * message.event.bytes();
        self.changes_bytes += bytes;
        self.reader.bytes.add(bytes);
        self.parking.dead_letter(lane, message.sequence.0, id);
        self.refusals.open(id, self.refusal(&message.plugin, &message.key, message.sequence));
        self.settle(lane, message.sequence.0, via);
        self.changes.dead_letters.push(DeadLetter {
            id,
            subject: DeadLetterSubject::Message {
                sink: self.sink.clone(),
                sequence: message.sequence,
                kind: message.kind,
            },
            plugin: message.plugin.clone(),
            key: Some(message.key.clone()),
            position: message.cause,
            reason: reason.to_owned(),
            attempts,
            plugin_version: "".into(),
            at: now,
            status: DeadLetterStatus::Open,
            resolved_by: None,
            resolved_reason: None,
            event: Arc::clone(&message.event),
            hops: message.hops,
            edited: None,
        });
    }

    fn refusal(&self, plugin: &PluginName, key: &Key, sequence: Sequence) -> Refusal {
        Refusal { sink: self.sink.clone(), plugin: plugin.clone(), key: key.clone(), sequence }
    }

    fn reopen(
        &mut self,
        lane: &Lane,
        id: DeadLetterId,
        failed: Option<(&str, u32)>,
        now: Timestamp,
    ) {
        let Some(mut letter) = self.redriving.remove(&id) else { return };
        letter.status = DeadLetterStatus::Open;
        if let Some((reason, attempts)) = failed {
            letter.reason = reason.to_owned();
            letter.attempts += attempts;
            letter.at = now;
        }
        self.end_wait(lane, place_of(&letter));
        self.parking.reopen(lane, place_of(&letter));
        if let Some(key) = &letter.key {
            let sequence = Sequence(place_of(&letter));
            self.refusals.open(id, self.refusal(&letter.plugin, key, sequence));
        }
        write_dead_letter(&mut self.changes.dead_letters, letter);
        self.dirty = true;
    }

    fn park_message(&mut self, lane: &Lane, message: &Message) {
        self.park_place(lane, (&message.plugin, &message.key), message.sequence);
    }

    fn park_place(&mut self, lane: &Lane, of: (&PluginName, &Key), sequence: Sequence) {
        self.changes.parked.push((self.message_lane(of.0, of.1), sequence));
        self.parking.park(lane, sequence.0);
        self.watermark.finish(sequence.0);
        self.counters.received += 1;
        self.dirty = true;
    }

    /// The next thing that an operator asks, or that was read for one.
    async fn errand(&mut self) -> Errand {
        tokio::select! {
            biased;
            Some(resumed) = self.resumes.next(), if !self.resumes.is_empty() => Errand::Resumed(Box::new(resumed)),
            Some(dropped) = self.dropped_of.recv() => Errand::Dropped(dropped),
            Some(refusal) = self.compensated.recv() => Errand::Compensated(refusal),
            Some(request) = self.requests.recv() => Errand::Resolve(Box::new(request)),
            else => std::future::pending().await,
        }
    }

    fn on_errand(&mut self, errand: Errand) {
        match errand {
            Errand::Resumed(resumed) => self.on_resumed(*resumed),
            Errand::Dropped(LettersDropped(letters)) => {
                letters.iter().for_each(|letter| self.drop_letter(letter));
            }
            Errand::Compensated(Refusal { plugin, key, sequence, .. }) => {
                let lane = Lane::new(self.order, &plugin, &key, sequence.0);
                self.parking.resolve(&lane, sequence.0);
            }
            Errand::Resolve(request) => {
                let ResolveRequest { letter, resolution, reply } = *request;
                let outcome = self.resolve(letter, resolution);
                // Whoever asked may have hung up; what was decided holds all the same.
                let _ = reply.send(outcome.map(|()| {
                    let (durable, settled) = oneshot::channel();
                    self.changes.replies.push(durable);
                    settled
                }));
            }
        }
    }

    /// As for events: first what was decided is made durable, then what waits is
    /// read back and goes on.
    fn resolve(
        &mut self,
        mut letter: DeadLetter,
        mut resolution: Resolution,
    ) -> Result<(), ResolveError> {
        let (lane, place, id) = (self.lane_of(&letter), place_of(&letter), letter.id);
        self.parking
            .check(&lane, place, id)
            .map_err(|refusal| ResolveError::refused(&letter, refusal))?;
        if let Action::Redrive { edited: Some(event) } = &mut resolution.action {
            check_edited(&letter, event)?;
        }
        if !self.refusals.take(id) {
            let status = DeadLetterStatus::Compensated.as_str();
            return Err(ResolveError::NotOpen { id: id.0, status });
        }
        let status = match resolution.action {
            Action::Redrive { .. } => {
                self.parking.redrive(&lane, place);
                DeadLetterStatus::Redriving
            }
            Action::Skip => {
                self.parking.resolve(&lane, place);
                self.counters.discarded += 1;
                DeadLetterStatus::Skipped
            }
            Action::Discard => {
                self.counters.discarded += 1;
                let waiting = self.parking.discard(&lane, place);
                self.drop_rows(&lane, waiting);
                DeadLetterStatus::Discarded
            }
        };
        letter.resolved(status, resolution);
        write_dead_letter(&mut self.changes.dead_letters, letter);
        self.dirty = true;
        Ok(())
    }

    fn lane_of(&self, letter: &DeadLetter) -> Lane {
        let key = letter.key.clone().unwrap_or_else(|| "".into());
        Lane::new(self.order, &letter.plugin, &key, place_of(letter))
    }

    /// Lets what waits behind a dead letter go on that the store rejected. Its message is
    /// counted as discarded.
    fn drop_letter(&mut self, letter: &DeadLetter) {
        let lane = self.lane_of(letter);
        self.parking.resolve(&lane, place_of(letter));
        self.refusals.take(letter.id);
        self.counters.discarded += 1;
        self.dirty = true;
    }

    /// Messages that wait behind a discarded letter go with it, in the same commit.
    fn drop_rows(&mut self, lane: &Lane, places: Vec<u64>) {
        places.iter().for_each(|place| self.end_wait(lane, *place));
        self.counters.discarded += places.len() as u64;
        let dropped: BTreeSet<u64> = places.into_iter().collect();
        // What was put aside since the last commit has no row yet.
        self.changes.parked.retain(|(_, sequence)| !dropped.contains(&sequence.0));
        self.changes.parked_removed.extend(dropped.into_iter().map(Sequence));
    }

    /// Reads what may go on, as much of it as there is room for.
    fn read_portions(&mut self) {
        // One at least: else memory that is full of other keys could hold up these for ever.
        while (self.lanes.len() == 0 || self.reader.bytes.now() < WINDOW_BYTES)
            && let Some((key, places)) = self.deferred.next_portion()
        {
            self.resume(Portion { key, letter: None, places }, true, None);
        }
        while let Some(portion) = self.parking.next_portion() {
            let durable = self.when_durable();
            self.resume(portion, false, durable);
        }
    }

    fn resume(
        &mut self,
        portion: Portion<Lane>,
        deferred: bool,
        durable: Option<oneshot::Receiver<()>>,
    ) {
        let (store, sink) = (Arc::clone(&self.reader.store), self.sink.clone());
        self.resumes.push(detached(async move {
            until_durable(durable).await;
            let read = until_read(
                || read_portion(&*store, &sink, &portion),
                |error| tracing::warn!(%sink, %error, "reading parked messages failed; retrying"),
            );
            let (letter, rows) = read.await;
            Resumed { lane: portion.key, letter, rows, deferred }
        }));
    }

    /// Tells when all changes so far are durable; none if they are.
    fn when_durable(&mut self) -> Option<oneshot::Receiver<()>> {
        let handed_over = self.becoming_durable.as_mut();
        let is_durable = handed_over.is_none_or(|durable| durable.try_recv().is_ok());
        if is_durable {
            self.becoming_durable = None;
        }
        if !self.dirty && is_durable {
            return None;
        }
        let (told, durable) = oneshot::channel();
        self.reply_when_durable(told);
        Some(durable)
    }

    fn on_resumed(&mut self, resumed: Resumed) {
        let Resumed { lane, letter, mut rows, deferred } = resumed;
        if deferred {
            self.deferred.end_portion(&lane, rows.iter().map(|message| message.sequence.0));
            for message in rows {
                self.push(&lane, Parcel::new(message, Via::Outbox));
            }
            return;
        }
        let limit = self.parking.limit(&lane);
        let letter = letter.filter(|letter| place_of(letter) < limit);
        rows.retain(|message| message.sequence.0 < limit);
        let places = rows.iter().map(|message| (message.sequence.0, message.event.bytes()));
        let of_letter = letter.as_ref().map(|letter| letter.current().bytes());
        let buffered = self.parking.end_portion(&lane, of_letter, places);
        if let Some(letter) = letter {
            let message = Arc::new(message_of(&self.sink, &letter));
            let via = Via::Letter(letter.id);
            self.redriving.insert(letter.id, letter);
            self.take_back(&lane, message, via);
        }
        for message in rows {
            self.take_back(&lane, message, Via::Parked);
        }
        for parcel in buffered {
            self.reader.bytes.subtract(parcel.message.event.bytes());
            self.enqueue(&lane, parcel);
        }
    }

    /// Tells when everything settled so far is durable.
    pub(crate) fn reply_when_durable(&mut self, reply: oneshot::Sender<()>) {
        self.changes.replies.push(reply);
        self.dirty = true;
    }

    fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// One set of changes may be with the committer's queue at a time.
    fn slot(&self) -> Arc<Semaphore> {
        Arc::clone(&self.slot)
    }

    fn hand_over(&mut self, permit: OwnedSemaphorePermit) {
        let mut changes = std::mem::take(&mut self.changes);
        changes.progress = Some(SinkProgress {
            sink: self.sink.clone(),
            cursor: self.watermark.cursor(),
            counters: self.counters,
        });
        changes.permit = Some(permit);
        let (told, durable) = oneshot::channel();
        changes.replies.push(told);
        self.becoming_durable = Some(durable);
        changes.dropped = Some(self.dropped.clone());
        self.reader.bytes.subtract(std::mem::take(&mut self.changes_bytes));
        self.dirty = false;
        let _ = self.work.send(Work::Sink(Box::new(changes)));
    }

    /// Hands over what is left, at the end.
    pub(crate) async fn flush(&mut self) {
        if self.dirty
            && let Ok(permit) = self.slot().acquire_owned().await
        {
            self.hand_over(permit);
        }
    }
}

/// A message letter's place is its sequence.
fn place_of(letter: &DeadLetter) -> u64 {
    match &letter.subject {
        DeadLetterSubject::Message { sequence, .. } => sequence.0,
        DeadLetterSubject::Event => letter.position.0,
    }
}

fn message_of(sink: &SinkName, letter: &DeadLetter) -> Message {
    let kind = match letter.subject {
        DeadLetterSubject::Message { kind, .. } => kind,
        DeadLetterSubject::Event => MessageKind::Event,
    };
    Message {
        sink: sink.clone(),
        sequence: Sequence(place_of(letter)),
        kind,
        plugin: letter.plugin.clone(),
        key: letter.key.clone().unwrap_or_else(|| "".into()),
        cause: letter.position,
        // Only its first failure is told to its instance.
        instance: None,
        event: Arc::clone(letter.current()),
        hops: letter.hops,
    }
}

/// Its receiver knows it by its id, and its queue or route by its type.
fn check_edited(letter: &DeadLetter, edited: &mut Event) -> Result<(), ResolveError> {
    let original = &letter.event;
    let same = |event: &Event| (event.id.clone(), event.source.clone(), event.event_type.clone());
    if same(edited) != same(original) {
        let reason = format!(
            "its id, source and type must stay `{}`, `{}` and `{}`",
            original.id, original.source, original.event_type
        );
        return Err(ResolveError::Edited { id: letter.id.0, reason });
    }
    keep_reserved(original, edited)
        .map_err(|reason| ResolveError::Edited { id: letter.id.0, reason })
}

/// A portion's letter, and the first of its rows.
async fn read_portion(
    store: &dyn Store,
    sink: &SinkName,
    portion: &Portion<Lane>,
) -> Result<(Option<DeadLetter>, Vec<Arc<Message>>), ReadError> {
    let Portion { letter, places, .. } = portion;
    let missing = |what: &str| Err(ReadError(format!("{what} of {sink} is missing")));
    let letter = match letter {
        Some(id) => match store.read_dead_letter(*id).await? {
            None => return missing("a dead letter"),
            found => found,
        },
        None => None,
    };
    let sequences: Vec<Sequence> = places.iter().copied().map(Sequence).collect();
    if sequences.is_empty() {
        return Ok((letter, Vec::new()));
    }
    let rows = store.read_messages(sink, &sequences, PORTION_BYTES).await?;
    match rows.is_empty() {
        true => missing("a message that waits"),
        false => Ok((letter, rows)),
    }
}

/// The event that tells an instance of a command that could not be delivered.
fn undeliverable(
    message: &Message,
    letter: DeadLetterId,
    attempts: u32,
    reason: &str,
    now: Timestamp,
) -> Event {
    let command = &message.event;
    // By hand: the command's text is put in as it is, whatever its data, and parsed by nobody.
    let mut data = String::with_capacity(reason.len() + command.data.len() + 512);
    for (before, value) in
        [("{\"id\":", &*command.id), (",\"type\":", &command.event_type), (",\"reason\":", reason)]
    {
        data.push_str(before);
        json::write(&mut data, value);
    }
    let _ = write!(data, ",\"attempts\":{attempts},\"command\":");
    data.push_str(&command.to_json());
    data.push('}');
    let mut extensions = vec![
        (reserved::EXTENSION_PLUGIN.to_owned(), message.plugin.as_str().to_owned()),
        (reserved::EXTENSION_INSTANCE.to_owned(), message.key.as_str().to_owned()),
        (reserved::EXTENSION_LETTER.to_owned(), letter.0.to_string()),
    ];
    let started = message.instance.map(|started| started.to_string());
    extensions.extend(started.map(|started| (reserved::EXTENSION_STARTED.to_owned(), started)));
    Event {
        id: identity::undeliverable_event_id(command),
        source: command.source.clone(),
        event_type: reserved::COMMAND_UNDELIVERABLE.to_owned(),
        subject: Some(command.event_type.clone()),
        time: Some(now.to_rfc3339()),
        datacontenttype: None,
        dataschema: None,
        extensions,
        data: data.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Hops, Position};

    #[test]
    fn whatever_a_command_carries_its_undeliverable_event_carries_as_it_was() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for data in [
            r#"{"note":"cut \ud83d"}"#,
            r#"{"\udead":1e400,"price":10.00,"n":1,"n":2}"#,
            "null",
            " [1] ",
            "{broken",
            &deep,
        ] {
            let command = Event {
                id: "m-1".to_owned(),
                source: "/sagabox/p".to_owned(),
                event_type: "Do \"it\"".to_owned(),
                subject: None,
                time: None,
                datacontenttype: Some("application/json".to_owned()),
                dataschema: None,
                extensions: Vec::new(),
                data: data.to_owned().into(),
            };
            let text = command.to_json();
            let message = Message {
                sink: "web".into(),
                sequence: Sequence(1),
                kind: MessageKind::Command,
                plugin: "p".into(),
                key: "k".into(),
                cause: Position(1),
                instance: None,
                event: Arc::new(command.clone()),
                hops: Hops::FIRST,
            };
            let event = undeliverable(
                &message,
                DeadLetterId(1),
                3,
                "no: \u{1b}[31m \u{fffd}\n",
                Timestamp(0),
            );
            let expected = format!(
                r#"{{"id":"m-1","type":"Do \"it\"","reason":"no: \u001b[31m �\n","attempts":3,"command":{text}}}"#
            );
            assert_eq!(event.data, expected);
            assert!(json::check(&event.data).is_ok());
            // The event is embedded in turn: in the log, in letters, in the next message.
            let shown = Event::from_json(event.to_json().as_bytes()).unwrap();
            assert_eq!(shown, event);
            let inner = crate::pure::pointer::find(&shown.data, "/command").unwrap().unwrap();
            assert_eq!(Event::from_json(inner.as_bytes()), Ok(command));
        }
    }
}
