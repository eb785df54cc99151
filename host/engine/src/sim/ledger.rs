//! The ledger: reads the store and the sink from outside, and names the guarantee that is
//! broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::directory::History;
use super::plan::Plan;
use super::scripts::{self, AUDITOR, NOTIFIER, ORDERS, Order, RECEIPTS, state_version};
use super::strangers;
use super::traces;
use crate::model::{
    DeadLetter, DeadLetterStatus, DeadLetterSubject, DecisionRecord, DecisionSummary, Event,
    InstanceCounts, InstanceStatus, Key, KeyChange, Message, PluginName, reserved,
};
use crate::pure::fields::Fields;
use crate::pure::identity::undeliverable_event_id;
use crate::seams::store::memory::Tables;

/// The notifications of one order: it has two receipts, and the notifier sends two messages for
/// each.
const NOTIFICATIONS: usize = 4;

/// Whether no work is left: every event is settled, every timer has fired, every message is
/// delivered, every dead letter is resolved.
pub(crate) fn is_quiet(tables: &Tables, delivered: &[Arc<Message>]) -> bool {
    let log = tables.log.keys().chain(tables.removed.log.keys());
    let Some(head) = log.max() else { return false };
    let plugins = [ORDERS, RECEIPTS, NOTIFIER, AUDITOR].map(PluginName::from);
    let settled = plugins
        .iter()
        .all(|name| tables.plugins.get(name).is_some_and(|p| p.cursor.settled >= head.0));
    let ids: BTreeSet<&str> = delivered.iter().map(|m| m.event.id.as_str()).collect();
    let sent = tables.messages.values().all(|m| ids.contains(m.event.id.as_str()));
    let counted = tables.messages.keys().all(|(sink, sequence)| {
        tables.sinks.get(sink).is_some_and(|s| s.cursor.settled >= sequence.0)
    });
    // A held event whose key an instance has claimed is work, although the cursor has passed it.
    let reached = tables.held.values().all(|held| {
        let own = tables.instances.get(&(held.plugin.clone(), held.key.clone()));
        let first = (held.plugin.clone(), held.key.clone(), Key::from(""));
        let claims = tables.claims.range(first..);
        let claims = claims.take_while(|(p, key, _)| *p == held.plugin && *key == held.key);
        let mut claimers = own.map(|own| &own.key).into_iter().chain(claims.map(|(.., of)| of));
        claimers.all(|instance| held.reached.contains(instance))
    });
    let waiting =
        tables.dead_letters.values().any(|dead_letter| dead_letter.status.is_unresolved())
            || !tables.parked.is_empty()
            || !tables.parked_messages.is_empty()
            || !tables.waits.is_empty()
            || !tables.message_waits.is_empty();
    settled && sent && counted && reached && !waiting && tables.timers.is_empty()
}

fn dead_messages(tables: &Tables) -> impl Iterator<Item = &Arc<DeadLetter>> {
    let of_message =
        |dead_letter: &&Arc<DeadLetter>| dead_letter.subject != DeadLetterSubject::Event;
    tables.dead_letters.values().filter(of_message)
}

pub(crate) fn stuck(tables: &Tables) -> String {
    let cursors: Vec<String> = tables
        .plugins
        .values()
        .map(|p| format!("{} at {:?}", p.plugin, p.cursor))
        .chain(tables.sinks.values().map(|s| format!("{} at {:?}", s.sink, s.cursor)))
        .collect();
    format!(
        "guarantee 7: work remains for ever; head {:?}, {} timers, {} and {} parked, held {:?}, \
         dead letters {:?}; {}",
        tables.log.keys().next_back(),
        tables.timers.len(),
        tables.parked.len(),
        tables.parked_messages.len(),
        tables.held.values().map(|h| (&h.key, h.entry.position, &h.reached)).collect::<Vec<_>>(),
        tables.dead_letters.values().map(|l| (l.id, l.status)).collect::<Vec<_>>(),
        cursors.join("; ")
    )
}

pub(crate) fn check(
    plan: &Plan,
    history: &History,
    tables: &Tables,
    delivered: &[Arc<Message>],
) -> Result<(), String> {
    log_has_each_event_once(plan, tables)?;
    sums_add_up(tables)?;
    sinks_add_up(tables)?;
    orders_are_complete(plan, tables)?;
    claims_are_those_of_the_instances(tables)?;
    fields_are_those_of_the_states(tables)?;
    messages_leave_once_and_in_order(plan, tables, delivered)?;
    only_bad_events_are_dead(plan, tables)?;
    strangers::check(tables)?;
    traces::check(tables)?;
    versions_follow_each_other(plan, history, tables)?;
    if !plan.sets_clock {
        timers_fire_when_due(tables)?;
    }
    only_the_last_timer_counts(plan, tables)
}

