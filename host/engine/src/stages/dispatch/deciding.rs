//! Applies the reply of a handler. A decision changes the instance in memory and the next commit;
//! questions are answered and lead to another call (`asking.rs`); a failure leads to a retry or to
//! a dead letter.
//!
//! Message ids and seeds follow from the event, so a repeated call sends the same messages. A
//! failure leaves no trace but the attempt that it counts.

use std::sync::Arc;
use std::time::Duration;

use crate::changes::Addressed;
use crate::changes::asking::{Charge, Failed};
use crate::changes::jobs::JobResult;
use crate::model::{
    Decision, DecisionRecord, DecisionSummary, Event, Failure, Hops, Instance, InstanceStatus, Key,
    KeyChange, LogEntry, MessageKind, Outgoing, Position, Role, SentMessage, State, Timer,
    TimerChange, TimerName, TimerRef, Timestamp, Trace, TraceContext, attribute, reserved,
};
use crate::pure::identity::{self, DecisionIdentity};
use crate::pure::monotonic::{Instant, after};
use crate::pure::retry::mix;
use crate::seams::handler::Reply;
use crate::seams::lookup::Unanswered;
use crate::seams::store::TimerRow;

use super::spans::{HandedOn, report_failure, without_trace};
use super::versions::PluginVersion;
use super::{Dispatcher, Via, hops, importing};

/// The events that wait for a lookup ask it again within this many milliseconds, in any order.
const PROBE_TURNS_MS: u64 = 100;

impl Dispatcher {
    pub(super) fn on_results(&mut self, results: Vec<JobResult>) {
        self.calls.end(results.len());
        for result in results {
            let JobResult { position, key, generation, reply, log, call } = result;
            let is_current = generation == self.versions.generation_of(&key);
            let decided = match reply {
                Ok(Reply::Decided(decision)) => check(&decision, &key)
                    .and_then(|()| self.check_hops(&key, position, &decision))
                    .map(|()| Some(decision))
                    .map_err(Failure::Permanent),
                Ok(Reply::Need(questions)) if is_current => {
                    self.ask(&key, position, questions).map(|()| None)
                }
                Ok(Reply::Need(_)) => Err(Failure::Transient("another version asked".to_owned())),
                Err(failure) => Err(failure),
            };
            match decided {
                Ok(Some(decision)) => {
                    self.calls.decided(decision.bytes());
                    let made_by = self.versions.version(generation).clone();
                    let state = call.state;
                    let now = self.look_back(&key, position, decision, state, &made_by);
                    if let Some((decision, state)) = now {
                        self.decide(&key, position, decision, state, &made_by);
                    }
                }
                // Its questions may fail, too.
                Ok(None) => self.keep_log(&key, position, log),
                // It had no effect, and the version that serves now may do better.
                Err(_) if !is_current => self.start_over(&key, position),
                Err(failure) => {
                    self.keep_log(&key, position, log);
                    self.fail(&key, position, Unanswered::from(failure).into());
                }
            }
        }
        self.take_back_calls();
    }

    /// What the handler logged in its last call for an event is part of the dead letter, if the
    /// event becomes one.
    fn keep_log(&mut self, key: &Key, position: Position, log: String) {
        if let Some(delivery) = self.lanes.get_mut(key, position.0) {
            delivery.log = (!log.is_empty()).then(|| log.into());
        }
    }

    pub(super) fn decide(
        &mut self,
        key: &Key,
        position: Position,
        decision: Decision,
        state: Option<State>,
        made_by: &PluginVersion,
    ) {
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return };
        let entry = delivery.entry.clone();
        let (via, attempt, accepted_at) = (delivery.via, delivery.attempt, delivery.accepted_at);
        let now = delivery.now.unwrap_or(entry.received_at);
        let answers = std::mem::take(&mut delivery.answers);
        let identity = delivery.identity(&self.plugin, key);
        let traced = delivery.traced.take();
        let handed_on = self.report_decision(key, &entry, traced, identity, attempt);

