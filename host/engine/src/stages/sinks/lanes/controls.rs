//! Pauses and limits of a sink, which operators set.
//!
//! While a sink is paused, no delivery begins. Its messages stay in the outbox, and memory has no
//! more of them than of a slow sink. A message of a paused type leaves memory with everything that
//! is behind it in its lane: it is parked, as behind a dead letter, and the other lanes continue.
//!
//! A message that a limit of its type does not admit stays first in its lane, and its lane is set
//! back until the limit admits one more. Lanes get their turns in the order in which they were set
//! back, so none starves.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::changes::backlog::{HeldBack, Holder};
use crate::changes::controls::SinkControls;
use crate::changes::requests::{AttemptReply, SinkWaiting};
use crate::model::{Key, Limit, Message, PluginName, Sequence};
use crate::pure::gate::{Gate, OrderingKey, Start};
use crate::pure::hash::HashMap;
use crate::pure::monotonic::{Instant, after};

use super::parcel::{Lane, Parcel};
use super::{Leaving, SinkLanes};

/// How long a lane waits for a lease that has a message of its key and is about to end.
const SOON: Duration = Duration::from_secs(1);

/// The controls that concern the sink, and the messages that wait because of them.
#[derive(Default)]
pub(super) struct Controlled {
    controls: SinkControls,
    /// The gates of the sink as a whole.
    gates: Vec<Gate>,
    types: HashMap<String, OfType>,
    /// Lanes that left memory because the type of their first message is paused, by that type.
    paused: BTreeMap<String, Vec<Lane>>,
    /// When a gate admits the next message, if one was not admitted.
    next_at: Option<Instant>,
    /// Whether any limit is set: messages are counted only then.
    has_limits: bool,
    /// Callers that wait until the stage follows the controls.
    replies: Vec<oneshot::Sender<()>>,
}

/// The limit of a message type.
#[derive(Default)]
struct OfType {
    gate: Gate,
    /// Lanes that are set back until the gate admits one more.
    set_back: VecDeque<Lane>,
    /// Lanes that have their turn.
    offered: HashSet<Lane>,
    /// Lanes that are set back until a message with the same ordering key has ended.
    by_key: HashMap<OrderingKey, VecDeque<Lane>>,
}

/// What a message of a lane may do.
enum Next {
    Begin,
    /// Its lane is set back.
    Later,
    /// Another message of its key, which is dead or parked meanwhile, is still leased.
    Soon,
    /// No message of the sink may begin.
    Nothing,
    /// Its type is paused.
    Paused(String),
}

fn ordering_key(message: &Message) -> OrderingKey {
    (message.plugin.clone(), message.key.clone())
}

impl SinkLanes {
    pub(super) fn on_controls(&mut self, reply: oneshot::Sender<()>) {
        self.controlled.replies.push(reply);
    }

    /// Whether the stage must call [`Self::follow_controls`].
    pub(crate) fn must_follow_controls(&self) -> bool {
        !self.controlled.replies.is_empty()
    }

    /// Follows the current controls when the stage starts, with no message in progress.
    pub(crate) fn begin_with_controls(&mut self, now: Instant) {
        self.follow_controls(now, []);
        let Controlled { gates, types, .. } = &mut self.controlled;
        let of_types = types.values_mut().map(|of_type| &mut of_type.gate);
        gates.iter_mut().chain(of_types).for_each(|gate| gate.begin_anew(now));
    }

