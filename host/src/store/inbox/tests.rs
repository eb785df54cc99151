//! The tables and the memory together, in a database in memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use sagabox_engine::model::{Event, Hops, Origin, Timestamp};

use super::super::migrations::MIGRATIONS;
use super::*;

/// A bucket is 2 hashes, a filter 512 bytes, and eight of those fit the memory for filters.
const SMALL: Sizes =
    Sizes { generation: 8, bucket: 2, group: 2, fan_in: 2, filter_bytes_max: 8 * 512 };

struct World {
    sizes: Sizes,
    connection: Connection,
    seen: Seen,
    next_position: u64,
}

impl World {
    fn new(sizes: Sizes) -> Self {
        let connection = Connection::open_in_memory().unwrap();
        for migration in MIGRATIONS {
            connection.execute_batch(migration).unwrap();
        }
        let seen = load(&connection, sizes).unwrap();
        Self { sizes, connection, seen, next_position: 1 }
    }

    fn appends(&self, ids: &[u64]) -> Vec<Append> {
        let event = |id: &u64| Event {
            id: id.to_string(),
            source: "/tests".to_owned(),
            event_type: "happened".to_owned(),
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: Vec::new(),
            data: Bytes::new(),
        };
        (self.next_position..)
            .zip(ids)
            .map(|(position, id)| Append {
                position: Position(position),
                received_at: Timestamp(0),
                event: Arc::new(event(id)),
                hops: Hops::OUTSIDE,
                fires: None,
                redriven: false,
            })
            .collect()
    }

    /// The ids that are duplicates. What is new is added, if the commit succeeds.
    fn commit(&mut self, ids: &[u64], succeeds: bool) -> BTreeSet<u64> {
        let appends = self.appends(ids);
        self.connection.execute_batch("BEGIN").unwrap();
        let looked = look_up(&self.connection, &self.seen, &appends).unwrap();
        let done = write(&self.connection, &self.seen, &looked.added).unwrap();
        let first = self.next_position;
        let id_at = |position: &Position| ids[usize::try_from(position.0 - first).unwrap()];
        let duplicates = looked.duplicates.iter().map(id_at).collect();
        if succeeds {
            self.connection.execute_batch("COMMIT").unwrap();
            let added: Vec<Hash> = looked.added.into_iter().map(|(_, hash)| hash).collect();
            self.seen.apply(added.into_iter(), done);
            self.next_position += ids.len() as u64 + 1;
        } else {
            self.connection.execute_batch("ROLLBACK").unwrap();
        }
        self.check();
        duplicates
    }

    /// What was added by the first so many commits, of one event each.
    fn forget(&mut self, commits: u64) -> usize {
        let position = Position(2 * commits);
        let forgotten = forget(&self.connection, &self.seen, position, 3).unwrap();
        self.seen.forget(&forgotten.runs, forgotten.cleared);
        self.check();
        forgotten.rows
    }

    fn restart(&mut self) {
        self.seen = load(&self.connection, self.sizes).unwrap();
        self.check();
    }

    fn knows(&self, id: u64) -> bool {
        let looked = look_up(&self.connection, &self.seen, &self.appends(&[id])).unwrap();
        looked.added.is_empty()
    }

    fn count(&self, table: &str) -> usize {
        let sql = format!("SELECT count(*) FROM {table}");
        let count: i64 = self.connection.query_row(&sql, (), |row| row.get(0)).unwrap();
        usize::try_from(count).unwrap()
    }

