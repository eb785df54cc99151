//! The changes of a sink's lanes that the committer does not have yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::changes::compensation::{Refusal, Refusals};
use crate::changes::rejection::DeadLettersDropped;
use crate::changes::resolve::write_dead_letter;
use crate::changes::{SinkChanges, Work};
use crate::model::{
    Counters, DeadLetter, DeadLetterId, DeadLetterStatus, Event, Hops, Key, PluginName, Sequence,
    SinkName, Wait,
};
use crate::pure::dead_letters::Rows;
use crate::pure::watermark::Watermark;
use crate::seams::store::{MessageLane, SinkProgress};

use super::parcel::Lane;

pub(super) struct HandOver {
    sink: SinkName,
    changes: SinkChanges,
    /// The bytes of the messages that are in `changes` and no longer in the lanes.
    bytes: usize,
    watermark: Watermark,
    counters: Counters,
    is_dirty: bool,
    /// The notification that the last hand-over is durable.
    becoming_durable: Option<oneshot::Receiver<()>>,
    /// Only one set of changes may be in the committer's queue at a time.
    slot: Arc<Semaphore>,
    work: mpsc::UnboundedSender<Work>,
    /// The channel on which the committer reports the dead letters that the store rejects.
    dropped: mpsc::UnboundedSender<DeadLettersDropped>,
    /// The open dead letters that plugins may compensate.
    refusals: Arc<Refusals>,
    /// The dead letters that become open there when the rows in `changes` are handed over.
    offers: Vec<(DeadLetterId, Refusal)>,
}

impl HandOver {
    pub(super) fn new(
        progress: &SinkProgress,
        refusals: Arc<Refusals>,
        work: mpsc::UnboundedSender<Work>,
        dropped: mpsc::UnboundedSender<DeadLettersDropped>,
    ) -> Self {
        Self {
            sink: progress.sink.clone(),
            changes: SinkChanges::default(),
            bytes: 0,
            watermark: Watermark::new(&progress.cursor),
            counters: progress.counters,
            is_dirty: false,
            becoming_durable: None,
            slot: Arc::new(Semaphore::new(1)),
            work,
            dropped,
            refusals,
            offers: Vec::new(),
        }
    }

    /// A place of the outbox holds nothing.
    pub(super) fn skip(&mut self, sequence: u64) {
        self.watermark.finish(sequence);
    }

    /// A message of the outbox is settled: delivered, parked or dead.
    pub(super) fn received(&mut self, sequence: u64) {
        self.watermark.finish(sequence);
        self.count().received += 1;
    }

    pub(super) fn count(&mut self) -> &mut Counters {
        self.is_dirty = true;
        &mut self.counters
    }

    pub(super) fn park(&mut self, plugin: &PluginName, key: &Key, sequence: Sequence) {
        self.changes.parked.push((self.lane(plugin, key), sequence));
        self.received(sequence.0);
    }

    /// A parked or redriven message waits for its next attempt.
    pub(super) fn begin_wait(&mut self, plugin: &PluginName, key: &Key, wait: Wait) {
        let lane = self.lane(plugin, key);
        self.changes.waits.insert(Sequence(wait.place), Some((lane, wait)));
        self.is_dirty = true;
    }

    /// A wait has no more meaning. Its row is removed with the next changes, and does not cause a
    /// commit.
    pub(super) fn end_wait(&mut self, place: u64) {
        self.changes.waits.insert(Sequence(place), None);
    }

    fn lane(&self, plugin: &PluginName, key: &Key) -> MessageLane {
        MessageLane { sink: self.sink.clone(), plugin: plugin.clone(), key: key.clone() }
    }

    /// A message became a dead letter.
    pub(super) fn open(&mut self, dead_letter: DeadLetter) {
        self.offer(&dead_letter);
        // The dead letter has the event, and the event that notifies the instance has it again.
        self.bytes += 2 * dead_letter.event.bytes();
        self.changes.dead_letters.push(dead_letter);
        self.is_dirty = true;
    }

