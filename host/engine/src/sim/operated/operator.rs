//! The operator's actions, and its notes of them: before it asks, and when it gets the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::plugins::{JOBS, event};
use super::{AGAIN, LASTING, PASSING};
use crate::engine::{Action, Engine, Resolution, ResolveError};
use crate::model::{
    DeadLetter, DeadLetterId, DeadLetterStatus, DeadLetterSubject, Event, InstanceStatus, Key,
    PluginName, Position, Timestamp, reserved,
};
use crate::seams::store::memory::{MemoryStore, Tables};

const GENERATIONS: u32 = 3;

/// One action on a dead letter.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    pub dead_letter: DeadLetter,
    pub what: What,
    /// The places that waited behind the dead letter when the operator asked.
    pub waiting: BTreeSet<u64>,
    /// The newest of all dead letters when the operator asked. A later one may be before some of
    /// `waiting`: an event reaches its instance late if an earlier event, redriven, claims its
    /// key.
    pub newest: DeadLetterId,
    /// The answer; none if there was none.
    pub answered: Option<Answered>,
}

/// The newest position and dead letter when the answer came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// The last position of the log.
    pub head: Position,
    /// The newest dead letter.
    pub newest: DeadLetterId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Redrive,
    /// Redrives it, edited to be for another key.
    Move(String),
    Skip,
    Discard,
}

/// All that the operator knows. It survives crashes of the host.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    pub deeds: Vec<Deed>,
    /// The ids of events that start an instance and came when their key had none.
    pub starts: BTreeSet<String>,
    /// The ids of events that fail without an instance and came when their key had none.
    pub orphans: BTreeSet<String>,
    /// Instances whose end was acknowledged, by key and start.
    pub ended: BTreeSet<(Key, Timestamp)>,
}

pub(super) struct Operator {
    random: StdRng,
    store: MemoryStore,
    notes: Notes,
    generations: BTreeMap<&'static str, Generation>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Generation {
    number: u32,
    /// Whether the event that fails without an instance was sent.
    orphan: bool,
    started: bool,
    completed: bool,
}

impl Operator {
    pub(super) fn new(random: StdRng, store: MemoryStore) -> Self {
        let generations = AGAIN.map(|key| (key, Generation::default())).into();
        Self { random, store, notes: Notes::default(), generations }
    }

    pub(super) fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Works until `sent` and until no work is left.
    pub(super) async fn work(
        &mut self,
        engine: &Engine,
        sent: impl Fn() -> bool,
    ) -> Result<(), String> {
        loop {
            tokio::time::sleep(Duration::from_micros(self.random.random_range(0..8_000))).await;
            for key in AGAIN {
                self.start_again(key, engine).await?;
            }
            let tables = self.store.snapshot();
            let over = self.generations.values().all(|g| g.number == GENERATIONS);
            if sent() && over && is_quiet(&tables) {
                return Ok(());
            }
            let open =
                |dead_letter: &&Arc<DeadLetter>| dead_letter.status == DeadLetterStatus::Open;
            let open: Vec<_> = tables.dead_letters.values().filter(open).collect();
            if !open.is_empty() {
                let dead_letter = DeadLetter::clone(open[self.random.random_range(0..open.len())]);
                self.treat(dead_letter, &tables, engine).await?;
            }
            if self.random.random_ratio(1, 20) {
                let key = PASSING[self.random.random_range(0..PASSING.len())];
                self.end(&key.into(), engine).await;
            }
        }
    }

