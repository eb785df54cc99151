// A saga that fails while it describes itself.
package main

import (
	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/saga"
)

func main() { plugin().Run() }

func plugin() *sagabox.Plugin {
	p := saga.New("broken-describe", "1.0.0", "Fails while it describes itself")
	declare(p)
	return p
}

func declare(*sagabox.Plugin) { panic("broken while it describes itself") }
