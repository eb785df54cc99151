package main

import (
	"fmt"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
)

// OrderV1 is version 1 of the state. It had Paid in place of Status.
type OrderV1 struct {
	OrderID    string `json:"orderId"`
	CustomerID string `json:"customerId"`
	SKU        string `json:"sku"`
	Quantity   int    `json:"quantity"`
	Paid       bool   `json:"paid"`
}

func migrate(from, to uint32, state sagabox.JSON) (any, error) {
	switch {
	case from == 1 && to == 2:
		var old OrderV1
		if err := state.Decode(&old); err != nil {
			return nil, err
		}
		status := statusReserved
		if old.Paid {
			status = statusPaid
		}
		return Order{old.OrderID, old.CustomerID, old.SKU, old.Quantity, status}, nil
	case from == 2 && to == 1:
		var order Order
		if err := state.Decode(&order); err != nil {
			return nil, err
		}
		return OrderV1{order.OrderID, order.CustomerID, order.SKU, order.Quantity, order.Status == statusPaid}, nil
	}
	return nil, fmt.Errorf("no migration from version %d to %d", from, to)
}
