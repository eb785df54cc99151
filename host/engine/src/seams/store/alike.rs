//! Tests that two stores which get the same batches give the same answers. A seed makes batches
//! over few names, so that rows are written over, removed and read again.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::contract::{
    append, claim, dead_letter, decision, entry, held, lane, limit, message, parked, pause, plugin,
    plugin_progress, sink, sink_progress, span, timer, undelivered, wait,
};
use super::{Append, Batch, Closing, Expire, Page, Store, TimerRow};
use crate::model::{
    AgeMark, AgeTime, BatchId, DeadLetter, DeadLetterId, DeadLetterStatus, Event, Instance,
    InstanceStatus, Key, Position, Sequence, State, Timestamp, reserved,
};

/// Few keys, so that batches use the same ones; some of them a database may confuse with
/// another.
const KEYS: [&str; 7] = ["a", "b", "c", "a\0b", "\0", "d", "ä \"'"];
const ALL: usize = 10_000;
/// A page of about three of the script's events.
const FEW: Page = Page { rows: 5, bytes: 800 };

/// Makes batches as an engine makes them: each row once, places ascending.
pub struct Script {
    random: StdRng,
    position: u64,
    sequence: u64,
    dead_letter: u64,
    settled: u64,
    decided: BTreeSet<(u64, &'static str)>,
}

impl Script {
    /// The same seed makes the same batches.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self {
            random,
            position: 0,
            sequence: 0,
            dead_letter: 0,
            settled: 0,
            decided: BTreeSet::new(),
        }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.random_range(0..n) == 0
    }

    /// A random subset of the keys.
    fn keys(&mut self) -> Vec<&'static str> {
        KEYS.into_iter().filter(|_| self.random.random_range(0..3) == 0).collect()
    }

    /// A random place of the log.
    fn place(&mut self) -> u64 {
        self.random.random_range(1..=self.position.max(1))
    }

    /// The next batch.
    pub fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        self.add_events(&mut batch);
        let types = batch.appends.iter().map(|append| append.event.event_type.clone());
        batch.untaken = types.filter(|_| self.random.random_ratio(1, 3)).collect();
        self.add_instances(&mut batch);
        self.add_messages(&mut batch);
        self.add_waiting(&mut batch);
        self.add_waits(&mut batch);
        self.add_dead_letters(&mut batch);
        self.settled = self.random.random_range(self.settled..=self.position);
        let mut progress = plugin_progress("orders", self.settled);
        progress.counters.received = self.settled;
        batch.plugins.push(progress);
        for key in self.keys() {
            let position = Position(self.place());
            match self.one_in(2) {
                true => batch.partly_decided.push((plugin(), position, key.into())),
                false => batch.partly_decided_removed.push((plugin(), position)),
            }
        }
        if self.one_in(2) {
            let settled = self.random.random_range(0..=self.sequence);
            batch.sinks.push(sink_progress(sink().as_str(), settled));
        }
        self.add_controls(&mut batch);
        if self.one_in(3) {
            let (history_to, history_before) = (Position(self.place()), Timestamp(self.place()));
            let mark = AgeMark {
                at: AgeTime(self.random.random_range(0..9)),
                position: history_to,
                wall: history_before,
            };
            let marks_removed = vec![AgeTime(self.random.random_range(0..9))];
            // The contract does not say which rows go first if there are too many, and when
            // identities are forgotten.
            let rows_max = ALL;
            let plugins = vec![plugin()];
            batch.expire = Some(Expire {
                plugins,
                seen_to: Position(0),
                history_to,
                history_before,
                mark: Some(mark),
                marks_removed,
                rows_max,
            });
        }
        batch
    }

    fn add_controls(&mut self, batch: &mut Batch) {
        for key in self.keys() {
            let control = match self.one_in(2) {
                true => pause(key, self.place()),
                false => limit(key, self.place()),
            };
            match self.one_in(2) {
                true => batch.controls.push(control),
                false => batch.controls_removed.push(control.id()),
            }
        }
    }

    fn add_events(&mut self, batch: &mut Batch) {
        for _ in 0..self.random.random_range(0..12) {
            self.position += self.random.random_range(1..3);
            let id = if self.one_in(4) { self.place() } else { self.position };
            let mut append = append(self.position, id);
            append.redriven = self.one_in(10);
            if self.one_in(6) {
                let mut addressed = Event::clone(&append.event);
                let name = reserved::EXTENSION_PLUGIN.to_owned();
                addressed.extensions.push((name, plugin().to_string()));
                append.event = Arc::new(addressed);
            }
            // A timer fires once, as one event.
            if id == self.position && self.one_in(6) {
                let due = self.random.random_range(1..4);
                append.fires = Some(timer(KEYS[0], "x", due).timer);
            }
            batch.appends.push(append);
        }
    }

    fn add_instances(&mut self, batch: &mut Batch) {
        for key in self.keys() {
            if self.one_in(5) {
                batch.instances_removed.push((plugin(), key.into()));
                continue;
            }
            let claims: BTreeSet<Key> = self.keys().into_iter().map(Key::from).collect();
            for other in KEYS {
                batch.claims.push(claim(other, key, claims.contains(&Key::from(other))));
            }
            let statuses =
                [InstanceStatus::Running, InstanceStatus::Completed, InstanceStatus::Ended];
            let place = self.place();
            let data = if self.one_in(2) { Bytes::from_static(b"\xff") } else { "text".into() };
            let instance = Instance {
                key: key.into(),
                status: statuses[self.random.random_range(0..3)],
                started: Position(self.place()),
                state: (!self.one_in(3)).then_some(State { version: 3, data }),
                decided: Position(place),
                place: Position(place + 1),
                version: place,
                started_at: Timestamp(1),
                updated_at: Timestamp(place),
                trace: place.is_multiple_of(2).then(|| Box::new(span(place))),
            };
            batch.instances.push((plugin(), Arc::new(instance)));
            if self.position > 0 && self.decided.insert((place, key)) {
                batch.decisions.push(decision(place, key));
            }
        }
        let removed = |key: &Key| batch.instances_removed.iter().any(|(_, gone)| gone == key);
        for key in self.keys() {
            let row = timer(
                key,
                ["x", "y"][self.random.random_range(0..2)],
                self.random.random_range(1..9),
            );
            match self.random.random_range(0..3) {
                _ if removed(&row.timer.instance) => {}
                0 => {
                    let TimerRow { timer, .. } = row;
                    batch.timers_cleared.push((timer.plugin, timer.instance, timer.name));
                }
                _ => batch.timers_set.push(row),
            }
        }
    }

    fn add_messages(&mut self, batch: &mut Batch) {
        for key in self.keys() {
            self.sequence += self.random.random_range(1..3);
            let cause = self.place();
            batch.messages.push(message(self.sequence, key, cause));
            match self.random.random_range(0..4) {
                0 => batch.parked_messages.push((lane(key), Sequence(self.sequence))),
                1 => {
                    let sequence = self.random.random_range(1..=self.sequence);
                    let is_new = |(_, parked): &(_, Sequence)| parked.0 == sequence;
                    if !batch.parked_messages.iter().any(is_new) {
                        batch.parked_messages_removed.push((sink(), Sequence(sequence)));
                    }
                }
                _ => {}
            }
        }
    }

    fn add_waiting(&mut self, batch: &mut Batch) {
        // Only an event in the log can wait, and it stays in the log while it waits. So these
        // events are new.
        let fresh: Vec<u64> = batch
            .appends
            .iter()
            .filter(|append| append.redriven)
            .map(|append| append.position.0)
            .collect();
        for place in fresh {
            let append = batch.appends.iter().find(|a| a.position.0 == place);
            let Append { event, hops, .. } = append.expect("it is fresh").clone();
            let key = KEYS[self.random.random_range(0..KEYS.len())];
            if self.one_in(2) {
                let mut row = held(place, key, place + 5);
                row.due = self.one_in(3).then(|| vec![key.into()]);
                (row.entry.event, row.entry.hops) = (event, hops);
                batch.held.push(row);
            } else {
                let mut row = parked(place, key);
                (row.entry.event, row.entry.hops) = (event, hops);
                batch.parked.push(row);
            }
        }
        for key in self.keys() {
            let row = (plugin(), Key::from(key), Position(self.place()));
            let is_new = batch.held.iter().any(|held| held.entry.position == row.2)
                || batch.parked.iter().any(|parked| parked.entry.position == row.2);
            match self.one_in(2) {
                _ if is_new => {}
                true => batch.held_removed.push(row),
                false => batch.parked_removed.push(row),
            }
        }
    }

    fn add_waits(&mut self, batch: &mut Batch) {
        for key in self.keys() {
            let place = self.place();
            match self.random.random_range(0..4) {
                0 => batch.waits.push((plugin(), key.into(), wait(place))),
                1 => batch.waits_removed.push((plugin(), key.into())),
                2 => batch.message_waits.push((lane(key), wait(place))),
                _ => batch.message_waits_removed.push((sink(), Sequence(place))),
            }
        }
    }

    fn add_dead_letters(&mut self, batch: &mut Batch) {
        let statuses = [
            DeadLetterStatus::Open,
            DeadLetterStatus::Redriving,
            DeadLetterStatus::Redriven,
            DeadLetterStatus::Skipped,
        ];
        for key in self.keys() {
            let old = self.dead_letter > 0 && self.one_in(2);
            let id = if old {
                self.random.random_range(1..=self.dead_letter)
            } else {
                self.dead_letter + 1
            };
            if batch.dead_letters.iter().any(|dead_letter| dead_letter.id.0 == id) {
                continue;
            }
            self.dead_letter = self.dead_letter.max(id);
            let status = statuses[self.random.random_range(0..4)];
            let made = match id % 3 {
                0 => undelivered(id, id, key),
                1 => dead_letter(id, Some(key), id),
                _ => dead_letter(id, None, id),
            };
            let edited = self.one_in(4).then(|| entry(id).event);
            let of_batch = self.one_in(3).then_some(BatchId(id % 4));
            let dead_letter = DeadLetter { status, edited, batch: of_batch, ..made };
            batch.dead_letters.push(Arc::new(dead_letter));
        }
        for id in 1..=self.dead_letter {
            if self.one_in(20) {
                batch.dead_letters_closed.push(Closing {
                    id: DeadLetterId(id),
                    status: match self.one_in(2) {
                        true => DeadLetterStatus::Discarded,
                        false => DeadLetterStatus::Compensated,
                    },
                    by: "ada".to_owned(),
                    reason: format!("at {}", self.position),
                });
            }
            if self.one_in(20) {
                batch.dead_letters_noted.push((DeadLetterId(id), format!("at {}", self.position)));
            }
        }
    }
}

