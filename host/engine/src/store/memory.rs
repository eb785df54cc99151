//! The store in memory: for the simulator and for tests. It keeps everything
//! that the contract names, and outlives the engine that used it: a crash is to
//! drop the engine and to start another on the same store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{
    Batch, CommitError, Committed, Loaded, MessageLane, OpenLetter, ParkedKey, PluginProgress,
    ReadError, Recovered, RecoveredPlugin, RecoveredSink, SinkProgress, Store, TimerRow,
};
use crate::model::{
    DeadLetter, DeadLetterId, DeadLetterStatus, DeadLetterSubject, DecisionRecord, Held, Instance,
    Key, LogEntry, Message, Parked, PluginName, Position, Sequence, SinkName, TimerName, Timestamp,
};

/// Cheap to clone; all clones are one store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
}

/// All that is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    pub log: BTreeMap<Position, LogEntry>,
    /// (source, id)
    pub seen: BTreeSet<(String, String)>,
    pub instances: BTreeMap<(PluginName, Key), Arc<Instance>>,
    /// (plugin, key, instance)
    pub claims: BTreeSet<(PluginName, Key, Key)>,
    pub timers: BTreeMap<(PluginName, Key, TimerName), TimerRow>,
    pub decisions: BTreeMap<(Position, PluginName, Key), DecisionRecord>,
    pub messages: BTreeMap<(SinkName, Sequence), Arc<Message>>,
    pub held: BTreeMap<(PluginName, Position, Key), Held>,
    pub parked: BTreeMap<(PluginName, Key, Position), Parked>,
    pub parked_messages: BTreeMap<(SinkName, Sequence), MessageLane>,
    pub dead_letters: BTreeMap<DeadLetterId, Arc<DeadLetter>>,
    pub plugins: BTreeMap<PluginName, PluginProgress>,
    pub sinks: BTreeMap<SinkName, SinkProgress>,
}

