//! The store in memory, for the simulator and for tests. It keeps everything that the contract
//! names, and outlives the engine that used it: a test simulates a crash by dropping the engine
//! and starting another one on the same store.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use super::memory_items::ItemRow;
use super::{
    Batch, CommitError, Committed, DecidedEvent, Expire, FinishedInstance, MessageLane, Page,
    ParkedKey, PluginProgress, ReadError, Recovered, RecoveredPlugin, RecoveredSink, SinkProgress,
    Store, StoredInstance, StoredInstances, StreamPage, TimerRow, UNTAKEN_TYPES_MAX, Untaken,
    untaken,
};
use crate::lock;
use crate::model::{
    AgeMark, AgeTime, BatchItemId, Control, ControlId, Counters, Cursor, DeadLetter, DeadLetterId,
    DeadLetterStatus, DeadLetterSubject, DecisionRecord, Event, Held, Instance, Key, LogEntry,
    Message, OpenDeadLetter, Origin, Parked, PluginName, Position, Sequence, SinkName, Timer,
    TimerName, TimerPlace, TimerRef, Timestamp, Wait,
};

/// A store in memory. All clones are one store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
}

/// All that is stored, as tables. Tests and the simulator's ledger read them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// The log, by position.
    pub log: BTreeMap<Position, LogEntry>,
    /// The position of each event, by its identity: (origin, source, id). Retention removes
    /// nothing here.
    pub seen: BTreeMap<(Origin, String, String), Position>,
    /// Instances, by (plugin, key).
    pub instances: BTreeMap<(PluginName, Key), Arc<Instance>>,
    /// The values of the instances' fields, by (plugin, key), as JSON.
    pub fields: BTreeMap<(PluginName, Key), String>,
    /// Claims, as (plugin, claimed key, key of the instance).
    pub claims: BTreeSet<(PluginName, Key, Key)>,
    /// Timers that are set, by (plugin, instance, name).
    pub timers: BTreeMap<(PluginName, Key, TimerName), TimerRow>,
    /// Timers that have fired and whose events their instances have not decided, by (plugin,
    /// instance, name).
    pub timers_fired: BTreeMap<(PluginName, Key, TimerName), TimerRow>,
    /// Decisions, by (position, plugin, key).
    pub decisions: BTreeMap<(Position, PluginName, Key), DecisionRecord>,
    /// The outboxes of all sinks, by (sink, sequence).
    pub messages: BTreeMap<(SinkName, Sequence), Arc<Message>>,
    /// Held events, by (plugin, position, key).
    pub held: BTreeMap<(PluginName, Position, Key), Held>,
    /// Parked events, by (plugin, key, position).
    pub parked: BTreeMap<(PluginName, Key, Position), Parked>,
    /// Parked messages, by (sink, sequence), and their ordering keys.
    pub parked_messages: BTreeMap<(SinkName, Sequence), MessageLane>,
    /// Waits of plugins' keys, by (plugin, key).
    pub waits: BTreeMap<(PluginName, Key), Wait>,
    /// Waits of messages, by (sink, sequence), and their ordering keys.
    pub message_waits: BTreeMap<(SinkName, Sequence), (MessageLane, Wait)>,
    /// Dead letters, resolved or not, by id.
    pub dead_letters: BTreeMap<DeadLetterId, Arc<DeadLetter>>,
    /// Items of the operators' batches.
    pub batch_items: BTreeMap<BatchItemId, ItemRow>,
    /// The progress of plugins, by name.
    pub plugins: BTreeMap<PluginName, PluginProgress>,
    /// Who has decided an event that others still have to decide: (plugin, position, key).
    pub partly_decided: BTreeSet<(PluginName, Position, Key)>,
    /// The progress of sinks, by name.
    pub sinks: BTreeMap<SinkName, SinkProgress>,
    /// The number of each sink's dead letters that were closed as compensated.
    pub compensated: BTreeMap<SinkName, u64>,
    /// Age marks, by their times.
    pub age_marks: BTreeMap<AgeTime, AgeMark>,
    /// Counts of events that no plugin took, by type, and the date of the last one.
    pub untaken: BTreeMap<String, (u64, Timestamp)>,
    /// Controls that operators have set, by their ids.
    pub controls: BTreeMap<ControlId, Control>,
    /// All that was removed, for the checks at the end of a test.
    pub removed: Removed,
}

