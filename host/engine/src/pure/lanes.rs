//! Pure: FIFO order per key. The items of one key are taken one after another, in order of their
//! places. No key waits for another key. The dispatcher, the relays and the queues use it.

use std::collections::{BTreeSet, VecDeque};
use std::hash::Hash;

use crate::pure::hash::HashMap;
use crate::pure::monotonic::Instant;

/// A lane for each key. Within a lane, items are sorted by their order number; items that are
/// taken and not finished stay at its front.
#[derive(Debug)]
pub(crate) struct Lanes<K, T> {
    lanes: HashMap<K, Lane<T>>,
    /// Lanes that may have an item to take. A lane may have changed since; `take` checks it.
    ready: VecDeque<K>,
    /// Lanes whose first item may not be taken before a time.
    waiting: BTreeSet<(Instant, K)>,
    len: usize,
}

#[derive(Debug)]
struct Lane<T> {
    items: VecDeque<(u64, T)>,
    /// How many items at the front are taken.
    taken: usize,
    wait_until: Option<Instant>,
    /// It is not ready until the caller offers it again.
    is_set_back: bool,
    queued: bool,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            taken: 0,
            wait_until: None,
            is_set_back: false,
            queued: false,
        }
    }
}

impl<K: Clone + Eq + Hash + Ord, T> Default for Lanes<K, T> {
    fn default() -> Self {
        Self { lanes: HashMap::default(), ready: VecDeque::new(), waiting: BTreeSet::new(), len: 0 }
    }
}

