//! Pure: which 128-bit identities were seen before, exactly, at a cost per event that hardly
//! grows with their number.
//!
//! One index over random hashes dirties a page of its own for every event as soon as it has
//! outgrown the cache. So the newest hashes, the live generation, are kept in memory and
//! appended to a table in the order in which they come. A full generation is frozen: it is
//! written as a *run*, in the order of the hashes, a few pages with each commit. Four runs of
//! one level are merged into one of the next level, again a few pages with each commit. So the
//! number of runs grows with the logarithm of the number of hashes, and a hash is written once
//! for each level.
//!
//! A run answers "certainly not" from filters in memory; only for what they cannot exclude one
//! bucket is read. The memory of all filters is bounded: beyond the bound those of the largest
//! runs are halved, and let more hashes pass.
//!
//! A merge moves hashes from its inputs to its output, from the lowest hash to the highest: up
//! to its frontier the output has them, from there on the inputs. So each commit leaves all
//! hashes in exactly one run.
//!
//! This module knows no SQL; `inbox.rs` keeps its tables. It changes nothing before the commit
//! that wrote the change has succeeded: see [`Seen::apply`].

mod generation;
mod restore;
mod run;

use std::ops::Range;

use generation::Generation;
pub(super) use run::{Head, Run, first_row, run_of};

/// The first half of SHA-256 over an event's origin, source and id.
pub(super) type Hash = u128;
/// The upper half of a hash says where it lies. As many bits again, so that the end of all
/// places is one.
pub(super) type Place = u128;

const HASH_BYTES: usize = size_of::<Hash>();
const PLACES: Place = 1 << 64;
/// Freezing goes on this many times faster than the live generation grows: it has
/// ended when that is a third full, and the rows it replaces are gone before it is full.
const FREEZE_PACE: usize = 3;
/// A merge must end before four more runs of its level are there. It ends in half that time.
const MERGE_PACE: usize = 2;
/// Buckets that are written at once, so that few buckets of the inputs are read twice.
const STEP_BUCKETS: usize = 4;
/// Bits of a filter for each hash: 16 let one in a thousand pass that is not there.
const FILTER_BITS: [usize; 4] = [16, 8, 4, 2];
/// A run whose filters take less than this part of all memory for filters gets the most bits.
const SMALL_RUN: usize = 16;

/// Parameters, so that tests can be small.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Hashes of a generation. In memory, live and frozen, it takes 10 MB; a start reads as
    /// many rows, in a fraction of a second.
    pub generation: usize,
    /// Hashes of a bucket on average. A page of the database has room for 508; so many that
    /// one bucket in a hundred needs a second page.
    pub bucket: usize,
    /// Buckets that share a filter. It is the unit in which filters are stored, halved and freed.
    pub group: u64,
    /// Runs that are merged into one.
    pub fan_in: usize,
    /// What all filters may take of memory: 16 bits for each of 134 million hashes.
    pub filter_bytes_max: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { generation: 200_000, bucket: 460, group: 64, fan_in: 4, filter_bytes_max: 256 << 20 }
    }
}

#[derive(Debug)]
pub(super) struct Seen {
    sizes: Sizes,
    live: Generation,
    /// Those that are complete, oldest first.
    runs: Vec<Run>,
    /// Runs that are being written: one from the frozen generation, and one for each level.
    builds: Vec<Build>,
    /// Rows up to this position are in runs, and still to be removed from the table.
    trim: Option<u64>,
    /// Runs that are forgotten, and still have rows.
    garbage: Vec<i64>,
    next_run: i64,
}

/// A run that is being written.
#[derive(Debug)]
struct Build {
    run: Run,
    source: Source,
    /// Buckets that are written.
    written: u64,
    /// Groups whose filters are written.
    saved: u64,
    /// Hashes that may be written before it is faster than it needs to be.
    credit: usize,
}

#[derive(Debug)]
enum Source {
    Frozen(Generation),
    /// The runs that are merged into it.
    Runs,
}

