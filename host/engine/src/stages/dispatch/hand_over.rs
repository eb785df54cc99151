//! The changes of a dispatcher that the committer does not have yet, and which hand-overs are
//! durable.
//!
//! A dispatcher hands over one set of changes at a time, in order. It hands rows over as soon as
//! the committer takes them. A cursor that moved only over events of no interest waits for a while,
//! so that it shares a commit with other changes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::changes::rejection::Rejection;
use crate::changes::{PluginChanges, Work};
use crate::model::{Counters, Cursor, PluginName};
use crate::pure::monotonic::Instant;
use crate::seams::store::PluginProgress;

/// The most rows that wait for the committer. With more the dispatcher waits for it.
const CHANGES_MAX: usize = 16_384;
/// And what the events in them take of memory.
const CHANGES_BYTES_MAX: usize = 64 << 20;
/// How long a cursor that moved only over events of no interest may wait for a commit that other
/// changes need.
pub(super) const CURSOR_DELAY: Duration = Duration::from_millis(100);

pub(super) struct HandOver {
    plugin: PluginName,
    changes: PluginChanges,
    /// Of the events that `changes` has.
    bytes: usize,
    counters: Counters,
    /// Whether `changes` has rows, or only the cursor has moved.
    dirty: Dirty,
    /// Since when changes wait.
    waits_since: Option<Instant>,
    /// How many sets of changes were handed over, and how many of them are durable.
    handed_over: u64,
    durable: u64,
    /// The notifications for the sets after `durable`, in order.
    becoming_durable: VecDeque<oneshot::Receiver<()>>,
    /// Only one set of changes may be in the committer's queue at a time.
    slot: Arc<Semaphore>,
    work: mpsc::UnboundedSender<Work>,
    /// The channel on which the committer reports the changes that the store rejects.
    rejections: mpsc::UnboundedSender<Rejection>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dirty {
    Clean,
    CursorOnly,
    Rows,
}

impl HandOver {
    pub(super) fn new(
        plugin: PluginName,
        counters: Counters,
        work: mpsc::UnboundedSender<Work>,
        rejections: mpsc::UnboundedSender<Rejection>,
    ) -> Self {
        Self {
            plugin,
            changes: PluginChanges::default(),
            bytes: 0,
            counters,
            // A plugin without progress would prevent the removal of the history.
            dirty: Dirty::CursorOnly,
            waits_since: None,
            handed_over: 0,
            durable: 0,
            becoming_durable: VecDeque::new(),
            slot: Arc::new(Semaphore::new(1)),
            work,
            rejections,
        }
    }

    /// The rows, for changes.
    pub(super) fn rows(&mut self) -> &mut PluginChanges {
        self.dirty = Dirty::Rows;
        &mut self.changes
    }

