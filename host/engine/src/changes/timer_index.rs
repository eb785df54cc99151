//! The next timers, in memory: all timers of the store up to a *horizon*, and no timer that the
//! store does not have. The index is bounded in number and in bytes. The timers beyond the horizon
//! are read page by page, as the timers before them fire.
//!
//! A page ends, and the next one begins, at a place that no two timers share, because many timers
//! may be due at one time. The committer updates the index after each commit, and
//! `stages/timers.rs` takes the due timers out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::lock;
use crate::model::{
    Hops, Key, PluginName, Position, TimerName, TimerPlace, TimerRef, Timestamp, Trace,
};
use crate::seams::store::{Page, TimerRow};

/// The most bytes of the data of the timers in memory. A single timer may have more.
const BYTES_MAX: usize = 32 << 20;
/// Below this share of its size, the index is filled from the store.
const LOW_WATER: usize = 4;

type Name = (PluginName, Key, TimerName);

/// Shared by the stage that fires timers and by the committer, which keeps it up to date.
pub(crate) struct TimerIndex {
    index: Mutex<Index>,
    changed: Notify,
}

struct Index {
    timers: BTreeMap<TimerPlace, Entry>,
    /// When the one timer of each name is due.
    due: BTreeMap<Name, Timestamp>,
    bytes: usize,
    timers_max: usize,
    /// Whether some timers had to be dropped, and no other has left since: then it is of no use to
    /// read them again.
    is_full: bool,
    horizon: Horizon,
    /// The names that were set or cleared since the read of a page began, which may not show it.
    touched: Option<BTreeSet<Name>>,
}

struct Entry {
    set_by: Position,
    data: Bytes,
    hops: Hops,
    trace: Option<Box<Trace>>,
}

/// The place up to which the index has every timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Horizon {
    Nothing,
    /// Up to and including this place.
    To(TimerPlace),
    All,
}

/// What the stage does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Reads the timers after a place.
    Read { after: Option<TimerPlace> },
    /// Waits for the next timer, if there is one.
    Wait { due: Option<Timestamp> },
}

impl TimerIndex {
    /// An index that is to be filled from the store. Keeps `timers_max` timers, at least one.
    pub(crate) fn new(timers_max: usize) -> Self {
        let index = Index {
            timers: BTreeMap::new(),
            due: BTreeMap::new(),
            bytes: 0,
            timers_max: timers_max.max(1),
            is_full: false,
            horizon: Horizon::Nothing,
            touched: None,
        };
        Self { index: Mutex::new(index), changed: Notify::new() }
    }

    /// Applies committed changes: timers set, which replace those of the same name, and timers
    /// cleared.
    pub(crate) fn update(&self, set: Vec<TimerRow>, cleared: &[Name]) {
        if set.is_empty() && cleared.is_empty() {
            return;
        }
        let mut index = self.lock();
        for name in cleared {
            index.forget(name);
            index.touch(name);
        }
        for row in set {
            let name = name_of(&row.timer);
            index.forget(&name);
            index.touch(&name);
            // The page that is being read may end behind this timer without having it.
            if index.touched.is_some() || index.covers(&row.timer.place()) {
                index.remember(row);
            }
        }
        index.trim();
        drop(index);
        self.changed.notify_one();
    }

    /// Takes timers that are due: a page of them, whose bytes are those of their data. Timers that
    /// were taken and did not fire are read from the store again in the next epoch.
    pub(crate) fn take_due(&self, now: Timestamp, page: Page) -> Vec<TimerRow> {
        let mut index = self.lock();
        let (mut due, mut bytes) = (Vec::new(), 0);
        // Timers beyond the horizon wait until all timers before it are known.
        while due.len() < page.rows
            && (bytes < page.bytes || due.is_empty())
            && let Some((place, _)) = index.timers.first_key_value()
            && place.due <= now
            && index.covers(place)
            && let Some(row) = index.pop_first()
        {
            bytes += row.data.len().max(1);
            due.push(row);
        }
        due
    }

    pub(crate) fn next(&self) -> Next {
        let index = self.lock();
        let first = index.timers.first_key_value().map(|(place, _)| place);
        let is_known = first.is_some_and(|place| index.covers(place));
        let is_low = index.timers.len() < index.timers_max.div_ceil(LOW_WATER);
        match &index.horizon {
            Horizon::All => Next::Wait { due: first.map(|place| place.due) },
            _ if is_known && (index.is_full || !is_low) => {
                Next::Wait { due: first.map(|place| place.due) }
            }
            Horizon::Nothing => Next::Read { after: None },
            Horizon::To(place) => Next::Read { after: Some(place.clone()) },
        }
    }

    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Begins a read: until `end_reading`, changes are newer than what is read.
    pub(crate) fn begin_reading(&self) {
        self.lock().touched = Some(BTreeSet::new());
    }

