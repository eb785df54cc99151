use group_checkout::*;
use sagabox_sdk::testing::{Given, given};
use sagabox_sdk::{days, seconds};

fn initiated(stays: &[&str]) -> GroupCheckoutInitiated {
    GroupCheckoutInitiated {
        group_checkout_id: "g".into(),
        guest_stay_ids: stays.iter().map(|stay| (*stay).into()).collect(),
    }
}

fn completed(stay: &str) -> GuestCheckoutCompleted {
    GuestCheckoutCompleted { guest_stay_id: stay.into(), group_checkout_id: "g".into() }
}

fn failed(stay: &str) -> GuestCheckoutFailed {
    GuestCheckoutFailed { guest_stay_id: stay.into(), group_checkout_id: "g".into() }
}

fn started(stays: &[&str]) -> Given<GroupCheckout> {
    given::<GroupCheckout>().event(initiated(stays))
}

fn failure(failed: &[&str], timed_out: &[&str]) -> NotifyGroupCheckoutFailure {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).into()).collect();
    NotifyGroupCheckoutFailure {
        group_checkout_id: "g".into(),
        failed_guest_ids: owned(failed),
        timed_out_guest_ids: owned(timed_out),
    }
}

#[test]
fn every_guest_is_checked_out_once_and_a_deadline_is_set() {
    let account = |stay: &str| CheckoutGuestAccount {
        guest_stay_id: stay.into(),
        group_checkout_id: "g".into(),
    };
    given::<GroupCheckout>()
        .when(initiated(&["a", "b", "a"]))
        .sends([account("a"), account("b")])
        .sets_timer(Deadline, days(1))
        .goes_on();
    given::<GroupCheckout>()
        .config(Configuration { deadline_seconds: Some(90) })
        .when(initiated(&["a"]))
        .sets_timer(Deadline, seconds(90));
}

#[test]
fn it_completes_when_every_guest_has_an_outcome() {
    started(&["a", "b"])
        .when(completed("b"))
        .sends_nothing()
        .goes_on()
        .done()
        .when(completed("a"))
        .sends([CompleteGroupCheckout { group_checkout_id: "g".into() }])
        .completes();
}

#[test]
fn a_guest_counts_once_however_often_its_event_comes() {
    started(&["a", "b"])
        .event(completed("a"))
        .when(completed("a"))
        .sends_nothing()
        .goes_on()
        .done()
        .when(failed("a"))
        .sends_nothing()
        .goes_on();
}

#[test]
fn failures_are_reported_once_with_all_failed_guests() {
    started(&["a", "b", "c"])
        .when(failed("c"))
        .sends_nothing()
        .goes_on()
        .done()
        .event(completed("b"))
        .when(failed("a"))
        .sends([failure(&["a", "c"], &[])])
        .completes();
}

#[test]
fn stays_without_an_outcome_time_out() {
    started(&["a", "b", "c"])
        .event(completed("a"))
        .event(failed("b"))
        .when_time_passes(days(1))
        .sends([failure(&["b"], &["c"])])
        .completes();
}

#[test]
fn a_group_without_guests_is_complete_at_once() {
    given::<GroupCheckout>()
        .when(initiated(&[]))
        .sends([CompleteGroupCheckout { group_checkout_id: "g".into() }])
        .completes();
}

#[test]
fn a_stay_of_another_group_changes_nothing() {
    started(&["a"]).when(completed("x")).sends_nothing().goes_on();
}
