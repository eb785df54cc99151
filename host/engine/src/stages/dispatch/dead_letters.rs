//! Dead letters of events: the events that wait behind them, and the actions of operators.
//!
//! An operator's action is one commit: the status of the dead letter, and the rows that are dropped
//! with it. When that is durable, the rows of a key that continues are read back from the store in
//! portions (`pure/parking.rs`); events that arrive for the key meanwhile are kept behind them.
//! Each parked event leaves its row in the commit that settles it. So the work continues at the
//! same place after a crash at any point.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::changes::Addressed;
use crate::changes::resolve::{
    Action, Resolution, ResolveError, ResolveRequest, write_dead_letter,
};
use crate::model::{
    DeadLetter, DeadLetterId, DeadLetterStatus, Event, Key, LogEntry, MessageKind, PluginName,
    Position, reserved,
};
use crate::pure::correlate::correlate;
use crate::pure::parking::{PORTION_BYTES, Portion};
use crate::seams::store::{Closing, Page, ReadError, Store, StoredInstance};
use crate::stages::reads::{detached, until_durable, until_read};

use super::{Delivery, Dirty, Dispatcher, Via, ending, is_for_instance};

/// What a key goes on with.
pub(super) struct Resumed {
    key: Key,
    letter: Option<DeadLetter>,
    rows: Vec<LogEntry>,
    /// As it is stored; what is in memory may be newer.
    instance: Option<StoredInstance>,
}

