package processmanager

import (
	"unsafe"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/abi"
)

//go:wasmexport sagabox:plugin/process-manager-handler@0.1.0#describe
func describe() unsafe.Pointer { return abi.Describe() }

//go:wasmexport sagabox:plugin/process-manager-handler@0.1.0#handle
func handle(arguments unsafe.Pointer) unsafe.Pointer { return abi.Advance(arguments) }

//go:wasmexport sagabox:plugin/process-manager-handler@0.1.0#migrate
func migrate(version uint32, data unsafe.Pointer, length, to uint32) unsafe.Pointer {
	return abi.Migrate(version, data, length, to)
}
