package sagabox

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/codec"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// call is what belongs to one call of a handler. Goroutines of the handler may share it.
type call struct {
	mutex    sync.Mutex
	plugin   *Plugin
	event    *wit.Event
	context  *wit.Context
	state    *wit.State
	decision wit.Decision
	open     []wit.Question
	// refused is the first thing that the handler asked for and cannot have. It fails the call, also if
	// the handler does not look at the error: a command must not be lost silently.
	refused error
	// instance is a pointer to the state; invalid until a handler asks for it.
	instance reflect.Value
	random   *rand.Rand
	// isOver says that the handler has returned. What its goroutines do afterwards is not in the decision.
	isOver atomic.Bool
}

// callContext is the context of a handler.
type callContext struct {
	context.Context
	call *call
}

type callKey struct{}

func (c *callContext) Value(key any) any {
	if key == (callKey{}) {
		return c.call
	}
	return c.Context.Value(key)
}

// of returns the call that a context belongs to.
func of(ctx context.Context) *call {
	own, isOwn := ctx.(*callContext)
	if isOwn {
		return own.call.noted()
	}
	if found, isThere := ctx.Value(callKey{}).(*call); isThere {
		return found.noted()
	}
	panic("sagabox: this context does not come from a handler; pass on the context that the handler was called with")
}

// noted returns the call. If it is over, the log says that something is lost: a panic would fail the
// call of another event, in which the goroutine happens to go on.
func (c *call) noted() *call {
	if c.isOver.Load() {
		guest.Log(guest.Error, fmt.Sprintf("a goroutine of the handler of `%s` (%s) goes on after the handler has "+
			"returned, and what it decides is lost: wait for it", c.event.Type, c.event.ID))
	}
	return c
}

func (c *call) refuse(err error) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.refused == nil {
		c.refused = err
	}
	return err
}

// Send sends a command, as [Plugin.Send] does. An error fails the call, also if the handler goes on.
func Send(ctx context.Context, command any) error {
	c := of(ctx)
	message, err := outgoing(command)
	if err != nil {
		return c.refuse(err)
	}
	if !slices.Contains(c.plugin.commands.names, message.Type) {
		return c.refuse(Permanent(fmt.Errorf("the plugin does not declare the command `%s`; add it to Sends", message.Type)))
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.decision.Commands = append(c.decision.Commands, message)
	return nil
}

// Publish publishes an event, as [Plugin.Publish] does. An error fails the call, also if the handler
// goes on.
func Publish(ctx context.Context, event any) error {
	c := of(ctx)
	message, err := outgoing(event)
	if err != nil {
		return c.refuse(err)
	}
	if !slices.Contains(c.plugin.events.names, message.Type) {
		return c.refuse(Permanent(fmt.Errorf("the plugin does not declare the event `%s`; add it to Publishes", message.Type)))
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.decision.Events = append(c.decision.Events, message)
	return nil
}

// Now is the host's clock: the same in every call for this event, and in every replay.
func Now(ctx context.Context) time.Time {
	return time.UnixMilli(int64(of(ctx).context.Now)).UTC()
}

// EventTime is when the event happened, by its sender; false if that is not known.
func EventTime(ctx context.Context) (time.Time, bool) {
	text := of(ctx).event.Time
	if text == nil {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, *text)
	return at, err == nil
}

// CorrelationKey is the key by which the event came; for a process manager, the key of the
// instance.
func CorrelationKey(ctx context.Context) string { return of(ctx).context.Key }

// Attempt is 1 for the first attempt, and counts up with each retry after a transient failure.
func Attempt(ctx context.Context) int { return int(of(ctx).context.Attempt) }

// EventOf returns the event that is handled, as it came.
func EventOf(ctx context.Context) Event { return eventOf(of(ctx).event) }

// Rand returns random numbers that differ from event to event, and are the same in every retry and
// replay of one event. The functions of math/rand and crypto/rand are not.
func Rand(ctx context.Context) *rand.Rand {
	c := of(ctx)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.random == nil {
		seed := c.context.Seed
		high, low := uint64(seed[0])<<32|uint64(seed[1]), uint64(seed[2])<<32|uint64(seed[3])
		c.random = rand.New(rand.NewPCG(high, low))
	}
	return c.random
}

// SeedOf returns the 128 bits that [Rand] begins with, as 32 hexadecimal digits.
func SeedOf(ctx context.Context) string {
	seed := of(ctx).context.Seed
	return fmt.Sprintf("%08x%08x%08x%08x", seed[0], seed[1], seed[2], seed[3])
}

// NewID returns an id of the form of a UUID, made of [Rand].
func NewID(ctx context.Context) string {
	random := Rand(ctx)
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], random.Uint64())
	binary.BigEndian.PutUint64(id[8:], random.Uint64())
	// Version 8: made by the rules of an application; variant of RFC 9562.
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// Configuration returns the plugin's section of the host's configuration. S is the type that was
// given to [Plugin.Configure].
func Configuration[S any](ctx context.Context) (S, error) {
	c := of(ctx)
	var settings S
	if !c.plugin.configuration.IsValid() || c.plugin.configuration.Type() != reflect.TypeFor[S]() {
		return settings, Permanent(fmt.Errorf("the plugin does not declare the configuration %T; add it with Configure", settings))
	}
	settings = c.plugin.configuration.Interface().(S)
	if err := codec.Decode([]byte(c.context.Configuration), &settings, settingsOptions); err != nil {
		return settings, &Failure{reason: "the plugin's configuration: " + err.Error(), isPlaced: true}
	}
	return settings, nil
}

var settingsOptions = codec.Options{RefuseUnknown: true, AllOptional: true}
