//! Holds: events that wait for a bounded time for an instance that claims one of their keys.
//!
//! A held event reaches every instance that claims one of its keys within that time, also if other
//! instances have decided it: a package that spans two orders must reach the order that is placed
//! last.
//!
//! The time is the log's own. A claim counts if the event that made it was accepted before the
//! deadline, whenever it is decided. A hold ends when the log has reached its deadline and
//! everything before that place is decided. So a plugin that lags, was not served for a while, or
//! is new to an old log decides like one that was always served. If no later event comes, the
//! committer says when everything that was accepted before the deadline is in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::changes::Work;
use crate::model::{Held, Key, LogEntry, PluginName, Position, Subscription, Timestamp};
use crate::pure::hash::HashMap;

use super::routing::Dead;
use super::{Delivery, Dispatcher, Via};

/// What a held event takes of memory beside the event.
const HELD_BYTES: usize = 512;

#[derive(Default)]
pub(super) struct Holds {
    events: BTreeMap<Position, HeldEvent>,
    /// What they take of memory.
    bytes: usize,
    by_key: HashMap<Key, BTreeSet<Position>>,
    deadlines: Deadlines,
    /// Claims by decisions that the last run made ahead of its cursor. Whether they were in time is
    /// known when the log is read that far again.
    claimed_ahead: BTreeMap<Position, Vec<(Position, Key)>>,
    /// The request to the committer that asks how far the log has come.
    check: Option<LogCheck>,
}

struct HeldEvent {
    entry: LogEntry,
    keys: Arc<[Key]>,
    until: Timestamp,
    /// The instances that have got the event.
    reached: Vec<Key>,
    /// The instances that are about to decide it.
    outstanding: BTreeSet<Key>,
    /// The hold ends when the outstanding instances have decided.
    is_over: bool,
}

/// The places at which holds end, also of events that may be held later.
#[derive(Default)]
struct Deadlines {
    open: BTreeSet<(Timestamp, Position)>,
    /// By event: the place before which its hold ends.
    ends: HashMap<Position, Position>,
    /// The same, ordered by these places.
    by_end: BTreeSet<(Position, Position)>,
}

/// A request to the committer: the last position of the log that was accepted before this date.
struct LogCheck {
    date: Timestamp,
    /// Answered with the last position of the log, when everything from before the date is in it.
    head: oneshot::Receiver<Position>,
}

impl Deadlines {
    /// An event was accepted at a date: the holds whose deadline is not later end before this
    /// place.
    fn accepted(&mut self, place: Position, date: Timestamp) {
        let last = (date, Position(u64::MAX));
        while let Some(&due) = self.open.range(..=last).find(|(_, event)| *event < place) {
            self.open.remove(&due);
            let (_, event) = due;
            self.ends.insert(event, place);
            self.by_end.insert((place, event));
        }
    }

    fn forget(&mut self, event: Position, until: Timestamp) {
        self.open.remove(&(until, event));
        if let Some(place) = self.ends.remove(&event) {
            self.by_end.remove(&(place, event));
        }
    }
}

impl Holds {
    /// Notes the deadline of an event that is routed and may be held.
    pub(super) fn watch(&mut self, event: Position, until: Timestamp) {
        self.deadlines.open.insert((until, event));
    }

    /// Forgets an event that is not held.
    pub(super) fn forget(&mut self, event: Position, until: Timestamp) {
        self.deadlines.forget(event, until);
    }

    /// Notes that an event was routed, and when it was accepted.
    pub(super) fn accepted(&mut self, place: Position, date: Timestamp) {
        self.deadlines.accepted(place, date);
    }

    /// Whether it is still to be decided if a claim by this event was in time.
    pub(super) fn is_claimed_ahead(&self, event: Position) -> bool {
        self.claimed_ahead.values().flatten().any(|(position, _)| *position == event)
    }

    /// The instances that may get an event as soon as the log is read that far.
    pub(super) fn claimers_ahead(&self) -> BTreeSet<Key> {
        let claims = self.claimed_ahead.values().flatten();
        claims.map(|(_, instance)| instance.clone()).collect()
    }

