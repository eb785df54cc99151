//! Decides which instances get an event, and when the dispatcher can conclude that none does: then
//! the event is ignored and counted, held, or made a dead letter, as the subscription says.
//!
//! An event that is in a lane is checked again when its turn comes, because the instance may have
//! completed, or released the key, or replaced the timer meanwhile. Each delivery is settled once,
//! or taken back if the instance released the key, so that the counters add up (guarantee 7).

use std::sync::Arc;

use tracing::field::display;

use crate::model::{
    Absent, DeadLetter, DeadLetterStatus, DeadLetterSubject, Effect, Instance, InstanceStatus, Key,
    LogEntry, Parked, PluginName, Position, TimerName, Timestamp, TraceContext, reserved,
};
use crate::pure::identity::DecisionIdentity;
use crate::pure::parking::{Admission, too_many};
use crate::seams::handler::Call;

use super::compensating::is_for_another;
use super::flights::{Flight, Reached};
use super::holds::in_time;
use super::instance_cache::InstanceCache;
use super::intake::Interest;
use super::{Delivery, Dispatcher, Via, ending, importing, is_for_instance};

impl Delivery {
    pub(super) fn new(
        entry: LogEntry,
        effect: Effect,
        by_instance: bool,
        keys: Arc<[Key]>,
        via: Via,
    ) -> Self {
        Self {
            entry,
            effect,
            by_instance,
            keys,
            via,
            accepted_at: None,
            attempt: 1,
            troubles: None,
            now: None,
            answers: Vec::new(),
            rounds: 0,
            log: None,
            identity: None,
            traced: None,
        }
    }

    /// The identity of the plugin's decision about it.
    pub(super) fn identity(&mut self, plugin: &PluginName, key: &Key) -> DecisionIdentity {
        let LogEntry { event, hops, .. } = &self.entry;
        let make = || DecisionIdentity::new(plugin, hops.origin(), event, key);
        *self.identity.get_or_insert_with(make)
    }
}

impl Dispatcher {
    pub(super) fn on_entry(&mut self, entry: LogEntry, interest: Interest) {
        let position = entry.position;
        let (subscription, keys) = match interest {
            Interest::Keys(subscription, keys) => (subscription, keys),
            Interest::None => return self.finish(position),
            Interest::Missed => {
                self.output.count().received += 1;
                self.output.count().ignored_missed += 1;
                return self.finish(position);
            }
            Interest::OtherSource => {
                self.output.count().received += 1;
                self.output.count().ignored_source += 1;
                return self.finish(position);
            }
            Interest::NoKey(reason) => {
                self.output.count().received += 1;
                self.dead_letter(&entry, None, Dead::uncalled(reason, 1));
                return self.finish(position);
            }
        };
        let by_instance = is_for_instance(&subscription);
        if keys.is_empty() {
            self.output.count().received += 1;
            self.output.count().ignored_absent += 1;
            return self.finish(position);
        }
        let open =
            self.versions.has_instances() && subscription.effect == Effect::Handle && !by_instance;
        let until = match subscription.absent {
            Absent::Hold(duration) if open => Some(entry.received_at.after(duration)),
            _ => None,
        };
        if let Some(until) = until {
            self.holds.watch(position, until);
        }
        self.flights.insert(entry, subscription, Arc::clone(&keys), open, until);
        if open {
            self.reach_claimers(position, &keys, until.is_some());
        } else {
            for key in keys.iter() {
                self.reach(position, key, None);
            }
            if self.flights.finish_if_settled(position) {
                self.output.cursor_moved();
            }
        }
    }

    /// Delivers an open event to the instances that have its keys already.
    fn reach_claimers(&mut self, position: Position, keys: &[Key], may_be_held: bool) {
        for key in keys {
            for instance in self.instance_cache.reached_by(key) {
                match may_be_held {
                    true => self.reach_by_earlier_claim(position, &instance),
                    false => self.reach_if_in_order(position, &instance),
                }
            }
        }
    }

    /// A claim counts for later events only.
    fn reach_if_in_order(&mut self, position: Position, instance: &Key) {
        let place = self.instance_cache.get(instance).map(|instance| instance.place);
        if place.is_some_and(|place| place < position) {
            self.reach(position, instance, None);
        }
    }

    /// Claims by later events count as well, as long as the event could be held.
    pub(super) fn reach_in_time(
        &mut self,
        position: Position,
        instance: &Key,
        claimed_at: Option<Timestamp>,
    ) {
        if self.flights.until(position).is_some_and(|until| in_time(until, claimed_at)) {
            self.reach(position, instance, claimed_at);
        }
    }

