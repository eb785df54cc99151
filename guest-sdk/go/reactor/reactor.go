// Package reactor is for reactors: participants in a choreography, which react to events with commands and events.
package reactor

import (
	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// New returns a plugin of this role. Its name consists of lower-case letters, digits and `-`, and
// never changes; its version is a semantic version; its description is one line for people.
func New(name, version, description string) *sagabox.Plugin {
	return sagabox.NewPlugin(wit.Reactor, name, version, description, nil)
}
