// Package sagaboxtest tests the handlers of a plugin with `go test`, without wasm and without a
// host:
//
//	func TestAnOrderThatIsNotPaidIsCancelled(t *testing.T) {
//		order := sagaboxtest.Given(t, plugin())
//		order.When(OrderPlaced{OrderID: "o-1"}).Sends(RequestPayment{OrderID: "o-1"})
//		order.WhenTimePasses(24 * time.Hour).Sends(CancelOrder{OrderID: "o-1"}).Completes()
//	}
//
// [Given] plays one instance: it keeps the state, the timers and a clock from event to event, and
// applies the host's rules: an event that does not reach the instance is ignored. For plugins
// without state it plays one event after the other.
package sagaboxtest

import (
	"slices"
	"testing"
	"time"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/codec"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// roundsMax bounds how often a handler may ask for one event.
const roundsMax = 16

// timersMax stops timers that set each other anew without end.
const timersMax = 10_000

// Instance is a plugin with one instance, and what is so around it.
type Instance struct {
	t             testing.TB
	author        *sagabox.Plugin
	plugin        wit.Guest
	manifest      *wit.Manifest
	state         *wit.State
	isComplete    bool
	key           string
	fixedKey      string
	claims        []string
	timers        map[string]timer
	answers       []wit.Answer
	configuration string
	now           int64
	eventTime     *string
	source        string
	attempt       uint32
	seed          [4]uint32
}

type timer struct {
	due  int64
	data []byte
}

// Given begins a test: the plugin has no instance yet.
func Given(t testing.TB, plugin *sagabox.Plugin) *Instance {
	t.Helper()
	served := plugin.Serve()
	manifest, err := served.Describe()
	if err != nil {
		t.Fatal(err)
	}
	return &Instance{
		t: t, author: plugin, plugin: served, manifest: manifest, configuration: "{}", now: 1_800_000_000_000,
		source: "test", attempt: 1, seed: [4]uint32{1, 2, 3, 4}, timers: map[string]timer{},
	}
}

// Answer says what a lookup knows under a key.
func (i *Instance) Answer(lookup, key string, value any) *Instance {
	i.t.Helper()
	data, err := codec.Encode(value)
	if err != nil {
		i.t.Fatalf("the answer: %v", err)
	}
	i.answers = append(i.answers, wit.Answer{
		Question: wit.Question{Name: lookup, Key: key}, ContentType: "application/json", Data: data,
	})
	return i
}

// InStream says that the stream of a subject has this event, behind those that were said before.
func (i *Instance) InStream(subject string, event any) *Instance {
	i.t.Helper()
	question := wit.Question{Stream: true, Key: subject}
	at := slices.IndexFunc(i.answers, func(answer wit.Answer) bool { return answer.Question == question })
	if at < 0 {
		at = len(i.answers)
		i.answers = append(i.answers, wit.Answer{Question: question, Kind: wit.Events})
	}
	i.answers[at].Events = append(i.answers[at].Events, i.eventOf(event))
	return i
}

// Configuration is the plugin's section of the host's configuration: a value of its type, or JSON
// as a string.
func (i *Instance) Configuration(settings any) *Instance {
	i.t.Helper()
	if text, isText := settings.(string); isText {
		i.configuration = text
		return i
	}
	data, err := codec.Encode(settings)
	if err != nil {
		i.t.Fatalf("the configuration: %v", err)
	}
	i.configuration = string(data)
	return i
}

// Now sets the host's clock: Now("2026-03-01T12:00:00Z"). No timer fires.
func (i *Instance) Now(now string) *Instance {
	i.t.Helper()
	at, err := time.Parse(time.RFC3339Nano, now)
	if err != nil {
		i.t.Fatalf("Now: %v", err)
	}
	i.now = at.UnixMilli()
	return i
}

// EventTime is the attribute `time` of the events that follow.
func (i *Instance) EventTime(text string) *Instance {
	i.eventTime = &text
	return i
}

// Source is the attribute `source` of the events that follow.
func (i *Instance) Source(source string) *Instance {
	i.source = source
	return i
}

// Key is the correlation key of the events that follow, in the place of the one in the event: for
// events with several keys.
func (i *Instance) Key(key string) *Instance {
	i.fixedKey = key
	return i
}

// Attempt is the number of the attempt for the events that follow.
func (i *Instance) Attempt(attempt int) *Instance {
	i.attempt = uint32(attempt)
	return i
}

// State is the state of an instance with this key, in the place of the events that led to it.
func (i *Instance) State(key string, state any) *Instance {
	i.t.Helper()
	data, err := codec.Encode(state)
	if err != nil {
		i.t.Fatalf("the state: %v", err)
	}
	i.key, i.state = key, &wit.State{Version: i.manifest.StateVersion, Data: data}
	return i
}

// StateOfVersion is a state that another version of the plugin has left, as JSON. It is migrated.
func (i *Instance) StateOfVersion(key string, version int, state string) *Instance {
	i.t.Helper()
	data, err := i.plugin.Migrate(wit.State{Version: uint32(version), Data: []byte(state)}, i.manifest.StateVersion)
	if err != nil {
		i.t.Fatalf("the state of version %d: %v", version, err)
	}
	i.key, i.state = key, &wit.State{Version: i.manifest.StateVersion, Data: data}
	return i
}

// Event is an event that was handled before: a value of its type, or a [sagabox.Event]. It must not
// fail, nor be ignored.
func (i *Instance) Event(event any) *Instance {
	i.t.Helper()
	i.When(event).decided()
	return i
}

// eventOf makes an event of a value.
func (i *Instance) eventOf(value any) wit.Event {
	i.t.Helper()
	if raw, isRaw := value.(sagabox.Event); isRaw {
		return rawEvent(raw)
	}
	message, err := guest.Outgoing(value)
	if err != nil {
		i.t.Fatalf("the event: %v", err)
	}
	if name, isTaken := guest.ReceivedAs(i.author, value); isTaken {
		message.Type = name
	}
	return wit.Event{
		ID: "event", Source: i.source, Type: message.Type, Subject: message.Subject, Time: i.eventTime,
		DataContentType: message.DataContentType, Extensions: message.Extensions, Data: message.Data,
	}
}

func rawEvent(raw sagabox.Event) wit.Event {
	text := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	event := wit.Event{
		ID: raw.ID, Source: raw.Source, Type: raw.Type, Subject: text(raw.Subject), Time: text(raw.Time),
		DataContentType: raw.DataContentType, DataSchema: text(raw.DataSchema), Data: raw.Data,
	}
	if event.DataContentType == "" {
		event.DataContentType = "application/json"
	}
	for name, value := range raw.Extensions {
		event.Extensions = append(event.Extensions, wit.Extension{Name: name, Value: value})
	}
	return event
}
