package patterns

import (
	"context"
	"testing"
	"time"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/decimal"
	"github.com/sagabox/sagabox/guest-sdk/go/enricher"
	"github.com/sagabox/sagabox/guest-sdk/go/sagaboxtest"
)

type CartConfirmed struct {
	CartID      string    `json:"cartId" sagabox:"key"`
	ConfirmedAt time.Time `json:"confirmedAt"`
}

type ShoppingCartFinalized struct {
	CartID       string          `json:"cartId" sagabox:"subject"`
	ClientID     string          `json:"clientId"`
	ProductItems []ProductItem   `json:"productItems"`
	TotalPrice   decimal.Decimal `json:"totalPrice"`
	ConfirmedAt  time.Time       `json:"confirmedAt"`
}

// Cart is the aggregate, as the lookup answers it.
type Cart struct {
	Client string          `json:"clientId"`
	Items  []ProductItem   `json:"productItems"`
	Total  decimal.Decimal `json:"totalPrice"`
}

func (c Cart) ClientID() string            { return c.Client }
func (c Cart) ProductItems() []ProductItem { return c.Items }
func (c Cart) TotalPrice() decimal.Decimal { return c.Total }

// ShoppingCartExternalEventForwarder enriches and forwards internal events
type ShoppingCartExternalEventForwarder struct {
	aggregateStore sagabox.Lookup[Cart]
	eventBus       sagabox.EventBus
}

func NewShoppingCartExternalEventForwarder(
	aggregateStore sagabox.Lookup[Cart],
	eventBus sagabox.EventBus,
) *ShoppingCartExternalEventForwarder {
	return &ShoppingCartExternalEventForwarder{
		aggregateStore: aggregateStore,
		eventBus:       eventBus,
	}
}

func (f *ShoppingCartExternalEventForwarder) HandleCartConfirmed(
	ctx context.Context,
	evt CartConfirmed,
) error {
	// Load the aggregate to enrich the event
	cart, err := f.aggregateStore.Load(ctx, evt.CartID)
	if err != nil {
		return err
	}

	// Create external event with enriched data
	externalEvent := ShoppingCartFinalized{
		CartID:       evt.CartID,
		ClientID:     cart.ClientID(),
		ProductItems: cart.ProductItems(),
		TotalPrice:   cart.TotalPrice(),
		ConfirmedAt:  evt.ConfirmedAt,
	}

	return f.eventBus.Publish(ctx, externalEvent)
}

func enrichment() *sagabox.Plugin {
	plugin := enricher.New("cart-forwarder", "0.1.0", "Publishes a confirmed cart with all its items")
	plugin.Publishes(ShoppingCartFinalized{}).Asks("carts")
	forwarder := NewShoppingCartExternalEventForwarder("carts", plugin)
	plugin.Subscribe(CartConfirmed{}, forwarder.HandleCartConfirmed)
	return plugin
}

func TestTheEnrichmentStands(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	items := []ProductItem{{"mug", 2}}
	confirmed := CartConfirmed{CartID: "c-1", ConfirmedAt: noon}
	sagaboxtest.Given(t, enrichment()).
		Answer("carts", "c-1", Cart{Client: "ann", Items: items, Total: decimal.MustParse("19.90")}).
		When(confirmed).
		Sends(ShoppingCartFinalized{
			CartID: "c-1", ClientID: "ann", ProductItems: items, TotalPrice: decimal.New(1990, 2), ConfirmedAt: noon,
		})
	sagaboxtest.Given(t, enrichment()).When(confirmed).Fails("carts `c-1`: not found")
}
