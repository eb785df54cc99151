package main

import (
	"testing"

	"github.com/sagabox/sagabox/guest-sdk/go/sagaboxtest"
)

func ids(ids ...string) []string { return ids }

// packed is an order with two items, of which `i-1` leads package `p-1`.
func packed(t *testing.T) *sagaboxtest.Instance {
	t.Helper()
	order := sagaboxtest.Given(t, plugin())
	order.When(PlaceOrder{Orders: ids("o"), Items: ids("i-1", "i-2")}).Claims("i-1", "i-2")
	order.When(CreatePackage{Items: ids("i-1", "x-9"), Packages: ids("p-1")}).Claims("p-1")
	order.Key("i-2").When(CreatePackage{Items: ids("x-8", "i-2"), Packages: ids("p-2")}).Claims("p-2")
	return order.Key("")
}

func delivered(id string) PackageDelivered { return PackageDelivered{Packages: ids(id)} }

func failed(id string) FailedDelivery { return FailedDelivery{Packages: ids(id)} }

var (
	paid     = PayOrder{Orders: ids("o")}
	reminder = PaymentReminder{Orders: ids("o")}
)

func TestAnOrderIsClosedWhenItIsPaidAndEveryItemDelivered(t *testing.T) {
	closed := CloseOrder{OrderID: "o", Reminders: 1}
	order := packed(t).Event(delivered("p-1")).Event(reminder)
	order.When(delivered("p-2")).SendsNothing().GoesOn()
	order.When(paid).Sends(closed).Completes()

	packed(t).Event(reminder).Event(paid).Event(delivered("p-2")).
		When(delivered("p-1")).Sends(closed).Completes()
}

func TestAFailedDeliveryIsRetriedByTheOrderThatLeadsThePackage(t *testing.T) {
	order := packed(t)
	order.When(failed("p-1")).Sends(RetryDelivery{PackageID: "p-1", OrderID: "o"})
	order.When(failed("p-2")).SendsNothing()
}

func TestWhatComesBeforeItsOrderIsPlacedIsHeld(t *testing.T) {
	sagaboxtest.Given(t, plugin()).When(paid).IsIgnored("held")
}
