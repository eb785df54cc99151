//! What relays and queues share: the messages of a sink in lanes by ordering key, and the
//! bookkeeping of what is settled. A message that cannot be delivered delays only its own key,
//! which waits behind its dead letter.
//!
//! The memory of a sink is bounded in bytes: the tail of its outbox, its lanes, and the changes
//! that wait for a commit. All other messages stay in the store, and are read back in order.
//!
//! The dead letter of a command and the event that notifies its instance are in one commit. The
//! outbox is read from the sink's cursor on, so a message is delivered again if a crash comes
//! before the commit that settles it.

mod controls;
mod dead_letters;
mod deferred;
mod hand_over;
pub(crate) mod parcel;
mod undeliverable;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::field::display;

use crate::Clock;
use crate::changes::Work;
use crate::changes::backlog::Backlog;
use crate::changes::compensation::{Refusal, Refusals};
use crate::changes::controls::Controls;
use crate::changes::measures::Measures;
use crate::changes::outbox::{MessageTail, OutboxReader};
use crate::changes::rejection::DeadLettersDropped;
use crate::changes::requests::SinkRequest;
use crate::changes::resolve::{DeadLetterIds, ResolveRequest};
use crate::model::{
    Cursor, DeadLetter, DeadLetterStatus, DeadLetterSubject, Key, Message, MessageKind,
    OpenDeadLetter, PluginName, Sequence, SinkName, Timestamp, TraceContext, Wait,
};
use crate::pure::dead_letters::{DeadLetters, Failing, LaneItem, Left, Postponed};
use crate::pure::lanes::Lanes;
use crate::pure::monotonic::{Instant, after};
use crate::pure::parking::{Admission, too_many};
use crate::pure::retry::READ_RETRY;
use crate::seams::store::{MessageLane, Page, ParkedKey, ReadError, RecoveredSink};
use crate::seams::transport::Order;

use controls::Controlled;
use dead_letters::Resumed;
use deferred::Deferred;
use hand_over::HandOver;
use parcel::{Lane, Parcel};
use undeliverable::undeliverable;

/// Messages of one sink that are read and not settled. Bounds the sink's cursor, too.
const WINDOW: usize = 16_384;
/// Their bytes in memory, beyond those of one read: two of the largest leases.
const WINDOW_BYTES: usize = 32 << 20;
/// When they take more than this, a message that must wait for another one of its key waits in the
/// store.
const CROWDED_BYTES: usize = WINDOW_BYTES / 2;
/// The rows of one read, and their bytes beyond the first message.
const READ: Page = Page { rows: 2_048, bytes: 4 << 20 };

/// What a sink's lanes receive from outside the stage's own loop.
enum Errand {
    Request(SinkRequest),
    Resumed(Box<Resumed>),
    Dropped(DeadLettersDropped),
    /// The plugin resolved the dead letter of its refused command.
    Compensated(Refusal),
}

/// The result of one turn of a sink's stage.
pub(crate) enum Turn<T> {
    Stopped,
    /// What the stage itself waited for.
    Own(T),
    /// The turn is done.
    Done,
}

pub(crate) struct SinkLanes {
    pub sink: SinkName,
    pub lanes: Lanes<Lane, Parcel>,
    pub order: Order,
    deferred: Deferred<Lane>,
    /// With the failures so far, and the number of answers of the sink at the last failure.
    dead_letters: DeadLetters<Lane, Parcel, (u32, Option<u64>)>,
    wait_in_memory_max: Duration,
    requests: mpsc::UnboundedReceiver<SinkRequest>,
    resumes: FuturesUnordered<BoxFuture<'static, Resumed>>,
    dead_letter_ids: Arc<DeadLetterIds>,
    compensated: mpsc::UnboundedReceiver<Refusal>,
    reader: OutboxReader,
    recovered: Cursor,
    output: HandOver,
    /// The dead letters that the store rejects, as the committer reports them.
    dropped: mpsc::UnboundedReceiver<DeadLettersDropped>,
    clock: Clock,
    all_controls: Arc<Controls>,
    backlog: Arc<Backlog>,
    controlled: Controlled,
    /// Whether an operator has asked for an attempt at a sink that is down.
    tries_now: bool,
    measures: Arc<Measures>,
}

/// Why a lane leaves memory.
struct Leaving<'a> {
    reason: &'a str,
    /// When its first message is attempted next; none: as soon as the lane continues.
    until: Option<Instant>,
}