/// Compares all answers of two stores.
///
/// # Panics
/// If two answers differ.
pub async fn compare(a: &dyn Store, b: &dyn Store) {
    assert_eq!(a.recover().await, b.recover().await);
    compare_log(a, b).await;
    compare_instances(a, b).await;
    compare_outbox(a, b).await;
    compare_due(a, b).await;
    compare_keys(a, b).await;
    compare_dead_letters(a, b).await;
}

async fn compare_log(a: &dyn Store, b: &dyn Store) {
    for (after, rows) in [(Position(0), ALL), (Position(3), 2)] {
        let page = Page { rows, bytes: usize::MAX };
        assert_eq!(a.read_log(after, page).await, b.read_log(after, page).await);
    }
    for subject in ["s-0", "s-1", "s-2"] {
        let (after, before) = (Position(2), Position(40));
        let page = Page { rows: 3, bytes: usize::MAX };
        assert_eq!(
            a.read_stream(subject, after, before, page).await,
            b.read_stream(subject, after, before, page).await
        );
    }
}

async fn compare_instances(a: &dyn Store, b: &dyn Store) {
    for limit in [1, 4, ALL] {
        assert_eq!(a.load_all(&plugin(), limit).await, b.load_all(&plugin(), limit).await);
    }
    let after = Key::from(KEYS[1]);
    for (after, limit) in [(None, 2), (None, ALL), (Some(&after), 3)] {
        assert_eq!(
            a.read_keys(&plugin(), after, limit).await,
            b.read_keys(&plugin(), after, limit).await
        );
    }
    for keys in [&KEYS[..1], &KEYS[2..4], &KEYS] {
        let keys: Vec<Key> = keys.iter().map(|key| Key::from(*key)).collect();
        assert_eq!(a.load(&plugin(), &keys).await, b.load(&plugin(), &keys).await);
    }
}

