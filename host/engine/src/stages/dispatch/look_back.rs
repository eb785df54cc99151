//! Completes a claim of a key that is the own key of another instance. Events for that key were
//! decided by that instance and are not held: a row for each event that reaches its instance would
//! cost more than the event. They are on record as the instance's decisions. So before such a claim
//! takes effect, the dispatcher reads these decisions, and holds for the claimed key the events
//! that may still be held. The claiming decision and its key wait meanwhile; all other keys
//! continue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use crate::model::{
    Absent, Decision, Instance, Key, KeyChange, PluginName, Position, State, Subscription,
    Timestamp,
};
use crate::pure::correlate::correlate;
use crate::seams::store::{DecidedEvent, ReadError, Store};
use crate::stages::reads::{detached, until_durable, until_read};

use super::Dispatcher;
use super::intake::Found;
use super::versions::PluginVersion;

/// The most decisions of one instance that are read: far more than one makes while an event is
/// held.
const DECISIONS_MAX: usize = 10_000;
/// Decisions in one page: some 64 MB of the largest events. The events that may be held again are
/// kept.
const PAGE: usize = 64;

#[derive(Default)]
pub(super) struct LookBacks {
    under_way: FuturesUnordered<BoxFuture<'static, LookedBack>>,
    /// The keys that these are about. Events that are decided for them meanwhile are held.
    keys: BTreeMap<Key, usize>,
}

/// What was read for the claims of a decision.
pub(super) enum LookedBack {
    /// All instances that the store has for the keys that were not known.
    Instances(Waiting, Found),
    /// The claimed keys of other instances, and the events that these have decided.
    Decided(Waiting, Vec<(Key, Vec<DecidedEvent>)>),
}

/// A decision that waits for the read.
pub(super) struct Waiting {
    key: Key,
    position: Position,
    decision: Decision,
    state: Option<State>,
    made_by: PluginVersion,
    claims: Vec<Key>,
    /// The date of the claims.
    claimed_at: Timestamp,
}

impl LookBacks {
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(super) async fn next(&mut self) -> Option<LookedBack> {
        self.under_way.next().await
    }

    pub(super) fn concern(&self, key: &Key) -> bool {
        !self.keys.is_empty() && self.keys.contains_key(key)
    }
}

impl Dispatcher {
    /// Lets a decision wait, if it claims a key that may be another instance's own. Returns it if
    /// it does not.
    pub(super) fn look_back(
        &mut self,
        key: &Key,
        position: Position,
        decision: Decision,
        state: Option<State>,
        made_by: &PluginVersion,
    ) -> Option<(Decision, Option<State>)> {
        let Some(hold_max) = self.versions.hold_max().filter(|_| !decision.keys.is_empty()) else {
            return Some((decision, state));
        };
        let (claims, unknown) = self.claims_of_others(key, &decision);
        if claims.is_empty() {
            return Some((decision, state));
        }
        for claim in &claims {
            *self.look_backs.keys.entry(claim.clone()).or_default() += 1;
        }
        let accepted_at = self.lanes.get_mut(key, position.0).and_then(|d| d.accepted_at);
        let claimed_at = accepted_at.unwrap_or_else(|| (self.context.clock)());
        let (key, made_by) = (key.clone(), made_by.clone());
        let waiting = Waiting { key, position, decision, state, made_by, claims, claimed_at };
        match unknown.is_empty() {
            true => self.read_decided(waiting, hold_max),
            false => self.find_instances(waiting, unknown),
        }
        None
    }

    fn find_instances(&mut self, waiting: Waiting, keys: Vec<Key>) {
        let (store, plugin) = (Arc::clone(&self.context.store), self.plugin.clone());
        self.look_backs.under_way.push(detached(async move {
            let instances = until_read(|| store.load(&plugin, &keys), |error| warn(&plugin, error));
            let instances = instances.await;
            LookedBack::Instances(waiting, Found { keys, instances })
        }));
    }