/// Removed rows, as they were when they were removed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Removed {
    /// Log entries that retention removed.
    pub log: BTreeMap<Position, LogEntry>,
    /// Instances that were removed, after they finished.
    pub instances: BTreeMap<(PluginName, Key), Arc<Instance>>,
    /// The fields that they had.
    pub fields: BTreeMap<(PluginName, Key), String>,
    /// Decisions that retention removed.
    pub decisions: BTreeMap<(Position, PluginName, Key), DecisionRecord>,
    /// Messages that retention removed.
    pub messages: BTreeMap<(SinkName, Sequence), Arc<Message>>,
    /// Dead letters that retention removed.
    pub dead_letters: BTreeMap<DeadLetterId, Arc<DeadLetter>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of all tables, as of the last commit.
    #[must_use]
    pub fn snapshot(&self) -> Tables {
        self.lock().clone()
    }

    /// Reads the tables without copying them. No commit happens meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.lock())
    }

    /// Replaces all tables, as if nothing had been committed since the copy was made.
    #[cfg(test)]
    pub fn put_back(&self, tables: Tables) {
        *self.lock() = tables;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tables> {
        lock(&self.tables)
    }
}

impl Tables {
    /// The tables as if nothing had ever been removed.
    #[must_use]
    pub fn with_removed(mut self) -> Self {
        let removed = std::mem::take(&mut self.removed);
        self.log.extend(removed.log);
        for (row, instance) in removed.instances {
            self.instances.entry(row).or_insert(instance);
        }
        for (row, values) in removed.fields {
            self.fields.entry(row).or_insert(values);
        }
        self.decisions.extend(removed.decisions);
        self.messages.extend(removed.messages);
        self.dead_letters.extend(removed.dead_letters);
        self
    }

    fn commit(&mut self, batch: &Batch) -> Committed {
        let mut committed = Committed::default();
        self.append(batch, &mut committed);
        self.write_instances(batch);
        self.write_waiting(batch);
        self.write_dead_letters(batch);
        self.write_items(batch);
        for progress in &batch.plugins {
            self.plugins.insert(progress.plugin.clone(), progress.clone());
        }
        for (plugin, position) in &batch.partly_decided_removed {
            self.partly_decided.retain(|(of, at, _)| (of, at) != (plugin, position));
        }
        self.partly_decided.extend(batch.partly_decided.iter().cloned());
        for progress in &batch.sinks {
            self.sinks.insert(progress.sink.clone(), progress.clone());
        }
        for id in &batch.controls_removed {
            self.controls.remove(id);
        }
        for control in &batch.controls {
            self.controls.insert(control.id(), control.clone());
        }
        if let Some(expire) = &batch.expire {
            committed.expired = self.expire(expire);
        }
        committed
    }

    /// The log, the timers that fire with their events, and the types that no plugin takes.
    fn append(&mut self, batch: &Batch, committed: &mut Committed) {
        for append in &batch.appends {
            let event = &append.event;
            let identity = (append.hops.origin(), event.source.clone(), event.id.clone());
            let has_fired = append.fires.as_ref().is_some_and(|timer| self.fire(timer));
            if append.redriven || self.is_new(identity, append.position) {
                let entry = LogEntry {
                    position: append.position,
                    received_at: append.received_at,
                    event: Arc::clone(&append.event),
                    hops: append.hops,
                };
                self.log.insert(append.position, entry);
            } else {
                assert!(!has_fired, "a timer went without its event: {append:?}");
                committed.duplicates.push(append.position);
            }
        }
        for timer in &batch.timers_fired {
            self.fire(timer);
        }
        for (event_type, (count, last_at)) in
            untaken(batch, |position| committed.duplicates.contains(&position))
        {
            let named = self.untaken.keys().filter(|name| !name.is_empty()).count();
            let is_known = self.untaken.contains_key(event_type);
            let name = if is_known || named < UNTAKEN_TYPES_MAX { event_type } else { "" };
            let row = self.untaken.entry(name.to_owned()).or_default();
            *row = (row.0 + count, last_at);
        }
    }

