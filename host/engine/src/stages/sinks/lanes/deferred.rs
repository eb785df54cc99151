//! Pure: messages that wait behind another one of their key, and are not in memory. Their rows stay
//! in the outbox, and their places are kept here. When the lane of a key is empty, a portion of its
//! rows is read back.
//!
//! So a slow key takes a bounded part of a sink's memory, and the other keys continue. A key is
//! never here and in `parking` at once: the sink's lanes park the messages that wait here when a
//! message of the key becomes a dead letter.

use std::collections::{BTreeSet, VecDeque};
use std::hash::Hash;

use crate::pure::hash::HashMap;
use crate::pure::parking::PORTION_ROWS;

/// Portions that are read at a time.
const READS_MAX: usize = 4;

#[derive(Debug)]
pub(crate) struct Deferred<K> {
    keys: HashMap<K, Places>,
    /// Keys with an empty lane.
    ready: VecDeque<K>,
    reading: usize,
    len: usize,
}

#[derive(Debug, Default)]
struct Places {
    /// Places that are neither in memory nor being read.
    waiting: BTreeSet<u64>,
    reading: Option<BTreeSet<u64>>,
    /// Whether the key is in `ready`.
    queued: bool,
}

impl<K> Default for Deferred<K> {
    fn default() -> Self {
        Self { keys: HashMap::default(), ready: VecDeque::new(), reading: 0, len: 0 }
    }
}

impl<K: Clone + Eq + Hash> Deferred<K> {
    /// The number of places of all keys.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether messages of the key wait here: a new one waits behind them.
    pub(crate) fn contains(&self, key: &K) -> bool {
        !self.keys.is_empty() && self.keys.contains_key(key)
    }

    /// Adds a message of the key. Its lane is not empty, or others wait before it.
    pub(crate) fn defer(&mut self, key: &K, place: u64) {
        self.keys.entry(key.clone()).or_default().waiting.insert(place);
        self.len += 1;
    }

    /// The key's lane is empty: its next portion may be read.
    pub(crate) fn offer(&mut self, key: &K) {
        if let Some(places) = self.keys.get_mut(key)
            && !places.queued
        {
            places.queued = true;
            self.ready.push_back(key.clone());
        }
    }

    /// Returns the next portion to read. The keys take turns.
    pub(crate) fn next_portion(&mut self) -> Option<(K, BTreeSet<u64>)> {
        while self.reading < READS_MAX {
            let key = self.ready.pop_front()?;
            let Some(places) = self.keys.get_mut(&key) else { continue };
            places.queued = false;
            let portion: BTreeSet<u64> =
                places.waiting.iter().take(PORTION_ROWS).copied().collect();
            if places.reading.is_some() || portion.is_empty() {
                continue;
            }
            portion.iter().for_each(|place| _ = places.waiting.remove(place));
            places.reading = Some(portion.clone());
            self.reading += 1;
            return Some((key, portion));
        }
        None
    }

    /// Notes that the first rows of a portion were read, and go into the key's lane. The others
    /// wait again.
    pub(crate) fn end_portion(&mut self, key: &K, read: impl IntoIterator<Item = u64>) {
        let Some(places) = self.keys.get_mut(key) else { return };
        let Some(mut rest) = places.reading.take() else { return };
        self.reading -= 1;
        for place in read {
            if rest.remove(&place) {
                self.len -= 1;
            }
        }
        places.waiting.append(&mut rest);
        if places.waiting.is_empty() {
            self.keys.remove(key);
        }
    }

    /// A message of the key became a dead letter: returns the waiting places, which are to be
    /// parked behind it.
    pub(crate) fn remove(&mut self, key: &K) -> BTreeSet<u64> {
        if self.keys.is_empty() {
            return BTreeSet::new();
        }
        let Some(places) = self.keys.remove(key) else { return BTreeSet::new() };
        assert!(places.reading.is_none(), "its lane is empty while a portion is read");
        self.len -= places.waiting.len();
        places.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_comes_in_order_and_in_portions() {
        let mut deferred = Deferred::default();
        for place in [7, 3, 5] {
            deferred.defer(&"a", place);
        }
        assert!(deferred.contains(&"a") && !deferred.contains(&"b"));
        assert_eq!(deferred.next_portion(), None, "its lane is not empty");
        deferred.offer(&"a");
        deferred.offer(&"a");
        assert_eq!(deferred.next_portion(), Some(("a", [3, 5, 7].into())));
        assert_eq!(deferred.next_portion(), None);
        deferred.defer(&"a", 9);
        // Only the first fitted.
        deferred.end_portion(&"a", [3]);
        assert_eq!((deferred.len(), deferred.contains(&"a")), (3, true));
        deferred.offer(&"a");
        assert_eq!(deferred.next_portion(), Some(("a", [5, 7, 9].into())));
        deferred.end_portion(&"a", [5, 7, 9]);
        assert_eq!((deferred.len(), deferred.contains(&"a")), (0, false));
    }

    #[test]
    fn few_are_read_at_a_time_and_a_key_can_be_given_up() {
        let mut deferred = Deferred::default();
        for key in 0..=READS_MAX {
            deferred.defer(&key, 1);
            deferred.offer(&key);
        }
        let read = std::iter::from_fn(|| deferred.next_portion()).count();
        assert_eq!(read, READS_MAX);
        assert_eq!(deferred.remove(&READS_MAX), BTreeSet::from([1]));
        deferred.end_portion(&0, [1]);
        assert_eq!(deferred.next_portion(), None, "the last was given up");
        assert_eq!(deferred.len(), READS_MAX - 1);
    }
}
