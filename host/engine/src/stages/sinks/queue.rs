//! The host's own queue of one message type: workers lease messages, then acknowledge them or give
//! them back. Messages that are not settled when their lease expires are leased again. Leases are
//! in memory only: after a restart all messages that were not acknowledged are ready, with the same
//! ids.
//!
//! If a lease of several messages expires, one of them may have crashed the worker, and the queue
//! cannot know which. So it charges none of them with an attempt, and leases them again, half as
//! many at a time. An attempt counts when a message had a lease for itself. So the message that
//! crashes its workers is found in a few steps, and becomes a dead letter alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::changes::measures::SinkMeasures;
use crate::changes::spans::Spans;
use crate::model::{
    Lease, LeaseFilter, LeaseId, LeaseReport, LeaseRequest, Leased, LeasedMessage, Message,
    MessageId, QueueError, QueueStatus, Selection, Sequence, Timestamp,
};
use crate::pure::lease_outcomes::{LeaseOutcome, LeaseOutcomes};
use crate::pure::monotonic::{self, Instant, after};
use crate::pure::retry::{RetryPolicy, mix};
use crate::stages::sinks::lanes::parcel::{Lane, Parcel};
use crate::stages::sinks::lanes::{SinkLanes, Turn};
use crate::stages::sinks::leases::{Leases, OpenLease};
use crate::stages::sinks::spans::report_delivery;

/// The longest wait of the loop, when nothing has a time.
const SLEEP_MAX: Duration = Duration::from_hours(24);
/// The bytes of a lease's messages, beyond the first message: a lease is one answer.
const LEASE_BYTES_MAX: usize = 16 << 20;
/// Requests of one queue that wait for a first message. Each holds a connection.
const WAITING_MAX: usize = 1_000;
/// Longest lease and longest wait that a worker may ask for.
const LEASE_DURATION_MAX: Duration = Duration::from_millis(LeaseRequest::DURATION_MS_MAX);
const WAIT_MAX: Duration = Duration::from_millis(LeaseRequest::WAIT_MS_MAX);

/// What a worker asks of the queue.
pub(crate) enum QueueRequest {
    Lease(LeaseRequest, oneshot::Sender<Result<Lease, QueueError>>),
    /// Answered when the acknowledgement is durable.
    Acknowledge(LeaseId, Selection, oneshot::Sender<Result<(LeaseReport, Durable), QueueError>>),
    GiveBack {
        lease: LeaseId,
        messages: Selection,
        delay: Duration,
        reason: String,
        reply: oneshot::Sender<Result<LeaseReport, QueueError>>,
    },
    Extend(LeaseId, Duration, oneshot::Sender<Result<Timestamp, QueueError>>),
    Status(oneshot::Sender<QueueStatus>),
    /// Asks for leased messages.
    Leases(LeaseQuestion),
}

/// Which leased messages a person asks for: at most `limit` after a sequence, in order.
pub(crate) struct LeaseQuestion {
    pub filter: LeaseFilter,
    pub after: Sequence,
    pub limit: usize,
    pub reply: oneshot::Sender<Vec<LeasedMessage>>,
}

/// Resolves when what was reported is durable; an error if the engine restarted before.
pub(crate) type Durable = oneshot::Receiver<()>;

pub(crate) struct Queue {
    pub lanes: SinkLanes,
    pub clock: Clock,
    pub retry: RetryPolicy,
    /// The message type.
    pub name: String,
    /// The id of the next lease. It is far from those of earlier runs, so that an old one is never
    /// taken for a new one.
    pub next_lease: u64,
    pub measures: Arc<SinkMeasures>,
    pub spans: Spans,
}

/// The first lease id of a run. The first ids are spread over all numbers, because the wall clock
/// may have been set back since the run before.
pub(crate) fn first_lease(now: Timestamp) -> u64 {
    const LEASES_OF_A_RUN: u64 = 1 << 24;
    mix(now.0) / LEASES_OF_A_RUN * LEASES_OF_A_RUN + 1
}

struct State {
    queue: Queue,
    leases: Leases,
    waiting: VecDeque<Waiting>,
    outcomes: LeaseOutcomes,
}

struct Waiting {
    request: LeaseRequest,
    until: Instant,
    reply: oneshot::Sender<Result<Lease, QueueError>>,
}

