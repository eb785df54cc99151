package sagabox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
	"github.com/sagabox/sagabox/guest-sdk/go/processmanager"
	"github.com/sagabox/sagabox/guest-sdk/go/reactor"
	"github.com/sagabox/sagabox/guest-sdk/go/saga"
	"github.com/sagabox/sagabox/guest-sdk/go/sagaboxtest"
)

type OrderPlaced struct {
	OrderID string `json:"orderId" sagabox:"key"`
	Total   int64  `json:"total,omitempty"`
}

type ChargeCard struct {
	OrderID string `json:"orderId" sagabox:"subject"`
	Total   int64  `json:"total"`
}

func placed(id string) OrderPlaced { return OrderPlaced{OrderID: id} }

func manifestOf(t *testing.T, plugin *sagabox.Plugin) *wit.Manifest {
	t.Helper()
	manifest, err := plugin.Serve().Describe()
	if err != nil {
		t.Fatal(err)
	}
	return manifest
}

func orders(handle func(context.Context, OrderPlaced) error) *sagabox.Plugin {
	plugin := saga.New("orders", "1.0.0", "Charges orders")
	plugin.Sends(ChargeCard{})
	plugin.Register(OrderPlaced{}, handle)
	return plugin
}

func TestTheManifestSaysWhatIsRegistered(t *testing.T) {
	handle := func(context.Context, sagabox.Event) error { return nil }
	plugin := reactor.New("mixed", "1.2.3", "Takes all kinds")
	plugin.Sends(ChargeCard{}, sagabox.Type("raw command")).Publishes(OrderPlaced{})
	plugin.Asks("stock", "price").ReadsStreams()
	plugin.Subscribe(OrderPlaced{}, handle, sagabox.From("/shop"))
	plugin.Subscribe(ChargeCard{}, handle, sagabox.Key("/orderId"), sagabox.FromPrefix("/shop/"))
	plugin.Subscribe(sagabox.Type("by subject"), handle)
	plugin.Subscribe(sagabox.Type("by tenant"), handle, sagabox.KeyAttribute("tenant"))
	manifest := manifestOf(t, plugin)
	expected := []wit.Subscription{
		{Type: "OrderPlaced", SourceKind: wit.ExactSource, Source: "/shop", Key: wit.Correlation{Kind: wit.ByPointer, Name: "/orderId"}, Effect: wit.Handle},
		{Type: "ChargeCard", SourceKind: wit.SourcePrefix, Source: "/shop/", Key: wit.Correlation{Kind: wit.ByPointer, Name: "/orderId"}, Effect: wit.Handle},
		{Type: "by subject", Effect: wit.Handle},
		{Type: "by tenant", Key: wit.Correlation{Kind: wit.ByAttribute, Name: "tenant"}, Effect: wit.Handle},
	}
	if fmt.Sprint(manifest.Subscriptions) != fmt.Sprint(expected) {
		t.Errorf("\n%v\n%v", manifest.Subscriptions, expected)
	}
	found := fmt.Sprint(manifest.Commands, manifest.Events, manifest.Lookups, manifest.Streams, manifest.StateVersion)
	if found != "[ChargeCard raw command] [OrderPlaced] [stock price] true 0" {
		t.Error(found)
	}
	// What is taken is described as it is read, also if it is published as well.
	if len(manifest.Schemas) != 2 || manifest.Schemas[1].Name != "ChargeCard" ||
		!strings.HasSuffix(manifest.Schemas[0].Value, `"required":["orderId"]}`) {
		t.Error(manifest.Schemas)
	}
}

func TestFieldsAndSummaryComeFromTheState(t *testing.T) {
	type state struct {
		OrderID string    `json:"orderId"`
		Paid    *bool     `json:"paid,omitempty"`
		At      time.Time `json:"at"`
		Items   []string  `json:"items"`
		Odd     int       `json:"not-a-name"`
		Count   uint32    `json:"count"`
	}
	derived := manifestOf(t, processmanager.New[state]("p", "1.0.0", ""))
	if fmt.Sprint(derived.Fields) != "[{orderId /orderId} {paid /paid} {at /at} {count /count}]" ||
		*derived.Summary != "orderId {orderId}, paid {paid}, at {at}" {
		t.Error(derived.Fields, *derived.Summary)
	}
	own := processmanager.New[state]("p", "1.0.0", "").Field("first", "/items/0").Summary("{first}!")
	if manifest := manifestOf(t, own); fmt.Sprintf("%v %s", manifest.Fields, *manifest.Summary) != "[{first /items/0}] {first}!" {
		t.Error(manifest.Fields)
	}
	without := processmanager.New[state]("p", "1.0.0", "").WithoutFields()
	if manifest := manifestOf(t, without); len(manifest.Fields) != 0 || manifest.Summary != nil {
		t.Error(manifest.Fields)
	}
}

