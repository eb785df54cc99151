//go:build wasip1

package abi

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// The host allocates the arguments of a call with `cabi_realloc`. While it does, a component may
// not call anything, not even the clock, which Go's garbage collector asks for the time: a
// collection that begins there ends the call with a trap. So the collector does not begin by
// itself. It runs at the end of a call, when there is enough garbage for it; and within a call
// that needs much memory, when the limit is reached, which `cabi_realloc` alone does not reach.
const (
	garbageMax = 4 << 20
	// The host gives an instance 64 MiB if nothing else is configured.
	memoryLimit = 40 << 20
	// What a call with large arguments may need beyond what is in use.
	reserve = 24 << 20
)

// callsUnseen is how many calls with small arguments may pass without a look at the memory.
const callsUnseen = 16

var (
	inUse   = []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	settled uint64
	calls   int
	limit   uint64 = memoryLimit
)

func init() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
}

func bytesInUse() uint64 {
	metrics.Read(inUse)
	return inUse[0].Value.Uint64()
}

// settle ends a call. After it, no collection is running.
func settle() {
	calls++
	if calls < callsUnseen && receivedBytes < chunkBytes {
		return
	}
	calls, receivedBytes = 0, 0
	if bytesInUse() < settled+garbageMax {
		return
	}
	runtime.GC()
	settled = bytesInUse()
	if needed := settled*2 + reserve; needed > limit {
		limit = needed
		debug.SetMemoryLimit(int64(needed))
	}
}
