//! Pure: which keys certainly have no instance, neither in the store nor in memory, as their own
//! key or among its claims. With it the dispatcher need not ask the store about the key of an event
//! that starts an instance: most such keys never had one.
//!
//! It contains every key that the store had when the plugin's dispatcher began, as soon as the
//! caller has inserted all of them, and every key that an instance got since. Keys of removed
//! instances stay in it: for such a key the dispatcher asks the store.

use std::hash::BuildHasher as _;

use crate::model::Key;
use crate::pure::filter::Filter;

/// Keys of the first filter. Each further filter has room for twice as many as the one before, so
/// that few filters are asked, however many keys there are.
const FIRST_CAPACITY: usize = 65_536;
/// One in a thousand keys without an instance is not recognised.
const BITS_EACH: usize = 16;
/// The most memory of all filters of one plugin. With 16 bits each, that is enough for 16 million
/// keys. With more keys the dispatcher asks the store again about every key that is not in memory.
const BYTES_MAX: usize = 32 << 20;

pub(super) struct StoredKeys {
    /// New keys go into the last one.
    filters: Vec<Filter>,
    /// How many more keys fit into the last filter.
    room: usize,
    is_complete: bool,
    is_overfull: bool,
    hasher: foldhash::quality::RandomState,
    first_capacity: usize,
    bytes_max: usize,
}

impl StoredKeys {
    /// `is_complete`: the caller inserts all keys at once. Otherwise it calls `complete` when it
    /// has done so.
    pub(super) fn new(is_complete: bool) -> Self {
        Self::with_sizes(is_complete, FIRST_CAPACITY, BYTES_MAX)
    }

    fn with_sizes(is_complete: bool, first_capacity: usize, bytes_max: usize) -> Self {
        Self {
            filters: Vec::new(),
            room: 0,
            is_complete,
            is_overfull: false,
            hasher: foldhash::quality::RandomState::default(),
            first_capacity,
            bytes_max,
        }
    }

    pub(super) fn insert(&mut self, key: &Key) {
        let hash = self.hash(key);
        if self.is_overfull || self.filters.iter().any(|filter| filter.may_contain(hash)) {
            return;
        }
        if self.room == 0 && !self.grow() {
            return;
        }
        self.room -= 1;
        if let Some(last) = self.filters.last_mut() {
            last.insert(hash);
        }
    }

    /// Notes that all keys that the store had are inserted.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
    }

    /// Whether there are too many keys for the filters.
    pub(super) fn is_overfull(&self) -> bool {
        self.is_overfull
    }

    /// Returns false as long as it is not known.
    pub(super) fn is_absent(&self, key: &Key) -> bool {
        if !self.is_complete || self.is_overfull {
            return false;
        }
        let hash = self.hash(key);
        !self.filters.iter().any(|filter| filter.may_contain(hash))
    }

    fn hash(&self, key: &Key) -> u64 {
        self.hasher.hash_one(key.as_str())
    }

    /// Returns false if memory does not suffice: from then on no key is known to be absent.
    fn grow(&mut self) -> bool {
        let capacity = self.first_capacity << self.filters.len();
        let bytes: usize = self.filters.iter().map(Filter::bytes).sum();
        if bytes + capacity * BITS_EACH / 8 > self.bytes_max {
            self.is_overfull = true;
            self.filters = Vec::new();
            return false;
        }
        self.filters.push(Filter::new(capacity, BITS_EACH));
        self.room = capacity;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        Key::from(format!("order-{n}").as_str())
    }

    #[test]
    fn a_key_is_absent_only_once_all_are_inserted() {
        let mut keys = StoredKeys::new(false);
        keys.insert(&key(1));
        assert!(!keys.is_absent(&key(2)), "the store may have it");
        keys.complete();
        assert!(keys.is_absent(&key(2)));
        assert!(!keys.is_absent(&key(1)));
    }

    #[test]
    fn no_inserted_key_is_ever_absent_and_few_others_are_not() {
        let mut keys = StoredKeys::with_sizes(true, 64, 1 << 20);
        for n in 0..10_000 {
            keys.insert(&key(n));
            assert!(!keys.is_absent(&key(n)));
        }
        assert!((0..10_000).all(|n| !keys.is_absent(&key(n))));
        assert!(keys.filters.len() > 3, "it has grown");
        let unrecognised = (10_000..20_000).filter(|n| !keys.is_absent(&key(*n))).count();
        assert!(unrecognised < 300, "{unrecognised} of 10,000");
    }

    #[test]
    fn without_memory_nothing_is_known() {
        let mut keys = StoredKeys::with_sizes(true, 64, 1_024);
        for n in 0..10_000 {
            keys.insert(&key(n));
        }
        assert!(keys.is_overfull());
        assert!(!keys.is_absent(&key(10_001)));
        let bytes: usize = keys.filters.iter().map(Filter::bytes).sum();
        assert_eq!(bytes, 0);
    }
}
