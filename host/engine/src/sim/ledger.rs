//! The ledger: looks at the store and the sink from outside, and says which
//! guarantee is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::scripts::{NOTIFIER, ORDERS, Order, RECEIPTS};
use super::world::{Plan, is_refused};
use crate::model::{
    DeadLetter, DeadLetterSubject, Instance, InstanceStatus, Key, LogEntry, Message, PluginName,
    reserved,
};
use crate::store::memory::Tables;

/// Of one receipt, of which there are two: both decided by the notifier, with two messages each.
const NOTIFICATIONS: usize = 4;

/// Nothing is left to do: every event settled, every timer fired, every message
/// delivered, dead or parked.
pub fn is_quiet(tables: &Tables, delivered: &[Arc<Message>]) -> bool {
    let Some(head) = tables.log.keys().next_back() else { return false };
    let plugins = [ORDERS, RECEIPTS, NOTIFIER].map(PluginName::from);
    let settled = plugins
        .iter()
        .all(|name| tables.plugins.get(name).is_some_and(|p| p.cursor.settled >= head.0));
    let ids: BTreeSet<&str> = delivered.iter().map(|m| m.event.id.as_str()).collect();
    let dead: BTreeSet<&str> =
        dead_messages(tables).map(|letter| letter.event.id.as_str()).collect();
    let sent = tables.messages.iter().all(|(row, message)| {
        let id = message.event.id.as_str();
        ids.contains(id) || dead.contains(id) || tables.parked_messages.contains_key(row)
    });
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

fn dead_messages(tables: &Tables) -> impl Iterator<Item = &Arc<DeadLetter>> {
    let of_message = |letter: &&Arc<DeadLetter>| letter.subject != DeadLetterSubject::Event;
    tables.dead_letters.values().filter(of_message)
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
    sinks_add_up(tables)?;
    orders_are_complete(plan, tables)?;
    claims_are_those_of_the_instances(tables)?;
    messages_leave_once_and_in_order(plan, tables, delivered)?;
    only_the_bad_are_dead(plan, tables, delivered)?;
    timers_fire_when_due(tables)?;
    only_the_last_timer_counts(plan, tables)
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

fn sinks_add_up(tables: &Tables) -> Result<(), String> {
    for progress in tables.sinks.values() {
        let sink = &progress.sink;
        let messages = tables.messages.keys().filter(|(of, _)| of == sink).count();
        let parked = tables.parked_messages.keys().filter(|(of, _)| of == sink).count();
        let dead = dead_messages(tables).filter(
            |letter| matches!(&letter.subject, DeadLetterSubject::Message { sink: of, .. } if of == sink),
        );
        let rows = parked + dead.count();
        let counters = progress.counters;
        if counters.received != messages as u64 || counters.handled + rows as u64 != messages as u64
        {
            return Err(format!(
                "guarantee 7: {sink}: {messages} messages, {rows} parked or dead: {counters:?}"
            ));
        }
    }
    Ok(())
}

/// The table in which instances are found by their keys says what the instances say.
fn claims_are_those_of_the_instances(tables: &Tables) -> Result<(), String> {
    let claims = tables.instances.iter().flat_map(|((plugin, key), instance)| {
        let row = |claim: &Key| (plugin.clone(), claim.clone(), key.clone());
        instance.claims.iter().map(row).collect::<Vec<_>>()
    });
    match claims.collect::<BTreeSet<_>>() == tables.claims {
        true => Ok(()),
        false => Err(format!("guarantee 3: claims without their instance: {:?}", tables.claims)),
    }
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
        let notified = if plan.poisoned.contains(order) { None } else { Some(&NOTIFICATIONS) };
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
    Ok(())
}

/// A poisoned key has one dead letter, and the second receipt behind it; so has an order
/// whose notifications are refused, and its plugin was told.
fn only_the_bad_are_dead(
    plan: &Plan,
    tables: &Tables,
    delivered: &[Arc<Message>],
) -> Result<(), String> {
    let (poisoned, refused) = (plan.poisoned.len(), plan.refused.len());
    let told = |entry: &&LogEntry| entry.event.event_type == reserved::COMMAND_UNDELIVERABLE;
    let counts = [
        ("dead letters", tables.dead_letters.len(), poisoned + refused),
        ("parked events", tables.parked.len(), poisoned),
        ("dead messages", dead_messages(tables).count(), refused),
        ("parked messages", tables.parked_messages.len(), refused * (NOTIFICATIONS - 1)),
        ("events that tell of them", tables.log.values().filter(told).count(), refused),
    ];
    for (what, count, expected) in counts {
        if count != expected {
            return Err(format!("guarantee 6: {count} {what}, not {expected}"));
        }
    }
    match delivered.iter().find(|message| is_refused(&plan.refused, message)) {
        None => Ok(()),
        Some(message) => {
            Err(format!("guarantee 6: {} left after its dead letter", message.event.id))
        }
    }
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

/// A timer that was set anew counts no more, though it may stand in the log. Each
/// order's decisions are followed in the order in which they were made.
fn only_the_last_timer_counts(plan: &Plan, tables: &Tables) -> Result<(), String> {
    for order in plan.orders.keys() {
        let row = |position| (position, PluginName::from(ORDERS), Key::from(order.as_str()));
        let mut chain = Vec::new();
        let instance = tables.instances.get(&(PluginName::from(ORDERS), order.as_str().into()));
        let mut next = instance.map(|instance| instance.decided);
        while let Some(position) = next {
            let decision = tables.decisions.get(&row(position));
            let decision = decision
                .ok_or_else(|| format!("guarantee 3: {order} has no decision at {position}"))?;
            next = decision.previous;
            chain.push(decision);
        }
        let mut set_by = None;
        for decision in chain.into_iter().rev() {
            let event = &tables.log[&decision.position].event;
            if event.event_type == reserved::TIMER_FIRED {
                let fired = event.extension(reserved::EXTENSION_SET_BY).map(str::to_owned);
                if fired != set_by {
                    return Err(format!("guarantee 9: {order} decided a timer that was set anew"));
                }
                set_by = None;
            }
            if decision.summary.contains(r#""set":"remind""#) {
                set_by = Some(decision.position.to_string());
            }
        }
    }
    Ok(())
}
