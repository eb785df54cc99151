//! Pure: the state machine of dead letters, and of the rows that wait behind them. The dispatcher keeps the dead
//! letters of events with it, the lanes of a sink those of messages.
//!
//! A key has a lane in memory, and beside it what is put aside: dead letters and parked rows, by
//! their place. An item of a key is in one of these states:
//!
//! | state | leads to | by |
//! |---|---|---|
//! | in its lane | settled | it is handled |
//! | | parked | it comes, or stands, behind a dead letter or an item that waits, or its key is paused |
//! | | open | it fails for good, or too many wait already |
//! | parked (a row) | in its lane, with its row | nothing is before it, and its portion is read |
//! | | settled | the dead letter before it is discarded, or the key is given up |
//! | open (a dead letter) | redriving | an operator redrives it; then what is behind it follows |
//! | | skipped | an operator skips it; what is behind it follows |
//! | | discarded | an operator discards it, with what is behind it |
//! | | compensated | the plugin that sent the message handles its refusal |
//! | redriving | in its lane, still redriving | its portion is read |
//! | redriving, in its lane | redriven | it is handled |
//! | | open | it fails for good, or something before it does |
//! | | discarded | the store can write neither what came of it nor that it is open again |
//! | | redriving | it waits for its next attempt, outside of memory |
//!
//! Each change is written to [`Rows`], and is durable with the stage's next commit. A restart
//! begins with the rows: an item that was in a lane is parked or redriving, or is read from the log
//! or the outbox once more.

use std::hash::Hash;
use std::sync::Arc;

use crate::model::{
    Action, DeadLetter, DeadLetterId, DeadLetterStatus, OpenDeadLetter, Resolution, Timestamp, Wait,
};
use crate::pure::hash::HashMap;
use crate::pure::monotonic::Instant;
use crate::pure::parking::{Admission, Parking, Portion, Refusal};
use crate::pure::waits::Waits;

/// What a stage writes with its next commit, each row once.
pub(crate) trait Rows<K> {
    /// A dead letter as it is from now on.
    fn dead_letter(&mut self, dead_letter: DeadLetter);
    /// A row that was taken back is settled.
    fn settled(&mut self, key: &K, place: u64);
    /// Rows are discarded, with what they waited behind; some of them may not be stored yet.
    fn dropped(&mut self, key: &K, places: &[u64]);
    /// The wait for the item at this place is over.
    fn wait_ended(&mut self, key: &K, place: u64);
    /// Adds to the number of items that operators discarded or skipped.
    fn count_discarded(&mut self, count: u64);
}

/// Where an item in a lane came from, and so which row it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneItem {
    /// It came from the log or the outbox, and has no row.
    Fresh,
    /// It was parked, and has its row until it is settled.
    Parked,
    /// It is the event or message of a dead letter that is redriven.
    DeadLetter(DeadLetterId),
}

/// Why an item became a dead letter, or is one again.
#[derive(Clone, Debug)]
pub(crate) struct Failing<'a> {
    pub reason: &'a str,
    pub attempts: u32,
    /// The version of the plugin that failed; empty for a message.
    pub plugin_version: Arc<str>,
    pub at: Timestamp,
    /// What the plugin logged in the call that failed.
    pub log: Option<Arc<str>>,
}

/// Why an item waits, and for which attempt.
#[derive(Clone, Debug)]
pub(crate) struct Postponed<'a, M> {
    pub attempt: u32,
    pub reason: &'a str,
    pub memo: M,
    /// None: until the stage wakes the key, or the host starts again.
    pub until: Option<Instant>,
    pub today: Timestamp,
}

/// What the stage must do with an item that leaves its lane without being handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing: it is a dead letter again, or its row stays.
    Nothing,
    /// To park it, as it has no row.
    ToPark,
    /// To make it a dead letter.
    ToDeadLetter,
}

/// The dead letters of all keys of a stage, and the rows that wait behind them. `T` is an item that
/// the stage buffers, `M` what the stage remembers of the attempts at an item that waits.
#[derive(Debug)]
pub(crate) struct DeadLetters<K, T, M> {
    parking: Parking<K, T>,
    waits: Waits<K, M>,
    /// The dead letters that are being redriven and whose items are in their lanes.
    in_lane: HashMap<DeadLetterId, DeadLetter>,
}