    /// What holds after every commit.
    fn check(&self) {
        let bytes = self.seen.filter_bytes();
        assert!(bytes <= self.sizes.filter_bytes_max, "{bytes} bytes of filters");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    Restart,
    Refused,
}

proptest! {
    #[test]
    fn exactly_what_was_added_is_known_over_batches_refusals_and_restarts(
        batches in prop::collection::vec(
            (
                prop::collection::vec(0..300_u64, 0..20),
                prop_oneof![3 => Just(Then::GoOn), 1 => Just(Then::Restart), 1 => Just(Then::Refused)],
            ),
            1..60,
        ),
        fan_in in 2..5_usize,
    ) {
        let mut world = World::new(Sizes { fan_in, ..SMALL });
        let mut known = BTreeSet::new();
        for (ids, then) in batches {
            let duplicates: BTreeSet<u64> = {
                let mut before = known.clone();
                ids.iter().copied().filter(|id| !before.insert(*id)).collect()
            };
            prop_assert_eq!(world.commit(&ids, then != Then::Refused), duplicates);
            if then != Then::Refused {
                known.extend(ids);
            }
            if then == Then::Restart {
                world.restart();
            }
        }
        for id in 0..300 {
            prop_assert_eq!(world.knows(id), known.contains(&id), "{}", id);
        }
    }

    /// An identity is young for 60 commits.
    #[test]
    fn the_young_are_known_whatever_is_forgotten_and_when_it_restarts(
        steps in prop::collection::vec((any::<bool>(), any::<bool>()), 100..200),
    ) {
        const YOUNG: u64 = 60;
        let mut world = World::new(SMALL);
        for (id, (forgets, restarts)) in (1_u64..).zip(&steps) {
            world.commit(&[id], true);
            if *forgets {
                world.forget(id.saturating_sub(YOUNG + 1));
            }
            if *restarts {
                world.restart();
            }
            let young = id.saturating_sub(YOUNG).max(1)..=id;
            for young in young.step_by(7).chain([id]) {
                prop_assert!(world.knows(young), "{} after {}", young, id);
            }
        }
    }
}

/// One event with each commit, and a restart between any two of them in turn.
#[test]
fn restarts_keep_no_work_from_being_done() {
    for restart_every in [1, 3, 7, 1_000] {
        let mut world = World::new(SMALL);
        for id in 1..=500 {
            world.commit(&[id], true);
            if id.is_multiple_of(restart_every) {
                world.restart();
            }
            assert!(world.count("seen") <= 3 * SMALL.generation, "after {id}");
            let runs = world.count("seen_run_heads");
            assert!(runs <= 20, "{runs} runs after {id}, restarts every {restart_every}");
        }
        assert!((1..=500).all(|id| world.knows(id)));
        assert!(!world.knows(501));
    }
}

/// Hashes lie in one run at a time: a merge takes no more room than its inputs.
#[test]
fn a_merge_moves_hashes() {
    let mut world = World::new(SMALL);
    for id in 1..=600 {
        world.commit(&[id], true);
        let sql = "SELECT coalesce(sum(length(hashes)), 0) FROM seen_buckets";
        let bytes: i64 = world.connection.query_row(sql, (), |row| row.get(0)).unwrap();
        // Buckets of the inputs that lie across the frontier of a merge are there twice.
        assert!(bytes <= 16 * (id.cast_signed() + 64), "{bytes} bytes of {id} hashes");
    }
}

#[test]
fn what_is_forgotten_leaves_no_row() {
    let mut world = World::new(SMALL);
    for id in 1..=300 {
        world.commit(&[id], true);
    }
    while world.forget(279) > 0 {
        world.restart();
    }
    assert!(!world.knows(1));
    assert!((280..=300).all(|id| world.knows(id)));
    // In the end all of it goes, also what was being merged.
    for id in 301..=320 {
        world.commit(&[id], true);
    }
    while world.forget(300) > 0 {}
    assert!(world.count("seen_buckets") <= 20, "{}", world.count("seen_buckets"));
    assert!(world.count("seen_filters") <= 10, "{}", world.count("seen_filters"));
    assert!((301..=320).all(|id| world.knows(id)));
}

/// What an event costs, in the units that take the time: runs whose filters are asked, buckets
/// that are read for what filters let pass, and buckets that are written.
#[test]
fn an_event_costs_little_more_at_a_thousand_generations_than_at_ten() {
    const GENERATION: u64 = 64;
    let sizes = Sizes {
        generation: usize::try_from(GENERATION).unwrap(),
        bucket: 8,
        group: 8,
        fan_in: 4,
        filter_bytes_max: 4 << 20,
    };
    let mut world = World::new(sizes);
    let mut costs = Vec::new();
    for (from, to) in [(0, 10), (10, 500), (500, 1_000)] {
        let (mut asked, mut read, mut written, mut commits) = (0, 0, 0, 0);
        for first in (from * GENERATION..to * GENERATION).step_by(32) {
            let ids: Vec<u64> = (first..first + 32).collect();
            let hashes: Vec<Hash> = world
                .appends(&ids)
                .iter()
                .map(|append| event_identity(Origin::Outside, &append.event))
                .collect();
            asked += world.seen.runs_asked();
            read += world.seen.look_up(&hashes).perhaps.len();
            let buckets = world.seen.tasks(ids.len()).into_iter().map(|task| match task {
                Task::Write(write) => write.buckets.end - write.buckets.start,
                _ => 0,
            });
            written += buckets.sum::<u64>();
            commits += 1;
            assert_eq!(world.commit(&ids, true), BTreeSet::new());
        }
        let events = (to - from) * GENERATION;
        costs.push(
            [asked * 32, read * 1_000, 8 * usize::try_from(written).unwrap()]
                .map(|n| n / commits / 32),
        );
        let [asked, ..] = costs[costs.len() - 1];
        assert!(asked <= 20, "{asked} runs asked, on average over {events} events: {costs:?}");
    }
    let [_, _, late] = costs[..] else { unreachable!() };
    let [_, read, written] = late;
    assert!(read <= 30, "of 1,000 events {read} read a bucket: {costs:?}");
    assert!(written <= 8, "each hash is written {written} times: {costs:?}");
}
