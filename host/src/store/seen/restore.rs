//! Restores what was seen from the rows of the store: runs, builds, filters, and the live generation.

use std::ops::Range;

use sagabox_engine::pure::filter::Filter;

use super::generation::Generation;
use super::{Hash, Head, Seen, Source};

impl Seen {
    /// The runs are given oldest first.
    pub(crate) fn restore_run(&mut self, head: Head) {
        self.restored(&head);
        let run = self.run(head);
        self.runs.push(run);
    }

    /// A run of which not all is written. The same hashes in the same order are written on.
    pub(crate) fn restore_build(&mut self, head: Head, written: u64, frozen: Option<Vec<Hash>>) {
        self.restored(&head);
        let source = match frozen {
            Some(hashes) => {
                let mut generation = Generation::default();
                generation.extend(hashes);
                Source::Frozen(generation)
            }
            None => Source::Runs,
        };
        self.begin(head, source);
        if let Some(build) = self.builds.last_mut() {
            build.written = written;
        }
    }

    fn restored(&mut self, head: &Head) {
        self.next_run = self.next_run.max(head.number + 1);
    }

    pub(crate) fn restore_filter(&mut self, number: i64, group: u64, filter: Filter) {
        if let Some(build) = self.builds.iter_mut().find(|b| b.run.head.number == number) {
            build.run.restore_filter(group, filter);
            build.saved = build.saved.max(group + 1);
        } else if let Some(run) = self.runs.iter_mut().find(|run| run.head.number == number) {
            run.restore_filter(group, filter);
        }
        self.fit();
    }

    /// The groups whose filters are not stored, by run, with the rows of their buckets.
    pub(crate) fn without_filter(&self) -> Vec<(i64, u64, Range<i64>)> {
        let complete = self.runs.iter().map(|run| {
            let frontier = run.head.merged_into.map_or(0, |output| self.frontier(output));
            (run, run.groups_within(run.bucket_at(frontier)), run.buckets())
        });
        let written = self.builds.iter().map(|build| (&build.run, build.saved, build.written));
        let missing = complete.chain(written).flat_map(|(run, first, written)| {
            (first..run.groups()).filter_map(move |group| {
                let buckets = run.buckets_of(group);
                let end = buckets.end.min(written);
                let is_missing = run.filter(group).is_none() && buckets.start < end;
                is_missing.then(|| (run.head.number, group, run.row(buckets.start)..run.row(end)))
            })
        });
        missing.collect()
    }

    /// Makes the filter of a group of its hashes. Returns the row to store, if all of the
    /// group's buckets are written.
    pub(crate) fn make_filter(
        &mut self,
        number: i64,
        group: u64,
        hashes: &[Hash],
    ) -> Option<(i64, Vec<u8>)> {
        let row = if let Some(build) =
            self.builds.iter_mut().find(|build| build.run.head.number == number)
        {
            build.run.insert(&build.run.buckets_of(group), hashes);
            let is_full = group < build.run.groups_within(build.written);
            build.saved += u64::from(is_full && build.saved == group);
            is_full.then(|| build.run.filter_row(group)).flatten()
        } else {
            let run = self.runs.iter_mut().find(|run| run.head.number == number)?;
            run.insert(&run.buckets_of(group), hashes);
            run.filter_row(group)
        };
        self.fit();
        row
    }

    /// Rows up to this position are in runs, and were not all removed yet.
    pub(crate) fn restore_trim(&mut self, until: u64) {
        self.trim = Some(until);
    }

    pub(crate) fn restore_live(&mut self, hashes: impl IntoIterator<Item = Hash>) {
        self.live.extend(hashes);
    }

    /// A run that has rows, and was forgotten.
    pub(crate) fn restore_garbage(&mut self, number: i64) {
        self.next_run = self.next_run.max(number + 1);
        self.garbage.push(number);
    }
}
