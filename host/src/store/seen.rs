//! Pure: which 128-bit identities were seen before, exactly, at a cost per event
//! that does not grow with their number.
//!
//! One index over random hashes dirties a page of its own for every event as soon as
//! it has outgrown the cache. So the newest hashes, the live generation, are kept in
//! memory and appended to a table in the order in which they come. A full generation
//! is frozen: sorted once, written as chunks of a page, a few with each commit, and
//! never changed again. A frozen run answers "certainly not" from a filter in memory;
//! only for what the filter cannot exclude one chunk is read.
//!
//! This module knows no SQL; `inbox.rs` keeps its tables. It changes nothing before
//! the commit that wrote the change has succeeded: see [`Seen::apply`].

use std::collections::HashSet;

/// The first half of SHA-256 over an event's (source, id).
pub(super) type Hash = u128;

const HASH_BYTES: usize = 16;
/// Bits of a filter's block: one cache line, so that a look costs one miss.
const BLOCK_BITS: usize = 512;
const BLOCK_WORDS: usize = BLOCK_BITS / 64;
/// Bits set for each hash: as many as the upper half of a hash has groups of nine.
const PROBES: u32 = 7;
/// Chunks of one run have consecutive numbers, and never so many.
const CHUNKS_MAX: i64 = 1 << 32;
/// Freezing goes on this many times faster than the live generation grows: it has
/// ended when that is half full, and the rows it replaces are gone before it is full.
const PACE: usize = 3;

/// Parameters, so that tests can be small.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Hashes of a generation. In memory, live and frozen, it takes some 12 MB; a start
    /// reads as many rows, in a fraction of a second.
    pub generation: usize,
    /// Hashes of a chunk: what fits a page of the database next to the row's header.
    pub chunk: usize,
    /// Bits of a filter for each hash: 24 let one in ten thousand pass that is not there.
    pub filter_bits: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { generation: 262_144, chunk: 508, filter_bits: 24 }
    }
}

#[derive(Debug)]
pub(super) struct Seen {
    sizes: Sizes,
    live: HashSet<Hash>,
    /// When the newest of all was received. The clock may be set back: what comes then
    /// must not make its run look older than the rest of it is.
    newest_at: u64,
    /// Oldest first.
    runs: Vec<Run>,
    /// The newest run while its chunks are being written.
    frozen: Option<Frozen>,
    /// Rows up to this position are in runs, and still to be removed from the table.
    trim: Option<u64>,
    next_run: i64,
}

/// A generation that is no longer added to.
#[derive(Debug)]
pub(super) struct Run {
    pub number: i64,
    /// When its newest event was received, and where it stands.
    pub newest_at: u64,
    pub last_position: u64,
    pub index: Index,
}

/// What memory keeps of a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// The first hash of each chunk.
    fences: Vec<Hash>,
    filter: Vec<u64>,
}

#[derive(Debug)]
struct Frozen {
    sorted: Vec<Hash>,
    chunks_written: usize,
}

/// Whether a hash was seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    No,
    Yes,
    /// If one of these chunks contains it.
    In(Vec<i64>),
}

/// What a commit does besides adding its hashes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    Nothing,
    /// The live generation, with this commit's hashes, becomes a run of this number.
    Freeze {
        run: i64,
    },
    /// These chunks of the frozen run are written; with the last, `complete`, its index too.
    Write {
        chunks: std::ops::Range<usize>,
        complete: bool,
    },
    /// So many rows up to a position are removed.
    Trim {
        until: u64,
        rows: usize,
    },
}

/// What became of a task, to be applied once it is committed.
#[derive(Debug)]
pub(super) enum Done {
    Nothing,
    Frozen {
        newest_at: u64,
        last_position: u64,
    },
    Written {
        chunks: usize,
        complete: bool,
    },
    /// Whether all rows are gone.
    Trimmed {
        all: bool,
    },
}