    /// Starts an instance as soon as the one before it is removed, and completes it.
    async fn start_again(&mut self, name: &'static str, engine: &Engine) -> Result<(), String> {
        let key = Key::from(name);
        let mut generation = self.generations[name];
        let row = (PluginName::from(JOBS), key.clone());
        let instance = self.store.look(|tables| tables.instances.get(&row).cloned());
        let id = |what: &str| format!("{name}-{}-{what}", generation.number);
        match instance.map(|instance| instance.status) {
            _ if generation.number == GENERATIONS => {}
            None if generation.started => {
                let start = id("start");
                let is_settled = self.store.look(|tables| is_settled(tables, &start));
                let went = self.store.look(|tables| is_decided(tables, &start));
                if is_settled && !went {
                    let why = self.store.look(|tables| trace(tables, &start, &key));
                    return Err(format!("{start} began nothing, and there was no instance; {why}"));
                }
                // The instance may have been completed although the request got no answer.
                if went {
                    generation =
                        Generation { number: generation.number + 1, ..Generation::default() };
                }
            }
            None if !generation.orphan => {
                let must = event("must", &id("must"), &json!({"key": name}));
                self.notes.orphans.insert(must.id.clone());
                generation.orphan = engine.offer(vec![must]).await.is_ok();
            }
            None => {
                let kind = if self.random.random_ratio(1, 2) { "start" } else { "touch" };
                // If an event of this id is sent twice, the first one counts. So its kind must
                // not change.
                let kind = if generation.number.is_multiple_of(2) { kind } else { "start" };
                // The instance may have been removed, and the next one may run, when the sink
                // refuses this command.
                let mail = generation.number.is_multiple_of(2).then_some(true);
                let start = event(kind, &id("start"), &json!({"key": name, "mail": mail}));
                self.notes.starts.insert(start.id.clone());
                generation.started = engine.offer(vec![start]).await.is_ok();
            }
            Some(InstanceStatus::Running) if !generation.completed => {
                // The event was accepted, although the offer may have got no answer.
                generation.started = true;
                let data = json!({"key": name, "complete": true});
                generation.completed = match self.random.random_ratio(1, 2) {
                    true => self.end(&key, engine).await,
                    false => engine.offer(vec![event("step", &id("end"), &data)]).await.is_ok(),
                };
            }
            Some(InstanceStatus::Running) => {}
            // The instance was completed, although the request got no answer.
            Some(_) => (generation.started, generation.completed) = (true, true),
        }
        self.generations.insert(name, generation);
        Ok(())
    }

    async fn end(&mut self, key: &Key, engine: &Engine) -> bool {
        let row = (PluginName::from(JOBS), key.clone());
        let Some(instance) = self.store.look(|tables| tables.instances.get(&row).cloned()) else {
            return false;
        };
        let ended = engine.end(&row.0, key, "operator", "it is over").await.is_ok();
        if ended {
            self.notes.ended.insert((key.clone(), instance.started_at));
        }
        ended
    }

    /// Does one of the possible actions on a dead letter.
    async fn treat(
        &mut self,
        dead_letter: DeadLetter,
        tables: &Tables,
        engine: &Engine,
    ) -> Result<(), String> {
        let of_host = dead_letter.event.event_type.starts_with(reserved::PREFIX);
        let (what, action) = match self.random.random_range(0..12) {
            0..3 => (What::Discard, Action::Discard),
            3..5 => (What::Skip, Action::Skip),
            5..7 => (What::Redrive, Action::Redrive { edited: None }),
            7 if !of_host && dead_letter.subject == DeadLetterSubject::Event => {
                return self.ask_the_impossible(&dead_letter, engine).await;
            }
            8..10 if !of_host && is_movable(&dead_letter) => {
                let other = |key: &&str| Some(*key) != dead_letter.key.as_ref().map(Key::as_str);
                let to = LASTING.into_iter().find(other).unwrap_or(LASTING[0]);
                let edited = edited(&dead_letter, |data| {
                    data["key"] = json!(to);
                    data["complete"] = json!(false);
                });
                (What::Move(to.to_owned()), Action::Redrive { edited: Some(Box::new(edited)) })
            }
            _ => {
                let edited = edited(&dead_letter, |_| ());
                (What::Redrive, Action::Redrive { edited: Some(Box::new(edited)) })
            }
        };
        let waiting = waiting_behind(&dead_letter, tables);
        let (id, newest) = (dead_letter.id, newest_dead_letter(tables));
        self.notes.deeds.push(Deed { dead_letter, what, waiting, newest, answered: None });
        match resolve(id, action, engine).await {
            Ok(()) => {
                let newest = self.store.look(newest_dead_letter);
                let stored = |tables: &Tables| tables.log.keys().next_back().copied();
                // The stages may have stopped since: an engine without stages has no head.
                let stored = self.store.look(stored).unwrap_or(Position(0));
                let head = engine.status().await.head.max(stored);
                if let Some(deed) = self.notes.deeds.last_mut() {
                    deed.answered = Some(Answered { head, newest });
                }
            }
            // The action may have taken effect.
            Err(ResolveError::Unavailable(_)) => {}
            Err(ResolveError::Edited { reason, .. }) => {
                return Err(format!("what fits its dead letter was refused: {reason}"));
            }
            Err(_) => drop(self.notes.deeds.pop()),
        }
        Ok(())
    }