impl<K: Clone + Eq + Hash + Ord, T> Lanes<K, T> {
    /// Items in all lanes, taken or not.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.lanes.contains_key(key)
    }

    /// Adds an item to its lane, in the order of the numbers. False if the lane has that number
    /// already.
    pub(crate) fn push(&mut self, key: &K, order: u64, item: T) -> bool {
        let lane = match self.lanes.get_mut(key) {
            Some(lane) => lane,
            None => self.lanes.entry(key.clone()).or_default(),
        };
        let at = match lane.items.back() {
            Some((last, _)) if *last < order => lane.items.len(),
            None => 0,
            Some(_) => match lane.items.binary_search_by_key(&order, |(order, _)| *order) {
                Ok(_) => return false,
                Err(at) => at.max(lane.taken),
            },
        };
        lane.items.insert(at, (order, item));
        self.len += 1;
        Self::offer(&mut self.ready, key, lane);
        true
    }

    /// Takes the first item of a lane that is ready. Lanes take turns.
    pub(crate) fn take(&mut self) -> Option<(K, u64, &mut T)> {
        loop {
            let key = self.ready.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.queued = false;
            if lane.taken > 0
                || lane.wait_until.is_some()
                || lane.is_set_back
                || lane.items.is_empty()
            {
                continue;
            }
            lane.taken = 1;
            // Looked up again: the borrow checker does not let a loop return what it tested.
            let lane = self.lanes.get_mut(&key)?;
            let (order, item) = lane.items.front_mut()?;
            return Some((key, *order, item));
        }
    }

    /// The item that `take` would take next.
    pub(crate) fn peek(&mut self) -> Option<&T> {
        loop {
            let key = self.ready.front()?;
            match self.lanes.get_mut(key) {
                Some(lane) if lane.taken == 0 && lane.wait_until.is_none() && !lane.is_set_back => {
                    break;
                }
                Some(lane) => lane.queued = false,
                None => {}
            }
            self.ready.pop_front();
        }
        let lane = self.lanes.get(self.ready.front()?)?;
        lane.items.front().map(|(_, item)| item)
    }

    /// The item that `take_next` would take.
    #[must_use]
    pub(crate) fn peek_next(&self, key: &K) -> Option<&T> {
        let lane = self.lanes.get(key)?;
        lane.items.get(lane.taken).map(|(_, item)| item)
    }

    /// Takes one item more of a lane from which the caller has taken some.
    pub(crate) fn take_next(&mut self, key: &K) -> Option<(u64, &mut T)> {
        let lane = self.lanes.get_mut(key)?;
        let (order, item) = lane.items.get_mut(lane.taken)?;
        lane.taken += 1;
        Some((*order, item))
    }

    /// An item that is in a lane.
    pub(crate) fn get_mut(&mut self, key: &K, order: u64) -> Option<&mut T> {
        let lane = self.lanes.get_mut(key)?;
        // It is nearly always the first.
        lane.items.iter_mut().find(|(o, _)| *o == order).map(|(_, item)| item)
    }

    /// How many items of a lane are taken.
    #[must_use]
    pub(crate) fn taken(&self, key: &K) -> usize {
        self.lanes.get(key).map_or(0, |lane| lane.taken)
    }

    /// Removes a taken item that is settled.
    pub(crate) fn finish(&mut self, key: &K, order: u64) -> Option<T> {
        let lane = self.lanes.get_mut(key)?;
        let at = lane.items.iter().take(lane.taken).position(|(o, _)| *o == order)?;
        let (_, item) = lane.items.remove(at)?;
        lane.taken -= 1;
        self.len -= 1;
        self.settle(key);
        Some(item)
    }

    /// Puts a taken item back where it was. Nothing of its lane is taken before `until`.
    pub(crate) fn put_back(&mut self, key: &K, order: u64, until: Instant) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if !lane.items.iter().take(lane.taken).any(|(o, _)| *o == order) {
            return;
        }
        lane.taken -= 1;
        // Taken items stand at the front, so the one put back moves behind those still taken.
        if let Some(at) = lane.items.iter().position(|(o, _)| *o == order)
            && at < lane.taken
            && let Some(item) = lane.items.remove(at)
        {
            lane.items.insert(lane.taken, item);
        }
        if lane.taken == 0 {
            lane.items.make_contiguous().sort_by_key(|(order, _)| *order);
        }
        let until = lane.wait_until.map_or(until, |earlier| earlier.max(until));
        if let Some(earlier) = lane.wait_until.replace(until) {
            self.waiting.remove(&(earlier, key.clone()));
        }
        self.waiting.insert((until, key.clone()));
        self.settle(key);
    }

    /// Puts the only item that is taken of a lane back. The lane is not ready until
    /// [`Self::offer_again`] says so.
    pub(crate) fn set_back(&mut self, key: &K) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.taken = lane.taken.saturating_sub(1);
            lane.is_set_back = true;
        }
    }

    /// Makes a lane ready that was set back.
    pub(crate) fn offer_again(&mut self, key: &K) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.is_set_back = false;
            Self::offer(&mut self.ready, key, lane);
        }
    }

    /// The lanes that wait for a time, the next first.
    pub(crate) fn waiting_keys(&self) -> Vec<K> {
        self.waiting.iter().map(|(_, key)| key.clone()).collect()
    }

    /// Makes a lane ready before the time that it waits for. False if it waits for none.
    pub(crate) fn wake_lane(&mut self, key: &K) -> bool {
        let Some(lane) = self.lanes.get_mut(key) else { return false };
        let Some(until) = lane.wait_until.take() else { return false };
        self.waiting.remove(&(until, key.clone()));
        Self::offer(&mut self.ready, key, lane);
        true
    }

    /// All items that are taken.
    pub(crate) fn all_taken(&self) -> impl Iterator<Item = &T> {
        let taken = |lane: &'_ Lane<T>| lane.taken;
        self.lanes
            .values()
            .flat_map(move |lane| lane.items.iter().take(taken(lane)))
            .map(|(_, item)| item)
    }

    /// Removes all items of a lane, also those that are taken, and returns them in order.
    pub(crate) fn clear(&mut self, key: &K) -> Vec<(u64, T)> {
        let Some(mut lane) = self.lanes.remove(key) else { return Vec::new() };
        if let Some(until) = lane.wait_until {
            self.waiting.remove(&(until, key.clone()));
        }
        self.len -= lane.items.len();
        lane.items.make_contiguous().sort_by_key(|(order, _)| *order);
        lane.items.into()
    }

    /// Makes those lanes ready whose time has come.
    pub(crate) fn wake(&mut self, now: Instant) {
        while let Some((until, _)) = self.waiting.first()
            && *until <= now
        {
            let Some((_, key)) = self.waiting.pop_first() else { return };
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.wait_until = None;
            Self::offer(&mut self.ready, &key, lane);
        }
    }

    /// When `wake` must be called next; none if no lane waits for a time.
    #[must_use]
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.waiting.first().map(|(until, _)| *until)
    }

    fn settle(&mut self, key: &K) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if lane.items.is_empty() {
            if let Some(until) = lane.wait_until {
                self.waiting.remove(&(until, key.clone()));
            }
            // A name left in `ready` is harmless: `take` finds no lane, or a newer one that is ready.
            self.lanes.remove(key);
        } else {
            Self::offer(&mut self.ready, key, lane);
        }
    }

    fn offer(ready: &mut VecDeque<K>, key: &K, lane: &mut Lane<T>) {
        let is_free = lane.taken == 0 && lane.wait_until.is_none() && !lane.is_set_back;
        if !lane.queued && is_free && !lane.items.is_empty() {
            lane.queued = true;
            ready.push_back(key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn take(lanes: &mut Lanes<u8, ()>) -> Option<(u8, u64)> {
        lanes.take().map(|(key, order, ())| (key, order))
    }

    #[test]
    fn a_taken_item_holds_back_its_lane_alone() {
        let mut lanes = Lanes::default();
        for (key, order) in [(1, 1), (1, 2), (2, 3)] {
            assert!(lanes.push(&key, order, ()));
        }
        assert_eq!(take(&mut lanes), Some((1, 1)));
        assert_eq!(take(&mut lanes), Some((2, 3)));
        assert_eq!(take(&mut lanes), None);
        lanes.finish(&1, 1);
        assert_eq!(take(&mut lanes), Some((1, 2)));
    }

    #[test]
    fn what_is_taken_next_can_be_seen_before() {
        let mut lanes = Lanes::default();
        for (key, order) in [(1, 1), (1, 2), (2, 3), (3, 4)] {
            lanes.push(&key, order, order);
        }
        assert_eq!(lanes.peek(), Some(&1));
        assert_eq!(lanes.take().map(|(_, order, _)| order), Some(1));
        assert_eq!(lanes.peek_next(&1), Some(&2));
        assert_eq!(lanes.take_next(&1).map(|(order, _)| order), Some(2));
        assert_eq!(lanes.peek_next(&1), None);
        // A lane that was emptied keeps its name in the queue of those that are ready.
        lanes.clear(&2);
        assert_eq!(lanes.peek(), Some(&4));
        assert_eq!(lanes.take().map(|(_, order, _)| order), Some(4));
        assert_eq!(lanes.peek(), None);
    }

    #[test]
    fn a_late_item_with_a_lower_order_goes_first() {
        let mut lanes = Lanes::default();
        lanes.push(&1, 5, ());
        lanes.push(&1, 9, ());
        assert_eq!(take(&mut lanes), Some((1, 5)));
        lanes.push(&1, 3, ());
        lanes.finish(&1, 5);
        assert_eq!(take(&mut lanes), Some((1, 3)));
        lanes.finish(&1, 3);
        assert_eq!(take(&mut lanes), Some((1, 9)));
    }

    #[test]
    fn the_same_order_is_taken_once() {
        let mut lanes = Lanes::default();
        assert!(lanes.push(&1, 5, ()));
        assert!(lanes.push(&1, 6, ()));
        assert!(!lanes.push(&1, 5, ()));
        assert_eq!(lanes.len(), 2);
    }

    #[test]
    fn a_lane_waits_until_its_time_and_keeps_its_order() {
        let mut lanes = Lanes::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for order in 1..=3 {
            lanes.push(&1, order, ());
        }
        assert_eq!(take(&mut lanes), Some((1, 1)));
        assert_eq!(lanes.take_next(&1).map(|(order, ())| order), Some(2));
        lanes.put_back(&1, 1, at(10));
        assert_eq!(take(&mut lanes), None, "2 is still out");
        lanes.put_back(&1, 2, at(5));
        lanes.wake(at(9));
        assert_eq!(take(&mut lanes), None, "the later of the two times counts");
        assert_eq!(lanes.next_wake(), Some(at(10)));
        lanes.wake(at(10));
        for order in 1..=3 {
            assert_eq!(take(&mut lanes), Some((1, order)));
            lanes.finish(&1, order);
        }
        assert_eq!(lanes.len(), 0);
    }

    #[test]
    fn a_lane_that_is_set_back_waits_until_it_is_offered_again() {
        let mut lanes = Lanes::default();
        for (key, order) in [(1, 1), (1, 2), (2, 3)] {
            lanes.push(&key, order, ());
        }
        assert_eq!(take(&mut lanes), Some((1, 1)));
        lanes.set_back(&1);
        lanes.push(&1, 4, ());
        assert_eq!((take(&mut lanes), lanes.all_taken().count()), (Some((2, 3)), 1));
        assert_eq!(take(&mut lanes), None);
        lanes.offer_again(&1);
        assert_eq!(take(&mut lanes), Some((1, 1)));
        lanes.put_back(&1, 1, Instant::now() + Duration::from_secs(9));
        assert!(lanes.wake_lane(&1) && !lanes.wake_lane(&2));
        assert_eq!((take(&mut lanes), lanes.next_wake()), (Some((1, 1)), None));
    }

    #[test]
    fn clearing_hands_out_everything_in_order() {
        let mut lanes = Lanes::default();
        for order in [2, 1, 3] {
            lanes.push(&1, order, ());
        }
        assert_eq!(take(&mut lanes), Some((1, 1)));
        let orders: Vec<u64> = lanes.clear(&1).into_iter().map(|(order, ())| order).collect();
        assert_eq!(orders, [1, 2, 3]);
        assert_eq!((take(&mut lanes), lanes.len()), (None, 0));
    }
}