    /// Follows the current controls. `under_way`: the messages that have begun and not ended.
    pub(crate) fn follow_controls(
        &mut self,
        now: Instant,
        under_way: impl IntoIterator<Item = (OrderingKey, String)>,
    ) {
        let controls = self.all_controls.of_sink(&self.sink);
        let before = std::mem::take(&mut self.controlled);
        let gate = |limit: &Limit| {
            let same = before.controls.limits.iter().position(|old| old.target == limit.target);
            Gate::new(limit, same.and_then(|same| before.gates.get(same)), now)
        };
        let mut gates: Vec<Gate> = controls.limits.iter().map(gate).collect();
        let of_type = |(name, limit): (&String, &Limit)| {
            let old = before.types.get(name).map(|of_type| &of_type.gate);
            (name.clone(), OfType { gate: Gate::new(limit, old, now), ..OfType::default() })
        };
        let mut types: HashMap<String, OfType> = controls.type_limits.iter().map(of_type).collect();
        let has_limits = !gates.is_empty() || !types.is_empty();
        if has_limits {
            for (key, message_type) in under_way {
                gates.iter_mut().for_each(|gate| gate.count(&key));
                if let Some(of_type) = types.get_mut(&message_type) {
                    of_type.gate.count(&key);
                }
            }
        }
        // All lanes get their turns by the new limits.
        for OfType { set_back, offered, by_key, .. } in before.types.into_values() {
            let by_key = by_key.into_values().flatten();
            for lane in set_back.into_iter().chain(offered).chain(by_key) {
                self.lanes.offer_again(&lane);
            }
        }
        let mut paused = before.paused;
        let resumed = paused.extract_if(.., |name, _| !controls.paused_types.contains(name));
        for lane in resumed.flat_map(|(_, lanes)| lanes) {
            self.dead_letters.resume(&lane);
        }
        self.controlled =
            Controlled { controls, gates, types, paused, has_limits, ..Controlled::default() };
        self.report_held_back();
        for reply in before.replies {
            // The caller may have hung up.
            let _ = reply.send(());
        }
    }

    /// Whether nothing of the sink may begin.
    pub(crate) fn is_paused(&self) -> bool {
        self.controlled.controls.is_paused
    }

    fn is_controlled(&self) -> bool {
        self.controlled.has_limits || !self.controlled.controls.paused_types.is_empty()
    }