    /// Asks for a redrive with an edited event that the engine must refuse.
    async fn ask_the_impossible(
        &mut self,
        dead_letter: &DeadLetter,
        engine: &Engine,
    ) -> Result<(), String> {
        let wrong = match self.random.random_range(0..3) {
            0 => edited(dead_letter, |data| *data = json!({"no": "key"})),
            1 => {
                let mut event = edited(dead_letter, |_| ());
                let name = reserved::EXTENSION_INSTANCE.to_owned();
                event.extensions.push((name, LASTING[0].to_owned()));
                event
            }
            _ => Event {
                event_type: reserved::INSTANCE_ENDED.to_owned(),
                ..edited(dead_letter, |_| ())
            },
        };
        match resolve(dead_letter.id, Action::Redrive { edited: Some(Box::new(wrong)) }, engine)
            .await
        {
            Ok(()) => Err(format!("dead letter {} was edited to nonsense", dead_letter.id.0)),
            Err(_) => Ok(()),
        }
    }
}

async fn resolve(
    dead_letter: DeadLetterId,
    action: Action,
    engine: &Engine,
) -> Result<(), ResolveError> {
    let (by, reason) = ("operator".to_owned(), "mended".to_owned());
    engine.resolve(dead_letter, Resolution { action, by, reason, batch: None }).await
}

fn is_movable(dead_letter: &DeadLetter) -> bool {
    dead_letter.subject == DeadLetterSubject::Event && dead_letter.event.event_type != "item"
}

/// The event of a dead letter, edited so that it no longer fails, and changed.
fn edited(dead_letter: &DeadLetter, change: impl FnOnce(&mut Value)) -> Event {
    let mut event = Event::clone(dead_letter.current());
    if let Ok(mut data) = serde_json::from_slice::<Value>(&event.data) {
        data["poison"] = json!(false);
        data["refused"] = json!(false);
        change(&mut data);
        event.data = data.to_string().into();
    }
    event
}

fn newest_dead_letter(tables: &Tables) -> DeadLetterId {
    let removed = tables.removed.dead_letters.keys().next_back().copied();
    tables.dead_letters.keys().next_back().copied().max(removed).unwrap_or_default()
}

/// Whether two dead letters are of the same instance, lane or ordering key of a sink.
pub(super) fn is_of_same_lane(dead_letter: &DeadLetter, other: &DeadLetter) -> bool {
    let same = match (&dead_letter.subject, &other.subject) {
        (DeadLetterSubject::Event, DeadLetterSubject::Event) => true,
        (DeadLetterSubject::Message { sink, .. }, DeadLetterSubject::Message { sink: of, .. }) => {
            sink == of
        }
        _ => false,
    };
    same && (&other.plugin, &other.key) == (&dead_letter.plugin, &dead_letter.key)
}

