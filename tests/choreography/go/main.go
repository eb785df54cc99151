// Ships an order that is packed.
package main

import (
	"context"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/reactor"
)

func main() { plugin().Run() }

func plugin() *sagabox.Plugin {
	p := reactor.New("shipping", "1.0.0", "Ships an order that is packed")
	p.Publishes(OrderShipped{})
	p.Subscribe(OrderPacked{}, packed)
	return p
}

type OrderPacked struct {
	OrderID string  `json:"orderId" sagabox:"key"`
	Weight  float64 `json:"weight"`
}

type OrderShipped struct {
	OrderID string `json:"orderId" sagabox:"subject"`
	Carrier string `json:"carrier"`
}

func packed(ctx context.Context, event OrderPacked) error {
	carrier := "post"
	if event.Weight > 30 {
		carrier = "freight"
	}
	return sagabox.Publish(ctx, OrderShipped{event.OrderID, carrier})
}
