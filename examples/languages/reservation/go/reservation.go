package main

import (
	"context"
	"fmt"
	"time"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
)

// Deadline is the timer of an order: it was not paid in time.
type Deadline struct{}

// Order is the state of a process: one for each order.
type Order struct {
	OrderID    string `json:"orderId"`
	CustomerID string `json:"customerId"`
	SKU        string `json:"sku"`
	Quantity   int    `json:"quantity"`
	Status     string `json:"status"`
}

const (
	statusReserved = "reserved"
	statusPaid     = "paid"
)

type Reservation struct {
	commandBus sagabox.CommandBus
	eventBus   sagabox.EventBus
	orders     sagabox.States[Order]
	stock      sagabox.Lookup[Stock]
}

func (r *Reservation) HandleOrderPlaced(ctx context.Context, event OrderPlaced) error {
	if event.Quantity == 0 {
		return sagabox.Permanent(fmt.Errorf("order %s has no quantity", event.OrderID))
	}
	stock, err := r.stock.Load(ctx, event.SKU)
	if err != nil && !sagabox.IsNotFound(err) {
		return err
	}
	if stock.Counting {
		return sagabox.Transient(fmt.Errorf("the stock of %s is being counted", event.SKU))
	}
	r.orders.Put(ctx, &Order{event.OrderID, event.CustomerID, event.SKU, event.Quantity, statusReserved})
	if stock.Available < event.Quantity {
		return r.reject(ctx, event.OrderID, "sold out")
	}
	timeToPay, err := r.timeToPay(ctx, event.CustomerID)
	if err != nil {
		return err
	}
	if err := sagabox.SetTimer(ctx, Deadline{}, timeToPay); err != nil {
		return err
	}
	return r.commandBus.Send(ctx, ReserveStock{event.OrderID, event.SKU, event.Quantity})
}

func (r *Reservation) HandleOrderPaid(ctx context.Context, event OrderPaid) error {
	if order, exists := r.orders.Get(ctx); exists {
		order.Status = statusPaid
	}
	sagabox.CancelTimer(ctx, Deadline{})
	return r.commandBus.Send(ctx, ShipOrder{event.OrderID})
}

func (r *Reservation) HandleOrderShipped(ctx context.Context, _ OrderShipped) error {
	sagabox.Complete(ctx)
	return nil
}

func (r *Reservation) HandleDeadline(ctx context.Context, _ Deadline) error {
	order := r.orders.GetOrNew(ctx)
	if err := r.eventBus.Publish(ctx, ReservationLapsed{order.CustomerID, order.OrderID}); err != nil {
		return err
	}
	return r.release(ctx, order)
}

func (r *Reservation) HandleUndeliverable(ctx context.Context, command sagabox.Undeliverable) error {
	reserve, isReserve, err := sagabox.Undelivered[ReserveStock](command)
	if err != nil || !isReserve {
		return err
	}
	return r.reject(ctx, reserve.OrderID, command.Reason)
}

func (r *Reservation) HandleCancelled(ctx context.Context, _ sagabox.Cancelled) error {
	return r.release(ctx, r.orders.GetOrNew(ctx))
}

// timeToPay is an hour for a customer who let a reservation lapse before, and a day for others.
func (r *Reservation) timeToPay(ctx context.Context, customerID string) (time.Duration, error) {
	past, err := sagabox.Stream(ctx, customerID)
	for _, event := range past {
		if event.Type == "ReservationLapsed" {
			return time.Hour, nil
		}
	}
	return 24 * time.Hour, err
}

func (r *Reservation) reject(ctx context.Context, orderID, reason string) error {
	sagabox.Complete(ctx)
	return r.commandBus.Send(ctx, RejectOrder{orderID, reason})
}

func (r *Reservation) release(ctx context.Context, order *Order) error {
	sagabox.Complete(ctx)
	return r.commandBus.Send(ctx, ReleaseStock{order.OrderID, order.SKU, order.Quantity})
}
