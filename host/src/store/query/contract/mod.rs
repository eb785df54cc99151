//! The contract of [`Queries`], [`PluginRecords`] and [`Snapshot`], clause by clause, for every
//! store: its tests call [`all`] with the URLs of stores that are empty when they are first opened.
//!
//! Rows come from the engine's side of the same store, and are those of the contract of `Store`.

mod access;
mod accounts;
mod ages;
mod batches;
mod components;
mod dead_letters;
mod due;
mod fields;
mod filling;
mod found;
mod instances;
mod records;
mod snapshot;
mod views;

use std::time::Duration;

use sagabox_engine::seams::store::Batch;

use super::rows::Page;
use super::{Queries, QueryLimits};
use crate::store::connect::{ConnectedStore, connect_with};

/// More rows than any clause writes.
const ALL: u32 = 1_000;

/// Where the store of a name is.
type Urls<'u> = &'u (dyn Fn(&str) -> String + Sync);

/// A store under test.
struct Subject {
    url: String,
    limits: QueryLimits,
    store: Option<ConnectedStore>,
}

impl Subject {
    async fn new(urls: Urls<'_>, name: &str) -> Self {
        Self::with(urls, name, QueryLimits::default()).await
    }

    async fn with(urls: Urls<'_>, name: &str, limits: QueryLimits) -> Self {
        let mut subject = Self { url: urls(name), limits, store: None };
        subject.reopen(limits).await;
        subject
    }

    /// As a new process would, with other limits.
    async fn reopen(&mut self, limits: QueryLimits) {
        self.store = None;
        self.limits = limits;
        self.store = Some(connect_with(&self.url, limits).await.unwrap());
    }

    async fn restart(&mut self) {
        self.reopen(self.limits).await;
    }

    fn store(&self) -> &ConnectedStore {
        self.store.as_ref().expect("it is open between calls")
    }

    fn queries(&self) -> &dyn Queries {
        &*self.store().queries
    }

    async fn commit(&self, batch: Batch) {
        self.store().engine.commit(&batch).await.unwrap();
    }
}

/// A list that looks at three rows before it looks at the time, which is over at once or never.
fn looks_briefly(is_over: bool) -> QueryLimits {
    let scan_time = if is_over { Duration::ZERO } else { Duration::MAX };
    QueryLimits { scan_rows: 3, scan_time, ..QueryLimits::default() }
}

/// All pages of a list, from the first one on.
async fn pages<R, N>(page: impl AsyncFn(Option<N>) -> Page<R, N>) -> Vec<Vec<R>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let Page { rows, next } = page(after).await;
        pages.push(rows);
        assert!(pages.len() < 100, "a list never ends");
        if next.is_none() {
            return pages;
        }
        after = next;
    }
}

