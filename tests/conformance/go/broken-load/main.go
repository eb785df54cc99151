// A saga that fails while it is loaded.
package main

import (
	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/saga"
)

func init() { panic("broken while it loads") }

func main() { plugin().Run() }

func plugin() *sagabox.Plugin {
	return saga.New("broken-load", "1.0.0", "Fails while it is loaded")
}
