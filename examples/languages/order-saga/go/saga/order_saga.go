// Package saga contains the order saga: each step of an order leads to the command for the next.
package saga

import (
	"context"

	"order-saga/domain/command"
	"order-saga/domain/event"
)

// OrderSaga handles order processing workflow
type OrderSaga struct {
	commandBus command.Bus
}

// NewOrderSaga creates a new order saga
func NewOrderSaga(commandBus command.Bus) *OrderSaga {
	return &OrderSaga{
		commandBus: commandBus,
	}
}

// Handle CartFinalized event
func (s *OrderSaga) HandleCartFinalized(ctx context.Context, evt event.CartFinalized) error {
	cmd := command.InitializeOrder{
		CartID:       evt.CartID,
		ClientID:     evt.ClientID,
		ProductItems: evt.ProductItems,
		TotalPrice:   evt.TotalPrice,
	}

	return s.commandBus.Send(ctx, cmd)
}

// Handle OrderInitialized event
func (s *OrderSaga) HandleOrderInitialized(ctx context.Context, evt event.OrderInitialized) error {
	cmd := command.RequestPayment{
		OrderID:    evt.OrderID,
		TotalPrice: evt.TotalPrice,
	}

	return s.commandBus.Send(ctx, cmd)
}

// Handle PaymentCompleted event
func (s *OrderSaga) HandlePaymentCompleted(ctx context.Context, evt event.PaymentCompleted) error {
	cmd := command.SendPackage{
		OrderID:      evt.OrderID,
		ProductItems: evt.ProductItems,
	}

	return s.commandBus.Send(ctx, cmd)
}

// Handle PaymentFailed event - compensation flow
func (s *OrderSaga) HandlePaymentFailed(ctx context.Context, evt event.PaymentFailed) error {
	cmd := command.CancelOrder{
		OrderID: evt.OrderID,
		Reason:  command.OrderCancellationReasonPaymentFailed,
	}

	return s.commandBus.Send(ctx, cmd)
}