impl MemoryStore {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of everything, as of the last commit.
    #[must_use]
    pub fn snapshot(&self) -> Tables {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn commit(&mut self, batch: &Batch) -> Committed {
        let mut committed = Committed::default();
        for append in &batch.appends {
            let identity = (append.event.source.clone(), append.event.id.clone());
            if let Some(timer) = &append.fires {
                let row = (timer.plugin.clone(), timer.instance.clone(), timer.name.clone());
                if self.timers.get(&row).is_some_and(|stored| stored.timer == *timer) {
                    self.timers.remove(&row);
                }
            }
            if append.redriven || self.seen.insert(identity) {
                let entry = LogEntry {
                    position: append.position,
                    received_at: append.received_at,
                    event: Arc::clone(&append.event),
                };
                self.log.insert(append.position, entry);
            } else {
                committed.duplicates.push(append.position);
            }
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
        }
        for row in &batch.timers_set {
            let timer = &row.timer;
            let key = (timer.plugin.clone(), timer.instance.clone(), timer.name.clone());
            self.timers.insert(key, row.clone());
        }
        for decision in &batch.decisions {
            let row = (decision.position, decision.plugin.clone(), decision.key.clone());
            let previous = self.decisions.insert(row, decision.clone());
            assert!(previous.is_none(), "decided twice: {decision:?}");
        }
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
        for row in &batch.parked_messages_removed {
            self.parked_messages.remove(row);
        }
        for (lane, sequence) in &batch.parked_messages {
            self.parked_messages.insert((lane.sink.clone(), *sequence), lane.clone());
        }
        for letter in &batch.dead_letters {
            self.dead_letters.insert(letter.id, Arc::clone(letter));
        }
        for progress in &batch.plugins {
            self.plugins.insert(progress.plugin.clone(), progress.clone());
        }
        for progress in &batch.sinks {
            self.sinks.insert(progress.sink.clone(), progress.clone());
        }
        committed
    }

    fn recover(&self) -> Recovered {
        let log = self.log.keys().next_back().copied().unwrap_or_default();
        let cursors = self.plugins.values().map(|p| Position(p.cursor.highest())).max();
        let plugins = self.plugins.values().map(|progress| RecoveredPlugin {
            progress: progress.clone(),
            parked: self.parked_keys(&progress.plugin),
        });
        let mut sinks: BTreeMap<SinkName, RecoveredSink> = BTreeMap::new();
        for progress in self.sinks.values() {
            let recovered = RecoveredSink {
                progress: progress.clone(),
                last: Sequence(progress.cursor.highest()),
                parked: self.parked_lanes(&progress.sink),
            };
            sinks.insert(progress.sink.clone(), recovered);
        }
        for (sink, sequence) in self.messages.keys() {
            let recovered = sinks.entry(sink.clone()).or_insert_with(|| RecoveredSink {
                progress: SinkProgress {
                    sink: sink.clone(),
                    cursor: crate::model::Cursor::default(),
                    counters: crate::model::Counters::default(),
                },
                last: Sequence(0),
                parked: Vec::new(),
            });
            recovered.last = recovered.last.max(*sequence);
        }
        Recovered {
            position: log.max(cursors.unwrap_or_default()),
            dead_letter: self.dead_letters.keys().next_back().copied().unwrap_or_default(),
            plugins: plugins.collect(),
            sinks: sinks.into_values().collect(),
        }
    }

    fn unresolved(&self) -> impl Iterator<Item = &Arc<DeadLetter>> {
        self.dead_letters.values().filter(|letter| letter.status.is_unresolved())
    }

    fn parked_keys(&self, plugin: &PluginName) -> Vec<ParkedKey<Key>> {
        let letters = self.unresolved().filter_map(|letter| {
            let is_ours = letter.subject == DeadLetterSubject::Event && letter.plugin == *plugin;
            Some((letter.key.clone().filter(|_| is_ours)?, open_letter(letter)))
        });
        let rows = self.parked.keys().filter(|(name, ..)| name == plugin);
        parked(letters, rows.map(|(_, key, _)| key.clone()))
    }

    fn parked_lanes(&self, of: &SinkName) -> Vec<ParkedKey<MessageLane>> {
        let letters = self.unresolved().filter_map(|letter| match &letter.subject {
            DeadLetterSubject::Message { sink, .. } if sink == of => {
                let (plugin, key) = (letter.plugin.clone(), letter.key.clone()?);
                Some((MessageLane { sink: sink.clone(), plugin, key }, open_letter(letter)))
            }
            _ => None,
        });
        parked(letters, self.parked_messages.values().filter(|lane| lane.sink == *of).cloned())
    }
}

fn open_letter(letter: &DeadLetter) -> OpenLetter {
    let place = match &letter.subject {
        DeadLetterSubject::Event => letter.position.0,
        DeadLetterSubject::Message { sequence, .. } => sequence.0,
    };
    let redriving = letter.status == DeadLetterStatus::Redriving;
    OpenLetter { id: letter.id, place, redriving }
}

fn parked<K: Clone + Ord>(
    letters: impl Iterator<Item = (K, OpenLetter)>,
    rows: impl Iterator<Item = K>,
) -> Vec<ParkedKey<K>> {
    let mut keys: BTreeMap<K, ParkedKey<K>> = BTreeMap::new();
    let fresh = |key: &K| ParkedKey { key: key.clone(), letters: Vec::new(), waiting: 0 };
    for (key, letter) in letters {
        keys.entry(key.clone()).or_insert_with(|| fresh(&key)).letters.push(letter);
    }
    for key in rows {
        keys.entry(key.clone()).or_insert_with(|| fresh(&key)).waiting += 1;
    }
    for parked in keys.values_mut() {
        parked.letters.sort_by_key(|letter| letter.place);
    }
    keys.into_values().collect()
}

#[async_trait]
impl Store for MemoryStore {
    async fn recover(&self) -> Result<Recovered, ReadError> {
        Ok(self.lock().recover())
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, CommitError> {
        Ok(self.lock().commit(batch))
    }

    async fn read_log(&self, after: Position, limit: usize) -> Result<Vec<LogEntry>, ReadError> {
        Ok(self.lock().log.range(after.next()..).take(limit).map(|(_, e)| e.clone()).collect())
    }

    async fn read_stream(
        &self,
        subject: &str,
        after: Position,
        before: Position,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ReadError> {
        if after.next() >= before {
            return Ok(Vec::new());
        }
        let tables = self.lock();
        let entries = tables.log.range(after.next()..before).map(|(_, entry)| entry);
        let of_subject = entries.filter(|entry| entry.event.subject.as_deref() == Some(subject));
        Ok(of_subject.take(limit).cloned().collect())
    }

    async fn load(&self, plugin: &PluginName, keys: &[Key]) -> Result<Loaded, ReadError> {
        let tables = self.lock();
        let mut instances: BTreeMap<Key, Arc<Instance>> = BTreeMap::new();
        let mut held = Vec::new();
        for key in keys {
            let own = tables.instances.get(&(plugin.clone(), key.clone()));
            let claimed =
                tables.claims.iter().filter(|(p, k, _)| p == plugin && k == key).filter_map(
                    |(_, _, instance)| tables.instances.get(&(plugin.clone(), instance.clone())),
                );
            for instance in own.into_iter().chain(claimed) {
                instances.insert(instance.key.clone(), Arc::clone(instance));
            }
            held.extend(
                tables.held.values().filter(|h| h.plugin == *plugin && h.key == *key).cloned(),
            );
        }
        Ok(Loaded { instances: instances.into_values().collect(), held })
    }

    async fn load_all(
        &self,
        plugin: &PluginName,
        limit: usize,
    ) -> Result<Option<Loaded>, ReadError> {
        let tables = self.lock();
        let instances = tables.instances.iter().filter(|((p, _), _)| p == plugin);
        let loaded = Loaded {
            instances: instances.map(|(_, instance)| Arc::clone(instance)).collect(),
            held: tables.held.values().filter(|held| held.plugin == *plugin).cloned().collect(),
        };
        Ok((loaded.instances.len() + loaded.held.len() <= limit).then_some(loaded))
    }

    async fn read_outbox(
        &self,
        sink: &SinkName,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        let tables = self.lock();
        let messages = tables.messages.range((sink.clone(), after.next())..);
        let of_sink = messages.take_while(|((s, _), _)| s == sink);
        Ok(of_sink.take(limit).map(|(_, message)| Arc::clone(message)).collect())
    }

    async fn read_timers(
        &self,
        due_until: Timestamp,
        limit: usize,
    ) -> Result<Vec<TimerRow>, ReadError> {
        let tables = self.lock();
        let mut rows: Vec<TimerRow> =
            tables.timers.values().filter(|row| row.timer.due <= due_until).cloned().collect();
        rows.sort_by(|a, b| (a.timer.due, &a.timer).cmp(&(b.timer.due, &b.timer)));
        rows.truncate(limit);
        Ok(rows)
    }

    async fn read_parked(
        &self,
        plugin: &PluginName,
        key: &Key,
        after: Position,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let tables = self.lock();
        let rows = tables.parked.range((plugin.clone(), key.clone(), after.next())..);
        let of_key = rows.take_while(|((p, k, _), _)| p == plugin && k == key);
        Ok(of_key.take(limit).map(|(_, parked)| parked.entry.clone()).collect())
    }

    async fn read_parked_messages(
        &self,
        lane: &MessageLane,
        after: Sequence,
        limit: usize,
    ) -> Result<Vec<Arc<Message>>, ReadError> {
        let tables = self.lock();
        let rows = tables.parked_messages.range((lane.sink.clone(), after.next())..);
        let of_sink = rows.take_while(|((sink, _), _)| *sink == lane.sink);
        let of_lane = of_sink.filter(|(_, stored)| *stored == lane);
        Ok(of_lane.filter_map(|(row, _)| tables.messages.get(row).cloned()).take(limit).collect())
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

    async fn read_plugin(&self, plugin: &PluginName) -> Result<Option<RecoveredPlugin>, ReadError> {
        let known = self.lock().recover().plugins;
        Ok(known.into_iter().find(|known| known.progress.plugin == *plugin))
    }

    async fn read_dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, ReadError> {
        Ok(self.lock().dead_letters.get(&id).map(|letter| DeadLetter::clone(letter)))
    }
}