    /// `claimed_at`: the date of the claim by which it reaches the instance, if that is later than
    /// the event.
    fn reach(&mut self, position: Position, key: &Key, claimed_at: Option<Timestamp>) {
        let Some(reached) = self.flights.reach(position, key) else { return };
        let Reached { entry, effect, by_instance, keys } = reached;
        let delivery = Delivery::new(entry, effect, by_instance, keys, Via::Flight);
        let own = delivery.entry.received_at;
        let accepted_at = Some(claimed_at.map_or(own, |claimed_at| claimed_at.max(own)));
        self.enqueue(key, Delivery { accepted_at, ..delivery });
    }

    /// Puts a delivery into its lane or, if its key is parked, behind the dead letter.
    pub(super) fn enqueue(&mut self, key: &Key, delivery: Delivery) {
        let ends = delivery.by_instance
            && ending::is_end(&delivery.entry.event)
            && self
                .instance_cache
                .get(key)
                .is_some_and(|instance| !is_for_another(&delivery.entry.event, instance));
        if ends {
            self.give_up(key, &delivery.entry.event);
        }
        match self.dead_letters.admit(key, delivery.entry.position.0) {
            Admission::Free => self.push(key, delivery),
            // The lane is empty and no dead letter is open: the event comes behind the rows that
            // are being read back.
            _ if ends && !self.is_key_paused(key) => self.dead_letters.buffer(key, delivery),
            Admission::Park => self.park(key, &delivery),
            Admission::Buffer => self.dead_letters.buffer(key, delivery),
            Admission::Overflow(first) => {
                let reason = too_many("events", key, first);
                self.dead_letter(&delivery.entry, Some(key), Dead::uncalled(reason, 0));
                self.settle(key, delivery.entry.position, delivery.via);
            }
        }
    }

    pub(super) fn push(&mut self, key: &Key, delivery: Delivery) {
        let order = delivery.entry.position.0;
        let fresh = self.lanes.push(key, order, delivery);
        assert!(fresh, "an instance gets an event once: {key} at {order}");
    }

    pub(super) fn park(&mut self, key: &Key, delivery: &Delivery) {
        if self.avoids_parking(key, delivery) {
            return;
        }
        let parked =
            Parked { plugin: self.plugin.clone(), key: key.clone(), entry: delivery.entry.clone() };
        let position = delivery.entry.position;
        self.output.add_bytes(delivery.entry.event.bytes());
        self.output.rows().parked.insert((position, key.clone()), Some(parked));
        self.dead_letters.park(key, position.0);
        self.settle(key, position, delivery.via);
    }

    /// An instance claimed a key by an event of this date: open and held events may reach it.
    pub(super) fn on_claim(&mut self, key: &Key, instance: &Key, at: Option<Timestamp>) {
        for position in self.flights.open_at(key) {
            match self.flights.until(position).is_some() {
                true => self.reach_in_time(position, instance, at),
                false => self.reach_if_in_order(position, instance),
            }
        }
        self.claim_held(key, instance, at);
    }

    /// Returns the call for the delivery at the front of a lane; none if it needs none.
    pub(super) fn prepare(&mut self, key: &Key, position: Position) -> Option<Call> {
        if self.avoids_deciding(key, position) {
            return None;
        }
        if self.is_outdated(key, position) {
            let delivery = self.lanes.finish(key, position.0)?;
            self.output.count().ignored_absent += 1;
            self.settle(key, position, delivery.via);
            return None;
        }
        if self.versions.has_instances()
            && let Some(ignored) = self.ignored(key, position)
        {
            if matches!(ignored, Ignored::Absent) {
                self.note_absence(key, position);
            }
            if let Some(reason) = self.failure_of(key, position, &ignored) {
                self.fail_unheard(key, position, &reason);
                return None;
            }
            let delivery = self.lanes.finish(key, position.0)?;
            match ignored {
                Ignored::Absent => self.output.count().ignored_absent += 1,
                Ignored::Started => self.output.count().ignored_started += 1,
                Ignored::Completed => self.output.count().ignored_completed += 1,
                Ignored::Superseded => self.output.count().ignored_superseded += 1,
                Ignored::Released => {
                    self.unreach(key, position, delivery.via);
                    return None;
                }
            }
            self.settle(key, position, delivery.via);
            return None;
        }
        if self.ends(key, position) {
            self.end(key, position);
            return None;
        }
        if self.imports(key, position) {
            self.import(key, position);
            return None;
        }
        if !self.use_slow_answers(key, position) {
            return None;
        }
        self.input(key, position)
    }

