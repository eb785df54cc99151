//! Pure: the events that are routed and not settled, and the cursor that follows from them.
//!
//! A flight is settled when no delivery of it is outstanding and no instance can claim it any more.
//! An *open* flight may still be claimed, because an earlier event is not decided. It closes when
//! it is the earliest flight and all instances that it reached have decided.
//!
//! The cursor names the events that are settled, also out of order. Of the other flights, the store
//! has the instances that have decided: after a restart they do not decide again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Cursor, Effect, Key, LogEntry, Position, Subscription, Timestamp};
use crate::pure::hash::HashMap;
use crate::pure::watermark::Watermark;

/// An event that is routed and not settled.
pub(super) struct Flight {
    pub(super) entry: LogEntry,
    pub(super) subscription: Arc<Subscription>,
    pub(super) keys: Arc<[Key]>,
    /// The instances or lanes that get it, whether they have decided or not.
    pub(super) reached: Vec<Key>,
    /// How many of these instances decided it. The others ignored it, or it is parked or dead
    /// there.
    pub(super) decisions: usize,
    /// The deadline until which it may be held.
    pub(super) until: Option<Timestamp>,
    /// The number of deliveries that are not settled.
    outstanding: usize,
    is_open: bool,
}

/// What an instance or lane gets of a flight.
pub(super) struct Reached {
    pub(super) entry: LogEntry,
    pub(super) effect: Effect,
    pub(super) by_instance: bool,
    pub(super) keys: Arc<[Key]>,
}

pub(super) struct Flights {
    all: BTreeMap<Position, Flight>,
    /// The bytes of the events of all flights.
    bytes: usize,
    partly: PartlyDecided,
    /// The open flights, by the keys that they name.
    open: HashMap<Key, BTreeSet<Position>>,
    watermark: Watermark,
    /// The cursor at which the last run ended: events that it had settled out of order are not read
    /// again.
    recovered: Cursor,
}

/// Events that only some of their instances have decided. Only the changes since the last hand-over
/// are handed over, because one event can reach thousands of instances.
struct PartlyDecided {
    /// The instances that had decided an unsettled event when the last run ended.
    before: BTreeMap<Position, Vec<Key>>,
    /// Events for which the store has, or is about to have, the instances that have decided them.
    on_record: BTreeSet<Position>,
    /// The instances that have decided since the last hand-over.
    decided: BTreeMap<Position, Vec<Key>>,
    /// The events on record that were settled since the last hand-over.
    settled: Vec<Position>,
}

