//! Dead letters of events: the events that wait behind them, and the actions of operators.
//!
//! What happens to a dead letter is decided in `pure/dead_letters.rs`. An operator's action is one
//! commit: the status of the dead letter, and the rows that are dropped with it. When that is
//! durable, the rows of a key that continues are read back from the store in portions; events that
//! arrive for the key meanwhile are kept behind them. Each parked event leaves its row in the
//! commit that settles it. So the work continues at the same place after a crash at any point.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::changes::Addressed;
use crate::changes::resolve::{ResolveError, ResolveRequest, write_dead_letter};
use crate::model::{
    Action, DeadLetter, DeadLetterStatus, Event, Key, LogEntry, MessageKind, PluginName, Position,
    Resolution, reserved,
};
use crate::pure::correlate::correlate;
use crate::pure::dead_letters::{Failing, LaneItem, Left, Rows};
use crate::pure::parking::{PORTION_BYTES, Portion};
use crate::seams::store::{Closing, Page, ReadError, Store, StoredInstance};
use crate::stages::reads::{detached, until_durable, until_read};

use super::hand_over::HandOver;
use super::routing::Dead;
use super::{Delivery, Dispatcher, Via, ending, is_for_instance};

/// The rows with which a key continues.
pub(super) struct Resumed {
    key: Key,
    dead_letter: Option<DeadLetter>,
    rows: Vec<LogEntry>,
    /// The stored instance; the one in memory may be newer.
    instance: Option<StoredInstance>,
}

impl Dispatcher {
    /// Reads the portions of the keys that may continue, as many as there is room for.
    pub(super) fn read_portions(&mut self) {
        while let Some(portion) = self.dead_letters.next_portion() {
            let durable = self.output.unless_durable();
            let (store, plugin) = (Arc::clone(&self.context.store), self.plugin.clone());
            let has_instances = self.versions.has_instances();
            self.resumes.push(detached(async move {
                until_durable(durable).await;
                let (read, key) =
                    (|| read_portion(&*store, &plugin, &portion, has_instances), &portion.key);
                until_read(read, |error| {
                    tracing::warn!(%plugin, %key, %error, "reading parked events failed; retrying");
                })
                .await
            }));
        }
    }

    pub(super) fn on_resolve(&mut self, request: ResolveRequest) {
        if let Some(ResolveRequest { dead_letter, resolution, reply }) = self.check_edited(request)
        {
            let outcome = match dead_letter.key.clone() {
                Some(key) => self.resolve(&key, dead_letter, resolution),
                None => self.resolve_keyless(dead_letter, resolution),
            };
            self.answer(reply, outcome);
        }
    }

    /// Answers the request when its effects are durable.
    pub(super) fn answer(
        &mut self,
        reply: oneshot::Sender<Result<oneshot::Receiver<()>, ResolveError>>,
        outcome: Result<(), ResolveError>,
    ) {
        // The caller may have hung up. The action holds all the same.
        let _ = reply.send(outcome.map(|()| self.output.when_durable()));
    }

    /// Whether the dead letter may be resolved now.
    pub(super) fn check_dead_letter(
        &self,
        key: &Key,
        dead_letter: &DeadLetter,
    ) -> Result<(), ResolveError> {
        let checked = self.dead_letters.check(key, dead_letter);
        checked.map_err(|refusal| ResolveError::refused(dead_letter, refusal))
    }

    pub(super) fn resolve(
        &mut self,
        key: &Key,
        dead_letter: DeadLetter,
        resolution: Resolution,
    ) -> Result<(), ResolveError> {
        self.check_dead_letter(key, &dead_letter)?;
        self.dead_letters.resolve(key, dead_letter, resolution, &mut self.output);
        Ok(())
    }

    /// An operator ends an instance: its open dead letters, and all rows that wait for it, are
    /// given up.
    pub(super) fn give_up(&mut self, key: &Key, end: &Event) {
        let dead_letters = self.dead_letters.give_up(key, &mut self.output);
        let Resolution { by, reason, .. } = ending::resolution(end);
        self.output.rows().dead_letters_closed.extend(dead_letters.into_iter().map(|id| Closing {
            id,
            status: DeadLetterStatus::Discarded,
            by: by.clone(),
            reason: reason.clone(),
        }));
    }

