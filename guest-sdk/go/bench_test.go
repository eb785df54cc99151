package sagabox_test

import (
	"testing"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// BenchmarkDecision is what a call costs without the border between host and plugin: reading the
// event and the state, the handler, and writing the state.
func BenchmarkDecision(b *testing.B) {
	plugin := payments().Serve()
	event := &wit.Event{Type: "OrderPaid", Data: []byte(`{"orderId":"o-1","amount":3}`)}
	state := &wit.State{Version: 1, Data: []byte(`{"orderId":"o-1","placed":"2026-03-01T12:00:00Z","paid":3}`)}
	context := &wit.Context{Now: 1_800_000_000_000, Attempt: 1, Key: "o-1", Configuration: "{}"}
	b.ReportAllocs()
	for range b.N {
		if reply := plugin.Handle(event, state, context); reply.Decision == nil {
			b.Fatal(reply.Failure)
		}
	}
}