        let made = Made { now, hops: entry.hops.after(hops::made(&decision, now)), handed_on };
        let sent = self.send(key, &entry, &decision.messages, identity, &made);
        let dead_letter = match via {
            Via::DeadLetter(id) => Some(id),
            Via::Flight | Via::Hold | Via::Parked => None,
        };
        let summary = DecisionSummary {
            traceparent: made.handed_on.span.map(TraceContext::to_traceparent),
            imported: importing::imported_by(&entry.event),
            ..DecisionSummary::new(&decision, sent, &answers, dead_letter)
        };
        let written = decision.state.clone().map(|data| State { version: made_by.of_state, data });
        if let Some(state) = &written
            && let Some(values) = self.versions.field_values(made_by, state)
        {
            self.output.rows().fields.insert(key.clone(), values);
        }
        let previous = self.instance_cache.get(key).map(|instance| instance.decided);
        let (plugin, version) = (self.plugin.clone(), Arc::clone(&made_by.of_plugin));
        self.output.rows().decisions.push(DecisionRecord {
            previous,
            attempt,
            state: written.clone(),
            ..DecisionRecord::new((plugin, key.clone()), position, now, version, &summary)
        });
        self.output.count().handled += 1;
        if self.versions.hold_max().is_some() && via == Via::Flight {
            self.flights.count_decision(position);
        }
        let claimed = match self.versions.has_instances() {
            true => self.transit(key, &entry, decision, written.or(state), &made),
            false => Vec::new(),
        };
        // Done before the lane continues: the events that an instance has just claimed come next.
        for claimed_key in &claimed {
            self.on_claim(claimed_key, key, accepted_at);
        }
        self.compensate(&entry);
        self.lanes.finish(key, position.0);
        self.settle(key, position, via);
    }

    /// Writes the next version of the instance, and returns the keys that it has newly claimed.
    fn transit(
        &mut self,
        key: &Key,
        entry: &LogEntry,
        decision: Decision,
        state: Option<State>,
        made: &Made,
    ) -> Vec<Key> {
        let now = made.now;
        let before = self.instance_cache.get(key);
        let mut claimed = Vec::new();
        let mut instance = match before {
            Some(instance) => Instance::clone(instance),
            None => {
                claimed.push(key.clone());
                let started_at = importing::started_at(&entry.event).unwrap_or(now);
                Instance::started(key.clone(), entry.position, started_at)
            }
        };
        instance.state = state;
        instance.decided = entry.position;
        instance.place = instance.place.max(entry.position);
        instance.version += 1;
        instance.updated_at = now;
        if let Some(span) = made.handed_on.span {
            instance.trace = Some(Box::new(span));
        }
        // A completed instance decides only events that may reopen it.
        instance.status = match decision.complete {
            true => InstanceStatus::Completed,
            false => InstanceStatus::Running,
        };
        self.write(Arc::new(instance));
        self.take_fired(key, &entry.event);
        self.change_timers(key, entry.position, decision.timers, made);
        self.change_keys(key, decision.keys, &mut claimed);
        if decision.complete {
            self.release_all(key);
            claimed.retain(|claimed| claimed == key);
        }
        claimed
    }

    /// An instance is finished: its timers are cleared, and later events for the keys that it had
    /// claimed no longer reach it.
    pub(super) fn release_all(&mut self, key: &Key) {
        let (claims, timers) = self.instance_cache.release_all(key);
        let released = claims.into_iter().map(|claimed| ((claimed, key.clone()), false));
        self.output.rows().claims.extend(released);
        self.output
            .rows()
            .timers
            .extend(timers.into_iter().map(|name| ((key.clone(), name), None)));
    }

    /// A timer that fired is no longer set, unless the decision sets it again.
    fn take_fired(&mut self, key: &Key, event: &Event) {
        if event.event_type == reserved::TIMER_FIRED
            && let Some(name) = event.subject.as_deref().map(TimerName::from)
            && self.instance_cache.clear_timer(key, &name)
        {
            self.output.rows().timers.insert((key.clone(), name), None);
        }
    }

    /// Keeps the next version of the instance in memory, and adds it to the next commit.
    pub(super) fn write(&mut self, instance: Arc<Instance>) {
        let status = instance.status;
        self.output.rows().instances.insert(instance.key.clone(), Arc::clone(&instance));
        let before = self.instance_cache.write(instance, self.output.next_commit());
        self.output.count().instances.change(before, Some(status));
    }

    fn change_timers(
        &mut self,
        instance: &Key,
        set_by: Position,
        changes: Vec<TimerChange>,
        made: &Made,
    ) {
        let now = made.now;
        for change in changes {
            match change {
                TimerChange::Set { name, due, data } => {
                    let due = hops::due_at(due, now);
                    let hops = if hops::is_soon(due, now) { made.hops } else { Hops::FIRST };
                    let timer = TimerRef {
                        plugin: self.plugin.clone(),
                        instance: instance.clone(),
                        name: name.clone(),
                        due,
                        set_by,
                    };
                    self.instance_cache.set_timer(instance, name.clone(), Timer { due, set_by });
                    let trace = made.handed_on.trace.clone().map(Box::new);
                    let row = TimerRow { timer, data, hops, trace };
                    self.output.rows().timers.insert((instance.clone(), name), Some(row));
                }
                TimerChange::Cancel(name) => {
                    if self.instance_cache.clear_timer(instance, &name) {
                        self.output.rows().timers.insert((instance.clone(), name), None);
                    }
                }
            }
        }
    }

    fn change_keys(&mut self, instance: &Key, changes: Vec<KeyChange>, claimed: &mut Vec<Key>) {
        for change in changes {
            match change {
                KeyChange::Claim(key) => {
                    if key != *instance && self.instance_cache.claim(instance, key.clone()) {
                        self.output.rows().claims.insert((key.clone(), instance.clone()), true);
                        claimed.push(key);
                    }
                }
                KeyChange::Release(key) => {
                    if self.instance_cache.release(instance, &key) {
                        self.output.rows().claims.insert((key.clone(), instance.clone()), false);
                        claimed.retain(|claimed| *claimed != key);
                    }
                }
            }
        }
    }

    /// Derives the ids of the decision's messages, and addresses them to their sinks.
    fn send(
        &mut self,
        key: &Key,
        entry: &LogEntry,
        messages: &[Outgoing],
        identity: DecisionIdentity,
        made: &Made,
    ) -> Vec<SentMessage> {
        if messages.is_empty() {
            return Vec::new();
        }
        let (source, time) = (identity::source(&self.plugin), made.now.to_rfc3339());
        let started = || self.instance_cache.get(key).map_or(entry.position, |found| found.started);
        let instance = self.versions.has_instances().then(started);
        let mut sent = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            let is_command = message.kind == MessageKind::Command;
            // The events of an enricher leave the host. Other events leave only if a route names
            // their type.
            let leaves = is_command || self.versions.role() == Role::Enricher;
            let sink = match leaves {
                true => Some(self.context.routes.sink(&message.event_type)),
                false => self.context.routes.configured(&message.event_type),
            };
            let event = Event {
                id: identity.message_id(index),
                source: source.clone(),
                event_type: message.event_type.clone(),
                subject: message.subject.clone(),
                time: Some(time.clone()),
                datacontenttype: Some(message.datacontenttype.clone()),
                dataschema: None,
                extensions: extensions(message, key, made.handed_on.trace.as_ref()),
                data: message.data.clone(),
            };
            sent.push(SentMessage {
                id: event.id.clone(),
                kind: message.kind,
                event_type: message.event_type.clone(),
                sink: sink.clone(),
            });
            self.output.rows().outgoing.push(Addressed {
                sink,
                kind: message.kind,
                key: key.clone(),
                cause: entry.position,
                instance,
                event: Arc::new(event),
                hops: made.hops,
                append: !is_command,
                redriven: false,
            });
        }
        sent
    }

    pub(super) fn fail(&mut self, key: &Key, position: Position, failed: Failed) {
        let Failed { unanswered, charge } = failed;
        let (plugin, retry) = (&self.plugin, &self.context.retry);
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return };
        let attempt = delivery.attempt;
        let identity = delivery.identity(plugin, key);
        let seed = identity.short_seed();
        if let Some(traced) = delivery.traced.take() {
            let (spans, about) = (&self.context.spans, (plugin, key, &delivery.entry));
            report_failure(spans, about, (&traced, identity), attempt, &unanswered.to_string());
        }
        let (Unanswered::Transient { retry_after, .. }
        | Unanswered::Unavailable { retry_after, .. }) = &unanswered
        else {
            return self.park_behind_dead_letter(key, position, &unanswered.to_string(), attempt);
        };
        let troubles = delivery.troubles.get_or_insert_default();
        troubles.failures += 1;
        match &charge {
            Charge::Attempt if attempt >= retry.attempts_max => {
                return self.park_behind_dead_letter(
                    key,
                    position,
                    &unanswered.to_string(),
                    attempt,
                );
            }
            Charge::Attempt => delivery.attempt += 1,
            Charge::Lookup { .. } => {}
        }
        let own = retry.endless().delay(troubles.failures, seed, *retry_after);
        let own = after(Instant::now(), own.unwrap_or(retry.delay_max));
        let until = match charge {
            Charge::Attempt => own,
            Charge::Lookup { failed_at, until } => {
                troubles.failed_at = Some(failed_at);
                // A lookup that is down has a pause of its own. After it, any of the waiting events
                // asks: if it were always the same one, and that one failed, the lookup would stay
                // down.
                let turn = mix(seed ^ u64::from(troubles.failures)) % PROBE_TURNS_MS;
                until.map_or(own, |until| after(until, Duration::from_millis(turn)))
            }
        };
        tracing::debug!(plugin = %self.plugin, %position, %key, attempt, reason = %unanswered, "retrying");
        delivery.now = None;
        delivery.answers.clear();
        delivery.rounds = 0;
        self.try_again(key, position, &unanswered.to_string(), until);
    }
}

