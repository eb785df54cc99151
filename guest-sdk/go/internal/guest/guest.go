// Package guest holds the plugin of this program, and the way to the host's log.
package guest

import (
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// Level says how urgent a line of the log is.
type Level uint32

const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
)

var (
	current wit.Guest
	failure error
)

// Set makes this the plugin of the program.
func Set(plugin wit.Guest) {
	if current != nil {
		failure = errors.New("the function main runs two plugins; a component has one")
		return
	}
	current = plugin
}

// Current returns the plugin of the program, or the reason why there is none.
func Current() (wit.Guest, error) {
	if failure == nil && current == nil {
		failure = errors.New("the function main runs no plugin; write: func main() { plugin().Run() }")
	}
	return current, failure
}

// Protect calls a function, and keeps its panic as the reason why there is no plugin.
func Protect(main func()) {
	defer func() {
		if reason := recover(); reason != nil {
			failure = errors.New("the function main: " + Panicked(reason))
		}
	}()
	main()
}

// Panicked returns the text of a panic with the place in the author's code where it began. A
// deferred function calls it.
func Panicked(reason any) string {
	text := fmt.Sprint(reason)
	if err, isError := reason.(error); isError {
		text = err.Error()
	}
	if place := placeOfPanic(); place != "" {
		text = place + ": panic: " + text
	} else {
		text = "panic: " + text
	}
	return text
}

const module = "github.com/sagabox/sagabox/guest-sdk/go"

// placeOfPanic finds the first function below the panic that is neither of Go's runtime nor of
// this module.
func placeOfPanic() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	isBelow := false
	for {
		frame, more := frames.Next()
		switch {
		case frame.Function == "runtime.gopanic", frame.Function == "runtime.sigpanic":
			isBelow = true
		case isBelow && IsAuthors(frame):
			return Place(frame.File, frame.Line)
		}
		if !more {
			return ""
		}
	}
}

// standard holds the first parts of the paths of the standard library's packages.
const standard = " archive bufio bytes cmp compress container context crypto database debug embed encoding " +
	"errors expvar flag fmt go hash html image index internal io iter log maps math mime net os path " +
	"plugin reflect regexp runtime slices sort strconv strings structs sync syscall testing text time " +
	"unicode unique unsafe vendor weak "

// IsAuthors says whether a function is neither of the standard library nor of this module.
func IsAuthors(frame runtime.Frame) bool {
	isTest := strings.HasSuffix(frame.File, "_test.go")
	isOwn := strings.HasPrefix(frame.Function, module+".") || strings.HasPrefix(frame.Function, module+"/")
	first, _, _ := strings.Cut(frame.Function, "/")
	first, _, _ = strings.Cut(first, ".")
	isStandard := strings.Contains(standard, " "+first+" ")
	return first != "" && !isStandard && (!isOwn || isTest)
}

// Place names a line in the author's code: the folder, the file and the line.
func Place(file string, line int) string {
	folder, name := path.Base(path.Dir(file)), path.Base(file)
	if folder == "." || folder == "/" {
		return fmt.Sprintf("%s:%d", name, line)
	}
	return fmt.Sprintf("%s/%s:%d", folder, name, line)
}

// What the package sagaboxtest needs of the SDK.
var (
	// Outgoing makes a message of a command or an event.
	Outgoing func(value any) (wit.Message, error)
	// ReceivedAs returns the type under which a plugin takes the events of a Go type.
	ReceivedAs func(plugin, event any) (name string, isTaken bool)
	// TimerOf returns the name of a timer, and its data.
	TimerOf func(timer any) (name string, data []byte, err error)
)
