//go:build !wasip1

package sagabox

import (
	"encoding/json"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

const isComponent = false

// readable is the manifest for people.
func readable(manifest *wit.Manifest) string {
	text, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}
