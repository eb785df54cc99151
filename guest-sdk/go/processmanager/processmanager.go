// Package processmanager is for process managers: state machines over many events, with one state
// for each correlation key.
package processmanager

import (
	"reflect"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// New returns a process manager whose instances have a state of the type State. Its name consists
// of lower-case letters, digits and `-`, and never changes; its version is a semantic version; its
// description is one line for people.
func New[State any](name, version, description string) *sagabox.Plugin {
	return sagabox.NewPlugin(wit.ProcessManager, name, version, description, reflect.TypeFor[State]())
}
