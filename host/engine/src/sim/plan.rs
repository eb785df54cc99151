//! What happens in the world of one seed: the events, and the failures that stay permanent until
//! they are cured.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::json;

use super::scripts::payload;
use super::traces;
use super::unwritable::Unwritable;
use crate::model::Event;

/// What happens in a world.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The events in the order of sending, with duplicates.
    pub events: Vec<Event>,
    /// The items of each order.
    pub orders: BTreeMap<String, Vec<String>>,
    /// Orders, events and message types that fail permanently until they are cured.
    pub poisoned: BTreeSet<String>,
    /// Orders whose notifications the sink refuses permanently until it is cured.
    pub refused: BTreeSet<String>,
    /// What the store cannot hold until it is cured.
    pub unwritable: Unwritable,
    /// Whether the operator skips the notifier's dead letters. All others are redriven.
    pub skips: bool,
    /// What the operator does with the dead letters of these events instead, by the events' ids.
    pub treatments: BTreeMap<String, Treatment>,
    /// Whether the wall clock is set from time to time, by more than any wait, and is set right
    /// again. Dates mean nothing in such a world.
    pub sets_clock: bool,
}

/// What the operator does with a dead letter, once everything has come that will wait behind it.
#[derive(Clone, Debug)]
pub(crate) enum Treatment {
    Skip,
    Discard,
    /// Redrives it, edited to be an event of another order.
    Move(String),
}

/// Follows from the seed's value instead of its random numbers, so that older seeds that found a
/// mistake still give the same run.
pub(super) fn treatments(plan: &Plan, seed: u64) -> BTreeMap<String, Treatment> {
    let notes = plan.poisoned.iter().filter(|id| id.starts_with("note-"));
    let treatment = |(n, id): (u64, &String)| {
        let treatment = match (seed / 7 + n) % 3 {
            0 => Treatment::Skip,
            1 => Treatment::Discard,
            _ => Treatment::Move("o0".to_owned()),
        };
        (id.clone(), treatment)
    };
    (0..).zip(notes).map(treatment).collect()
}

impl Plan {
    pub(super) fn new(random: &mut StdRng) -> Self {
        let mut orders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut events = Vec::new();
        let mut items = Vec::new();
        for o in 0..random.random_range(1..8) {
            let order = format!("o{o}");
            let own: Vec<String> =
                (0..random.random_range(1..4)).map(|i| format!("{order}-i{i}")).collect();
            items.extend(own.clone());
            orders.insert(order, own);
        }
        for (order, own) in &orders {
            events.push(event("place", order, &json!({"order": order, "items": own})));
            events.push(event("pay", order, &json!({"order": order})));
            for note in 0..random.random_range(0..5) {
                let name = format!("{order}-{note}");
                events.push(event("note", &name, &json!({"order": order})));
            }
        }
        // A package may have items of several orders.
        items.shuffle(random);
        let mut package = 0;
        while !items.is_empty() {
            let count = random.random_range(1..=items.len().min(3));
            let packed: Vec<String> = items.drain(..count).collect();
            let name = format!("p{package}");
            events.push(event("pack", &name, &json!({"items": packed, "package": name})));
            events.push(event("deliver", &name, &json!({"package": name})));
            package += 1;
        }
        events.shuffle(random);
        // No handler reads the data of these, so it may be any JSON.
        for event in &mut events {
            if matches!(&*event.event_type, "pay" | "note") {
                let plain = String::from_utf8_lossy(&event.data).into_owned();
                event.data = payload(&plain, random.random()).into();
            }
        }
        events.iter_mut().for_each(traces::give_trace);
        for _ in 0..random.random_range(0..6) {
            let twice = events[random.random_range(0..events.len())].clone();
            events.insert(random.random_range(0..=events.len()), twice);
        }
        let mut poisoned = BTreeSet::new();
        if random.random_ratio(1, 4) {
            poisoned.extend(orders.keys().take(1).cloned());
        }
        for _ in 0..random.random_range(0..3) {
            poisoned.insert(events[random.random_range(0..events.len())].id.clone());
        }
        if random.random_ratio(1, 6) {
            poisoned.insert(["close", "notify", "record"][random.random_range(0..3)].to_owned());
        }
        Self {
            events,
            orders,
            poisoned,
            refused: BTreeSet::new(),
            unwritable: Unwritable::default(),
            skips: random.random(),
            treatments: BTreeMap::new(),
            sets_clock: false,
        }
    }
}

pub(crate) fn event(event_type: &str, of: &str, data: &serde_json::Value) -> Event {
    Event {
        id: format!("{event_type}-{of}"),
        source: "/world".to_owned(),
        event_type: event_type.to_owned(),
        subject: None,
        time: None,
        datacontenttype: None,
        dataschema: None,
        extensions: Vec::new(),
        data: Bytes::from(data.to_string()),
    }
}