    /// A row has an event of so many bytes.
    pub(super) fn add_bytes(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// The counters of the outcomes of events.
    pub(super) fn count(&mut self) -> &mut Counters {
        self.dirty = Dirty::Rows;
        &mut self.counters
    }

    pub(super) fn cursor_moved(&mut self) {
        if self.dirty == Dirty::Clean {
            self.dirty = Dirty::CursorOnly;
        }
    }

    /// Notes that an event was settled: the cursor is handed over without delay.
    pub(super) fn settled(&mut self) {
        self.dirty = Dirty::Rows;
    }

    pub(super) fn is_clean(&self) -> bool {
        self.dirty == Dirty::Clean
    }

    pub(super) fn has_room(&self) -> bool {
        self.changes.rows() < CHANGES_MAX && self.bytes < CHANGES_BYTES_MAX
    }

    /// Whether changes must be handed over now. The dispatcher asks before each wait.
    pub(super) fn is_due(&mut self) -> bool {
        match self.dirty {
            Dirty::Clean => self.waits_since = None,
            Dirty::CursorOnly | Dirty::Rows => {
                _ = self.waits_since.get_or_insert_with(Instant::now);
            }
        }
        let is_overdue = self.waits_since.is_some_and(|since| since.elapsed() >= CURSOR_DELAY);
        self.dirty == Dirty::Rows || (self.dirty == Dirty::CursorOnly && is_overdue)
    }

    /// How much longer the changes may wait.
    pub(super) fn due_in(&self) -> Option<Duration> {
        self.waits_since.map(|since| CURSOR_DELAY.saturating_sub(since.elapsed()))
    }

    pub(super) fn slot(&self) -> Arc<Semaphore> {
        Arc::clone(&self.slot)
    }

    /// Hands over the changes together with the cursor.
    pub(super) fn send(&mut self, permit: OwnedSemaphorePermit, cursor: Cursor) {
        let mut changes = std::mem::take(&mut self.changes);
        self.bytes = 0;
        changes.progress =
            Some(PluginProgress { plugin: self.plugin.clone(), cursor, counters: self.counters });
        changes.permit = Some(permit);
        changes.rejections = Some(self.rejections.clone());
        let (committed, durable) = oneshot::channel();
        changes.replies.push(committed);
        self.count_durable();
        self.becoming_durable.push_back(durable);
        self.handed_over += 1;
        self.dirty = Dirty::Clean;
        self.waits_since = None;
        // The committer is gone only when the whole engine ends or recovers.
        let _ = self.work.send(Work::Plugin(Box::new(changes)));
    }

    /// The number of the commit that will have the current changes.
    pub(super) fn next_commit(&self) -> u64 {
        self.handed_over + 1
    }

    /// The number of the last commit that is durable.
    pub(super) fn durable(&mut self) -> u64 {
        self.count_durable();
        self.durable
    }

    fn count_durable(&mut self) {
        while let Some(durable) = self.becoming_durable.front_mut()
            && durable.try_recv().is_ok()
        {
            self.becoming_durable.pop_front();
            self.durable += 1;
        }
    }

    /// Resolves when all changes so far are durable.
    pub(super) fn when_durable(&mut self) -> oneshot::Receiver<()> {
        let (committed, durable) = oneshot::channel();
        self.rows().replies.push(committed);
        durable
    }

    /// The same; none if they are durable already.
    pub(super) fn unless_durable(&mut self) -> Option<oneshot::Receiver<()>> {
        self.count_durable();
        let is_durable = self.dirty != Dirty::Rows && self.becoming_durable.is_empty();
        (!is_durable).then(|| self.when_durable())
    }

    /// Whether a set of changes is handed over and not durable.
    pub(super) fn is_under_way(&self) -> bool {
        !self.becoming_durable.is_empty()
    }

    /// Waits until the next hand-over is durable. Never returns if the committer is gone: then the
    /// engine recovers, and drops the dispatcher.
    pub(super) async fn next_durable(&mut self) {
        let Some(durable) = self.becoming_durable.front_mut() else { return };
        // A receiver that has resolved must not be polled again.
        if durable.is_terminated() || durable.await.is_err() {
            return std::future::pending().await;
        }
        self.becoming_durable.pop_front();
        self.durable += 1;
    }

    /// Waits until everything that was handed over is durable, or the committer is gone.
    pub(super) async fn drain(self) {
        for durable in self.becoming_durable {
            if durable.is_terminated() || durable.await.is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn hand_over() -> (HandOver, mpsc::UnboundedReceiver<Work>) {
        let ((work, work_of), (rejections, _)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        (HandOver::new("p".into(), Counters::default(), work, rejections), work_of)
    }

    fn send(hand_over: &mut HandOver, work: &mut mpsc::UnboundedReceiver<Work>) -> PluginChanges {
        let permit = hand_over.slot().try_acquire_owned().expect("the slot is free");
        hand_over.send(permit, Cursor::default());
        match work.try_recv() {
            Ok(Work::Plugin(changes)) => *changes,
            _ => panic!("a set of changes was handed over"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cursor_alone_waits_for_company_and_rows_do_not() {
        let (mut hand_over, mut work) = hand_over();
        assert!(!hand_over.is_due(), "a new plugin has its cursor to write");
        assert_eq!(hand_over.due_in(), Some(CURSOR_DELAY));
        tokio::time::advance(CURSOR_DELAY).await;
        assert!(hand_over.is_due());
        drop(send(&mut hand_over, &mut work));
        assert!(hand_over.is_clean() && !hand_over.is_due() && hand_over.due_in().is_none());
        hand_over.cursor_moved();
        assert!(!hand_over.is_due());
        hand_over.count().handled += 1;
        hand_over.cursor_moved();
        assert!(hand_over.is_due(), "a cursor does not hold up rows");
        let changes = send(&mut hand_over, &mut work);
        assert_eq!(changes.progress.as_ref().map(|progress| progress.counters.handled), Some(1));
    }

    #[tokio::test]
    async fn large_events_leave_room_for_few_rows() {
        let (mut hand_over, mut work) = hand_over();
        let large = CHANGES_BYTES_MAX / 2;
        hand_over.settled();
        hand_over.add_bytes(large);
        assert!(hand_over.has_room());
        hand_over.add_bytes(large);
        assert!(!hand_over.has_room());
        drop(send(&mut hand_over, &mut work));
        assert!(hand_over.has_room());
    }

    #[tokio::test]
    async fn one_set_of_changes_is_with_the_committer_until_it_is_taken_out() {
        let (mut hand_over, mut work) = hand_over();
        let changes = send(&mut hand_over, &mut work);
        assert!(hand_over.slot().try_acquire_owned().is_err());
        drop(changes.permit);
        assert!(hand_over.slot().try_acquire_owned().is_ok());
    }

    #[tokio::test]
    async fn commits_are_counted_when_they_are_durable() {
        let (mut hand_over, mut work) = hand_over();
        hand_over.settled();
        let first = hand_over.unless_durable().expect("something waits");
        assert_eq!((hand_over.next_commit(), hand_over.durable()), (1, 0));
        let changes = send(&mut hand_over, &mut work);
        assert!(hand_over.is_under_way());
        assert!(hand_over.next_durable().now_or_never().is_none());
        changes.replies.into_iter().for_each(|reply| reply.send(()).unwrap_or_default());
        assert_eq!(first.now_or_never(), Some(Ok(())));
        assert_eq!((hand_over.next_commit(), hand_over.durable()), (2, 1));
        assert!(hand_over.unless_durable().is_none(), "all is durable");
        drop(changes.permit);
        // The committer is gone with the next.
        drop(send(&mut hand_over, &mut work));
        for _ in 0..2 {
            assert!(hand_over.next_durable().now_or_never().is_none());
        }
        assert!(hand_over.drain().now_or_never().is_some());
    }
}
