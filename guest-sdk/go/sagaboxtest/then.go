package sagaboxtest

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/codec"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// Outcome is what an event led to. Its methods say what must be so.
type Outcome struct {
	instance  *Instance
	decision  *wit.Decision
	failure   *wit.Failure
	questions []wit.Question
	ignored   string
}

func (o *Outcome) add(more *wit.Decision) {
	if more.State != nil {
		o.decision.State = more.State
	}
	o.decision.Commands = append(o.decision.Commands, more.Commands...)
	o.decision.Events = append(o.decision.Events, more.Events...)
	o.decision.Timers = append(o.decision.Timers, more.Timers...)
	o.decision.Keys = append(o.decision.Keys, more.Keys...)
	o.decision.Complete = more.Complete
}

// decided returns the decision, and ends the test if there is none.
func (o *Outcome) decided() *wit.Decision {
	t := o.instance.t
	t.Helper()
	switch {
	case o.failure != nil:
		t.Fatalf("the handler failed: %s", o.failure.Reason)
	case o.ignored != "":
		t.Fatalf("the event was ignored: %s", o.ignored)
	}
	return o.decision
}

// Sends says that the plugin sends exactly these commands and events, in this order: the commands
// first.
func (o *Outcome) Sends(expected ...any) *Outcome {
	t := o.instance.t
	t.Helper()
	decision := o.decided()
	var wanted []string
	for _, value := range expected {
		message, err := guest.Outgoing(value)
		if err != nil {
			t.Fatalf("the expected message: %v", err)
		}
		wanted = append(wanted, readable(&message))
	}
	var sent []string
	for _, message := range append(slices.Clone(decision.Commands), decision.Events...) {
		sent = append(sent, readable(&message))
	}
	if !slices.Equal(wanted, sent) {
		t.Errorf("other messages than expected\nexpected:\n%ssent:\n%s", lines(wanted), lines(sent))
	}
	return o
}

// SendsNothing says that the plugin sends no command and publishes no event.
func (o *Outcome) SendsNothing() *Outcome {
	o.instance.t.Helper()
	return o.Sends()
}

func readable(message *wit.Message) string {
	text := message.Type
	if message.Subject != nil {
		text += " of " + *message.Subject
	}
	if message.DataContentType != "application/json" {
		return fmt.Sprintf("%s %s %q %v", text, message.DataContentType, message.Data, message.Extensions)
	}
	if len(message.Extensions) > 0 {
		text += fmt.Sprint(" ", message.Extensions)
	}
	return text + " " + string(message.Data)
}

func lines(texts []string) string {
	if len(texts) == 0 {
		return "  nothing\n"
	}
	return "  " + strings.Join(texts, "\n  ") + "\n"
}

// Fails says that the handler fails for good, and that the reason contains this text.
func (o *Outcome) Fails(reason string) *Outcome {
	o.instance.t.Helper()
	return o.fails(reason, false)
}

// FailsTransiently says that the handler fails so that the host tries again.
func (o *Outcome) FailsTransiently(reason string) *Outcome {
	o.instance.t.Helper()
	return o.fails(reason, true)
}

func (o *Outcome) fails(reason string, isTransient bool) *Outcome {
	t := o.instance.t
	t.Helper()
	switch {
	case o.failure == nil:
		t.Errorf("expected the failure `%s`, but the handler did not fail", reason)
	case !strings.Contains(o.failure.Reason, reason):
		t.Errorf("expected the failure `%s`, not `%s`", reason, o.failure.Reason)
	case o.failure.Transient != isTransient:
		t.Errorf("the failure is transient: %t; expected %t", o.failure.Transient, isTransient)
	}
	return o
}

// IsIgnored says that the host does not call the plugin, and that the reason contains this text.
func (o *Outcome) IsIgnored(reason string) *Outcome {
	t := o.instance.t
	t.Helper()
	if o.ignored == "" || !strings.Contains(o.ignored, reason) {
		t.Errorf("expected that the event is ignored (%s), not (%s)", reason, o.ignored)
	}
	return o
}

// Completes says that the process is complete.
func (o *Outcome) Completes() *Outcome {
	o.instance.t.Helper()
	if !o.decided().Complete {
		o.instance.t.Errorf("the process is not complete")
	}
	return o
}

// GoesOn says that the process is not complete.
func (o *Outcome) GoesOn() *Outcome {
	o.instance.t.Helper()
	if o.decided().Complete {
		o.instance.t.Errorf("the process is complete")
	}
	return o
}