impl Seen {
    pub fn new(sizes: Sizes) -> Self {
        let (live, runs) = (HashSet::new(), Vec::new());
        Self { sizes, live, newest_at: 0, runs, frozen: None, trim: None, next_run: 1 }
    }

    /// Numbers of runs that still have chunks are not given again.
    pub fn restore_numbers(&mut self, highest_chunk: i64) {
        self.next_run = self.next_run.max(run_of(highest_chunk) + 1);
    }

    /// Takes up a complete run as it was kept; oldest first.
    pub fn restore_run(&mut self, run: Run) {
        self.next_run = self.next_run.max(run.number + 1);
        self.newest_at = self.newest_at.max(run.newest_at);
        self.trim = Some(run.last_position);
        self.runs.push(run);
    }

    /// Takes up a run whose chunks were not all written. Sorting gives the same chunks again.
    pub fn restore_frozen(
        &mut self,
        number: i64,
        (newest_at, last_position): (u64, u64),
        hashes: Vec<Hash>,
        chunks_written: usize,
    ) {
        self.freeze(number, (newest_at, last_position), hashes, chunks_written);
    }

    pub fn restore_live(&mut self, hashes: impl IntoIterator<Item = Hash>) {
        self.live.extend(hashes);
    }

    pub fn look_up(&self, hash: Hash) -> Answer {
        if self.live.contains(&hash) {
            return Answer::Yes;
        }
        let mut runs = self.runs.as_slice();
        if let (Some(frozen), [older @ .., newest]) = (&self.frozen, runs) {
            runs = older;
            if newest.index.may_contain(hash) && frozen.sorted.binary_search(&hash).is_ok() {
                return Answer::Yes;
            }
        }
        let possible = runs.iter().rev().filter(|run| run.index.may_contain(hash));
        let chunks: Vec<i64> = possible
            .filter_map(|run| Some(run.first_chunk() + run.index.chunk_of(hash)?))
            .collect();
        if chunks.is_empty() { Answer::No } else { Answer::In(chunks) }
    }

    /// When a run was newest that is frozen by a commit with events of this time.
    pub fn newest_at(&self, newest_at: u64) -> u64 {
        self.newest_at.max(newest_at)
    }

    /// What a commit that adds so many hashes does besides; at most one thing, so that
    /// none takes long.
    pub fn task(&self, added: usize) -> Task {
        if added == 0 {
            return Task::Nothing;
        }
        if let Some(frozen) = &self.frozen {
            let all = frozen.sorted.len().div_ceil(self.sizes.chunk);
            let first = frozen.chunks_written;
            let last = (first + (added * PACE).div_ceil(self.sizes.chunk)).min(all);
            return Task::Write { chunks: first..last, complete: last == all };
        }
        if let Some(until) = self.trim {
            return Task::Trim { until, rows: added * PACE };
        }
        if self.live.len() + added >= self.sizes.generation {
            return Task::Freeze { run: self.next_run };
        }
        Task::Nothing
    }

    /// The number and content of a chunk of the frozen run.
    pub fn chunk(&self, index: usize) -> (i64, Vec<u8>) {
        let frozen = self.frozen.as_ref().expect("chunks are asked for while a run is frozen");
        let first = self.newest_run().first_chunk();
        let number = first + i64::try_from(index).expect("a run has few chunks");
        let hashes = frozen.sorted.chunks(self.sizes.chunk).nth(index).expect("within the run");
        (number, hashes.iter().flat_map(|hash| hash.to_be_bytes()).collect())
    }

    /// The run whose index is written when its chunks are complete.
    pub fn newest_run(&self) -> &Run {
        self.runs.last().expect("asked for while a run is frozen")
    }

