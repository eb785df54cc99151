// Package patterns contains the patterns of event-driven architecture in the form in which Go
// programs usually have them, and shows that this code is a plugin. The README compares both.
package patterns

import (
	"context"
	"testing"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/reactor"
	"github.com/sagabox/sagabox/guest-sdk/go/sagaboxtest"
)

type ProductItem struct {
	ProductID string `json:"productId"`
	Quantity  int    `json:"quantity"`
}

type PaymentCompleted struct {
	OrderID      string        `json:"orderId" sagabox:"key"`
	ProductItems []ProductItem `json:"productItems"`
}

type OrderCancelled struct {
	OrderID string `json:"orderId" sagabox:"key"`
}

type SendPackage struct {
	OrderID      string        `json:"orderId" sagabox:"subject"`
	ProductItems []ProductItem `json:"productItems"`
}

type NotifyOutOfStock struct {
	OrderID      string        `json:"orderId" sagabox:"subject"`
	ProductItems []ProductItem `json:"productItems"`
}

type RefundPayment struct {
	OrderID string `json:"orderId" sagabox:"subject"`
}

type Stock struct {
	Available int `json:"available"`
}

// ShipmentService handles shipping operations through choreography
type ShipmentService struct {
	commandBus sagabox.CommandBus
	inventory  sagabox.Lookup[Stock]
}

func NewShipmentService(commandBus sagabox.CommandBus, inventory sagabox.Lookup[Stock]) *ShipmentService {
	return &ShipmentService{
		commandBus: commandBus,
		inventory:  inventory,
	}
}

// React to payment completion - no central coordinator needed
func (s *ShipmentService) HandlePaymentCompleted(ctx context.Context, evt PaymentCompleted) error {
	// Check if product is available
	if s.isProductAvailable(ctx, evt.ProductItems) {
		cmd := SendPackage{
			OrderID:      evt.OrderID,
			ProductItems: evt.ProductItems,
		}
		return s.commandBus.Send(ctx, cmd)
	}

	// If product not available, emit event for other services to handle
	cmd := NotifyOutOfStock{
		OrderID:      evt.OrderID,
		ProductItems: evt.ProductItems,
	}
	return s.commandBus.Send(ctx, cmd)
}

func (s *ShipmentService) isProductAvailable(ctx context.Context, items []ProductItem) bool {
	// Business logic to check product availability
	for _, item := range items {
		if !s.checkInventory(ctx, item.ProductID, item.Quantity) {
			return false
		}
	}
	return true
}

func (s *ShipmentService) checkInventory(ctx context.Context, productID string, quantity int) bool {
	stock, err := s.inventory.Load(ctx, productID)
	return err == nil && stock.Available >= quantity
}

type PaymentService struct {
	commandBus sagabox.CommandBus
}

func (s *PaymentService) HandleOrderCancelled(ctx context.Context, evt OrderCancelled) error {
	return s.commandBus.Send(ctx, RefundPayment{OrderID: evt.OrderID})
}

func setupChoreography(eventBus sagabox.EventBus, commandBus sagabox.CommandBus) {
	shipmentService := NewShipmentService(commandBus, "stock")
	paymentService := &PaymentService{commandBus: commandBus}

	// Each service registers for events it cares about
	eventBus.Subscribe(PaymentCompleted{}, shipmentService.HandlePaymentCompleted)
	eventBus.Subscribe(OrderCancelled{}, paymentService.HandleOrderCancelled)
}

func choreography() *sagabox.Plugin {
	plugin := reactor.New("shipment", "0.1.0", "Sends paid orders that are in stock")
	plugin.Sends(SendPackage{}, NotifyOutOfStock{}, RefundPayment{}).Asks("stock")
	setupChoreography(plugin, plugin)
	return plugin
}

func TestTheChoreographyStands(t *testing.T) {
	items := []ProductItem{{"mug", 2}, {"hat", 1}}
	paid := PaymentCompleted{OrderID: "o-1", ProductItems: items}
	sagaboxtest.Given(t, choreography()).
		Answer("stock", "mug", Stock{2}).Answer("stock", "hat", Stock{5}).
		When(paid).Sends(SendPackage{OrderID: "o-1", ProductItems: items})
	sagaboxtest.Given(t, choreography()).
		Answer("stock", "mug", Stock{2}).
		When(paid).Sends(NotifyOutOfStock{OrderID: "o-1", ProductItems: items})
	sagaboxtest.Given(t, choreography()).
		When(OrderCancelled{OrderID: "o-1"}).Sends(RefundPayment{OrderID: "o-1"})
}