/// Which of some hashes were seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// For each hash: whether it certainly was.
    pub seen: Vec<bool>,
    /// Rows of buckets, each with the index of a hash: it was seen if the bucket has it.
    pub perhaps: Vec<(i64, usize)>,
}

/// What a commit does besides adding its hashes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// The live generation, with this commit's hashes, becomes this run.
    Freeze(i64),
    /// These runs begin to be merged into a new one.
    Merge {
        output: Head,
        inputs: Vec<i64>,
    },
    Write(Write),
    /// So many rows up to a position are removed.
    Trim {
        until: u64,
        rows: usize,
    },
}

/// The next part of a run that is being written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub run: i64,
    pub buckets: Range<u64>,
    /// Groups whose filters are written: their buckets were written before.
    pub filters: Range<u64>,
    /// With this, all of the run is written.
    pub completes: bool,
}

/// What became of a task, to be applied once it is committed.
#[derive(Debug)]
pub(super) enum Done {
    Frozen(Head),
    Merging { output: Head, inputs: Vec<i64> },
    Written { write: Write, hashes: Vec<Hash> },
    Trimmed { all: bool },
}

/// Rows of one run, by their numbers.
pub(super) struct Rows {
    pub buckets: Range<i64>,
    pub filters: Range<i64>,
}

