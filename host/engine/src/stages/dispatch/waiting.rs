//! Keys that wait for their next attempt for more than a moment: each is one durable row, and its
//! events are parked like those behind a dead letter. So their flights conclude, the cursor stays
//! small, and the dispatcher reads on, however many keys wait and for how long.

use futures::future::BoxFuture;

use crate::changes::asking::Failed;
use crate::model::{Answer, Key, Position};
use crate::pure::dead_letters::{Left, Postponed};
use crate::pure::monotonic::{Instant, after};
use crate::seams::store::ParkedKey;

use super::{Answers, Asked, Asking, Delivery, Dispatcher, ending};

/// Deliveries that have left memory and whose questions are being asked. The questions of further
/// ones stop the reading of the log, so that memory is bounded.
const SLOW_ASKS_MAX: usize = 4_096;

impl Dispatcher {
    pub(super) fn restore_parked(&mut self, parked: &[ParkedKey<Key>]) {
        let today = (self.context.clock)();
        for ParkedKey { key, dead_letters, waiting, waits } in parked {
            let wait = waits.first().map(|wait| (wait, None));
            self.dead_letters.restore(key, dead_letters, waiting, wait, today);
        }
    }

    /// Schedules the next attempt at the event at the front of a lane for `until`. If that is far
    /// away, the lane leaves memory.
    pub(super) fn try_again(
        &mut self,
        key: &Key,
        position: Position,
        reason: &str,
        until: Instant,
    ) {
        if until <= after(Instant::now(), self.context.wait_in_memory_max) {
            return self.lanes.put_back(key, position.0, until);
        }
        self.leave_memory(key, position, reason, Some(until));
    }

    /// Removes the lane of a key from memory, until a time or until answers arrive.
    fn leave_memory(
        &mut self,
        key: &Key,
        position: Position,
        reason: &str,
        until: Option<Instant>,
    ) {
        let (mut ends, mut failed) = (Vec::new(), None);
        for (order, mut delivery) in self.lanes.clear(key) {
            if order == position.0 {
                failed = Some((delivery.attempt, delivery.troubles.take()));
            }
            match self.dead_letters.leave(key, order, delivery.via.item()) {
                Left::ToPark if ending::is_end(&delivery.entry.event) => ends.push(delivery),
                Left::ToPark => self.park(key, &delivery),
                Left::Nothing | Left::ToDeadLetter => {}
            }
        }
        if let Some((attempt, memo)) = failed {
            let pause = Postponed { attempt, reason, memo, until, today: (self.context.clock)() };
            // None if it became a dead letter, because the store could not write that it is parked.
            let row = self.dead_letters.sleep(key, position.0, pause, &mut self.output);
            if row.is_some() {
                self.output.rows().waits.insert(key.clone(), row);
            }
        }
        // The end of an instance does not wait: it gives up the events that do.
        for end in ends {
            self.enqueue(key, end);
        }
    }

    /// Continues the attempt of a delivery that waited.
    pub(super) fn take_up(&mut self, key: &Key, delivery: &mut Delivery) {
        let waited = self.dead_letters.attempt(key, delivery.entry.position.0);
        let Some((attempt, troubles)) = waited else { return };
        delivery.attempt = attempt;
        delivery.troubles = troubles.take();
        // The cause is not an operator any more.
        delivery.accepted_at = Some(delivery.entry.received_at);
    }

    /// The questions of a delivery take long: it leaves memory while they are asked.
    pub(super) fn wait_for_answers(
        &mut self,
        key: Key,
        position: Position,
        generation: u32,
        pending: BoxFuture<'static, Result<Vec<Answer>, Failed>>,
    ) {
        if generation != self.versions.generation_of(&key) {
            return self.start_over(&key, position);
        }
        let is_slow = self.slow_asks < SLOW_ASKS_MAX;
        if is_slow && let Some(delivery) = self.lanes.get_mut(&key, position.0) {
            let (now, rounds) = (delivery.now, delivery.rounds);
            let answers = std::mem::take(&mut delivery.answers);
            let log = delivery.log.take();
            let asking = Asking { now, answers, rounds, log, arrived: None };
            delivery.troubles.get_or_insert_default().asking = Some(asking);
            self.leave_memory(&key, position, "its questions are not answered yet", None);
        }
        self.slow_asks += usize::from(is_slow);
        self.asks.push(Box::pin(async move {
            let answers = Answers::Arrived(pending.await);
            Asked { position, key, generation, is_slow, answers }
        }));
    }

    /// Continues a key with its answers, if it still waits for them.
    pub(super) fn on_slow_answers(
        &mut self,
        key: &Key,
        position: Position,
        generation: u32,
        answers: Result<Vec<Answer>, Failed>,
    ) {
        self.slow_asks -= 1;
        if let Some((_, Some(troubles))) = self.dead_letters.attempt(key, position.0)
            && let Some(asking) = &mut troubles.asking
        {
            asking.arrived = Some((generation, answers));
            self.dead_letters.wake_key(key);
        }
    }

    /// Returns false if the answers were a failure, which is handled here.
    pub(super) fn use_slow_answers(&mut self, key: &Key, position: Position) -> bool {
        let generation_now = self.versions.generation_of(key);
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return true };
        let troubles = delivery.troubles.as_mut();
        let Some(asking) = troubles.and_then(|troubles| troubles.asking.take()) else {
            return true;
        };
        let Asking { now, mut answers, rounds, log, arrived } = asking;
        match arrived {
            Some((generation, Ok(more))) if generation == generation_now => {
                answers.extend(more);
                (delivery.now, delivery.answers, delivery.rounds) = (now, answers, rounds);
                delivery.log = log;
            }
            Some((generation, Err(failed))) if generation == generation_now => {
                delivery.log = log;
                self.fail(key, position, failed);
                return false;
            }
            // Another version serves now: the event starts again.
            _ => delivery.attempt = 1,
        }
        true
    }
}
