// The process manager of the conformance suite.
package main

import (
	"context"
	"fmt"
	"time"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/processmanager"
)

func main() { plugin().Run() }

func plugin() *sagabox.Plugin {
	p := processmanager.New[State]("conformance-process-manager", "1.0.0", "Tests of an SDK: a process manager")
	p.StateVersion(2, migrate)
	p.Field("id", "/id").Field("count", "/count").Summary("process {id}: {count}")
	p.Sends(Welcome{}, Remind{}, Goodbye{}, Apologize{})
	p.Publishes(ProcessClosed{})
	p.Asks(string(customers))
	p.Register(Started{}, started, sagabox.Start)
	p.Register(Added{}, added, sagabox.StartOrHandle)
	p.Register(Linked{}, linked, sagabox.FailIfAbsent)
	p.Register(Unlinked{}, unlinked)
	p.Register(Touched{}, touched, sagabox.Hold(10*time.Minute))
	p.Register(Paused{}, paused)
	p.Register(Asked{}, asked)
	p.Register(Broken{}, broken)
	p.Register(Closed{}, closed)
	p.OnTimer(Reminder{}, remind)
	p.OnTimer(Deadline{}, deadline)
	p.OnUndeliverable(undeliverable)
	p.OnCancelled(cancelled)
	return p
}

type State struct {
	ID    string     `json:"id"`
	Count int64      `json:"count"`
	Notes []string   `json:"notes"`
	Last  *time.Time `json:"last,omitempty"`
}

var states sagabox.States[State]

type StateV1 struct {
	ID    string `json:"id"`
	Total int64  `json:"total"`
}

func migrate(from, to uint32, data sagabox.JSON) (any, error) {
	switch {
	case from == 1 && to == 2:
		var old StateV1
		if err := data.Decode(&old); err != nil {
			return nil, err
		}
		if old.Total < 0 {
			panic(fmt.Sprintf("negative %d", old.Total))
		}
		return State{ID: old.ID, Count: old.Total}, nil
	case from == 2 && to == 1:
		var state State
		if err := data.Decode(&state); err != nil {
			return nil, err
		}
		return StateV1{ID: state.ID, Total: state.Count}, nil
	}
	return nil, fmt.Errorf("there is no migration from version %d to %d", from, to)
}

type Welcome struct {
	ID string `json:"id" sagabox:"subject"`
}

type Remind struct {
	ID    string `json:"id" sagabox:"subject"`
	Times int64  `json:"times"`
}

type Goodbye struct {
	ID    string `json:"id" sagabox:"subject"`
	Count int64  `json:"count"`
}

type Apologize struct {
	ID       string `json:"id" sagabox:"subject"`
	Reason   string `json:"reason"`
	Attempts int64  `json:"attempts"`
}

type ProcessClosed struct {
	ID string `json:"id" sagabox:"subject"`
}

type Customer struct {
	Name string `json:"name"`
}

const customers = sagabox.Lookup[Customer]("customers")

type Reminder struct {
	Times int64 `json:"times"`
}

type Deadline struct{}

type Started struct {
	ID    string   `json:"id" sagabox:"key"`
	Notes []string `json:"notes,omitempty"`
}

func started(ctx context.Context, event Started) error {
	states.Put(ctx, &State{ID: event.ID, Notes: event.Notes})
	if err := sagabox.SetTimer(ctx, Reminder{Times: 1}, time.Hour); err != nil {
		return err
	}
	if err := sagabox.SetTimerAt(ctx, Deadline{}, sagabox.Now(ctx).Add(24*time.Hour)); err != nil {
		return err
	}
	return sagabox.Send(ctx, Welcome{event.ID})
}

type Added struct {
	ID   string `json:"id" sagabox:"key"`
	Note string `json:"note"`
}

func added(ctx context.Context, event Added) error {
	state := states.GetOrNew(ctx)
	now := sagabox.Now(ctx)
	state.ID, state.Last = event.ID, &now
	state.Count++
	state.Notes = append(state.Notes, event.Note)
	return nil
}

type Linked struct {
	ID   string   `json:"id" sagabox:"key"`
	Keys []string `json:"keys"`
}

func linked(ctx context.Context, event Linked) error {
	sagabox.Claim(ctx, event.Keys...)
	return nil
}

type Unlinked struct {
	ID   string   `json:"id" sagabox:"key"`
	Keys []string `json:"keys"`
}

func unlinked(ctx context.Context, event Unlinked) error {
	sagabox.Release(ctx, event.Keys...)
	return nil
}

type Touched struct {
	Key string `json:"key" sagabox:"key"`
}

func touched(ctx context.Context, _ Touched) error {
	states.GetOrNew(ctx).Count++
	return nil
}

type Paused struct {
	ID string `json:"id" sagabox:"key"`
}

func paused(ctx context.Context, _ Paused) error {
	sagabox.CancelTimer(ctx, Reminder{})
	return nil
}

type Asked struct {
	ID string `json:"id" sagabox:"key"`
}

func asked(ctx context.Context, event Asked) error {
	state := states.GetOrNew(ctx)
	state.Count++
	customer, err := customers.Load(ctx, event.ID)
	switch {
	case sagabox.IsNotFound(err):
		customer.Name = "unknown"
	case err != nil:
		return err
	}
	state.Notes = append(state.Notes, customer.Name)
	return nil
}

type Broken struct {
	ID  string `json:"id" sagabox:"key"`
	How string `json:"how"`
}

func broken(ctx context.Context, event Broken) error {
	states.GetOrNew(ctx).Count++
	if err := sagabox.Send(ctx, Welcome{event.ID}); err != nil {
		return err
	}
	err := fmt.Errorf("broken %s", event.ID)
	switch event.How {
	case "thrown":
		panic(err)
	case "transient":
		return sagabox.Transient(err)
	}
	return sagabox.Permanent(err)
}

type Closed struct {
	ID string `json:"id" sagabox:"key"`
}

func closed(ctx context.Context, event Closed) error {
	if err := sagabox.Publish(ctx, ProcessClosed{event.ID}); err != nil {
		return err
	}
	return goodbye(ctx)
}

func goodbye(ctx context.Context) error {
	state := states.GetOrNew(ctx)
	sagabox.Complete(ctx)
	return sagabox.Send(ctx, Goodbye{state.ID, state.Count})
}

func remind(ctx context.Context, timer Reminder) error {
	if err := sagabox.SetTimer(ctx, Reminder{Times: timer.Times + 1}, time.Hour); err != nil {
		return err
	}
	return sagabox.Send(ctx, Remind{states.GetOrNew(ctx).ID, timer.Times})
}

func deadline(ctx context.Context, _ Deadline) error { return goodbye(ctx) }

func undeliverable(ctx context.Context, command sagabox.Undeliverable) error {
	welcome, isWelcome, err := sagabox.Undelivered[Welcome](command)
	if err != nil || !isWelcome {
		return err
	}
	sagabox.Complete(ctx)
	return sagabox.Send(ctx, Apologize{welcome.ID, command.Reason, int64(command.Attempts)})
}

func cancelled(ctx context.Context, request sagabox.Cancelled) error {
	sagabox.Complete(ctx)
	reason := request.By + ": " + request.Reason
	return sagabox.Send(ctx, Apologize{ID: states.GetOrNew(ctx).ID, Reason: reason})
}
