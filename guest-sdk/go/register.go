package sagabox

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"time"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/codec"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// Types of the host's own events.
const (
	timerFired    = "sagabox.timer.fired"
	undeliverable = "sagabox.command.undeliverable"
	cancelled     = "sagabox.instance.cancelled"
)

// Type is the type of events or commands that have no Go type, as in
// Register(Type("order deleted"), handler) with a handler that takes an [Event].
type Type string

// Option says more about an event that is registered.
type Option func(*registration)

type registration struct {
	name   string
	key    *wit.Correlation
	effect wit.Effect
	absent wit.AbsentKind
	hold   time.Duration
	kind   wit.SourceKind
	source string
}

// Start lets the event start the instance of its key. An instance that exists ignores it.
func Start(r *registration) { r.effect = wit.Start }

// StartOrHandle lets the event start the instance of its key or, if there is one, be handled by it.
func StartOrHandle(r *registration) { r.effect = wit.StartOrHandle }

// Hold keeps an event without an instance so long, in case one starts or claims its key. Without
// an option, the host ignores such an event.
func Hold(time time.Duration) Option {
	return func(r *registration) { r.absent, r.hold = wit.Hold, time }
}

// FailIfAbsent makes an event without an instance a dead letter.
func FailIfAbsent(r *registration) { r.absent = wit.Fail }

// Key says where the correlation key is: a JSON Pointer into the data of the event. The tag
// `sagabox:"key"` on a field of the event says the same. An array names every key in it.
func Key(pointer string) Option {
	return func(r *registration) { r.key = &wit.Correlation{Kind: wit.ByPointer, Name: pointer} }
}

// KeyAttribute says that the correlation key is an attribute or an extension of the event. Without
// a tag and without an option it is the subject.
func KeyAttribute(name string) Option {
	return func(r *registration) {
		r.key = &wit.Correlation{Kind: wit.ByAttribute, Name: name}
		if name == "subject" {
			r.key = &wit.Correlation{Kind: wit.BySubject}
		}
	}
}

// From takes the event from this source alone. The host ignores and counts others.
func From(source string) Option {
	return func(r *registration) { r.kind, r.source = wit.ExactSource, source }
}

// FromPrefix takes the event from the sources that begin with this text.
func FromPrefix(prefix string) Option {
	return func(r *registration) { r.kind, r.source = wit.SourcePrefix, prefix }
}

// As says which type the event has, if it is not the name of its Go type.
func As(name string) Option {
	return func(r *registration) { r.name = name }
}

// Register declares that the plugin takes the events of a type, and which function handles them:
//
//	plugin.Register(event.OrderPaid{}, orders.HandleOrderPaid)
//
// The function has the form func(context.Context, E) error. E is the type of the event, a pointer
// to it, an interface that it has (so that one function can take several types), or [Event] for
// the event as it came.
func (p *Plugin) Register(event, handler any, options ...Option) {
	r := registration{effect: wit.Handle}
	t := typeOf(event)
	name, isName := event.(Type)
	switch {
	case isName:
		r.name, t = string(name), eventType
	case t == nil:
		p.problem("a value of the event's type is expected, and not nil")
		return
	default:
		r.name = nameOf(t)
	}
	for _, option := range options {
		option(&r)
	}
	p.subscribe(&r, t, handler)
}

// Subscribe is the same as Register.
func (p *Plugin) Subscribe(event, handler any, options ...Option) {
	p.Register(event, handler, options...)
}

func (p *Plugin) subscribe(r *registration, t reflect.Type, function any) {
	if p.handlers[r.name] != nil {
		p.problem("`%s` has two handlers", r.name)
		return
	}
	if p.role != wit.ProcessManager && (r.effect != wit.Handle || r.absent != wit.Ignore) {
		p.problem("`%s`: a %s has no instances; Start, StartOrHandle, Hold and FailIfAbsent are for process managers", r.name, p.role)
	}
	h, err := handlerOf(function, t, parseEvent)
	if err != nil {
		p.problem("the handler of `%s` %v", r.name, err)
		return
	}
	if t != eventType {
		p.check(t, "the event")
		p.received.add(r.name, t)
	}
	p.handlers[r.name] = h
	p.subscriptions = append(p.subscriptions, wit.Subscription{
		Type: r.name, SourceKind: r.kind, Source: r.source, Key: p.keyOf(r, t), Effect: r.effect,
		Absent: r.absent, HoldMillis: uint64(r.hold.Milliseconds()),
	})
}

// keyOf returns where the correlation key is: by an option, by a tag, or the subject.
func (p *Plugin) keyOf(r *registration, t reflect.Type) wit.Correlation {
	if r.key == nil {
		if _, name, isTagged := codec.Field(t, "key"); isTagged && t != eventType {
			return wit.Correlation{Kind: wit.ByPointer, Name: "/" + escapePointer(name)}
		}
		return wit.Correlation{Kind: wit.BySubject}
	}
	if r.key.Kind == wit.ByPointer && t != eventType {
		p.checkPointer(r, t)
	}
	return *r.key
}

// checkPointer finds a mistake in the first name of a pointer.
func (p *Plugin) checkPointer(r *registration, t reflect.Type) {
	names := codec.Names(t)
	first, _, _ := strings.Cut(strings.TrimPrefix(r.key.Name, "/"), "/")
	first = strings.NewReplacer("~1", "/", "~0", "~").Replace(first)
	for _, name := range names {
		if name == first {
			return
		}
	}
	if len(names) > 0 {
		p.problem("the key \"%s\" leads to nothing in `%s`, which has %s", r.key.Name, r.name, strings.Join(names, ", "))
	}
}