impl Seen {
    pub(crate) fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            live: Generation::default(),
            runs: Vec::new(),
            builds: Vec::new(),
            trim: None,
            garbage: Vec::new(),
            next_run: 1,
        }
    }

    pub(crate) fn look_up(&self, hashes: &[Hash]) -> Looked {
        let known = |hash: &Hash| self.live.contains(*hash) || self.is_frozen(*hash);
        let mut looked = Looked { seen: hashes.iter().map(known).collect(), perhaps: Vec::new() };
        // Run by run: one filter's memory is asked for all hashes at once.
        for run in &self.runs {
            let frontier = run.head.merged_into.map_or(0, |output| self.frontier(output));
            look_in(run, frontier..PLACES, hashes, &mut looked.perhaps);
        }
        for build in self.builds.iter().filter(|build| matches!(build.source, Source::Runs)) {
            look_in(&build.run, 0..build.frontier(), hashes, &mut looked.perhaps);
        }
        looked.perhaps.retain(|(_, index)| !looked.seen[*index]);
        looked
    }

    fn is_frozen(&self, hash: Hash) -> bool {
        self.builds.iter().any(|build| match &build.source {
            Source::Frozen(generation) => generation.contains(hash),
            Source::Runs => false,
        })
    }

    fn frontier(&self, output: i64) -> Place {
        self.builds.iter().find(|build| build.run.head.number == output).map_or(0, Build::frontier)
    }

    /// What a commit that adds so many hashes does besides. In proportion to them, so that no
    /// commit takes long.
    pub(crate) fn tasks(&self, added: usize) -> Vec<Task> {
        if added == 0 {
            return Vec::new();
        }
        let mut tasks: Vec<Task> =
            self.builds.iter().filter_map(|build| build.next(added, self.sizes)).collect();
        let is_freezing = self.builds.iter().any(Build::is_frozen);
        if let Some(until) = self.trim.filter(|_| !is_freezing) {
            tasks.push(Task::Trim { until, rows: added * FREEZE_PACE });
        } else if !is_freezing && self.live.len() + added >= self.sizes.generation {
            tasks.push(Task::Freeze(self.next_run));
        }
        let freezes = matches!(tasks.last(), Some(Task::Freeze(_)));
        let mut number = self.next_run + i64::from(freezes);
        let highest = self.runs.iter().map(|run| run.head.level).max();
        for level in highest.map(|highest| 0..=highest).into_iter().flatten() {
            if let Some(merge) = self.merge(level, number) {
                tasks.push(merge);
                number += 1;
            }
        }
        tasks
    }

    /// The oldest runs of a level, if there are enough and none of it are being merged.
    fn merge(&self, level: u32, number: i64) -> Option<Task> {
        if self.builds.iter().any(|build| build.run.head.level == level + 1) {
            return None;
        }
        let heads = self.runs.iter().map(|run| run.head).filter(|head| head.level == level);
        let inputs: Vec<Head> = heads.take(self.sizes.fan_in).collect();
        if inputs.len() < self.sizes.fan_in {
            return None;
        }
        let output = Head {
            number,
            level: level + 1,
            hashes: inputs.iter().map(|head| head.hashes).sum(),
            last_position: inputs.iter().map(|head| head.last_position).max()?,
            merged_into: None,
        };
        Some(Task::Merge { output, inputs: inputs.iter().map(|head| head.number).collect() })
    }

    /// The head of the run that the live generation becomes with a commit.
    pub(crate) fn frozen_head(&self, run: i64, added: usize, last_position: u64) -> Head {
        Head {
            number: run,
            level: 0,
            hashes: (self.live.len() + added) as u64,
            last_position,
            merged_into: None,
        }
    }

    /// The hashes for some buckets of a run that is being written, if they are in memory.
    pub(crate) fn frozen_hashes(&self, write: &Write) -> Option<Vec<Hash>> {
        let build = self.build(write.run)?;
        match &build.source {
            Source::Frozen(generation) => {
                Some(generation.sorted(&build.run.places(&write.buckets)))
            }
            Source::Runs => None,
        }
    }

    /// Where the hashes for some buckets are, if they are in runs. The rows may have others.
    pub(crate) fn inputs(&self, write: &Write) -> Vec<Range<i64>> {
        let Some(build) = self.build(write.run) else { return Vec::new() };
        if write.buckets.is_empty() {
            return Vec::new();
        }
        let places = build.run.places(&write.buckets);
        let rows = |run: &Run| {
            let buckets = run.buckets_at(&places);
            run.row(buckets.start)..run.row(buckets.end)
        };
        self.inputs_of(write.run).map(rows).collect()
    }

    /// Of the hashes in these rows, those that belong into the buckets, ascending.
    pub(crate) fn only(&self, write: &Write, hashes: &mut Vec<Hash>) {
        let Some(build) = self.build(write.run) else { return };
        let places = build.run.places(&write.buckets);
        hashes.retain(|hash| places.contains(&place_of(*hash)));
        hashes.sort_unstable();
    }

    /// The rows of the inputs that are not needed once these buckets are written.
    pub(crate) fn outdated(&self, write: &Write) -> Vec<Rows> {
        let Some(build) = self.build(write.run) else { return Vec::new() };
        let places = build.run.places(&write.buckets);
        let rows = |run: &Run| {
            let [from, to] = [places.start, places.end].map(|place| run.bucket_at(place));
            let [first, last] = [from, to].map(|bucket| run.groups_within(bucket));
            let (buckets, filters) = (run.row(from)..run.row(to), run.row(first)..run.row(last));
            Rows { buckets, filters }
        };
        self.inputs_of(write.run).map(rows).collect()
    }

    /// The rows to write: these hashes, ascending, each in its bucket.
    pub(crate) fn buckets(&self, write: &Write, hashes: &[Hash]) -> Vec<(i64, Vec<u8>)> {
        let Some(build) = self.build(write.run) else { return Vec::new() };
        let mut rest = hashes;
        let bucket = |bucket: u64| {
            let count = rest.partition_point(|hash| build.run.bucket_of(*hash) <= bucket);
            let (own, others) = rest.split_at(count);
            rest = others;
            (build.run.row(bucket), own.iter().flat_map(|hash| hash.to_be_bytes()).collect())
        };
        write.buckets.clone().map(bucket).collect()
    }

    /// The rows to write with the filters of groups that are full.
    pub(crate) fn filters(&self, write: &Write) -> Vec<(i64, Vec<u8>)> {
        let Some(build) = self.build(write.run) else { return Vec::new() };
        write.filters.clone().filter_map(|group| build.run.filter_row(group)).collect()
    }

    /// The commit has succeeded: these hashes were added, the newest received at this
    /// time, and this was done.
    pub(crate) fn apply(&mut self, added: impl ExactSizeIterator<Item = Hash>, done: Vec<Done>) {
        for build in &mut self.builds {
            build.credit += added.len() * build.pace();
        }
        self.live.extend(added);
        for done in done {
            match done {
                Done::Frozen(head) => {
                    let generation = std::mem::take(&mut self.live);
                    self.begin(head, Source::Frozen(generation));
                }
                Done::Merging { output, inputs } => {
                    let is_input = |run: &&mut Run| inputs.contains(&run.head.number);
                    for run in self.runs.iter_mut().filter(is_input) {
                        run.head.merged_into = Some(output.number);
                    }
                    self.begin(output, Source::Runs);
                }
                Done::Written { write, hashes } => self.written(&write, &hashes),
                Done::Trimmed { all: true } => self.trim = None,
                Done::Trimmed { all: false } => {}
            }
        }
        self.fit();
    }

    fn begin(&mut self, head: Head, source: Source) {
        self.next_run = self.next_run.max(head.number + 1);
        let run = self.run(head);
        let credit = STEP_BUCKETS * self.sizes.bucket;
        self.builds.push(Build { run, source, written: 0, saved: 0, credit });
    }

    fn run(&self, head: Head) -> Run {
        Run::new(head, self.sizes, self.filter_bits(head.hashes))
    }

    /// So many that the filters of all runs would fit, or most of all if this one is small.
    fn filter_bits(&self, hashes: u64) -> usize {
        let all = self.all().map(|run| run.head.hashes).sum::<u64>() + hashes;
        let bytes = |hashes: u64, bits: usize| {
            usize::try_from(hashes).unwrap_or(usize::MAX).saturating_mul(bits) / 8
        };
        let max = self.sizes.filter_bytes_max;
        let fits = |bits: &&usize| bytes(all, **bits) <= max;
        let [most, .., least] = FILTER_BITS;
        match bytes(hashes, most) <= max / SMALL_RUN {
            true => most,
            false => FILTER_BITS.iter().find(fits).copied().unwrap_or(least),
        }
    }

    fn written(&mut self, write: &Write, hashes: &[Hash]) {
        let is_it = |build: &Build| build.run.head.number == write.run;
        let Some(at) = self.builds.iter().position(is_it) else { return };
        let build = &mut self.builds[at];
        build.run.insert(&write.buckets, hashes);
        build.written = write.buckets.end;
        build.saved = write.filters.end;
        let count = usize::try_from(write.buckets.end - write.buckets.start).unwrap_or(0);
        build.credit = build.credit.saturating_sub(count * self.sizes.bucket);
        let frontier = build.frontier();
        for run in self.runs.iter_mut().filter(|run| run.head.merged_into == Some(write.run)) {
            run.drop_filters(run.groups_within(run.bucket_at(frontier)));
        }
        if write.completes {
            let Build { run, source, .. } = self.builds.remove(at);
            self.complete(run, &source);
        }
    }

    fn complete(&mut self, run: Run, source: &Source) {
        let number = run.head.number;
        if matches!(source, Source::Frozen(_)) {
            self.trim = Some(run.head.last_position);
            return self.runs.push(run);
        }
        let is_input = |run: &Run| run.head.merged_into == Some(number);
        let oldest = self.runs.iter().position(is_input).unwrap_or(0);
        self.runs.retain(|run| !is_input(run));
        self.runs.insert(oldest, run);
    }

    /// Halves filters until all fit their memory.
    fn fit(&mut self) {
        let mut bytes: usize = self.all().map(Run::filter_bytes).sum();
        while bytes > self.sizes.filter_bytes_max {
            let builds = self.builds.iter_mut().map(|build| &mut build.run);
            let largest = self.runs.iter_mut().chain(builds).max_by_key(|run| run.filter_bytes());
            let Some(largest) = largest else { return };
            bytes -= largest.filter_bytes();
            largest.fold();
            bytes += largest.filter_bytes();
        }
    }

    /// What all filters take of memory.
    #[cfg(test)]
    pub(crate) fn filter_bytes(&self) -> usize {
        self.all().map(Run::filter_bytes).sum()
    }

    /// How many runs are asked for a hash, at most.
    #[cfg(test)]
    pub(crate) fn runs_asked(&self) -> usize {
        self.all().count()
    }

    fn all(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().chain(self.builds.iter().map(|build| &build.run))
    }

    fn build(&self, run: i64) -> Option<&Build> {
        self.builds.iter().find(|build| build.run.head.number == run)
    }

    fn inputs_of(&self, output: i64) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.head.merged_into == Some(output))
    }
}

