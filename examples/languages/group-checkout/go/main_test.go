package main

import (
	"testing"
	"time"

	"github.com/sagabox/sagabox/guest-sdk/go/sagaboxtest"

	"group-checkout/domain/command"
	"group-checkout/domain/event"
	"group-checkout/processmanager"
)

func initiated(stays ...string) event.GroupCheckoutInitiated {
	return event.GroupCheckoutInitiated{GroupCheckoutID: "g", GuestStayIDs: stays}
}

func completed(stay string) event.GuestCheckoutCompleted {
	return event.GuestCheckoutCompleted{GuestStayID: stay, GroupCheckoutID: "g"}
}

func failed(stay string) event.GuestCheckoutFailed {
	return event.GuestCheckoutFailed{GuestStayID: stay, GroupCheckoutID: "g"}
}

func account(stay string) command.CheckoutGuestAccount {
	return command.CheckoutGuestAccount{GuestStayID: stay, GroupCheckoutID: "g"}
}

func complete() command.CompleteGroupCheckout {
	return command.CompleteGroupCheckout{GroupCheckoutID: "g"}
}

func failure(failed, timedOut []string) command.NotifyGroupCheckoutFailure {
	return command.NotifyGroupCheckoutFailure{GroupCheckoutID: "g", FailedGuestIDs: failed, TimedOutGuestIDs: timedOut}
}

func started(t *testing.T, stays ...string) *sagaboxtest.Instance {
	t.Helper()
	return sagaboxtest.Given(t, plugin()).Event(initiated(stays...))
}

func TestEveryGuestIsCheckedOutOnceAndADeadlineIsSet(t *testing.T) {
	sagaboxtest.Given(t, plugin()).
		When(initiated("b", "a", "b")).
		Sends(account("a"), account("b")).
		SetsTimer(processmanager.Deadline{}, 24*time.Hour).
		GoesOn()
	sagaboxtest.Given(t, plugin()).
		Configuration(processmanager.Settings{DeadlineSeconds: 90}).
		When(initiated("a")).
		SetsTimer(processmanager.Deadline{}, 90*time.Second)
}

func TestItCompletesWhenEveryGuestHasAnOutcome(t *testing.T) {
	group := started(t, "a", "b")
	group.When(completed("b")).SendsNothing().GoesOn()
	group.When(completed("a")).Sends(complete()).Completes()
	group.When(completed("a")).IsIgnored("complete")
}

func TestAGuestCountsOnceHoweverOftenItsEventComes(t *testing.T) {
	group := started(t, "a", "b").Event(completed("a"))
	group.When(completed("a")).SendsNothing().GoesOn()
	group.When(failed("a")).SendsNothing().GoesOn()
}

func TestFailuresAreReportedOnceWithAllFailedGuests(t *testing.T) {
	group := started(t, "a", "b", "c")
	group.When(failed("c")).SendsNothing().GoesOn()
	group.Event(completed("b")).
		When(failed("a")).
		Sends(failure([]string{"a", "c"}, nil)).
		Completes()
}

func TestStaysWithoutAnOutcomeTimeOut(t *testing.T) {
	started(t, "a", "b", "c").
		Event(completed("a")).
		Event(failed("b")).
		WhenTimePasses(24 * time.Hour).
		Sends(failure([]string{"b"}, []string{"c"})).
		Completes()
}

func TestACancelledGroupIsConcludedWithWhatIsKnown(t *testing.T) {
	started(t, "a", "b").
		Event(completed("a")).
		WhenCancelled("ann", "test").
		Sends(failure(nil, []string{"b"})).
		Completes()
}

func TestAGroupWithoutGuestsIsCompleteAtOnce(t *testing.T) {
	sagaboxtest.Given(t, plugin()).When(initiated()).Sends(complete()).Completes()
}

func TestAStayOfAnotherGroupChangesNothing(t *testing.T) {
	group := started(t, "a")
	group.When(completed("x")).SendsNothing().GoesOn()
	group.When(event.GuestCheckoutCompleted{GuestStayID: "a", GroupCheckoutID: "other"}).IsIgnored("held")
}