func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// OnTimer declares a timer and its handler: func(context.Context, T) error, where T is the type of
// the timer.
func (p *Plugin) OnTimer(timer, handler any) {
	t := typeOf(timer)
	if t == nil {
		p.problem("a value of the timer's type is expected, and not nil")
		return
	}
	name := timerName(t)
	h, err := handlerOf(handler, t, parseTimer)
	switch {
	case err != nil:
		p.problem("the handler of the timer `%s` %v", name, err)
	case p.timers[name] != nil:
		p.problem("the timer `%s` has two handlers", name)
	default:
		p.check(t, "the timer")
		p.timers[name] = h
		p.reserved(timerFired)
	}
}

// OnUndeliverable declares what happens when the host could not deliver a command of an instance.
func (p *Plugin) OnUndeliverable(handle func(context.Context, Undeliverable) error) {
	p.own(undeliverable, handle, reflect.TypeFor[Undeliverable](), parseEvent)
}

// OnCancelled declares what happens when an operator asks an instance to end.
func (p *Plugin) OnCancelled(handle func(context.Context, Cancelled) error) {
	p.own(cancelled, handle, reflect.TypeFor[Cancelled](), parseEvent)
}

func (p *Plugin) own(name string, function any, t reflect.Type, parse parser) {
	if p.handlers[name] != nil {
		p.problem("`%s` has two handlers", name)
		return
	}
	h, err := handlerOf(function, t, parse)
	if err != nil {
		p.problem("the handler of `%s` %v", name, err)
		return
	}
	p.handlers[name] = h
	p.reserved(name)
}

// reserved subscribes to a type of the host's own events.
func (p *Plugin) reserved(name string) {
	if p.role != wit.ProcessManager {
		p.problem("a %s has no instances; timers, OnUndeliverable and OnCancelled are for process managers", p.role)
		return
	}
	for _, known := range p.subscriptions {
		if known.Type == name {
			return
		}
	}
	p.subscriptions = append(p.subscriptions, wit.Subscription{
		Type: name, Key: wit.Correlation{Kind: wit.ByInstance}, Effect: wit.Handle,
	})
}

// parser reads what a handler takes from an event.
type parser func(event *wit.Event, t reflect.Type) (reflect.Value, error)

// handler is a function of the author.
type handler struct {
	function reflect.Value
	// takes is the type of the parameter, and data the type that is read.
	takes, data reflect.Type
	parse       parser
	// name and place are the author's: they are part of the text of an error.
	name, place string
}

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
	eventType   = reflect.TypeFor[Event]()
)

func handlerOf(function any, t reflect.Type, parse parser) (*handler, error) {
	v := reflect.ValueOf(function)
	if v.Kind() != reflect.Func || v.IsNil() {
		return nil, fmt.Errorf("is no function")
	}
	form := v.Type()
	isForm := form.NumIn() == 2 && form.In(0) == contextType && form.NumOut() == 1 && form.Out(0) == errorType
	if !isForm || form.IsVariadic() {
		return nil, fmt.Errorf("is a %s; expected func(context.Context, %s) error", form, t)
	}
	takes := form.In(1)
	h := &handler{function: v, takes: takes, data: t, parse: parse}
	h.name, h.place = nameAndPlace(v)
	switch {
	case takes == eventType:
		h.data, h.parse = eventType, parseRaw
	case takes == t, takes == reflect.PointerTo(t):
	case takes.Kind() == reflect.Interface && (t.Implements(takes) || reflect.PointerTo(t).Implements(takes)):
	default:
		return nil, fmt.Errorf("takes a %s; expected a %s", takes, t)
	}
	return h, nil
}

// nameAndPlace describes a function. That of a method value is known by its name alone: then the
// place is where it is registered.
func nameAndPlace(function reflect.Value) (name, place string) {
	pointer := function.Pointer()
	known := runtime.FuncForPC(pointer)
	if known == nil {
		return "the handler", callerPlace()
	}
	name = known.Name()
	if at := strings.LastIndexByte(name, '/'); at >= 0 {
		name = name[at+1:]
	}
	file, line := known.FileLine(known.Entry())
	if strings.HasSuffix(name, "-fm") || file == "<autogenerated>" {
		return strings.TrimSuffix(name, "-fm"), callerPlace()
	}
	return name, guest.Place(file, line)
}

// call reads the event and calls the function.
func (h *handler) call(ctx context.Context, event *wit.Event) error {
	value, err := h.parse(event, h.data)
	if err != nil {
		return &Failure{reason: err.Error(), isPlaced: true}
	}
	switch {
	case h.takes == h.data:
	case h.takes.Kind() == reflect.Pointer, !h.data.AssignableTo(h.takes):
		value = value.Addr()
	}
	// A value of the interface's own type spares reflect the question whether it implements it.
	result := h.function.Call([]reflect.Value{reflect.ValueOf(&ctx).Elem(), value})[0]
	if result.IsNil() {
		return nil
	}
	return result.Interface().(error)
}

func parseEvent(event *wit.Event, t reflect.Type) (reflect.Value, error) {
	v := reflect.New(t).Elem()
	if err := codec.DecodeValue(event.Data, v, codec.Options{}); err != nil {
		return v, fmt.Errorf("the data of `%s` does not fit: %w", event.Type, err)
	}
	return v, nil
}

func parseRaw(event *wit.Event, _ reflect.Type) (reflect.Value, error) {
	v := reflect.New(eventType).Elem()
	v.Set(reflect.ValueOf(eventOf(event)))
	return v, nil
}