func TestMistakesInDeclarationsAreReportedWithTheirLine(t *testing.T) {
	plugin := saga.New("mistaken", "1.0.0", "")
	plugin.Register(OrderPlaced{}, func(context.Context, ChargeCard) error { return nil })
	plugin.Register(ChargeCard{}, func(ChargeCard) {})
	plugin.Register(OrderPlaced{}, func(context.Context, OrderPlaced) error { return nil }, sagabox.Start, sagabox.Key("/orderID"))
	plugin.OnTimer(OrderPlaced{}, func(context.Context, OrderPlaced) error { return nil })
	plugin.Sends(make(chan int), nil)
	plugin.StateVersion(2, nil)
	_, err := plugin.Serve().Describe()
	if err == nil {
		t.Fatal("no error")
	}
	for _, expected := range []string{
		"go/plugin_test.go:", "the plugin `mistaken` cannot run",
		"the handler of `OrderPlaced` takes a sagabox_test.ChargeCard; expected a sagabox_test.OrderPlaced",
		"the handler of `ChargeCard` is a func(sagabox_test.ChargeCard); expected func(context.Context, sagabox_test.ChargeCard) error",
		"a saga has no instances; Start,", "a saga has no instances; timers,",
		"the key \"/orderID\" leads to nothing in `OrderPlaced`, which has orderId, total",
		"chan int has no form in JSON", "a value of the type is expected, and not nil", "a saga has no state",
	} {
		if !strings.Contains(err.Error(), expected) {
			t.Errorf("%v\n  expected %s", err, expected)
		}
	}
}

func TestAFailureNamesTheLineAndTheHandler(t *testing.T) {
	test := func(handle func(context.Context, OrderPlaced) error) *sagaboxtest.Outcome {
		return sagaboxtest.Given(t, orders(handle)).When(placed("o-1"))
	}
	test(func(context.Context, OrderPlaced) error { return errors.New("no stock") }).
		Fails("go/plugin_test.go:").Fails(": no stock").Fails("TestAFailureNamesTheLineAndTheHandler")
	test(func(context.Context, OrderPlaced) error { return sagabox.Permanent(errors.New("never")) }).
		Fails("go/plugin_test.go:").Fails(": never")
	test(func(context.Context, OrderPlaced) error {
		return fmt.Errorf("charging: %w", sagabox.Transient(errors.New("busy")))
	}).FailsTransiently("go/plugin_test.go:").FailsTransiently("charging: busy")
	test(func(context.Context, OrderPlaced) error {
		var none []int
		return fmt.Errorf("%d", none[3])
	}).Fails("go/plugin_test.go:").Fails("panic: runtime error: index out of range [3] with length 0")
	test(func(ctx context.Context, event OrderPlaced) error { return sagabox.Send(ctx, event) }).
		Fails("the plugin does not declare the command `OrderPlaced`; add it to Sends")
	// A command is not lost, also if the handler does not look at the error.
	test(func(ctx context.Context, event OrderPlaced) error {
		_ = sagabox.Send(ctx, event)
		return nil
	}).Fails("the plugin does not declare the command `OrderPlaced`; add it to Sends").Fails("go/plugin_test.go:")
	test(func(ctx context.Context, event OrderPlaced) error {
		_ = sagabox.Publish(ctx, event)
		_ = sagabox.Send(ctx, nil)
		return nil
	}).Fails("the plugin does not declare the event `OrderPlaced`; add it to Publishes")
	test(func(ctx context.Context, _ OrderPlaced) error { return sagabox.Send(ctx, ChargeCard{}) }).
		Fails("`ChargeCard` cannot be sent: its subject, the field `orderId`, is empty")
	test(func(context.Context, OrderPlaced) error { return sagabox.Send(context.Background(), ChargeCard{}) }).
		Fails("this context does not come from a handler")
	if sagabox.Transient(nil) != nil || sagabox.Permanent(nil) != nil {
		t.Error("no error is no failure")
	}
}

func TestWhatWasSentBeforeAFailureIsNotSent(t *testing.T) {
	attempts := 0
	plugin := orders(func(ctx context.Context, event OrderPlaced) error {
		attempts++
		if err := sagabox.Send(ctx, ChargeCard{OrderID: event.OrderID}); err != nil || attempts > 1 {
			return err
		}
		return errors.New("after")
	})
	test := sagaboxtest.Given(t, plugin)
	test.When(placed("o-1")).Fails("after")
	test.When(placed("o-1")).Sends(ChargeCard{OrderID: "o-1"})
}