    /// When to ask for the log's position again, if no event arrives.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.open.first().map(|(until, _)| *until)
    }

    pub(super) fn is_checking(&self) -> bool {
        self.check.is_some()
    }

    /// The last position of the log, when the committer has answered. Never resolves if the
    /// committer is gone: then the engine ends or recovers.
    pub(super) async fn checked(&mut self) -> Position {
        match &mut self.check {
            // A receiver that has resolved must not be polled again.
            Some(check) if !check.head.is_terminated() => match (&mut check.head).await {
                Ok(head) => head,
                Err(_) => std::future::pending().await,
            },
            Some(_) | None => std::future::pending().await,
        }
    }

    fn insert(&mut self, event: HeldEvent) {
        let position = event.entry.position;
        self.bytes += bytes(&event.entry);
        for key in event.keys.iter() {
            self.by_key.entry(key.clone()).or_default().insert(position);
        }
        self.watch(position, event.until);
        self.events.insert(position, event);
    }

    fn remove(&mut self, position: Position) -> Option<HeldEvent> {
        let event = self.events.remove(&position)?;
        self.bytes -= bytes(&event.entry);
        for key in event.keys.iter() {
            if let Some(positions) = self.by_key.get_mut(key) {
                positions.remove(&position);
                if positions.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        self.forget(position, event.until);
        Some(event)
    }
}

fn bytes(entry: &LogEntry) -> usize {
    HELD_BYTES + entry.event.bytes()
}

/// Whether a claim counts that an event of this date, or an operator, has made.
pub(super) fn in_time(until: Timestamp, claimed_at: Option<Timestamp>) -> bool {
    claimed_at.is_none_or(|date| date < until)
}

impl Dispatcher {
    /// Restores the held events of the last run. The instances that claimed their keys are in
    /// memory; those that have not decided them get them now.
    pub(super) fn restore_holds(&mut self, held: Vec<Held>) {
        let mut by_position: BTreeMap<Position, Vec<Held>> = BTreeMap::new();
        for held in held {
            by_position.entry(held.entry.position).or_default().push(held);
        }
        for rows in by_position.into_values() {
            let Some(first) = rows.first() else { continue };
            let event = HeldEvent {
                entry: first.entry.clone(),
                until: first.until,
                reached: first.reached.clone(),
                outstanding: BTreeSet::new(),
                is_over: false,
                keys: rows.iter().map(|row| row.key.clone()).collect(),
            };
            match first.due.clone() {
                Some(due) => self.restore_over(event, due),
                None => self.restore_open(event),
            }
        }
    }

    fn restore_open(&mut self, event: HeldEvent) {
        let (position, keys) = (event.entry.position, Arc::clone(&event.keys));
        self.holds.insert(event);
        for key in keys.iter() {
            for instance in self.instance_cache.reached_by(key) {
                self.reach_by_earlier_claim(position, &instance);
            }
        }
    }

    fn restore_over(&mut self, event: HeldEvent, due: Vec<Key>) {
        let (position, until) = (event.entry.position, event.until);
        self.holds.insert(event);
        for instance in due {
            self.deliver_held(position, &instance, None);
        }
        self.holds.forget(position, until);
        if let Some(held) = self.holds.events.get_mut(&position) {
            held.is_over = true;
        }
        self.remove_if_over(position);
    }

    /// An instance had claimed a key of an event before the dispatcher read the event. The claim
    /// was made by the last event that the instance decided, and the claimed event is its next.
    pub(super) fn reach_by_earlier_claim(&mut self, position: Position, instance: &Key) {
        match self.instance_cache.get(instance).map(|instance| instance.place) {
            Some(place) if place > self.intake.place() => {
                let claims = self.holds.claimed_ahead.entry(place).or_default();
                claims.push((position, instance.clone()));
            }
            _ => self.reach_or_deliver(position, instance, None),
        }
    }

    /// The log is read up to an event that was accepted at a date: now it is known whether the
    /// claims by that event were in time.
    pub(super) fn decide_claims(&mut self, date: Timestamp) {
        while let Some(entry) = self.holds.claimed_ahead.first_entry()
            && *entry.key() <= self.intake.place()
        {
            for (position, instance) in entry.remove() {
                self.reach_or_deliver(position, &instance, Some(date));
            }
        }
    }

    fn reach_or_deliver(&mut self, position: Position, instance: &Key, at: Option<Timestamp>) {
        match self.flights.contains(position) {
            true => self.reach_in_time(position, instance, at),
            false => self.deliver_held(position, instance, at),
        }
    }

    pub(super) fn hold(
        &mut self,
        entry: LogEntry,
        keys: Arc<[Key]>,
        until: Timestamp,
        reached: Vec<Key>,
    ) {
        let position = entry.position;
        let (outstanding, is_over) = (BTreeSet::new(), false);
        self.holds.insert(HeldEvent { entry, keys, until, reached, outstanding, is_over });
        self.write_held(position);
    }

    /// Whether one more event can be held. If not, and if no instance has it, it becomes a dead letter.
    pub(super) fn has_room_to_hold(&mut self, entry: &LogEntry, is_absent: bool) -> bool {
        let max = self.context.held_bytes_max;
        if self.holds.bytes + bytes(entry) <= max {
            return true;
        }
        let reason = format!(
            "no instance has its key yet, and the events that {} holds have reached {max} bytes",
            self.plugin
        );
        if is_absent {
            self.dead_letter(entry, None, Dead::uncalled(reason, 0));
        } else {
            let position = entry.position;
            self.context.measures.count_not_held(&self.plugin);
            tracing::error!(plugin = %self.plugin, %position, %reason, "an event is not held for further instances");
        }
        false
    }

    /// Holds an event for one of its keys, although its own instances have decided it.
    pub(super) fn hold_again(
        &mut self,
        entry: LogEntry,
        key: &Key,
        until: Timestamp,
        reached: &[Key],
    ) {
        let position = entry.position;
        let Some(held) = self.holds.events.get_mut(&position) else {
            if self.has_room_to_hold(&entry, false) {
                self.hold(entry, [key.clone()].into(), until, reached.to_vec());
            }
            return;
        };
        if !held.keys.contains(key) {
            held.keys = held.keys.iter().chain([key]).cloned().collect();
            self.holds.by_key.entry(key.clone()).or_default().insert(position);
            self.write_held(position);
        }
    }

    /// Delivers the events that are held for a key to the instance that claims it.
    pub(super) fn claim_held(&mut self, key: &Key, instance: &Key, at: Option<Timestamp>) {
        let Some(positions) = self.holds.by_key.get(key) else { return };
        for position in positions.clone() {
            self.deliver_held(position, instance, at);
        }
    }

    fn deliver_held(&mut self, position: Position, instance: &Key, at: Option<Timestamp>) {
        let Some(held) = self.holds.events.get_mut(&position) else { return };
        if held.is_over || !in_time(held.until, at) {
            return;
        }
        if held.reached.contains(instance) || !held.outstanding.insert(instance.clone()) {
            return;
        }
        let Some(Subscription { effect, .. }) =
            self.versions.subscription(&held.entry.event).map(|own| &**own)
        else {
            // The serving version no longer subscribes to the event: the hold runs out.
            held.outstanding.remove(instance);
            return;
        };
        let delivery =
            Delivery::new(held.entry.clone(), *effect, false, Arc::clone(&held.keys), Via::Hold);
        let delivery = Delivery { accepted_at: at, ..delivery };
        self.enqueue(instance, delivery);
    }

    /// Settles the delivery of a held event. The caller counts its outcome.
    pub(super) fn settle_held(&mut self, position: Position, instance: &Key) {
        let Some(held) = self.holds.events.get_mut(&position) else { return };
        held.outstanding.remove(instance);
        if !held.reached.is_empty() {
            // The first instance takes over the count from the hold.
            self.output.count().received += 1;
        }
        held.reached.push(instance.clone());
        self.write_held(position);
        self.remove_if_over(position);
    }

    /// The instance released the key before it decided the event.
    pub(super) fn unreach_held(&mut self, position: Position, instance: &Key) {
        if let Some(held) = self.holds.events.get_mut(&position) {
            held.outstanding.remove(instance);
        }
        self.remove_if_over(position);
    }

    /// Ends the holds whose time is over: everything that was accepted before is decided.
    pub(super) fn end_holds(&mut self) {
        let undecided = self.flights.first();
        let undecided = undecided.unwrap_or_else(|| self.intake.place().next());
        while !self.holds_back()
            && !self.controls.is_paused
            && let Some(&(end, position)) = self.holds.deadlines.by_end.first()
            && end <= undecided
        {
            self.holds.deadlines.by_end.pop_first();
            if let Some(held) = self.holds.events.get_mut(&position) {
                held.is_over = true;
                self.write_held(position);
            }
            self.remove_if_over(position);
        }
    }

    /// Ends a hold that the store cannot write. The event becomes a dead letter if no instance has
    /// got it.
    fn drop_held(&mut self, position: Position, reason: String) {
        let Some(held) = self.holds.remove(position) else { return };
        for key in held.keys.iter() {
            self.output.rows().held.insert((position, key.clone()), None);
        }
        if held.reached.is_empty() {
            self.dead_letter(&held.entry, None, Dead::uncalled(reason, 0));
        } else {
            tracing::error!(plugin = %self.plugin, %position, %reason, "an event is held no longer");
        }
    }

    fn remove_if_over(&mut self, position: Position) {
        let ends = |held: &HeldEvent| held.is_over && held.outstanding.is_empty();
        if !self.holds.events.get(&position).is_some_and(ends) {
            return;
        }
        let Some(held) = self.holds.remove(position) else { return };
        if held.reached.is_empty() {
            self.output.count().ignored_unclaimed += 1;
        }
        for key in held.keys.iter() {
            self.output.rows().held.insert((position, key.clone()), None);
        }
    }

    /// The wall clock has reached a deadline, and no event shows that the log has reached it, too.
    pub(super) fn check_log(&mut self) {
        let date = (self.context.clock)();
        let is_due = self.holds.next_deadline().is_some_and(|until| until <= date);
        if is_due && self.holds.check.is_none() && self.has_decided_all() {
            let (reply, head) = oneshot::channel();
            let _ = self.context.work.send(Work::Head(reply));
            self.holds.check = Some(LogCheck { date, head });
        }
    }

    pub(super) fn on_log_checked(&mut self, head: Position) {
        // If events arrived meanwhile, their dates answer the question; otherwise it is asked
        // again.
        if let Some(LogCheck { date, .. }) = self.holds.check.take()
            && self.intake.place() == head
            && self.has_decided_all()
        {
            self.holds.accepted(head.next(), date);
        }
    }

    fn has_decided_all(&self) -> bool {
        self.flights.is_empty()
            && self.intake.is_empty()
            && self.intake.place().0 == self.context.log.head()
    }

    fn write_held(&mut self, position: Position) {
        let Some(held) = self.holds.events.get(&position) else { return };
        let (keys, is_due) = (Arc::clone(&held.keys), !held.outstanding.is_empty());
        if let Some(reason) = self.reason_not_to_hold(position, &keys) {
            // Instances are about to decide it: the stored row is good enough.
            if !is_due {
                self.drop_held(position, reason);
            }
            return;
        }
        let Some(held) = self.holds.events.get(&position) else { return };
        self.output.add_bytes(held.entry.event.bytes());
        for key in held.keys.iter() {
            let row = Held {
                plugin: PluginName::clone(&self.plugin),
                key: key.clone(),
                entry: held.entry.clone(),
                until: held.until,
                reached: held.reached.clone(),
                due: held.is_over.then(|| held.outstanding.iter().cloned().collect()),
            };
            self.output.rows().held.insert((position, key.clone()), Some(row));
        }
    }
}
