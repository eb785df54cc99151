//! What a dispatcher does about events whose outcome the store cannot write.
//!
//! What a dispatcher hands over is one unit: its rows are folded, so a part of it cannot be written
//! without the rest. If the store rejects it, another dispatcher takes over, starts from the store,
//! and works *carefully*: each of its steps is durable before the next one. What the store rejects
//! then is about one event. The next dispatcher makes that event a dead letter with the store's
//! reason instead of its outcome; if the store cannot write the dead letter either, the event is
//! counted as discarded.
//!
//! Rows about an event are made in four places: `prepare` (before its handler decides), `park`,
//! `dead_letter` and `write_held`. Each of them asks here first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::changes::rejection::{Rejection, TimerRejection};
use crate::model::{
    DeadLetter, DeadLetterId, DeadLetterStatus, DeadLetterSubject, Key, LogEntry, Position,
};
use crate::seams::store::Batch;

use super::routing::Dead;
use super::{Delivery, Dispatcher, Exit, Inbox, Via};

/// The most events that are remembered. Those at the lowest positions are forgotten first, because
/// most likely the cursor has passed them.
const REMEMBERED_MAX: usize = 1_000;
/// A dispatcher works carefully for one commit for each event of the rejected batch, and for this
/// many more: cursors, requests and events that were read in between.
const CAREFUL_COMMITS: usize = 1_000;
/// The pause before a dispatcher repeats the same steps, because it does not know a better one.
const PAUSE: Duration = Duration::from_secs(2);

/// An event, the instance or lane that was about to settle it, and the row about it.
type Suspect = (Position, Option<Key>, Row);

/// An event can be held for a key at which it is dead as well. The store may be able to write one
/// of these rows and not the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    /// The row that holds it.
    Held,
    /// Any other row.
    Settling,
}

/// What a dispatcher learnt from rejections. The next dispatcher of the plugin gets it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caution {
    /// How many more commits are made one by one, until the event is found.
    careful_commits: usize,
    /// Whether the event is found, and is about to become a dead letter.
    is_found: bool,
    unwritable: BTreeMap<Suspect, Unwritable>,
    /// Dead letters whose events could not be appended to the log again, with the store's reason.
    /// The next redrive of each is refused.
    unappendable: BTreeMap<DeadLetterId, String>,
    /// Timers that could not fire, and the number of the commit in which each becomes a dead
    /// letter.
    timers: Vec<(u64, TimerRejection)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Unwritable {
    /// The store's reason.
    reason: String,
    remedy: Remedy,
    /// Whether a dispatcher has applied the remedy already.
    is_taken: bool,
}

/// What happens to an event in the place of its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    DeadLetter,
    /// The event is counted as discarded, because the store cannot write its dead letter either.
    Discard,
}

/// A remedy, and the reason for it.
type Instead = (Remedy, String);

impl Caution {
    /// Learns from a rejection. Returns false if a dispatcher can only wait and repeat the same
    /// steps.
    fn learn(&mut self, reason: &str, batch: &Batch) -> bool {
        let suspects = suspects(batch);
        if suspects.is_empty() {
            return self.learn_of_redrives(reason, batch);
        }
        if !self.is_careful() {
            self.careful_commits = suspects.len() + CAREFUL_COMMITS;
            return true;
        }
        self.is_found = false;
        let mut is_new = false;
        for (suspect, remedy) in self.likeliest(suspects, batch) {
            let known = self.unwritable.get(&suspect);
            let remedy = match (known, remedy) {
                // The remedy was known and not applied: the row is made where no remedy is asked
                // for.
                (Some(known), _) if !known.is_taken => continue,
                // Only a dead letter that is made a second time is known to be impossible to write.
                (Some(_), Remedy::Discard) => Remedy::Discard,
                _ => Remedy::DeadLetter,
            };
            let unwritable = Unwritable { reason: reason.to_owned(), remedy, is_taken: false };
            self.unwritable.insert(suspect, unwritable);
            is_new = true;
        }
        while self.unwritable.len() > REMEMBERED_MAX {
            self.unwritable.pop_first();
        }
        is_new
    }