    /// The reason for which an instance does not decide an event; none if it does.
    fn ignored(&mut self, key: &Key, position: Position) -> Option<Ignored> {
        let instance = self.instance_cache.get(key).cloned();
        let delivery = self.lanes.get_mut(key, position.0)?;
        let Some(instance) = instance else {
            return (delivery.effect == Effect::Handle).then_some(Ignored::Absent);
        };
        if delivery.by_instance && is_for_another(&delivery.entry.event, &instance) {
            return Some(Ignored::Absent);
        }
        if !instance.status.is_running() && !is_for_completed(&instance, delivery) {
            // It released all keys but its own with the decision that completed it.
            let is_own = delivery.by_instance || delivery.keys.contains(key);
            return Some(if is_own { Ignored::Completed } else { Ignored::Released });
        }
        match delivery.effect {
            Effect::Start => Some(Ignored::Started),
            Effect::StartOrHandle => None,
            Effect::Handle if delivery.by_instance => {
                is_superseded(&self.instance_cache, key, delivery).then_some(Ignored::Superseded)
            }
            Effect::Handle => {
                let claims = self.instance_cache.claims_of(key);
                let has = |named: &Key| {
                    named == key || claims.is_some_and(|claims| claims.contains(named))
                };
                (!delivery.keys.iter().any(has)).then_some(Ignored::Released)
            }
        }
    }

    /// The reason for which an event that no instance gets becomes a dead letter; none if it is
    /// ignored.
    fn failure_of(&mut self, key: &Key, position: Position, ignored: &Ignored) -> Option<String> {
        let delivery = self.lanes.get_mut(key, position.0)?;
        let (via, event) = (delivery.via, Arc::clone(&delivery.entry.event));
        let fails = self.versions.subscription(&event).is_some_and(|s| s.absent == Absent::Fail);
        match (ignored, via) {
            (Ignored::Started | Ignored::Completed, _) if importing::is_import(&event) => {
                Some(format!("the instance is not imported: {key} has an instance already"))
            }
            (Ignored::Absent, _) if fails => Some(format!("no instance has the key {key}")),
            // An open flight concludes by itself, and a held event waits for other instances.
            (Ignored::Released, Via::Parked) if fails => {
                Some(format!("{key} has released the key by which the event came"))
            }
            (Ignored::Released, Via::DeadLetter(_)) => {
                Some(format!("{key} has none of the keys that the event names"))
            }
            _ => None,
        }
    }