fn log_has_each_event_once(plan: &Plan, tables: &Tables) -> Result<(), String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let came = |event: &Event| event.extension(reserved::EXTENSION_REDRIVEN).is_none();
    for entry in tables.log.values().filter(|entry| came(&entry.event)) {
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

pub(super) fn instances_are_counted(tables: &Tables) -> Result<(), String> {
    for (plugin, progress) in &tables.plugins {
        let mut instances = InstanceCounts::default();
        for ((of, _), instance) in &tables.instances {
            if of == plugin {
                instances.change(None, Some(instance.status));
            }
        }
        let counters = progress.counters;
        if instances != counters.instances {
            return Err(format!("guarantee 3: {plugin} has {instances:?}: {counters:?}"));
        }
    }
    Ok(())
}

pub(super) fn sums_add_up(tables: &Tables) -> Result<(), String> {
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
        let dead = tables.dead_letters.values().filter(|dead_letter| {
            of_plugin(&dead_letter.plugin)
                && dead_letter.subject == DeadLetterSubject::Event
                && dead_letter.status.is_unresolved()
        });
        let rows = held.len() + parked + dead.count();
        let counters = progress.counters;
        let settled = counters.handled
            + counters.ignored()
            + counters.discarded
            + counters.requeued
            + rows as u64;
        if settled != counters.received {
            return Err(format!("guarantee 7: {plugin}: {rows} rows do not add up: {counters:?}"));
        }
        let mut partly = tables.partly_decided.iter().filter(|(of, ..)| of_plugin(of));
        if let Some((_, position, key)) =
            partly.find(|(_, position, _)| progress.cursor.contains(position.0))
        {
            return Err(format!(
                "guarantee 3: {plugin}: {position} is settled, and {key} is still on record as \
                 one of several that decide it"
            ));
        }
        let decided = tables.decisions.values().filter(|d| of_plugin(&d.plugin)).count() as u64;
        if decided != counters.handled {
            return Err(format!("guarantee 2: {plugin}: {decided} decisions, {counters:?}"));
        }
    }
    Ok(())
}

pub(super) fn sinks_add_up(tables: &Tables) -> Result<(), String> {
    for progress in tables.sinks.values() {
        let sink = &progress.sink;
        let messages = tables.messages.keys().filter(|(of, _)| of == sink).count();
        let parked = tables.parked_messages.keys().filter(|(of, _)| of == sink).count();
        let dead = dead_messages(tables).filter(|dead_letter| {
            dead_letter.status.is_unresolved()
                && matches!(&dead_letter.subject, DeadLetterSubject::Message { sink: of, .. } if of == sink)
        });
        let rows = parked + dead.count();
        let counters = progress.counters;
        let compensated = tables.compensated.get(sink).copied().unwrap_or_default();
        let settled = counters.handled + counters.discarded + compensated + rows as u64;
        if counters.received != messages as u64 || settled != messages as u64 {
            return Err(format!(
                "guarantee 7: {sink}: {messages} messages, {rows} parked or dead: {counters:?}"
            ));
        }
    }
    Ok(())
}

/// The fields of an order are those that the version which wrote its state declares.
fn fields_are_those_of_the_states(tables: &Tables) -> Result<(), String> {
    let orders = tables.instances.iter().filter(|((plugin, _), _)| plugin.as_str() == ORDERS);
    for ((plugin, key), instance) in orders {
        let mut next = Some(instance.decided);
        let mut written = None;
        while let (Some(position), None) = (next, written) {
            let row = (position, plugin.clone(), key.clone());
            let found = tables.decisions.get(&row).or(tables.removed.decisions.get(&row));
            let record =
                found.ok_or_else(|| format!("guarantee 3: {key} has no decision at {position}"))?;
            next = record.previous;
            written = record.state.as_ref().map(|_| record);
        }
        let expected = written.map(|record| {
            let version = record.plugin_version.rsplit('.').next();
            let version = version.and_then(|number| number.parse().ok()).unwrap_or_default();
            let fields = Fields::new(&scripts::fields(version)).expect("an order has fields");
            fields.values(record.state.as_ref())
        });
        let found = tables.fields.get(&(plugin.clone(), key.clone()));
        if found != expected.as_ref() {
            return Err(format!(
                "guarantee 3: the fields of {key} are {found:?}, and its state has {expected:?}"
            ));
        }
    }
    Ok(())
}