    /// Learns from a rejection that is about nothing but events which redrives append to the log
    /// again. Such a redrive is an operator's request, and no dispatcher repeats it. Returns false if
    /// there is none.
    fn learn_of_redrives(&mut self, reason: &str, batch: &Batch) -> bool {
        let is_redriven =
            |dead_letter: &&Arc<DeadLetter>| dead_letter.status == DeadLetterStatus::Redriven;
        let redriven: Vec<_> = batch.dead_letters.iter().filter(is_redriven).collect();
        if redriven.is_empty() || !batch.appends.iter().any(|append| append.redriven) {
            return false;
        }
        match &redriven[..] {
            [only] => _ = self.unappendable.insert(only.id, reason.to_owned()),
            several => self.careful_commits = several.len() + CAREFUL_COMMITS,
        }
        while self.unappendable.len() > REMEMBERED_MAX {
            self.unappendable.pop_first();
        }
        true
    }

    /// Why the event of a dead letter cannot be appended to the log again. The store may be repaired
    /// afterwards, so this is the answer to one request.
    pub(super) fn take_unappendable(&mut self, id: DeadLetterId) -> Option<String> {
        self.unappendable.remove(&id)
    }

    /// A decision also writes the row of the event that it takes from the held ones. The row is
    /// blamed only after the decision was blamed without success: an event that is not held any
    /// more is lost for all instances that would claim it later.
    fn likeliest(
        &self,
        suspects: BTreeMap<Suspect, Remedy>,
        batch: &Batch,
    ) -> BTreeMap<Suspect, Remedy> {
        let suspects = match self.behind_dead_letters(suspects, batch) {
            Ok(behind) => return behind,
            Err(suspects) => suspects,
        };
        let is_held = |(_, _, row): &Suspect| *row == Row::Held;
        let (held, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            suspects.into_iter().partition(|(suspect, _)| is_held(suspect));
        if others.is_empty() || held.is_empty() {
            return others.into_iter().chain(held).collect();
        }
        let is_known = |suspect: &Suspect| self.unwritable.contains_key(suspect);
        if !others.keys().all(is_known) {
            return others;
        }
        if held.keys().all(is_known) {
            return others.into_iter().chain(held).collect();
        }
        // The remedies for the others are lost with the rejected commit, and those rows were not at
        // fault.
        let others = others.into_keys().map(|suspect| (suspect, Remedy::DeadLetter));
        others.chain(held).collect()
    }

    /// A failure clears the lane: one commit writes the dead letter, and the rows of the events
    /// that are parked behind it. Those rows are blamed first, because a dead letter that is blamed
    /// a second time is discarded. Returns the suspects as an error if no dead letter has such rows
    /// beside it, or if the remedy for all of these rows is still to be applied.
    fn behind_dead_letters(
        &self,
        suspects: BTreeMap<Suspect, Remedy>,
        batch: &Batch,
    ) -> Result<BTreeMap<Suspect, Remedy>, BTreeMap<Suspect, Remedy>> {
        let is_behind = |(position, key, row): &Suspect| {
            let mut parked = batch.parked.iter();
            *row == Row::Settling
                && parked
                    .any(|own| own.entry.position == *position && Some(&own.key) == key.as_ref())
        };
        let is_waiting =
            |suspect: &Suspect| self.unwritable.get(suspect).is_some_and(|known| !known.is_taken);
        let has_dead_letter = suspects.values().any(|remedy| *remedy == Remedy::Discard);
        if !has_dead_letter || suspects.keys().filter(|s| is_behind(s)).all(is_waiting) {
            return Err(suspects);
        }
        // The remedies for the dead letters are lost with the rejected commit, and those rows were
        // not at fault.
        let blamed =
            |suspect: &Suspect| is_behind(suspect) || self.unwritable.contains_key(suspect);
        let suspects = suspects.into_keys().filter(blamed);
        Ok(suspects.map(|suspect| (suspect, Remedy::DeadLetter)).collect())
    }

    fn is_careful(&self) -> bool {
        self.careful_commits > 0
    }

    /// Notes that the last step is durable.
    fn committed(&mut self) {
        self.careful_commits = match std::mem::take(&mut self.is_found) {
            true => 0,
            false => self.careful_commits.saturating_sub(1),
        };
    }

    /// The remedy for an event whose outcome the store cannot write. Each remedy is applied once,
    /// because an operator who redrives the dead letter may have repaired the store.
    fn take(&mut self, position: Position, key: Option<&Key>, row: Row) -> Option<Instead> {
        if self.unwritable.is_empty() {
            return None;
        }
        let unwritable = self.unwritable.get_mut(&(position, key.cloned(), row))?;
        if unwritable.is_taken {
            return None;
        }
        unwritable.is_taken = true;
        self.is_found = true;
        let reason =
            format!("the store cannot write what came of the event: {}", unwritable.reason);
        Some((unwritable.remedy, reason))
    }
}

/// The events that the rows of a plugin's changes are about, and the remedy that is left for each.
fn suspects(batch: &Batch) -> BTreeMap<Suspect, Remedy> {
    let settling = |position, key: &Key| (position, Some(key.clone()), Row::Settling);
    let decided = batch.decisions.iter().map(|row| settling(row.position, &row.key));
    let held = batch.held.iter();
    let held = held.map(|row| (row.entry.position, Some(row.key.clone()), Row::Held));
    let parked = batch.parked.iter().map(|row| settling(row.entry.position, &row.key));
    let waits = batch.waits.iter();
    let waits = waits.map(|(_, key, wait)| settling(Position(wait.place), key));
    let rows =
        decided.chain(held).chain(parked).chain(waits).map(|suspect| (suspect, Remedy::DeadLetter));
    // A dead letter that is resolved or redriven is in the store already.
    let open = batch
        .dead_letters
        .iter()
        .filter(|dead_letter| dead_letter.status == DeadLetterStatus::Open);
    let of_events = open.filter(|dead_letter| dead_letter.subject == DeadLetterSubject::Event);
    let dead =
        of_events.map(|row| ((row.position, row.key.clone(), Row::Settling), Remedy::Discard));
    rows.chain(dead).collect()
}

/// The outcome of a hand-over.
pub(super) enum HandedOver {
    Durable,
    /// The dispatcher was stopped meanwhile.
    Stopped,
    Rejected(String, Box<Batch>),
}

impl Dispatcher {
    pub(super) fn is_careful(&self) -> bool {
        self.caution.is_careful()
    }

