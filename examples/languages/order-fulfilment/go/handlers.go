package main

import (
	"context"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
)

// OrderFulfilment follows one order. It claims its items, and later the packages that they travel
// in, as additional keys: most events do not name the order.
type OrderFulfilment struct {
	commandBus sagabox.CommandBus
	orders     sagabox.States[Order]
}

func (f *OrderFulfilment) HandlePlaceOrder(ctx context.Context, event PlaceOrder) error {
	order := &Order{
		OrderID: sagabox.CorrelationKey(ctx), Items: map[string]*Item{}, Packages: map[string]*Package{},
	}
	for _, item := range event.Items {
		order.Items[item] = &Item{}
	}
	f.orders.Put(ctx, order)
	sagabox.Claim(ctx, event.Items...)
	return nil
}

func (f *OrderFulfilment) HandleConfirmOrder(ctx context.Context, _ ConfirmOrder) error {
	return f.with(ctx, func(order *Order) { order.Confirmed = true })
}

func (f *OrderFulfilment) HandlePayOrder(ctx context.Context, _ PayOrder) error {
	return f.withAndCloseIfDone(ctx, func(order *Order) { order.Paid = true })
}

func (f *OrderFulfilment) HandlePaymentReminder(ctx context.Context, _ PaymentReminder) error {
	return f.with(ctx, func(order *Order) { order.Reminders++ })
}

func (f *OrderFulfilment) HandlePickItem(ctx context.Context, event PickItem) error {
	return f.withItems(ctx, event.Items, func(item *Item) { item.Picked = true })
}

func (f *OrderFulfilment) HandleItemOutOfStock(ctx context.Context, event ItemOutOfStock) error {
	return f.withItems(ctx, event.Items, func(item *Item) { item.OutOfStock++ })
}

func (f *OrderFulfilment) HandleReorderItem(ctx context.Context, event ReorderItem) error {
	return f.withItems(ctx, event.Items, func(item *Item) { item.Reordered++ })
}

func (f *OrderFulfilment) HandleCreatePackage(ctx context.Context, event CreatePackage) error {
	order, exists := f.orders.Get(ctx)
	if !exists {
		return nil
	}
	leads := len(event.Items) > 0 && order.Items[event.Items[0]] != nil
	for _, id := range event.Packages {
		sagabox.Claim(ctx, id)
		order.parcel(id).Leads = leads
		for _, item := range order.of(event.Items) {
			item.Package = &id
		}
	}
	return nil
}

func (f *OrderFulfilment) HandleSendPackage(ctx context.Context, event SendPackage) error {
	return f.with(ctx, func(order *Order) {
		for _, id := range event.Packages {
			order.parcel(id).Sent = true
		}
	})
}

func (f *OrderFulfilment) HandleFailedDelivery(ctx context.Context, event FailedDelivery) error {
	order, exists := f.orders.Get(ctx)
	if !exists {
		return nil
	}
	order.FailedDeliveries++
	for _, id := range event.Packages {
		parcel := order.Packages[id]
		if parcel == nil || !parcel.Leads || parcel.Delivered {
			continue
		}
		if err := f.commandBus.Send(ctx, RetryDelivery{PackageID: id, OrderID: order.OrderID}); err != nil {
			return err
		}
	}
	return nil
}

func (f *OrderFulfilment) HandlePackageDelivered(ctx context.Context, event PackageDelivered) error {
	return f.withAndCloseIfDone(ctx, func(order *Order) {
		for _, id := range event.Packages {
			order.parcel(id).Delivered = true
		}
	})
}

// with changes the order.
func (f *OrderFulfilment) with(ctx context.Context, change func(*Order)) error {
	if order, exists := f.orders.Get(ctx); exists {
		change(order)
	}
	return nil
}

func (f *OrderFulfilment) withAndCloseIfDone(ctx context.Context, change func(*Order)) error {
	order, exists := f.orders.Get(ctx)
	if !exists {
		return nil
	}
	change(order)
	if !order.isDone() {
		return nil
	}
	sagabox.Complete(ctx)
	return f.commandBus.Send(ctx, CloseOrder{
		OrderID: order.OrderID, Reminders: order.Reminders, FailedDeliveries: order.FailedDeliveries,
	})
}

func (f *OrderFulfilment) withItems(ctx context.Context, items []string, change func(*Item)) error {
	return f.with(ctx, func(order *Order) {
		for _, item := range order.of(items) {
			change(item)
		}
	})
}
