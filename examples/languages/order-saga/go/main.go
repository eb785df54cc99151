// The order saga takes an order from the cart to the package, and cancels it when the payment fails.
package main

import (
	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	role "github.com/sagabox/sagabox/guest-sdk/go/saga"

	"order-saga/domain/command"
	"order-saga/handlers"
	"order-saga/saga"
)

func main() { plugin().Run() }

func plugin() *sagabox.Plugin {
	plugin := role.New("order-saga", "0.1.0",
		"Takes an order from the cart to the package, and cancels it when the payment fails")
	plugin.Sends(command.InitializeOrder{}, command.RequestPayment{}, command.SendPackage{}, command.CancelOrder{})
	handlers.NewSagaEventHandler(saga.NewOrderSaga(plugin)).RegisterHandlers(plugin)
	return plugin
}
