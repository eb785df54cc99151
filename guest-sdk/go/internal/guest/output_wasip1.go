package guest

import "unsafe"

// overrideWrite is where Go's runtime writes to, if it is set. The runtime writes the text of a
// panic that nothing recovers, in `init` or in a goroutine, in pieces of a word; each would be a
// line of the host's log.
//
//go:linkname overrideWrite runtime.overrideWrite
var overrideWrite func(fd uintptr, p unsafe.Pointer, n int32) int32

// The line that the runtime is writing. Nothing may be allocated here: the runtime is ending.
var (
	line       [1024]byte
	lineLength int
)

func init() { overrideWrite = writeOfRuntime }

func writeOfRuntime(_ uintptr, p unsafe.Pointer, n int32) int32 {
	for _, c := range unsafe.Slice((*byte)(p), n) {
		if c == '\n' || lineLength == len(line) {
			flush()
		}
		if c != '\n' {
			line[lineLength] = c
			lineLength++
		}
	}
	return n
}

func flush() {
	if lineLength > 0 {
		write(uint32(Error), unsafe.String(&line[0], lineLength))
	}
	lineLength = 0
}