    /// Takes the first message of a lane that is ready and may begin. Lanes take turns.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(Lane, u64, &mut Parcel)> {
        if self.is_paused() {
            return None;
        }
        if !self.is_controlled() {
            return self.lanes.take();
        }
        let (lane, sequence) = self.take_controlled(now)?;
        let parcel = self.lanes.get_mut(&lane, sequence)?;
        Some((lane, sequence, parcel))
    }

    fn take_controlled(&mut self, now: Instant) -> Option<(Lane, u64)> {
        self.controlled.next_at = None;
        loop {
            self.offer_set_back(now);
            let (lane, sequence, parcel) = self.lanes.take()?;
            let message = Arc::clone(&parcel.message);
            match self.controlled.next_of(&message, &lane, now) {
                Next::Begin => {
                    self.controlled.begin(&message, now);
                    return Some((lane, sequence));
                }
                Next::Later => self.lanes.set_back(&lane),
                Next::Soon => {
                    self.lanes.put_back(&lane, sequence, after(now, SOON));
                    // The caller has seen this message already: it looks again.
                    self.controlled.next_at = Some(now + Duration::from_millis(1));
                    return None;
                }
                Next::Nothing => {
                    self.lanes.set_back(&lane);
                    self.lanes.offer_again(&lane);
                    return None;
                }
                Next::Paused(name) => {
                    let why = Leaving { reason: "its message type is paused", until: None };
                    self.dead_letters.pause(&lane);
                    self.leave_memory(&lane, why);
                    self.controlled.paused.entry(name).or_default().push(lane);
                    self.report_held_back();
                }
            }
        }
    }

    /// Takes one message more of a lane from which the caller has taken some, if it may begin.
    pub(crate) fn take_next(&mut self, lane: &Lane, now: Instant) -> Option<(u64, &mut Parcel)> {
        if self.is_controlled() {
            let message = Arc::clone(&self.lanes.peek_next(lane)?.message);
            let paused = &self.controlled.controls.paused_types;
            if paused.contains(&message.event.event_type)
                || self.controlled.start_of(&message, now) != Start::Now
            {
                return None;
            }
            self.controlled.begin(&message, now);
        }
        self.lanes.take_next(lane)
    }

    /// Notes that a taken message has ended, in any way.
    pub(crate) fn ended(&mut self, message: &Message) {
        if self.controlled.has_limits {
            self.ended_key(&ordering_key(message), &message.event.event_type);
        }
    }

    /// The same, by its ordering key and type.
    pub(crate) fn ended_of(&mut self, lane: &Lane, message_type: &str) {
        if self.controlled.has_limits
            && let Lane::Key(plugin, key) = lane
        {
            self.ended_key(&(plugin.clone(), key.clone()), message_type);
        }
    }

    fn ended_key(&mut self, key: &OrderingKey, message_type: &str) {
        self.controlled.gates.iter_mut().for_each(|gate| gate.end(key));
        let Some(of_type) = self.controlled.types.get_mut(message_type) else { return };
        of_type.gate.end(key);
        if let Some(lanes) = of_type.by_key.get_mut(key) {
            let next = lanes.pop_front();
            if lanes.is_empty() {
                of_type.by_key.remove(key);
            }
            if let Some(lane) = next {
                of_type.offered.insert(lane.clone());
                self.lanes.offer_again(&lane);
            }
        }
    }

    /// Gives a turn to lanes that were set back, one for each type whose gate admits one more.
    fn offer_set_back(&mut self, now: Instant) {
        let Controlled { types, next_at, .. } = &mut self.controlled;
        for of_type in types.values_mut().filter(|of_type| !of_type.set_back.is_empty()) {
            of_type.offered.retain(|lane| self.lanes.contains(lane));
            match of_type.gate.admits_any(now) {
                Start::Now if of_type.offered.is_empty() => {
                    while let Some(lane) = of_type.set_back.pop_front() {
                        // A lane may have left memory meanwhile.
                        if self.lanes.contains(&lane) {
                            of_type.offered.insert(lane.clone());
                            self.lanes.offer_again(&lane);
                            break;
                        }
                    }
                }
                Start::At(at) => *next_at = Some(next_at.map_or(at, |next| next.min(at))),
                Start::Now | Start::AfterAnother | Start::AfterItsKey => {}
            }
        }
    }

    /// When a limit admits the next message, if one waits for that.
    pub(super) fn admitted_at(&self) -> Option<Instant> {
        self.controlled.next_at
    }

    /// Reports the messages that wait because of a pause, for the limit at the door.
    pub(super) fn report_held_back(&self) {
        let rows = self.dead_letters.paused_rows() as u64;
        let outbox = || (Arc::clone(&self.reader.tail), self.output.settled());
        let outbox = self.holds_back().then(outbox);
        let holder = Holder::Sink(self.sink.clone());
        self.backlog.hold_back(&holder, HeldBack { rows, outbox });
    }

    /// Whether a pause makes messages wait.
    pub(super) fn holds_back(&self) -> bool {
        self.is_paused() || !self.controlled.paused.is_empty()
    }

    pub(super) fn on_waiting(&self, reply: oneshot::Sender<SinkWaiting>) {
        let (_, place) = self.tail();
        let unread = self.reader.tail.head().saturating_sub(place.0);
        let types = self.controlled.controls.paused_types.iter().map(|name| {
            let lanes = self.controlled.paused.get(name).into_iter().flatten();
            let (mut count, mut first) = (0, None);
            for (place, rows) in lanes.map(|lane| self.dead_letters.waiting(lane)) {
                count += rows;
                first = first.into_iter().chain(place).min();
            }
            (name.clone(), (count, first.map(Sequence)))
        });
        let _ = reply.send(SinkWaiting {
            messages: self.len() as u64 + unread,
            settled: Sequence(self.output.settled()),
            types: types.collect(),
        });
    }

    /// Makes the next attempt due now. The rows of the waits are removed: if the host ends before
    /// the attempt has, its messages begin with their first attempt.
    pub(super) fn on_attempt_now(&mut self, of: Option<&(PluginName, Key)>, reply: AttemptReply) {
        let is_of = |lane: &Lane| match (of, lane) {
            (None, _) => true,
            (Some((plugin, key)), Lane::Key(own, own_key)) => plugin == own && key == own_key,
            (Some(_), Lane::Message(_) | Lane::Whole) => false,
        };
        let today = (self.clock)();
        let mut count = 0;
        for lane in self.dead_letters.waiting_keys().iter().filter(|lane| is_of(lane)) {
            if let Some(wait) = self.dead_letters.attempt_now(lane, today) {
                self.output.end_wait(wait.place);
                count += 1;
            }
        }
        for lane in self.lanes.waiting_keys().iter().filter(|lane| is_of(lane)) {
            count += usize::from(self.lanes.wake_lane(lane));
        }
        self.tries_now |= of.is_none();
        let _ = reply.send((count, self.output.when_durable()));
    }

    /// Whether an operator has asked for an attempt at a sink that is down. Returns true once.
    pub(crate) fn take_try_now(&mut self) -> bool {
        std::mem::take(&mut self.tries_now)
    }
}