    /// Resolves a dead letter without a key. Nothing waits behind it. Its event is appended to the
    /// log once more, for this plugin alone, and is routed there by the current rules.
    fn resolve_keyless(
        &mut self,
        mut dead_letter: DeadLetter,
        resolution: Resolution,
    ) -> Result<(), ResolveError> {
        if dead_letter.status != DeadLetterStatus::Open || self.requeued.contains(&dead_letter.id) {
            let (id, status) = (dead_letter.id.0, dead_letter.status.as_str());
            return Err(ResolveError::NotOpen { id, status });
        }
        let status = match resolution.action {
            Action::Redrive { .. } => return self.requeue(dead_letter, resolution),
            Action::Skip => DeadLetterStatus::Skipped,
            Action::Discard => DeadLetterStatus::Discarded,
        };
        self.requeued.insert(dead_letter.id);
        dead_letter.resolved(status, resolution);
        self.output.count().discarded += 1;
        write_dead_letter(&mut self.output.rows().dead_letters, dead_letter);
        Ok(())
    }

    /// Appends the event of a dead letter to the log once more, for this plugin alone.
    pub(super) fn requeue(
        &mut self,
        mut dead_letter: DeadLetter,
        resolution: Resolution,
    ) -> Result<(), ResolveError> {
        if let Some(reason) = self.caution.take_unappendable(dead_letter.id) {
            return Err(ResolveError::Unwritable { id: dead_letter.id.0, reason });
        }
        if let Some(key) = &dead_letter.key {
            self.dead_letters.remove(key, dead_letter.position.0);
        } else {
            self.requeued.insert(dead_letter.id);
        }
        dead_letter.resolved(DeadLetterStatus::Redriven, resolution);
        self.output.count().requeued += 1;
        self.output.rows().outgoing.push(Addressed {
            sink: None,
            kind: MessageKind::Event,
            key: Key::from(""),
            cause: dead_letter.position,
            instance: None,
            event: Arc::new(redriven(&self.plugin, dead_letter.current())),
            hops: dead_letter.hops,
            append: true,
            redriven: true,
        });
        write_dead_letter(&mut self.output.rows().dead_letters, dead_letter);
        Ok(())
    }

    pub(super) fn on_resumed(&mut self, resumed: Resumed) {
        let Resumed { key, mut dead_letter, mut rows, instance } = resumed;
        // No instance of a key leaves memory while a portion of the key is read.
        if let Some(instance) = instance {
            self.instance_cache.insert_loaded(instance);
        }
        let buffered = self.dead_letters.end_portion(&key, &mut dead_letter, &mut rows, |entry| {
            (entry.position.0, entry.event.bytes())
        });
        if let Some(dead_letter) = dead_letter {
            self.try_dead_letter(&key, dead_letter);
        }
        for entry in rows {
            self.take_back(&key, entry, Via::Parked);
        }
        for delivery in buffered {
            self.enqueue(&key, delivery);
        }
    }

    fn try_dead_letter(&mut self, key: &Key, dead_letter: DeadLetter) {
        let (id, position) = (dead_letter.id, dead_letter.position);
        let event = Arc::clone(dead_letter.current());
        let entry =
            LogEntry { position, received_at: dead_letter.at, event, hops: dead_letter.hops };
        self.dead_letters.taken(dead_letter);
        self.take_back(key, entry, Via::DeadLetter(id));
    }

    fn take_back(&mut self, key: &Key, entry: LogEntry, via: Via) {
        let position = entry.position;
        let subscription = self.versions.subscription(&entry.event).cloned();
        let Some(subscription) = subscription else {
            // The plugin was replaced by a version that does not take this event.
            self.output.count().ignored_absent += 1;
            return self.settle(key, position, via);
        };
        // The event was routed when it arrived, perhaps by other rules: the instance that waited
        // for it gets it. An event that was edited since was routed again.
        let mut keys = correlate(&entry.event, &subscription.key).unwrap_or_default();
        if !keys.contains(key) && !self.is_rerouted(via) {
            keys.push(key.clone());
        }
        let by_instance = is_for_instance(&subscription);
        let mut delivery = Delivery::new(entry, subscription.effect, by_instance, keys.into(), via);
        self.take_up(key, &mut delivery);
        self.push(key, delivery);
    }