    /// Instances with their claims and timers, and the records of their decisions.
    fn write_instances(&mut self, batch: &Batch) {
        for (plugin, key) in &batch.instances_removed {
            let row = (plugin.clone(), key.clone());
            if let Some(instance) = self.instances.remove(&row) {
                self.removed.instances.insert(row, instance);
            }
            self.claims.retain(|(p, _, instance)| p != plugin || instance != key);
            self.timers.retain(|(p, instance, _), _| p != plugin || instance != key);
            self.timers_fired.retain(|(p, instance, _), _| p != plugin || instance != key);
            if let Some(values) = self.fields.remove(&(plugin.clone(), key.clone())) {
                self.removed.fields.insert((plugin.clone(), key.clone()), values);
            }
        }
        for row in &batch.fields {
            self.fields.insert((row.plugin.clone(), row.key.clone()), row.values.clone());
        }
        for (plugin, instance) in &batch.instances {
            self.instances.insert((plugin.clone(), instance.key.clone()), Arc::clone(instance));
        }
        for claim in &batch.claims {
            let row = (claim.plugin.clone(), claim.key.clone(), claim.instance.clone());
            match claim.claimed {
                true => self.claims.insert(row),
                false => self.claims.remove(&row),
            };
        }
        for row in &batch.timers_cleared {
            self.timers.remove(row);
            self.timers_fired.remove(row);
        }
        for row in &batch.timers_set {
            let timer = &row.timer;
            let key = (timer.plugin.clone(), timer.instance.clone(), timer.name.clone());
            self.timers_fired.remove(&key);
            self.timers.insert(key, row.clone());
        }
        for decision in &batch.decisions {
            let row = (decision.position, decision.plugin.clone(), decision.key.clone());
            let previous = self.decisions.insert(row, decision.clone());
            assert!(previous.is_none(), "decided twice: {decision:?}");
        }
    }

    /// The outboxes, and what is held, parked, or waits for its next attempt.
    fn write_waiting(&mut self, batch: &Batch) {
        for message in &batch.messages {
            let row = (message.sink.clone(), message.sequence);
            let previous = self.messages.insert(row, Arc::clone(message));
            assert!(previous.is_none(), "sequence given twice: {message:?}");
        }
        for (plugin, key, position) in &batch.held_removed {
            self.held.remove(&(plugin.clone(), *position, key.clone()));
        }
        for held in &batch.held {
            let row = (held.plugin.clone(), held.entry.position, held.key.clone());
            self.held.insert(row, held.clone());
        }
        for (plugin, key, position) in &batch.parked_removed {
            self.parked.remove(&(plugin.clone(), key.clone(), *position));
        }
        for parked in &batch.parked {
            let row = (parked.plugin.clone(), parked.key.clone(), parked.entry.position);
            self.parked.insert(row, parked.clone());
        }
        for (plugin, key) in &batch.waits_removed {
            self.waits.remove(&(plugin.clone(), key.clone()));
        }
        for (plugin, key, wait) in &batch.waits {
            self.waits.insert((plugin.clone(), key.clone()), wait.clone());
        }
        for row in &batch.message_waits_removed {
            self.message_waits.remove(row);
        }
        for (lane, wait) in &batch.message_waits {
            let row = (lane.sink.clone(), Sequence(wait.place));
            self.message_waits.insert(row, (lane.clone(), wait.clone()));
        }
        for row in &batch.parked_messages_removed {
            self.parked_messages.remove(row);
        }
        for (lane, sequence) in &batch.parked_messages {
            self.parked_messages.insert((lane.sink.clone(), *sequence), lane.clone());
        }
    }

