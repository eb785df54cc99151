//! Events that wait for instances to claim their keys, for a bounded time.
//!
//! A held event reaches every instance that claims one of its keys within that
//! time, also if others have it already: a package that spans two orders must
//! reach the order that is placed last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::hash::HashMap;
use crate::model::{Held, Key, LogEntry, PluginName, Position, Subscription, Timestamp};

use super::{Delivery, Dirty, Dispatcher, Via};

#[derive(Default)]
pub(super) struct Holds {
    events: BTreeMap<Position, HeldEvent>,
    by_key: HashMap<Key, BTreeSet<Position>>,
    expiry: BTreeSet<(Timestamp, Position)>,
}

struct HeldEvent {
    entry: LogEntry,
    keys: Arc<[Key]>,
    until: Timestamp,
    /// Instances that have it.
    reached: Vec<Key>,
    /// Instances that are about to decide it.
    outstanding: BTreeSet<Key>,
}

impl Holds {
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.expiry.first().map(|(until, _)| *until)
    }

    fn insert(&mut self, event: HeldEvent) {
        let position = event.entry.position;
        for key in event.keys.iter() {
            self.by_key.entry(key.clone()).or_default().insert(position);
        }
        self.expiry.insert((event.until, position));
        self.events.insert(position, event);
    }

    fn remove(&mut self, position: Position) -> Option<HeldEvent> {
        let event = self.events.remove(&position)?;
        for key in event.keys.iter() {
            if let Some(positions) = self.by_key.get_mut(key) {
                positions.remove(&position);
                if positions.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        self.expiry.remove(&(event.until, position));
        Some(event)
    }
}

impl Dispatcher {
    /// Takes up the held events that the last run left. The instances that claimed
    /// their keys are here; those that have not decided them get them now.
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
                keys: rows.iter().map(|row| row.key.clone()).collect(),
            };
            let position = event.entry.position;
            let keys = Arc::clone(&event.keys);
            self.holds.insert(event);
            for key in keys.iter() {
                for instance in self.residents.reached_by(key) {
                    self.deliver_held(position, &instance);
                }
            }
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
        self.holds.insert(HeldEvent { entry, keys, until, reached, outstanding: BTreeSet::new() });
        self.write_held(position);
    }

    /// An instance claimed a key: it gets what is held for it.
    pub(super) fn claim_held(&mut self, key: &Key, instance: &Key) {
        let Some(positions) = self.holds.by_key.get(key) else { return };
        for position in positions.clone() {
            self.deliver_held(position, instance);
        }
    }

    fn deliver_held(&mut self, position: Position, instance: &Key) {
        let Some(held) = self.holds.events.get_mut(&position) else { return };
        if held.reached.contains(instance) || !held.outstanding.insert(instance.clone()) {
            return;
        }
        let Some(Subscription { effect, .. }) =
            self.subscriptions.get(&held.entry.event.event_type).map(|own| &**own)
        else {
            // The plugin no longer subscribes to what its older version did: the hold runs out.
            held.outstanding.remove(instance);
            return;
        };
        let delivery =
            Delivery::new(held.entry.clone(), *effect, false, Arc::clone(&held.keys), Via::Hold);
        self.enqueue(instance, delivery);
    }

    /// A held event's delivery is settled; its effect is counted by the caller.
    pub(super) fn settle_held(&mut self, position: Position, instance: &Key) {
        let Some(held) = self.holds.events.get_mut(&position) else { return };
        held.outstanding.remove(instance);
        if !held.reached.is_empty() {
            // The first that it reaches takes over the one that was counted when it was held.
            self.counters.received += 1;
        }
        held.reached.push(instance.clone());
        self.write_held(position);
    }

    /// The instance released the key before it came to decide.
    pub(super) fn unreach_held(&mut self, position: Position, instance: &Key) {
        if let Some(held) = self.holds.events.get_mut(&position) {
            held.outstanding.remove(instance);
        }
    }

    pub(super) fn expire_holds(&mut self, now: Timestamp) {
        while let Some(&(until, position)) = self.holds.expiry.first()
            && until <= now
        {
            let Some(held) = self.holds.events.get_mut(&position) else { return };
            if !held.outstanding.is_empty() {
                // Looked at again once those have decided.
                self.holds.expiry.remove(&(until, position));
                held.until = Timestamp(now.0 + 1_000);
                self.holds.expiry.insert((held.until, position));
                continue;
            }
            let Some(held) = self.holds.remove(position) else { return };
            if held.reached.is_empty() {
                self.counters.ignored_unclaimed += 1;
            }
            for key in held.keys.iter() {
                self.changes.held.insert((position, key.clone()), None);
            }
            self.touch(Dirty::Rows);
        }
    }

    fn write_held(&mut self, position: Position) {
        let Some(held) = self.holds.events.get(&position) else { return };
        for key in held.keys.iter() {
            let row = Held {
                plugin: PluginName::clone(&self.plugin),
                key: key.clone(),
                entry: held.entry.clone(),
                until: held.until,
                reached: held.reached.clone(),
            };
            self.changes.held.insert((position, key.clone()), Some(row));
        }
        self.touch(Dirty::Rows);
    }
}
