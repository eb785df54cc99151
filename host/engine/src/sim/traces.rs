//! Tests that the trace of a sender's event arrives at everything that follows from it: through
//! timers, holds, parking, redrives, restarts and refused commands, and whether or not spans are
//! reported.

use std::collections::BTreeMap;

use crate::model::{
    DecisionSummary, Event, LogEntry, Origin, Position, TRACEPARENT, TRACESTATE, Trace,
    TraceContext, reserved,
};
use crate::pure::identity::{self, DecisionIdentity};
use crate::seams::store::memory::Tables;

/// Gives an event a trace of its own, sampled or not.
pub(super) fn give_trace(event: &mut Event) {
    let id = identity::event_identity(Origin::Outside, event);
    let parent = format!("00-{id:032x}-{:016x}-{:02x}", (id % (1 << 64)) | 1, id % 2);
    let trace = Trace { parent, state: id.is_multiple_of(3).then(|| "sim=1".to_owned()) };
    trace.add_to(&mut event.extensions);
}

/// Checks all that is in the log and the outboxes of a world whose senders gave each event a trace.
pub(super) fn check(tables: &Tables) -> Result<(), String> {
    // A sender may have forged the ids of the host's events.
    let of_host: Vec<&LogEntry> =
        tables.log.values().filter(|entry| entry.hops.origin() == Origin::Host).collect();
    let mut made: BTreeMap<&str, &Event> = BTreeMap::new();
    made.extend(of_host.iter().map(|entry| (&*entry.event.id, &*entry.event)));
    made.extend(tables.messages.values().map(|message| (&*message.event.id, &*message.event)));
    for ((position, plugin, key), record) in &tables.decisions {
        let Some(cause) = tables.log.get(position) else { continue };
        let summary = DecisionSummary::from_json(&record.summary);
        let summary = summary.map_err(|error| format!("a decision's summary: {error}"))?;
        let identity = DecisionIdentity::new(plugin, cause.hops.origin(), &cause.event, key);
        for sent in &summary.messages {
            let Some(message) = made.get(sent.id.as_str()) else { continue };
            let expected = follows(&cause.event, |context| context.with_span(identity.span(0)));
            same(message, expected.as_ref(), &cause.event)?;
        }
    }
    for entry in &of_host {
        let event = &entry.event;
        let set_by = event.extension(reserved::EXTENSION_SET_BY).and_then(|at| at.parse().ok());
        let Some(cause) = set_by.and_then(|at| tables.log.get(&Position(at))) else { continue };
        let own = identity::timer_span(&event.id);
        let expected = follows(&cause.event, |context| context.with_span(own));
        same(event, expected.as_ref(), &cause.event)?;
    }
    let commands =
        tables.dead_letters.values().map(|dead_letter| (dead_letter.id.0.to_string(), dead_letter));
    let commands: BTreeMap<String, _> = commands.collect();
    for entry in &of_host {
        let dead_letter = entry.event.extension(reserved::EXTENSION_DEAD_LETTER);
        if let Some(dead_letter) = dead_letter.and_then(|dead_letter| commands.get(dead_letter)) {
            same(&entry.event, Trace::of(&dead_letter.event).as_ref(), &dead_letter.event)?;
        }
    }
    Ok(())
}

/// The trace of something that follows from an event: the same bytes, unless a span is reported.
fn follows(cause: &Event, own: impl FnOnce(TraceContext) -> TraceContext) -> Option<Trace> {
    let trace = Trace::of(cause)?;
    let context = TraceContext::parse(&trace.parent).filter(|context| context.is_sampled());
    Some(match context {
        Some(context) => Trace { parent: own(context).to_traceparent(), ..trace },
        None => trace,
    })
}

fn same(event: &Event, expected: Option<&Trace>, cause: &Event) -> Result<(), String> {
    let found = Trace::of(event);
    if found.as_ref() == expected {
        return Ok(());
    }
    Err(format!(
        "`{}` of type {} has the {TRACEPARENT} and {TRACESTATE} {found:?} instead of {expected:?}; \
         its cause is `{}` of type {}",
        event.id, event.event_type, cause.id, cause.event_type
    ))
}
