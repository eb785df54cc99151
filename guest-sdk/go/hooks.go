package sagabox

import (
	"github.com/sagabox/sagabox/guest-sdk/go/internal/codec"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
)

func init() {
	guest.Outgoing = outgoing
	guest.ReceivedAs = receivedAs
	guest.TimerOf = timerOf
}

// timerOf returns the name of a timer, and its data; none if it has no members.
func timerOf(timer any) (string, []byte, error) {
	name := timerName(typeOf(timer))
	data, err := codec.Encode(timer)
	if string(data) == "{}" {
		data = nil
	}
	return name, data, err
}

// receivedAs knows the types that the option As has given.
func receivedAs(plugin, event any) (string, bool) {
	t := typeOf(event)
	for name, taken := range plugin.(*Plugin).received.types {
		if taken == t {
			return name, true
		}
	}
	return "", false
}