    /// The commit has succeeded: these hashes were added, the newest received at this
    /// time, and this was done.
    pub fn apply(&mut self, added: impl IntoIterator<Item = Hash>, newest_at: u64, done: &Done) {
        self.live.extend(added);
        self.newest_at = self.newest_at(newest_at);
        match *done {
            Done::Nothing => {}
            Done::Frozen { newest_at, last_position } => {
                let hashes = std::mem::take(&mut self.live).into_iter().collect();
                self.freeze(self.next_run, (newest_at, last_position), hashes, 0);
            }
            Done::Written { chunks, complete } => {
                if complete {
                    self.frozen = None;
                    self.trim = Some(self.newest_run().last_position);
                } else if let Some(frozen) = &mut self.frozen {
                    frozen.chunks_written += chunks;
                }
            }
            Done::Trimmed { all } => {
                if all {
                    self.trim = None;
                }
            }
        }
    }

    /// How many of the oldest runs are complete, and older than this in all they have.
    pub fn older_than(&self, time: u64) -> usize {
        let complete = self.runs.len() - usize::from(self.frozen.is_some());
        self.runs[..complete].iter().take_while(|run| run.newest_at < time).count()
    }

    /// Chunks below this belong to no run any more, once the `dropped` oldest runs are gone.
    pub fn first_chunk_after(&self, dropped: usize) -> i64 {
        self.runs.get(dropped).map_or(first_chunk(self.next_run), Run::first_chunk)
    }

    /// The commit that forgot the oldest runs has succeeded.
    pub fn forget(&mut self, dropped: usize) {
        self.runs.drain(..dropped);
    }

    fn freeze(
        &mut self,
        number: i64,
        (newest_at, last_position): (u64, u64),
        mut sorted: Vec<Hash>,
        chunks_written: usize,
    ) {
        sorted.sort_unstable();
        let index = Index::new(&sorted, self.sizes);
        self.next_run = self.next_run.max(number + 1);
        self.newest_at = self.newest_at(newest_at);
        self.runs.push(Run { number, newest_at, last_position, index });
        self.frozen = Some(Frozen { sorted, chunks_written });
    }
}

impl Run {
    pub fn first_chunk(&self) -> i64 {
        first_chunk(self.number)
    }
}

pub(super) fn first_chunk(run: i64) -> i64 {
    run * CHUNKS_MAX
}

pub(super) fn run_of(chunk: i64) -> i64 {
    chunk / CHUNKS_MAX
}

impl Index {
    fn new(sorted: &[Hash], sizes: Sizes) -> Self {
        let blocks = (sorted.len() * sizes.filter_bits).div_ceil(BLOCK_BITS).max(1);
        let mut filter = vec![0; blocks * BLOCK_WORDS];
        for &hash in sorted {
            let block = block_of(hash, blocks) * BLOCK_WORDS;
            for (word, bit) in probes(hash) {
                filter[block + word] |= bit;
            }
        }
        let fences = sorted.chunks(sizes.chunk).map(|chunk| chunk[0]).collect();
        Self { fences, filter }
    }

    fn may_contain(&self, hash: Hash) -> bool {
        let block = block_of(hash, self.filter.len() / BLOCK_WORDS) * BLOCK_WORDS;
        probes(hash).all(|(word, bit)| self.filter[block + word] & bit != 0)
    }

    /// None if it is smaller than all.
    fn chunk_of(&self, hash: Hash) -> Option<i64> {
        let after = self.fences.partition_point(|fence| *fence <= hash);
        i64::try_from(after.checked_sub(1)?).ok()
    }

    pub fn to_bytes(&self) -> (Vec<u8>, Vec<u8>) {
        let fences = self.fences.iter().flat_map(|fence| fence.to_be_bytes()).collect();
        (fences, self.filter.iter().flat_map(|word| word.to_be_bytes()).collect())
    }

    /// None if these are no index.
    pub fn from_bytes(fences: &[u8], filter: &[u8]) -> Option<Self> {
        let (words, rest) = filter.as_chunks::<8>();
        let filter: Vec<u64> = words.iter().map(|word| u64::from_be_bytes(*word)).collect();
        let whole =
            rest.is_empty() && !filter.is_empty() && filter.len().is_multiple_of(BLOCK_WORDS);
        whole.then_some(Self { fences: hashes_of(fences)?, filter })
    }
}

