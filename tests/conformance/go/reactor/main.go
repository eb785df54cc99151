// The reactor of the conformance suite.
package main

import (
	"context"
	"fmt"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/reactor"
)

func main() { plugin().Run() }

func plugin() *sagabox.Plugin {
	p := reactor.New("conformance-reactor", "1.0.0", "Tests of an SDK: a reactor")
	p.Sends(Reserve{})
	p.Publishes(OutOfStock{}, Counted{}, sagabox.Type("Announced"))
	p.Asks(string(stock))
	p.ReadsStreams()
	p.Subscribe(Check{}, check)
	p.Subscribe(Substitute{}, substitute)
	p.Subscribe(History{}, history)
	p.Subscribe(Announce{}, announce)
	return p
}

type Stock struct {
	Available  int64   `json:"available"`
	Substitute *string `json:"substitute,omitempty"`
}

const stock = sagabox.Lookup[Stock]("stock")

type Check struct {
	ID   string   `json:"id" sagabox:"key"`
	SKUs []string `json:"skus"`
}

type Reserve struct {
	ID        string `json:"id" sagabox:"subject"`
	SKU       string `json:"sku"`
	Available int64  `json:"available"`
}

type OutOfStock struct {
	ID  string `json:"id" sagabox:"subject"`
	SKU string `json:"sku"`
}

func check(ctx context.Context, event Check) error {
	stocks, err := stock.LoadAll(ctx, event.SKUs...)
	if err != nil {
		return err
	}
	for _, sku := range event.SKUs {
		found, isThere := stocks[sku]
		if isThere {
			err = sagabox.Send(ctx, Reserve{event.ID, sku, found.Available})
		} else {
			err = sagabox.Publish(ctx, OutOfStock{event.ID, sku})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type Substitute struct {
	ID  string `json:"id" sagabox:"key"`
	SKU string `json:"sku"`
}

func substitute(ctx context.Context, event Substitute) error {
	sku := event.SKU
	for {
		found, err := stock.Load(ctx, sku)
		switch {
		case sagabox.IsNotFound(err):
			return fmt.Errorf("no stock of %s", sku)
		case err != nil:
			return err
		case found.Substitute == nil:
			return sagabox.Send(ctx, Reserve{event.ID, sku, found.Available})
		}
		sku = *found.Substitute
	}
}

type History struct {
	ID string `json:"id" sagabox:"key"`
}

type Added struct {
	ID    string `json:"id"`
	Count int64  `json:"count"`
}

type Counted struct {
	ID    string   `json:"id" sagabox:"subject"`
	Types []string `json:"types"`
	Sum   int64    `json:"sum"`
}

func history(ctx context.Context, event History) error {
	events, err := sagabox.Stream(ctx, event.ID)
	if err != nil {
		return err
	}
	counted := Counted{ID: event.ID}
	for _, past := range events {
		counted.Types = append(counted.Types, past.Type)
		added, _, err := sagabox.Decode[Added](past)
		if err != nil {
			return err
		}
		counted.Sum += added.Count
	}
	return sagabox.Publish(ctx, counted)
}

type Announce struct {
	ID   string `json:"id" sagabox:"key"`
	Text string `json:"text"`
}

func announce(ctx context.Context, event Announce) error {
	return sagabox.Publish(ctx, sagabox.Message{
		Type: "Announced", Subject: event.ID, ContentType: "text/plain",
		Extensions: map[string]string{"language": "en"}, Data: []byte(event.Text),
	})
}