impl Dispatcher {
    /// Reads what may go on, as much of it as there is room for.
    pub(super) fn read_portions(&mut self) {
        while let Some(portion) = self.parking.next_portion() {
            let durable = self.when_durable();
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

    /// Tells when all changes so far are durable; none if they are.
    fn when_durable(&mut self) -> Option<oneshot::Receiver<()>> {
        self.count_durable();
        if self.dirty != Dirty::Rows && self.becoming_durable.is_empty() {
            return None;
        }
        let (told, durable) = oneshot::channel();
        self.changes.replies.push(told);
        self.touch(Dirty::Rows);
        Some(durable)
    }

    pub(super) fn on_resolve(&mut self, request: ResolveRequest) {
        if let Some(ResolveRequest { letter, resolution, reply }) = self.check_edited(request) {
            let outcome = match letter.key.clone() {
                Some(key) => self.resolve(&key, letter, resolution),
                None => self.resolve_keyless(letter, resolution),
            };
            self.answer(reply, outcome);
        }
    }

    /// Answers when what was done is durable.
    pub(super) fn answer(
        &mut self,
        reply: oneshot::Sender<Result<oneshot::Receiver<()>, ResolveError>>,
        outcome: Result<(), ResolveError>,
    ) {
        // The caller may have hung up; what was decided holds all the same.
        let _ = reply.send(outcome.map(|()| {
            let (durable, settled) = oneshot::channel();
            self.changes.replies.push(durable);
            settled
        }));
    }

    /// Whether the letter may be resolved now.
    pub(super) fn check_dead_letter(
        &self,
        key: &Key,
        letter: &DeadLetter,
    ) -> Result<(), ResolveError> {
        let checked = self.parking.check(key, letter.position.0, letter.id);
        checked.map_err(|refusal| ResolveError::refused(letter, refusal))
    }

    pub(super) fn resolve(
        &mut self,
        key: &Key,
        mut letter: DeadLetter,
        resolution: Resolution,
    ) -> Result<(), ResolveError> {
        self.check_dead_letter(key, &letter)?;
        let place = letter.position.0;
        let status = match resolution.action {
            Action::Redrive { .. } => {
                self.parking.redrive(key, place);
                DeadLetterStatus::Redriving
            }
            Action::Skip => {
                self.parking.resolve(key, place);
                self.counters.discarded += 1;
                DeadLetterStatus::Skipped
            }
            Action::Discard => {
                self.counters.discarded += 1;
                let waiting = self.parking.discard(key, place);
                self.drop_rows(key, waiting);
                DeadLetterStatus::Discarded
            }
        };
        letter.resolved(status, resolution);
        write_dead_letter(&mut self.changes.dead_letters, letter);
        self.touch(Dirty::Rows);
        Ok(())
    }

    fn drop_rows(&mut self, key: &Key, places: Vec<u64>) {
        self.counters.discarded += places.len() as u64;
        for place in places {
            self.end_wait(key, place);
            self.changes.parked.insert((Position(place), key.clone()), None);
        }
        self.touch(Dirty::Rows);
    }

    /// An operator who ends an instance gives up its open letters, and all that waits.
    pub(super) fn give_up(&mut self, key: &Key, end: &Event) {
        let sleeping = self.parking.sleeping(key);
        let (letters, waiting) = self.parking.give_up(key);
        if let Some(place) = sleeping {
            self.end_wait(key, place);
        }
        let Resolution { by, reason, .. } = ending::resolution(end);
        self.counters.discarded += letters.len() as u64;
        self.changes.dead_letters_closed.extend(letters.into_iter().map(|id| Closing {
            id,
            status: DeadLetterStatus::Discarded,
            by: by.clone(),
            reason: reason.clone(),
        }));
        self.drop_rows(key, waiting);
    }

    /// Nothing waits behind such a letter. Its event goes to the log once more, for
    /// this plugin alone: there it finds whom it reaches by today's rules.
    fn resolve_keyless(
        &mut self,
        mut letter: DeadLetter,
        resolution: Resolution,
    ) -> Result<(), ResolveError> {
        if letter.status != DeadLetterStatus::Open || self.requeued.contains(&letter.id) {
            let (id, status) = (letter.id.0, letter.status.as_str());
            return Err(ResolveError::NotOpen { id, status });
        }
        self.requeued.insert(letter.id);
        let status = match resolution.action {
            Action::Redrive { .. } => {
                self.requeue(letter, resolution);
                return Ok(());
            }
            Action::Skip => DeadLetterStatus::Skipped,
            Action::Discard => DeadLetterStatus::Discarded,
        };
        letter.resolved(status, resolution);
        self.counters.discarded += 1;
        write_dead_letter(&mut self.changes.dead_letters, letter);
        self.touch(Dirty::Rows);
        Ok(())
    }

    /// Appends a letter's event to the log once more, for this plugin alone.
    pub(super) fn requeue(&mut self, mut letter: DeadLetter, resolution: Resolution) {
        letter.resolved(DeadLetterStatus::Redriven, resolution);
        self.counters.requeued += 1;
        self.changes.outgoing.push(Addressed {
            sink: None,
            kind: MessageKind::Event,
            key: Key::from(""),
            cause: letter.position,
            instance: None,
            event: Arc::new(redriven(&self.plugin, letter.current())),
            hops: letter.hops,
            append: true,
            redriven: true,
        });
        write_dead_letter(&mut self.changes.dead_letters, letter);
        self.touch(Dirty::Rows);
    }

    pub(super) fn on_resumed(&mut self, resumed: Resumed) {
        let Resumed { key, letter, mut rows, instance } = resumed;
        // Nothing of a key leaves memory while a portion of it is read.
        if let Some(instance) = instance {
            self.instance_cache.insert_loaded(instance);
        }
        let limit = self.parking.limit(&key);
        let letter = letter.filter(|letter| letter.position.0 < limit);
        rows.retain(|entry| entry.position.0 < limit);
        let places = rows.iter().map(|entry| (entry.position.0, entry.event.bytes()));
        let of_letter = letter.as_ref().map(|letter| letter.current().bytes());
        let buffered = self.parking.end_portion(&key, of_letter, places);
        if let Some(letter) = letter {
            self.try_letter(&key, letter);
        }
        for entry in rows {
            self.take_back(&key, entry, Via::Parked);
        }
        for delivery in buffered {
            self.enqueue(&key, delivery);
        }
    }

    fn try_letter(&mut self, key: &Key, letter: DeadLetter) {
        let (id, position) = (letter.id, letter.position);
        let event = Arc::clone(letter.current());
        let entry = LogEntry { position, received_at: letter.at, event, hops: letter.hops };
        self.redriving.insert(id, letter);
        self.take_back(key, entry, Via::Letter(id));
    }

    fn take_back(&mut self, key: &Key, entry: LogEntry, via: Via) {
        let position = entry.position;
        let subscription = self.versions.subscription(&entry.event.event_type).cloned();
        let Some(subscription) = subscription else {
            // The plugin was replaced by one that has no use for it.
            self.counters.ignored_absent += 1;
            return self.settle(key, position, via);
        };
        // It was routed when it came, perhaps by other rules: who waited for it gets it. What
        // was edited since was routed anew.
        let mut keys = correlate(&entry.event, &subscription.key).unwrap_or_default();
        if !keys.contains(key) && !self.is_rerouted(via) {
            keys.push(key.clone());
        }
        let by_instance = is_for_instance(&subscription);
        let mut delivery = Delivery::new(entry, subscription.effect, by_instance, keys.into(), via);
        self.take_up(key, &mut delivery);
        self.push(key, delivery);
    }

    /// A parked event is done with.
    pub(super) fn settle_parked(&mut self, position: Position, key: &Key) {
        self.changes.parked.insert((position, key.clone()), None);
        self.end_wait(key, position.0);
        self.parking.unpark(key, position.0);
    }

    /// A letter's event is done with.
    pub(super) fn settle_letter(&mut self, id: DeadLetterId, position: Position, key: &Key) {
        let Some(mut letter) = self.redriving.remove(&id) else { return };
        letter.status = DeadLetterStatus::Redriven;
        write_dead_letter(&mut self.changes.dead_letters, letter);
        self.end_wait(key, position.0);
        self.parking.resolve(key, position.0);
    }

    /// The event at the front of a lane failed for good: what is behind it waits.
    pub(super) fn park_behind_letter(
        &mut self,
        key: &Key,
        position: Position,
        reason: &str,
        attempts: u32,
    ) {
        let mut ends = Vec::new();
        for (order, delivery) in self.lanes.clear(key) {
            let failed = order == position.0;
            match delivery.via {
                Via::Letter(id) => {
                    self.reopen(key, id, order, failed.then_some((reason, attempts)))
                }
                // It still has its row.
                Via::Parked if !failed => self.parking.park(key, order),
                Via::Flight | Via::Hold if !failed => match ending::is_end(&delivery.entry.event) {
                    true => ends.push(delivery),
                    false => self.park(key, &delivery),
                },
                via => {
                    self.dead_letter(&delivery.entry, Some(key), reason.to_owned(), attempts);
                    self.settle(key, position, via);
                }
            }
        }
        // An end waits behind no letter: it gives up this one, too.
        for end in ends {
            self.enqueue(key, end);
        }
        self.touch(Dirty::Rows);
    }

    fn reopen(&mut self, key: &Key, id: DeadLetterId, place: u64, failed: Option<(&str, u32)>) {
        let Some(mut letter) = self.redriving.remove(&id) else { return };
        letter.status = DeadLetterStatus::Open;
        if let Some((reason, attempts)) = failed {
            letter.reason = reason.to_owned();
            letter.attempts += attempts;
            letter.plugin_version = self.versions.version_for(Some(key));
            letter.at = (self.context.clock)();
        }
        write_dead_letter(&mut self.changes.dead_letters, letter);
        self.end_wait(key, place);
        self.parking.reopen(key, place);
    }
}

async fn read_portion(
    store: &dyn Store,
    plugin: &PluginName,
    portion: &Portion<Key>,
    has_instances: bool,
) -> Result<Resumed, ReadError> {
    let Portion { key, letter, places } = portion;
    let missing = |what: &str| Err(ReadError(format!("{what} of `{key}` is missing")));
    let letter = match letter {
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
    Ok(Resumed { key: key.clone(), letter, rows, instance })
}

/// An event on its way back to the log, as one for this plugin alone.
fn redriven(plugin: &PluginName, event: &Event) -> Event {
    let mut event = event.clone();
    let names = [reserved::EXTENSION_PLUGIN, reserved::EXTENSION_REDRIVEN];
    event.extensions.retain(|(name, _)| !names.contains(&name.as_str()));
    event.extensions.push((reserved::EXTENSION_PLUGIN.to_owned(), plugin.to_string()));
    event.extensions.push((reserved::EXTENSION_REDRIVEN.to_owned(), "true".to_owned()));
    event
}