/// None if these bytes are no whole hashes.
pub(super) fn hashes_of(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    rest.is_empty().then(|| hashes.iter().map(|bytes| Hash::from_be_bytes(*bytes)).collect())
}

/// Whether a chunk, as it is stored, has the hash.
pub(super) fn contains(chunk: &[u8], hash: Hash) -> bool {
    chunk.as_chunks::<HASH_BYTES>().0.binary_search(&hash.to_be_bytes()).is_ok()
}

/// Spread evenly by the lower half of the hash; the upper half chooses the bits.
fn block_of(hash: Hash, blocks: usize) -> usize {
    let lower = hash & Hash::from(u64::MAX);
    usize::try_from((lower * blocks as Hash) >> 64).expect("smaller than the number of blocks")
}

fn probes(hash: Hash) -> impl Iterator<Item = (usize, u64)> {
    (0..PROBES).map(move |n| {
        let bit = (hash >> (64 + 9 * n)) as usize % BLOCK_BITS;
        (bit / 64, 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const SMALL: Sizes = Sizes { generation: 8, chunk: 3, filter_bits: 4 };

    /// Fences and filter.
    type IndexBytes = (Vec<u8>, Vec<u8>);

    /// The tables, as `inbox.rs` keeps them.
    #[derive(Default)]
    struct Tables {
        rows: BTreeMap<u64, Hash>,
        chunks: BTreeMap<i64, Vec<u8>>,
        /// By number: newest at, last position, index.
        heads: BTreeMap<i64, (u64, u64, Option<IndexBytes>)>,
    }

    impl Tables {
        fn contains(&self, seen: &Seen, hash: Hash) -> bool {
            match seen.look_up(hash) {
                Answer::No => false,
                Answer::Yes => true,
                Answer::In(chunks) => {
                    chunks.iter().any(|chunk| contains(&self.chunks[chunk], hash))
                }
            }
        }

        /// What a commit does. If it fails, neither the tables nor the memory change.
        fn commit(&mut self, seen: &mut Seen, first: u64, hashes: &[Hash]) {
            self.commit_at(seen, first, hashes, first);
        }

        fn commit_at(&mut self, seen: &mut Seen, first: u64, hashes: &[Hash], received_at: u64) {
            let newest_at = seen.newest_at(received_at);
            self.rows.extend((first..).zip(hashes.iter().copied()));
            let last_position = first + hashes.len() as u64;
            let done = match seen.task(hashes.len()) {
                Task::Nothing => Done::Nothing,
                Task::Freeze { run } => {
                    self.heads.insert(run, (newest_at, last_position, None));
                    Done::Frozen { newest_at, last_position }
                }
                Task::Write { chunks, complete } => {
                    self.chunks.extend(chunks.clone().map(|chunk| seen.chunk(chunk)));
                    if complete {
                        let run = seen.newest_run();
                        self.heads.get_mut(&run.number).unwrap().2 = Some(run.index.to_bytes());
                    }
                    Done::Written { chunks: chunks.len(), complete }
                }
                Task::Trim { until, rows } => {
                    let old: Vec<u64> = self
                        .rows
                        .range(..=until)
                        .take(rows)
                        .map(|(position, _)| *position)
                        .collect();
                    self.rows.retain(|position, _| !old.contains(position));
                    Done::Trimmed { all: old.len() < rows }
                }
            };
            seen.apply(hashes.iter().copied(), received_at, &done);
        }

        fn restart(&self) -> Seen {
            let mut seen = Seen::new(SMALL);
            let mut in_runs = 0;
            for (&number, (newest_at, last_position, index)) in &self.heads {
                if let Some((fences, filter)) = index {
                    let index = Index::from_bytes(fences, filter).unwrap();
                    let (newest_at, last_position) = (*newest_at, *last_position);
                    seen.restore_run(Run { number, newest_at, last_position, index });
                } else {
                    let rows = self.rows.range(in_runs + 1..=*last_position);
                    let hashes = rows.map(|(_, hash)| *hash).collect();
                    let chunks = self.chunks.range(number * CHUNKS_MAX..).count();
                    seen.restore_frozen(number, (*newest_at, *last_position), hashes, chunks);
                }
                in_runs = *last_position;
            }
            seen.restore_live(self.rows.range(in_runs + 1..).map(|(_, hash)| *hash));
            seen
        }
    }

    /// Hashes as even as those of SHA-256, from small numbers.
    fn spread(number: u64) -> Hash {
        let mut hash = Hash::from(number) + 1;
        for _ in 0..4 {
            hash = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
            hash ^= hash >> 67;
        }
        hash
    }

    proptest! {
        #[test]
        fn exactly_what_was_added_is_known_over_any_batches_and_restarts(
            batches in prop::collection::vec(
                (prop::collection::vec(0..200_u64, 0..20), any::<bool>()), 1..60),
        ) {
            let (mut tables, mut seen) = (Tables::default(), Seen::new(SMALL));
            let mut known = HashSet::new();
            let mut position = 1;
            for (batch, restart) in batches {
                let mut fresh = Vec::new();
                for hash in batch.into_iter().map(spread) {
                    let is_known = tables.contains(&seen, hash) || fresh.contains(&hash);
                    prop_assert_eq!(is_known, known.contains(&hash));
                    if known.insert(hash) {
                        fresh.push(hash);
                    }
                }
                tables.commit(&mut seen, position, &fresh);
                position += fresh.len() as u64 + 1;
                if restart {
                    seen = tables.restart();
                }
            }
            for hash in (0..200).map(spread) {
                prop_assert_eq!(tables.contains(&seen, hash), known.contains(&hash));
            }
        }
    }

    #[test]
    fn the_live_generation_is_bounded_when_batches_are_small() {
        let (mut tables, mut seen) = (Tables::default(), Seen::new(SMALL));
        for number in 0..1_000 {
            tables.commit(&mut seen, number + 1, &[spread(number)]);
            assert!(seen.live.len() <= 2 * SMALL.generation, "{}", seen.live.len());
            assert!(tables.rows.len() <= 3 * SMALL.generation, "{}", tables.rows.len());
        }
        assert!(seen.runs.len() > 50);
    }

    #[test]
    fn old_runs_are_forgotten_and_young_ones_stay() {
        let (mut tables, mut seen) = (Tables::default(), Seen::new(SMALL));
        for number in 0..100 {
            tables.commit(&mut seen, number + 1, &[spread(number)]);
        }
        let old = seen.older_than(50);
        assert!(old > 0);
        assert_eq!(seen.first_chunk_after(old), seen.runs[old].first_chunk());
        seen.forget(old);
        assert!(!tables.contains(&seen, spread(0)));
        assert!((50..100).all(|number| tables.contains(&seen, spread(number))));
        assert_eq!(seen.older_than(0), 0);
    }

    /// Set back after each run was begun, so that the last of it seem to be the oldest.
    #[test]
    fn a_clock_that_is_set_back_makes_nothing_look_older() {
        let (mut tables, mut seen) = (Tables::default(), Seen::new(SMALL));
        for number in 0..100 {
            let received_at = if number % 2 == 0 { 1_000 + number } else { number };
            tables.commit_at(&mut seen, number + 1, &[spread(number)], received_at);
        }
        assert!(seen.runs.len() > 2);
        assert_eq!(seen.older_than(1_000), 0);
        assert_eq!(tables.restart().older_than(1_000), 0);
        assert!(seen.older_than(2_000) > 0);
    }

    #[test]
    fn a_filter_lets_few_pass_that_are_not_there() {
        let mut sorted: Vec<Hash> = (0..100_000).map(spread).collect();
        sorted.sort_unstable();
        let index = Index::new(&sorted, Sizes::default());
        assert!(sorted.iter().all(|hash| index.may_contain(*hash)));
        let passed = (100_000..1_100_000).filter(|n| index.may_contain(spread(*n))).count();
        assert!(passed < 500, "{passed} of a million");
    }
}
