//! Pairs expected rows with found ones, so that as few as possible stay alone.
//!
//! An expected row may leave members out, so it may fit several found rows, and a found row several
//! expected ones. To give each the first that fits is not enough: one that says little may take the
//! only row that fits one that says more. So an expectation that finds nothing left looks for a chain of rows
//! that can be exchanged (augmenting paths in a bipartite graph).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::expect::{Expectation, differing, names, values};
use super::rows::KIND;
use crate::decisions::json::Json;

pub(super) struct Matching<'e> {
    expected: &'e [Expectation],
    /// What was found of the kinds that are expected. None if it is taken as one that differs.
    rows: Vec<Option<Json>>,
    /// Rows that have the same values of the names that some expectation has. Only these are
    /// compared with it.
    buckets: Vec<Bucket>,
    /// Of each expectation; none if no row has its values.
    bucket_of: Vec<Option<usize>>,
    row_of: Vec<Option<usize>>,
    /// Of each row, the expectation that it is paired with.
    expectation_of: Vec<Option<usize>>,
}

#[derive(Default)]
struct Bucket {
    rows: Vec<usize>,
    /// All rows before this place are taken. Rows are mostly met in their order.
    first_free: usize,
}

/// What searches for exchanges have seen. What a search without success has seen leads no later
/// search to a free row.
struct Seen {
    rows: Vec<bool>,
    /// Of each bucket, the rows that no search has seen; none: not yet computed.
    unseen: HashMap<usize, Vec<usize>>,
}

impl<'e> Matching<'e> {
    pub(super) fn of(expected: &'e [Expectation], found: impl Iterator<Item = Json>) -> Self {
        let kind = |row: &Json| row[KIND].as_str().unwrap_or_default().to_owned();
        let kinds: BTreeSet<String> = expected.iter().map(|one| kind(&one.row)).collect();
        let rows: Vec<Json> = found.filter(|row| kinds.contains(&kind(row))).collect();
        let mut buckets: Vec<Bucket> = Vec::new();
        let mut indexes: BTreeMap<Vec<&'static str>, HashMap<String, usize>> = BTreeMap::new();
        for expectation in expected {
            indexes.entry(names(&expectation.row)).or_default();
        }
        for (names, index) in &mut indexes {
            for (place, row) in rows.iter().enumerate() {
                let bucket = *index.entry(values(row, names)).or_insert_with(|| {
                    buckets.push(Bucket::default());
                    buckets.len() - 1
                });
                buckets[bucket].rows.push(place);
            }
        }
        let bucket_of = expected.iter().map(|expectation| {
            let names = names(&expectation.row);
            indexes[&names].get(&values(&expectation.row, &names)).copied()
        });
        Self {
            expected,
            bucket_of: bucket_of.collect(),
            row_of: vec![None; expected.len()],
            expectation_of: vec![None; rows.len()],
            rows: rows.into_iter().map(Some).collect(),
            buckets,
        }
    }

    /// Gives as many expectations as possible a row of their own that fits. Returns the others, in
    /// their order.
    pub(super) fn pair(&mut self) -> Vec<usize> {
        // First those that say more: they have less to choose from.
        let mut order: Vec<usize> = (0..self.expected.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(members(&self.expected[*index].row)));
        order.retain(|index| !self.pair_with_free(*index));
        let mut seen = Seen { rows: vec![false; self.rows.len()], unseen: HashMap::new() };
        order.retain(|index| !self.pair_by_exchange(*index, &mut seen));
        order.sort_unstable();
        order
    }

    /// Takes the first free row that is about the same.
    pub(super) fn take_alike(&mut self, expectation: usize) -> Option<Json> {
        let row = self.first_free(self.bucket_of[expectation]?, |_| true)?;
        self.rows[row].take()
    }

    /// What is left.
    pub(super) fn rest(self) -> impl Iterator<Item = Json> {
        let free = self.rows.into_iter().zip(self.expectation_of);
        free.filter_map(|(row, expectation)| row.filter(|_| expectation.is_none()))
    }

    fn pair_with_free(&mut self, expectation: usize) -> bool {
        let Some(bucket) = self.bucket_of[expectation] else { return false };
        let expected = &self.expected[expectation].row;
        let row = self.first_free(bucket, |row| differing(expected, row).is_empty());
        if let Some(row) = row {
            self.join(expectation, row);
        }
        row.is_some()
    }