    /// Ends a read with the timers after the place that `next` named; none if there are no more.
    /// Without a page, the read has failed.
    pub(crate) fn end_reading(&self, page: Option<Vec<TimerRow>>) {
        let mut index = self.lock();
        let touched = index.touched.take().unwrap_or_default();
        let Some(page) = page else { return };
        index.horizon = match page.last() {
            None => Horizon::All,
            Some(last) => index.horizon.clone().max(Horizon::To(last.timer.place())),
        };
        for row in page {
            let name = name_of(&row.timer);
            if !touched.contains(&name) && !index.due.contains_key(&name) {
                index.remember(row);
            }
        }
        index.trim();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Index> {
        lock(&self.index)
    }
}

impl Index {
    fn covers(&self, place: &TimerPlace) -> bool {
        match &self.horizon {
            Horizon::Nothing => false,
            Horizon::To(last) => place <= last,
            Horizon::All => true,
        }
    }

    fn touch(&mut self, name: &Name) {
        if let Some(touched) = &mut self.touched {
            touched.insert(name.clone());
        }
    }

    fn remember(&mut self, row: TimerRow) {
        let TimerRow { timer, data, hops, trace } = row;
        self.bytes += data.len();
        self.due.insert(name_of(&timer), timer.due);
        let entry = Entry { set_by: timer.set_by, data, hops, trace };
        self.timers.insert(timer.place(), entry);
    }

    fn forget(&mut self, name: &Name) {
        if let Some(due) = self.due.remove(name) {
            let (plugin, instance, name) = name.clone();
            let entry = self.timers.remove(&TimerPlace { due, plugin, instance, name });
            self.bytes -= entry.map_or(0, |entry| entry.data.len());
            self.is_full = false;
        }
    }

    fn pop_first(&mut self) -> Option<TimerRow> {
        let (place, Entry { set_by, data, hops, trace }) = self.timers.pop_first()?;
        let TimerPlace { due, plugin, instance, name } = place;
        let timer = TimerRef { plugin, instance, name, due, set_by };
        self.due.remove(&name_of(&timer));
        self.bytes -= data.len();
        self.is_full = false;
        Some(TimerRow { timer, data, hops, trace })
    }

