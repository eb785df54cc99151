// The enricher of the conformance suite.
package main

import (
	"context"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/enricher"
)

func main() { plugin().Run() }

func plugin() *sagabox.Plugin {
	p := enricher.New("conformance-enricher", "1.0.0", "Tests of an SDK: an enricher")
	p.Publishes(Published{})
	p.Asks(string(customers))
	p.ReadsStreams()
	p.Register(Confirmed{}, confirmed)
	p.Register(Hidden{}, func(context.Context, Hidden) error { return nil })
	return p
}

type Customer struct {
	Name string `json:"name"`
}

const customers = sagabox.Lookup[Customer]("customers")

type Confirmed struct {
	ID       string `json:"id" sagabox:"key"`
	Customer string `json:"customer"`
}

type Hidden struct {
	ID string `json:"id" sagabox:"key"`
}

type ItemAdded struct {
	SKU string `json:"sku"`
}

type Published struct {
	ID    string   `json:"id" sagabox:"subject"`
	Name  *string  `json:"name,omitempty"`
	Items []string `json:"items"`
}

func confirmed(ctx context.Context, event Confirmed) error {
	found, failed := customers.LoadAll(ctx, event.Customer)
	past, err := sagabox.Stream(ctx, event.ID)
	// Both questions are asked at once.
	if failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	published := Published{ID: event.ID}
	if customer, isKnown := found[event.Customer]; isKnown {
		published.Name = &customer.Name
	}
	for _, event := range past {
		added, isAdded, err := sagabox.Decode[ItemAdded](event)
		if err != nil {
			return err
		}
		if isAdded {
			published.Items = append(published.Items, added.SKU)
		}
	}
	return sagabox.Publish(ctx, published)
}
