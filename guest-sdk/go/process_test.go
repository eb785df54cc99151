package sagabox_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
	"github.com/sagabox/sagabox/guest-sdk/go/processmanager"
	"github.com/sagabox/sagabox/guest-sdk/go/sagaboxtest"
)

type Order struct {
	OrderID string    `json:"orderId"`
	Placed  time.Time `json:"placed"`
	Paid    int64     `json:"paid"`
	Note    string    `json:"note,omitempty"`
}

type OrderPaid struct {
	OrderID string `json:"orderId" sagabox:"key"`
	Amount  int64  `json:"amount"`
}

type CancelOrder struct {
	OrderID string `json:"orderId" sagabox:"subject"`
	Reason  string `json:"reason"`
}

type PaymentReminder struct {
	Times int `json:"times"`
}

type Deadline struct{}

type process struct{ orders sagabox.States[Order] }

func (p process) placed(ctx context.Context, event OrderPlaced) error {
	p.orders.Put(ctx, &Order{OrderID: event.OrderID, Placed: sagabox.Now(ctx)})
	sagabox.Claim(ctx, "card-"+event.OrderID)
	if err := sagabox.SetTimer(ctx, PaymentReminder{1}, time.Hour); err != nil {
		return err
	}
	if err := sagabox.SetTimerAt(ctx, Deadline{}, sagabox.Now(ctx).Add(150*time.Minute)); err != nil {
		return err
	}
	return sagabox.Send(ctx, ChargeCard{OrderID: event.OrderID})
}

func (p process) paid(ctx context.Context, event OrderPaid) error {
	order := p.orders.GetOrNew(ctx)
	if event.Amount < 0 {
		order.Paid = -1
		return errors.New("less than nothing was paid")
	}
	order.Paid += event.Amount
	if order.Paid >= 10 {
		sagabox.CancelTimer(ctx, PaymentReminder{})
		sagabox.Release(ctx, "card-"+event.OrderID)
	}
	return nil
}

func (p process) remind(ctx context.Context, timer PaymentReminder) error {
	if err := sagabox.Send(ctx, ChargeCard{OrderID: sagabox.CorrelationKey(ctx), Total: int64(timer.Times)}); err != nil {
		return err
	}
	return sagabox.SetTimer(ctx, PaymentReminder{timer.Times + 1}, time.Hour)
}

func (p process) deadline(ctx context.Context, _ Deadline) error { return p.cancel(ctx, "too late") }

func (p process) cancel(ctx context.Context, reason string) error {
	sagabox.Complete(ctx)
	return sagabox.Send(ctx, CancelOrder{OrderID: p.orders.GetOrNew(ctx).OrderID, Reason: reason})
}

func (p process) undeliverable(ctx context.Context, command sagabox.Undeliverable) error {
	charge, isCharge, err := sagabox.Undelivered[ChargeCard](command)
	if err != nil || !isCharge {
		return err
	}
	return p.cancel(ctx, charge.OrderID+" not charged: "+command.Reason)
}

func (p process) cancelled(ctx context.Context, request sagabox.Cancelled) error {
	return p.cancel(ctx, request.By+": "+request.Reason)
}

func payments() *sagabox.Plugin {
	plugin, p := processmanager.New[Order]("payments", "1.0.0", ""), process{}
	plugin.Sends(ChargeCard{}, CancelOrder{})
	plugin.Register(OrderPlaced{}, p.placed, sagabox.Start)
	plugin.Register(OrderPaid{}, p.paid, sagabox.Hold(time.Hour))
	plugin.OnTimer(PaymentReminder{}, p.remind)
	plugin.OnTimer(Deadline{}, p.deadline)
	plugin.OnUndeliverable(p.undeliverable)
	plugin.OnCancelled(p.cancelled)
	return plugin
}

func TestAProcessKeepsItsStateFromEventToEvent(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	order := sagaboxtest.Given(t, payments()).Now("2026-03-01T12:00:00Z")
	order.When(OrderPaid{OrderID: "o-1", Amount: 1}).IsIgnored("held")
	order.When(placed("o-1")).
		Sends(ChargeCard{OrderID: "o-1"}).
		StateIs(Order{OrderID: "o-1", Placed: noon}).
		SetsTimer(PaymentReminder{1}, time.Hour).
		SetsTimerAt(Deadline{}, noon.Add(150*time.Minute)).
		Claims("card-o-1").
		GoesOn()
	order.When(placed("o-1")).IsIgnored("exists already")
	order.When(OrderPaid{OrderID: "o-2", Amount: 1}).IsIgnored("no instance has the key `o-2`")
	order.When(OrderPaid{OrderID: "o-1", Amount: -1}).Fails("less than nothing was paid")
	order.When(OrderPaid{OrderID: "card-o-1", Amount: 4}).StateIs(Order{OrderID: "o-1", Placed: noon, Paid: 4})
	var state Order
	order.When(OrderPaid{OrderID: "o-1", Amount: 6}).State(&state).CancelsTimer(PaymentReminder{}).Releases("card-o-1")
	if state.Paid != 10 {
		t.Error(state)
	}
}

