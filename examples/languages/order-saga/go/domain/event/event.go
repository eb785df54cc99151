// Package event contains the events of orders.
package event

import (
	"github.com/sagabox/sagabox/guest-sdk/go/decimal"

	"order-saga/domain"
)

type CartFinalized struct {
	CartID       string               `json:"cartId" sagabox:"key"`
	ClientID     string               `json:"clientId"`
	ProductItems []domain.ProductItem `json:"productItems"`
	TotalPrice   decimal.Decimal      `json:"totalPrice"`
}

type OrderInitialized struct {
	OrderID    string          `json:"orderId" sagabox:"key"`
	TotalPrice decimal.Decimal `json:"totalPrice"`
}

type PaymentCompleted struct {
	OrderID      string               `json:"orderId" sagabox:"key"`
	ProductItems []domain.ProductItem `json:"productItems"`
}

type PaymentFailed struct {
	OrderID string `json:"orderId" sagabox:"key"`
}
