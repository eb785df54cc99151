//! A sender that computes the ids of events that the host will make, and sends its own events
//! with these ids. Neither event may replace the other.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use super::plan::event;
use super::scripts::RECEIPTS;
use crate::changes::receipt::Receipt;
use crate::engine::Engine;
use crate::lock;
use crate::model::{Event, Hops, Key, Origin, PluginName};
use crate::pure::identity::{self, DecisionIdentity};
use crate::seams::store::memory::{MemoryStore, Tables};

/// A source and an id.
type Name = (String, String);

pub(crate) struct Forger {
    random: Mutex<StdRng>,
    /// The names of the events that were sent, and whether each was certainly accepted.
    sent: Mutex<BTreeMap<Name, bool>>,
}

impl Forger {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Mutex::new(StdRng::seed_from_u64(seed)), sent: Mutex::default() }
    }

    /// Sends one event with the name of an event of the host.
    ///
    /// # Errors
    /// If the engine takes it for a duplicate of the host's event.
    pub(crate) async fn act(&self, engine: &Engine, store: &MemoryStore) -> Result<(), String> {
        let mut names = store.look(host_names);
        names.retain(|name| !lock(&self.sent).contains_key(name));
        if names.is_empty() {
            return Ok(());
        }
        let name = names.swap_remove(lock(&self.random).random_range(0..names.len()));
        lock(&self.sent).insert(name.clone(), false);
        match engine.offer(vec![forged(&name)]).await {
            Ok(receipts) if matches!(receipts[..], [Receipt::Accepted(_)]) => {
                lock(&self.sent).insert(name, true);
                Ok(())
            }
            Ok(_) => Err(format!("guarantee 1: {name:?} of a sender is taken for the host's own")),
            // It was not accepted, or the outcome is unknown.
            Err(_) => Ok(()),
        }
    }

    /// # Errors
    /// If an event that was accepted is not in the log exactly once.
    pub(crate) fn check(&self, tables: &Tables) -> Result<(), String> {
        for (name, _) in lock(&self.sent).iter().filter(|(_, accepted)| **accepted) {
            let ours = tables.log.values().filter(|entry| {
                entry.hops == Hops::OUTSIDE
                    && (&entry.event.source, &entry.event.id) == (&name.0, &name.1)
            });
            if ours.count() != 1 {
                return Err(format!("guarantee 1: {name:?} of a sender is not in the log once"));
            }
        }
        Ok(())
    }
}

/// An event with this name that the auditor decides.
fn forged((source, id): &Name) -> Event {
    let note = event("note", "forged", &json!({"order": "forged"}));
    Event { source: source.clone(), id: id.clone(), ..note }
}

/// The names of the host's events: of those in the log, and of those that it will make because a
/// timer is set or a payment waits for its receipts.
fn host_names(tables: &Tables) -> Vec<Name> {
    let own = |entry: &&crate::model::LogEntry| entry.hops.origin() == Origin::Host;
    let made = tables.log.values().filter(own);
    let made = made.map(|entry| (entry.event.source.clone(), entry.event.id.clone()));
    let timers = tables.timers.values().map(|row| &row.timer);
    let timers =
        timers.map(|timer| (identity::source(&timer.plugin), identity::timer_event_id(timer)));
    let receipts = PluginName::from(RECEIPTS);
    let paid = tables.log.values().filter(|entry| entry.event.event_type == "pay");
    let paid = paid.flat_map(|entry| {
        let data: serde_json::Value = serde_json::from_slice(&entry.event.data).unwrap_or_default();
        let key = Key::from(data["order"].as_str().unwrap_or_default());
        let decision = DecisionIdentity::new(&receipts, entry.hops.origin(), &entry.event, &key);
        [0, 1].map(|index| (identity::source(&receipts), decision.message_id(index)))
    });
    made.chain(timers).chain(paid).collect()
}