func TestATimerIsNeverEarlyAndNeverBeforeItsInstance(t *testing.T) {
	day := time.Date(2026, 3, 1, 12, 0, 0, 1001, time.UTC)
	for _, test := range []struct {
		after   time.Duration
		at      time.Time
		refused string
	}{
		{-time.Hour, day, "the timer `deadline` cannot be set: -1h0m0s is negative"},
		{0, time.Time{}, "the timer `deadline` cannot be set: 0001-01-01T00:00:00Z is before 1970"},
		{0, time.Unix(0, -1), "1969-12-31T23:59:59.999999999Z is before 1970"},
		{1001 * time.Microsecond, day, ""},
	} {
		plugin := processmanager.New[Order]("payments", "1.0.0", "")
		plugin.Register(OrderPlaced{}, func(ctx context.Context, _ OrderPlaced) error {
			process{}.orders.GetOrNew(ctx)
			if err := sagabox.SetTimer(ctx, PaymentReminder{1}, 0); err != nil {
				return err
			}
			if err := sagabox.SetTimer(ctx, Deadline{}, test.after); err != nil {
				return err
			}
			return sagabox.SetTimerAt(ctx, Deadline{}, test.at)
		}, sagabox.Start)
		plugin.OnTimer(PaymentReminder{}, process{}.remind)
		plugin.OnTimer(Deadline{}, process{}.deadline)
		then := sagaboxtest.Given(t, plugin).When(placed("o-1"))
		if test.refused != "" {
			then.Fails(test.refused)
			continue
		}
		then.SetsTimer(Deadline{}, 2*time.Millisecond).SetsTimer(Deadline{}, 1001*time.Microsecond)
		then.SetsTimerAt(Deadline{}, day).SetsTimerAt(Deadline{}, day.Truncate(time.Millisecond).Add(time.Millisecond))
	}
}

func TestAGoroutineThatOutlivesItsHandlerIsReported(t *testing.T) {
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = log
	defer func() { os.Stderr = before }()
	goesOn, isDone := make(chan struct{}), make(chan struct{})
	plugin := processmanager.New[Order]("payments", "1.0.0", "")
	plugin.Sends(ChargeCard{})
	plugin.Register(OrderPlaced{}, func(ctx context.Context, event OrderPlaced) error {
		process{}.orders.GetOrNew(ctx)
		go func() {
			<-goesOn
			_ = sagabox.Send(ctx, ChargeCard{OrderID: event.OrderID})
			close(isDone)
		}()
		return nil
	}, sagabox.Start)
	sagaboxtest.Given(t, plugin).When(placed("o-1")).SendsNothing()
	close(goesOn)
	<-isDone
	text, err := os.ReadFile(log.Name())
	if expected := "ERROR a goroutine of the handler of `OrderPlaced` ("; err != nil || !strings.Contains(string(text), expected) {
		t.Error(string(text), err)
	}
}

func TestTimersFireWhenTheyAreDue(t *testing.T) {
	order := sagaboxtest.Given(t, payments()).Event(placed("o-1"))
	order.WhenTimePasses(59 * time.Minute).SendsNothing().GoesOn()
	order.WhenTimePasses(time.Minute).Sends(ChargeCard{OrderID: "o-1", Total: 1}).SetsTimer(PaymentReminder{2}, time.Hour)
	order.WhenTimePasses(10*time.Hour).
		Sends(ChargeCard{OrderID: "o-1", Total: 2}, CancelOrder{OrderID: "o-1", Reason: "too late"}).
		Completes()
	order.WhenTimePasses(10 * time.Hour).SendsNothing()
	order.When(OrderPaid{OrderID: "o-1"}).IsIgnored("complete")
}

func TestWhatCannotBeDeliveredIsCompensated(t *testing.T) {
	sagaboxtest.Given(t, payments()).Event(placed("o-1")).
		WhenUndeliverable(ChargeCard{OrderID: "o-1"}, "no such card").
		Sends(CancelOrder{OrderID: "o-1", Reason: "o-1 not charged: no such card"}).Completes()
	sagaboxtest.Given(t, payments()).Event(placed("o-1")).
		WhenUndeliverable(CancelOrder{OrderID: "o-1"}, "gone").SendsNothing().GoesOn()
	sagaboxtest.Given(t, payments()).Event(placed("o-1")).
		WhenCancelled("ada", "a test").Sends(CancelOrder{OrderID: "o-1", Reason: "ada: a test"}).Completes()
}