/// The parts of which the lanes of a sink are made.
pub(crate) struct LanesParts {
    pub recovered: RecoveredSink,
    pub order: Order,
    pub reader: OutboxReader,
    pub requests: mpsc::UnboundedReceiver<SinkRequest>,
    pub dead_letter_ids: Arc<DeadLetterIds>,
    pub refusals: Arc<Refusals>,
    /// Messages that may wait behind the dead letters of one key.
    pub waiting_max: u64,
    /// The longest pause before the next attempt that is kept in memory; a longer one is a row of
    /// the store.
    pub wait_in_memory_max: Duration,
    pub work: mpsc::UnboundedSender<Work>,
    pub clock: Clock,
    pub controls: Arc<Controls>,
    pub backlog: Arc<Backlog>,
    pub measures: Arc<Measures>,
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
            controls,
            backlog,
            measures,
        } = parts;
        let progress = recovered.progress;
        reader.place = Sequence(progress.cursor.settled);
        let (dropped, dropped_of) = mpsc::unbounded_channel();
        let mut lanes = Self {
            sink: progress.sink.clone(),
            lanes: Lanes::default(),
            order,
            deferred: Deferred::default(),
            dead_letters: DeadLetters::new(waiting_max),
            wait_in_memory_max,
            requests,
            resumes: FuturesUnordered::new(),
            dead_letter_ids,
            compensated: refusals.receiver(&reader.sink),
            output: HandOver::new(&progress, refusals, work, dropped),
            reader,
            recovered: progress.cursor,
            dropped: dropped_of,
            clock,
            all_controls: controls,
            backlog,
            controlled: Controlled::default(),
            tries_now: false,
            measures,
        };
        lanes.restore(&recovered.parked);
        lanes
    }

    /// Restores what the last run parked, perhaps in another order.
    fn restore(&mut self, parked: &[ParkedKey<MessageLane>]) {
        type Aside = (Vec<OpenDeadLetter>, Vec<u64>, Option<Wait>);
        let mut lanes: BTreeMap<Lane, Aside> = BTreeMap::new();
        for ParkedKey { key, dead_letters, waiting, waits } in parked {
            let lane = |place| Lane::new(self.order, &key.plugin, &key.key, place);
            for dead_letter in dead_letters {
                lanes.entry(lane(dead_letter.place)).or_default().0.push(*dead_letter);
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
                // A lane waits for its first message alone.
                if let Some(place) = later {
                    self.output.end_wait(place);
                }
            }
        }
        let today = (self.clock)();
        for (lane, (dead_letters, waiting, wait)) in lanes {
            let wait = wait.as_ref().map(|wait| (wait, (wait.attempt - 1, None)));
            self.dead_letters.restore(&lane, &dead_letters, &waiting, wait, today);
        }
    }

    /// Takes messages from the outbox into the lanes.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn fill(&mut self) -> Result<(), ReadError> {
        if !self.has_room() {
            return Ok(());
        }
        let mut last = self.reader.place.0;
        let messages = self.reader.next(READ).await?;
        for message in messages {
            self.skip(last + 1, message.sequence.0 - 1);
            last = message.sequence.0;
            if !self.recovered.contains(last) {
                self.take_in(message);
            }
        }
        self.skip(last + 1, self.reader.place.0);
        Ok(())
    }

    /// Waits for the next thing to do, and does what every stage of a sink does: hands over the
    /// changes, handles an errand, reads on. The result of `own` is for the stage.
    pub(crate) async fn turn<T>(
        &mut self,
        own: impl Future<Output = T>,
        sleep: Duration,
        stop: &CancellationToken,
    ) -> Turn<T> {
        let slot = self.output.slot();
        let (dirty, has_room) = (self.output.is_dirty(), self.has_room());
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

    /// Messages that are read, and neither parked nor settled.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.lanes.len() + self.deferred.len()
    }

    fn has_room(&self) -> bool {
        // Behind a dead letter of a sink that keeps its whole order, nothing could leave.
        let stands = self.order == Order::Whole && self.dead_letters.contains(&Lane::Whole);
        self.len() < WINDOW && self.reader.bytes.now() < WINDOW_BYTES && !stands
    }

    /// The tail from which `fill` reads, and the place from which on.
    fn tail(&self) -> (Arc<MessageTail>, Sequence) {
        (Arc::clone(&self.reader.tail), self.reader.place)
    }

    fn take_in(&mut self, message: Arc<Message>) {
        let lane = Lane::new(self.order, &message.plugin, &message.key, message.sequence.0);
        match self.deferred.contains(&lane) || self.must_defer(&lane) {
            true => self.deferred.defer(&lane, message.sequence.0),
            false => self.enqueue(&lane, Parcel::new(message, LaneItem::Fresh)),
        }
    }

    /// A message behind a dead letter is parked, which is durable. In the other orders deferring
    /// gains nothing: a lane has one message, or is the only lane.
    fn must_defer(&self, lane: &Lane) -> bool {
        self.reader.bytes.now() > CROWDED_BYTES
            && self.order == Order::Key
            && self.lanes.contains(lane)
            && !self.dead_letters.contains(lane)
    }

    fn push(&mut self, lane: &Lane, parcel: Parcel) {
        let (sequence, bytes) = (parcel.message.sequence.0, parcel.message.event.bytes());
        if self.lanes.push(lane, sequence, parcel) {
            self.reader.bytes.add(bytes);
        }
    }

    fn enqueue(&mut self, lane: &Lane, parcel: Parcel) {
        let sequence = parcel.message.sequence;
        match self.dead_letters.admit(lane, sequence.0) {
            Admission::Free => self.push(lane, parcel),
            Admission::Park => self.park_message(lane, &parcel.message),
            Admission::Buffer => {
                self.reader.bytes.add(parcel.message.event.bytes());
                self.dead_letters.buffer(lane, parcel);
            }
            Admission::Overflow(first) => {
                let reason = too_many("messages", &parcel.message.key, first);
                let now = (self.clock)();
                self.write_off(lane, parcel, &reason, 0, now);
            }
        }
    }

    /// Skips sequences that hold nothing.
    fn skip(&mut self, first: u64, last: u64) {
        for sequence in first..=last {
            if !self.recovered.contains(sequence) {
                self.output.skip(sequence);
            }
        }
    }

    /// Notes that a taken message was delivered.
    pub(crate) fn delivered(&mut self, lane: &Lane, sequence: u64) {
        if let Some(parcel) = self.lanes.finish(lane, sequence) {
            self.reader.bytes.subtract(parcel.message.event.bytes());
            self.output.count().handled += 1;
            self.settle(lane, sequence, parcel.item);
            if self.deferred.len() > 0 && !self.lanes.contains(lane) {
                self.deferred.offer(lane);
            }
        }
    }

    /// Settles a message that is delivered, parked, dead or dropped.
    fn settle(&mut self, lane: &Lane, sequence: u64, item: LaneItem) {
        match item {
            LaneItem::Fresh => self.output.received(sequence),
            LaneItem::Parked | LaneItem::DeadLetter(_) => {
                self.dead_letters.settle(lane, sequence, item, &mut self.output);
            }
        }
    }

    /// Continues what waits for a time.
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.lanes.wake(now);
        self.dead_letters.wake(now);
        // Done here and not while the stage waits: this may leave changes to hand over, and a stage
        // that waits does not look again.
        self.read_portions();
    }

    /// When `on_time` must be called next.
    #[must_use]
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let now = Instant::now();
        let admitted = self.admitted_at().filter(|at| *at > now);
        let lanes = self.lanes.next_wake().into_iter().chain(self.dead_letters.next_wake());
        lanes.chain(admitted).min()
    }

    /// Puts a taken message back at the front of its lane, and lets the lane continue at `until`.
    /// If that is far away, the lane leaves memory and waits in the store; not while another
    /// message of it is in progress.
    pub(crate) fn retry(&mut self, lane: &Lane, sequence: u64, until: Instant, reason: &str) {
        let is_soon = until <= after(Instant::now(), self.wait_in_memory_max);
        if is_soon || self.lanes.taken(lane) > 1 {
            return self.lanes.put_back(lane, sequence, until);
        }
        self.leave_memory(lane, Leaving { reason, until: Some(until) });
    }

    /// Removes a lane from memory: all of its messages are parked. Messages that have begun with
    /// their attempts continue with them.
    fn leave_memory(&mut self, lane: &Lane, leaving: Leaving) {
        let mut first = None;
        for (order, parcel) in self.lanes.clear(lane) {
            self.reader.bytes.subtract(parcel.message.event.bytes());
            if self.dead_letters.leave(lane, order, parcel.item) == Left::ToPark {
                self.park_message(lane, &parcel.message);
            }
            first.get_or_insert((order, parcel));
        }
        self.park_deferred(lane);
        let Some((place, first)) = first else { return };
        if leaving.until.is_none() && first.failures == 0 {
            return;
        }
        let next = Postponed {
            attempt: first.attempt,
            reason: leaving.reason,
            memo: (first.failures, first.failed_at_answer),
            until: leaving.until.or_else(|| Some(Instant::now())),
            today: (self.clock)(),
        };
        if let Some(wait) = self.dead_letters.sleep(lane, place, next, &mut self.output) {
            self.output.begin_wait(&first.message.plugin, &first.message.key, wait);
        }
    }

    /// Puts a message that was read back into its lane. If it waited, it continues with its
    /// attempt.
    fn take_back(&mut self, lane: &Lane, message: Arc<Message>, item: LaneItem) {
        let sequence = message.sequence.0;
        let mut parcel = Parcel::new(message, item);
        let waited = self.dead_letters.attempt(lane, sequence);
        if let Some((attempt, &mut (failures, failed_at_answer))) = waited {
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

    /// Makes a taken message a dead letter, behind which its lane waits. If it was a command, an
    /// event notifies the instance that sent it.
    pub(crate) fn dead_letter(&mut self, lane: &Lane, sequence: u64, reason: &str, now: Timestamp) {
        let (attempts, plugin_version) = (0, "".into());
        let mut failing = Failing { reason, attempts, plugin_version, at: now, log: None };
        for (order, parcel) in self.lanes.clear(lane) {
            self.reader.bytes.subtract(parcel.message.event.bytes());
            failing.attempts = parcel.attempt;
            let failed = (order == sequence).then_some(&failing);
            match self.dead_letters.fail(lane, order, parcel.item, failed, &mut self.output) {
                Left::Nothing => {}
                Left::ToPark => self.park_message(lane, &parcel.message),
                Left::ToDeadLetter => {
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
        let Parcel { message, item, .. } = parcel;
        let trace_id = TraceContext::of_sampled(&message.event).map(|found| display(found.trace));
        tracing::warn!(
            sink = %self.sink, id = %message.event.id, message_type = %message.event.event_type,
            attempts, %reason, trace_id, "the message became a dead letter"
        );
        self.measures.count_dead_letter(&message.plugin, Some(&self.sink), reason);
        let id = self.dead_letter_ids.next();
        if message.kind == MessageKind::Command {
            let event = undeliverable(&message, id, attempts, reason, now);
            self.output.append_event(event, message.hops.after(1));
        }
        self.dead_letters.open(lane, message.sequence.0, id);
        self.settle(lane, message.sequence.0, item);
        // The dead letter has the event, and the event that notifies the instance has it again.
        self.reader.bytes.add(2 * message.event.bytes());
        self.output.open(DeadLetter {
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
            log: None,
            attempts,
            plugin_version: "".into(),
            at: now,
            status: DeadLetterStatus::Open,
            resolved_by: None,
            resolved_reason: None,
            event: Arc::clone(&message.event),
            hops: message.hops,
            edited: None,
            batch: None,
        });
    }

    fn park_message(&mut self, lane: &Lane, message: &Message) {
        self.park_place(lane, (&message.plugin, &message.key), message.sequence);
    }

    fn park_place(&mut self, lane: &Lane, of: (&PluginName, &Key), sequence: Sequence) {
        self.output.park(of.0, of.1, sequence);
        self.dead_letters.park(lane, sequence.0);
    }

    /// The next request of an operator, or the rows that were read for one.
    async fn errand(&mut self) -> Errand {
        tokio::select! {
            biased;
            Some(resumed) = self.resumes.next(), if !self.resumes.is_empty() => Errand::Resumed(Box::new(resumed)),
            Some(dropped) = self.dropped.recv() => Errand::Dropped(dropped),
            Some(refusal) = self.compensated.recv() => Errand::Compensated(refusal),
            Some(request) = self.requests.recv() => Errand::Request(request),
            else => std::future::pending().await,
        }
    }

    fn on_errand(&mut self, errand: Errand) {
        match errand {
            Errand::Resumed(resumed) => self.on_resumed(*resumed),
            Errand::Dropped(DeadLettersDropped(dead_letters)) => {
                dead_letters.iter().for_each(|dead_letter| self.drop_dead_letter(dead_letter));
            }
            Errand::Compensated(Refusal { plugin, key, sequence, .. }) => {
                let lane = Lane::new(self.order, &plugin, &key, sequence.0);
                self.dead_letters.remove(&lane, sequence.0);
            }
            Errand::Request(request) => self.on_request(request),
        }
    }

    fn on_request(&mut self, request: SinkRequest) {
        match request {
            SinkRequest::Resolve(request) => {
                let ResolveRequest { dead_letter, resolution, reply } = *request;
                let outcome = self.resolve(dead_letter, resolution);
                // The caller may have hung up. The action holds all the same.
                let _ = reply.send(outcome.map(|()| self.output.when_durable()));
            }
            SinkRequest::Controls(reply) => self.on_controls(reply),
            SinkRequest::Waiting(reply) => self.on_waiting(reply),
            SinkRequest::AttemptNow(of, reply) => self.on_attempt_now(of.as_ref(), reply),
        }
    }

    /// Answers when everything settled so far is durable.
    pub(crate) fn reply_when_durable(&mut self, reply: oneshot::Sender<()>) {
        self.output.reply_when_durable(reply);
    }

    fn hand_over(&mut self, permit: OwnedSemaphorePermit) {
        let bytes = self.output.send(permit);
        self.reader.bytes.subtract(bytes);
        if self.holds_back() {
            self.report_held_back();
        }
    }

    /// Hands over the last changes, when the stage ends.
    pub(crate) async fn flush(&mut self) {
        if self.output.is_dirty()
            && let Ok(permit) = self.output.slot().acquire_owned().await
        {
            self.hand_over(permit);
        }
    }
}
