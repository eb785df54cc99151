//! Pure: the newest hashes, in memory, as a set whose parts can be taken out in order.

use std::collections::HashSet;
use std::ops::Range;

use super::{Hash, Place, place_of};

/// Hashes of one part are neighbours, so a run is sorted part by part: no commit waits until a
/// whole generation is sorted, nor until one large table has grown.
const PARTS: usize = 64;

/// Seeded by chance: a sender can choose the lower bits of a hash by trying many ids.
type Part = HashSet<Hash, foldhash::fast::RandomState>;

#[derive(Debug)]
pub(super) struct Generation {
    parts: Vec<Part>,
    len: usize,
}

impl Default for Generation {
    fn default() -> Self {
        Self { parts: vec![Part::default(); PARTS], len: 0 }
    }
}

impl Generation {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, hash: Hash) -> bool {
        self.parts[part_of(place_of(hash))].contains(&hash)
    }

    /// The hashes between two places, ascending.
    pub(crate) fn sorted(&self, places: &Range<Place>) -> Vec<Hash> {
        let Some(last) = places.end.checked_sub(1) else { return Vec::new() };
        let parts = &self.parts[part_of(places.start).min(PARTS - 1)..=part_of(last)];
        let within = |hash: &Hash| places.contains(&place_of(*hash));
        let mut hashes: Vec<Hash> = parts.iter().flatten().copied().filter(within).collect();
        hashes.sort_unstable();
        hashes
    }
}

impl Extend<Hash> for Generation {
    fn extend<T: IntoIterator<Item = Hash>>(&mut self, hashes: T) {
        for hash in hashes {
            self.len += usize::from(self.parts[part_of(place_of(hash))].insert(hash));
        }
    }
}

fn part_of(place: Place) -> usize {
    usize::try_from((place * PARTS as Place) >> 64).expect("smaller than the number of parts")
}
