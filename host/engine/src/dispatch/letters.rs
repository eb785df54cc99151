//! Dead letters of events: what waits behind them, and what operators do with them.
//!
//! A key goes on in two commits. The first notes the operator's decision; when it
//! is durable, what waits is read back from the store, complete, and goes into
//! the key's lane. What comes for the key between the two is kept behind it. Each
//! parked event leaves its row in the commit that settles it, so a crash at any
//! point goes on where it was.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::commit::Addressed;
use crate::correlate::correlate;
use crate::detached::detached;
use crate::model::{
    DeadLetter, DeadLetterId, DeadLetterStatus, Event, Instance, Key, LogEntry, MessageKind,
    PluginName, Position, reserved,
};
use crate::resolve::{Action, Resolution, ResolveError, ResolveRequest, write_letter};
use crate::store::{ParkedKey, ReadError, Store};

use super::{Delivery, Dirty, Dispatcher, Via, is_for_instance};

const PARKED_PAGE: usize = 512;
const READ_RETRY: Duration = Duration::from_millis(200);
/// Keys whose parked events are read at the same time.
const READS_MAX: usize = 8;

/// What a key goes on with.
pub(super) struct Resumed {
    key: Key,
    letters: Vec<DeadLetter>,
    rows: Vec<LogEntry>,
    /// As it is stored; what is in memory may be newer.
    instance: Option<Arc<Instance>>,
    /// Its instance is about to end: all this is dropped, by whom and why.
    give_up: Option<Resolution>,
}

impl Dispatcher {
    pub(super) fn restore_letters(&mut self, parked: &[ParkedKey<Key>]) {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        for parked in parked {
            if self.parking.restore(parked.key.clone(), parked) {
                self.parking.begin_resume(&parked.key, false);
                let redriving = parked.letters.iter().filter(|letter| letter.redriving);
                let letters = redriving.map(|letter| letter.id).collect();
                self.read_back(&parked.key, letters, None, None, &reads);
            }
        }
    }

    /// Reads what waits for a key, once what was decided about it is durable.
    fn read_back(
        &mut self,
        key: &Key,
        letters: Vec<DeadLetterId>,
        durable: Option<oneshot::Receiver<()>>,
        give_up: Option<Resolution>,
        reads: &Arc<Semaphore>,
    ) {
        let (store, reads) = (Arc::clone(&self.around.store), Arc::clone(reads));
        let (plugin, key) = (self.plugin.clone(), key.clone());
        let has_instances = self.manifest.role.has_instances();
        self.resumes.push(detached(async move {
            if let Some(durable) = durable
                && durable.await.is_err()
            {
                // The engine recovers, and this dispatcher is dropped.
                std::future::pending::<()>().await;
            }
            let _turn = reads.acquire_owned().await;
            loop {
                let parked = async {
                    let (letters, rows) = read_parked(&*store, &plugin, &key, &letters).await?;
                    let instance = match has_instances {
                        true => store.load(&plugin, std::slice::from_ref(&key)).await?.instances,
                        false => Vec::new(),
                    };
                    let instance = instance.into_iter().find(|instance| instance.key == key);
                    Ok::<_, ReadError>((letters, rows, instance))
                };
                match parked.await {
                    Ok((letters, rows, instance)) => {
                        return Resumed { key, letters, rows, instance, give_up };
                    }
                    Err(error) => {
                        tracing::warn!(%plugin, %key, %error, "what is parked cannot be read; trying again");
                        tokio::time::sleep(READ_RETRY).await;
                    }
                }
            }
        }));
    }

    pub(super) fn on_resolve(&mut self, request: ResolveRequest) {
        let ResolveRequest { letter, resolution, reply } = request;
        let outcome = match letter.key.clone() {
            Some(key) => self.resolve(&key, letter, resolution),
            None => self.resolve_keyless(letter, resolution),
        };
        // Whoever asked may have hung up; what was decided holds all the same.
        let _ = reply.send(outcome.map(|()| {
            let (durable, settled) = oneshot::channel();
            self.changes.replies.push(durable);
            settled
        }));
    }

