package main

import (
	"testing"

	"github.com/sagabox/sagabox/guest-sdk/go/decimal"
	"github.com/sagabox/sagabox/guest-sdk/go/sagaboxtest"

	"order-saga/domain"
	"order-saga/domain/command"
	"order-saga/domain/event"
)

var (
	shoes = []domain.ProductItem{{ProductID: "shoes", Quantity: 2}}
	price = decimal.New(995, 1)
)

func TestAFinalizedCartBecomesAnOrder(t *testing.T) {
	sagaboxtest.Given(t, plugin()).
		When(event.CartFinalized{CartID: "c-1", ClientID: "ann", ProductItems: shoes, TotalPrice: price}).
		Sends(command.InitializeOrder{CartID: "c-1", ClientID: "ann", ProductItems: shoes, TotalPrice: price})
}

func TestAnOrderIsPaidBeforeItIsSent(t *testing.T) {
	order := sagaboxtest.Given(t, plugin())
	order.When(event.OrderInitialized{OrderID: "o-1", TotalPrice: price}).
		Sends(command.RequestPayment{OrderID: "o-1", TotalPrice: price})
	order.When(event.PaymentCompleted{OrderID: "o-1", ProductItems: shoes}).
		Sends(command.SendPackage{OrderID: "o-1", ProductItems: shoes})
}

func TestAFailedPaymentIsCompensatedByCancelling(t *testing.T) {
	sagaboxtest.Given(t, plugin()).
		When(event.PaymentFailed{OrderID: "o-1"}).
		Sends(command.CancelOrder{OrderID: "o-1", Reason: command.OrderCancellationReasonPaymentFailed})
}
