//! The ledger: looks at the store and the sink from outside, and says which
//! guarantee is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::scripts::{NOTIFIER, ORDERS, Order, RECEIPTS};
use super::world::Plan;
use crate::model::{
    DeadLetterSubject, Instance, InstanceStatus, Key, Message, PluginName, reserved,
};
use crate::store::memory::Tables;

/// Nothing is left to do: every event settled, every timer fired, every message delivered.
pub fn is_quiet(tables: &Tables, delivered: &[Arc<Message>]) -> bool {
    let Some(head) = tables.log.keys().next_back() else { return false };
    let plugins = [ORDERS, RECEIPTS, NOTIFIER].map(PluginName::from);
    let settled = plugins
        .iter()
        .all(|name| tables.plugins.get(name).is_some_and(|p| p.cursor.settled >= head.0));
    let ids: BTreeSet<&str> = delivered.iter().map(|m| m.event.id.as_str()).collect();
    let sent = tables.messages.values().all(|m| ids.contains(m.event.id.as_str()));
    let counted = tables.messages.keys().all(|(sink, sequence)| {
        tables.sinks.get(sink).is_some_and(|s| s.cursor.settled >= sequence.0)
    });
    // A held event that an instance has claimed is work, though the cursor has passed it.
    let reached = tables.held.values().all(|held| {
        let claims = |instance: &&Arc<Instance>| {
            instance.key == held.key || instance.claims.contains(&held.key)
        };
        let claimed = tables.instances.values().filter(claims);
        claimed.into_iter().all(|instance| held.reached.contains(&instance.key))
    });
    settled && sent && counted && reached && tables.timers.is_empty()
}

pub fn stuck(tables: &Tables) -> String {
    let cursors: Vec<String> = tables
        .plugins
        .values()
        .map(|p| format!("{} at {:?}", p.plugin, p.cursor))
        .chain(tables.sinks.values().map(|s| format!("{} at {:?}", s.sink, s.cursor)))
        .collect();
    format!(
        "guarantee 7: work remains for ever; head {:?}, {} timers; {}",
        tables.log.keys().next_back(),
        tables.timers.len(),
        cursors.join("; ")
    )
}

pub fn check(plan: &Plan, tables: &Tables, delivered: &[Arc<Message>]) -> Result<(), String> {
    log_has_each_event_once(plan, tables)?;
    sums_add_up(tables)?;
    orders_are_complete(plan, tables)?;
    messages_leave_once_and_in_order(plan, tables, delivered)?;
    timers_fire_when_due(tables)
}

fn log_has_each_event_once(plan: &Plan, tables: &Tables) -> Result<(), String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in tables.log.values() {
        *counts.entry(entry.event.id.as_str()).or_default() += 1;
    }
    for event in &plan.events {
        match counts.get(event.id.as_str()) {
            Some(1) => {}
            other => {
                return Err(format!("guarantee 1: `{}` is in the log {other:?} times", event.id));
            }
        }
    }
    Ok(())
}

fn sums_add_up(tables: &Tables) -> Result<(), String> {
    for progress in tables.plugins.values() {
        let plugin = &progress.plugin;
        let of_plugin = |name: &PluginName| name == plugin;
        let held: BTreeSet<_> = tables
            .held
            .values()
            .filter(|held| of_plugin(&held.plugin) && held.reached.is_empty())
            .map(|held| held.entry.position)
            .collect();
        let parked = tables.parked.values().filter(|row| of_plugin(&row.plugin)).count();
        let dead = tables.dead_letters.values().filter(|letter| {
            of_plugin(&letter.plugin) && letter.subject == DeadLetterSubject::Event
        });
        let rows = held.len() + parked + dead.count();
        let counters = progress.counters;
        let settled = counters.handled + counters.ignored() + counters.discarded + rows as u64;
        if settled != counters.received {
            return Err(format!("guarantee 7: {plugin}: {rows} rows do not add up: {counters:?}"));
        }
        let decided = tables.decisions.values().filter(|d| of_plugin(&d.plugin)).count() as u64;
        if decided != counters.handled {
            return Err(format!("guarantee 2: {plugin}: {decided} decisions, {counters:?}"));
        }
    }
    Ok(())
}

