// The reservation of an order: the stock is reserved when the order is placed, shipped when it is
// paid, and released when it is not paid in time.
package main

import (
	"time"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/processmanager"
)

func plugin() *sagabox.Plugin {
	plugin := processmanager.New[Order]("reservation", "0.1.0",
		"Reserves the stock of an order until it is paid, and releases it otherwise")
	plugin.StateVersion(2, migrate)
	plugin.Sends(ReserveStock{}, ReleaseStock{}, ShipOrder{}, RejectOrder{})
	plugin.Publishes(ReservationLapsed{})
	plugin.Asks("stock")
	plugin.ReadsStreams()

	orders := &Reservation{commandBus: plugin, eventBus: plugin, stock: "stock"}
	plugin.Register(OrderPlaced{}, orders.HandleOrderPlaced, sagabox.Start)
	plugin.Register(OrderPaid{}, orders.HandleOrderPaid, sagabox.Hold(10*time.Minute))
	plugin.Register(OrderShipped{}, orders.HandleOrderShipped)
	plugin.OnTimer(Deadline{}, orders.HandleDeadline)
	plugin.OnUndeliverable(orders.HandleUndeliverable)
	plugin.OnCancelled(orders.HandleCancelled)
	return plugin
}

func main() { plugin().Run() }
