//! Turns the work of the other stages into a batch: gives events their positions and messages their
//! sequences, and keeps the rows of each stage together as a unit.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::units::{Gathered, Owner, Rows};
use super::{BATCH_ROWS_MAX, Committer, Queue};
use crate::changes::{ControlChange, PluginChanges, SinkChanges, Work};
use crate::model::{Event, Hops, Key, Message, MessageKind, PluginName, SinkName, reserved};
use crate::pure::identity::ALERT_PLUGIN;
use crate::seams::store::{Append, Batch, ClaimChange, FieldsRow, TimerRow};

impl Committer {
    /// Gathers the work that can be written together with the first one.
    pub(super) fn gather_all(&mut self, first: Work, queue: &mut Queue) -> Gathered {
        let mut gathered = Gathered::default();
        let mut plugins = BTreeSet::new();
        let mut sinks = BTreeSet::new();
        self.gather(&mut gathered, first, &mut plugins, &mut sinks);
        while gathered.size() < BATCH_ROWS_MAX
            && let Some(more) = queue.next_now()
        {
            // A second set of changes of one plugin could name a row again: it starts the next batch.
            if is_second(&more, &plugins, &sinks) || matches!(more, Work::Remove(_)) {
                queue.waiting.push_front(more);
                break;
            }
            self.gather(&mut gathered, more, &mut plugins, &mut sinks);
        }
        gathered
    }

    fn gather(
        &mut self,
        gathered: &mut Gathered,
        work: Work,
        plugins: &mut BTreeSet<PluginName>,
        sinks: &mut BTreeSet<SinkName>,
    ) {
        let before = Rows::of(&gathered.batch);
        let batch = &mut gathered.batch;
        let owner = match work {
            Work::Head(reply) => return self.heads.push(reply),
            Work::Offer(offer) => {
                for event in &offer.events {
                    self.append(batch, Arc::clone(event), offer.hops, false, None);
                    if offer.hops != Hops::OUTSIDE {
                        self.route_alert(batch, event, offer.hops);
                    }
                }
                batch.items_done.extend(offer.item);
                Owner::Offer(offer)
            }
            Work::Fire(fire) => {
                for (row, event) in fire.timers {
                    let hops = row.hops;
                    self.append(batch, event, hops, false, Some(row));
                }
                Owner::Timers
            }
            Work::Control(ControlChange { put, removed, reply }) => {
                batch.controls.extend(put);
                batch.controls_removed.extend(removed);
                Owner::Control { reply }
            }
            // `run` writes it in a transaction of its own.
            Work::Remove(_) => return,
            Work::Plugin(mut changes) => {
                let compensations = std::mem::take(&mut changes.compensations);
                let replies = std::mem::take(&mut changes.replies);
                let rejections = changes
                    .rejections
                    .take()
                    .expect("a dispatcher sends its channel for rejections");
                let progress = changes.progress.as_ref();
                let plugin = progress.expect("changes are handed over with their cursor");
                let plugin = plugin.plugin.clone();
                if self.stale.get(&plugin).is_some_and(|stale| stale.same_channel(&rejections)) {
                    return;
                }
                plugins.insert(plugin.clone());
                self.gather_plugin(batch, *changes);
                Owner::Plugin { plugin, replies, compensations, rejections }
            }
            Work::Sink(changes) => {
                sinks.extend(changes.progress.as_ref().map(|progress| progress.sink.clone()));
                self.gather_sink(batch, *changes)
            }
        };
        gathered.add(before, owner);
    }

    fn gather_sink(&mut self, batch: &mut Batch, mut changes: SinkChanges) -> Owner {
        batch.dead_letters.extend(changes.dead_letters.drain(..).map(Arc::new));
        batch.parked_messages.append(&mut changes.parked);
        for (event, hops) in changes.reserved.drain(..) {
            self.append(batch, Arc::new(event), hops, false, None);
        }
        if let Some(progress) = changes.progress {
            let sink = || progress.sink.clone();
            let removed = changes.parked_removed.drain(..).map(|place| (sink(), place));
            batch.parked_messages_removed.extend(removed);
            for (place, wait) in std::mem::take(&mut changes.waits) {
                match wait {
                    Some(wait) => batch.message_waits.push(wait),
                    None => batch.message_waits_removed.push((sink(), place)),
                }
            }
            batch.sinks.push(progress);
        }
        let dropped = changes.dropped.take().expect("a sink sends its channel for rejections");
        Owner::Sink { replies: changes.replies, dropped }
    }