/// The claims are those that the decisions of running instances made, and have not released.
pub(super) fn claims_are_those_of_the_instances(tables: &Tables) -> Result<(), String> {
    let mut claims = BTreeSet::new();
    let running = tables.instances.iter().filter(|(_, instance)| instance.status.is_running());
    for ((plugin, key), instance) in running {
        let mut summaries = Vec::new();
        let mut next = Some(instance.decided);
        while let Some(position) = next {
            let row = (position, plugin.clone(), key.clone());
            let decisions = tables.decisions.get(&row).or(tables.removed.decisions.get(&row));
            let decision = decisions
                .ok_or_else(|| format!("guarantee 3: {key} has no decision at {position}"))?;
            summaries.push(decision.summary.as_str());
            next = decision.previous;
        }
        let mut of_instance = BTreeSet::new();
        for summary in summaries.into_iter().rev() {
            let summary = DecisionSummary::from_json(summary)
                .map_err(|why| format!("guarantee 7: {key} has an invalid record: {why}"))?;
            for change in summary.keys {
                match change {
                    KeyChange::Claim(claimed) if claimed == *key => {}
                    KeyChange::Claim(claimed) => _ = of_instance.insert(claimed),
                    KeyChange::Release(released) => _ = of_instance.remove(&released),
                }
            }
            // A finished instance has no claims, and has none when it is reopened.
            if summary.complete {
                of_instance.clear();
            }
        }
        let rows = of_instance.into_iter().map(|claimed| (plugin.clone(), claimed, key.clone()));
        claims.extend(rows);
    }
    match claims == tables.claims {
        true => Ok(()),
        false => {
            Err(format!("guarantee 3: claims {:?}, and decided were {claims:?}", tables.claims))
        }
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
        // A receipt that was skipped before the handler was cured is never decided.
        let sent = NOTIFICATIONS - 2 * skipped_receipts(tables, order);
        let notified = (sent > 0).then_some(&sent);
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
    for ((sink, sequence), message) in &tables.messages {
        if message.plugin.as_str() != AUDITOR {
            continue;
        }
        let first = (sink.clone(), crate::model::Sequence(0));
        let earlier = tables.messages.range(first..(sink.clone(), *sequence));
        let late = |m: &Message| {
            m.plugin == message.plugin && m.key == message.key && m.cause > message.cause
        };
        if earlier.into_iter().any(|(_, earlier)| late(earlier)) {
            let (key, cause) = (&message.key, message.cause);
            return Err(format!("guarantee 4: {key} was decided out of order at {cause}"));
        }
    }
    Ok(())
}

fn skipped_receipts(tables: &Tables, order: &str) -> usize {
    let skipped = tables.dead_letters.values().filter(|dead_letter| {
        dead_letter.plugin.as_str() == NOTIFIER
            && dead_letter.subject == DeadLetterSubject::Event
            && dead_letter.status == DeadLetterStatus::Skipped
            && dead_letter.key.as_ref().is_some_and(|key| key.as_str() == order)
    });
    skipped.count()
}

/// Only poisoned or refused events and messages become dead letters, and the sender of a command
/// gets an event about it. All dead letters are resolved, and keep who resolved them and why.
fn only_bad_events_are_dead(plan: &Plan, tables: &Tables) -> Result<(), String> {
    for dead_letter in tables.dead_letters.values() {
        let key = dead_letter.key.as_ref().map(|key| key.as_str().to_owned()).unwrap_or_default();
        let event = &dead_letter.event;
        let names = [&key, &event.id, &event.event_type];
        let is_bad = |name: &String| plan.poisoned.contains(name) || plan.refused.contains(name);
        if !names.into_iter().any(is_bad) && !plan.unwritable.concerns(dead_letter) {
            return Err(format!("guarantee 6: {} died of another's poison", event.id));
        }
        if dead_letter.status.is_unresolved() || dead_letter.resolved_by.is_none() {
            return Err(format!("guarantee 7: no operator resolved dead letter {dead_letter:?}"));
        }
    }
    for dead_letter in dead_messages(tables) {
        let undeliverable = undeliverable_event_id(&dead_letter.event);
        if !tables.log.values().any(|entry| entry.event.id == undeliverable) {
            return Err(format!(
                "guarantee 7: no event reports that {} is dead",
                dead_letter.event.id
            ));
        }
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

/// The decisions of an order, in the order in which they were made.
fn decisions_of<'t>(order: &str, tables: &'t Tables) -> Result<Vec<&'t DecisionRecord>, String> {
    let row = |position| (position, PluginName::from(ORDERS), Key::from(order));
    let mut chain = Vec::new();
    let instance = tables.instances.get(&(PluginName::from(ORDERS), order.into()));
    let mut next = instance.map(|instance| instance.decided);
    while let Some(position) = next {
        let decision = tables.decisions.get(&row(position));
        let decision = decision
            .ok_or_else(|| format!("guarantee 3: {order} has no decision at {position}"))?;
        next = decision.previous;
        chain.push(decision);
    }
    chain.reverse();
    Ok(chain)
}

/// Each decision of an instance was made by the version that served its key at that time, and
/// its state is of that version.
fn versions_follow_each_other(
    plan: &Plan,
    history: &History,
    tables: &Tables,
) -> Result<(), String> {
    for order in plan.orders.keys() {
        let mut versions = Vec::new();
        for decision in decisions_of(order, tables)? {
            let text = decision.plugin_version.strip_prefix("1.0.");
            let version: u32 = text.and_then(|text| text.parse().ok()).unwrap_or_default();
            versions.push(version);
            if decision.state.as_ref().map(|state| state.version) != Some(state_version(version)) {
                return Err(format!("guarantee 8: {order} has a state of another version"));
            }
        }
        history.allows(ORDERS, order, &versions).map_err(|why| format!("guarantee 8: {why}"))?;
    }
    Ok(())
}

/// The event of a timer that was set anew is ignored, although it may be in the log. The check
/// follows each order's decisions in the order in which they were made.
fn only_the_last_timer_counts(plan: &Plan, tables: &Tables) -> Result<(), String> {
    for order in plan.orders.keys() {
        let mut set_by = None;
        for decision in decisions_of(order, tables)? {
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
