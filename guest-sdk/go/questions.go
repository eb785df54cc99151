package sagabox

import (
	"context"
	"fmt"
	"slices"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/codec"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// Lookup is the name of a lookup that the operator has configured, and T the type of its answers:
//
//	var stock = sagabox.Lookup[Stock]("stock")
//
// The plugin declares the name with [Plugin.Asks].
//
// A question whose answer the host has yet to find is an error like any other. The handler returns
// it; the host finds the answer, and calls the handler again from its beginning. Whatever the
// handler has decided before that takes no effect, also if it goes on and returns nil. So questions
// can be asked in goroutines as well: all that are open are asked at once.
type Lookup[T any] string

// Load returns what the lookup knows under a key. The error is [ErrNotFound] if it knows nothing.
func (l Lookup[T]) Load(ctx context.Context, key string) (T, error) {
	var value T
	answer, err := of(ctx).lookup(string(l), key)
	if err != nil {
		return value, err
	}
	if answer == nil {
		return value, fmt.Errorf("%s `%s`: %w", string(l), key, ErrNotFound)
	}
	return value, l.read(answer, &value)
}

// LoadAll asks for several keys at once. Keys of which the lookup knows nothing are not in the
// answer.
func (l Lookup[T]) LoadAll(ctx context.Context, keys ...string) (map[string]T, error) {
	values, c := map[string]T{}, of(ctx)
	var failed error
	for _, key := range keys {
		answer, err := c.lookup(string(l), key)
		if err != nil {
			failed = err
			continue
		}
		if answer == nil {
			continue
		}
		var value T
		if err := l.read(answer, &value); err != nil {
			return nil, err
		}
		values[key] = value
	}
	if failed != nil {
		return nil, failed
	}
	return values, nil
}

func (l Lookup[T]) read(answer *wit.Answer, value *T) error {
	if raw, isRaw := any(value).(*[]byte); isRaw {
		*raw = answer.Data
		return nil
	}
	if err := codec.Decode(answer.Data, value, codec.Options{}); err != nil {
		return &Failure{reason: fmt.Sprintf("the answer of the lookup `%s` does not fit: %v", string(l), err), isPlaced: true}
	}
	return nil
}

// lookup returns nil if the lookup knows nothing.
func (c *call) lookup(name, key string) (*wit.Answer, error) {
	if !slices.Contains(c.plugin.lookups, name) {
		return nil, Permanent(fmt.Errorf("the plugin does not declare the lookup `%s`; add it with Asks", name))
	}
	answer, err := c.answer(wit.Question{Name: name, Key: key})
	if err != nil || answer.Kind == wit.Missing {
		return nil, err
	}
	return answer, nil
}

// Stream returns all events of the log with this subject, in the order of the log, up to the one
// that is handled. The plugin declares it with [Plugin.ReadsStreams]. As for [Lookup], the handler
// returns the error, and is called again.
func Stream(ctx context.Context, subject string) ([]Event, error) {
	c := of(ctx)
	if !c.plugin.streams {
		return nil, Permanent(fmt.Errorf("the plugin does not declare that it reads streams; call ReadsStreams"))
	}
	answer, err := c.answer(wit.Question{Stream: true, Key: subject})
	if err != nil {
		return nil, err
	}
	events := make([]Event, len(answer.Events))
	for i := range answer.Events {
		events[i] = eventOf(&answer.Events[i])
	}
	return events, nil
}

func (c *call) answer(question wit.Question) (*wit.Answer, error) {
	for i := range c.context.Answers {
		if c.context.Answers[i].Question == question {
			return &c.context.Answers[i], nil
		}
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !slices.Contains(c.open, question) {
		c.open = append(c.open, question)
	}
	return nil, errPending
}