impl Controlled {
    /// When a message may begin, by all limits that concern it.
    fn start_of(&self, message: &Message, now: Instant) -> Start {
        if !self.has_limits {
            return Start::Now;
        }
        let key = ordering_key(message);
        let of_type = self.types.get(&message.event.event_type).map(|of_type| &of_type.gate);
        let mut gates = self.gates.iter().chain(of_type);
        let start_of = gates.find_map(|gate| match gate.admits(&key, now) {
            Start::Now => None,
            other => Some(other),
        });
        start_of.unwrap_or(Start::Now)
    }

    fn next_of(&mut self, message: &Message, lane: &Lane, now: Instant) -> Next {
        let name = &message.event.event_type;
        if self.controls.paused_types.contains(name) {
            return Next::Paused(name.clone());
        }
        let key = ordering_key(message);
        for gate in &self.gates {
            match gate.admits(&key, now) {
                Start::Now => {}
                Start::At(at) => {
                    self.next_at = Some(self.next_at.map_or(at, |next| next.min(at)));
                    return Next::Nothing;
                }
                Start::AfterAnother => return Next::Nothing,
                Start::AfterItsKey => return Next::Soon,
            }
        }
        // Lanes that were set back earlier have the first turns; a lane uses its turn for any type.
        let mut has_turn = false;
        for (of, of_type) in &mut self.types {
            has_turn |= of_type.offered.remove(lane) && of == name;
        }
        let Some(of_type) = self.types.get_mut(name) else { return Next::Begin };
        match of_type.gate.admits(&key, now) {
            Start::Now if has_turn || of_type.set_back.is_empty() => Next::Begin,
            Start::AfterItsKey => {
                of_type.by_key.entry(key).or_default().push_back(lane.clone());
                Next::Later
            }
            Start::Now | Start::AfterAnother => {
                of_type.set_back(lane, has_turn);
                Next::Later
            }
            Start::At(at) => {
                self.next_at = Some(self.next_at.map_or(at, |next| next.min(at)));
                of_type.set_back(lane, has_turn);
                Next::Later
            }
        }
    }

    fn begin(&mut self, message: &Message, now: Instant) {
        if !self.has_limits {
            return;
        }
        let key = ordering_key(message);
        self.gates.iter_mut().for_each(|gate| gate.begin(&key, now));
        if let Some(of_type) = self.types.get_mut(&message.event.event_type) {
            of_type.gate.begin(&key, now);
        }
    }
}

impl OfType {
    fn set_back(&mut self, lane: &Lane, had_turn: bool) {
        match had_turn {
            true => self.set_back.push_front(lane.clone()),
            false => self.set_back.push_back(lane.clone()),
        }
    }
}