    /// The event at the front of a lane failed permanently: the events behind it wait.
    pub(super) fn park_behind_dead_letter(
        &mut self,
        key: &Key,
        position: Position,
        reason: &str,
        attempts: u32,
    ) {
        let log = self.lanes.get_mut(key, position.0).and_then(|delivery| delivery.log.take());
        let failing = Failing {
            reason,
            attempts,
            plugin_version: self.versions.version_for(Some(key)),
            at: (self.context.clock)(),
            log: log.clone(),
        };
        let mut ends = Vec::new();
        for (order, delivery) in self.lanes.clear(key) {
            let failing = (order == position.0).then_some(&failing);
            let item = delivery.via.item();
            match self.dead_letters.fail(key, order, item, failing, &mut self.output) {
                Left::Nothing => {}
                Left::ToPark if ending::is_end(&delivery.entry.event) => ends.push(delivery),
                Left::ToPark => self.park(key, &delivery),
                Left::ToDeadLetter => {
                    let dead = Dead { reason: reason.to_owned(), attempts, log: log.clone() };
                    self.dead_letter(&delivery.entry, Some(key), dead);
                    self.settle(key, position, delivery.via);
                }
            }
        }
        // The end of an instance waits behind no dead letter: it gives up this one, too.
        for end in ends {
            self.enqueue(key, end);
        }
        self.output.settled();
    }
}

impl Via {
    /// The delivery as an item of its key's lane.
    pub(super) fn item(self) -> LaneItem {
        match self {
            Self::Flight | Self::Hold => LaneItem::Fresh,
            Self::Parked => LaneItem::Parked,
            Self::DeadLetter(id) => LaneItem::DeadLetter(id),
        }
    }
}

impl Rows<Key> for HandOver {
    fn dead_letter(&mut self, dead_letter: DeadLetter) {
        write_dead_letter(&mut self.rows().dead_letters, dead_letter);
    }

    fn settled(&mut self, key: &Key, place: u64) {
        self.rows().parked.insert((Position(place), key.clone()), None);
    }

    fn dropped(&mut self, key: &Key, places: &[u64]) {
        let rows = places.iter().map(|place| ((Position(*place), key.clone()), None));
        self.rows().parked.extend(rows);
    }

    fn wait_ended(&mut self, key: &Key, _: u64) {
        self.rows().waits.insert(key.clone(), None);
    }

    fn count_discarded(&mut self, count: u64) {
        self.count().discarded += count;
    }
}

async fn read_portion(
    store: &dyn Store,
    plugin: &PluginName,
    portion: &Portion<Key>,
    has_instances: bool,
) -> Result<Resumed, ReadError> {
    let Portion { key, dead_letter, places } = portion;
    let missing = |what: &str| Err(ReadError(format!("{what} of `{key}` is missing")));
    let dead_letter = match dead_letter {
        Some(id) => match store.read_dead_letter(*id).await? {
            None => return missing("a dead letter"),
            found => found,
        },
        None => None,
    };
    let mut rows = Vec::new();
    if let Some(first) = places.first() {
        let page = Page { rows: places.len(), bytes: PORTION_BYTES };
        rows = store.read_parked(plugin, key, Position(first - 1), page).await?;
        rows.retain(|entry| places.contains(&entry.position.0));
        if rows.is_empty() {
            return missing("what is parked");
        }
    }
    let instance = match has_instances {
        true => store.load(plugin, std::slice::from_ref(key)).await?,
        false => Vec::new(),
    };
    let instance = instance.into_iter().find(|loaded| loaded.instance.key == *key);
    Ok(Resumed { key: key.clone(), dead_letter, rows, instance })
}

/// An event that is appended to the log again, for this plugin alone.
fn redriven(plugin: &PluginName, event: &Event) -> Event {
    let mut event = event.clone();
    let names = [reserved::EXTENSION_PLUGIN, reserved::EXTENSION_REDRIVEN];
    event.extensions.retain(|(name, _)| !names.contains(&name.as_str()));
    event.extensions.push((reserved::EXTENSION_PLUGIN.to_owned(), plugin.to_string()));
    event.extensions.push((reserved::EXTENSION_REDRIVEN.to_owned(), "true".to_owned()));
    event
}