func TestDataThatDoesNotFitNamesTheEventAndTheField(t *testing.T) {
	plugin := orders(func(context.Context, OrderPlaced) error { return nil })
	sagaboxtest.Given(t, plugin).
		When(sagabox.Event{Type: "OrderPlaced", Data: []byte(`{"orderId":"o-1","total":1.5}`)}).
		Fails("the data of `OrderPlaced` does not fit: the field `total` is 1.5, which is no int64")
}

type Stock struct {
	Available int `json:"available"`
}

const stock = sagabox.Lookup[Stock]("stock")

func asking(handle func(context.Context, OrderPlaced) error) *sagabox.Plugin {
	return orders(handle).Asks("stock")
}

func TestAQuestionIsAnErrorUntilItIsAnswered(t *testing.T) {
	calls := 0
	plugin := asking(func(ctx context.Context, event OrderPlaced) error {
		calls++
		if err := sagabox.Send(ctx, ChargeCard{OrderID: "o-1", Total: 1}); err != nil {
			return err
		}
		found, err := stock.Load(ctx, "mug")
		if err != nil {
			return err
		}
		return sagabox.Send(ctx, ChargeCard{OrderID: "o-1", Total: int64(found.Available)})
	})
	sagaboxtest.Given(t, plugin).Answer("stock", "mug", Stock{7}).When(placed("o-1")).
		Asks("stock", "mug").
		Sends(ChargeCard{OrderID: "o-1", Total: 1}, ChargeCard{OrderID: "o-1", Total: 7})
	if calls != 2 {
		t.Error(calls)
	}
	sagaboxtest.Given(t, plugin).When(placed("o-1")).Fails("stock `mug`: not found")
	sagaboxtest.Given(t, plugin).Answer("stock", "mug", map[string]string{"available": "many"}).When(placed("o-1")).
		Fails("the answer of the lookup `stock` does not fit: the field `available` is a string; expected a number")
}

func TestAHandlerThatGoesOnWithoutTheAnswerDecidesNothing(t *testing.T) {
	plugin := asking(func(ctx context.Context, event OrderPlaced) error {
		found, _ := stock.Load(ctx, "mug")
		if found.Available == 0 {
			panic("nothing there")
		}
		return nil
	})
	sagaboxtest.Given(t, plugin).Answer("stock", "mug", Stock{1}).When(placed("o-1")).SendsNothing()
	sagaboxtest.Given(t, plugin).When(placed("o-1")).Fails("nothing there")
}

func TestQuestionsInGoroutinesAreAskedAtOnce(t *testing.T) {
	rounds := 0
	plugin := asking(func(ctx context.Context, event OrderPlaced) error {
		rounds++
		var all sync.WaitGroup
		var mutex sync.Mutex
		total := 0
		for _, sku := range []string{"a", "b", "c"} {
			all.Add(1)
			go func() {
				defer all.Done()
				if found, err := stock.Load(ctx, sku); err == nil {
					mutex.Lock()
					total += found.Available
					mutex.Unlock()
				}
			}()
		}
		all.Wait()
		return sagabox.Send(ctx, ChargeCard{OrderID: "o-1", Total: int64(total)})
	})
	sagaboxtest.Given(t, plugin).
		Answer("stock", "a", Stock{1}).Answer("stock", "b", Stock{2}).Answer("stock", "c", Stock{3}).
		When(placed("o-1")).Sends(ChargeCard{OrderID: "o-1", Total: 6})
	if rounds != 2 {
		t.Error(rounds)
	}
}

func TestSeveralKeysAreAskedAtOnce(t *testing.T) {
	plugin := asking(func(ctx context.Context, event OrderPlaced) error {
		found, err := stock.LoadAll(ctx, "a", "b", "a")
		if err != nil {
			return err
		}
		return sagabox.Send(ctx, ChargeCard{OrderID: "o-1", Total: int64(len(found)*10 + found["a"].Available)})
	})
	sagaboxtest.Given(t, plugin).Answer("stock", "a", Stock{1}).When(placed("o-1")).
		Asks("stock", "a", "b").Sends(ChargeCard{OrderID: "o-1", Total: 11})
}

func TestAQuestionThatIsNotDeclaredIsAFailure(t *testing.T) {
	sagaboxtest.Given(t, orders(func(ctx context.Context, _ OrderPlaced) error {
		_, err := stock.Load(ctx, "mug")
		return err
	})).When(placed("o-1")).Fails("the plugin does not declare the lookup `stock`; add it with Asks")
	sagaboxtest.Given(t, orders(func(ctx context.Context, _ OrderPlaced) error {
		_, err := sagabox.Stream(ctx, "c-1")
		return err
	})).When(placed("o-1")).Fails("the plugin does not declare that it reads streams")
}