    /// Whether the last step must be durable before the next one.
    pub(super) fn holds_back(&self) -> bool {
        self.is_careful() && !self.output.is_clean()
    }

    /// Hands over the last step, and waits until it is durable.
    pub(super) async fn make_durable(
        &mut self,
        inbox: &mut Inbox,
        stop: &CancellationToken,
    ) -> HandedOver {
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => return HandedOver::Stopped,
            permit = self.output.slot().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return HandedOver::Stopped };
        self.hand_over(permit);
        while self.output.is_under_way() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return HandedOver::Stopped,
                Some(rejection) = inbox.rejections.recv() => match rejection {
                    Rejection::Changes { reason, batch } => {
                        return HandedOver::Rejected(reason, batch);
                    }
                    Rejection::Timer(timer) => self.dead_letter_timer(timer),
                },
                () = self.output.next_durable() => {}
            }
        }
        self.caution.committed();
        HandedOver::Durable
    }

    /// Ends this dispatcher: everything since the last commit is forgotten. The next dispatcher
    /// gets what is learnt from the rejection.
    pub(super) async fn begin_again(
        mut self,
        reason: &str,
        batch: &Batch,
        inbox: &mut Inbox,
        stop: &CancellationToken,
    ) -> Exit {
        tracing::error!(
            plugin = %self.plugin, %reason,
            "the store cannot write what came of some event; the plugin goes back to find it"
        );
        self.recall();
        let durable = self.output.durable();
        self.caution.timers.retain(|(commit, _)| *commit > durable);
        if !self.caution.learn(reason, batch) {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        inbox.rejections.close();
        while let Ok(rejection) = inbox.rejections.try_recv() {
            if let Rejection::Timer(timer) = rejection {
                self.caution.timers.push((0, timer));
            }
        }
        Exit::Again(self.caution)
    }

    /// Makes the event at the front of a lane a dead letter, or discards it, if the store could not
    /// write its handler's decision. Returns false if no remedy is known for it.
    pub(super) fn avoids_deciding(&mut self, key: &Key, position: Position) -> bool {
        let Some((remedy, reason)) = self.caution.take(position, Some(key), Row::Settling) else {
            return false;
        };
        match remedy {
            Remedy::DeadLetter => {
                let attempts = self.lanes.get_mut(key, position.0).map_or(0, |d| d.attempt);
                self.park_behind_dead_letter(key, position, &reason, attempts);
            }
            Remedy::Discard => {
                if let Some(delivery) = self.lanes.finish(key, position.0) {
                    self.discard_unwritable(position, Some(key), &reason);
                    match delivery.via {
                        // Nothing has decided it.
                        Via::DeadLetter(_) => {
                            let item = delivery.via.item();
                            self.dead_letters.lose(key, position.0, item, &mut self.output);
                            self.output.settled();
                        }
                        via => self.settle(key, position, via),
                    }
                }
            }
        }
        true
    }

    /// Makes a delivery that is about to be parked a dead letter, or discards it, if the store
    /// could not write its row.
    pub(super) fn avoids_parking(&mut self, key: &Key, delivery: &Delivery) -> bool {
        let entry = &delivery.entry;
        let Some((remedy, reason)) = self.caution.take(entry.position, Some(key), Row::Settling)
        else {
            return false;
        };
        match remedy {
            Remedy::DeadLetter => self.dead_letter(entry, Some(key), Dead::uncalled(reason, 0)),
            Remedy::Discard => self.discard_unwritable(entry.position, Some(key), &reason),
        }
        self.settle(key, entry.position, delivery.via);
        true
    }

    /// Discards an event that is about to become a dead letter, if the store could not write that.
    /// Otherwise returns the reason for the dead letter.
    pub(super) fn dead_letter_reason(
        &mut self,
        position: Position,
        key: Option<&Key>,
        reason: String,
    ) -> Option<String> {
        match self.caution.take(position, key, Row::Settling) {
            None => Some(reason),
            Some((Remedy::DeadLetter, reason)) => Some(reason),
            Some((Remedy::Discard, reason)) => {
                self.discard_unwritable(position, key, &reason);
                None
            }
        }
    }

    /// The reason for which an event must not be held: the store could not write that row.
    pub(super) fn reason_not_to_hold(
        &mut self,
        position: Position,
        keys: &[Key],
    ) -> Option<String> {
        let caution = &mut self.caution;
        keys.iter()
            .find_map(|key| caution.take(position, Some(key), Row::Held))
            .map(|(_, reason)| reason)
    }

    fn discard_unwritable(&mut self, position: Position, key: Option<&Key>, reason: &str) {
        tracing::error!(
            plugin = %self.plugin, %position, key = key.map(Key::as_str), %reason,
            "the event is discarded: the store cannot write its dead letter either"
        );
        self.output.count().discarded += 1;
    }

    /// Makes the event of a due timer a dead letter, because the store cannot append it to the log.
    pub(super) fn dead_letter_timer(&mut self, timer: TimerRejection) {
        let durable = self.output.durable();
        self.caution.timers.retain(|(commit, _)| *commit > durable);
        self.caution.timers.push((self.output.next_commit(), timer.clone()));
        let TimerRejection { row, event, reason } = timer;
        let received_at = (self.context.clock)();
        let entry = LogEntry { position: row.timer.set_by, received_at, event, hops: row.hops };
        self.output.count().received += 1;
        let reason = format!("the timer cannot fire: {reason}");
        self.dead_letter(&entry, None, Dead::uncalled(reason, 0));
        self.output.rows().timers_fired.push(row.timer);
    }

    /// Makes the dead letters of the timers again that the store does not have from the dispatcher
    /// before.
    pub(super) fn dead_letter_timers_again(&mut self) {
        for (_, timer) in std::mem::take(&mut self.caution.timers) {
            self.dead_letter_timer(timer);
        }
    }
}

#[cfg(test)]
mod tests;
