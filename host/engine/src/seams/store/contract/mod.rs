//! The contract of [`Store`], clause by clause, as tests for every implementation. An
//! implementation's own test calls [`all`] with a way to open its stores.
//!
//! Like the engine, it repeats a commit that was refused, and after an unknown outcome it asks
//! the store what was written. So it also runs on stores that inject faults.

// A macro is visible only in the modules that follow it.
macro_rules! insist {
    ($call:expr) => {{
        let mut tries = 0;
        loop {
            tries += 1;
            match $call.await {
                Ok(answer) => break answer,
                Err(error) => assert!(tries < $crate::seams::store::contract::TRIES_MAX, "{error}"),
            }
        }
    }};
}

mod instances;
mod log;
mod recovery;
mod removal;
mod samples;
mod waiting;

use async_trait::async_trait;

pub use self::samples::*;
use super::{Batch, CommitError, Committed, Page, Store};
use crate::model::Position;

/// A test fails after this many calls without success.
const TRIES_MAX: usize = 1_000;
/// A sink whose cursor counts the batches. It shows whether a commit of unknown outcome was
/// written.
const MARKER: &str = "marker";
const ALL: usize = 1_000;
const EVERYTHING: Page = Page { rows: ALL, bytes: usize::MAX };

/// Opens the stores under test.
#[async_trait]
pub trait Stores: Sync {
    /// Opens the store of this name as a new process does. The first time, the store is empty. A
    /// test drops a store before it opens it again.
    async fn open(&self, name: &str) -> Box<dyn Store>;
}

/// A store under test, and the number of batches that it was given.
struct Subject<'a> {
    stores: &'a dyn Stores,
    name: &'static str,
    store: Option<Box<dyn Store>>,
    batches: u64,
}

impl<'a> Subject<'a> {
    async fn new(stores: &'a dyn Stores, name: &'static str) -> Self {
        Self { stores, name, store: Some(stores.open(name).await), batches: 0 }
    }

    fn store(&self) -> &dyn Store {
        &**self.store.as_ref().expect("it is open between calls")
    }

    async fn restart(&mut self) {
        self.store = None;
        self.store = Some(self.stores.open(self.name).await);
    }

    /// None if it was written by a commit whose outcome was unknown.
    async fn commit(&mut self, batch: Batch) -> Option<Committed> {
        let mut batch = batch;
        self.batches += 1;
        let mut marker = sink_progress(MARKER, self.batches);
        marker.counters.received = self.batches;
        batch.sinks.push(marker);
        for _ in 0..TRIES_MAX {
            match self.store().commit(&batch).await {
                Ok(committed) => return Some(committed),
                Err(CommitError::NotCommitted(_)) => {}
                Err(CommitError::Unknown(_)) => {
                    let recovered = insist!(self.store().recover());
                    let marker = recovered.sinks.iter().find(|s| s.progress.sink == MARKER.into());
                    if marker.is_some_and(|s| s.progress.cursor.settled == self.batches) {
                        return None;
                    }
                }
                Err(error @ (CommitError::Rejected(_) | CommitError::Fenced(_))) => {
                    panic!("{error}")
                }
            }
        }
        panic!("the store of `{}` never commits", self.name);
    }

    async fn positions(&self) -> Vec<u64> {
        let log = insist!(self.store().read_log(Position(0), EVERYTHING));
        log.iter().map(|entry| entry.position.0).collect()
    }
}

/// Tests every clause, each on a new store.
pub async fn all(stores: &dyn Stores) {
    recovery::what_is_committed_is_there_after_a_restart(stores).await;
    log::an_event_that_was_there_is_a_duplicate(stores).await;
    log::an_event_is_known_by_its_origin_source_and_id(stores).await;
    log::a_young_event_is_known_for_its_whole_time(stores).await;
    log::a_redriven_event_is_written_whatever_was_there(stores).await;
    log::events_that_no_plugin_takes_are_counted_by_type(stores).await;
    log::an_accepted_event_is_found_by_its_identity(stores).await;
    log::the_log_is_read_in_order_and_in_pieces(stores).await;
    log::a_page_ends_before_it_has_too_many_bytes(stores).await;
    log::a_stream_is_read_between_two_positions(stores).await;
    log::what_is_for_one_plugin_is_in_no_stream(stores).await;
    removal::a_stream_says_that_it_was_shortened(stores).await;
    recovery::recovery_returns_the_highest_places(stores).await;
    recovery::recovery_returns_who_has_decided_an_event_in_part(stores).await;
    recovery::recovery_returns_what_is_parked(stores).await;
    recovery::recovery_returns_who_waits_for_an_attempt(stores).await;
    recovery::recovery_returns_the_controls(stores).await;
    instances::instances_are_found_by_every_key(stores).await;
    instances::an_instance_has_the_timers_that_it_has_not_decided(stores).await;
    instances::keys_are_compared_whole(stores).await;
    instances::all_instances_are_loaded_or_none(stores).await;
    instances::keys_of_instances_are_listed_once_and_in_order(stores).await;
    instances::decisions_are_followed_back(stores).await;
    instances::held_events_come_in_order_each_once(stores).await;
    waiting::an_outbox_is_read_in_order_and_in_pieces(stores).await;
    instances::a_fired_timer_goes_if_it_is_still_the_one(stores).await;
    instances::timers_come_by_their_time(stores).await;
    waiting::parked_events_and_messages_come_in_order(stores).await;
    waiting::what_is_parked_is_read_in_portions_of_bytes(stores).await;
    waiting::messages_are_read_by_their_sequences(stores).await;
    waiting::a_dead_letter_is_written_over(stores).await;
    waiting::a_dead_letter_is_closed_unread(stores).await;
    waiting::a_compensated_dead_letter_counts_for_its_sink(stores).await;
    removal::finished_instances_come_oldest_first(stores).await;
    removal::a_removed_instance_takes_its_claims_and_timers_along(stores).await;
    removal::an_instance_is_removed_and_begins_anew_in_one_commit(stores).await;
    removal::what_is_too_old_goes(stores).await;
    removal::what_is_old_is_said_by_position_and_not_by_date(stores).await;
    removal::age_marks_are_kept_until_they_are_removed(stores).await;
    removal::what_is_needed_stays(stores).await;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::seams::store::faulty::{FaultRates, FaultyStore};
    use crate::seams::store::memory::MemoryStore;

    /// Stores in memory, with or without faults over them.
    #[derive(Default)]
    struct InMemory {
        stores: Mutex<BTreeMap<String, MemoryStore>>,
        faults: Option<(FaultRates, u64)>,
    }

    #[async_trait]
    impl Stores for InMemory {
        async fn open(&self, name: &str) -> Box<dyn Store> {
            let store = self.stores.lock().unwrap().entry(name.to_owned()).or_default().clone();
            match self.faults {
                None => Box::new(store),
                Some((rates, seed)) => Box::new(FaultyStore::new(store, rates, seed)),
            }
        }
    }

    fn faults(thousandths: u32) -> FaultRates {
        FaultRates {
            refused: thousandths,
            unknown_written: thousandths,
            unknown_lost: thousandths,
            read_failed: thousandths,
            delay_max: Duration::from_millis(5),
        }
    }

    #[tokio::test]
    async fn the_store_in_memory_keeps_the_contract() {
        all(&InMemory::default()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_keeps_the_contract_too() {
        for seed in 0..20 {
            // The first never fails: the decorator itself changes nothing.
            let rate = if seed == 0 { 0 } else { 200 };
            let faults = Some((faults(rate), seed));
            all(&InMemory { faults, ..InMemory::default() }).await;
        }
    }
}