impl<K: Clone + Eq + Hash + Ord, T, M> DeadLetters<K, T, M> {
    /// At most `waiting_max` rows of one key may wait.
    pub(crate) fn new(waiting_max: u64) -> Self {
        Self {
            parking: Parking::new(waiting_max),
            waits: Waits::default(),
            in_lane: HashMap::default(),
        }
    }

    /// Restores the dead letters, rows and wait that the store has of a key.
    pub(crate) fn restore(
        &mut self,
        key: &K,
        dead_letters: &[OpenDeadLetter],
        waiting: &[u64],
        wait: Option<(&Wait, M)>,
        today: Timestamp,
    ) {
        self.parking.restore(key, dead_letters, waiting, wait.as_ref().map(|(wait, _)| wait.place));
        if let Some((wait, memo)) = wait {
            self.waits.restore(key, wait, memo, today);
        }
    }

    /// Whether anything of the key is unresolved or put aside.
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.parking.contains(key)
    }

    /// Whether anything of the key before a place is unresolved, put aside or taken back.
    pub(crate) fn waits_before(&self, key: &K, place: u64) -> bool {
        self.parking.waits_before(key, place)
    }

    /// Whether nothing of any key is unresolved or put aside.
    pub(crate) fn is_empty(&self) -> bool {
        self.parking.is_empty()
    }

    /// Whether a portion of the key is being read.
    pub(crate) fn is_reading(&self, key: &K) -> bool {
        self.parking.is_reading(key)
    }

    // ---- items that come ------------------------------------------------------

    /// What to do with an item that comes for a key.
    pub(crate) fn admit(&self, key: &K, place: u64) -> Admission {
        self.parking.admit(key, place)
    }

    /// Keeps an item in memory that comes while its key is about to continue.
    pub(crate) fn buffer(&mut self, key: &K, item: T) {
        self.parking.buffer(key, item);
    }

    /// Notes that an item is parked. The stage writes its row.
    pub(crate) fn park(&mut self, key: &K, place: u64) {
        self.parking.park(key, place);
    }

    /// Notes that an item became a dead letter, which the stage writes. The key waits behind it.
    pub(crate) fn open(&mut self, key: &K, place: u64, id: DeadLetterId) {
        self.parking.dead_letter(key, place, id);
    }

    // ---- items that leave their lane ------------------------------------------

    /// Notes that an item is handled, or settled in another way.
    pub(crate) fn settle(&mut self, key: &K, place: u64, item: LaneItem, rows: &mut impl Rows<K>) {
        self.end(key, place, item, DeadLetterStatus::Redriven, rows);
    }

    /// The host discards an item, because the store can write neither what came of it nor its dead
    /// letter. The stage counts it.
    pub(crate) fn lose(&mut self, key: &K, place: u64, item: LaneItem, rows: &mut impl Rows<K>) {
        self.end(key, place, item, DeadLetterStatus::Discarded, rows);
    }

    /// `status` is what becomes of the item's dead letter, if it has one.
    fn end(
        &mut self,
        key: &K,
        place: u64,
        item: LaneItem,
        status: DeadLetterStatus,
        rows: &mut impl Rows<K>,
    ) {
        match item {
            LaneItem::Fresh => {}
            LaneItem::Parked => {
                rows.settled(key, place);
                self.end_wait(key, place, rows);
                self.parking.unpark(key, place);
            }
            LaneItem::DeadLetter(id) => {
                let Some(mut dead_letter) = self.in_lane.remove(&id) else { return };
                dead_letter.status = status;
                rows.dead_letter(dead_letter);
                self.end_wait(key, place, rows);
                self.parking.resolve(key, place);
            }
        }
    }

    /// The lane of a key is cleared, because its first item failed for good. To be called for
    /// each item; `failing` is given for the one that failed.
    pub(crate) fn fail(
        &mut self,
        key: &K,
        place: u64,
        item: LaneItem,
        failing: Option<&Failing>,
        rows: &mut impl Rows<K>,
    ) -> Left {
        match (item, failing) {
            (LaneItem::DeadLetter(id), _) => {
                self.reopen(key, place, id, failing, rows);
                Left::Nothing
            }
            (LaneItem::Fresh | LaneItem::Parked, Some(_)) => Left::ToDeadLetter,
            (LaneItem::Parked, None) => {
                self.parking.park(key, place);
                Left::Nothing
            }
            (LaneItem::Fresh, None) => Left::ToPark,
        }
    }

    fn reopen(
        &mut self,
        key: &K,
        place: u64,
        id: DeadLetterId,
        failing: Option<&Failing>,
        rows: &mut impl Rows<K>,
    ) {
        let Some(mut dead_letter) = self.in_lane.remove(&id) else { return };
        dead_letter.status = DeadLetterStatus::Open;
        if let Some(Failing { reason, attempts, plugin_version, at, log }) = failing {
            (*reason).clone_into(&mut dead_letter.reason);
            dead_letter.attempts += attempts;
            dead_letter.plugin_version = Arc::clone(plugin_version);
            dead_letter.at = *at;
            dead_letter.log.clone_from(log);
        }
        rows.dead_letter(dead_letter);
        self.end_wait(key, place, rows);
        self.parking.reopen(key, place);
    }

    /// The lane of a key leaves memory, because its first item waits for its next attempt. To be
    /// called for each item, then [`Self::sleep`] for the first.
    pub(crate) fn leave(&mut self, key: &K, place: u64, item: LaneItem) -> Left {
        match item {
            // It stays redriven, and is read again.
            LaneItem::DeadLetter(id) => {
                self.in_lane.remove(&id);
                self.parking.redrive(key, place);
                Left::Nothing
            }
            LaneItem::Parked => {
                self.parking.park(key, place);
                Left::Nothing
            }
            LaneItem::Fresh => Left::ToPark,
        }
    }

    /// The key waits for the next attempt at what is at this place: until a time, or until it is
    /// woken. Returns the row; none if nothing is at the place, as the store could not write it.
    pub(crate) fn sleep(
        &mut self,
        key: &K,
        place: u64,
        postponed: Postponed<M>,
        rows: &mut impl Rows<K>,
    ) -> Option<Wait> {
        if !self.parking.is_aside(key, place) {
            return None;
        }
        if let Some(earlier) = self.waits.place(key) {
            self.end_wait(key, earlier, rows);
        }
        self.parking.sleep(key, place);
        let Postponed { attempt, reason, memo, until, today } = postponed;
        Some(self.waits.begin(key, (place, attempt), reason, memo, until, today))
    }

    /// Lets the keys continue whose waits are over.
    pub(crate) fn wake(&mut self, now: Instant) {
        while let Some(key) = self.waits.wake(now) {
            self.parking.wake(&key);
        }
    }

    /// Lets a key continue before its wait is over.
    pub(crate) fn wake_key(&mut self, key: &K) {
        self.parking.wake(key);
    }

    /// Makes the key's next attempt due, if the key waits for a time. Returns the row as it is
    /// from now on.
    pub(crate) fn attempt_now(&mut self, key: &K, today: Timestamp) -> Option<Wait> {
        let wait = self.waits.end_early(key, today)?;
        self.parking.wake(key);
        Some(wait)
    }

    /// The keys that wait for a time.
    pub(crate) fn waiting_keys(&self) -> Vec<K> {
        self.waits.keys()
    }

    /// Lets all items of a key wait until the key is resumed. The stage removes the items of its
    /// lane with [`Self::leave`].
    pub(crate) fn pause(&mut self, key: &K) {
        self.parking.pause(key);
    }

    /// Lets a key continue that was paused.
    pub(crate) fn resume(&mut self, key: &K) {
        self.parking.resume(key);
    }

    /// The rows of all paused keys.
    pub(crate) fn paused_rows(&self) -> usize {
        self.parking.paused_rows()
    }

    /// The place of the key's first row that waits, and the number of such rows.
    pub(crate) fn waiting(&self, key: &K) -> (Option<u64>, usize) {
        self.parking.waiting(key)
    }

    /// The time at which [`Self::wake`] must be called next; none if no key waits for a time.
    #[must_use]
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.waits.next_wake()
    }

    /// The number of the attempt that the item at this place waited for, and what the stage
    /// remembers of the earlier ones.
    pub(crate) fn attempt(&mut self, key: &K, place: u64) -> Option<(u32, &mut M)> {
        self.waits.of(key, place)
    }

    fn end_wait(&mut self, key: &K, place: u64, rows: &mut impl Rows<K>) {
        if self.waits.end(key, Some(place)) {
            rows.wait_ended(key, place);
        }
    }

    // ---- what an operator, or the plugin, does about a dead letter ------------

    /// Whether a dead letter may be resolved now.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(crate) fn check(&self, key: &K, dead_letter: &DeadLetter) -> Result<(), Refusal> {
        self.parking.check(key, dead_letter.place(), dead_letter.id)
    }

    /// Does what an operator asks for. The dead letter is one that [`Self::check`] has passed.
    pub(crate) fn resolve(
        &mut self,
        key: &K,
        mut dead_letter: DeadLetter,
        resolution: Resolution,
        rows: &mut impl Rows<K>,
    ) {
        let place = dead_letter.place();
        let status = match resolution.action {
            Action::Redrive { .. } => {
                self.parking.redrive(key, place);
                DeadLetterStatus::Redriving
            }
            Action::Skip => {
                self.parking.resolve(key, place);
                rows.count_discarded(1);
                DeadLetterStatus::Skipped
            }
            Action::Discard => {
                rows.count_discarded(1);
                let waiting = self.parking.discard(key, place);
                self.drop_rows(key, &waiting, rows);
                DeadLetterStatus::Discarded
            }
        };
        dead_letter.resolved(status, resolution);
        rows.dead_letter(dead_letter);
    }

    /// Notes that the stage has settled a dead letter by other means. The rows behind it continue.
    pub(crate) fn remove(&mut self, key: &K, place: u64) {
        self.parking.resolve(key, place);
    }

    /// Discards all dead letters of a key that are not in its lane, and all rows that wait. Returns
    /// the dead letters, to be closed as discarded.
    pub(crate) fn give_up(&mut self, key: &K, rows: &mut impl Rows<K>) -> Vec<DeadLetterId> {
        let retry_place = self.parking.retry_place(key);
        let (dead_letters, waiting) = self.parking.give_up(key);
        if let Some(place) = retry_place {
            self.end_wait(key, place, rows);
        }
        rows.count_discarded(dead_letters.len() as u64);
        self.drop_rows(key, &waiting, rows);
        dead_letters
    }

    fn drop_rows(&mut self, key: &K, places: &[u64], rows: &mut impl Rows<K>) {
        for place in places {
            self.end_wait(key, *place, rows);
        }
        rows.count_discarded(places.len() as u64);
        rows.dropped(key, places);
    }

    // ---- how a key continues -----------------------------------------------

    /// The next portion to read, when all rows that were written so far are durable.
    pub(crate) fn next_portion(&mut self) -> Option<Portion<K>> {
        self.parking.next_portion()
    }

    /// A portion was read: its dead letter, and the first of its rows with their places and bytes.
    /// Keeps those that may enter the lane now. Returns the items that came meanwhile, which the
    /// caller admits after them.
    pub(crate) fn end_portion<R>(
        &mut self,
        key: &K,
        dead_letter: &mut Option<DeadLetter>,
        read: &mut Vec<R>,
        measure: impl Fn(&R) -> (u64, usize),
    ) -> Vec<T> {
        let limit = self.parking.limit(key);
        dead_letter.take_if(|dead_letter| dead_letter.place() >= limit);
        read.retain(|row| measure(row).0 < limit);
        let bytes = dead_letter.as_ref().map(|dead_letter| dead_letter.current().bytes());
        self.parking.end_portion(key, bytes, read.iter().map(measure))
    }

    /// Notes that the item of a dead letter is in its lane.
    pub(crate) fn taken(&mut self, dead_letter: DeadLetter) {
        self.in_lane.insert(dead_letter.id, dead_letter);
    }

    /// The dead letter, if its item is in its lane.
    pub(crate) fn in_lane(&self, id: DeadLetterId) -> Option<&DeadLetter> {
        self.in_lane.get(&id)
    }
}

#[cfg(test)]
mod tests;
