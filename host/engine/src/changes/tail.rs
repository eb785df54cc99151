//! The newest part of a sequence (the log, or the outbox of a sink) in memory, so that nothing that
//! was just written is read back from the store. The committer appends. Each reader keeps its own
//! place, and reads the store if its place is older than the tail.
//!
//! The committer never waits for a reader. The dispatcher waits for the committer, so waiting in
//! the other direction too would be a deadlock.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::lock;
use crate::seams::store::Page;

/// How many entries stay in memory: two of the greatest commits, which is what a host
/// takes in a third of a second at its best. A reader that is further behind reads the store.
const TAIL_ENTRIES_MAX: usize = 16_384;

pub(crate) struct Tail<T> {
    entries: Mutex<Entries<T>>,
    /// The most bytes of its entries.
    bytes_max: usize,
    bytes_of: fn(&T) -> usize,
    head: AtomicU64,
    /// Wakes readers in the order in which they began to wait, so that a simulated
    /// run repeats; `tokio::sync::watch` wakes them in an order of its own.
    grown: Notify,
}

struct Entries<T> {
    /// Everything after this place is in `queue`.
    complete_after: u64,
    queue: VecDeque<(u64, T)>,
    bytes: usize,
}

/// What a reader finds.
pub(crate) enum Next<T> {
    /// The entries after its place, in order, and the place up to which it has now read.
    Entries(Vec<T>, u64),
    /// Its place is too old: the reader must read the store.
    Behind,
    /// There is nothing new.
    Caught,
}

impl<T: Clone> Tail<T> {
    /// `head` is the last place that exists; everything up to it is in the store.
    pub(crate) fn new(head: u64, bytes_max: usize, bytes_of: fn(&T) -> usize) -> Self {
        let entries = Entries { complete_after: head, queue: VecDeque::new(), bytes: 0 };
        Self {
            entries: Mutex::new(entries),
            bytes_max,
            bytes_of,
            head: AtomicU64::new(head),
            grown: Notify::new(),
        }
    }

    /// Adds committed entries, ascending. `head` is the last place used, also if it holds nothing.
    pub(crate) fn publish(&self, entries: impl IntoIterator<Item = (u64, T)>, head: u64) {
        {
            let mut tail = lock(&self.entries);
            for (place, entry) in entries {
                tail.bytes += (self.bytes_of)(&entry);
                tail.queue.push_back((place, entry));
            }
            while tail.queue.len() > TAIL_ENTRIES_MAX || tail.bytes > self.bytes_max {
                if let Some((place, entry)) = tail.queue.pop_front() {
                    tail.bytes -= (self.bytes_of)(&entry);
                    tail.complete_after = place;
                }
            }
            self.head.store(head, Ordering::Release);
        }
        self.grown.notify_waiters();
    }

    pub(crate) fn read(&self, after: u64, page: Page) -> Next<T> {
        let tail = lock(&self.entries);
        let head = self.head();
        if after >= head {
            return Next::Caught;
        }
        if after < tail.complete_after {
            return Next::Behind;
        }
        let start = tail.queue.partition_point(|(place, _)| *place <= after);
        let entries = tail.queue.range(start..).map(|(_, entry)| entry);
        let entries: Vec<T> = page.cut(entries, |entry| (self.bytes_of)(entry)).cloned().collect();
        let read_all = start + entries.len() >= tail.queue.len();
        let place = if read_all { head } else { tail.queue[start + entries.len() - 1].0 };
        Next::Entries(entries, place)
    }

    /// Drops the entries up to a place, which all readers have read.
    pub(crate) fn forget(&self, to: u64) {
        let mut tail = lock(&self.entries);
        while let Some((_, entry)) = tail.queue.pop_front_if(|(place, _)| *place <= to) {
            tail.bytes -= (self.bytes_of)(&entry);
        }
        tail.complete_after = tail.complete_after.max(to);
    }

    /// The bytes of the entries in memory.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.entries).bytes
    }

    /// Calls `look` with each entry in memory, in order.
    pub(crate) fn each(&self, mut look: impl FnMut(&T)) {
        let tail = lock(&self.entries);
        tail.queue.iter().for_each(|(_, entry)| look(entry));
    }

    pub(crate) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Resolves when there is something after this place.
    pub(crate) async fn wait(&self, after: u64) {
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            // From here on no growth is missed; earlier growth shows in the head.
            grown.as_mut().enable();
            if self.head() > after {
                return;
            }
            grown.await;
        }
    }
}
