//! The end of an instance. If an operator ends one, the dispatcher does it without the handler,
//! when the turn of the event comes: in log order, like everything else that happens to the
//! instance. Housekeeping asks the dispatcher of an instance to remove it when it has been finished
//! for long enough, so that no later event finds it in memory.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::oneshot;

use crate::changes::requests::RemoveRequest;
use crate::model::{
    Absent, Action, Correlation, DecisionRecord, DecisionSummary, Effect, EndedBy, Event, Instance,
    InstanceStatus, Key, Position, Resolution, Source, Subscription, reserved,
};

use super::Dispatcher;

impl Dispatcher {
    pub(super) fn ends(&mut self, key: &Key, position: Position) -> bool {
        let delivery = self.lanes.get_mut(key, position.0);
        delivery.is_some_and(|delivery| is_end(&delivery.entry.event))
    }

    /// Finishes the instance. Its state stays, so that an operator can read it.
    pub(super) fn end(&mut self, key: &Key, position: Position) {
        let Some(delivery) = self.lanes.finish(key, position.0) else { return };
        let Some(before) = self.instance_cache.get(key) else { return };
        let now = (self.context.clock)();
        let mut instance = Instance::clone(before);
        let previous = instance.decided;
        instance.status = InstanceStatus::Ended;
        instance.decided = position;
        instance.place = instance.place.max(position);
        instance.version += 1;
        instance.updated_at = now;
        let Resolution { by, reason, .. } = resolution(&delivery.entry.event);
        let ended = Some(EndedBy { by, reason });
        let summary = DecisionSummary { ended, ..DecisionSummary::default() };
        let (plugin, version) = (self.plugin.clone(), self.versions.version_for(Some(key)));
        self.output.rows().decisions.push(DecisionRecord {
            previous: Some(previous),
            attempt: delivery.attempt,
            ..DecisionRecord::new((plugin, key.clone()), position, now, version, &summary)
        });
        self.output.count().handled += 1;
        self.write(Arc::new(instance));
        self.release_all(key);
        self.settle(key, position, delivery.via);
    }
}

impl Dispatcher {
    /// Removes finished instances, except those for which deliveries are in progress.
    pub(super) fn on_remove(&mut self, request: RemoveRequest) {
        let RemoveRequest { instances, reply } = request;
        let (durable, commit) = (self.output.durable(), self.output.next_commit());
        let mut count = 0;
        for (key, stored) in instances {
            let status = self.instance_cache.get(&key).map_or(stored, |cached| cached.status);
            if !self.lanes.contains(&key)
                && !self.dead_letters.contains(&key)
                && self.instance_cache.remove_finished(&key, durable, commit)
            {
                count += 1;
                self.output.count().instances.change(Some(status), None);
                self.output.rows().instances_removed.insert(key);
            }
        }
        let durable = match count > 0 {
            true => self.output.when_durable(),
            false => {
                let (committed, durable) = oneshot::channel();
                let _ = committed.send(());
                durable
            }
        };
        // Housekeeping may have stopped.
        let _ = reply.send((count, durable));
    }
}

pub(super) fn is_end(event: &Event) -> bool {
    event.event_type == reserved::INSTANCE_ENDED
}

/// How every process manager takes the event.
pub(super) fn subscription() -> Subscription {
    Subscription {
        event_type: reserved::INSTANCE_ENDED.to_owned(),
        source: Source::Any,
        key: Correlation::Instance,
        effect: Effect::Handle,
        absent: Absent::Ignore,
    }
}

/// The operator and the reason, as `Engine::end` wrote them.
pub(super) fn resolution(event: &Event) -> Resolution {
    let data: Value = serde_json::from_slice(&event.data).unwrap_or_default();
    let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
    Resolution { action: Action::Discard, by: text("by"), reason: text("reason"), batch: None }
}
