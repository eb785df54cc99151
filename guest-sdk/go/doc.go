// Package sagabox is for plugins of a Sagabox host, in Go: sagas, process managers, reactors and
// enrichers.
//
// A plugin is a program whose main function runs a [Plugin]:
//
//	func main() { plugin().Run() }
//
//	func plugin() *sagabox.Plugin {
//		plugin := saga.New("order-saga", "0.1.0", "Requests the payment of orders")
//		plugin.Sends(RequestPayment{})
//		orders := &OrderSaga{commandBus: plugin}
//		plugin.Register(OrderPlaced{}, orders.HandleOrderPlaced)
//		return plugin
//	}
//
//	func (s *OrderSaga) HandleOrderPlaced(ctx context.Context, event OrderPlaced) error {
//		return s.commandBus.Send(ctx, RequestPayment{OrderID: event.OrderID})
//	}
//
// The packages saga, processmanager, reactor and enricher make the plugin of a role. The package
// sagaboxtest tests handlers with `go test`. The package decimal contains exact numbers for money.
// `sagabox build` makes a component of the program.
//
// # Handlers
//
// A handler is a function func(context.Context, E) error. It decides, and the host commits the
// whole decision, or nothing of it. So a handler may be called again for the same event, and never
// needs to be idempotent. An error that it returns, and a panic, make the event a dead letter whose
// reason has the text and the line; [Transient] lets the host try again.
//
// The functions of this package take the context that the handler was called with.
//
// # Messages
//
// Events, commands, states, timers and settings are structs with the tags of encoding/json. The
// type of a message is the name of its Go type, or what its method MessageType returns. The tag
// `sagabox:"key"` marks the field of an event that is its correlation key, and `sagabox:"subject"`
// the field of a command or an event that is its CloudEvents subject.
//
// JSON is read and written more exactly than by encoding/json. A member that is missing is an
// error, unless its field is a pointer or has `omitempty` or `omitzero`; so is one that stands
// twice, and a text with half of a surrogate pair. Names are compared exactly. A nil slice is
// written as [], a nil map as {}, and a time.Time in UTC. A number in an `any` is a [Number]. A
// field of the type [JSON] is passed on byte for byte. NaN and infinities are refused. Every such
// error names the field.
//
// The manifest contains the JSON Schemas of all types. A type of string with a method
// `Values() []T` is an enumeration; the tag `description:"…"` describes a field.
//
// # What a plugin must not do
//
// The host may call any instance of a plugin for any event, and drop an instance at any time. So a
// value that a handler keeps in a variable is no state: [States] is. The order of a map and the
// numbers of math/rand differ from call to call; sort the keys, and use [Rand]. [Now] is the host's
// clock; in a component time.Now returns the same. A goroutine must end before its handler
// returns. A panic in a goroutine stops the call, and its text, file and line are in the host's
// log. Files, the network and environment variables do not exist.
package sagabox
