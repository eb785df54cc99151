//! Pure: a run, which is a set of hashes that lie in the store in order, cut into buckets by
//! their upper bits; and what memory keeps of it, which is a filter for each group of buckets.

use std::ops::Range;

use sagabox_engine::pure::filter::Filter;

use super::{Hash, PLACES, Place, Sizes, place_of};

/// Rows of one run have consecutive numbers, and never so many.
const ROWS_MAX: i64 = 1 << 32;

/// What the store keeps of a run besides its hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Head {
    pub number: i64,
    /// How often its hashes were merged.
    pub level: u32,
    pub hashes: u64,
    /// Where its newest event stands.
    pub last_position: u64,
    /// The run that takes its hashes over.
    pub merged_into: Option<i64>,
}

#[derive(Debug)]
pub(in super::super) struct Run {
    pub head: Head,
    buckets: u64,
    /// Buckets of a filter.
    group: u64,
    /// None: any hash may be there. A group that is not written yet is asked for nothing.
    filters: Vec<Option<Filter>>,
    filter_bytes: usize,
    /// Which filter is folded next.
    next_fold: usize,
    /// What a filter is made with.
    filter_bits: usize,
    bucket_hashes: usize,
}

impl Run {
    pub(crate) fn new(head: Head, sizes: Sizes, filter_bits: usize) -> Self {
        let buckets = head.hashes.div_ceil(sizes.bucket as u64).max(1);
        let groups = index(buckets.div_ceil(sizes.group));
        Self {
            head,
            buckets,
            group: sizes.group,
            filters: (0..groups).map(|_| None).collect(),
            filter_bytes: 0,
            next_fold: 0,
            filter_bits,
            bucket_hashes: sizes.bucket,
        }
    }

    pub(crate) fn buckets(&self) -> u64 {
        self.buckets
    }

    pub(crate) fn groups(&self) -> u64 {
        self.filters.len() as u64
    }

    /// The groups whose buckets are all among the first `written`.
    pub(crate) fn groups_within(&self, written: u64) -> u64 {
        if written == self.buckets { self.groups() } else { written / self.group }
    }

    pub(crate) fn buckets_of(&self, group: u64) -> Range<u64> {
        let start = |group: u64| (group * self.group).min(self.buckets);
        start(group)..start(group + 1)
    }

    pub(crate) fn bucket_of(&self, hash: Hash) -> u64 {
        self.bucket_at(place_of(hash))
    }

    /// The bucket of a place; of the end of all places, the end of all buckets. Those before
    /// have only hashes of places before.
    pub(crate) fn bucket_at(&self, place: Place) -> u64 {
        u64::try_from((place * Place::from(self.buckets)) / PLACES).expect("at most the count")
    }

    /// The places whose hashes are in these buckets.
    pub(crate) fn places(&self, buckets: &Range<u64>) -> Range<Place> {
        let start = |bucket: u64| (Place::from(bucket) * PLACES).div_ceil(self.buckets.into());
        start(buckets.start)..start(buckets.end)
    }

    /// The buckets with hashes of these places, perhaps with others.
    pub(crate) fn buckets_at(&self, places: &Range<Place>) -> Range<u64> {
        let last = places.end.saturating_sub(1).max(places.start);
        self.bucket_at(places.start)..self.bucket_at(last) + 1
    }

    pub(crate) fn may_contain(&self, hash: Hash) -> bool {
        let group = index(self.bucket_of(hash) / self.group);
        self.filters[group].as_ref().is_none_or(|filter| filter.may_contain(lower(hash)))
    }

    /// Adds hashes of these buckets to the filters of their groups.
    pub(crate) fn insert(&mut self, buckets: &Range<u64>, hashes: &[Hash]) {
        if buckets.is_empty() {
            return;
        }
        let group_hashes = self.bucket_hashes * usize::try_from(self.group).unwrap_or(usize::MAX);
        for group in buckets.start / self.group..=(buckets.end - 1) / self.group {
            let filter = &mut self.filters[index(group)];
            if filter.is_none() {
                let made = filter.insert(Filter::new(group_hashes, self.filter_bits));
                self.filter_bytes += made.bytes();
            }
        }
        for &hash in hashes {
            let group = self.bucket_of(hash) / self.group;
            if let Some(filter) = &mut self.filters[index(group)] {
                filter.insert(lower(hash));
            }
        }
    }

    pub(crate) fn filter(&self, group: u64) -> Option<&Filter> {
        self.filters[index(group)].as_ref()
    }

    /// The row that stores a filter.
    pub(crate) fn filter_row(&self, group: u64) -> Option<(i64, Vec<u8>)> {
        Some((self.row(group), self.filter(group)?.to_bytes()))
    }

    /// Takes up a filter as it was stored.
    pub(crate) fn restore_filter(&mut self, group: u64, filter: Filter) {
        self.filter_bytes += filter.bytes();
        if let Some(before) = self.filters[index(group)].replace(filter) {
            self.filter_bytes -= before.bytes();
        }
    }

    /// Lets the filters of the first groups go: their hashes are elsewhere.
    pub(crate) fn drop_filters(&mut self, groups: u64) {
        for filter in self.filters.iter_mut().take(index(groups)) {
            self.filter_bytes -= filter.take().map_or(0, |filter| filter.bytes());
        }
    }

    /// What the filters take of memory.
    pub(crate) fn filter_bytes(&self) -> usize {
        self.filter_bytes
    }

    /// Halves one filter, each in turn. One that cannot be halved goes.
    pub(crate) fn fold(&mut self) {
        let groups = self.filters.len();
        for _ in 0..groups {
            let slot = &mut self.filters[self.next_fold];
            self.next_fold = (self.next_fold + 1) % groups;
            if let Some(filter) = slot {
                self.filter_bytes -= filter.bytes();
                match filter.fold() {
                    true => self.filter_bytes += filter.bytes(),
                    false => *slot = None,
                }
                return;
            }
        }
    }

    /// The number of the row with a bucket, or with the filter of a group.
    pub(crate) fn row(&self, n: u64) -> i64 {
        first_row(self.head.number) + i64::try_from(n).expect("a run has fewer rows")
    }
}

pub(in super::super) fn first_row(run: i64) -> i64 {
    run * ROWS_MAX
}

pub(in super::super) fn run_of(row: i64) -> i64 {
    row / ROWS_MAX
}

/// A run's groups are in memory, so their numbers are small.
fn index(group: u64) -> usize {
    usize::try_from(group).expect("filters fit memory")
}

/// The half that does not say where a hash lies.
fn lower(hash: Hash) -> u64 {
    u64::try_from(hash & Hash::from(u64::MAX)).expect("a half")
}
