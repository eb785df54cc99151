// The saga of the conformance suite.
package main

import (
	"context"
	"time"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/decimal"
	"github.com/sagabox/sagabox/guest-sdk/go/saga"
)

func main() { plugin().Run() }

func plugin() *sagabox.Plugin {
	p := saga.New("conformance-saga", "1.0.0", "Tests of an SDK: a saga")
	p.Configure(Settings{Greeting: "hello", Patience: sagabox.Duration(time.Hour)})
	p.Sends(Echoed{}, sagabox.Type("Passed"), Told{}, Keyed{}, Greeted{}, Numbered{}, Seeded{}, Timed{}, Weighed{})
	p.Register(Echo{}, echo)
	p.Register(sagabox.Type("Pass"), pass)
	p.Register(sagabox.Type("Tell"), tell, sagabox.KeyAttribute("id"))
	p.Register(sagabox.Type("KeyedBySubject"), keyedRaw)
	p.Register(sagabox.Type("KeyedByTenant"), keyedRaw, sagabox.KeyAttribute("tenant"))
	p.Register(sagabox.Type("KeyedBySource"), keyedRaw, sagabox.KeyAttribute("source"))
	p.Register(sagabox.Type("KeyedByPointer"), keyedRaw, sagabox.Key("/orders"))
	p.Register(FromShop{}, keyed[FromShop], sagabox.From("/shop"))
	p.Register(FromShops{}, keyed[FromShops], sagabox.FromPrefix("/shops/"))
	p.Register(First{}, firstOrSecond)
	p.Register(Second{}, firstOrSecond)
	p.Register(Greet{}, greet)
	p.Register(Count{}, count)
	p.Register(Seed{}, seed)
	p.Register(When{}, when)
	p.Register(Log{}, logs)
	p.Register(Fail{}, fail)
	return p
}

type Settings struct {
	Greeting string           `json:"greeting"`
	Limit    *int64           `json:"limit,omitempty"`
	Patience sagabox.Duration `json:"patience"`
}

type Echo struct {
	ID     string            `json:"id" sagabox:"key"`
	Text   string            `json:"text"`
	Count  int64             `json:"count"`
	Weight float64           `json:"weight"`
	Price  decimal.Decimal   `json:"price"`
	At     time.Time         `json:"at"`
	Wait   *sagabox.Duration `json:"wait,omitempty"`
	Note   *string           `json:"note,omitempty"`
	Any    *sagabox.JSON     `json:"any,omitempty"`
}

type Echoed struct {
	ID     string            `json:"id" sagabox:"subject"`
	Text   string            `json:"text"`
	Count  int64             `json:"count"`
	Weight float64           `json:"weight"`
	Price  decimal.Decimal   `json:"price"`
	At     time.Time         `json:"at"`
	Wait   *sagabox.Duration `json:"wait,omitempty"`
	Note   *string           `json:"note,omitempty"`
	Any    *sagabox.JSON     `json:"any,omitempty"`
}

func echo(ctx context.Context, event Echo) error {
	echoed := Echoed(event)
	echoed.Text += "!"
	echoed.Count++
	echoed.Price = event.Price.Add(decimal.New(10, 2))
	echoed.At = event.At.Add(24 * time.Hour)
	if event.Wait != nil {
		wait := *event.Wait + sagabox.Duration(time.Minute)
		echoed.Wait = &wait
	}
	return sagabox.Send(ctx, echoed)
}

func pass(ctx context.Context, event sagabox.Event) error {
	extensions := map[string]string{"passed": "yes"}
	for name, value := range event.Extensions {
		extensions[name] = value
	}
	return sagabox.Send(ctx, sagabox.Message{
		Type: "Passed", Subject: event.Subject, ContentType: event.DataContentType,
		Extensions: extensions, Data: event.Data,
	})
}

type Told struct {
	ID          string            `json:"id"`
	Source      string            `json:"source"`
	Type        string            `json:"type"`
	Subject     string            `json:"subject,omitempty"`
	Time        string            `json:"time,omitempty"`
	ContentType string            `json:"contentType"`
	DataSchema  string            `json:"dataSchema,omitempty"`
	Extensions  map[string]string `json:"extensions"`
	Key         string            `json:"key"`
	Attempt     int               `json:"attempt"`
	Now         time.Time         `json:"now"`
}

func tell(ctx context.Context, event sagabox.Event) error {
	return sagabox.Send(ctx, Told{
		ID: event.ID, Source: event.Source, Type: event.Type, Subject: event.Subject, Time: event.Time,
		ContentType: event.DataContentType, DataSchema: event.DataSchema, Extensions: event.Extensions,
		Key: sagabox.CorrelationKey(ctx), Attempt: sagabox.Attempt(ctx), Now: sagabox.Now(ctx),
	})
}

type Keyed struct {
	Type string `json:"type"`
	Key  string `json:"key"`
}

func keyedRaw(ctx context.Context, event sagabox.Event) error {
	return sagabox.Send(ctx, Keyed{Type: event.Type, Key: sagabox.CorrelationKey(ctx)})
}

type FromShop struct {
	ID string `json:"id" sagabox:"key"`
}

type FromShops struct {
	ID string `json:"id" sagabox:"key"`
}

func keyed[E any](ctx context.Context, _ E) error { return keyedRaw(ctx, sagabox.EventOf(ctx)) }

type First struct {
	ID string `json:"id" sagabox:"key"`
}

type Second struct {
	ID    string `json:"id" sagabox:"key"`
	Count int64  `json:"count"`
}

// Either is First or Second.
type Either interface{ isEither() }

func (First) isEither()  {}
func (Second) isEither() {}

func firstOrSecond(ctx context.Context, event Either) error {
	keyed := Keyed{Key: sagabox.CorrelationKey(ctx)}
	switch event.(type) {
	case First:
		keyed.Type = "First"
	case Second:
		keyed.Type = "Second"
	}
	return sagabox.Send(ctx, keyed)
}

type Greet struct {
	ID string `json:"id" sagabox:"key"`
}

type Greeted struct {
	ID       string           `json:"id" sagabox:"subject"`
	Greeting string           `json:"greeting"`
	Limit    *int64           `json:"limit,omitempty"`
	Patience sagabox.Duration `json:"patience"`
}

func greet(ctx context.Context, event Greet) error {
	settings, err := sagabox.Configuration[Settings](ctx)
	if err != nil {
		return err
	}
	return sagabox.Send(ctx, Greeted{event.ID, settings.Greeting, settings.Limit, settings.Patience})
}

type Count struct {
	ID string `json:"id" sagabox:"key"`
	To int64  `json:"to"`
}

type Numbered struct {
	Number int64 `json:"number"`
}

func count(ctx context.Context, event Count) error {
	for number := int64(1); number <= event.To; number++ {
		if err := sagabox.Send(ctx, Numbered{number}); err != nil {
			return err
		}
	}
	return nil
}

type Seed struct {
	ID string `json:"id" sagabox:"key"`
}

type Seeded struct {
	Seed string `json:"seed"`
}

func seed(ctx context.Context, _ Seed) error {
	return sagabox.Send(ctx, Seeded{sagabox.SeedOf(ctx)})
}

type When struct {
	ID string `json:"id" sagabox:"key"`
}

type Timed struct {
	Now   time.Time  `json:"now"`
	Event *time.Time `json:"event,omitempty"`
}

func when(ctx context.Context, _ When) error {
	timed := Timed{Now: sagabox.Now(ctx)}
	if at, isKnown := sagabox.EventTime(ctx); isKnown {
		timed.Event = &at
	}
	return sagabox.Send(ctx, timed)
}