/// The places that wait behind a dead letter, up to the next one of its key.
fn waiting_behind(dead_letter: &DeadLetter, tables: &Tables) -> BTreeSet<u64> {
    let place = super::books::place(dead_letter);
    let others = tables.dead_letters.values().filter(|other| is_of_same_lane(dead_letter, other));
    let others = others.filter(|other| other.status.is_unresolved());
    let next = others.map(|other| super::books::place(other)).filter(|other| *other > place);
    let within = place + 1..next.min().unwrap_or(u64::MAX);
    let Some(key) = &dead_letter.key else { return BTreeSet::new() };
    let places: BTreeSet<u64> = match &dead_letter.subject {
        DeadLetterSubject::Event => {
            let rows = tables.parked.keys();
            let of_key = rows.filter(|(plugin, k, _)| *plugin == dead_letter.plugin && k == key);
            of_key.map(|(_, _, position)| position.0).collect()
        }
        DeadLetterSubject::Message { sink, .. } => {
            let rows = tables.parked_messages.iter().filter(|((of, _), _)| of == sink);
            let of_key =
                rows.filter(|(_, lane)| lane.plugin == dead_letter.plugin && lane.key == *key);
            of_key.map(|((_, sequence), _)| sequence.0).collect()
        }
    };
    places.into_iter().filter(|place| within.contains(place)).collect()
}

fn is_settled(tables: &Tables, id: &str) -> bool {
    let Some(position) = position_of(tables, id) else { return false };
    let progress = tables.plugins.get(&PluginName::from(JOBS));
    progress.is_some_and(|progress| progress.cursor.contains(position.0))
}

fn is_decided(tables: &Tables, id: &str) -> bool {
    let Some(position) = position_of(tables, id) else { return false };
    let decisions = tables.decisions.values().chain(tables.removed.decisions.values());
    decisions.into_iter().any(|d| d.position == position && d.plugin.as_str() == JOBS)
}

/// The position at which an event first came into the log, not one to which it was redriven.
fn position_of(tables: &Tables, id: &str) -> Option<Position> {
    let log = tables.log.values().chain(tables.removed.log.values());
    log.filter(|entry| entry.event.id == id).map(|entry| entry.position).min()
}

/// Whether no work is left.
fn is_quiet(tables: &Tables) -> bool {
    let log = tables.log.keys().chain(tables.removed.log.keys());
    let head = log.max().map_or(0, |position| position.0);
    let settled = tables.plugins.len() == 2
        && tables.plugins.values().all(|progress| progress.cursor.settled >= head);
    let sent = tables.messages.keys().all(|(sink, sequence)| {
        tables.sinks.get(sink).is_some_and(|sink| sink.cursor.settled >= sequence.0)
    });
    let waits = tables.dead_letters.values().any(|dead_letter| dead_letter.status.is_unresolved())
        || !tables.parked.is_empty()
        || !tables.parked_messages.is_empty()
        || !tables.waits.is_empty()
        || !tables.message_waits.is_empty()
        || !tables.held.is_empty()
        || !tables.timers.is_empty();
    settled && sent && !waits
}

/// What is stored of a key and of an event for it, as text for an error.
fn trace(tables: &Tables, id: &str, key: &Key) -> String {
    let position = position_of(tables, id);
    let log = tables.log.values().chain(tables.removed.log.values());
    let log = log.filter(|entry| {
        entry.event.extension(reserved::EXTENSION_INSTANCE) == Some(key.as_str())
            || String::from_utf8_lossy(&entry.event.data).contains(key.as_str())
    });
    let log: Vec<String> =
        log.map(|entry| format!("{} {}", entry.position, entry.event.id)).collect();
    let decisions = tables.decisions.values().chain(tables.removed.decisions.values());
    let decisions = decisions.filter(|d| d.key == *key && d.plugin.as_str() == JOBS);
    let decisions: Vec<u64> = decisions.map(|d| d.position.0).collect();
    format!("it is at {position:?}; its key has the events {log:?}, and decided {decisions:?}")
}