    /// Drops the last timers while there are too many. The horizon comes nearer.
    fn trim(&mut self) {
        while self.timers.len() > self.timers_max
            || (self.bytes > BYTES_MAX && self.timers.len() > 1)
        {
            let Some((place, entry)) = self.timers.pop_last() else { return };
            self.bytes -= entry.data.len();
            self.due.remove(&(place.plugin.clone(), place.instance.clone(), place.name.clone()));
            self.is_full = true;
            if self.covers(&place) {
                let last = self.timers.last_key_value().map(|(place, _)| place.clone());
                self.horizon = last.map_or(Horizon::Nothing, Horizon::To);
            }
        }
    }
}

fn name_of(timer: &TimerRef) -> Name {
    (timer.plugin.clone(), timer.instance.clone(), timer.name.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An operation on an index and on the store behind it.
    #[derive(Clone, Debug)]
    enum Step {
        Set {
            name: u8,
            due: u64,
        },
        Clear {
            name: u8,
        },
        /// The stage reads a page of this many rows, while this changes.
        Read {
            rows: usize,
            meanwhile: Option<(u8, u64)>,
        },
        Fail,
        Fire {
            limit: usize,
        },
        Pass {
            time: u64,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            // Few due times, so that many timers have the same.
            4 => (0_u8..12, 0_u64..4).prop_map(|(name, due)| Step::Set { name, due }),
            1 => (0_u8..12).prop_map(|name| Step::Clear { name }),
            3 => (1_usize..4, prop::option::of((0_u8..12, 0_u64..4)))
                .prop_map(|(rows, meanwhile)| Step::Read { rows, meanwhile }),
            1 => Just(Step::Fail),
            2 => (1_usize..4).prop_map(|limit| Step::Fire { limit }),
            1 => (0_u64..2).prop_map(|time| Step::Pass { time }),
        ]
    }

    fn row(name: u8, due: u64, set_by: u64) -> TimerRow {
        let timer = TimerRef {
            plugin: "p".into(),
            instance: format!("i{}", name % 4).into(),
            name: format!("t{name}").into(),
            due: Timestamp(due),
            set_by: Position(set_by),
        };
        TimerRow { timer, data: Bytes::from_static(b"data"), hops: Hops(2), trace: None }
    }

    /// The index, what the store has, and what must still fire.
    struct World {
        index: TimerIndex,
        store: BTreeMap<TimerPlace, TimerRow>,
        set: u64,
        now: u64,
        fired: Vec<TimerRow>,
    }

    impl World {
        fn set(&mut self, name: u8, due: u64) {
            self.set += 1;
            let row = row(name, self.now + due, self.set);
            self.store.retain(|_, other| name_of(&other.timer) != name_of(&row.timer));
            self.store.insert(row.timer.place(), row.clone());
            self.index.update(vec![row], &[]);
        }

        fn clear(&mut self, name: u8) {
            let name = name_of(&row(name, 0, 0).timer);
            self.store.retain(|_, other| name_of(&other.timer) != name);
            self.index.update(Vec::new(), &[name]);
        }

        fn page(&self, after: Option<&TimerPlace>, rows: usize) -> Vec<TimerRow> {
            let all =
                self.store.iter().filter(|(place, _)| after.is_none_or(|after| *place > after));
            all.take(rows).map(|(_, row)| row.clone()).collect()
        }

        fn read(&mut self, rows: usize, meanwhile: Option<(u8, u64)>) {
            let Next::Read { after } = self.index.next() else { return };
            self.index.begin_reading();
            let page = self.page(after.as_ref(), rows);
            if let Some((name, due)) = meanwhile {
                match due {
                    0 => self.clear(name),
                    _ => self.set(name, due),
                }
            }
            self.index.end_reading(Some(page));
        }

        fn fire(&mut self, limit: usize) {
            let page = Page { rows: limit, bytes: usize::MAX };
            for row in self.index.take_due(Timestamp(self.now), page) {
                assert!(row.timer.due.0 <= self.now, "before it is due: {row:?}");
                let stored = self.store.remove(&row.timer.place());
                assert_eq!(stored.as_ref(), Some(&row), "it is not set, or not any more");
                self.fired.push(row);
            }
        }
    }

    proptest! {
        #![proptest_config(crate::properties::many_cases())]

        /// In whatever order timers are set, read and fired: those that fire are those that are
        /// set, each once, and in the end no due timer is left.
        #[test]
        fn every_timer_fires_once(
            timers_max in 1_usize..5,
            before in prop::collection::vec((0_u8..12, 0_u64..4), 0..12),
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut world = World {
                index: TimerIndex::new(timers_max),
                store: BTreeMap::new(),
                set: 0,
                now: 100,
                fired: Vec::new(),
            };
            for (name, due) in before {
                let row = row(name, 100 + due, 0);
                world.store.retain(|_, other| name_of(&other.timer) != name_of(&row.timer));
                world.store.insert(row.timer.place(), row);
            }
            for step in steps {
                match step {
                    Step::Set { name, due } => world.set(name, due),
                    Step::Clear { name } => world.clear(name),
                    Step::Read { rows, meanwhile } => world.read(rows, meanwhile),
                    Step::Fail => {
                        world.index.begin_reading();
                        world.index.end_reading(None);
                    }
                    Step::Fire { limit } => world.fire(limit),
                    Step::Pass { time } => world.now += time,
                }
                let index = world.index.lock();
                prop_assert!(index.timers.len() <= timers_max);
                prop_assert_eq!(index.timers.len(), index.due.len());
                prop_assert_eq!(index.bytes, 4 * index.timers.len());
            }
            world.now += 10;
            for _ in 0..200 {
                world.fire(2);
                world.read(1, None);
            }
            prop_assert!(world.store.is_empty(), "never fired: {:?}", world.store);
        }
    }

    #[test]
    fn data_is_bounded_too() {
        let index = TimerIndex::new(100);
        index.begin_reading();
        let large =
            |name| TimerRow { data: Bytes::from(vec![0; BYTES_MAX / 2 + 1]), ..row(name, 5, 1) };
        index.end_reading(Some((0..4).map(large).collect()));
        assert_eq!(index.lock().timers.len(), 1);
        assert_eq!(index.next(), Next::Wait { due: Some(Timestamp(5)) });
        // The dropped timers are read again when the first has fired.
        assert_eq!(index.take_due(Timestamp(5), Page { rows: 10, bytes: 1 }).len(), 1);
        let after = Some(row(0, 5, 1).timer.place());
        assert_eq!(index.next(), Next::Read { after });
    }

    #[test]
    fn what_fires_at_once_is_bounded_in_bytes() {
        let index = TimerIndex::new(100);
        index.begin_reading();
        index.end_reading(Some((0..4).map(|name| row(name, 5, 1)).collect()));
        // Each has four.
        for (bytes, expected) in [(0, 1), (5, 2), (usize::MAX, 1)] {
            let due = index.take_due(Timestamp(5), Page { rows: 10, bytes });
            assert_eq!(due.len(), expected, "{bytes} bytes");
        }
    }
}
