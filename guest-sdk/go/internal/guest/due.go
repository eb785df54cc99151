package guest

import (
	"fmt"
	"time"
)

// DueAfter returns after how many milliseconds a timer is due. A part of a millisecond counts as a
// whole, so that the timer is never early.
func DueAfter(after time.Duration) (uint64, error) {
	if after < 0 {
		return 0, fmt.Errorf("%s is negative", after)
	}
	return uint64(after.Milliseconds()) + part(after%time.Millisecond), nil
}

// DueAt returns the first millisecond since 1970 that is not before this time.
func DueAt(at time.Time) (uint64, error) {
	if at.Before(time.Unix(0, 0)) {
		return 0, fmt.Errorf("%s is before 1970", at.UTC().Format(time.RFC3339Nano))
	}
	return uint64(at.UnixMilli()) + part(time.Duration(at.Nanosecond())%time.Millisecond), nil
}

func part(rest time.Duration) uint64 {
	if rest > 0 {
		return 1
	}
	return 0
}