impl Queue {
    pub(crate) async fn run(
        self,
        mut requests: mpsc::UnboundedReceiver<QueueRequest>,
        stop: CancellationToken,
    ) {
        let mut state = State {
            queue: self,
            leases: Leases::default(),
            waiting: VecDeque::new(),
            outcomes: LeaseOutcomes::default(),
        };
        loop {
            state.follow_controls();
            state.on_time();
            state.serve_waiting();
            let sleep = state.sleep();
            match state.queue.lanes.turn(requests.recv(), sleep, &stop).await {
                Turn::Stopped | Turn::Own(None) => break,
                Turn::Own(Some(request)) => state.on_request(request),
                Turn::Done => {}
            }
        }
        for waiting in state.waiting.drain(..) {
            let _ = waiting.reply.send(Err(QueueError::Stopping));
        }
        state.queue.lanes.flush().await;
    }
}

impl State {
    fn follow_controls(&mut self) {
        if !self.queue.lanes.must_follow_controls() {
            return;
        }
        let leased = self.leases.lanes();
        let under_way: Vec<_> = leased
            .filter_map(|lane| match lane {
                Lane::Key(plugin, key) => {
                    Some(((plugin.clone(), key.clone()), self.queue.name.clone()))
                }
                Lane::Message(_) | Lane::Whole => None,
            })
            .collect();
        self.queue.lanes.follow_controls(Instant::now(), under_way);
    }