async fn compare_outbox(a: &dyn Store, b: &dyn Store) {
    let (of, first) = (sink(), Sequence(0));
    for page in [Page { rows: 2, bytes: usize::MAX }, Page { rows: ALL, bytes: usize::MAX }] {
        assert_eq!(a.read_outbox(&of, first, page).await, b.read_outbox(&of, first, page).await);
    }
    let asked = [1, 3, 4, 7, 8, 20].map(Sequence);
    for bytes in [1, 800, usize::MAX] {
        assert_eq!(
            a.read_messages(&of, &asked, bytes).await,
            b.read_messages(&of, &asked, bytes).await
        );
    }
}

/// What a clock makes due: holds, finished instances, timers.
async fn compare_due(a: &dyn Store, b: &dyn Store) {
    for time in [2, 5, 20, 1_000] {
        let until = Timestamp(time);
        assert_eq!(
            a.read_expired_holds(&plugin(), until, 5).await,
            b.read_expired_holds(&plugin(), until, 5).await
        );
        assert_eq!(
            a.read_finished_instances(&plugin(), Position(time + 1), until, None, 3).await,
            b.read_finished_instances(&plugin(), Position(time + 1), until, None, 3).await
        );
    }
    let page = Page { rows: ALL, bytes: usize::MAX };
    let timers = a.read_timers(None, page).await;
    assert_eq!(timers, b.read_timers(None, page).await);
    for row in timers.into_iter().flatten() {
        let after = Some(row.timer.place());
        let read = a.read_timers(after.as_ref(), Page { rows: 3, bytes: 5 }).await;
        assert_eq!(read, b.read_timers(after.as_ref(), Page { rows: 3, bytes: 5 }).await);
    }
}

async fn compare_keys(a: &dyn Store, b: &dyn Store) {
    for name in KEYS {
        let key = Key::from(name);
        for place in [1, 7, 30] {
            assert_eq!(
                a.read_decided(&plugin(), &key, Position(place), 9).await,
                b.read_decided(&plugin(), &key, Position(place), 9).await
            );
        }
        assert_eq!(
            a.read_parked(&plugin(), &key, Position(0), FEW).await,
            b.read_parked(&plugin(), &key, Position(0), FEW).await
        );
    }
}

async fn compare_dead_letters(a: &dyn Store, b: &dyn Store) {
    let newest = a.recover().await.map_or(0, |recovered| recovered.dead_letter.0);
    for id in (0..=newest + 1).map(DeadLetterId) {
        assert_eq!(a.read_dead_letter(id).await, b.read_dead_letter(id).await);
    }
}
