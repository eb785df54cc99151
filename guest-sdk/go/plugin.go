package sagabox

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/codec"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// Plugin is a saga, process manager, reactor or enricher. The function New of the package of its
// role makes it; its methods declare what it takes, sends and asks, before it runs.
//
// It is an [EventHandler], a [CommandBus] and an [EventBus].
type Plugin struct {
	role                       wit.Role
	name, version, description string
	state                      reflect.Type
	stateVersion               uint32
	migrate                    func(from, to uint32, state JSON) (any, error)
	handlers                   map[string]*handler
	subscriptions              []wit.Subscription
	timers                     map[string]*handler
	commands, events           declared
	received                   declared
	lookups                    []string
	streams                    bool
	configuration              reflect.Value
	fields                     []wit.Pair
	hasFields                  bool
	summary                    *string
	ignoresUnhandled           bool
	problems                   []string
}

// declared lists the types of commands or events, and the Go types of those that have one.
type declared struct {
	names []string
	types map[string]reflect.Type
}

func (d *declared) add(name string, t reflect.Type) {
	if !slices.Contains(d.names, name) {
		d.names = append(d.names, name)
	}
	if t != nil && d.types[name] == nil {
		if d.types == nil {
			d.types = map[string]reflect.Type{}
		}
		d.types[name] = t
	}
}

// NewPlugin is what the packages of the roles call: saga.New, processmanager.New, reactor.New and
// enricher.New.
func NewPlugin(role wit.Role, name, version, description string, state reflect.Type) *Plugin {
	plugin := &Plugin{
		role: role, name: name, version: version, description: description, state: state,
		handlers: map[string]*handler{}, timers: map[string]*handler{},
	}
	if state != nil {
		plugin.stateVersion = 1
		plugin.check(state, "the state")
	}
	return plugin
}

// Run makes the plugin the one of this component. The function main calls it, and nothing else:
//
//	func main() { plugin().Run() }
//
// In a native program (`go run .`) it prints the manifest.
func (p *Plugin) Run() {
	guest.Set(served{p})
	if isComponent {
		return
	}
	manifest, err := p.manifest()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fmt.Println(readable(manifest))
}

// Sends declares the types of the commands that the plugin may send: a value of each type.
func (p *Plugin) Sends(commands ...any) *Plugin {
	p.declare(&p.commands, commands)
	return p
}

// Publishes declares the types of the events that the plugin may publish: a value of each type.
func (p *Plugin) Publishes(events ...any) *Plugin {
	p.declare(&p.events, events)
	return p
}

func (p *Plugin) declare(list *declared, samples []any) {
	for _, sample := range samples {
		if name, isName := sample.(Type); isName {
			list.add(string(name), nil)
			continue
		}
		t := typeOf(sample)
		if t == nil {
			p.problem("a value of the type is expected, and not nil")
			continue
		}
		p.check(t, "the message")
		list.add(nameOf(t), t)
	}
}

// check notes what cannot be read from JSON, or written.
func (p *Plugin) check(t reflect.Type, what string) {
	if err := codec.Check(t); err != nil {
		p.problem("%s %s: %v", what, t, err)
	}
}

// problem notes a mistake of the author, with the line outside of the SDK that led to it.
func (p *Plugin) problem(format string, values ...any) {
	p.problems = append(p.problems, callerPlace()+": "+fmt.Sprintf(format, values...))
}

// Asks declares the lookups that the plugin asks, by the names that the operator has configured.
func (p *Plugin) Asks(lookups ...string) *Plugin {
	p.lookups = append(p.lookups, lookups...)
	return p
}

// ReadsStreams declares that the plugin reads streams of the log.
func (p *Plugin) ReadsStreams() *Plugin {
	p.streams = true
	return p
}

// Configure declares the type of the plugin's section in the host's configuration. The value that
// is given contains the defaults. The host refuses a section that does not fit the type; a member
// is required if its field has the tag `sagabox:"required"`.
func (p *Plugin) Configure(defaults any) *Plugin {
	value := reflect.ValueOf(defaults)
	for value.Kind() == reflect.Pointer {
		value = value.Elem()
	}
	if value.Kind() != reflect.Struct {
		p.problem("Configure expects a struct")
		return p
	}
	p.check(value.Type(), "the configuration")
	p.configuration = value
	return p
}

// IgnoreUnhandled ignores what no handler takes, such as a timer that an older version has set.
// Without it, that becomes a dead letter.
func (p *Plugin) IgnoreUnhandled() *Plugin {
	p.ignoresUnhandled = true
	return p
}

// Field names a part of the state by which instances can be listed and filtered: a name and a JSON
// Pointer. Without any call, these are the members of the state that are one value.
func (p *Plugin) Field(name, pointer string) *Plugin {
	p.fields = append(p.fields, wit.Pair{Name: name, Value: pointer})
	p.hasFields = true
	return p
}

// WithoutFields leaves the fields out.
func (p *Plugin) WithoutFields() *Plugin {
	p.hasFields = true
	return p
}

// Summary is one line about an instance, with the names of fields in braces: `order {id}: {paid}`.
func (p *Plugin) Summary(text string) *Plugin {
	p.summary = &text
	return p
}

// Send sends a command. It takes effect if the handler returns nil, together with everything else
// that the handler decided.
func (p *Plugin) Send(ctx context.Context, command any) error { return Send(ctx, command) }

// Publish publishes an event. It takes effect if the handler returns nil, together with everything
// else that the handler decided.
func (p *Plugin) Publish(ctx context.Context, event any) error { return Publish(ctx, event) }

// CommandBus sends commands. A [Plugin] is one.
type CommandBus interface {
	Send(ctx context.Context, command any) error
}

// EventBus publishes events, and takes the handlers of events. A [Plugin] is one.
type EventBus interface {
	Publish(ctx context.Context, event any) error
	Subscribe(event, handler any, options ...Option)
}

// EventHandler takes the handlers of events. A [Plugin] is one.
type EventHandler interface {
	Register(event, handler any, options ...Option)
}

var (
	_ CommandBus   = (*Plugin)(nil)
	_ EventBus     = (*Plugin)(nil)
	_ EventHandler = (*Plugin)(nil)
)

// callerPlace is the line of the author's code that called the SDK.
func callerPlace() string {
	callers := make([]uintptr, 16)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for {
		frame, more := frames.Next()
		if guest.IsAuthors(frame) {
			return guest.Place(frame.File, frame.Line)
		}
		if !more {
			return "unknown place"
		}
	}
}