    fn resolve(
        &mut self,
        key: &Key,
        mut letter: DeadLetter,
        resolution: Resolution,
    ) -> Result<(), ResolveError> {
        let (place, id) = (letter.position.0, letter.id);
        self.parking
            .check(key, place, id)
            .map_err(|refusal| ResolveError::refused(&letter, refusal))?;
        if let Action::Redrive { edited: Some(event) } = &resolution.action {
            self.check_edited(&letter, event)?;
        }
        let action = resolution.action.clone();
        let status = match action {
            Action::Redrive { .. } => DeadLetterStatus::Redriving,
            Action::Skip => DeadLetterStatus::Skipped,
            Action::Discard => DeadLetterStatus::Discarded,
        };
        letter.resolved(status, resolution);
        write_letter(&mut self.changes.dead_letters, letter);
        self.parking.begin_resume(key, action == Action::Discard);
        let mut letters = Vec::new();
        if status == DeadLetterStatus::Redriving {
            self.parking.redrive(key, place);
            letters.push(id);
        } else {
            self.parking.resolve(key, place);
            self.counters.discarded += 1;
        }
        self.resume(key, letters, None);
        Ok(())
    }

    /// Whoever ends an instance gives up what waits behind its dead letters.
    pub(super) fn give_up_letters(&mut self, key: &Key, resolution: &Resolution) {
        let open = self.parking.open_letters(key);
        if open.is_empty() {
            return;
        }
        for (place, _) in &open {
            self.parking.redrive(key, *place);
        }
        self.parking.begin_resume(key, true);
        let letters = open.into_iter().map(|(_, id)| id).collect();
        self.resume(key, letters, Some(resolution.clone()));
    }

    fn resume(&mut self, key: &Key, letters: Vec<DeadLetterId>, give_up: Option<Resolution>) {
        let (told, durable) = oneshot::channel();
        self.changes.replies.push(told);
        self.touch(Dirty::Rows);
        self.read_back(key, letters, Some(durable), give_up, &Arc::new(Semaphore::new(1)));
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
        if let Action::Redrive { edited: Some(event) } = &resolution.action {
            self.check_edited(&letter, event)?;
        }
        self.requeued.insert(letter.id);
        match resolution.action {
            Action::Redrive { .. } => {
                letter.resolved(DeadLetterStatus::Redriven, resolution);
                self.counters.requeued += 1;
                self.changes.outgoing.push(Addressed {
                    sink: None,
                    kind: MessageKind::Event,
                    key: Key::from(""),
                    cause: letter.position,
                    event: Arc::new(addressed_to(&self.plugin, letter.current())),
                    append: true,
                    redriven: true,
                });
            }
            Action::Skip => {
                letter.resolved(DeadLetterStatus::Skipped, resolution);
                self.counters.discarded += 1;
            }
            Action::Discard => {
                letter.resolved(DeadLetterStatus::Discarded, resolution);
                self.counters.discarded += 1;
            }
        }
        write_letter(&mut self.changes.dead_letters, letter);
        self.touch(Dirty::Rows);
        Ok(())
    }

    /// It takes the other's place in the log: it is the same event, told better.
    fn check_edited(&self, letter: &DeadLetter, edited: &Event) -> Result<(), ResolveError> {
        let refuse = |reason: String| Err(ResolveError::Edited { id: letter.id.0, reason });
        let original = &letter.event;
        if (&edited.id, &edited.source) != (&original.id, &original.source) {
            return refuse(format!(
                "its id and source must stay `{}` and `{}`: they are its identity",
                original.id, original.source
            ));
        }
        if edited.event_type.starts_with(reserved::PREFIX)
            != original.event_type.starts_with(reserved::PREFIX)
        {
            return refuse("an event of the host and one from outside differ".to_owned());
        }
        if self.subscription(&edited.event_type).is_none() {
            return refuse(format!(
                "{} does not subscribe to `{}`",
                self.plugin, edited.event_type
            ));
        }
        Ok(())
    }

    pub(super) fn on_resumed(&mut self, resumed: Resumed) {
        let Resumed { key, letters, rows, instance, give_up } = resumed;
        // Nothing is decided for a key that resumes: it is as it was when it was read.
        if let Some(instance) = instance {
            self.residents.insert_loaded(instance);
        }
        for letter in letters {
            match &give_up {
                None => self.try_letter(&key, letter),
                Some(resolution) => self.give_up(&key, letter, resolution.clone()),
            }
        }
        let limit = self.parking.limit(&key);
        // None: another who resumed the key had all this.
        let Some((buffered, discard)) = self.parking.end_resume(&key) else { return };
        for entry in rows.into_iter().take_while(|entry| entry.position.0 < limit) {
            if discard {
                self.counters.discarded += 1;
                self.settle(&key, entry.position, Via::Parked);
            } else {
                self.take_back(&key, entry, Via::Parked);
            }
        }
        for delivery in buffered {
            self.enqueue(&key, delivery);
        }
    }

