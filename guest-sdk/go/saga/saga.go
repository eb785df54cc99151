// Package saga is for sagas: coordinators without state, which receive events and send commands.
package saga

import (
	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// New returns a plugin of this role. Its name consists of lower-case letters, digits and `-`, and
// never changes; its version is a semantic version; its description is one line for people.
func New(name, version, description string) *sagabox.Plugin {
	return sagabox.NewPlugin(wit.Saga, name, version, description, nil)
}
