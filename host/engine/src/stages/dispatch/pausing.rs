//! Plugins and keys that an operator has paused.
//!
//! While a plugin is paused, its dispatcher calls no handler and concludes nothing about events
//! that no instance has. It reads the log only up to the first event that is for the plugin; the
//! others stay in the log, and count toward the backlog (`changes/backlog.rs`).
//!
//! The events of a paused key are parked, as behind a dead letter: they are rows of the store, in
//! order, and all other keys continue. A call that has begun when a pause comes is decided; calls
//! that no thread has begun are taken back.

use tokio::sync::oneshot;

use crate::changes::backlog::{HeldBack, Holder};
use crate::changes::controls::PluginControls;
use crate::changes::requests::{AttemptReply, PluginWaiting};
use crate::model::{Key, Position};
use crate::pure::dead_letters::{Left, Postponed};
use crate::pure::monotonic::Instant;

use super::{Asking, Delivery, Dispatcher};

impl Dispatcher {
    /// Follows the controls as they are now.
    pub(crate) fn follow_controls(&mut self) {
        let PluginControls { is_paused, keys } = self.context.controls.of_plugin(&self.plugin);
        for key in keys.difference(&self.controls.keys) {
            self.dead_letters.pause(key);
        }
        for key in self.controls.keys.difference(&keys) {
            self.dead_letters.resume(key);
        }
        self.controls = PluginControls { is_paused, keys };
        if is_paused || !self.controls.keys.is_empty() {
            self.take_back_unbegun();
        }
        self.report_held_back();
    }

    pub(super) fn on_controls(&mut self, reply: oneshot::Sender<()>) {
        self.follow_controls();
        // The caller may have hung up.
        let _ = reply.send(());
    }

    /// Whether a key is paused.
    pub(super) fn is_key_paused(&self, key: &Key) -> bool {
        !self.controls.keys.is_empty() && self.controls.keys.contains(key)
    }

    /// Removes the lane of a paused key from memory, before its next call. Returns true if it has.
    pub(super) fn leaves_because_paused(&mut self, key: &Key, position: Position) -> bool {
        if !self.is_key_paused(key) {
            return false;
        }
        let mut begun = None;
        let generation = self.versions.generation_of(key);
        for (order, mut delivery) in self.lanes.clear(key) {
            if order == position.0 {
                delivery.keep_answers(generation);
                let has_begun = delivery.attempt > 1 || delivery.troubles.is_some();
                begun = has_begun.then(|| (delivery.attempt, delivery.troubles.take()));
            }
            match self.dead_letters.leave(key, order, delivery.via.item()) {
                Left::ToPark => self.park(key, &delivery),
                Left::Nothing | Left::ToDeadLetter => {}
            }
        }
        if let Some((attempt, memo)) = begun {
            // It continues with this attempt, as soon as the key is resumed.
            let (reason, until) = ("the key is paused", Some(Instant::now()));
            let today = (self.context.clock)();
            let next = Postponed { attempt, reason, memo, until, today };
            let row = self.dead_letters.sleep(key, position.0, next, &mut self.output);
            if row.is_some() {
                self.output.rows().waits.insert(key.clone(), row);
            }
        }
        true
    }

    /// Takes back the calls that no thread has begun. They count as the same attempt later.
    fn take_back_unbegun(&mut self) {
        let jobs = self.context.shards.recall(&self.plugin, self.calls.results());
        self.calls.end(jobs.len());
        for job in jobs {
            self.lanes.put_back(&job.key, job.position.0, Instant::now());
        }
    }

    /// Reports the events that wait because of a pause, for the limit at the door.
    pub(super) fn report_held_back(&self) {
        let rows = self.dead_letters.paused_rows() as u64;
        let holder = Holder::Plugin(self.plugin.clone());
        self.context.backlog.hold_back(&holder, HeldBack { rows, outbox: None });
    }

    pub(super) fn on_waiting(&self, reply: oneshot::Sender<PluginWaiting>) {
        let cursor = self.flights.cursor();
        let ahead: u64 = cursor.ahead.iter().map(|span| span.last - span.first + 1).sum();
        let positions = self.context.log.head().saturating_sub(cursor.settled + ahead);
        let keys = self.controls.keys.iter().map(|key| {
            let (first, rows) = self.dead_letters.waiting(key);
            (key.clone(), (rows, first.map(Position)))
        });
        let oldest = self.flights.oldest();
        let _ = reply.send(PluginWaiting { positions, oldest, keys: keys.collect() });
    }

    /// Makes the next attempt at a key's first event due now, also after a restart.
    pub(super) fn on_attempt_now(&mut self, key: &Key, reply: AttemptReply) {
        let today = (self.context.clock)();
        let wait = self.dead_letters.attempt_now(key, today);
        let in_memory = self.lanes.wake_lane(key);
        let count = usize::from(wait.is_some() || in_memory);
        if wait.is_some() {
            self.output.rows().waits.insert(key.clone(), wait);
        }
        let _ = reply.send((count, self.output.when_durable()));
    }
}

impl Delivery {
    /// Its call was taken back: the answers that the version has asked for stay with it.
    fn keep_answers(&mut self, generation: u32) {
        if self.rounds > 0 {
            let (now, rounds) = (self.now, self.rounds);
            let answers = std::mem::take(&mut self.answers);
            let arrived = Some((generation, Ok(Vec::new())));
            let asking = Asking { now, answers, rounds, log: self.log.take(), arrived };
            self.troubles.get_or_insert_default().asking = Some(asking);
        }
    }
}
