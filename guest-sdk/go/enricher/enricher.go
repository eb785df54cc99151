// Package enricher is for enrichers, which turn internal events into external events.
package enricher

import (
	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// New returns a plugin of this role. Its name consists of lower-case letters, digits and `-`, and
// never changes; its version is a semantic version; its description is one line for people.
func New(name, version, description string) *sagabox.Plugin {
	return sagabox.NewPlugin(wit.Enricher, name, version, description, nil)
}
