package sagabox

import "github.com/sagabox/sagabox/guest-sdk/go/internal/wit"

const isComponent = true

func readable(*wit.Manifest) string { return "" }
