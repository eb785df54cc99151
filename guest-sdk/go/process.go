package sagabox

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/codec"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// States gives a process manager the state of the instance that an event is for. Its zero value is
// ready. T is the type that was given to processmanager.New.
//
// The host keeps the states, and calls the handlers of one instance one after the other: no map
// and no mutex is needed.
type States[T any] struct{}

// Get returns the state of the instance; false if the event starts it and no state was put yet.
// What a handler changes in it is stored when the handler returns nil.
func (States[T]) Get(ctx context.Context) (*T, bool) {
	c := of(ctx)
	checkState[T](c)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.instance.IsValid() {
		if c.state == nil {
			return nil, false
		}
		state := new(T)
		if err := codec.Decode(c.state.Data, state, codec.Options{}); err != nil {
			panic(&Failure{reason: "the stored state does not fit: " + err.Error(), isPlaced: true})
		}
		c.instance = reflect.ValueOf(state)
	}
	return c.instance.Interface().(*T), true
}

// GetOrNew returns the state of the instance, or a new one for an event that starts it.
func (s States[T]) GetOrNew(ctx context.Context) *T {
	state, isThere := s.Get(ctx)
	if !isThere {
		state = new(T)
		s.Put(ctx, state)
	}
	return state
}

// Put makes this the state of the instance.
func (States[T]) Put(ctx context.Context, state *T) {
	c := of(ctx)
	checkState[T](c)
	if state == nil {
		panic("sagabox: the state is nil")
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.instance = reflect.ValueOf(state)
}

func checkState[T any](c *call) {
	if t := reflect.TypeFor[T](); c.plugin.state != t {
		panic(fmt.Sprintf("sagabox: the state of the plugin is %v, and not %v", c.plugin.state, t))
	}
}

// save returns the state to store; nil if it stays as it is.
func (c *call) save() ([]byte, error) {
	if !c.instance.IsValid() {
		if c.state == nil && c.plugin.state != nil {
			return nil, fmt.Errorf("it has started an instance without a state; call Put or GetOrNew of States")
		}
		return nil, nil
	}
	data, err := codec.EncodeValue(c.instance.Elem())
	if err != nil {
		return nil, fmt.Errorf("the state cannot be stored: %w", err)
	}
	if c.state != nil && bytes.Equal(data, c.state.Data) {
		return nil, nil
	}
	return data, nil
}

// Complete says that the process is complete: its timers are cancelled, and what still comes for
// it is ignored.
func Complete(ctx context.Context) { of(ctx).decision.Complete = true }

// Claim lets events with this key reach the instance too, from now on.
func Claim(ctx context.Context, keys ...string) { of(ctx).keys(false, keys) }

// Release takes a claim back.
func Release(ctx context.Context, keys ...string) { of(ctx).keys(true, keys) }

func (c *call) keys(isRelease bool, keys []string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, key := range keys {
		c.decision.Keys = append(c.decision.Keys, wit.KeyChange{Release: isRelease, Key: key})
	}
}

// SetTimer sets a timer, or sets it anew: the handler that was given to [Plugin.OnTimer] is called
// when this time has passed, with this value. Its name is that of its type in lower case, or what
// its method TimerName returns.
func SetTimer(ctx context.Context, timer any, after time.Duration) error {
	millis, err := guest.DueAfter(after)
	return of(ctx).setTimer(timer, wit.Timer{Millis: millis}, err)
}

// SetTimerAt is the same, at a time. A timer whose time is over is due at once.
func SetTimerAt(ctx context.Context, timer any, at time.Time) error {
	millis, err := guest.DueAt(at)
	return of(ctx).setTimer(timer, wit.Timer{At: true, Millis: millis}, err)
}

func (c *call) setTimer(timer any, set wit.Timer, wrongTime error) error {
	if typeOf(timer) == nil {
		return c.refuse(Permanent(fmt.Errorf("nil is no timer")))
	}
	var err error
	if set.Name, set.Data, err = timerOf(timer); err == nil {
		err = wrongTime
	}
	if err != nil {
		return c.refuse(Permanent(fmt.Errorf("the timer `%s` cannot be set: %w", set.Name, err)))
	}
	if c.plugin.timers[set.Name] == nil {
		return c.refuse(Permanent(fmt.Errorf("the timer `%s` has no handler; add it with OnTimer", set.Name)))
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.decision.Timers = append(c.decision.Timers, wit.TimerChange{Timer: set})
	return nil
}

// CancelTimer cancels a timer. A timer that is not set changes nothing.
func CancelTimer(ctx context.Context, timer any) {
	c := of(ctx)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.decision.Timers = append(c.decision.Timers, wit.TimerChange{
		Cancel: true, Timer: wit.Timer{Name: timerName(typeOf(timer))},
	})
}

func parseTimer(event *wit.Event, t reflect.Type) (reflect.Value, error) {
	v := reflect.New(t).Elem()
	if len(event.Data) == 0 {
		return v, nil
	}
	if err := codec.DecodeValue(event.Data, v, codec.Options{}); err != nil {
		return v, fmt.Errorf("the data of the timer `%s` does not fit: %w", timerName(t), err)
	}
	return v, nil
}

// Undeliverable is a command of this instance that became a dead letter.
type Undeliverable struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Reason   string `json:"reason"`
	Attempts int    `json:"attempts"`
	Command  JSON   `json:"command,omitempty"`
}

// Undelivered reads a command that could not be delivered, if it is of the type C.
func Undelivered[C any](command Undeliverable) (value C, isOfType bool, err error) {
	if command.Type != nameOf(reflect.TypeFor[C]()) {
		return value, false, nil
	}
	var sent struct {
		Data JSON `json:"data"`
	}
	if err = codec.Decode(command.Command, &sent, codec.Options{}); err == nil {
		err = codec.Decode(sent.Data, &value, codec.Options{})
	}
	if err != nil {
		err = Permanent(fmt.Errorf("the command `%s` that was not delivered does not fit: %w", command.Type, err))
	}
	return value, true, err
}

// Cancelled says who asks the instance to end, and why.
type Cancelled struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
}