    fn gather_plugin(&mut self, batch: &mut Batch, changes: PluginChanges) {
        let progress = changes.progress.expect("changes are handed over with their cursor");
        let plugin = progress.plugin.clone();
        let name = || plugin.clone();
        batch.instances.extend(changes.instances.into_values().map(|row| (name(), row)));
        batch.instances_removed.extend(changes.instances_removed.into_iter().map(|k| (name(), k)));
        let fields = changes.fields.into_iter();
        batch.fields.extend(fields.map(|(key, values)| FieldsRow { plugin: name(), key, values }));
        batch.claims.extend(changes.claims.into_iter().map(|((key, instance), claimed)| {
            ClaimChange { plugin: name(), key, instance, claimed }
        }));
        for ((instance, timer), row) in changes.timers {
            match row {
                Some(row) => batch.timers_set.push(row),
                None => batch.timers_cleared.push((name(), instance, timer)),
            }
        }
        batch.decisions.extend(changes.decisions);
        for ((position, key), held) in changes.held {
            match held {
                Some(held) => batch.held.push(held),
                None => batch.held_removed.push((name(), key, position)),
            }
        }
        for ((position, key), parked) in changes.parked {
            match parked {
                Some(parked) => batch.parked.push(parked),
                None => batch.parked_removed.push((name(), key, position)),
            }
        }
        for (key, wait) in changes.waits {
            match wait {
                Some(wait) => batch.waits.push((name(), key, wait)),
                None => batch.waits_removed.push((name(), key)),
            }
        }
        batch.dead_letters.extend(changes.dead_letters.into_iter().map(Arc::new));
        batch.dead_letters_closed.extend(changes.dead_letters_closed);
        batch.timers_fired.extend(changes.timers_fired);
        batch.dead_letters_noted.extend(changes.dead_letters_noted);
        for outgoing in changes.outgoing {
            if outgoing.append {
                let event = Arc::clone(&outgoing.event);
                self.append(batch, event, outgoing.hops, outgoing.redriven, None);
            }
            if let Some(sink) = outgoing.sink {
                let sequence = self.outboxes.assign(&sink);
                batch.messages.push(Arc::new(Message {
                    sink,
                    sequence,
                    kind: outgoing.kind,
                    plugin: name(),
                    key: outgoing.key,
                    cause: outgoing.cause,
                    instance: outgoing.instance,
                    event: outgoing.event,
                    hops: outgoing.hops,
                }));
            }
        }
        for (position, keys) in changes.partly_decided {
            batch.partly_decided.extend(keys.into_iter().map(|key| (name(), position, key)));
        }
        let settled = changes.partly_decided_removed.into_iter();
        batch.partly_decided_removed.extend(settled.map(|position| (name(), position)));
        batch.plugins.push(progress);
    }

    /// Puts an alert that a route names into the outbox of the route's sink, like a plugin's event.
    fn route_alert(&mut self, batch: &mut Batch, event: &Arc<Event>, hops: Hops) {
        if !event.event_type.starts_with(reserved::ALERT) {
            return;
        }
        let Some(sink) = self.routes.configured(&event.event_type) else { return };
        let sequence = self.outboxes.assign(&sink);
        batch.messages.push(Arc::new(Message {
            sink,
            sequence,
            kind: MessageKind::Event,
            plugin: PluginName::from(ALERT_PLUGIN),
            key: Key::from(event.subject.as_deref().unwrap_or_default()),
            cause: self.position,
            instance: None,
            event: Arc::clone(event),
            hops: hops.after(1),
        }));
    }

    fn append(
        &mut self,
        batch: &mut Batch,
        event: Arc<Event>,
        hops: Hops,
        redriven: bool,
        fires: Option<TimerRow>,
    ) {
        self.position = self.position.next();
        batch.appends.push(Append {
            position: self.position,
            received_at: (self.clock)(),
            event,
            hops,
            redriven,
            fires: fires.map(|row| row.timer),
        });
    }
}

fn is_second(work: &Work, plugins: &BTreeSet<PluginName>, sinks: &BTreeSet<SinkName>) -> bool {
    match work {
        Work::Plugin(changes) => {
            changes.progress.as_ref().is_some_and(|progress| plugins.contains(&progress.plugin))
        }
        Work::Sink(changes) => {
            changes.progress.as_ref().is_some_and(|progress| sinks.contains(&progress.sink))
        }
        // Only one removal is in progress at a time.
        Work::Offer(_) | Work::Fire(_) | Work::Remove(_) | Work::Head(_) | Work::Control(_) => {
            false
        }
    }
}