    /// Ends the leases of these messages.
    fn end_leases<'a>(&mut self, lanes: impl Iterator<Item = &'a Lane>) {
        let Queue { lanes: of, name, .. } = &mut self.queue;
        lanes.for_each(|lane| of.ended_of(lane, name));
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        self.queue.lanes.on_time(now);
        while let Some((id, lease)) = self.leases.pop_expired(now) {
            let (ids, mut expired): (Vec<_>, Vec<_>) = lease.messages.into_iter().unzip();
            self.outcomes.note(id, ids, LeaseOutcome::Expired);
            self.end_leases(expired.iter().map(|(lane, _)| lane));
            expired.sort_by_key(|(_, sequence)| *sequence);
            self.report(id, &expired, lease.since, Some("its lease expired"));
            match &expired[..] {
                [(lane, sequence)] => {
                    self.failed(lane, *sequence, Duration::ZERO, "its lease expired", now);
                }
                several => self.halve(several, now),
            }
        }
    }

    fn sleep(&self) -> Duration {
        let now = Instant::now();
        let wakes = [
            self.queue.lanes.next_wake(),
            self.leases.next_end(),
            self.waiting.iter().map(|waiting| waiting.until).min(),
        ];
        let next = wakes.into_iter().flatten().min();
        let next = next.map_or(SLEEP_MAX, |at| at.saturating_duration_since(now));
        next.clamp(Duration::from_millis(1), SLEEP_MAX)
    }

    fn on_request(&mut self, request: QueueRequest) {
        let now = Instant::now();
        // The caller may have hung up: then the answer is dropped.
        match request {
            QueueRequest::Lease(request, reply) => {
                if self.waiting.len() >= WAITING_MAX {
                    let _ = reply.send(Err(QueueError::Busy));
                    return;
                }
                let until = after(now, request.wait.min(WAIT_MAX));
                self.waiting.push_back(Waiting { request, until, reply });
            }
            QueueRequest::Acknowledge(lease, messages, reply) => {
                let report = self.acknowledge(lease, &messages);
                let (durable, settled) = oneshot::channel();
                if report.is_ok() {
                    self.queue.lanes.reply_when_durable(durable);
                }
                let _ = reply.send(report.map(|report| (report, settled)));
            }
            QueueRequest::GiveBack { lease, messages, delay, reason, reply } => {
                let since = self.since(lease);
                let taken = self.take_from(lease, &messages, LeaseOutcome::GivenBack);
                let _ = reply.send(taken.map(|(taken, report)| {
                    self.report(lease, &taken, since, Some(&reason));
                    for (lane, sequence) in taken {
                        self.failed(&lane, sequence, delay, &reason, now);
                    }
                    report
                }));
            }
            QueueRequest::Extend(lease, duration, reply) => {
                let _ =
                    reply.send(self.extend(lease, after(now, duration.min(LEASE_DURATION_MAX))));
            }
            QueueRequest::Status(reply) => {
                let _ = reply.send(self.status());
            }
            QueueRequest::Leases(question) => self.list_leases(question),
        }
    }

    fn status(&self) -> QueueStatus {
        let leased = self.leases.messages();
        QueueStatus {
            queue: self.queue.name.clone(),
            ready: self.queue.lanes.len().saturating_sub(leased),
            leased,
            workers: self.leases.workers(),
        }
    }

    fn list_leases(&mut self, question: LeaseQuestion) {
        let LeaseQuestion { filter, after, limit, reply } = question;
        let is_asked = |lease: &OpenLease| {
            filter.worker.is_none() || filter.worker.as_deref() == lease.worker.as_deref()
        };
        let open = self.leases.iter().filter(|(_, lease)| is_asked(lease));
        let of_lease = |(id, lease)| {
            let own = OpenLease::messages_after(lease, after.0);
            own.map(move |(lane, sequence)| (sequence, lane, id, lease))
        };
        let mut places: Vec<_> = open.flat_map(of_lease).collect();
        places.sort_unstable_by_key(|(sequence, ..)| *sequence);
        let (lanes, queue) = (&mut self.queue.lanes.lanes, &self.queue.name);
        let listed = places.into_iter().filter_map(|(sequence, lane, id, lease)| {
            let parcel = lanes.get_mut(lane, sequence)?;
            let Message { plugin, key, .. } = &*parcel.message;
            let is_asked = filter.plugin.as_ref().is_none_or(|asked| asked == plugin)
                && filter.key.as_ref().is_none_or(|asked| asked == key);
            is_asked.then(|| LeasedMessage {
                queue: queue.clone(),
                worker: lease.worker.clone(),
                lease: id,
                leased_at: lease.leased_at,
                ends_at: lease.ends_at,
                leased: Leased { message: Arc::clone(&parcel.message), attempt: parcel.attempt },
            })
        });
        // The caller may have hung up: then the answer is dropped.
        let _ = reply.send(listed.take(limit).collect());
    }

    /// Gives ready messages to the waiting requests, in the order in which they arrived.
    fn serve_waiting(&mut self) {
        let now = Instant::now();
        self.waiting.retain(|waiting| !waiting.reply.is_closed());
        while let Some(waiting) = self.waiting.front() {
            let (request, until) = (waiting.request.clone(), waiting.until);
            let lease = self.lease(&request, now);
            if lease.messages.is_empty() && until > now {
                break;
            }
            let Some(waiting) = self.waiting.pop_front() else { break };
            let id = lease.id;
            if waiting.reply.send(Ok(lease)).is_err()
                && let Some(lease) = self.leases.remove(id)
            {
                let mut taken: Vec<_> = lease.messages.into_values().collect();
                taken.sort_by_key(|(_, sequence)| *sequence);
                self.end_leases(taken.iter().map(|(lane, _)| lane));
                // The worker hung up and never got the messages: no attempt was made.
                for (lane, sequence) in taken {
                    self.queue.lanes.lanes.put_back(&lane, sequence, now);
                }
                self.queue.lanes.lanes.wake(now);
            }
        }
        // The requests behind the first wait as long as it does, but not longer than they asked
        // for.
        let mut kept = VecDeque::with_capacity(self.waiting.len());
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.until > now {
                kept.push_back(waiting);
            } else {
                let empty = self.empty_lease(now);
                let _ = waiting.reply.send(Ok(empty));
            }
        }
        self.waiting = kept;
    }

    fn lease(&mut self, request: &LeaseRequest, now: Instant) -> Lease {
        let mut room = Room::new(request.max.clamp(1, LeaseRequest::MESSAGES_MAX));
        let mut taken = Vec::new();
        let lanes = &mut self.queue.lanes;
        while lanes.lanes.peek().is_some_and(|parcel| room.has_room_for(parcel))
            && let Some((lane, sequence, parcel)) = lanes.take(now)
        {
            taken.push((lane.clone(), sequence, room.add(parcel)));
            while lanes.lanes.peek_next(&lane).is_some_and(|parcel| room.has_room_for(parcel))
                && let Some((sequence, parcel)) = lanes.take_next(&lane, now)
            {
                taken.push((lane.clone(), sequence, room.add(parcel)));
            }
        }
        let expires_at = after(now, request.duration.min(LEASE_DURATION_MAX));
        if taken.is_empty() {
            return self.empty_lease(expires_at);
        }
        taken.sort_by_key(|(_, sequence, _)| *sequence);
        let id = LeaseId(self.queue.next_lease);
        self.queue.next_lease += 1;
        let row = |(lane, sequence, leased): &(Lane, u64, Leased)| {
            (leased.message.id(), (lane.clone(), *sequence))
        };
        let messages = taken.iter().map(row).collect();
        let today = (self.queue.clock)();
        for (.., leased) in taken.iter().filter(|(.., leased)| leased.attempt == 1) {
            self.queue.measures.took(&leased.message, today);
        }
        let ends_at = monotonic::date(expires_at, now, today);
        let lease = OpenLease {
            worker: request.worker.clone(),
            since: now,
            leased_at: today,
            seen_at: today,
            expires_at,
            ends_at,
            messages,
        };
        self.leases.insert(id, lease);
        Lease {
            id,
            expires_at: ends_at,
            messages: taken.into_iter().map(|(.., leased)| leased).collect(),
        }
    }

    fn empty_lease(&self, expires_at: Instant) -> Lease {
        Lease { id: LeaseId(0), expires_at: self.date(expires_at), messages: Vec::new() }
    }

    /// The date for the worker's answer.
    fn date(&self, at: Instant) -> Timestamp {
        monotonic::date(at, Instant::now(), (self.queue.clock)())
    }

    fn acknowledge(
        &mut self,
        id: LeaseId,
        messages: &Selection,
    ) -> Result<LeaseReport, QueueError> {
        let since = self.since(id);
        let (taken, report) = self.take_from(id, messages, LeaseOutcome::Acknowledged)?;
        self.report(id, &taken, since, None);
        for (lane, sequence) in taken {
            self.queue.lanes.delivered(&lane, sequence);
        }
        Ok(report)
    }

    /// When a lease began; now if it has ended.
    fn since(&self, id: LeaseId) -> Instant {
        self.leases.get(id).map_or_else(Instant::now, |lease| lease.since)
    }

    /// Reports the spans of the messages that a worker had, and why it failed.
    fn report(
        &mut self,
        lease: LeaseId,
        taken: &[(Lane, u64)],
        since: Instant,
        failed: Option<&str>,
    ) {
        let Queue { lanes, spans, .. } = &mut self.queue;
        if !spans.is_on() {
            return;
        }
        for (lane, sequence) in taken {
            if let Some(parcel) = lanes.lanes.get_mut(lane, *sequence) {
                report_delivery(spans, &parcel.message, lease.0, since, failed);
            }
        }
    }

    /// Takes messages out of a lease, in order. The lease ends with its last message.
    fn take_from(
        &mut self,
        id: LeaseId,
        messages: &Selection,
        outcome: LeaseOutcome,
    ) -> Result<(Vec<(Lane, u64)>, LeaseReport), QueueError> {
        let Some(lease) = self.leases.touch(id, (self.queue.clock)()) else {
            return Ok((Vec::new(), self.asked_again(id, messages, outcome)?));
        };
        let mut report = LeaseReport::default();
        let (ids, mut taken): (Vec<_>, Vec<_>) = match messages {
            Selection::All => std::mem::take(&mut lease.messages).into_iter().unzip(),
            Selection::Ids(ids) => {
                let mut left = Vec::new();
                let before = self.outcomes.of(id);
                for message in ids {
                    match lease.messages.remove_entry(message) {
                        Some(entry) => left.push(entry),
                        None => match before.and_then(|before| before.get(message)) {
                            Some(earlier) => report.add_earlier(message, *earlier == outcome),
                            None => report.unknown.push(message.clone()),
                        },
                    }
                }
                left.into_iter().unzip()
            }
        };
        taken.sort_by_key(|(_, sequence)| *sequence);
        report.done = taken.len();
        let took = lease.since.elapsed();
        taken.iter().for_each(|_| self.queue.measures.delivery.observe(took));
        self.outcomes.note(id, ids, outcome);
        if lease.messages.is_empty() {
            self.leases.remove(id);
        }
        self.end_leases(taken.iter().map(|(lane, _)| lane));
        Ok((taken, report))
    }

    /// The answer about a lease that has ended: the messages are as the call asks, or how they are.
    fn asked_again(
        &self,
        id: LeaseId,
        messages: &Selection,
        outcome: LeaseOutcome,
    ) -> Result<LeaseReport, QueueError> {
        let ended = self.outcomes.of(id).ok_or(QueueError::NoSuchLease(id.0))?;
        let mut report = LeaseReport::default();
        match messages {
            Selection::All => {
                for (message, earlier) in ended {
                    report.add_earlier(message, *earlier == outcome);
                }
            }
            Selection::Ids(ids) => {
                for message in ids {
                    match ended.get(message) {
                        Some(earlier) => report.add_earlier(message, *earlier == outcome),
                        None => report.unknown.push(message.clone()),
                    }
                }
            }
        }
        match report.otherwise.is_empty() && report.unknown.is_empty() {
            true => Ok(report),
            false => Err(self.ended(id)),
        }
    }

    fn ended(&self, id: LeaseId) -> QueueError {
        let Some(ended) = self.outcomes.of(id) else { return QueueError::NoSuchLease(id.0) };
        let count = |outcome| ended.values().filter(|own| **own == outcome).count();
        QueueError::Ended {
            lease: id.0,
            acknowledged: count(LeaseOutcome::Acknowledged),
            given_back: count(LeaseOutcome::GivenBack),
            expired: count(LeaseOutcome::Expired),
        }
    }

    fn extend(&mut self, id: LeaseId, until: Instant) -> Result<Timestamp, QueueError> {
        let (today, ends_at) = ((self.queue.clock)(), self.date(until));
        match self.leases.extend(id, (until, ends_at), today) {
            true => Ok(ends_at),
            false => Err(self.ended(id)),
        }
    }

    /// A lease of several messages expired: they are leased again, in smaller leases.
    fn halve(&mut self, expired: &[(Lane, u64)], now: Instant) {
        let half = expired.len().div_ceil(2);
        let lanes = &mut self.queue.lanes;
        for (lane, sequence) in expired {
            if let Some(parcel) = lanes.lanes.get_mut(lane, *sequence) {
                parcel.lease_max = parcel.lease_max.min(half);
            }
            lanes.retry(lane, *sequence, now, "its lease expired");
        }
        lanes.on_time(now);
    }

    /// An attempt at a message failed.
    fn failed(&mut self, lane: &Lane, sequence: u64, delay: Duration, reason: &str, now: Instant) {
        let lanes = &mut self.queue.lanes;
        let Some(parcel) = lanes.lanes.get_mut(lane, sequence) else { return };
        if parcel.attempt >= self.queue.retry.attempts_max {
            lanes.dead_letter(lane, sequence, reason, (self.queue.clock)());
        } else {
            parcel.attempt += 1;
            lanes.retry(lane, sequence, after(now, delay), reason);
            lanes.on_time(now);
        }
    }
}

