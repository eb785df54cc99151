package reactor

import (
	"unsafe"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/abi"
)

//go:wasmexport sagabox:plugin/reactor-handler@0.1.0#describe
func describe() unsafe.Pointer { return abi.Describe() }

//go:wasmexport sagabox:plugin/reactor-handler@0.1.0#handle
func handle(arguments unsafe.Pointer) unsafe.Pointer { return abi.Handle(arguments) }
