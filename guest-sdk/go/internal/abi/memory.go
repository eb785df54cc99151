//go:build wasip1

package abi

import "unsafe"

// chunkBytes is the size of the blocks from which the arguments of calls are allocated.
const chunkBytes = 32 << 10

// chunk is the free rest of the current block. A block is never used again: the strings of an
// event refer to it, and the garbage collector frees it after the last of them.
var chunk []byte

// allocate returns size bytes that are aligned to 8.
func allocate(size uint32) unsafe.Pointer {
	size = (size + 7) &^ 7
	if size > chunkBytes/4 {
		return unsafe.Pointer(unsafe.SliceData(make([]uint64, size/8)))
	}
	if uint32(len(chunk)) < size {
		words := make([]uint64, chunkBytes/8)
		chunk = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), chunkBytes)
	}
	start := unsafe.Pointer(unsafe.SliceData(chunk))
	chunk = chunk[size:]
	return start
}

// received keeps what the host has allocated for a call that has not begun.
var received []unsafe.Pointer

// receivedBytes is how much that was since the garbage collector was looked after.
var receivedBytes uint32

// realloc is how the host allocates the arguments of a call in the memory of the plugin.
//
//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	if size == 0 {
		return unsafe.Pointer(&result)
	}
	start := allocate(size)
	if oldSize > 0 {
		copy(unsafe.Slice((*byte)(start), size), unsafe.Slice((*byte)(old), oldSize))
	}
	received = append(received, start)
	receivedBytes += size
	return start
}

// ---- reading ---------------------------------------------------------------------------------

func at(base unsafe.Pointer, offset uintptr) unsafe.Pointer { return unsafe.Add(base, offset) }

func readU8(p unsafe.Pointer) uint8   { return *(*uint8)(p) }
func readU32(p unsafe.Pointer) uint32 { return *(*uint32)(p) }
func readU64(p unsafe.Pointer) uint64 { return *(*uint64)(p) }

// readList returns the first element of a list and the number of elements.
func readList(p unsafe.Pointer) (unsafe.Pointer, int) {
	return *(*unsafe.Pointer)(p), int(readU32(at(p, 4)))
}

func readString(p unsafe.Pointer) string {
	start, length := readList(p)
	if length == 0 {
		return ""
	}
	return unsafe.String((*byte)(start), length)
}

func readBytes(p unsafe.Pointer) []byte {
	start, length := readList(p)
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(start), length)
}

func readOptionalString(p unsafe.Pointer) *string {
	if readU8(p) == 0 {
		return nil
	}
	text := readString(at(p, 4))
	return &text
}

func readElements[T any](p unsafe.Pointer, size uintptr, read func(unsafe.Pointer) T) []T {
	start, length := readList(p)
	if length == 0 {
		return nil
	}
	elements := make([]T, length)
	for i := range elements {
		elements[i] = read(at(start, uintptr(i)*size))
	}
	return elements
}

// ---- writing ---------------------------------------------------------------------------------

// result is the memory of a call's result. It lives until the next call.
var result [16]uint64

// kept is what the last result refers to.
var kept []any

func begin() unsafe.Pointer {
	clear(kept)
	kept = kept[:0]
	clear(received)
	received = received[:0]
	clear(result[:])
	return unsafe.Pointer(&result)
}

func writeU8(p unsafe.Pointer, value uint8)   { *(*uint8)(p) = value }
func writeU32(p unsafe.Pointer, value uint32) { *(*uint32)(p) = value }
func writeU64(p unsafe.Pointer, value uint64) { *(*uint64)(p) = value }

func writeBool(p unsafe.Pointer, value bool) {
	if value {
		writeU8(p, 1)
	}
}

func writePart(p, start unsafe.Pointer, length int) {
	*(*unsafe.Pointer)(p) = start
	writeU32(at(p, 4), uint32(length))
}

func writeString(p unsafe.Pointer, text string) {
	writePart(p, unsafe.Pointer(unsafe.StringData(text)), len(text))
}

func writeBytes(p unsafe.Pointer, data []byte) {
	writePart(p, unsafe.Pointer(unsafe.SliceData(data)), len(data))
}

func writeOptionalString(p unsafe.Pointer, text *string) {
	if text != nil {
		writeU8(p, 1)
		writeString(at(p, 4), *text)
	}
}

func writeElements[T any](p unsafe.Pointer, elements []T, size uintptr, write func(unsafe.Pointer, *T)) {
	if len(elements) == 0 {
		return
	}
	words := make([]uint64, (uintptr(len(elements))*size+7)/8)
	start := unsafe.Pointer(unsafe.SliceData(words))
	kept = append(kept, words)
	for i := range elements {
		write(at(start, uintptr(i)*size), &elements[i])
	}
	writePart(p, start, len(elements))
}