    fn read_decided(&mut self, waiting: Waiting, hold_max: Duration) {
        let (store, plugin) = (Arc::clone(&self.context.store), self.plugin.clone());
        let since = waiting.claimed_at.before(hold_max);
        let held = self.versions.held();
        // The decisions in memory may be ahead of the store.
        let durable = self.output.when_durable();
        self.look_backs.under_way.push(detached(async move {
            until_durable(Some(durable)).await;
            let decided = until_read(
                || decided_at_keys(&*store, &plugin, &waiting.claims, since, &held),
                |error| warn(&plugin, error),
            );
            let decided = decided.await;
            LookedBack::Decided(waiting, decided)
        }));
    }

    /// The keys of a decision's new claims under which there is an instance, or may be one, as far
    /// as memory shows; and those of them that are not known.
    fn claims_of_others(&mut self, own: &Key, decision: &Decision) -> (Vec<Key>, Vec<Key>) {
        let (mut claims, mut unknown) = (Vec::new(), Vec::new());
        for change in &decision.keys {
            let KeyChange::Claim(key) = change else { continue };
            let has_it = self.instance_cache.claims_of(own).is_some_and(|own| own.contains(key));
            if has_it || key == own || claims.contains(key) {
                continue;
            }
            let is_unknown = !self.instance_cache.is_known(key);
            if is_unknown {
                unknown.push(key.clone());
            }
            if is_unknown || self.instance_cache.get(key).is_some() {
                claims.push(key.clone());
            }
        }
        (claims, unknown)
    }

    pub(super) fn on_looked_back(&mut self, looked: LookedBack) {
        match looked {
            LookedBack::Instances(waiting, found) => {
                self.take_in(found);
                let is_there = |claim: &Key| self.instance_cache.get(claim).is_some();
                match self.versions.hold_max().filter(|_| waiting.claims.iter().any(is_there)) {
                    Some(hold_max) => self.read_decided(waiting, hold_max),
                    None => self.claim_now(waiting, Vec::new()),
                }
            }
            LookedBack::Decided(waiting, decided) => self.claim_now(waiting, decided),
        }
    }

    fn claim_now(&mut self, waiting: Waiting, decided: Vec<(Key, Vec<DecidedEvent>)>) {
        let Waiting { key, position, decision, state, made_by, claims, claimed_at } = waiting;
        for claim in claims {
            if let Some(count) = self.look_backs.keys.get_mut(&claim) {
                *count -= 1;
                if *count == 0 {
                    self.look_backs.keys.remove(&claim);
                }
            }
        }
        for (claim, events) in decided {
            for event in events {
                let position = event.position;
                let has_it =
                    event.deciders.contains(&key) || self.lanes.get_mut(&key, position.0).is_some();
                // An event in flight, or one that will be read again, is reached by every earlier
                // claim.
                let is_settled =
                    position <= self.intake.place() && !self.flights.contains(position);
                if !has_it && is_settled {
                    self.hold_for_claim(event, &claim, claimed_at);
                }
            }
        }
        self.decide(&key, position, decision, state, &made_by);
    }

    /// Holds an event again that the instance of this key has decided, if a claim of this date is
    /// in time for it.
    fn hold_for_claim(&mut self, event: DecidedEvent, claim: &Key, claimed_at: Timestamp) {
        let Some(entry) = event.entry else { return };
        let Some(subscription) = self.versions.subscription(&entry.event) else { return };
        let Absent::Hold(duration) = subscription.absent else { return };
        let until = entry.received_at.after(duration);
        let keys = correlate(&entry.event, &subscription.key).unwrap_or_default();
        if claimed_at < until && keys.contains(claim) {
            self.hold_again(entry, claim, until, &event.deciders);
        }
    }
}

fn warn(plugin: &PluginName, error: &ReadError) {
    tracing::warn!(%plugin, %error, "reading the events of a claim failed; retrying");
}

/// The events that the instances with these own keys have decided since a date.
async fn decided_at_keys(
    store: &dyn Store,
    plugin: &PluginName,
    keys: &[Key],
    since: Timestamp,
    held: &[Arc<Subscription>],
) -> Result<Vec<(Key, Vec<DecidedEvent>)>, ReadError> {
    let loaded = store.load(plugin, keys).await?;
    let instances = loaded.iter().map(|loaded| &loaded.instance);
    let mut decided = Vec::new();
    for instance in instances.filter(|instance| keys.contains(&instance.key)) {
        let events = decided_since(store, plugin, instance, since, held).await?;
        decided.push((instance.key.clone(), events));
    }
    Ok(decided)
}