    /// Breadth first, from an expectation to the rows that fit it, and from a row that is paired to
    /// its expectation, until a row is free.
    fn pair_by_exchange(&mut self, start: usize, seen: &mut Seen) -> bool {
        // Of each row that was seen, the expectation from which.
        let mut from: HashMap<usize, usize> = HashMap::new();
        let mut open = VecDeque::from([start]);
        while let Some(expectation) = open.pop_front() {
            let Some(bucket) = self.bucket_of[expectation] else { continue };
            for row in seen.take_fitting(self, expectation, bucket) {
                from.insert(row, expectation);
                match self.expectation_of[row] {
                    Some(paired) => open.push_back(paired),
                    None => {
                        self.exchange(row, &from);
                        seen.forget(from.keys());
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Along the way that led to a free row, each expectation takes the row that it led to. The
    /// first had none.
    fn exchange(&mut self, mut row: usize, from: &HashMap<usize, usize>) {
        loop {
            let expectation = from[&row];
            let before = self.row_of[expectation];
            self.join(expectation, row);
            let Some(before) = before else { return };
            row = before;
        }
    }

    fn join(&mut self, expectation: usize, row: usize) {
        self.row_of[expectation] = Some(row);
        self.expectation_of[row] = Some(expectation);
    }

    fn first_free(&mut self, bucket: usize, is_it: impl Fn(&Json) -> bool) -> Option<usize> {
        let Bucket { rows, first_free } = &mut self.buckets[bucket];
        let (all, paired) = (&self.rows, &self.expectation_of);
        let free = |row: &usize| all[*row].as_ref().filter(|_| paired[*row].is_none());
        while rows.get(*first_free).is_some_and(|row| free(row).is_none()) {
            *first_free += 1;
        }
        rows[*first_free..].iter().copied().find(|row| free(row).is_some_and(&is_it))
    }

    fn fits(&self, expectation: usize, row: usize) -> bool {
        let expected = &self.expected[expectation].row;
        self.rows[row].as_ref().is_some_and(|row| differing(expected, row).is_empty())
    }
}

impl Seen {
    /// The rows of the bucket that fit and that no search has seen. They are seen now.
    fn take_fitting(
        &mut self,
        matching: &Matching<'_>,
        expectation: usize,
        bucket: usize,
    ) -> Vec<usize> {
        let Self { rows, unseen } = self;
        let unseen = unseen.entry(bucket).or_insert_with(|| matching.buckets[bucket].rows.clone());
        unseen.retain(|row| !rows[*row]);
        let fitting: Vec<usize> =
            unseen.extract_if(.., |row| matching.fits(expectation, *row)).collect();
        fitting.iter().for_each(|row| rows[*row] = true);
        fitting
    }

    /// After a success, what was seen may lead to another free row.
    fn forget<'r>(&mut self, seen: impl Iterator<Item = &'r usize>) {
        seen.for_each(|row| self.rows[*row] = false);
        self.unseen.clear();
    }
}

/// How much a row says.
fn members(row: &Json) -> usize {
    let members = row.as_object().into_iter().flatten();
    members.map(|(_, value)| 1 + members_of_object(value)).sum()
}

fn members_of_object(value: &Json) -> usize {
    value.as_object().map_or(0, |_| members(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decisions::json::json;

    /// As many pairs as there can be, by trying all.
    fn most_pairs(expected: &[Json], free: &[&Json]) -> usize {
        let Some((first, others)) = expected.split_first() else { return 0 };
        let fitting = (0..free.len()).filter(|place| differing(first, free[*place]).is_empty());
        let with = fitting.map(|place| {
            let rest = [&free[..place], &free[place + 1..]].concat();
            1 + most_pairs(others, &rest)
        });
        with.chain([most_pairs(others, free)]).max().unwrap_or_default()
    }

    fn row() -> impl Strategy<Value = Json> {
        (0..2_u8, 0..2_u8, 0..2_u8)
            .prop_map(|(key, at, n)| json!({"kind": "timer", "key": key, "at": at, "n": n}))
    }

    /// A row that leaves out some members.
    fn expectation() -> impl Strategy<Value = Json> {
        (row(), proptest::collection::vec(any::<bool>(), 3)).prop_map(|(row, kept)| {
            let members = ["key", "at", "n"].into_iter().zip(kept).filter(|(_, kept)| *kept);
            let members = members.map(|(name, _)| (name, row[name].clone()));
            Json::object([(KIND, Json::from("timer"))].into_iter().chain(members))
        })
    }

    proptest! {
        #[test]
        fn as_few_as_possible_stay_alone(
            expected in proptest::collection::vec(expectation(), 0..6),
            found in proptest::collection::vec(row(), 0..6),
        ) {
            let expectations: Vec<Expectation> =
                expected.iter().cloned().map(Expectation::of_test).collect();
            let mut matching = Matching::of(&expectations, found.iter().cloned());
            let unmet = matching.pair();
            let pairs = most_pairs(&expected, &found.iter().collect::<Vec<_>>());
            prop_assert_eq!(unmet.len(), expected.len() - pairs);
            prop_assert!(unmet.is_sorted());
            for (expectation, row) in matching.row_of.iter().enumerate() {
                prop_assert_eq!(row.is_none(), unmet.contains(&expectation));
                if let Some(row) = row {
                    prop_assert!(matching.fits(expectation, *row));
                    prop_assert_eq!(matching.expectation_of[*row], Some(expectation));
                }
            }
        }
    }
}
