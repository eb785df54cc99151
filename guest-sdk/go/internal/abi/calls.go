//go:build wasip1

package abi

import (
	"os"
	"unsafe"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// main is the author's main function, which says what the plugin is. Go does not call it in a
// library, which a plugin is.
//
//go:linkname main main.main
func main()

var isStarted bool

// plugin returns the author's plugin.
func plugin() wit.Guest {
	if !isStarted {
		isStarted = true
		guest.Protect(main)
	}
	plugin, err := guest.Current()
	if err != nil {
		guest.Log(guest.Error, err.Error())
		os.Exit(1)
	}
	return plugin
}

// Describe is the function `describe` of every role.
func Describe() unsafe.Pointer {
	manifest, err := plugin().Describe()
	if err != nil {
		guest.Log(guest.Error, err.Error())
		os.Exit(1)
	}
	p := begin()
	kept = append(kept, manifest)
	writeManifest(p, manifest)
	settle()
	return p
}

// Handle is the function `handle` of sagas and reactors, whose result is
// `result<outcome, failure>`.
func Handle(arguments unsafe.Pointer) unsafe.Pointer {
	event, context := readEvent(arguments), readContext(at(arguments, 88))
	reply := plugin().Handle(&event, nil, &context)
	return write(&reply, func(p unsafe.Pointer, decision *wit.Decision) {
		writeMessages(p, decision.Commands)
		writeMessages(at(p, 8), decision.Events)
	})
}

// Enrich is the function `enrich` of enrichers, whose result is `result<enrichment, failure>`.
func Enrich(arguments unsafe.Pointer) unsafe.Pointer {
	event, context := readEvent(arguments), readContext(at(arguments, 88))
	reply := plugin().Handle(&event, nil, &context)
	return write(&reply, func(p unsafe.Pointer, decision *wit.Decision) {
		writeMessages(p, decision.Events)
	})
}

// Advance is the function `handle` of process managers, whose result is `result<step, failure>`.
func Advance(arguments unsafe.Pointer) unsafe.Pointer {
	event, state, context := readEvent(arguments), readState(at(arguments, 84)), readContext(at(arguments, 104))
	reply := plugin().Handle(&event, state, &context)
	return write(&reply, writeTransition)
}

// Migrate is the function `migrate` of process managers.
func Migrate(version uint32, data unsafe.Pointer, length, to uint32) unsafe.Pointer {
	state := wit.State{Version: version}
	if length > 0 {
		state.Data = unsafe.Slice((*byte)(data), length)
	}
	migrated, err := plugin().Migrate(state, to)
	p := begin()
	defer settle()
	if err != nil {
		reason := err.Error()
		kept = append(kept, reason)
		writeU8(p, 1)
		writeString(at(p, 4), reason)
		return p
	}
	kept = append(kept, migrated)
	writeBytes(at(p, 4), migrated)
	return p
}

// write writes a result: a variant of a decision or questions, or a failure.
func write(reply *wit.Reply, decided func(unsafe.Pointer, *wit.Decision)) unsafe.Pointer {
	p := begin()
	defer settle()
	kept = append(kept, reply)
	switch {
	case reply.Failure != nil:
		writeU8(p, 1)
		writeFailure(at(p, 4), reply.Failure)
	case len(reply.Questions) > 0:
		writeU8(at(p, 4), 1)
		writeElements(at(p, 8), reply.Questions, questionSize, writeQuestion)
	default:
		decided(at(p, 8), reply.Decision)
	}
	return p
}