impl Instance {
    fn started(key: Key, position: Position, now: Timestamp) -> Self {
        Self {
            key,
            status: InstanceStatus::Running,
            started: position,
            state: None,
            decided: Position(0),
            place: Position(0),
            version: 0,
            started_at: now,
            updated_at: now,
            trace: None,
        }
    }
}

/// Checks the rules that the types cannot express.
fn check(decision: &Decision, own: &Key) -> Result<(), String> {
    for change in &decision.keys {
        match change {
            KeyChange::Claim(key)
                if key.as_str().is_empty() || key.as_str().len() > Key::BYTES_MAX =>
            {
                return Err(format!("an additional key has 1 to {} bytes", Key::BYTES_MAX));
            }
            KeyChange::Release(key) if key == own => {
                return Err("an instance cannot release its own correlation key".to_owned());
            }
            KeyChange::Claim(_) | KeyChange::Release(_) => {}
        }
    }
    Ok(())
}

/// The values that all messages and timers of a decision share.
struct Made {
    now: Timestamp,
    hops: Hops,
    handed_on: HandedOn,
}

/// The partitioning extension of CloudEvents carries the ordering key, unless the plugin has set
/// it. Only the host sets the trace.
fn extensions(message: &Outgoing, key: &Key, trace: Option<&Trace>) -> Vec<(String, String)> {
    const PARTITION: &str = "partitionkey";
    let mut extensions = without_trace(&message.extensions);
    if !extensions.iter().any(|(name, _)| name == PARTITION) {
        // A key comes from data, and an attribute must not have control characters.
        let key = attribute::encoded(key.as_str()).into_owned();
        extensions.push((PARTITION.to_owned(), key));
    }
    if let Some(trace) = trace {
        trace.add_to(&mut extensions);
    }
    extensions
}