fn orders_are_complete(plan: &Plan, tables: &Tables) -> Result<(), String> {
    for order in plan.orders.keys() {
        let row = (PluginName::from(ORDERS), Key::from(order.as_str()));
        let Some(instance) = tables.instances.get(&row) else {
            return Err(format!("guarantee 2: order {order} was never started"));
        };
        let state = instance.state.as_ref().map(|state| state.data.clone()).unwrap_or_default();
        let state: Order = serde_json::from_slice(&state).map_err(|error| error.to_string())?;
        if instance.status != InstanceStatus::Completed {
            return Err(format!("guarantee 2: order {order} is not complete: {state:?}"));
        }
        let distinct: BTreeSet<&String> = state.handled.iter().collect();
        if distinct.len() != state.handled.len() {
            return Err(format!("guarantee 2: {order} decided an event twice: {state:?}"));
        }
        let decisions = tables
            .decisions
            .values()
            .filter(|d| d.plugin.as_str() == ORDERS && d.key.as_str() == order.as_str());
        if decisions.count() != state.handled.len()
            || instance.version != state.handled.len() as u64
        {
            return Err(format!("guarantee 3: {order}'s state is not the fold of its decisions"));
        }
    }
    Ok(())
}

fn messages_leave_once_and_in_order(
    plan: &Plan,
    tables: &Tables,
    delivered: &[Arc<Message>],
) -> Result<(), String> {
    let mut ids = BTreeSet::new();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for message in tables.messages.values() {
        if !ids.insert(message.event.id.as_str()) {
            return Err(format!("guarantee 5: two messages have the id {}", message.event.id));
        }
        *counts.entry((&message.event.event_type, message.key.as_str())).or_default() += 1;
    }
    for order in plan.orders.keys() {
        let notified = if plan.poisoned.contains(order) { None } else { Some(&2) };
        if counts.get(&("close", order.as_str())) != Some(&1)
            || counts.get(&("notify", order.as_str())) != notified
        {
            return Err(format!("guarantee 2: other commands than one decision's: {counts:?}"));
        }
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut last: BTreeMap<(&PluginName, &Key), u64> = BTreeMap::new();
    for message in delivered {
        let stored = tables.messages.get(&(message.sink.clone(), message.sequence));
        if stored.map(|stored| &stored.event.id) != Some(&message.event.id) {
            return Err(format!("guarantee 3: {} left without its commit", message.event.id));
        }
        if !seen.insert(&message.event.id) {
            continue;
        }
        let previous = last.insert((&message.plugin, &message.key), message.sequence.0);
        if previous.is_some_and(|previous| previous > message.sequence.0) {
            return Err(format!("guarantee 4: {} left after its successor", message.event.id));
        }
    }
    let poisoned = plan.poisoned.len();
    if tables.dead_letters.len() != poisoned {
        return Err(format!(
            "guarantee 6: {poisoned} poisoned keys, {} dead letters",
            tables.dead_letters.len()
        ));
    }
    Ok(())
}

fn timers_fire_when_due(tables: &Tables) -> Result<(), String> {
    let mut fired: BTreeSet<(&str, &str)> = BTreeSet::new();
    for entry in tables.log.values() {
        let event = &entry.event;
        if event.event_type != reserved::TIMER_FIRED {
            continue;
        }
        let instance = event.extension(reserved::EXTENSION_INSTANCE).unwrap_or_default();
        let set_by = event.extension(reserved::EXTENSION_SET_BY).unwrap_or_default();
        if !fired.insert((instance, set_by)) {
            return Err(format!("guarantee 9: a timer of {instance} fired twice"));
        }
        let position = crate::model::Position(set_by.parse().unwrap_or_default());
        let row = (position, PluginName::from(ORDERS), Key::from(instance));
        let Some(decision) = tables.decisions.get(&row) else {
            return Err(format!("guarantee 9: a timer of {instance} fired that was never set"));
        };
        if entry.received_at.0 < decision.decided_at.0 + 40 {
            return Err(format!("guarantee 9: a timer of {instance} fired before it was due"));
        }
    }
    Ok(())
}
