package main

import (
	"testing"
	"time"

	"github.com/sagabox/sagabox/guest-sdk/go/sagaboxtest"
)

var (
	placed  = OrderPlaced{"o-1", "ann", "mug", 2}
	reserve = ReserveStock{"o-1", "mug", 2}
	release = ReleaseStock{"o-1", "mug", 2}
	lapsed  = ReservationLapsed{"ann", "o-1"}
)

func givenStock(t *testing.T, available int) *sagaboxtest.Instance {
	t.Helper()
	return sagaboxtest.Given(t, plugin()).Answer("stock", "mug", Stock{Available: available})
}

func TestAnOrderThatIsPaidInTimeIsShipped(t *testing.T) {
	order := givenStock(t, 5)
	order.When(placed).Sends(reserve).SetsTimer(Deadline{}, 24*time.Hour)
	order.When(OrderPaid{"o-1"}).Sends(ShipOrder{"o-1"}).CancelsTimer(Deadline{})
	order.When(OrderShipped{"o-1"}).SendsNothing().Completes()
}

func TestTheStockIsReleasedWhenTheTimeIsOver(t *testing.T) {
	order := givenStock(t, 5).Event(placed)
	order.WhenTimePasses(23 * time.Hour).SendsNothing()
	order.WhenTimePasses(time.Hour).Sends(release, lapsed).Completes()
}

func TestACustomerWhoLetAReservationLapseHasAnHour(t *testing.T) {
	givenStock(t, 5).InStream("ann", lapsed).When(placed).SetsTimer(Deadline{}, time.Hour)
}

func TestWhatIsNotInStockIsRejected(t *testing.T) {
	givenStock(t, 1).When(placed).Sends(RejectOrder{"o-1", "sold out"}).Completes()
	unknown := sagaboxtest.Given(t, plugin())
	unknown.When(placed).Sends(RejectOrder{"o-1", "sold out"}).Completes()
}

func TestAReservationThatTheWarehouseDoesNotTakeIsRejected(t *testing.T) {
	order := givenStock(t, 5).Event(placed)
	refused := order.WhenUndeliverable(reserve, "the warehouse is closed")
	refused.Sends(RejectOrder{"o-1", "the warehouse is closed"}).Completes()
}

func TestACancelledOrderIsReleased(t *testing.T) {
	givenStock(t, 5).Event(placed).WhenCancelled("ada", "a test").Sends(release).Completes()
}

func TestAnOrderWithoutAQuantityFailsAndACountIsWaitedFor(t *testing.T) {
	sagaboxtest.Given(t, plugin()).When(OrderPlaced{"o-1", "ann", "mug", 0}).Fails("order o-1 has no quantity")
	counting := sagaboxtest.Given(t, plugin()).Answer("stock", "mug", Stock{Available: 5, Counting: true})
	counting.When(placed).FailsTransiently("the stock of mug is being counted")
}

func TestAProcessOfVersion1GoesOn(t *testing.T) {
	order := sagaboxtest.Given(t, plugin()).StateOfVersion("o-1", 1,
		`{"orderId":"o-1","customerId":"ann","sku":"mug","quantity":2,"paid":false}`)
	order.When(OrderPaid{"o-1"}).StateIs(Order{"o-1", "ann", "mug", 2, statusPaid})
}