type Settings struct {
	Patience sagabox.Duration `json:"patience"`
}

func TestSettingsHaveTheirDefaults(t *testing.T) {
	plugin := orders(func(ctx context.Context, event OrderPlaced) error {
		settings, err := sagabox.Configuration[Settings](ctx)
		if err != nil {
			return err
		}
		return sagabox.Send(ctx, ChargeCard{OrderID: "o-1", Total: int64(time.Duration(settings.Patience).Minutes())})
	}).Configure(Settings{Patience: sagabox.Duration(time.Hour)})
	sagaboxtest.Given(t, plugin).When(placed("o-1")).Sends(ChargeCard{OrderID: "o-1", Total: 60})
	sagaboxtest.Given(t, plugin).Configuration(`{"patience":"1h 30m"}`).When(placed("o-1")).Sends(ChargeCard{OrderID: "o-1", Total: 90})
	sagaboxtest.Given(t, plugin).Configuration(`{"patienc":"1h"}`).When(placed("o-1")).
		Fails("the plugin's configuration: the field `patienc` is unknown; there are patience")
}

func TestRandomNumbersAreThoseOfTheEvent(t *testing.T) {
	var ids []string
	plugin := orders(func(ctx context.Context, _ OrderPlaced) error {
		ids = append(ids, sagabox.NewID(ctx), sagabox.NewID(ctx))
		return nil
	})
	sagaboxtest.Given(t, plugin).When(placed("o-1"))
	second := sagaboxtest.Given(t, plugin)
	second.When(placed("o-1"))
	second.When(placed("o-1"))
	if ids[0] == ids[1] || ids[0] != ids[2] || ids[1] != ids[3] || ids[2] == ids[4] || len(ids[0]) != 36 || ids[0][14] != '8' {
		t.Error(ids)
	}
}

func TestAMessageCanSayMoreThanItsData(t *testing.T) {
	plugin := saga.New("raw", "1.0.0", "").Sends(ChargeCard{}, sagabox.Type("note"))
	plugin.Register(sagabox.Type("order deleted"), func(ctx context.Context, event sagabox.Event) error {
		if err := sagabox.Send(ctx, sagabox.Message{Data: ChargeCard{OrderID: "o-1"}, Extensions: event.Extensions}); err != nil {
			return err
		}
		return sagabox.Send(ctx, sagabox.Message{Type: "note", Subject: event.Subject, ContentType: "text/plain", Data: event.Data})
	})
	sagaboxtest.Given(t, plugin).
		When(sagabox.Event{Type: "order deleted", Subject: "o-1", Data: []byte("ä\x00"), Extensions: map[string]string{"tenant": "a"}}).
		Sends(
			sagabox.Message{Data: ChargeCard{OrderID: "o-1"}, Extensions: map[string]string{"tenant": "a"}},
			sagabox.Message{Type: "note", Subject: "o-1", ContentType: "text/plain", Data: []byte("ä\x00")},
		)
}

func TestWhatNoHandlerTakesIsAFailureOrIgnored(t *testing.T) {
	event := &wit.Event{Type: "of an older version"}
	plugin := orders(func(context.Context, OrderPlaced) error { return nil })
	reply := plugin.Serve().Handle(event, nil, &wit.Context{})
	if reply.Failure == nil || reply.Failure.Reason != "the plugin has no handler for `of an older version`" {
		t.Errorf("%+v", reply)
	}
	if reply := plugin.IgnoreUnhandled().Serve().Handle(event, nil, &wit.Context{}); reply.Decision == nil {
		t.Errorf("%+v", reply)
	}
}

func TestDurationsAreReadAsTheyAreWritten(t *testing.T) {
	for text, expected := range map[string]time.Duration{
		"0s": 0, "1ms": time.Millisecond, "1h 30m": 90 * time.Minute, "1d 1h 1m 1s 1ms": 25*time.Hour + time.Minute + time.Second + time.Millisecond,
	} {
		read, err := sagabox.ParseDuration(text)
		if err != nil || time.Duration(read) != expected || read.String() != text {
			t.Errorf("%s: %s %v", text, read, err)
		}
	}
	if read, err := sagabox.ParseDuration(" 1h30m "); err != nil || time.Duration(read) != 90*time.Minute {
		t.Error(read, err)
	}
	for _, wrong := range []string{"", "5", "h", "-1s", "1.5h", "1 h", "99999999999999999999d", "9999999999d", "1w"} {
		if read, err := sagabox.ParseDuration(wrong); err == nil {
			t.Errorf("%s: %s", wrong, read)
		}
	}
}