    /// The event at the front of a lane is for no instance, and must not be ignored. If it is a
    /// redriven dead letter, that stays; otherwise the event becomes a dead letter behind which
    /// nothing waits.
    fn fail_unheard(&mut self, key: &Key, position: Position, reason: &str) {
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return };
        if let Via::DeadLetter(_) = delivery.via {
            return self.park_behind_dead_letter(key, position, reason, 1);
        }
        let Some(delivery) = self.lanes.finish(key, position.0) else { return };
        self.dead_letter(&delivery.entry, None, Dead::uncalled(reason.to_owned(), 1));
        self.settle(key, position, delivery.via);
    }

    /// Settles a delivery that is decided, ignored, parked or dead. It counts as received now.
    pub(super) fn settle(&mut self, key: &Key, position: Position, via: Via) {
        self.output.settled();
        match via {
            Via::Hold => self.settle_held(position, key),
            Via::Parked | Via::DeadLetter(_) => {
                self.dead_letters.settle(key, position.0, via.item(), &mut self.output);
            }
            Via::Flight => {
                self.output.count().received += 1;
                self.flights.settle(position, key);
            }
        }
    }

    fn unreach(&mut self, key: &Key, position: Position, via: Via) {
        match via {
            Via::Hold => self.unreach_held(position, key),
            // It was counted when it was parked.
            Via::Parked | Via::DeadLetter(_) => {
                self.output.count().ignored_absent += 1;
                self.settle(key, position, via);
            }
            Via::Flight => self.flights.unreach(position, key),
        }
    }

    /// Closes the open flights that no earlier decision can change any more.
    pub(super) fn close(&mut self) {
        while !self.holds_back() && !self.controls.is_paused {
            if !self.dead_letters.is_empty() {
                self.reach_what_waits();
            }
            let Some(flight) = self.flights.close_first() else { return };
            self.conclude(flight);
            self.output.cursor_moved();
        }
    }

    /// The event that starts an instance may be among those that wait: behind a dead letter, for
    /// their next attempt, or because an operator has paused the key. An event that names the key
    /// is put behind it, before the dispatcher concludes that no instance has the key.
    fn reach_what_waits(&mut self) {
        let Some((position, keys)) = self.flights.first_to_close() else { return };
        for key in keys.iter() {
            if self.dead_letters.waits_before(key, position.0) {
                self.reach(position, key, None);
            }
        }
    }

    fn conclude(&mut self, flight: Flight) {
        let is_absent = flight.reached.is_empty();
        let until = flight.until.unwrap_or_default();
        match flight.subscription.absent {
            Absent::Hold(_) => {
                // The events that an instance has decided are on record under its own key, and are
                // found there if another instance claims that key, too (`look_back.rs`).
                let is_on_record = flight.decisions == flight.reached.len()
                    && !self.holds.is_claimed_ahead(flight.entry.position);
                let is_on_record = |key: &&Key| {
                    is_on_record && flight.reached.contains(key) && !self.look_backs.concern(key)
                };
                let keys = flight.keys.iter().filter(|key| !is_on_record(key));
                let keys: Arc<[Key]> = keys.cloned().collect();
                if keys.is_empty() {
                    self.holds.forget(flight.entry.position, until);
                    return;
                }
                if is_absent {
                    self.output.count().received += 1;
                }
                if self.has_room_to_hold(&flight.entry, is_absent) {
                    self.hold(flight.entry, keys, until, flight.reached);
                } else {
                    self.holds.forget(flight.entry.position, until);
                }
            }
            Absent::Ignore if is_absent => {
                self.output.count().received += 1;
                self.output.count().ignored_absent += 1;
            }
            Absent::Fail if is_absent => {
                self.output.count().received += 1;
                let keys: Vec<&str> = flight.keys.iter().map(Key::as_str).collect();
                let reason = format!("no instance has the key {}", keys.join(", "));
                self.dead_letter(&flight.entry, None, Dead::uncalled(reason, 1));
            }
            Absent::Ignore | Absent::Fail => {}
        }
    }

    /// Makes a dead letter, behind which its key waits. The caller settles the delivery.
    pub(super) fn dead_letter(&mut self, entry: &LogEntry, key: Option<&Key>, dead: Dead) {
        let Dead { reason, attempts, log } = dead;
        let Some(reason) = self.dead_letter_reason(entry.position, key, reason) else { return };
        let trace_id = TraceContext::of_sampled(&entry.event).map(|found| display(found.trace));
        tracing::warn!(
            plugin = %self.plugin, position = %entry.position, key = key.map(Key::as_str),
            attempts, %reason, trace_id, "the event became a dead letter"
        );
        self.context.measures.count_dead_letter(&self.plugin, None, &reason);
        let id = self.context.dead_letter_ids.next();
        if let Some(key) = key {
            self.dead_letters.open(key, entry.position.0, id);
        }
        self.output.add_bytes(entry.event.bytes());
        self.output.rows().dead_letters.push(DeadLetter {
            id,
            subject: DeadLetterSubject::Event,
            plugin: self.plugin.clone(),
            key: key.cloned(),
            position: entry.position,
            reason,
            log,
            attempts,
            plugin_version: self.versions.version_for(key),
            at: (self.context.clock)(),
            status: DeadLetterStatus::Open,
            resolved_by: None,
            resolved_reason: None,
            event: Arc::clone(&entry.event),
            hops: entry.hops,
            edited: None,
            batch: None,
        });
    }
}

/// Why an event becomes a dead letter.
pub(super) struct Dead {
    pub(super) reason: String,
    /// How many attempts failed.
    pub(super) attempts: u32,
    /// What the plugin logged in the last call.
    pub(super) log: Option<Arc<str>>,
}

impl Dead {
    /// No call of the plugin is why.
    pub(super) fn uncalled(reason: String, attempts: u32) -> Self {
        Self { reason, attempts, log: None }
    }
}

enum Ignored {
    Absent,
    Started,
    Completed,
    Superseded,
    /// The instance released the key while the event was in its lane: the event counts as if it had
    /// never reached the instance.
    Released,
}

/// Whether an instance still gets an event after it completed.
fn is_for_completed(instance: &Instance, delivery: &Delivery) -> bool {
    instance.status == InstanceStatus::Completed
        && delivery.by_instance
        && match delivery.entry.event.event_type.as_str() {
            // A command that the instance sent cannot be delivered: the plugin may compensate, and
            // its decision says whether the instance runs again.
            reserved::COMMAND_UNDELIVERABLE => true,
            // The operator asked while it ran, and the host answered that it ends: no later event
            // may reopen it.
            reserved::INSTANCE_ENDED => true,
            _ => false,
        }
}

/// Whether the event is a timer that an earlier decision replaced or cancelled.
fn is_superseded(instance_cache: &InstanceCache, instance: &Key, delivery: &Delivery) -> bool {
    let event = &delivery.entry.event;
    if event.event_type != reserved::TIMER_FIRED {
        return false;
    }
    let set_by = event.extension(reserved::EXTENSION_SET_BY).and_then(|text| text.parse().ok());
    let name = event.subject.as_deref().map(TimerName::from);
    let timer = name.and_then(|name| instance_cache.timer(instance, &name));
    timer.map(|timer| timer.set_by.0) != set_by
}
