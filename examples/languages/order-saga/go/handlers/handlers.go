// Package handlers says which event is handled by which method.
package handlers

import (
	sagabox "github.com/sagabox/sagabox/guest-sdk/go"

	"order-saga/domain/event"
	"order-saga/saga"
)

// SagaEventHandler registers saga handlers
type SagaEventHandler struct {
	orderSaga *saga.OrderSaga
}

func NewSagaEventHandler(orderSaga *saga.OrderSaga) *SagaEventHandler {
	return &SagaEventHandler{
		orderSaga: orderSaga,
	}
}

func (h *SagaEventHandler) RegisterHandlers(eventHandler sagabox.EventHandler) {
	eventHandler.Register(event.CartFinalized{}, h.orderSaga.HandleCartFinalized)
	eventHandler.Register(event.OrderInitialized{}, h.orderSaga.HandleOrderInitialized)
	eventHandler.Register(event.PaymentCompleted{}, h.orderSaga.HandlePaymentCompleted)
	eventHandler.Register(event.PaymentFailed{}, h.orderSaga.HandlePaymentFailed)
}
