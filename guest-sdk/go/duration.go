package sagabox

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a duration in an event, a state or a configuration, written as `24h`, `90s` or
// `1h 30m`. A time.Duration is written as a number of nanoseconds, as encoding/json does.
type Duration time.Duration

var units = []struct {
	name string
	size time.Duration
}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}

// String writes the duration in days, hours, minutes, seconds and milliseconds.
func (d Duration) String() string {
	rest, text := time.Duration(d), ""
	if rest < 0 {
		return "-" + Duration(-rest).String()
	}
	for _, unit := range units {
		if count := rest / unit.size; count > 0 {
			text += " " + strconv.FormatInt(int64(count), 10) + unit.name
			rest %= unit.size
		}
	}
	if text == "" {
		return "0s"
	}
	return text[1:]
}

// ParseDuration reads `24h`, `90s` or `1h 30m`.
func ParseDuration(text string) (Duration, error) {
	rest, total := strings.TrimSpace(text), time.Duration(0)
	if rest == "" {
		return 0, notDuration(text)
	}
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		letters := len(rest[digits:]) - len(strings.TrimLeft(rest[digits:], "abcdefghijklmnopqrstuvwxyz"))
		count, err := strconv.ParseInt(rest[:digits], 10, 64)
		size := sizeOf(rest[digits : digits+letters])
		if err != nil || size == 0 || count > int64(math.MaxInt64-total)/int64(size) {
			return 0, notDuration(text)
		}
		total += time.Duration(count) * size
		rest = strings.TrimLeft(rest[digits+letters:], " ")
	}
	return Duration(total), nil
}

func sizeOf(unit string) time.Duration {
	for _, known := range units {
		if known.name == unit {
			return known.size
		}
	}
	return 0
}

func notDuration(text string) error {
	return fmt.Errorf("`%s` is no duration such as 24h, 90s or 1h 30m (ms, s, m, h, d)", text)
}

// MarshalText writes the duration for JSON.
func (d Duration) MarshalText() ([]byte, error) {
	if d < 0 || time.Duration(d)%time.Millisecond != 0 {
		return nil, fmt.Errorf("a duration is a number of milliseconds, and not %s", time.Duration(d))
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads the duration from JSON.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// JSONSchema describes the text.
func (Duration) JSONSchema(bool) string {
	return `{"type":"string","pattern":"^\\s*([0-9]+(ms|s|m|h|d)\\s*)+$","description":"a duration such as 24h, 90s or 1h 30m"}`
}