/// Every clause, each on a store of its own.
// A table.
#[allow(clippy::too_many_lines)]
pub(in crate::store) async fn all(urls: Urls<'_>) {
    instances::instances_are_listed_by_key_in_pages(urls).await;
    instances::a_list_of_instances_ends_in_time_and_says_how_far_it_came(urls).await;
    instances::instances_are_counted_by_status(urls).await;
    ages::instances_are_listed_by_age(urls).await;
    ages::a_list_by_age_ends_in_time_and_says_how_far_it_came(urls).await;
    instances::an_instance_has_all_that_is_its_own(urls).await;
    instances::a_state_that_is_no_json_is_a_string(urls).await;
    instances::a_history_follows_the_decisions_of_its_instance(urls).await;
    instances::decisions_come_with_their_inputs_along_the_chain(urls).await;
    instances::a_page_of_history_is_bounded_in_bytes(urls).await;
    instances::a_stateless_key_has_the_history_that_is_recent(urls).await;
    instances::live_states_come_in_portions(urls).await;
    fields::instances_are_listed_in_the_order_of_a_field(urls).await;
    fields::instances_are_selected_by_their_fields(urls).await;
    fields::a_list_by_fields_ends_in_time_and_says_how_far_it_came(urls).await;
    fields::fields_are_those_of_the_last_decision(urls).await;
    filling::states_of_all_instances_come_in_portions(urls).await;
    filling::only_instances_that_have_not_decided_are_filled(urls).await;
    filling::whose_fields_are_filled_is_noted(urls).await;
    components::components_are_kept_and_found_again(urls).await;
    components::a_component_goes_with_its_last_decision(urls).await;
    dead_letters::each_filter_holds(urls).await;
    dead_letters::open_dead_letters_are_counted(urls).await;
    dead_letters::dead_letters_are_listed_by_id_in_pages(urls).await;
    dead_letters::a_page_of_dead_letters_is_bounded_in_bytes(urls).await;
    dead_letters::a_list_of_dead_letters_ends_in_time_and_says_how_far_it_came(urls).await;
    dead_letters::a_dead_letter_has_all_that_is_known_of_it(urls).await;
    dead_letters::open_dead_letters_are_grouped_by_cause(urls).await;
    dead_letters::dead_letters_of_a_cause_are_listed(urls).await;
    due::timers_are_listed_by_their_time(urls).await;
    due::waits_are_listed_events_before_messages(urls).await;
    accounts::an_empty_store_is_balanced(urls).await;
    accounts::the_events_of_a_plugin_add_up(urls).await;
    accounts::the_messages_of_a_sink_add_up(urls).await;
    accounts::sums_that_do_not_add_up_are_said(urls).await;
    accounts::a_plugin_that_is_far_behind_is_estimated(urls).await;
    accounts::untaken_types_are_named(urls).await;
    accounts::what_was_ever_there_is_known_by_name(urls).await;
    found::a_text_names_what_has_it_as_its_key_or_id(urls).await;
    found::a_caller_finds_all_that_it_sees(urls).await;
    found::ids_are_found_at_each_length_of_a_log(urls).await;
    found::what_waits_at_a_key_is_named(urls).await;
    found::messages_of_a_key_say_whether_they_are_delivered(urls).await;
    found::one_instance_is_read_with_all_that_it_needs_to_continue(urls).await;
    found::an_event_says_what_became_of_it(urls).await;
    records::the_file_that_serves_is_noted(urls).await;
    records::streams_can_be_indexed_at_any_time(urls).await;
    access::tokens_are_kept_with_all_that_they_permit(urls).await;
    access::a_key_is_taken_once_and_keeps_its_answer(urls).await;
    access::sessions_are_kept_until_they_end_expire_or_are_not_used(urls).await;
    access::the_audit_log_keeps_its_order_and_each_filter_holds(urls).await;
    batches::a_batch_is_kept_as_it_was_made_and_started(urls).await;
    batches::batches_are_listed_newest_first(urls).await;
    batches::open_dead_letters_from_before_the_start_become_items(urls).await;
    batches::running_instances_from_before_the_start_become_items(urls).await;
    batches::an_empty_log_keeps_no_instance_from_a_batch(urls).await;
    batches::the_sums_of_a_batch_are_those_of_its_items(urls).await;
    batches::a_status_changes_only_from_the_ones_that_are_named(urls).await;
    batches::old_batches_go_with_their_items(urls).await;
    batches::old_drafts_go(urls).await;
    views::views_are_kept_until_they_are_deleted(urls).await;
    snapshot::decisions_come_in_order_with_their_inputs(urls).await;
    snapshot::decisions_end_where_they_are_stopped(urls).await;
    snapshot::the_log_comes_in_order(urls).await;
    snapshot::messages_are_found_wherever_they_went(urls).await;
    snapshot::edited_events_are_found_by_their_dead_letters(urls).await;
    snapshot::a_stream_ends_before_its_position(urls).await;
    snapshot::a_snapshot_does_not_see_what_comes_later(urls).await;
    snapshot::a_store_that_is_not_there_is_not_made(urls).await;
}
