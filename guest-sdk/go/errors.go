package sagabox

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
)

// Failure is an error that says whether another attempt may help.
type Failure struct {
	err         error
	reason      string
	isTransient bool
	// place is the line in the author's code.
	place string
	// isPlaced says that the text needs no place of the author's code.
	isPlaced bool
}

func (f *Failure) Error() string {
	if f.err != nil {
		return f.err.Error()
	}
	return f.reason
}

// Unwrap returns the error that was given to [Permanent] or [Transient].
func (f *Failure) Unwrap() error { return f.err }

// Permanent says that another attempt cannot help: the event becomes a dead letter. Every other
// error that a handler returns means the same; this one notes the line. It returns nil for nil.
func Permanent(err error) error { return failure(err, false) }

// Transient says that another attempt may help: the host tries again later. It returns nil for nil.
func Transient(err error) error { return failure(err, true) }

func failure(err error, isTransient bool) error {
	if err == nil {
		return nil
	}
	f := &Failure{err: err, isTransient: isTransient}
	callers := make([]uintptr, 8)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	for {
		frame, more := frames.Next()
		if guest.IsAuthors(frame) {
			f.place = guest.Place(frame.File, frame.Line)
			break
		}
		if !more {
			break
		}
	}
	return f
}

// ErrNotFound is the error of [Lookup.Load] if the lookup knows nothing under the key.
var ErrNotFound = errors.New("not found")

// errPending is the error of a question whose answer the host has yet to find.
var errPending = errors.New("the host has yet to answer this question; return this error, and the handler is called again with the answer")

// reasonOf returns the text for the host, which names the line or the function of the author, and
// whether the host tries again.
func reasonOf(err error, h *handler) (reason string, isTransient bool) {
	place := ""
	var f *Failure
	if errors.As(err, &f) {
		isTransient, place = f.isTransient, f.place
		if f.isPlaced {
			return err.Error(), isTransient
		}
	}
	if place == "" {
		place = h.place
	}
	return fmt.Sprintf("%s: %s: %v", place, h.name, err), isTransient
}

// IsNotFound says whether an error is, or contains, [ErrNotFound].
func IsNotFound(err error) bool { return errors.Is(err, ErrNotFound) }