/// Forgetting what is too old.
impl Seen {
    /// The oldest runs that have nothing after this position. Those that are merged go
    /// together, with what they are merged into.
    pub(crate) fn up_to(&self, position: u64) -> Vec<i64> {
        let last = |run: &Run| match run.head.merged_into {
            None => run.head.last_position,
            Some(output) => {
                self.build(output).map_or(u64::MAX, |build| build.run.head.last_position)
            }
        };
        let old = self.runs.iter().take_while(|run| last(run) <= position);
        let mut numbers: Vec<i64> =
            old.flat_map(|run| [Some(run.head.number), run.head.merged_into]).flatten().collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Runs that are forgotten, and still have rows.
    pub(crate) fn garbage(&self) -> &[i64] {
        &self.garbage
    }

    /// The commit has succeeded that forgot these runs, and removed the last rows of so many
    /// of those that are forgotten, in their order.
    pub(crate) fn forget(&mut self, runs: &[i64], cleared: usize) {
        self.runs.retain(|run| !runs.contains(&run.head.number));
        self.builds.retain(|build| !runs.contains(&build.run.head.number));
        self.garbage.extend_from_slice(runs);
        self.garbage.drain(..cleared);
    }
}

impl Build {
    fn is_frozen(&self) -> bool {
        matches!(self.source, Source::Frozen(_))
    }