impl LeaseReport {
    /// Reports a message that left the lease before, in the way that the call asks for or in
    /// another.
    fn add_earlier(&mut self, message: &MessageId, is_so: bool) {
        match is_so {
            true => self.already += 1,
            false => self.otherwise.push(message.clone()),
        }
    }
}

/// The room that is left in a lease.
struct Room {
    max: usize,
    messages: usize,
    bytes: usize,
    /// Whether its messages come from expired leases: other messages would be delayed with them.
    is_of_expired: bool,
}

impl Room {
    fn new(max: usize) -> Self {
        Self { max, messages: 0, bytes: 0, is_of_expired: false }
    }

    fn has_room_for(&self, parcel: &Parcel) -> bool {
        let is_of_expired = parcel.lease_max < usize::MAX;
        let fits = self.messages < self.max.min(parcel.lease_max)
            && is_of_expired == self.is_of_expired
            && self.bytes + parcel.message.event.data.len() <= LEASE_BYTES_MAX;
        fits || self.messages == 0
    }

    fn add(&mut self, parcel: &Parcel) -> Leased {
        self.max = self.max.min(parcel.lease_max);
        self.messages += 1;
        self.bytes += parcel.message.event.data.len();
        self.is_of_expired = parcel.lease_max < usize::MAX;
        Leased { message: Arc::clone(&parcel.message), attempt: parcel.attempt }
    }
}