impl Flights {
    pub(super) fn new(recovered: Cursor, partly_decided: BTreeMap<Position, Vec<Key>>) -> Self {
        let partly = PartlyDecided {
            on_record: partly_decided.keys().copied().collect(),
            before: partly_decided,
            decided: BTreeMap::new(),
            settled: Vec::new(),
        };
        Self {
            all: BTreeMap::new(),
            bytes: 0,
            partly,
            open: HashMap::default(),
            watermark: Watermark::new(&recovered),
            recovered,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn contains(&self, position: Position) -> bool {
        self.all.contains_key(&position)
    }

    /// The earliest event that is not settled.
    pub(super) fn first(&self) -> Option<Position> {
        self.all.first_key_value().map(|(position, _)| *position)
    }

    /// When the earliest unsettled event was accepted.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.all.first_key_value().map(|(_, flight)| flight.entry.received_at)
    }

    /// The deadline until which an event may be held; none if it is not in flight, or may not be
    /// held.
    pub(super) fn until(&self, position: Position) -> Option<Timestamp> {
        self.all.get(&position).and_then(|flight| flight.until)
    }

    /// Whether the last run settled an event ahead of its cursor.
    pub(super) fn was_settled(&self, position: Position) -> bool {
        self.recovered.contains(position.0)
    }

    /// Adds an event. An open one may be claimed until it closes.
    pub(super) fn insert(
        &mut self,
        entry: LogEntry,
        subscription: Arc<Subscription>,
        keys: Arc<[Key]>,
        is_open: bool,
        until: Option<Timestamp>,
    ) {
        let position = entry.position;
        let reached = self.partly.before.remove(&position).unwrap_or_default();
        if is_open {
            for key in keys.iter() {
                self.open.entry(key.clone()).or_default().insert(position);
            }
        }
        self.bytes += entry.event.bytes();
        let flight = Flight {
            entry,
            subscription,
            keys,
            reached,
            decisions: 0,
            until,
            outstanding: 0,
            is_open,
        };
        self.all.insert(position, flight);
    }

    /// The open flights that name a key.
    pub(super) fn open_at(&self, key: &Key) -> BTreeSet<Position> {
        self.open.get(key).cloned().unwrap_or_default()
    }

    /// Adds a delivery to an instance or lane. Returns none if it has the event already, or if the
    /// event is settled.
    pub(super) fn reach(&mut self, position: Position, key: &Key) -> Option<Reached> {
        let flight = self.all.get_mut(&position)?;
        if flight.reached.contains(key) {
            return None;
        }
        flight.reached.push(key.clone());
        flight.outstanding += 1;
        Some(Reached {
            entry: flight.entry.clone(),
            effect: flight.subscription.effect,
            by_instance: super::is_for_instance(&flight.subscription),
            keys: Arc::clone(&flight.keys),
        })
    }

    /// Takes a delivery back, because the instance released the key before its turn came.
    pub(super) fn unreach(&mut self, position: Position, key: &Key) {
        if let Some(flight) = self.all.get_mut(&position) {
            flight.outstanding -= 1;
            flight.reached.retain(|reached| reached != key);
        }
    }

    /// Notes that an instance decided the event.
    pub(super) fn count_decision(&mut self, position: Position) {
        if let Some(flight) = self.all.get_mut(&position) {
            flight.decisions += 1;
        }
    }

    /// Notes that a delivery of the event is settled.
    pub(super) fn settle(&mut self, position: Position, key: &Key) {
        let Some(flight) = self.all.get_mut(&position) else { return };
        flight.outstanding -= 1;
        if flight.is_open || flight.outstanding > 0 {
            self.partly.decided.entry(position).or_default().push(key.clone());
        }
        self.finish_if_settled(position);
    }

    /// Finishes an event that cannot be claimed any more, if all its deliveries are settled.
    /// Returns true if it is finished.
    pub(super) fn finish_if_settled(&mut self, position: Position) -> bool {
        let is_settled = |flight: &Flight| !flight.is_open && flight.outstanding == 0;
        let settled = self.all.get(&position).is_some_and(is_settled);
        if settled {
            self.remove(position);
        }
        settled
    }

    /// The earliest flight and its keys, if it can be closed.
    pub(super) fn first_to_close(&self) -> Option<(Position, Arc<[Key]>)> {
        let (position, flight) = self.all.first_key_value()?;
        let can_close = flight.is_open && flight.outstanding == 0;
        can_close.then(|| (*position, Arc::clone(&flight.keys)))
    }

    /// Closes the earliest flight, if it is open and all instances that it reached have decided: no
    /// earlier decision can change any more which instances get it.
    pub(super) fn close_first(&mut self) -> Option<Flight> {
        let (&position, flight) = self.all.first_key_value()?;
        if !flight.is_open || flight.outstanding > 0 {
            return None;
        }
        let flight = self.remove(position)?;
        for key in flight.keys.iter() {
            if let Some(positions) = self.open.get_mut(key) {
                positions.remove(&position);
                if positions.is_empty() {
                    self.open.remove(key);
                }
            }
        }
        Some(flight)
    }

    fn remove(&mut self, position: Position) -> Option<Flight> {
        let flight = self.all.remove(&position)?;
        self.bytes -= flight.entry.event.bytes();
        self.finish(position);
        Some(flight)
    }

    /// Settles an event that has no flight.
    pub(super) fn finish(&mut self, position: Position) {
        self.watermark.finish(position.0);
        self.partly.finish(position);
    }

    /// Skips the positions `first..=last`, which hold nothing for the plugin. Returns true if the
    /// cursor moved: the last run may have settled them already.
    pub(super) fn skip(&mut self, mut first: u64, last: u64) -> bool {
        let mut has_moved = false;
        while first <= last && first <= self.recovered.highest() {
            if !self.recovered.contains(first) {
                self.watermark.finish(first);
                has_moved = true;
            }
            first += 1;
        }
        if first <= last {
            self.watermark.finish_span(first, last);
            has_moved = true;
        }
        has_moved
    }

    /// The events that are settled.
    pub(super) fn cursor(&self) -> Cursor {
        self.watermark.cursor()
    }

    /// Takes the instances that have decided unsettled events since the last call, and the events
    /// on record that were settled since then. Both are handed over with the cursor.
    pub(super) fn take_partly_decided(&mut self) -> (BTreeMap<Position, Vec<Key>>, Vec<Position>) {
        let PartlyDecided { decided, settled, on_record, .. } = &mut self.partly;
        on_record.extend(decided.keys().copied());
        (std::mem::take(decided), std::mem::take(settled))
    }
}

impl PartlyDecided {
    /// The event is settled: the store no longer needs the instances that have decided it.
    fn finish(&mut self, position: Position) {
        self.decided.remove(&position);
        if self.on_record.remove(&position) {
            self.settled.push(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Absent, Correlation, Event, Hops, Source, Span};

    fn entry(place: u64) -> LogEntry {
        let event = Event {
            id: place.to_string(),
            source: "/test".to_owned(),
            event_type: "E".to_owned(),
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: Vec::new(),
            data: bytes::Bytes::new(),
        };
        LogEntry {
            position: Position(place),
            received_at: Timestamp(place),
            event: Arc::new(event),
            hops: Hops::OUTSIDE,
        }
    }

    fn insert(flights: &mut Flights, place: u64, keys: &[&str], is_open: bool) {
        let subscription = Subscription {
            event_type: "E".to_owned(),
            source: Source::Any,
            key: Correlation::Subject,
            effect: Effect::Handle,
            absent: Absent::Ignore,
        };
        let keys: Vec<Key> = keys.iter().map(|key| Key::from(*key)).collect();
        flights.insert(entry(place), Arc::new(subscription), keys.into(), is_open, None);
    }

    fn key(key: &str) -> Key {
        key.into()
    }

    fn fresh() -> Flights {
        Flights::new(Cursor::default(), BTreeMap::new())
    }

    /// What the store has about the events that only some of their instances have decided.
    #[derive(Default)]
    struct Record(BTreeMap<Position, Vec<Key>>);

    impl Record {
        /// The content after the next hand-over.
        fn after(&mut self, flights: &mut Flights) -> Vec<(u64, Vec<Key>)> {
            let (decided, settled) = flights.take_partly_decided();
            for position in settled {
                assert!(self.0.remove(&position).is_some(), "only what is on record is removed");
            }
            for (position, keys) in decided {
                self.0.entry(position).or_default().extend(keys);
            }
            self.0.iter().map(|(position, keys)| (position.0, keys.clone())).collect()
        }
    }

    #[test]
    fn an_event_is_settled_when_all_that_it_reached_are_done_with_it() {
        let (mut flights, mut record) = (fresh(), Record::default());
        insert(&mut flights, 1, &["a", "b"], false);
        assert!(flights.reach(Position(1), &key("a")).is_some());
        assert!(flights.reach(Position(1), &key("a")).is_none(), "it has it");
        assert!(flights.reach(Position(1), &key("b")).is_some());
        assert!(flights.bytes() > 0);
        flights.settle(Position(1), &key("b"));
        assert_eq!(record.after(&mut flights), [(1, vec![key("b")])]);
        assert_eq!(flights.cursor().settled, 0);
        flights.settle(Position(1), &key("a"));
        assert_eq!(flights.cursor().settled, 1);
        assert!(record.after(&mut flights).is_empty());
        assert!(flights.is_empty() && flights.bytes() == 0);
    }

    #[test]
    fn an_open_event_closes_only_as_the_earliest() {
        let (mut flights, mut record) = (fresh(), Record::default());
        insert(&mut flights, 1, &["a"], false);
        insert(&mut flights, 2, &["b"], true);
        flights.reach(Position(1), &key("a"));
        flights.reach(Position(2), &key("i"));
        flights.settle(Position(2), &key("i"));
        assert!(flights.close_first().is_none(), "an earlier event may lead to a claim");
        assert_eq!(record.after(&mut flights), [(2, vec![key("i")])]);
        assert_eq!(flights.open_at(&key("b")), BTreeSet::from([Position(2)]));
        flights.settle(Position(1), &key("a"));
        let closed = flights.close_first().map(|flight| flight.entry.position);
        assert_eq!(closed, Some(Position(2)));
        assert!(flights.open_at(&key("b")).is_empty() && flights.is_empty());
        assert_eq!(flights.cursor().settled, 2);
        assert!(record.after(&mut flights).is_empty());
    }

    #[test]
    fn each_decision_is_handed_over_once_and_none_of_what_is_settled_at_once() {
        let mut flights = fresh();
        for place in [1, 2] {
            insert(&mut flights, place, &["a", "b", "c"], false);
            for name in ["a", "b", "c"] {
                flights.reach(Position(place), &key(name));
            }
        }
        let decided = |keys: &[&str]| {
            BTreeMap::from([(Position(1), keys.iter().map(|name| key(name)).collect::<Vec<_>>())])
        };
        flights.settle(Position(1), &key("a"));
        assert_eq!(flights.take_partly_decided(), (decided(&["a"]), vec![]));
        flights.settle(Position(1), &key("b"));
        assert_eq!(flights.take_partly_decided(), (decided(&["b"]), vec![]));
        for name in ["a", "b", "c"] {
            flights.settle(Position(2), &key(name));
        }
        assert_eq!(flights.take_partly_decided(), (BTreeMap::new(), vec![]));
        flights.settle(Position(1), &key("c"));
        assert_eq!(flights.take_partly_decided(), (BTreeMap::new(), vec![Position(1)]));
    }

    #[test]
    fn an_instance_that_is_taken_back_leaves_no_trace() {
        let mut flights = fresh();
        insert(&mut flights, 1, &["a"], true);
        flights.reach(Position(1), &key("i"));
        assert!(flights.close_first().is_none(), "it is about to decide");
        flights.unreach(Position(1), &key("i"));
        assert!(flights.close_first().is_some_and(|flight| flight.reached.is_empty()));
    }

    #[test]
    fn what_the_last_run_settled_out_of_order_is_not_settled_again() {
        let recovered = Cursor { settled: 1, ahead: vec![Span { first: 3, last: 4 }] };
        let decided = [(Position(2), vec![key("a")]), (Position(6), vec![key("b")])];
        let decided = BTreeMap::from(decided);
        let mut record = Record(decided.clone());
        let mut flights = Flights::new(recovered.clone(), decided);
        assert_eq!(flights.cursor(), recovered, "nothing is read yet");
        insert(&mut flights, 2, &["a", "b"], false);
        assert!(flights.reach(Position(2), &key("a")).is_none(), "it has decided");
        flights.reach(Position(2), &key("b"));
        assert!(flights.was_settled(Position(3)) && !flights.was_settled(Position(2)));
        assert!(!flights.skip(3, 4), "the last run settled them");
        assert!(flights.skip(5, 5));
        let of_b = (6, vec![key("b")]);
        assert_eq!(record.after(&mut flights), [(2, vec![key("a")]), of_b.clone()]);
        flights.settle(Position(2), &key("b"));
        assert_eq!(flights.cursor(), Cursor { settled: 5, ..Cursor::default() });
        assert_eq!(record.after(&mut flights), [of_b]);
    }
}
