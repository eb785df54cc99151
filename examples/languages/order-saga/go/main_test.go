package main

import (
	"testing"

	"github.com/sagabox/sagabox/guest-sdk/go/sagaboxtest"

	"order-saga/domain"
	"order-saga/domain/command"
	"order-saga/domain/event"
)

var shoes = []domain.ProductItem{{ProductID: "shoes", Quantity: 2}}

func TestAFinalizedCartBecomesAnOrder(t *testing.T) {
	sagaboxtest.Given(t, plugin()).
		When(event.CartFinalized{CartID: "c-1", ClientID: "ann", ProductItems: shoes, TotalPrice: 99.5}).
		Sends(command.InitializeOrder{CartID: "c-1", ClientID: "ann", ProductItems: shoes, TotalPrice: 99.5})
}

func TestAnOrderIsPaidBeforeItIsSent(t *testing.T) {
	order := sagaboxtest.Given(t, plugin())
	order.When(event.OrderInitialized{OrderID: "o-1", TotalPrice: 99.5}).
		Sends(command.RequestPayment{OrderID: "o-1", TotalPrice: 99.5})
	order.When(event.PaymentCompleted{OrderID: "o-1", ProductItems: shoes}).
		Sends(command.SendPackage{OrderID: "o-1", ProductItems: shoes})
}

func TestAFailedPaymentIsCompensatedByCancelling(t *testing.T) {
	sagaboxtest.Given(t, plugin()).
		When(event.PaymentFailed{OrderID: "o-1"}).
		Sends(command.CancelOrder{OrderID: "o-1", Reason: command.OrderCancellationReasonPaymentFailed})
}
