package guest

//go:wasmimport sagabox:plugin/logging@0.1.0 log
func write(level uint32, text string)

// Log writes a line to the host's log.
func Log(level Level, text string) { write(uint32(level), text) }