    fn pace(&self) -> usize {
        if self.is_frozen() { FREEZE_PACE } else { MERGE_PACE }
    }

    /// Hashes before this place are in the run.
    fn frontier(&self) -> Place {
        self.run.places(&(0..self.written)).end
    }

    fn next(&self, added: usize, sizes: Sizes) -> Option<Task> {
        let left = self.run.buckets() - self.written;
        let due = (self.credit + added * self.pace()) / sizes.bucket;
        let due = if due >= STEP_BUCKETS { due as u64 } else { 0 };
        let buckets = self.written..self.written + due.min(left);
        let filters = self.saved..self.run.groups_within(self.written);
        let completes = left == 0;
        if buckets.is_empty() && filters.is_empty() && !completes {
            return None;
        }
        Some(Task::Write(Write { run: self.run.head.number, buckets, filters, completes }))
    }
}

/// Asks a run's filters for all hashes that lie between two places.
fn look_in(run: &Run, places: Range<Place>, hashes: &[Hash], perhaps: &mut Vec<(i64, usize)>) {
    for (index, &hash) in hashes.iter().enumerate() {
        if places.contains(&place_of(hash)) && run.may_contain(hash) {
            perhaps.push((run.row(run.bucket_of(hash)), index));
        }
    }
}

fn place_of(hash: Hash) -> Place {
    hash >> 64
}

/// None if these bytes are no whole hashes.
pub(super) fn hashes_of(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    rest.is_empty().then(|| hashes.iter().map(|bytes| Hash::from_be_bytes(*bytes)).collect())
}

/// Whether a bucket, as it is stored, has the hash.
pub(super) fn contains(bucket: &[u8], hash: Hash) -> bool {
    bucket.as_chunks::<HASH_BYTES>().0.binary_search(&hash.to_be_bytes()).is_ok()
}