    fn write_dead_letters(&mut self, batch: &Batch) {
        for dead_letter in &batch.dead_letters {
            self.dead_letters.insert(dead_letter.id, Arc::clone(dead_letter));
        }
        for closing in &batch.dead_letters_closed {
            if let Some(dead_letter) = self.dead_letters.get_mut(&closing.id).map(Arc::make_mut) {
                dead_letter.status = closing.status;
                dead_letter.resolved_by = Some(closing.by.clone());
                dead_letter.resolved_reason = Some(closing.reason.clone());
                if let DeadLetterSubject::Message { sink, .. } = &dead_letter.subject
                    && closing.status == DeadLetterStatus::Compensated
                {
                    *self.compensated.entry(sink.clone()).or_default() += 1;
                }
            }
        }
        for (id, note) in &batch.dead_letters_noted {
            if let Some(dead_letter) = self.dead_letters.get_mut(id).map(Arc::make_mut) {
                dead_letter.reason.push_str("; ");
                dead_letter.reason.push_str(note);
            }
        }
    }

    /// Marks a timer as fired. False if it was set anew or cleared meanwhile.
    fn fire(&mut self, timer: &TimerRef) -> bool {
        let row = (timer.plugin.clone(), timer.instance.clone(), timer.name.clone());
        let is_set = self.timers.get(&row).is_some_and(|stored| stored.timer == *timer);
        if is_set && let Some(fired) = self.timers.remove(&row) {
            self.timers_fired.insert(row, fired);
        }
        is_set
    }