/// The events that an instance has decided since a date and that are held if no instance has their
/// key. The others, which can be large, are dropped at once.
async fn decided_since(
    store: &dyn Store,
    plugin: &PluginName,
    instance: &Instance,
    since: Timestamp,
    held: &[Arc<Subscription>],
) -> Result<Vec<DecidedEvent>, ReadError> {
    let may_be_held = |event: &DecidedEvent| {
        let Some(event) = event.entry.as_ref().map(|entry| &entry.event) else { return false };
        let subscription = held.iter().find(|subscription| subscription.takes(event));
        subscription.is_some_and(|subscription| {
            correlate(event, &subscription.key).is_ok_and(|keys| keys.contains(&instance.key))
        })
    };
    let (mut events, mut count): (Vec<DecidedEvent>, usize) = (Vec::new(), 0);
    let mut next = Some(instance.decided);
    while let Some(from) = next.filter(|_| count < DECISIONS_MAX) {
        let page = store.read_decided(plugin, &instance.key, from, PAGE).await?;
        next = page.last().and_then(|last| last.previous);
        let is_end = page.iter().any(|event| event.decided_at <= since);
        count += page.len();
        let recent = |event: &DecidedEvent| event.decided_at > since && may_be_held(event);
        events.extend(page.into_iter().filter(recent));
        if is_end {
            break;
        }
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{
        Correlation, DecisionRecord, DecisionSummary, Effect, Event, Hops, InstanceStatus, Source,
    };
    use crate::seams::store::memory::MemoryStore;
    use crate::seams::store::{Append, Batch};

    fn event(number: u64) -> Event {
        let is_held = number.is_multiple_of(50);
        Event {
            id: number.to_string(),
            source: "/test".to_owned(),
            event_type: if is_held { "held" } else { "other" }.to_owned(),
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: Vec::new(),
            // Every second one names another key.
            data: Bytes::from(format!(r#"{{"key":"i{}"}}"#, number / 50 % 2)),
        }
    }

    /// Otherwise an instance with a long history of large events takes any amount of memory.
    #[tokio::test]
    async fn what_is_looked_through_is_not_kept() {
        let (store, plugin, key) = (MemoryStore::new(), PluginName::from("p"), Key::from("i1"));
        let (first, last) = (Position(1), Position(300));
        let appends = (1..=last.0).map(|number| Append {
            position: Position(number),
            received_at: Timestamp(number),
            event: Arc::new(event(number)),
            hops: Hops::OUTSIDE,
            fires: None,
            redriven: false,
        });
        let decisions = (1..=last.0).map(|number| DecisionRecord {
            previous: (number > first.0).then(|| Position(number - 1)),
            ..DecisionRecord::new(
                (plugin.clone(), key.clone()),
                Position(number),
                Timestamp(number),
                "1".into(),
                &DecisionSummary::default(),
            )
        });
        let batch = Batch {
            appends: appends.collect(),
            decisions: decisions.collect(),
            ..Batch::default()
        };
        store.commit(&batch).await.expect("the store in memory takes it");
        let instance = Instance {
            key,
            started: Position(1),
            status: InstanceStatus::Running,
            state: None,
            decided: last,
            place: last,
            version: last.0,
            started_at: Timestamp(1),
            updated_at: Timestamp(last.0),
            trace: None,
        };
        let held = [Arc::new(Subscription {
            event_type: "held".to_owned(),
            source: Source::Any,
            key: Correlation::Pointer("/key".to_owned()),
            effect: Effect::Handle,
            absent: Absent::Hold(Duration::from_secs(1)),
        })];
        let found = decided_since(&store, &plugin, &instance, Timestamp(100), &held).await;
        let places: Vec<u64> =
            found.expect("it can be read").iter().map(|event| event.position.0).collect();
        assert_eq!(places, [250, 150], "held, of its key, and young, newest first");
    }
}
