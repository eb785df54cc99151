// Order fulfilment follows an order of a real event log, in which most events do not name the
// order. The events of an order may come in any order: what comes before its order is placed is
// held until then.
package main

import (
	"time"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/processmanager"
)

func main() { plugin().Run() }

func plugin() *sagabox.Plugin {
	plugin := processmanager.New[Order]("order-fulfilment", "0.1.0",
		"Follows an order from its items to their delivery and the payment")
	plugin.Sends(RetryDelivery{}, CloseOrder{})

	fulfilment := &OrderFulfilment{commandBus: plugin}
	var (
		byOrder   = sagabox.Key("/orders")
		byItem    = sagabox.Key("/items")
		byPackage = sagabox.Key("/packages")
		hold      = sagabox.Hold(10 * time.Minute)
		as        = sagabox.As
	)
	plugin.Register(PlaceOrder{}, fulfilment.HandlePlaceOrder, as("place order"), byOrder, sagabox.Start)
	plugin.Register(ConfirmOrder{}, fulfilment.HandleConfirmOrder, as("confirm order"), byOrder, hold)
	plugin.Register(PayOrder{}, fulfilment.HandlePayOrder, as("pay order"), byOrder, hold)
	plugin.Register(PaymentReminder{}, fulfilment.HandlePaymentReminder, as("payment reminder"), byOrder, hold)
	plugin.Register(PickItem{}, fulfilment.HandlePickItem, as("pick item"), byItem, hold)
	plugin.Register(ItemOutOfStock{}, fulfilment.HandleItemOutOfStock, as("item out of stock"), byItem, hold)
	plugin.Register(ReorderItem{}, fulfilment.HandleReorderItem, as("reorder item"), byItem, hold)
	plugin.Register(CreatePackage{}, fulfilment.HandleCreatePackage, as("create package"), byItem, hold)
	plugin.Register(SendPackage{}, fulfilment.HandleSendPackage, as("send package"), byPackage, hold)
	plugin.Register(FailedDelivery{}, fulfilment.HandleFailedDelivery, as("failed delivery"), byPackage, hold)
	plugin.Register(PackageDelivered{}, fulfilment.HandlePackageDelivered, as("package delivered"), byPackage, hold)
	return plugin
}