    fn try_letter(&mut self, key: &Key, letter: DeadLetter) {
        let (id, position) = (letter.id, letter.position);
        let event = Arc::clone(letter.current());
        let entry = LogEntry { position, received_at: letter.at, event };
        self.redriving.insert(id, letter);
        self.take_back(key, entry, Via::Letter(id));
    }

    fn give_up(&mut self, key: &Key, mut letter: DeadLetter, resolution: Resolution) {
        let place = letter.position.0;
        letter.resolved(DeadLetterStatus::Discarded, resolution);
        write_letter(&mut self.changes.dead_letters, letter);
        self.counters.discarded += 1;
        self.parking.resolve(key, place);
        self.touch(Dirty::Rows);
    }

    fn take_back(&mut self, key: &Key, entry: LogEntry, via: Via) {
        let position = entry.position;
        let Some(subscription) = self.subscription(&entry.event.event_type) else {
            // The plugin was replaced by one that has no use for it.
            self.counters.ignored_absent += 1;
            return self.settle(key, position, via);
        };
        // An event that was edited may name other keys. The instance it failed at gets
        // it all the same: it is the one that waits.
        let mut keys = correlate(&entry.event, &subscription.key).unwrap_or_default();
        if !keys.contains(key) {
            keys.push(key.clone());
        }
        let by_instance = is_for_instance(&subscription);
        let delivery = Delivery::new(entry, subscription.effect, by_instance, keys.into(), via);
        self.push(key, delivery);
    }

    /// A parked event is done with.
    pub(super) fn settle_parked(&mut self, position: Position, key: &Key) {
        self.changes.parked.insert((position, key.clone()), None);
        self.parking.unpark(key);
    }

    /// A letter's event is done with.
    pub(super) fn settle_letter(&mut self, id: DeadLetterId, position: Position, key: &Key) {
        let Some(mut letter) = self.redriving.remove(&id) else { return };
        letter.status = DeadLetterStatus::Redriven;
        write_letter(&mut self.changes.dead_letters, letter);
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
        for (order, delivery) in self.lanes.clear(key) {
            let failed = order == position.0;
            match delivery.via {
                Via::Letter(id) => {
                    self.reopen(key, id, order, failed.then_some((reason, attempts)))
                }
                // It still has its row.
                Via::Parked if !failed => {}
                Via::Flight | Via::Hold if !failed => self.park(key, &delivery),
                via => {
                    self.bury(&delivery.entry, Some(key), reason.to_owned(), attempts);
                    self.settle(key, position, via);
                }
            }
        }
        self.touch(Dirty::Rows);
    }

    fn reopen(&mut self, key: &Key, id: DeadLetterId, place: u64, failed: Option<(&str, u32)>) {
        let Some(mut letter) = self.redriving.remove(&id) else { return };
        letter.status = DeadLetterStatus::Open;
        if let Some((reason, attempts)) = failed {
            letter.reason = reason.to_owned();
            letter.attempts += attempts;
            letter.plugin_version = self.version_for(Some(key));
            letter.at = (self.around.clock)();
        }
        write_letter(&mut self.changes.dead_letters, letter);
        self.parking.reopen(key, place);
    }
}

/// The letters that are redriven, and all that is parked for the key.
async fn read_parked(
    store: &dyn Store,
    plugin: &PluginName,
    key: &Key,
    ids: &[DeadLetterId],
) -> Result<(Vec<DeadLetter>, Vec<LogEntry>), ReadError> {
    let mut letters = Vec::new();
    for id in ids {
        letters.extend(store.read_dead_letter(*id).await?);
    }
    let mut rows: Vec<LogEntry> = Vec::new();
    loop {
        let after = rows.last().map_or(Position(0), |last| last.position);
        let page = store.read_parked(plugin, key, after, PARKED_PAGE).await?;
        let is_last = page.len() < PARKED_PAGE;
        rows.extend(page);
        if is_last {
            return Ok((letters, rows));
        }
    }
}

fn addressed_to(plugin: &PluginName, event: &Event) -> Event {
    let mut event = event.clone();
    event.extensions.retain(|(name, _)| name != reserved::EXTENSION_PLUGIN);
    event.extensions.push((reserved::EXTENSION_PLUGIN.to_owned(), plugin.to_string()));
    event
}
