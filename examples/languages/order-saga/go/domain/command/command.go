// Package command contains the commands that the saga sends.
package command

import (
	"context"

	"github.com/sagabox/sagabox/guest-sdk/go/decimal"

	"order-saga/domain"
)

// Bus sends commands.
type Bus interface {
	Send(ctx context.Context, command any) error
}

type InitializeOrder struct {
	CartID       string               `json:"cartId" sagabox:"subject"`
	ClientID     string               `json:"clientId"`
	ProductItems []domain.ProductItem `json:"productItems"`
	TotalPrice   decimal.Decimal      `json:"totalPrice"`
}

type RequestPayment struct {
	OrderID    string          `json:"orderId" sagabox:"subject"`
	TotalPrice decimal.Decimal `json:"totalPrice"`
}

type SendPackage struct {
	OrderID      string               `json:"orderId" sagabox:"subject"`
	ProductItems []domain.ProductItem `json:"productItems"`
}

type CancelOrder struct {
	OrderID string                  `json:"orderId" sagabox:"subject"`
	Reason  OrderCancellationReason `json:"reason"`
}

type OrderCancellationReason string

const OrderCancellationReasonPaymentFailed OrderCancellationReason = "payment failed"