func TestAnInstanceThatStartsNeedsAState(t *testing.T) {
	plugin := processmanager.New[Order]("p", "1.0.0", "")
	plugin.Register(OrderPlaced{}, func(context.Context, OrderPlaced) error { return nil }, sagabox.Start)
	sagaboxtest.Given(t, plugin).When(placed("o-1")).Fails("it has started an instance without a state; call Put or GetOrNew")
}

func TestATimerWithoutAHandlerIsAFailure(t *testing.T) {
	plugin := processmanager.New[Order]("p", "1.0.0", "")
	plugin.Register(OrderPlaced{}, func(ctx context.Context, _ OrderPlaced) error {
		return sagabox.SetTimer(ctx, Deadline{}, time.Hour)
	}, sagabox.Start)
	sagaboxtest.Given(t, plugin).When(placed("o-1")).Fails("the timer `deadline` has no handler; add it with OnTimer")
}

func TestAnEventThatIsNotHandledLeavesTheStateAsItIs(t *testing.T) {
	const stored = `{"orderId":"o-1","placed":"2026-03-01T12:00:00Z","paid":3}`
	handle := func(change func(*Order)) wit.Reply {
		plugin := processmanager.New[Order]("p", "1.0.0", "")
		plugin.Register(OrderPlaced{}, func(ctx context.Context, _ OrderPlaced) error {
			order, _ := sagabox.States[Order]{}.Get(ctx)
			change(order)
			return nil
		})
		event := &wit.Event{Type: "OrderPlaced", Data: []byte(`{"orderId":"o-1"}`)}
		return plugin.Serve().Handle(event, &wit.State{Version: 1, Data: []byte(stored)}, &wit.Context{})
	}
	if reply := handle(func(*Order) {}); reply.Decision == nil || reply.Decision.State != nil {
		t.Errorf("%+v", reply)
	}
	if reply := handle(func(order *Order) { order.Note = "n" }); string(reply.Decision.State) != strings.TrimSuffix(stored, "}")+`,"note":"n"}` {
		t.Errorf("%s", reply.Decision.State)
	}
}

func TestStatesOfOtherVersionsAreConverted(t *testing.T) {
	versions := payments().StateVersion(2, func(from, to uint32, state sagabox.JSON) (any, error) {
		var old struct {
			ID string `json:"id"`
		}
		if err := state.Decode(&old); err != nil {
			return nil, err
		}
		if from == 1 && to == 2 {
			return Order{OrderID: old.ID}, nil
		}
		panic("unknown version")
	}).Serve()
	whole := `{"orderId":"o-1","placed":"0001-01-01T00:00:00Z","paid":0}`
	for _, test := range []struct {
		from, to        uint32
		state, expected string
	}{
		{1, 2, `{"id":"o-1"}`, whole},
		{2, 2, whole, whole},
		{2, 2, strings.Replace(whole, "}", `,"gone":null}`, 1), whole},
		{2, 2, strings.Replace(whole, "}", `,"colour":"red"}`, 1), "the stored state has `colour`, and this version of the plugin drops it"},
		{2, 2, `{"orderId":"o-1","paid":0}`, "the stored state does not fit: the field `placed` is missing"},
		{1, 2, `{}`, "the field `id` is missing"},
		{3, 2, `{"id":"o-1"}`, "go/process_test.go:"},
		{3, 2, `{"id":"o-1"}`, "panic: unknown version"},
	} {
		migrated, err := versions.Migrate(wit.State{Version: test.from, Data: []byte(test.state)}, test.to)
		if found := string(migrated); err != nil && !strings.Contains(err.Error(), test.expected) || err == nil && found != test.expected {
			t.Errorf("%d %d %s: %s %v", test.from, test.to, test.state, migrated, err)
		}
	}
	_, err := payments().Serve().Migrate(wit.State{Version: 1}, 2)
	if err == nil || err.Error() != "the plugin has no migration from version 1 to 2" {
		t.Error(err)
	}
	sagaboxtest.Given(t, payments().StateVersion(2, func(_, _ uint32, state sagabox.JSON) (any, error) { return state, nil })).
		StateOfVersion("o-1", 1, whole).When(OrderPaid{OrderID: "o-1", Amount: 2}).
		StateIs(Order{OrderID: "o-1", Paid: 2})
}