    /// Lets the plugin that sent the message compensate an open dead letter, when its row is handed
    /// over and not before. Otherwise the row could be written after the plugin's decision, and
    /// open again what that resolved.
    fn offer(&mut self, dead_letter: &DeadLetter) {
        if dead_letter.status == DeadLetterStatus::Open
            && let Some(key) = dead_letter.key.clone()
        {
            let (sink, plugin) = (self.sink.clone(), dead_letter.plugin.clone());
            let sequence = Sequence(dead_letter.place());
            self.offers.push((dead_letter.id, Refusal { sink, plugin, key, sequence }));
        }
    }

    /// An operator resolves a dead letter. Returns false if its plugin has resolved it.
    pub(super) fn take(&mut self, id: DeadLetterId) -> bool {
        let offered = self.offers.len();
        self.offers.retain(|(offered, _)| *offered != id);
        self.offers.len() < offered || self.refusals.take(id)
    }

    /// Appends the event that notifies an instance that its command could not be delivered.
    pub(super) fn append_event(&mut self, event: Event, hops: Hops) {
        self.changes.reserved.push((event, hops));
    }

    /// Resolves when everything that is settled so far is durable.
    pub(super) fn when_durable(&mut self) -> oneshot::Receiver<()> {
        let (committed, durable) = oneshot::channel();
        self.reply_when_durable(committed);
        durable
    }

    pub(super) fn reply_when_durable(&mut self, reply: oneshot::Sender<()>) {
        self.changes.replies.push(reply);
        self.is_dirty = true;
    }

    /// The same; none if it is durable already.
    pub(super) fn unless_durable(&mut self) -> Option<oneshot::Receiver<()>> {
        let handed_over = self.becoming_durable.as_mut();
        let is_durable = handed_over.is_none_or(|durable| durable.try_recv().is_ok());
        if is_durable {
            self.becoming_durable = None;
        }
        (self.is_dirty || !is_durable).then(|| self.when_durable())
    }

    /// The sequence up to which everything is settled.
    pub(super) fn settled(&self) -> u64 {
        self.watermark.cursor().settled
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    pub(super) fn slot(&self) -> Arc<Semaphore> {
        Arc::clone(&self.slot)
    }

    /// Hands over the changes. Returns the bytes of the messages that went with them.
    pub(super) fn send(&mut self, permit: OwnedSemaphorePermit) -> usize {
        let mut changes = std::mem::take(&mut self.changes);
        changes.progress = Some(SinkProgress {
            sink: self.sink.clone(),
            cursor: self.watermark.cursor(),
            counters: self.counters,
        });
        changes.permit = Some(permit);
        let (committed, durable) = oneshot::channel();
        changes.replies.push(committed);
        self.becoming_durable = Some(durable);
        changes.dropped = Some(self.dropped.clone());
        self.is_dirty = false;
        let _ = self.work.send(Work::Sink(Box::new(changes)));
        for (id, refusal) in self.offers.drain(..) {
            self.refusals.open(id, refusal);
        }
        std::mem::take(&mut self.bytes)
    }
}

impl Rows<Lane> for HandOver {
    fn dead_letter(&mut self, dead_letter: DeadLetter) {
        self.offer(&dead_letter);
        write_dead_letter(&mut self.changes.dead_letters, dead_letter);
        self.is_dirty = true;
    }

    fn settled(&mut self, _: &Lane, place: u64) {
        self.changes.parked_removed.push(Sequence(place));
        self.is_dirty = true;
    }

    fn dropped(&mut self, _: &Lane, places: &[u64]) {
        let dropped: BTreeSet<u64> = places.iter().copied().collect();
        // A message that was parked since the last commit has no row yet.
        self.changes.parked.retain(|(_, sequence)| !dropped.contains(&sequence.0));
        self.changes.parked_removed.extend(dropped.into_iter().map(Sequence));
        self.is_dirty = true;
    }

    fn wait_ended(&mut self, _: &Lane, place: u64) {
        self.end_wait(place);
        self.is_dirty = true;
    }

