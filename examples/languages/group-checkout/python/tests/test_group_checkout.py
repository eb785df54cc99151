from datetime import timedelta

from group_checkout import (
    CheckoutGuestAccount,
    CompleteGroupCheckout,
    Configuration,
    Deadline,
    GroupCheckout,
    GroupCheckoutInitiated,
    GuestCheckoutCompleted,
    GuestCheckoutFailed,
    NotifyGroupCheckoutFailure,
)
from sagabox.testing import Given, given

DAY = timedelta(days=1)


def completed(stay: str) -> GuestCheckoutCompleted:
    return GuestCheckoutCompleted(stay, "g")


def failed(stay: str) -> GuestCheckoutFailed:
    return GuestCheckoutFailed(stay, "g")


def started(*stays: str) -> Given:
    return given(GroupCheckout).event(GroupCheckoutInitiated("g", list(stays)))


def test_every_guest_is_checked_out_once_and_a_deadline_is_set() -> None:
    then = given(GroupCheckout).when(GroupCheckoutInitiated("g", ["a", "b", "a"]))
    then.sends(CheckoutGuestAccount("a", "g"), CheckoutGuestAccount("b", "g"))
    then.sets_timer(Deadline(), DAY).goes_on()


def test_the_deadline_is_configured() -> None:
    configured = given(GroupCheckout, config=Configuration(deadline_seconds=90))
    then = configured.when(GroupCheckoutInitiated("g", ["a"]))
    assert then.timers == {"deadline": timedelta(seconds=90)}


def test_it_completes_when_every_guest_has_an_outcome() -> None:
    first = started("a", "b").when(completed("b")).sends_nothing().goes_on()
    first.then.when(completed("a")).sends(CompleteGroupCheckout("g")).completes()


def test_a_guest_counts_once_however_often_its_event_comes() -> None:
    again = started("a", "b").event(completed("a")).when(completed("a"))
    again.sends_nothing().goes_on()
    again.then.when(failed("a")).sends_nothing().goes_on()


def test_failures_are_reported_once_with_all_failed_guests() -> None:
    first = started("a", "b", "c").when(failed("c")).sends_nothing().goes_on()
    last = first.then.event(completed("b")).when(failed("a"))
    last.sends(NotifyGroupCheckoutFailure("g", ["a", "c"], [])).completes()


def test_stays_without_an_outcome_time_out() -> None:
    waiting = started("a", "b", "c").event(completed("a")).event(failed("b"))
    late = waiting.when_time_passes(DAY)
    late.sends(NotifyGroupCheckoutFailure("g", ["b"], ["c"])).completes()


def test_a_cancelled_group_is_concluded_with_what_is_known() -> None:
    cancelled = started("a", "b").event(completed("a")).when_cancelled()
    cancelled.sends(NotifyGroupCheckoutFailure("g", [], ["b"])).completes()


def test_a_group_without_guests_is_complete_at_once() -> None:
    then = given(GroupCheckout).when(GroupCheckoutInitiated("g", []))
    then.sends(CompleteGroupCheckout("g")).completes()


def test_a_stay_of_another_group_changes_nothing() -> None:
    started("a").when(completed("x")).sends_nothing().goes_on()
