// Package event contains the events of orders.
package event

import "order-saga/domain"

type CartFinalized struct {
	CartID       string               `json:"cartId" sagabox:"key"`
	ClientID     string               `json:"clientId"`
	ProductItems []domain.ProductItem `json:"productItems"`
	TotalPrice   float64              `json:"totalPrice"`
}

type OrderInitialized struct {
	OrderID    string  `json:"orderId" sagabox:"key"`
	TotalPrice float64 `json:"totalPrice"`
}

type PaymentCompleted struct {
	OrderID      string               `json:"orderId" sagabox:"key"`
	ProductItems []domain.ProductItem `json:"productItems"`
}

type PaymentFailed struct {
	OrderID string `json:"orderId" sagabox:"key"`
}