    fn count_discarded(&mut self, count: u64) {
        self.count().discarded += count;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::model::Cursor;
    use crate::seams::store::contract::dead_letter;

    fn hand_over() -> (HandOver, mpsc::UnboundedReceiver<Work>) {
        let ((work, work_of), (dropped, _)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (cursor, counters) = (Cursor::default(), Counters::default());
        let progress = SinkProgress { sink: "web".into(), cursor, counters };
        (HandOver::new(&progress, Refusals::new(&[]), work, dropped), work_of)
    }

    fn send(hand_over: &mut HandOver, work: &mut mpsc::UnboundedReceiver<Work>) -> SinkChanges {
        let permit = hand_over.slot().try_acquire_owned().expect("the slot is free");
        hand_over.send(permit);
        match work.try_recv() {
            Ok(Work::Sink(changes)) => *changes,
            _ => panic!("a set of changes was handed over"),
        }
    }

    #[test]
    fn a_row_that_is_dropped_before_it_is_stored_is_never_written() {
        let (mut hand_over, mut work) = hand_over();
        hand_over.park(&"p".into(), &"k".into(), Sequence(1));
        hand_over.park(&"p".into(), &"k".into(), Sequence(2));
        hand_over.dropped(&Lane::Whole, &[1]);
        hand_over.count_discarded(1);
        let changes = send(&mut hand_over, &mut work);
        let parked: Vec<u64> = changes.parked.iter().map(|(_, sequence)| sequence.0).collect();
        assert_eq!((parked, changes.parked_removed), (vec![2], vec![Sequence(1)]));
        let progress = changes.progress.expect("it goes with its cursor");
        assert_eq!((progress.cursor.settled, progress.counters.discarded), (2, 1));
    }

    #[test]
    fn an_open_dead_letter_can_be_compensated_and_one_that_is_redriven_cannot() {
        let (mut hand_over, _work) = hand_over();
        let (id, open) = (DeadLetterId(1), dead_letter(1, Some("k"), 1));
        hand_over.open(open.clone());
        assert!(hand_over.take(id));
        hand_over.dead_letter(DeadLetter { status: DeadLetterStatus::Redriving, ..open.clone() });
        assert!(!hand_over.take(id));
        hand_over.dead_letter(open);
        assert!(hand_over.take(id), "it failed again");
        assert_eq!(hand_over.changes.dead_letters.len(), 1, "each dead letter is written once");
    }

    #[test]
    fn a_dead_letter_is_compensated_after_its_row_and_never_before() {
        let (mut hand_over, mut work) = hand_over();
        let (refusals, id) = (Arc::clone(&hand_over.refusals), DeadLetterId(1));
        hand_over.open(dead_letter(1, Some("k"), 1));
        assert!(refusals.compensate(id).is_none(), "its row would come after its end");
        let changes = send(&mut hand_over, &mut work);
        assert_eq!(changes.dead_letters.len(), 1);
        refusals.compensate(id).expect("its row is on its way").settle();
        assert!(!hand_over.take(id));
    }

    #[tokio::test]
    async fn nothing_is_waited_for_that_is_durable() {
        let (mut hand_over, mut work) = hand_over();
        assert!(hand_over.unless_durable().is_none());
        hand_over.received(1);
        let changes = send(&mut hand_over, &mut work);
        assert!(!hand_over.is_dirty());
        let durable = hand_over.unless_durable().expect("it is with the committer");
        changes.replies.into_iter().for_each(|reply| reply.send(()).unwrap_or_default());
        let changes = send_again(&mut hand_over, &mut work, changes.permit);
        changes.replies.into_iter().for_each(|reply| reply.send(()).unwrap_or_default());
        assert_eq!(durable.now_or_never(), Some(Ok(())));
        assert!(hand_over.unless_durable().is_none());
    }

    /// Sent when the committer has taken the earlier changes.
    fn send_again(
        hand_over: &mut HandOver,
        work: &mut mpsc::UnboundedReceiver<Work>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> SinkChanges {
        drop(permit);
        send(hand_over, work)
    }
}