    fn is_new(&mut self, identity: (Origin, String, String), position: Position) -> bool {
        match self.seen.entry(identity) {
            Entry::Vacant(vacant) => {
                vacant.insert(position);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    fn expire(&mut self, expire: &Expire) -> usize {
        let Expire { plugins, seen_to, history_to, history_before, rows_max, .. } = expire;
        let (history_to, history_before, rows_max) = (*history_to, *history_before, *rows_max);
        for at in &expire.marks_removed {
            self.age_marks.remove(at);
        }
        self.age_marks.extend(expire.mark.map(|mark| (mark.at, mark)));
        self.seen.retain(|_, position| *position > *seen_to);
        if !plugins.iter().all(|plugin| self.plugins.contains_key(plugin)) {
            return 0;
        }
        let Some(settled) = self.plugins.values().map(|p| p.cursor.settled).min() else { return 0 };
        let old = |position: Position| position.0 <= settled && position <= history_to;
        let held = self.held.values().map(|held| held.entry.position);
        let parked = self.parked.values().map(|parked| parked.entry.position);
        let waiting: BTreeSet<Position> = held.chain(parked).collect();
        let finished = |position: Position| old(position) && !waiting.contains(&position);
        let newest = self.dead_letters.keys().next_back().copied();
        let decided = |decision: &DecisionRecord| decision.decided_at < history_before;
        let resolved = |dead_letter: &DeadLetter| {
            !dead_letter.status.is_unresolved()
                && dead_letter.at < history_before
                && dead_letter.position <= history_to
                && Some(dead_letter.id) != newest
        };

        let log = first(&self.log, rows_max, |position, _| finished(*position));
        remove(&mut self.log, &log, &mut self.removed.log);
        let decisions = first(&self.decisions, rows_max, |row, d| finished(row.0) && decided(d));
        remove(&mut self.decisions, &decisions, &mut self.removed.decisions);
        let mut messages = Vec::new();
        for (sink, progress) in &self.sinks {
            let of_sink =
                (sink.clone(), Sequence(0))..=(sink.clone(), Sequence(progress.cursor.settled));
            let rows = self.messages.range(of_sink).take_while(|(_, message)| old(message.cause));
            messages.extend(rows.map(|(row, _)| row.clone()));
        }
        messages.retain(|row| !self.parked_messages.contains_key(row));
        messages.truncate(rows_max);
        remove(&mut self.messages, &messages, &mut self.removed.messages);
        let mut dead_letters =
            first(&self.dead_letters, usize::MAX, |_, dead_letter| resolved(dead_letter));
        dead_letters.sort_by_key(|id| (self.dead_letters[id].at, *id));
        dead_letters.truncate(rows_max);
        remove(&mut self.dead_letters, &dead_letters, &mut self.removed.dead_letters);
        log.len() + decisions.len() + messages.len() + dead_letters.len()
    }

    fn recover(&self) -> Recovered {
        let log = self.log.keys().next_back().copied().unwrap_or_default();
        let cursors = self.plugins.values().map(|p| Position(p.cursor.highest())).max();
        let plugins = self.plugins.values().map(|progress| RecoveredPlugin {
            progress: progress.clone(),
            partly_decided: self.partly_decided(&progress.plugin),
            parked: self.parked_keys(&progress.plugin),
        });
        let mut last: BTreeMap<&SinkName, Sequence> = BTreeMap::new();
        for (sink, progress) in &self.sinks {
            last.insert(sink, Sequence(progress.cursor.highest()));
        }
        for (sink, sequence) in self.messages.keys() {
            let last = last.entry(sink).or_default();
            *last = (*last).max(*sequence);
        }
        let sinks = last.into_iter().map(|(sink, last)| RecoveredSink {
            progress: self.sinks.get(sink).cloned().unwrap_or_else(|| SinkProgress {
                sink: sink.clone(),
                cursor: Cursor::default(),
                counters: Counters::default(),
            }),
            last,
            compensated: self.compensated.get(sink).copied().unwrap_or_default(),
            parked: self.parked_lanes(sink),
        });
        Recovered {
            position: log.max(cursors.unwrap_or_default()),
            dead_letter: self.dead_letters.keys().next_back().copied().unwrap_or_default(),
            plugins: plugins.collect(),
            sinks: sinks.collect(),
            age_marks: self.age_marks.values().copied().collect(),
            controls: self.controls.values().cloned().collect(),
            untaken: self
                .untaken
                .iter()
                .map(|(event_type, &(count, last_at))| Untaken {
                    event_type: event_type.clone(),
                    count,
                    last_at,
                })
                .collect(),
        }
    }

    fn loaded(&self, plugin: &PluginName, instance: &Arc<Instance>) -> StoredInstance {
        let key = &instance.key;
        let claims = self.claims.iter().filter(|(p, _, of)| p == plugin && of == key);
        let timers = self.timers.values().chain(self.timers_fired.values());
        let timers = timers.map(|row| &row.timer);
        let timers = timers.filter(|timer| timer.plugin == *plugin && timer.instance == *key);
        StoredInstance {
            instance: Arc::clone(instance),
            claims: claims.map(|(_, claimed, _)| claimed.clone()).collect(),
            timers: timers
                .map(|timer| (timer.name.clone(), Timer { due: timer.due, set_by: timer.set_by }))
                .collect(),
        }
    }

    fn deciders(&self, position: Position, plugin: &PluginName) -> Vec<Key> {
        let first = (position, plugin.clone(), Key::from(""));
        let rows = self.decisions.range(first..).map(|(row, _)| row);
        let of_event = rows.take_while(|row| row.0 == position && row.1 == *plugin);
        of_event.map(|row| row.2.clone()).collect()
    }

    fn unresolved(&self) -> impl Iterator<Item = &Arc<DeadLetter>> {
        self.dead_letters.values().filter(|dead_letter| dead_letter.status.is_unresolved())
    }

    fn partly_decided(&self, plugin: &PluginName) -> BTreeMap<Position, Vec<Key>> {
        let mut events: BTreeMap<Position, Vec<Key>> = BTreeMap::new();
        for (_, position, key) in self.partly_decided.iter().filter(|(of, ..)| of == plugin) {
            events.entry(*position).or_default().push(key.clone());
        }
        events
    }

    fn parked_keys(&self, plugin: &PluginName) -> Vec<ParkedKey<Key>> {
        let dead_letters = self.unresolved().filter_map(|dead_letter| {
            let is_ours =
                dead_letter.subject == DeadLetterSubject::Event && dead_letter.plugin == *plugin;
            Some((dead_letter.key.clone().filter(|_| is_ours)?, open_dead_letter(dead_letter)))
        });
        let rows = self.parked.keys().filter(|(name, ..)| name == plugin);
        let waits = self.waits.iter().filter(|((of, _), _)| of == plugin);
        let waits = waits.map(|((_, key), wait)| (key.clone(), wait.clone()));
        parked(dead_letters, rows.map(|(_, key, position)| (key.clone(), position.0)), waits)
    }

    fn parked_lanes(&self, of: &SinkName) -> Vec<ParkedKey<MessageLane>> {
        let dead_letters = self.unresolved().filter_map(|dead_letter| match &dead_letter.subject {
            DeadLetterSubject::Message { sink, .. } if sink == of => {
                let (plugin, key) = (dead_letter.plugin.clone(), dead_letter.key.clone()?);
                Some((
                    MessageLane { sink: sink.clone(), plugin, key },
                    open_dead_letter(dead_letter),
                ))
            }
            _ => None,
        });
        let rows = self.parked_messages.iter().filter(|((sink, _), _)| sink == of);
        let waits = self.message_waits.values().filter(|(lane, _)| lane.sink == *of).cloned();
        parked(dead_letters, rows.map(|((_, sequence), lane)| (lane.clone(), sequence.0)), waits)
    }
}

fn open_dead_letter(dead_letter: &DeadLetter) -> OpenDeadLetter {
    let place = match &dead_letter.subject {
        DeadLetterSubject::Event => dead_letter.position.0,
        DeadLetterSubject::Message { sequence, .. } => sequence.0,
    };
    let redriving = dead_letter.status == DeadLetterStatus::Redriving;
    OpenDeadLetter { id: dead_letter.id, place, redriving }
}

fn parked<K: Clone + Ord>(
    dead_letters: impl Iterator<Item = (K, OpenDeadLetter)>,
    rows: impl Iterator<Item = (K, u64)>,
    waits: impl Iterator<Item = (K, Wait)>,
) -> Vec<ParkedKey<K>> {
    let mut keys: BTreeMap<K, ParkedKey<K>> = BTreeMap::new();
    let fresh = |key: &K| ParkedKey {
        key: key.clone(),
        dead_letters: Vec::new(),
        waiting: Vec::new(),
        waits: Vec::new(),
    };
    for (key, dead_letter) in dead_letters {
        keys.entry(key.clone()).or_insert_with(|| fresh(&key)).dead_letters.push(dead_letter);
    }
    for (key, place) in rows {
        keys.entry(key.clone()).or_insert_with(|| fresh(&key)).waiting.push(place);
    }
    for (key, wait) in waits {
        keys.entry(key.clone()).or_insert_with(|| fresh(&key)).waits.push(wait);
    }
    for parked in keys.values_mut() {
        parked.dead_letters.sort_by_key(|dead_letter| dead_letter.place);
    }
    keys.into_values().collect()
}

/// The keys of the first rows that are meant.
fn first<K: Ord + Clone, V>(
    table: &BTreeMap<K, V>,
    rows_max: usize,
    is_meant: impl Fn(&K, &V) -> bool,
) -> Vec<K> {
    let meant = table.iter().filter(|(key, row)| is_meant(key, row));
    meant.map(|(key, _)| key.clone()).take(rows_max).collect()
}

fn remove<K: Ord, V>(table: &mut BTreeMap<K, V>, keys: &[K], removed: &mut BTreeMap<K, V>) {
    removed.extend(keys.iter().filter_map(|key| table.remove_entry(key)));
}

#[async_trait]
impl Store for MemoryStore {
    async fn recover(&self) -> Result<Recovered, ReadError> {
        Ok(self.lock().recover())
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, CommitError> {
        Ok(self.lock().commit(batch))
    }

    async fn read_log(&self, after: Position, page: Page) -> Result<Vec<LogEntry>, ReadError> {
        let tables = self.lock();
        let entries = tables.log.range(after.next()..).map(|(_, entry)| entry);
        Ok(page.cut(entries, |entry| entry.event.bytes()).cloned().collect())
    }

    async fn read_stream(
        &self,
        subject: &str,
        after: Position,
        before: Position,
        page: Page,
    ) -> Result<StreamPage, ReadError> {
        let tables = self.lock();
        let is_of = |entry: &&LogEntry| entry.event.stream() == Some(subject);
        let is_shortened = tables.removed.log.values().any(|entry| is_of(&entry));
        let before = before.max(after.next());
        let entries = tables.log.range(after.next()..before).map(|(_, entry)| entry);
        let entries = page.cut(entries.filter(is_of), |entry| entry.event.bytes());
        Ok(StreamPage { entries: entries.cloned().collect(), is_shortened })
    }

    async fn load(
        &self,
        plugin: &PluginName,
        keys: &[Key],
    ) -> Result<Vec<StoredInstance>, ReadError> {
        let tables = self.lock();
        let mut instances: BTreeMap<Key, Arc<Instance>> = BTreeMap::new();
        for key in keys {
            let own = tables.instances.get(&(plugin.clone(), key.clone()));
            let claimed =
                tables.claims.iter().filter(|(p, k, _)| p == plugin && k == key).filter_map(
                    |(_, _, instance)| tables.instances.get(&(plugin.clone(), instance.clone())),
                );
            for instance in own.into_iter().chain(claimed) {
                instances.insert(instance.key.clone(), Arc::clone(instance));
            }
        }
        Ok(instances.into_values().map(|instance| tables.loaded(plugin, &instance)).collect())
    }

    async fn load_all(
        &self,
        plugin: &PluginName,
        limit: usize,
    ) -> Result<Option<StoredInstances>, ReadError> {
        let tables = self.lock();
        let instances = tables.instances.iter().filter(|((p, _), _)| p == plugin);
        let loaded = StoredInstances {
            instances: instances.map(|(_, instance)| tables.loaded(plugin, instance)).collect(),
            held: tables.held.values().filter(|held| held.plugin == *plugin).cloned().collect(),
        };
        Ok((loaded.instances.len() + loaded.held.len() <= limit).then_some(loaded))
    }

    async fn read_keys(
        &self,
        plugin: &PluginName,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, ReadError> {
        let tables = self.lock();
        let own = tables.instances.keys().filter(|(p, _)| p == plugin).map(|(_, key)| key);
        let claimed = tables.claims.iter().filter(|(p, ..)| p == plugin).map(|(_, key, _)| key);
        let later = own.chain(claimed).filter(|key| after.is_none_or(|after| *key > after));
        let in_order: BTreeSet<&Key> = later.collect();
        Ok(in_order.into_iter().take(limit).cloned().collect())
    }

    async fn read_decided(
        &self,
        plugin: &PluginName,
        key: &Key,
        from: Position,
        limit: usize,
    ) -> Result<Vec<DecidedEvent>, ReadError> {
        let tables = self.lock();
        let mut events = Vec::new();
        let mut next = Some(from);
        while let Some(position) = next.filter(|_| events.len() < limit) {
            let decision = tables.decisions.get(&(position, plugin.clone(), key.clone()));
            let Some(decision) = decision else { break };
            next = decision.previous;
            events.push(DecidedEvent {
                position,
                previous: decision.previous,
                decided_at: decision.decided_at,
                deciders: tables.deciders(position, plugin),
                entry: tables.log.get(&position).cloned(),
            });
        }
        Ok(events)
    }

    async fn read_outbox(
        &self,
        sink: &SinkName,
        after: Sequence,
        page: Page,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        let tables = self.lock();
        let messages = tables.messages.range((sink.clone(), after.next())..);
        let of_sink = messages.take_while(|((s, _), _)| s == sink);
        let of_sink = of_sink.map(|(_, message)| message);
        Ok(page.cut(of_sink, |message| message.event.bytes()).cloned().collect())
    }

    async fn read_timers(
        &self,
        after: Option<&TimerPlace>,
        page: Page,
    ) -> Result<Vec<TimerRow>, ReadError> {
        let tables = self.lock();
        let places = tables.timers.values().map(|row| (row.timer.place(), row));
        let later = places.filter(|(place, _)| after.is_none_or(|after| place > after));
        let in_order: BTreeMap<TimerPlace, &TimerRow> = later.collect();
        let page = page.cut(in_order.into_values(), |row| row.data.len());
        Ok(page.cloned().collect())
    }

    async fn read_parked(
        &self,
        plugin: &PluginName,
        key: &Key,
        after: Position,
        page: Page,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let tables = self.lock();
        let rows = tables.parked.range((plugin.clone(), key.clone(), after.next())..);
        let of_key = rows.take_while(|((p, k, _), _)| p == plugin && k == key);
        let entries = of_key.map(|(_, parked)| parked.entry.clone());
        Ok(page.cut(entries, |entry| entry.event.bytes()).collect())
    }

    async fn read_messages(
        &self,
        sink: &SinkName,
        sequences: &[Sequence],
        bytes: usize,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        let tables = self.lock();
        let row = |sequence: &Sequence| tables.messages.get(&(sink.clone(), *sequence)).cloned();
        let page = Page { rows: sequences.len(), bytes };
        let messages = sequences.iter().filter_map(row);
        Ok(page.cut(messages, |message| message.event.bytes()).collect())
    }

    async fn read_expired_holds(
        &self,
        plugin: &PluginName,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Held>, ReadError> {
        let tables = self.lock();
        let expired = |held: &&Held| held.plugin == *plugin && held.until <= until;
        let mut held: Vec<Held> = tables.held.values().filter(expired).cloned().collect();
        held.sort_by_key(|held| (held.until, held.entry.position));
        held.truncate(limit);
        Ok(held)
    }

    async fn read_finished_instances(
        &self,
        plugin: &PluginName,
        place: Position,
        until: Timestamp,
        after: Option<&(Timestamp, Key)>,
        limit: usize,
    ) -> Result<Vec<FinishedInstance>, ReadError> {
        let tables = self.lock();
        let of_plugin = tables.instances.iter().filter(|((p, _), _)| p == plugin);
        let mut finished: Vec<FinishedInstance> = of_plugin
            .filter(|(_, i)| !i.status.is_running())
            .filter(|(_, i)| i.place <= place && i.updated_at <= until)
            .map(|((_, key), instance)| FinishedInstance {
                updated_at: instance.updated_at,
                key: key.clone(),
                status: instance.status,
            })
            .filter(|row| after.is_none_or(|after| row.place() > *after))
            .collect();
        finished.sort_by_key(FinishedInstance::place);
        finished.truncate(limit);
        Ok(finished)
    }

    async fn read_plugin(&self, plugin: &PluginName) -> Result<Option<RecoveredPlugin>, ReadError> {
        let known = self.lock().recover().plugins;
        Ok(known.into_iter().find(|known| known.progress.plugin == *plugin))
    }

    async fn read_accepted(
        &self,
        events: &[Arc<Event>],
    ) -> Result<Vec<Option<Arc<Event>>>, ReadError> {
        let tables = self.lock();
        let accepted = events.iter().map(|event| {
            let identity = (Origin::Outside, event.source.clone(), event.id.clone());
            let entry = tables.seen.get(&identity).and_then(|position| tables.log.get(position));
            entry.map(|entry| Arc::clone(&entry.event))
        });
        Ok(accepted.collect())
    }

    async fn read_dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, ReadError> {
        Ok(self.lock().dead_letters.get(&id).map(|dead_letter| DeadLetter::clone(dead_letter)))
    }
}