// StateIs says that the instance has this state now.
func (o *Outcome) StateIs(expected any) *Outcome {
	t := o.instance.t
	t.Helper()
	o.decided()
	wanted, err := codec.Encode(expected)
	if err != nil {
		t.Fatalf("the expected state: %v", err)
	}
	var found []byte
	if o.instance.state != nil {
		found = o.instance.state.Data
	}
	if !bytes.Equal(wanted, found) {
		t.Errorf("another state than expected\nexpected: %s\nfound:    %s", wanted, found)
	}
	return o
}

// State reads the state of the instance.
func (o *Outcome) State(into any) *Outcome {
	t := o.instance.t
	t.Helper()
	o.decided()
	if o.instance.state == nil {
		t.Fatal("there is no state")
	}
	if err := codec.DecodeValue(o.instance.state.Data, reflect.ValueOf(into).Elem(), codec.Options{}); err != nil {
		t.Fatal(err)
	}
	return o
}

// SetsTimer says that the plugin sets this timer, which is due after this time.
func (o *Outcome) SetsTimer(timer any, after time.Duration) *Outcome {
	o.instance.t.Helper()
	millis, err := guest.DueAfter(after)
	return o.setsTimer(timer, millis, err, false)
}

// SetsTimerAt says that the plugin sets this timer, which is due at this time.
func (o *Outcome) SetsTimerAt(timer any, at time.Time) *Outcome {
	o.instance.t.Helper()
	millis, err := guest.DueAt(at)
	return o.setsTimer(timer, millis, err, true)
}

func (o *Outcome) setsTimer(timer any, millis uint64, wrongTime error, isAt bool) *Outcome {
	t := o.instance.t
	t.Helper()
	name, data, err := guest.TimerOf(timer)
	if err == nil {
		err = wrongTime
	}
	if err != nil {
		t.Fatalf("the expected timer: %v", err)
	}
	for _, change := range o.decided().Timers {
		set := change.Timer
		if !change.Cancel && set.Name == name && bytes.Equal(set.Data, data) && set.At == isAt && set.Millis == millis {
			return o
		}
	}
	t.Errorf("the timer `%s` with the data `%s` is not set so; changes: %s", name, data, changes(o.decision.Timers))
	return o
}

func changes(timers []wit.TimerChange) string {
	var texts []string
	for _, change := range timers {
		set := change.Timer
		switch {
		case change.Cancel:
			texts = append(texts, "cancels "+set.Name)
		case set.At:
			at := time.UnixMilli(int64(set.Millis)).UTC().Format(time.RFC3339Nano)
			texts = append(texts, fmt.Sprintf("sets %s at %s with `%s`", set.Name, at, set.Data))
		default:
			after := sagabox.Duration(time.Duration(set.Millis) * time.Millisecond)
			texts = append(texts, fmt.Sprintf("sets %s after %s with `%s`", set.Name, after, set.Data))
		}
	}
	if len(texts) == 0 {
		return "none"
	}
	return strings.Join(texts, ", ")
}

// CancelsTimer says that the plugin cancels this timer.
func (o *Outcome) CancelsTimer(timer any) *Outcome {
	t := o.instance.t
	t.Helper()
	name, _, _ := guest.TimerOf(timer)
	isCancelled := func(change wit.TimerChange) bool { return change.Cancel && change.Timer.Name == name }
	if !slices.ContainsFunc(o.decided().Timers, isCancelled) {
		t.Errorf("the timer `%s` is not cancelled; changes: %s", name, changes(o.decision.Timers))
	}
	return o
}

// Claims says that the plugin claims exactly these keys.
func (o *Outcome) Claims(keys ...string) *Outcome {
	o.instance.t.Helper()
	return o.keys("claims", false, keys)
}

// Releases says that the plugin releases exactly these keys.
func (o *Outcome) Releases(keys ...string) *Outcome {
	o.instance.t.Helper()
	return o.keys("releases", true, keys)
}

func (o *Outcome) keys(what string, isRelease bool, expected []string) *Outcome {
	t := o.instance.t
	t.Helper()
	var found []string
	for _, change := range o.decided().Keys {
		if change.Release == isRelease {
			found = append(found, change.Key)
		}
	}
	if !slices.Equal(found, expected) {
		t.Errorf("it %s %v, and not %v", what, found, expected)
	}
	return o
}

// Asks says that the plugin asked for exactly these keys of a lookup, in this order.
func (o *Outcome) Asks(lookup string, keys ...string) *Outcome {
	t := o.instance.t
	t.Helper()
	var found []string
	for _, question := range o.questions {
		if !question.Stream && question.Name == lookup {
			found = append(found, question.Key)
		}
	}
	if !slices.Equal(found, keys) {
		t.Errorf("it asks the lookup `%s` for %v, and not for %v", lookup, found, keys)
	}
	return o
}
